#ifndef LARDER_BENCH_CAP_RUN_H_
#define LARDER_BENCH_CAP_RUN_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "larder/engine/status.h"

#include "cap_workload.h"
#include "disk_sampler.h"
#include "store_adapter.h"

namespace larder::bench {

struct CapOptions {
  std::filesystem::path parent_directory;
  EngineKind engine = EngineKind::kLarder;
  /// How many times the limit is written.
  double factor = 3.0;
  std::uint64_t seed = 1;
  std::chrono::microseconds sample_period{20'000};
  /// Run raw RocksDB under the same sequence, for the ratio.
  bool with_raw = true;
};

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

struct CapResult {
  const CapWorkload* workload = nullptr;
  std::uint64_t limit_bytes = 0;
  EngineKind engine = EngineKind::kLarder;
  CapSpeed speed;
  std::optional<CapSpeed> raw;
  std::uint64_t written_bytes = 0;  ///< Payload of all sets.
  std::vector<DiskSample> samples;
  /// Longest time between two samples.
  double sample_gap_seconds_max = 0;
  /// Largest sample over the limit.
  double directory_ratio_max = 0;
  /// Exact, by a scan at the end, over the limit.
  double live_share_end = 0;
  /// Over the samples since the limit was reached; from the store's totals
  /// (see LivePayload). 0 = the store has none.
  double live_share_mean = 0;
  double live_share_min = 0;
  std::uint64_t item_count_end = 0;
  /// Values that were read back and compared at the end.
  std::uint64_t verified_count = 0;
  /// What the store's items cost beyond their payload, at the end.
  double overhead_bytes_per_item = 0;

  /// Payload of the live items at a sample: the store's own total less the
  /// overhead per item that it had at the end.
  [[nodiscard]] double LivePayload(const DiskSample& sample) const;
};

/// Runs one workload at one limit. Errors: what the store says; kCorruption
/// if a value is not what was written.
Result<CapResult> RunCap(const CapWorkload& workload, std::uint64_t limit_bytes,
                         const CapOptions& options);

/// The bars that `result` misses, a line for each.
std::vector<std::string> MissedBars(const CapResult& result);

}  // namespace larder::bench

#endif  // LARDER_BENCH_CAP_RUN_H_
