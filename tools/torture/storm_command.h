#ifndef LARDER_TOOLS_TORTURE_STORM_COMMAND_H_
#define LARDER_TOOLS_TORTURE_STORM_COMMAND_H_

#include "commands/command_line.h"
#include "torture/storm_run.h"

/// `larder torture --full`: rounds of the storm, and their common verdict.

namespace larder::tools {

struct StormArguments {
  std::string directory;  ///< In which the caches of all rounds are made.
  unsigned processes = 4;
  double seconds = 600;
  double round_seconds = 30;
  std::uint64_t kill_every_ms = 300;
  double hang_after_seconds = 30;
  bool fill_disk = false;
  std::uint64_t seed = 1;
};

/// Returns the exit code: kExitMiss if anything was found wrong.
int RunStormRounds(const StormArguments& arguments, const OutputFormat& format);

/// The command that the processes of a round are; not for people.
void AddStormWorker(CommandLine& line);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_STORM_COMMAND_H_
