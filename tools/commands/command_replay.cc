#include <iostream>
#include <memory>

#include "commands/command_line.h"
#include "replay_command.h"

// `larder replay`: the library in tools/replay does the work, and prints it
// itself, since it is a tool for bench/policies too.

namespace larder::tools {

void AddReplayCommand(CommandLine& line) {
  const auto options = std::make_shared<replay::ReplayOptions>();
  CLI::App* command = line.AddCommand(
      "replay", "Replay traces: which policy, which size?",
      [options](const OutputFormat& format) {
        if (format.json) options->output = replay::ReplayOutput::kJson;
        return replay::RunReplay(*options, std::cout, std::cerr);
      });
  replay::AddReplayOptions(*command, *options);
}

}  // namespace larder::tools
