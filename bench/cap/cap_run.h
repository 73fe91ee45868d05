#ifndef LARDER_BENCH_CAP_CAP_RUN_H_
#define LARDER_BENCH_CAP_CAP_RUN_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "larder/engine/status.h"

#include "cap/cap_driver.h"
#include "cap/cap_exact.h"
#include "cap/cap_workload.h"
#include "cap/disk_sampler.h"
#include "stores/store_adapter.h"

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
  /// Run the workload again, in processes that are stopped for each look at the
  /// directory. Only larder is.
  bool with_exact = true;
};

struct CapResult {
  const CapWorkload* workload = nullptr;
  std::uint64_t limit_bytes = 0;
  EngineKind engine = EngineKind::kLarder;
  CapSpeed speed;  ///< All zero if the workload is not timed.
  std::optional<CapSpeed> raw;
  std::optional<ExactResult> exact;
  std::uint64_t written_bytes = 0;  ///< Payload of all sets.
  std::vector<DiskSample> samples;
  /// Longest time between two samples.
  double sample_gap_seconds_max = 0;
  /// Largest sample over the limit, exact ones included.
  double directory_ratio_max = 0;
  /// By a scan at the end, over the limit; the least of both runs.
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

#endif  // LARDER_BENCH_CAP_CAP_RUN_H_
