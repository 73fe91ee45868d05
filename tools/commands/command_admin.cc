// The commands on a whole cache: stats, check, expire, cull, clear, evict,
// settings.

#include <memory>
#include <string>

#include <fmt/format.h>

#include "commands/cache_access.h"
#include "commands/command_line.h"
#include "commands/option_types.h"
#include "commands/output.h"

namespace larder::tools {
namespace {

// stats ----------------------------------------------------------------------

// null: the cache is open read-only, so none does.
Json PolicyRunningJson(const EngineStats& stats) {
  return stats.policy_running.empty() ? Json(nullptr)
                                      : Json(stats.policy_running);
}

Json StatsJson(const EngineStats& stats) {
  return {
      {"count", stats.count},
      {"live_bytes", stats.live_bytes},
      {"pinned_bytes", stats.pinned_bytes},
      {"disk_bytes", stats.disk_bytes},
      {"size_limit", stats.size_limit},
      {"hits", stats.hits},
      {"misses", stats.misses},
      {"sets", stats.sets},
      {"deletes", stats.deletes},
      {"evictions", stats.evictions},
      {"expirations", stats.expirations},
      {"corruptions", stats.corruptions},
      {"policy", stats.policy},
      {"policy_running", PolicyRunningJson(stats)},
      {"segments", stats.segments},
      {"segments_cleaned", stats.segments_cleaned},
      {"bytes_moved", stats.bytes_moved},
      {"log_bytes", stats.log_bytes},
      {"log_live_bytes", stats.log_live_bytes},
      {"held_bytes", stats.held_bytes},
      {"bytes_written_user", stats.bytes_written_user},
      {"bytes_written_disk", stats.bytes_written_disk},
      {"restamps", stats.restamps},
      {"eviction_events_dropped", stats.eviction_events_dropped},
      {"callbacks_failed", stats.callbacks_failed},
  };
}

// What is to be said of a policy that does not run; empty if it does.
std::string PolicyNote(const EngineStats& stats) {
  if (stats.policy_running.empty() || stats.policy_running == stats.policy) {
    return {};
  }
  return fmt::format(
      "(not registered in the process that holds the store; {} runs)",
      stats.policy_running);
}

double Percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0
             ? 0.0
             : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

std::string WriteAmplification(const EngineStats& stats) {
  if (stats.bytes_written_user == 0) {
    return {};
  }
  return fmt::format(": write amplification {:.2f}",
                     static_cast<double>(stats.bytes_written_disk) /
                         static_cast<double>(stats.bytes_written_user));
}

std::string StatsText(const EngineStats& stats) {
  const auto bytes = [](std::uint64_t count) {
    return fmt::format("{} ({} B)", FormatRoughBytes(count), count);
  };
  std::string text;
  const auto line = [&text](std::string_view name, const std::string& value) {
    text += fmt::format("{:<14} {}\n", name, value);
  };
  line("items", fmt::format("{}", stats.count));
  line("live bytes", bytes(stats.live_bytes));
  line("pinned bytes", bytes(stats.pinned_bytes));
  line("disk bytes", bytes(stats.disk_bytes));
  line("size limit", fmt::format("{}, {:.1f} % used", bytes(stats.size_limit),
                                 Percent(stats.disk_bytes, stats.size_limit)));
  const std::string note = PolicyNote(stats);
  line("policy", note.empty() ? stats.policy : stats.policy + " " + note);
  line("hits", fmt::format("{} ({:.1f} %)", stats.hits,
                           Percent(stats.hits, stats.hits + stats.misses)));
  line("misses", fmt::format("{}", stats.misses));
  line("sets", fmt::format("{}", stats.sets));
  line("deletes", fmt::format("{}", stats.deletes));
  line("evictions", fmt::format("{}", stats.evictions));
  line("expirations", fmt::format("{}", stats.expirations));
  line("corruptions", fmt::format("{}", stats.corruptions));
  line("segments", fmt::format("{}, {:.1f} % of the log live", stats.segments,
                               Percent(stats.log_live_bytes, stats.log_bytes)));
  if (stats.held_bytes != 0) {
    line("held", fmt::format("{} of removed segments, by handles and scans",
                             FormatRoughBytes(stats.held_bytes)));
  }
  // Of the process that has the store open.
  line("cleaned", fmt::format("{} segments, {} moved, since it was opened",
                              stats.segments_cleaned,
                              FormatRoughBytes(stats.bytes_moved)));
  line("written", fmt::format("{} for {} of values, since it was opened{}",
                              FormatRoughBytes(stats.bytes_written_disk),
                              FormatRoughBytes(stats.bytes_written_user),
                              WriteAmplification(stats)));
  return text;
}

int RunStats(const std::string& directory, const OutputFormat& format) {
  const auto show = [&](Cache& cache) -> Result<int> {
    const auto stats = cache.Stats();
    if (!stats) {
      return Fail(stats.error());
    }
    if (format.json) {
      PrintJson(StatsJson(*stats));
    } else {
      Print(StatsText(*stats));
    }
    return kExitOk;
  };
  return ReadCache(directory, format, show);
}

// expire, cull, clear, evict -------------------------------------------------

// Runs what gives a count and prints it as `name`.
int RunCounted(const std::string& directory, const std::string& name,
               const OutputFormat& format,
               const std::function<Result<std::uint64_t>(Cache&)>& change) {
  const auto run = [&](Cache& cache) -> Result<int> {
    const auto count = change(cache);
    if (!count) {
      return Fail(count.error());
    }
    if (format.json) {
      PrintJson({{name, *count}});
    } else {
      Print(fmt::format("{} {}\n", *count, name));
    }
    return kExitOk;
  };
  return ChangeCache(directory, format, run);
}

struct CountedOptions {
  std::string directory;
  std::string tag;
  std::optional<std::uint64_t> live_bytes_target;
};

void AddCountedCommands(CommandLine& line) {
  auto options = std::make_shared<CountedOptions>();
  const auto add = [&](const std::string& name, const std::string& description,
                       const std::string& field, auto change) {
    CLI::App* command = line.AddCommand(
        name, description,
        [options, field, change](const OutputFormat& format) {
          return RunCounted(
              options->directory, field, format,
              [&](Cache& cache) { return change(cache, *options); });
        });
    AddDirectoryArgument(command, options->directory);
    return command;
  };
  add("expire", "Free what has expired", "expired",
      [](Cache& cache, const CountedOptions&) { return cache.Expire(); });
  CLI::App* cull =
      add("cull", "Expire, evict down to the limits, hand space back",
          "evicted", [](Cache& cache, const CountedOptions& given) {
            return cache.Cull(given.live_bytes_target);
          });
  AddByteCountOption(cull, "--to", options->live_bytes_target,
                     "Evict until at most so many live bytes are left");
  add("clear", "Delete everything", "cleared",
      [](Cache& cache, const CountedOptions&) { return cache.Clear(); });
  CLI::App* evict = add("evict", "Evict all items with a tag", "evicted",
                        [](Cache& cache, const CountedOptions& given) {
                          return cache.Evict(given.tag);
                        });
  evict->add_option("TAG", options->tag, "Tag")->required();
}

// settings -------------------------------------------------------------------

struct SettingsOptions {
  std::string directory;
  std::optional<std::string> name;
  std::optional<std::string> value;
};

void PrintSettings(const Settings& settings, const EngineStats& stats,
                   const OutputFormat& format) {
  const std::string note = PolicyNote(stats);
  Json all;
  for (const SettingText& setting : DescribeSettings(settings)) {
    all[setting.name] = setting.value;
    if (!format.json) {
      const bool noted = setting.name == "policy" && !note.empty();
      Print(fmt::format("{:<18} {:<22} {}\n", setting.name, setting.value,
                        noted ? note : setting.description));
    }
  }
  if (format.json) {
    PrintJson(
        {{"settings", all}, {"policy_running", PolicyRunningJson(stats)}});
  }
}

void PrintSetting(const std::string& name, const std::string& value,
                  const EngineStats& stats, const OutputFormat& format) {
  if (!format.json) {
    const std::string note = name == "policy" ? PolicyNote(stats) : "";
    Print(note.empty() ? value + "\n" : value + " " + note + "\n");
    return;
  }
  Json json = {{"name", name}, {"value", value}};
  if (name == "policy") json["running"] = PolicyRunningJson(stats);
  PrintJson(json);
}

Result<int> ShowOrChangeSetting(Cache& cache, const SettingsOptions& options,
                                const OutputFormat& format) {
  if (options.value) {
    LARDER_FAIL_IF_ERROR(cache.Reset(*options.name, *options.value));
  }
  // Without figures the settings are shown all the same.
  const bool shows_policy = !options.name || *options.name == "policy";
  const EngineStats stats =
      shows_policy ? cache.Stats().value_or(EngineStats()) : EngineStats();
  if (!options.name) {
    PrintSettings(cache.CurrentSettings(), stats, format);
    return kExitOk;
  }
  const auto text = FormatSetting(cache.CurrentSettings(), *options.name);
  if (!text) {
    return Fail(text.error());
  }
  PrintSetting(*options.name, *text, stats, format);
  return kExitOk;
}

int RunSettings(const SettingsOptions& options, const OutputFormat& format) {
  const auto run = [&](Cache& cache) {
    return ShowOrChangeSetting(cache, options, format);
  };
  return options.value ? ChangeCache(options.directory, format, run)
                       : ReadCache(options.directory, format, run);
}

}  // namespace

void AddAdminCommands(CommandLine& line) {
  auto stats = std::make_shared<std::string>();
  CLI::App* command = line.AddCommand(
      "stats", "Show the figures of a cache",
      [stats](const OutputFormat& format) { return RunStats(*stats, format); });
  AddDirectoryArgument(command, *stats);

  AddCountedCommands(line);

  auto settings = std::make_shared<SettingsOptions>();
  command = line.AddCommand("settings", "Show the settings, or change one",
                            [settings](const OutputFormat& format) {
                              return RunSettings(*settings, format);
                            });
  AddDirectoryArgument(command, settings->directory);
  command->add_option("NAME", settings->name, "Setting to show");
  command->add_option("VALUE", settings->value, "Its new value");
}

}  // namespace larder::tools
