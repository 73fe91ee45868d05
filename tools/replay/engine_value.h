#ifndef LARDER_TOOLS_REPLAY_ENGINE_VALUE_H_
#define LARDER_TOOLS_REPLAY_ENGINE_VALUE_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "replay_run.h"

namespace larder::replay {

/// Makes the values that a replay stores: any number of bytes that follow from
/// a key and how often it was filled before. They do not compress.
///
/// Threads: thread-compatible.
class ValueMaker {
 public:
  /// Valid until the next call.
  [[nodiscard]] std::string_view Make(std::uint64_t key_hash,
                                      std::uint32_t fill,
                                      std::uint64_t size_bytes);

 private:
  std::string bytes_;
};

/// Counts latencies in buckets that are 1/16 wide relative to their value.
///
/// Threads: thread-compatible.
class LatencyHistogram {
 public:
  void Add(std::chrono::nanoseconds latency) noexcept;
  [[nodiscard]] LatencySummary Summary() const noexcept;

 private:
  static constexpr int kStepBits = 4;
  static constexpr std::size_t kBucketCount = 64UL << kStepBits;
  [[nodiscard]] double Quantile(double share) const noexcept;

  std::array<std::uint64_t, kBucketCount> counts_{};
  std::uint64_t total_ = 0;
  std::uint64_t max_ns_ = 0;
};

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_ENGINE_VALUE_H_
