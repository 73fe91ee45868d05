#ifndef LARDER_BENCH_CAP_CAP_DRIVER_H_
#define LARDER_BENCH_CAP_CAP_DRIVER_H_

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "larder/engine/status.h"

#include "cap/cap_workload.h"
#include "cap/disk_sampler.h"
#include "stores/store_adapter.h"
#include "stores/workload.h"

namespace larder::bench {

/// Of single sets, in milliseconds.
struct SetLatency {
  double p50 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
};

/// How fast one engine went through a workload.
struct CapSpeed {
  double seconds = 0;
  std::uint64_t set_count = 0;
  std::uint64_t get_count = 0;
  std::uint64_t get_hit_count = 0;
  /// From when as much as the limit had been written to the end, gets
  /// included.
  double sets_per_second = 0;
  double payload_bytes_per_second = 0;
  SetLatency latency;
};

/// Of a store under a limit.
StoreOptions CapStoreOptions(const CapWorkload& workload,
                             std::uint64_t limit_bytes);

/// Which of how many. Each has keys of its own.
struct CapWriter {
  std::uint64_t index = 0;
  std::uint64_t count = 1;
};

/// Goes through the operations of one workload, or as one of several writers
/// that do.
///
/// Threads: thread-compatible; each thread of a workload has its own.
class Driver {
 public:
  enum class WhenRefused : std::uint8_t {
    kFail,
    kCount,  ///< kNoSpace is counted, and the next operation follows.
  };

  Driver(KeyValueStore& store, const ValuePool& pool, std::uint64_t seed,
         std::uint64_t limit_bytes, CapWriter writer = {},
         WhenRefused when_refused = WhenRefused::kFail)
      : store_(store),
        pool_(pool),
        seed_(seed),
        limit_bytes_(limit_bytes),
        writer_(writer),
        when_refused_(when_refused) {}

  /// `sampler` may be nullptr.
  Status Run(const CapSource& source, DiskSampler* sampler);
  /// Values that are there and right. Errors: kCorruption.
  Result<std::uint64_t> Verify();

  [[nodiscard]] CapSpeed TakeSpeed();
  [[nodiscard]] std::uint64_t written_bytes() const { return written_bytes_; }
  [[nodiscard]] std::uint64_t refused_count() const { return refused_count_; }

 private:
  /// Which value a key has.
  struct LastSet {
    std::uint64_t value_index = 0;
    std::uint32_t size = 0;
  };

  Status Set(const CapOperation& operation);
  Status Get(const CapOperation& operation);
  [[nodiscard]] std::string KeyFor(std::uint64_t key) const {
    return KeyOf(key * writer_.count + writer_.index, seed_);
  }

  KeyValueStore& store_;
  const ValuePool& pool_;
  const std::uint64_t seed_;
  const std::uint64_t limit_bytes_;
  const CapWriter writer_;
  const WhenRefused when_refused_;
  CapSpeed speed_;
  std::uint64_t written_bytes_ = 0;
  std::uint64_t refused_count_ = 0;
  std::vector<float> set_milliseconds_;
  std::unordered_map<std::uint64_t, LastSet> last_sets_;
};

}  // namespace larder::bench

#endif  // LARDER_BENCH_CAP_CAP_DRIVER_H_
