#ifndef LARDER_TOOLS_REPLAY_REPLAY_COMMAND_H_
#define LARDER_TOOLS_REPLAY_REPLAY_COMMAND_H_

#include <CLI/CLI.hpp>

#include "replay.h"

namespace larder::replay {

/// Adds the options of `larder replay`, but for --json, to `command`. They are
/// bound to `options`, which must outlive the parsing.
void AddReplayOptions(CLI::App& command, ReplayOptions& options);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_REPLAY_COMMAND_H_
