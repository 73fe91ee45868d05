#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "commands/cache_access.h"
#include "commands/command_line.h"
#include "commands/option_types.h"
#include "commands/output.h"

// check, repair and reset: what to do about damage, from the first step that
// helps to the last one.

namespace larder::tools {
namespace {

Json CheckJson(const CheckReport& report, bool sound) {
  Json problems = Json::array();
  for (const std::string& problem : report.problems) {
    problems.push_back(problem);
  }
  return {
      {"ok", sound},
      {"items_checked", report.items_checked},
      {"bytes_checked", report.bytes_checked},
      {"values_damaged", report.values_damaged},
      {"values_missing", report.values_missing},
      {"index_entries_stale", report.index_entries_stale},
      {"counters_match", report.counters_match},
      {"count_ledger", report.count_ledger},
      {"count_recount", report.count_recount},
      {"bytes_ledger", report.bytes_ledger},
      {"bytes_recount", report.bytes_recount},
      {"repaired", report.repaired},
      {"problems", problems},
  };
}

std::string CheckText(const CheckReport& report, bool sound) {
  std::string text;
  for (const std::string& problem : report.problems) {
    text += fmt::format("{}\n", problem);
  }
  text += fmt::format(
      "{} items, {}: {} damaged, {} missing, counters {}, {} repaired: {}\n",
      report.items_checked, FormatRoughBytes(report.bytes_checked),
      report.values_damaged, report.values_missing,
      report.counters_match ? "match" : "do not match", report.repaired,
      sound ? "ok" : "damaged");
  return text;
}

// After a repair, a second look says whether the cache is sound now.
Result<int> CheckCache(Cache& cache, bool repair, const OutputFormat& format) {
  const auto report = cache.Check(repair);
  if (!report) {
    return Fail(report.error());
  }
  bool sound = report->ok();
  if (!sound && repair) {
    const auto second = cache.Check(false);
    if (!second) {
      return Fail(second.error());
    }
    sound = second->ok();
  }
  if (format.json) {
    PrintJson(CheckJson(*report, sound));
  } else {
    Print(CheckText(*report, sound));
  }
  return sound ? kExitOk : kExitMiss;
}

struct CheckOptions {
  std::string directory;
  bool repair = false;
};

int RunCheck(const CheckOptions& options, const OutputFormat& format) {
  const auto check = [&](Cache& cache) {
    return CheckCache(cache, options.repair, format);
  };
  return options.repair ? RepairCache(options.directory, format, check)
                        : ReadCache(options.directory, format, check);
}

struct ResetOptions {
  std::string directory;
  bool yes = false;
};

std::uint64_t FileBytes(const std::string& directory) {
  std::uint64_t bytes = 0;
  std::error_code error;
  std::filesystem::recursive_directory_iterator files(directory, error);
  for (; !error && files != std::filesystem::recursive_directory_iterator();
       files.increment(error)) {
    std::error_code unknown;
    const std::uintmax_t size = files->file_size(unknown);
    if (!unknown) bytes += size;
  }
  return bytes;
}

// True if whoever sits at the terminal agrees.
bool Asks(const std::string& question) {
  std::fprintf(stderr, "%s [y/N] ", question.c_str());
  char answer[16] = {};
  return std::fgets(answer, sizeof(answer), stdin) != nullptr &&
         (answer[0] == 'y' || answer[0] == 'Y');
}

int RunReset(const ResetOptions& options, const OutputFormat& format) {
  const EngineOptions engine = MakeCacheOptions(OpenMode::kExisting, format);
  const std::uint64_t size = FileBytes(options.directory);
  const std::string what =
      fmt::format("reset throws away all items and settings of {}, {}",
                  options.directory, FormatRoughBytes(size));
  if (!options.yes) {
    if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0) {
      return ReportUsage(what, "add --yes");
    }
    if (!Asks(what + ". Go on?")) {
      Note("nothing was changed");
      return kExitMiss;
    }
  }
  const Status status = ResetCache(options.directory, engine);
  if (!status.ok()) {
    return ReportError(status, options.directory);
  }
  if (format.json) {
    PrintJson({{"reset", true}, {"bytes_dropped", size}});
  } else {
    Print(fmt::format("an empty cache now, {} dropped\n",
                      FormatRoughBytes(size)));
  }
  return kExitOk;
}

}  // namespace

void AddCheckCommands(CommandLine& line) {
  auto check = std::make_shared<CheckOptions>();
  CLI::App* command = line.AddCommand(
      "check", "Verify every checksum and every counter",
      [check](const OutputFormat& format) { return RunCheck(*check, format); });
  AddDirectoryArgument(command, check->directory);
  command->add_flag("--repair", check->repair, "The same as 'larder repair'");

  auto repair = std::make_shared<CheckOptions>();
  repair->repair = true;
  command = line.AddCommand("repair",
                            "Make a damaged cache whole: keep what can be read",
                            [repair](const OutputFormat& format) {
                              return RunCheck(*repair, format);
                            });
  AddDirectoryArgument(command, repair->directory);

  auto reset = std::make_shared<ResetOptions>();
  command = line.AddCommand(
      "reset", "Throw away everything in a cache that cannot be repaired",
      [reset](const OutputFormat& format) { return RunReset(*reset, format); });
  AddDirectoryArgument(command, reset->directory);
  command->add_flag("--yes", reset->yes, "Do not ask");
}

}  // namespace larder::tools
