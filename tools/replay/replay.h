#ifndef LARDER_TOOLS_REPLAY_REPLAY_H_
#define LARDER_TOOLS_REPLAY_REPLAY_H_

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "larder/engine/settings.h"

#include "trace_reader.h"

namespace larder::replay {

/// Where the policies run.
enum class ReplayVia : std::uint8_t {
  kSimulator = 0,  ///< The policy code alone; millions of requests a second.
  kEngine = 1,     ///< A real cache directory.
};

enum class ReplayOutput : std::uint8_t { kTable = 0, kJson = 1, kCsv = 2 };

enum class ShowProgress : std::uint8_t {
  kWhenTerminal = 0,  ///< Only if standard error is one.
  kNever = 1,
};

/// What `larder replay` is to do; docs/replay.md explains each.
struct ReplayOptions {
  std::vector<std::string> traces;
  /// Names, "all" (larder's own), "baselines", or "bound".
  std::vector<std::string> policies = {"adaptive", "least-recently-used"};
  /// Bytes ("64MiB"), items for a trace without sizes, or "5%".
  std::vector<std::string> sizes = {"1%", "5%", "10%", "20%"};
  std::vector<Objective> objectives = {Objective::kObjects};
  ReplayVia via = ReplayVia::kSimulator;

  LoadOptions load;
  bool ignore_size = false;
  bool use_ttl = false;

  ReplayOutput output = ReplayOutput::kTable;
  ShowProgress progress = ShowProgress::kWhenTerminal;
  /// SVG files to draw; empty = none.
  std::string plot_path;
  std::string plot_time_path;
  /// JSON of an earlier run to compare with; empty = none.
  std::string baseline_path;
  /// Largest difference of a miss ratio that is no deviation.
  double tolerance = 0.01;

  /// 0 = as many as the machine has.
  unsigned thread_count = 0;
  std::uint32_t bucket_count = 256;
  std::uint64_t random_seed = 1;
  /// Where engine runs put their directories; empty = the system's place for
  /// temporary files. They are deleted afterwards.
  std::string directory;
  /// Engine: entries below the cutoff count as hits while their bytes exist.
  bool serve_evicted = false;
};

/// Exit codes of RunReplay.
enum ReplayExit : int {
  kReplayOk = 0,
  /// --baseline found a deviation.
  kReplayDeviates = 1,
  kReplayUsage = 2,
  kReplayError = 3,
};

/// Replays every trace with every policy at every size and prints what came of
/// it on `out`; errors and notes are lines on `err`. Returns a ReplayExit.
[[nodiscard]] int RunReplay(const ReplayOptions& options, std::ostream& out,
                            std::ostream& err);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_REPLAY_H_
