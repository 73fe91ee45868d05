#include "torture/storm_command.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

#include "commands/cache_access.h"
#include "commands/interruption.h"
#include "commands/option_types.h"
#include "commands/output.h"
#include "measure/scratch_directory.h"
#include "torture/storm_worker.h"

namespace larder::tools {
namespace {

namespace fs = std::filesystem;

// A round that went well leaves nothing behind.
Result<StormReport> RunRound(const StormArguments& arguments,
                             const fs::path& scratch, std::uint64_t seed,
                             double seconds) {
  const fs::path place = scratch / std::to_string(seed);
  std::error_code error;
  fs::create_directories(place / "work", error);
  if (error) {
    return Fail(Status::FromErrno(error.value(), "create " + place.string()));
  }
  StormOptions options;
  options.directory = place / "cache";
  options.work = place / "work";
  options.processes = arguments.processes;
  options.seconds = seconds;
  options.kill_every = std::chrono::milliseconds(arguments.kill_every_ms);
  options.hang_after = std::chrono::milliseconds(
      static_cast<std::int64_t>(arguments.hang_after_seconds * 1e3));
  options.fill_disk = arguments.fill_disk;
  options.seed = seed;
  options.stopped = &Interruption::signal();
  auto report = RunStorm(options);
  if (report && report->ok()) {
    fs::remove_all(place, error);
  } else if (report) {
    report->problems.insert(report->problems.begin(),
                            fmt::format("what round {} left is in {}; again: "
                                        "larder torture DIR --full --seed "
                                        "{} --seconds {:.0f}",
                                        seed, place.string(), seed, seconds));
  }
  return report;
}

Json ReportJson(const StormArguments& arguments, const StormReport& report) {
  Json json = {{"ok", report.ok()},
               {"seed", arguments.seed},
               {"processes", arguments.processes},
               {"seconds", report.seconds},
               {"rounds", report.rounds},
               {"holders_killed", report.holders_killed},
               {"clients_killed", report.clients_killed},
               {"stopped", report.stops},
               {"stopped_long", report.long_stops},
               {"write_faults", report.write_faults},
               {"full_disks", report.full_disks},
               {"forks", report.forks},
               {"acknowledged", report.acknowledged},
               {"reads", report.reads},
               {"bytes_compared", report.bytes_compared},
               {"handles_held", report.handles_held},
               {"streams", report.streams},
               {"clears", report.clears},
               {"refused", report.refused},
               {"in_doubt", report.in_doubt}};
  for (std::size_t i = 0; i < kStormFaultCount; ++i) {
    json[StormFaultName(static_cast<StormFault>(i))] = report.faults[i];
  }
  json["damaged"] = report.damaged;
  json["evicted"] = report.evicted;
  json["hung"] = report.hung;
  json["died"] = report.died;
  json["size_samples"] = report.size_samples;
  json["over_limit"] = report.over_limit;
  json["size_max"] = report.size_max;
  json["problems"] = report.problems;
  return json;
}

std::string ReportText(const StormArguments& arguments,
                       const StormReport& report) {
  std::string text;
  const auto line = [&text](std::string_view name, const std::string& value) {
    text += fmt::format("{:<14} {}\n", name, value);
  };
  line("storm", fmt::format("{} processes for {:.1f} s in {} rounds, seed {}",
                            arguments.processes, report.seconds, report.rounds,
                            arguments.seed));
  line("killed", fmt::format("{} holders, {} clients", report.holders_killed,
                             report.clients_killed));
  line("stopped", fmt::format("{} for a while, {} for more than 10 s",
                              report.stops, report.long_stops));
  line("failed", fmt::format("writes of a holder {} times, full disk {} times",
                             report.write_faults, report.full_disks));
  line("forked", kStormForks ? fmt::format("{}", report.forks)
                             : "0, as this program has a sanitizer");
  line("acknowledged",
       fmt::format("{} changes; {} refused for want of room, {} in doubt",
                   report.acknowledged, report.refused, report.in_doubt));
  line("read",
       fmt::format("{} values, {} compared; {} handles and {} streams "
                   "held; {} clears",
                   report.reads, FormatRoughBytes(report.bytes_compared),
                   report.handles_held, report.streams, report.clears));
  for (std::size_t i = 0; i < kStormFaultCount; ++i) {
    line(StormFaultName(static_cast<StormFault>(i)),
         fmt::format("{}", report.faults[i]));
  }
  line("damaged", fmt::format("{}", report.damaged));
  line("evicted", fmt::format("{} where nothing may be", report.evicted));
  line("hung",
       fmt::format("{}, {} ended by themselves", report.hung, report.died));
  line("over limit",
       fmt::format("{} of {} samples, largest {:.3f} of the limit",
                   report.over_limit, report.size_samples, report.size_max));
  for (const std::string& problem : report.problems) line("problem", problem);
  return text + (report.ok() ? "ok\n" : "FAILED\n");
}

Result<StormReport> RunRounds(const StormArguments& arguments,
                              const fs::path& scratch) {
  StormReport sum;
  double left = arguments.seconds;
  for (std::uint64_t seed = arguments.seed;
       left > 0 && Interruption::signal() == 0; ++seed) {
    const double seconds = std::min(left, arguments.round_seconds);
    left -= seconds;
    const auto round = RunRound(arguments, scratch, seed, seconds);
    if (!round) return Fail(round.error());
    sum.Add(*round);
  }
  return sum;
}

}  // namespace

int RunStormRounds(const StormArguments& arguments,
                   const OutputFormat& format) {
  const std::string& directory = arguments.directory;
  if (const Status own = CheckNotInCache(directory); !own.ok()) {
    return ReportError(own, {}, kUseOwnDirectory);
  }
  const Interruption interruption;
  auto scratch = ScratchDirectory::Create(directory, "torture");
  if (!scratch) return ReportError(scratch.error(), directory);
  Result<StormReport> sum = RunRounds(arguments, scratch->path());
  const bool is_stopped = Interruption::signal() != 0;
  if (sum && !sum->ok() && !is_stopped) scratch->Keep();
  NoteFailure(scratch->Remove());
  Interruption::EndIfNoted();
  if (!sum) return ReportError(sum.error(), directory);
  if (format.json) {
    PrintJson(ReportJson(arguments, *sum));
  } else {
    Print(ReportText(arguments, *sum));
  }
  return sum->ok() ? kExitOk : kExitMiss;
}

void AddStormWorker(CommandLine& line) {
  struct Arguments {
    StormWorkerOptions options;
    pid_t parent = 0;
  };
  auto given = std::make_shared<Arguments>();
  CLI::App* command = line.AddCommand(
      "torture-storm", "", [given](const OutputFormat& /*format*/) {
        // It died before we could ask to be told.
        if (::getppid() != given->parent) return int{kExitError};
        StormWorkerOptions& options = given->options;
        const CacheOptions cache = StormCacheOptions(options.seed);
        SetUpStormWorker(options);
        const Status status = RunStormWorker(options, cache);
        return status.ok() ? int{kExitOk}
                           : ReportError(status, options.directory);
      });
  command->group("");  // Not in the help text.
  StormWorkerOptions& options = given->options;
  command->add_option("DIRECTORY", options.directory)->required();
  command->add_option("WORK", options.work)->required();
  command->add_option("PROCESS", options.process)->required();
  command->add_option("PROCESSES", options.processes)->required();
  command->add_option("KEYS", options.keys)->required();
  command->add_option("SEED", options.seed)->required();
  command->add_option("PARENT", given->parent)->required();
}

}  // namespace larder::tools
