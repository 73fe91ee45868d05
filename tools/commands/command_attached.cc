// larder attach and larder top: who has a cache open, and what they do. Both
// only look: they do not attach, so they cannot become the holder.

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "larder/engine/attached.h"

#include "commands/attached_rates.h"
#include "commands/command_line.h"
#include "commands/number_option.h"
#include "commands/option_types.h"
#include "commands/output.h"

namespace larder::tools {
namespace {

std::string_view StateName(AttachedState state) {
  switch (state) {
    case AttachedState::kRunning:
      return "running";
    case AttachedState::kStopped:
      return "stopped";
    case AttachedState::kBlocked:
      return "blocked";
    case AttachedState::kUnknown:
      break;
  }
  return "unknown";
}

std::string_view RoleName(const AttachedProcess& process) {
  return process.holds_seat ? "holder" : "client";
}

const AttachedProcess* HolderOf(const AttachedView& view) {
  const bool any = !view.processes.empty() && view.processes[0].holds_seat;
  return any ? &view.processes[0] : nullptr;
}

Json HolderJson(const AttachedView& view) {
  const AttachedProcess* const holder = HolderOf(view);
  return holder == nullptr ? Json(nullptr) : Json(holder->pid);
}

Json ProcessesJson(const AttachedView& view) {
  Json processes = Json::array();
  for (const AttachedProcess& process : view.processes) {
    Json slots = Json::array();
    for (const std::size_t slot : process.slots) slots.push_back(slot);
    processes.push_back({{"pid", process.pid},
                         {"role", RoleName(process)},
                         {"state", StateName(process.state)},
                         {"since", FormatTime(process.since)},
                         {"slots", slots},
                         {"requests", process.requests},
                         {"bytes", process.bytes},
                         {"has_policy", process.has_policy}});
  }
  return processes;
}

Json NameJson(const std::string& name) {
  return name.empty() ? Json(nullptr) : Json(name);
}

// Only where a policy of somebody's own does not run.
std::string PolicyText(const AttachedView& view) {
  if (view.policy == view.policy_running) return {};
  std::string text = fmt::format(
      "policy {} (not registered in the process that holds the store; {} "
      "runs)\n",
      view.policy, view.policy_running);
  for (const AttachedProcess& process : view.processes) {
    text += fmt::format("{:>8}  {} it\n", process.pid,
                        process.has_policy ? "has" : "lacks");
  }
  return text;
}

std::string ProcessesText(const AttachedView& view) {
  std::string text =
      fmt::format("{:>8}  {:<6}  {:<7}  {:<27}  {:<8} {:>12} {:>10}\n", "pid",
                  "role", "state", "since", "slots", "requests", "bytes");
  for (const AttachedProcess& process : view.processes) {
    std::string slots;
    for (const std::size_t slot : process.slots) {
      slots += (slots.empty() ? "" : ",") + std::to_string(slot);
    }
    text +=
        fmt::format("{:>8}  {:<6}  {:<7}  {:<27}  {:<8} {:>12} {:>10}\n",
                    process.pid, RoleName(process), StateName(process.state),
                    FormatTime(process.since), slots.empty() ? "-" : slots,
                    process.requests, FormatRoughBytes(process.bytes));
  }
  return text;
}

// attach ---------------------------------------------------------------------

int RunAttach(const std::string& directory, const OutputFormat& format) {
  const auto view = ReadAttached(directory);
  if (!view) return ReportError(view.error(), directory);
  if (format.json) {
    PrintJson({{"holder", HolderJson(*view)},
               {"serving", view->serving},
               {"region_directory", view->region_directory.string()},
               {"policy", NameJson(view->policy)},
               {"policy_running", NameJson(view->policy_running)},
               {"processes", ProcessesJson(*view)}});
  } else if (view->processes.empty()) {
    Print("nobody has it open\n");
  } else {
    Print(ProcessesText(*view) + PolicyText(*view));
  }
  return kExitOk;
}

// top ------------------------------------------------------------------------

struct TopOptions {
  std::string directory;
  double interval_seconds = 1;
  bool once = false;
};

Json OptionalJson(const std::optional<double>& figure) {
  return figure ? Json(*figure) : Json(nullptr);
}

Json StoreJson(const std::optional<StoreTotals>& store) {
  if (!store) return nullptr;
  return {{"published_at", FormatTime(store->published_at)},
          {"count", store->count},
          {"live_bytes", store->live_bytes},
          {"disk_bytes", store->disk_bytes},
          {"size_limit", store->size_limit},
          {"hits", store->hits},
          {"misses", store->misses},
          {"sets", store->sets},
          {"deletes", store->deletes},
          {"evictions", store->evictions},
          {"expirations", store->expirations}};
}

Json TopJson(const AttachedView& view, const AttachedRates& rates) {
  const AttachedFigures& figures = view.figures;
  return {{"holder", HolderJson(view)},
          {"serving", view.serving},
          {"policy", NameJson(view.policy)},
          {"policy_running", NameJson(view.policy_running)},
          {"processes", ProcessesJson(view)},
          {"operations_per_second", OptionalJson(rates.operations_per_second)},
          {"hot_reads_per_second", rates.hot_reads_per_second},
          {"requests_per_second", rates.requests_per_second},
          {"hit_ratio", OptionalJson(rates.hit_ratio)},
          {"hot_ratio", OptionalJson(rates.hot_ratio)},
          {"service_p50_us", OptionalJson(rates.service_p50_us)},
          {"service_p99_us", OptionalJson(rates.service_p99_us)},
          {"requests", figures.requests},
          {"commands", figures.commands},
          {"groups", figures.groups},
          {"cancelled", figures.cancelled},
          {"clients_evicted", figures.clients_evicted},
          {"bytes_in", figures.bytes_in},
          {"bytes_out", figures.bytes_out},
          {"takeovers", figures.takeovers},
          {"hot_hits", figures.hot_hits},
          {"hot_misses", figures.hot_misses},
          {"hot_size_bytes", figures.hot_size_bytes},
          {"store", StoreJson(figures.store)}};
}

std::string PercentText(const std::optional<double>& ratio) {
  return ratio ? fmt::format("{:.1f} %", 100 * *ratio) : "-";
}
std::string CountText(const std::optional<double>& count) {
  return count ? fmt::format("{:.0f}", *count) : "-";
}
std::string TimeText(const std::optional<double>& microseconds) {
  return microseconds ? fmt::format("{:.0f} us", *microseconds) : "-";
}

std::string HolderText(const AttachedView& view) {
  const AttachedProcess* const holder = HolderOf(view);
  if (holder == nullptr) return "none";
  return fmt::format("{} ({}{})", holder->pid, StateName(holder->state),
                     view.serving ? "" : ", opening");
}

// One line, for a file or a pipe.
std::string TopLine(const AttachedView& view, const AttachedRates& rates) {
  const std::size_t clients =
      view.processes.size() - (HolderOf(view) != nullptr ? 1 : 0);
  const auto& store = view.figures.store;
  return fmt::format(
      "{} holder {} clients {} ops/s {} hot/s {:.0f} requests/s {:.0f} "
      "service p50 {} p99 {} hits {} hot {} disk {}\n",
      FormatTime(Clock::System()->Now()), HolderText(view), clients,
      CountText(rates.operations_per_second), rates.hot_reads_per_second,
      rates.requests_per_second, TimeText(rates.service_p50_us),
      TimeText(rates.service_p99_us), PercentText(rates.hit_ratio),
      PercentText(rates.hot_ratio),
      store ? FormatRoughBytes(store->disk_bytes) : "-");
}

std::string TopScreen(const std::string& directory, const AttachedView& view,
                      const AttachedRates& rates) {
  const AttachedFigures& figures = view.figures;
  std::string text =
      fmt::format("{}  {}\n\n", directory, FormatTime(Clock::System()->Now()));
  const auto line = [&text](std::string_view name, const std::string& value) {
    text += fmt::format("{:<12} {}\n", name, value);
  };
  line("holder",
       fmt::format("{}, takeovers {}", HolderText(view), figures.takeovers));
  line("operations",
       CountText(rates.operations_per_second) +
           fmt::format("/s: hot reads {:.0f}/s, requests {:.0f}/s",
                       rates.hot_reads_per_second, rates.requests_per_second));
  line("service", fmt::format("p50 {}, p99 {}", TimeText(rates.service_p50_us),
                              TimeText(rates.service_p99_us)));
  line("hits",
       fmt::format("{} of all gets; hot tier answered {} ({})",
                   PercentText(rates.hit_ratio), PercentText(rates.hot_ratio),
                   FormatRoughBytes(figures.hot_size_bytes)));
  if (figures.store) {
    const StoreTotals& store = *figures.store;
    line("store", fmt::format("{} items, {} live, {} on disk of {}",
                              store.count, FormatRoughBytes(store.live_bytes),
                              FormatRoughBytes(store.disk_bytes),
                              FormatRoughBytes(store.size_limit)));
    line("left", fmt::format("{} evicted, {} expired", store.evictions,
                             store.expirations));
  }
  line("rings", fmt::format("{} in, {} out, {} cancelled, {} clients taken off",
                            FormatRoughBytes(figures.bytes_in),
                            FormatRoughBytes(figures.bytes_out),
                            figures.cancelled, figures.clients_evicted));
  return text + "\n" + ProcessesText(view) + PolicyText(view);
}

int RunTop(const TopOptions& options, const OutputFormat& format) {
  using SteadyClock = std::chrono::steady_clock;
  const bool screen = !options.once && !format.json && ::isatty(1) == 1;
  AttachedRateMeter meter;
  auto last = SteadyClock::now();
  for (bool first = true;; first = false) {
    const auto view = ReadAttached(options.directory);
    if (!view) return ReportError(view.error(), options.directory);
    const auto now = SteadyClock::now();
    const AttachedRates rates = meter.Update(
        view->figures, std::chrono::duration<double>(now - last).count());
    last = now;
    // The first look is only there to compare with, but on a screen.
    if (screen) {
      Print("\033[H\033[2J" + TopScreen(options.directory, *view, rates));
    } else if (!first && format.json) {
      PrintJson(TopJson(*view, rates));
    } else if (!first) {
      Print(options.once ? TopScreen(options.directory, *view, rates)
                         : TopLine(*view, rates));
    }
    if (std::fflush(stdout) != 0 || (options.once && !first)) return kExitOk;
    std::this_thread::sleep_for(
        std::chrono::duration<double>(options.interval_seconds));
  }
}

}  // namespace

void AddAttachedCommands(CommandLine& line) {
  auto directory = std::make_shared<std::string>();
  CLI::App* command =
      line.AddCommand("attach", "List the processes that have a cache open",
                      [directory](const OutputFormat& format) {
                        return RunAttach(*directory, format);
                      });
  AddDirectoryArgument(command, *directory);

  auto top = std::make_shared<TopOptions>();
  command = line.AddCommand(
      "top", "Watch what the processes of a cache do",
      [top](const OutputFormat& format) { return RunTop(*top, format); });
  AddDirectoryArgument(command, top->directory);
  AddNumberOption<double>(command, "--interval", top->interval_seconds,
                          {.min = 0.05, .max = 3600.0}, "Seconds, 1");
  command->add_flag("--once", top->once,
                    "Look for one interval, print it and end");
}

}  // namespace larder::tools
