#ifndef LARDER_TOOLS_REPLAY_ENGINE_RUN_H_
#define LARDER_TOOLS_REPLAY_ENGINE_RUN_H_

#include <string>

#include "larder/engine/clock.h"
#include "larder/engine/engine.h"
#include "larder/engine/status.h"

#include "replay_run.h"
#include "trace.h"

namespace larder::replay {

struct EngineRunOptions {
  /// Where the run makes its directory, which it deletes afterwards; empty =
  /// $TMPDIR or /tmp.
  std::string parent_directory;
  bool serve_evicted = false;
};

/// Runs the trace through a real cache directory: a get for each request, and
/// on a miss a set of a value of the request's size. The capacity counts value
/// bytes, as in the simulator. Values are made from key and fill number and
/// compared byte by byte on every hit; time is the trace's.
/// Errors: kInvalidArgument (policy, capacity), kTooLarge (an object that no
///         value can be), kCorruption (a hit returned other bytes than the
///         last fill: the cache is wrong), those of OpenEngine and Execute.
[[nodiscard]] Result<RunResult> RunThroughEngine(
    const Trace& trace, const RunSpec& spec, const EngineRunOptions& options);

/// The same on an engine that is open, empty, and takes its time from `clock`.
[[nodiscard]] Result<RunResult> RunOnEngine(const Trace& trace,
                                            const RunSpec& spec, Engine& engine,
                                            ManualClock& clock);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_ENGINE_RUN_H_
