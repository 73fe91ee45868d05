#ifndef LARDER_BENCH_CAP_CAP_EXACT_H_
#define LARDER_BENCH_CAP_CAP_EXACT_H_

#include <cstdint>
#include <filesystem>

#include "larder/engine/status.h"

#include "cap/cap_workload.h"

namespace larder::bench {

struct ExactOptions {
  std::filesystem::path parent_directory;
  double factor = 3.0;
  std::uint64_t seed = 1;
  /// That becomes a writer by RunWriterIfAsked; this one by itself.
  std::filesystem::path program = "/proc/self/exe";
};

/// What was seen of a directory whose writers stood still at each look.
struct ExactResult {
  std::uint64_t sample_count = 0;
  std::uint64_t over_count = 0;    ///< Samples above the limit.
  double directory_ratio_max = 0;  ///< The largest, over the limit.
  double live_share_end = 0;       ///< By a scan, over the limit.
  std::uint64_t set_count = 0;
  std::uint64_t refused_count = 0;   ///< Sets that found no room.
  std::uint64_t verified_count = 0;  ///< Values read back and compared.
};

/// Runs the workload's writers as processes, which are stopped now and then,
/// with all their threads: nothing is written while the directory is walked.
/// Errors: what a writer or the store says; kCorruption if a value is not what
/// was written.
Result<ExactResult> RunExact(const CapWorkload& workload,
                             std::uint64_t limit_bytes,
                             const ExactOptions& options);

/// True if this process is such a writer; `exit_code` is what it ends with.
bool RunWriterIfAsked(int argc, char** argv, int& exit_code);

}  // namespace larder::bench

#endif  // LARDER_BENCH_CAP_CAP_EXACT_H_
