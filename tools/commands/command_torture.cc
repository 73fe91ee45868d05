// larder torture: many writers of one cache, killed at random, and the proof
// that nothing they were told is lost.

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "commands/cache_access.h"
#include "commands/command_line.h"
#include "commands/interruption.h"
#include "commands/number_option.h"
#include "commands/option_types.h"
#include "commands/output.h"
#include "measure/scratch_directory.h"
#include "torture/storm_command.h"
#include "torture/torture_proof.h"
#include "torture/torture_run.h"
#include "torture/torture_writer.h"

namespace larder::tools {
namespace {

struct TortureArguments {
  TortureOptions options;
  std::optional<std::string> journals;
  double hang_after_seconds = 20;
  std::uint64_t kill_every_ms = 200;
  SettingList settings;
  bool full = false;
  double round_seconds = 30;
  bool fill_disk = false;
};

double At(const std::vector<double>& sorted, double fraction) {
  return sorted.empty()
             ? 0.0
             : sorted[static_cast<std::size_t>(
                   fraction * static_cast<double>(sorted.size() - 1) + 0.5)];
}

bool IsOk(const TortureEvents& events, const TortureProof& proof) {
  return events.hung == 0 && events.died == 0 && proof.ok();
}

double CallsPerSecond(std::uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0.0;
}

Json ProofJson(const TortureOptions& options, const TortureEvents& events,
               const TortureProof& proof) {
  Json failed = Json::object();
  for (const auto& [code, count] : proof.failed) failed[code] = count;
  Json problems = Json::array();
  for (const auto* list : {&events.problems, &proof.problems}) {
    for (const std::string& problem : *list) problems.push_back(problem);
  }
  const std::vector<double>& takeovers = proof.takeover_ms;
  return {{"ok", IsOk(events, proof)},
          {"processes", options.processes},
          {"seconds", events.seconds},
          {"seed", options.seed},
          {"holders_killed", events.holder_kills.size()},
          {"clients_killed", events.clients_killed},
          {"stopped", events.stops},
          {"acknowledged", proof.acknowledged},
          {"acknowledged_per_second",
           CallsPerSecond(proof.acknowledged, events.seconds)},
          {"reads", proof.reads},
          {"in_doubt", proof.in_doubt},
          {"failed_calls", failed},
          {"lost", proof.faults.lost},
          {"repeated", proof.faults.repeated},
          {"stale", proof.faults.stale},
          {"torn", proof.faults.torn},
          {"split", proof.faults.split},
          {"hung", events.hung},
          {"died", events.died},
          {"evicted", proof.evictions},
          {"counters_match", proof.check.counters_match},
          {"count_ledger", proof.check.count_ledger},
          {"count_recount", proof.check.count_recount},
          {"bytes_ledger", proof.check.bytes_ledger},
          {"bytes_recount", proof.check.bytes_recount},
          {"values_damaged", proof.check.values_damaged},
          {"values_missing", proof.check.values_missing},
          {"takeover",
           {{"count", takeovers.size()},
            {"p50_ms", At(takeovers, 0.50)},
            {"p99_ms", At(takeovers, 0.99)},
            {"max_ms", At(takeovers, 1.0)}}},
          {"problems", problems}};
}

std::string ProofText(const TortureOptions& options,
                      const TortureEvents& events, const TortureProof& proof) {
  std::string text;
  const auto line = [&text](std::string_view name, const std::string& value) {
    text += fmt::format("{:<14} {}\n", name, value);
  };
  line("writers", fmt::format("{} processes for {:.1f} s, seed {}",
                              options.processes, events.seconds, options.seed));
  line("killed", fmt::format("{} holders, {} clients; {} stopped for a while",
                             events.holder_kills.size(), events.clients_killed,
                             events.stops));
  line("acknowledged",
       fmt::format("{} writes ({:.0f}/s), {} reads; {} writes in doubt",
                   proof.acknowledged,
                   CallsPerSecond(proof.acknowledged, events.seconds),
                   proof.reads, proof.in_doubt));
  line("lost", fmt::format("{}", proof.faults.lost));
  line("repeated", fmt::format("{}", proof.faults.repeated));
  line("stale", fmt::format("{}", proof.faults.stale));
  line("torn", fmt::format("{}", proof.faults.torn));
  line("split", fmt::format("{}", proof.faults.split));
  line("hung",
       fmt::format("{}, {} ended by themselves", events.hung, events.died));
  line("counters",
       fmt::format("{}: {} items, {} counted; {} B, {} counted",
                   proof.check.counters_match ? "match" : "do not match",
                   proof.check.count_ledger, proof.check.count_recount,
                   proof.check.bytes_ledger, proof.check.bytes_recount));
  for (const auto& [code, count] : proof.failed) {
    line("failed calls", fmt::format("{} {}", count, code));
  }
  const std::vector<double>& takeovers = proof.takeover_ms;
  line("takeover", fmt::format("median {:.1f} ms, p99 {:.1f} ms, max {:.1f} ms "
                               "of {}",
                               At(takeovers, 0.50), At(takeovers, 0.99),
                               At(takeovers, 1.0), takeovers.size()));
  for (const auto* list : {&events.problems, &proof.problems}) {
    for (const std::string& problem : *list) line("problem", problem);
  }
  return text + (IsOk(events, proof) ? "ok\n" : "FAILED\n");
}

// Writers only open it.
Status MakeCache(const TortureArguments& given, const OutputFormat& format) {
  CacheOptions options = MakeCacheOptions(OpenMode::kCreate, format);
  options.settings = given.settings;
  auto cache = Cache::Open(given.options.directory, std::move(options));
  return cache ? (*cache)->Close() : cache.error();
}

int Prove(const TortureArguments& given, const TortureEvents& events,
          const OutputFormat& format) {
  const auto prove = [&](Cache& cache) -> Result<int> {
    const auto proof = ProveTorture(given.options, events, cache);
    if (!proof) return Fail(proof.error());
    if (format.json) {
      PrintJson(ProofJson(given.options, events, *proof));
    } else {
      Print(ProofText(given.options, events, *proof));
    }
    return IsOk(events, *proof) ? kExitOk : kExitMiss;
  };
  return ChangeCache(given.options.directory, format, prove);
}

// `scratch`: of the cache, which goes unless it says what went wrong.
int RunIn(ScratchDirectory& scratch, TortureArguments given,
          const OutputFormat& format) {
  TortureOptions& options = given.options;
  auto work = ScratchDirectory::Create(
      given.journals ? std::filesystem::path(*given.journals) : scratch.path(),
      "journals");
  if (!work) return ReportError(work.error(), {});
  options.directory = scratch.path() / "cache";
  options.work = work->path();
  options.kill_every = std::chrono::milliseconds(given.kill_every_ms);
  options.hang_after = std::chrono::milliseconds(
      static_cast<std::int64_t>(given.hang_after_seconds * 1e3));
  options.run = static_cast<std::uint64_t>(
      std::chrono::system_clock::now().time_since_epoch().count());
  options.stopped = &Interruption::signal();
  if (const Status made = MakeCache(given, format); !made.ok()) {
    return ReportError(made, options.directory);
  }
  const auto events = RunTorture(options);
  if (Interruption::signal() != 0) return kExitError;
  if (!events) return ReportError(events.error(), options.directory);
  const int code = Prove(given, *events, format);
  if (code != kExitOk) {
    scratch.Keep();
    work->Keep();
    Note(
        fmt::format("the cache is {}, journals and messages of the writers "
                    "are in {}",
                    options.directory, options.work));
  }
  return code;
}

int RunTortureOnce(const TortureArguments& given, const OutputFormat& format) {
  const std::string& directory = given.options.directory;
  if (const Status own = CheckNotInCache(directory); !own.ok()) {
    return ReportError(own, {}, kUseOwnDirectory);
  }
  const Interruption interruption;
  auto scratch = ScratchDirectory::Create(directory, "torture");
  if (!scratch) return ReportError(scratch.error(), directory);
  const int code = RunIn(*scratch, given, format);
  NoteFailure(scratch->Remove());
  Interruption::EndIfNoted();
  return code;
}

// What was not said has other defaults there.
int RunFull(const CLI::App& command, const TortureArguments& given,
            const OutputFormat& format) {
  StormArguments storm;
  storm.directory = given.options.directory;
  storm.processes = std::min(given.options.processes, kStormProcessesMax);
  storm.seed = given.options.seed;
  storm.round_seconds = given.round_seconds;
  storm.fill_disk = given.fill_disk;
  if (command.count("--seconds") != 0) storm.seconds = given.options.seconds;
  if (command.count("--kill-every") != 0) {
    storm.kill_every_ms = given.kill_every_ms;
  }
  if (command.count("--hang-after") != 0) {
    storm.hang_after_seconds = given.hang_after_seconds;
  }
  return RunStormRounds(storm, format);
}

void AddTorture(CommandLine& line) {
  auto given = std::make_shared<TortureArguments>();
  auto self = std::make_shared<CLI::App*>(nullptr);
  CLI::App* command = line.AddCommand(
      "torture", "Kill processes at random, prove that nothing is lost",
      [given, self](const OutputFormat& format) {
        return given->full ? RunFull(**self, *given, format)
                           : RunTortureOnce(*given, format);
      });
  *self = command;
  // Nothing may be evicted, or what is missing might have been.
  given->settings = {{"policy", "none"}, {"when_full", "fail"}};
  TortureOptions& options = given->options;
  AddDirectoryArgument(command, options.directory);
  AddNumberOption<unsigned>(command, "--processes", options.processes,
                            {.min = 1, .max = kTortureProcessesMax},
                            "Writers, 4");
  AddNumberOption<double>(command, "--seconds", options.seconds,
                          {.min = 0.1, .max = 1e6}, "How long, 10");
  AddNumberOption<std::uint64_t>(command, "--kill-every", given->kill_every_ms,
                                 {.min = 0, .max = 3'600'000},
                                 "Milliseconds between kills, 200; 0: none");
  command->add_flag("--stop", options.stop, "Stop and continue some, too");
  AddNumberOption<double>(command, "--hang-after", given->hang_after_seconds,
                          {.min = 1.0, .max = 3600.0},
                          "Seconds without progress that are a hang, 20");
  AddNumberOption<std::uint64_t>(command, "--seed", options.seed, {},
                                 "Of the random choices");
  command->add_option("--journals", given->journals,
                      "Where writers keep their journals, beside the cache by "
                      "default; removed if all went well");
  command->add_flag("--full", given->full,
                    "Readers that hold what they read, streams, clears, forks, "
                    "faults, too: 600 s, in rounds");
  AddNumberOption<double>(command, "--round-seconds", given->round_seconds,
                          {.min = 0.1, .max = 1e6},
                          "With --full: how long each cache is used, 30");
  command->add_flag("--fill-disk", given->fill_disk,
                    "With --full: fill the file system now and then; one made "
                    "for that, of up to 8 GiB");
  AddCreateOptions(command, given->settings);
}

// What torture starts; not for people.
void AddTortureWriter(CommandLine& line) {
  struct Arguments {
    TortureWriterOptions options;
    pid_t parent = 0;
  };
  auto given = std::make_shared<Arguments>();
  CLI::App* command = line.AddCommand(
      "torture-writer", "", [given](const OutputFormat& format) {
        // It died before we could ask to be told.
        if (::getppid() != given->parent) return int{kExitError};
        const Status status = RunTortureWriter(
            given->options, MakeCacheOptions(OpenMode::kExisting, format));
        return status.ok() ? int{kExitOk}
                           : ReportError(status, given->options.directory);
      });
  command->group("");  // Not in the help text.
  TortureWriterOptions& options = given->options;
  AddDirectoryArgument(command, options.directory);
  command->add_option("WORK", options.work)->required();
  command->add_option("RUN", options.life.run)->required();
  command->add_option("WRITER", options.life.writer)->required();
  command->add_option("LIFE", options.life.life)->required();
  command->add_option("SEED", options.seed)->required();
  command->add_option("PARENT", given->parent)->required();
}

}  // namespace

void AddTortureCommand(CommandLine& line) {
  AddTorture(line);
  AddTortureWriter(line);
  AddStormWorker(line);
}

}  // namespace larder::tools
