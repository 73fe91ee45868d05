#ifndef LARDER_BENCH_CAP_DISK_SAMPLER_H_
#define LARDER_BENCH_CAP_DISK_SAMPLER_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "larder/engine/status.h"

#include "stores/store_adapter.h"

namespace larder::bench {

/// Bytes that `du` would count below `directory`, itself included: allocated
/// blocks, each file once. What vanishes meanwhile is not counted.
std::uint64_t DirectoryBytes(const std::filesystem::path& directory);

struct DiskSample {
  double seconds = 0;  ///< Since the sampler was started.
  std::uint64_t written_bytes = 0;
  std::uint64_t directory_bytes = 0;
  /// What the store says; zero if it cannot.
  LiveTotals live;
};

/// Watches a directory from a thread of its own.
///
/// Threads: Stop on the thread that started it; AddWritten on any.
class DiskSampler {
 public:
  /// Borrows `store`, whose Live it calls; it may be nullptr.
  DiskSampler(std::filesystem::path directory, KeyValueStore* store,
              std::chrono::microseconds period);
  ~DiskSampler();
  DiskSampler(const DiskSampler&) = delete;
  DiskSampler& operator=(const DiskSampler&) = delete;

  void AddWritten(std::uint64_t bytes) noexcept {
    // Relaxed: a count for the report that orders nothing.
    written_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  }

  /// Takes a last sample and gives out all.
  std::vector<DiskSample> Stop();

 private:
  void Run();
  void TakeSample();

  const std::filesystem::path directory_;
  KeyValueStore* const store_;
  const std::chrono::microseconds period_;
  const std::chrono::steady_clock::time_point begin_;
  std::atomic<std::uint64_t> written_bytes_{0};
  std::vector<DiskSample> samples_;  // Of the thread until it is joined.

  std::mutex mutex_;
  std::condition_variable stop_changed_;
  bool stop_ = false;  // Guarded by mutex_.
  std::thread thread_;
};

}  // namespace larder::bench

#endif  // LARDER_BENCH_CAP_DISK_SAMPLER_H_
