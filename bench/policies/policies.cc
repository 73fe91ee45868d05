#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "larder/engine/policy.h"

#include "baseline.h"
#include "policies/policy_cells.h"
#include "replay_run.h"
#include "run_pool.h"
#include "trace_reader.h"

// Replays a directory of traces through the simulator at the sizes of
// reference_miss_ratios.csv, which lies beside them, and holds the results
// against what is published there and against the bars of docs/policies.md.

namespace larder::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kReferenceName = "reference_miss_ratios.csv";
constexpr const char* kAdaptiveReference = "prototype/rank-adaptive(obj)";

/// Something that must hold: a value and the limit that it must keep.
struct Bar {
  std::string name{};
  double value = 0;
  double limit = 0;
  bool at_least = false;  ///< Else at most.
  /// Of how many cells it speaks; 0 = not measured, so not passed.
  std::size_t cells = 0;
  std::size_t cells_missed = 0;
  std::string where{};

  [[nodiscard]] bool passed() const noexcept {
    if (cells == 0) return false;
    return at_least ? value >= limit : value <= limit;
  }
};

std::vector<std::string> AllPolicies() {
  std::vector<std::string> names;
  for (std::string& name : PolicyNames()) {
    if (name != "none") names.push_back(std::move(name));
  }
  const std::vector<std::string>& baselines = replay::BaselineNames();
  names.insert(names.end(), baselines.begin(), baselines.end());
  return names;
}

std::string FindTrace(const std::string& directory, const std::string& name) {
  for (const char* suffix : {".csv.zst", ".csv", ".oracleGeneral.zst",
                             ".oracleGeneral", ".txt.zst", ".txt"}) {
    std::string path = directory + "/" + name + suffix;
    if (std::filesystem::exists(path)) return path;
  }
  return {};
}

/// Fills in the runs of all cells of one trace.
Status RunTrace(const std::string& path, std::vector<PolicyCell*> cells,
                const std::vector<std::string>& policies, unsigned threads) {
  const Result<replay::Trace> trace = replay::LoadTrace(path, {});
  if (!trace) return trace.error();
  const std::vector<std::uint32_t> next = replay::NextAccesses(*trace);
  struct Job {
    PolicyCell* cell;
    std::string policy;
    Result<replay::RunResult> result;
  };
  std::vector<Job> jobs;
  for (PolicyCell* cell : cells) {
    for (const std::string& policy : policies) {
      jobs.push_back({cell, policy, Fail(Status::Internal("not run"))});
    }
  }
  replay::RunInParallel(jobs.size(), threads, [&](std::size_t i) {
    Job& job = jobs[i];
    job.result = RunInSimulator(*trace, {.policy = job.policy,
                                         .capacity = job.cell->capacity,
                                         .ignore_size = job.cell->ignore_size,
                                         .next_accesses = &next});
  });
  for (Job& job : jobs) {
    if (!job.result) return job.result.error();
    job.cell->runs[job.policy] = std::move(*job.result);
  }
  return Status::Ok();
}

/// The largest of `value` over the cells where it is known.
Bar LargestOf(
    const std::string& name, double limit, const std::vector<PolicyCell>& cells,
    const std::function<std::optional<double>(const PolicyCell&)>& value) {
  Bar bar{.name = name,
          .value = -std::numeric_limits<double>::infinity(),
          .limit = limit};
  for (const PolicyCell& cell : cells) {
    const std::optional<double> here = value(cell);
    if (!here) continue;
    ++bar.cells;
    if (*here > limit) ++bar.cells_missed;
    if (*here <= bar.value) continue;
    bar.value = *here;
    bar.where = cell.TraceLabel() + " " + cell.SizeLabel();
  }
  return bar;
}

std::function<std::optional<double>(const PolicyCell&)> DistanceTo(
    const std::string& policy, const std::string& reference) {
  return [=](const PolicyCell& cell) -> std::optional<double> {
    const std::optional<double> published = cell.Published(reference);
    if (!published) return std::nullopt;
    return std::abs(cell.MissRatio(policy) - *published);
  };
}

/// What `adaptive` may miss in a cell.
std::optional<double> AdaptiveLimit(const PolicyCell& cell) {
  const std::optional<double> published = cell.Published(kAdaptiveReference);
  if (!published) return std::nullopt;
  return *published + std::max(0.010, 0.02 * *published);
}

std::vector<Bar> Judge(const std::vector<PolicyCell>& cells,
                       const std::vector<PolicyCell>& main_cells) {
  std::vector<Bar> bars;
  bars.push_back(
      LargestOf("least-recently-stored - fifo", 0.010, cells,
                DistanceTo("least-recently-stored", "libCacheSim/fifo")));
  bars.push_back(
      LargestOf("least-recently-used - lru", 0.010, cells,
                DistanceTo("least-recently-used", "libCacheSim/lru")));
  bars.push_back(LargestOf("gdsf - gdsf", 0.020, cells,
                           DistanceTo("gdsf", "libCacheSim/gdsf")));
  bars.push_back(LargestOf("adaptive above its limit", 0, main_cells,
                           [](const PolicyCell& cell) -> std::optional<double> {
                             return cell.MissRatio("adaptive") -
                                    *AdaptiveLimit(cell);
                           }));
  const PolicyGain adaptive = GainOf("adaptive", main_cells);
  bars.push_back({.name = "adaptive mean gain over LRU",
                  .value = adaptive.mean_gain,
                  .limit = 0.10,
                  .at_least = true,
                  .cells = adaptive.cells,
                  .where = {}});
  bars.push_back({.name = "adaptive worst gain over LRU",
                  .value = adaptive.worst_gain,
                  .limit = -0.03,
                  .at_least = true,
                  .cells = adaptive.cells,
                  .where = adaptive.worst_cell});
  bars.push_back({.name = "adaptive re-stamps per request",
                  .value = adaptive.restamps_per_request,
                  .limit = 0.11,
                  .cells = adaptive.cells,
                  .where = {}});
  return bars;
}

std::string Short(std::optional<double> value) {
  return value ? fmt::format("{:.4f}", *value) : "-";
}

double BoundOf(const PolicyCell& cell) {
  return std::min(cell.MissRatio("belady-bypass"),
                  cell.MissRatio("belady-size-bypass"));
}

void PrintCells(const std::vector<PolicyCell>& cells) {
  constexpr std::string_view kLine =
      "{:<19} {:>5} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8} {:>7} "
      "{:>7} {}\n";
  fmt::print(fmt::runtime(kLine), "trace", "size", "lru", "l-r-u", "fifo",
             "l-r-s", "s3-fifo", "gdsf", "gdsf-h", "adaptive", "limit", "bound",
             "");
  for (const PolicyCell& cell : cells) {
    const std::optional<double> limit = AdaptiveLimit(cell);
    const bool above = limit && cell.MissRatio("adaptive") > *limit;
    fmt::print(fmt::runtime(kLine), cell.TraceLabel(), cell.SizeLabel(),
               Short(cell.MissRatio("lru")),
               Short(cell.MissRatio("least-recently-used")),
               Short(cell.MissRatio("fifo")),
               Short(cell.MissRatio("least-recently-stored")),
               Short(cell.MissRatio("s3-fifo")), Short(cell.MissRatio("gdsf")),
               Short(cell.MissRatio("gdsf-history")),
               Short(cell.MissRatio("adaptive")), Short(limit),
               Short(BoundOf(cell)), above ? "ABOVE" : "");
  }
}

void PrintGains(const std::vector<PolicyGain>& gains) {
  fmt::print("\n{:<22} {:>7} {:>7} {:<24} {:>12} {:>8} {:>7}\n", "policy",
             "gain", "worst", "in", "restamps/req", "per hit", "Mreq/s");
  for (const PolicyGain& gain : gains) {
    fmt::print("{:<22} {:>7.4f} {:>7.4f} {:<24} {:>12.4f} {:>8.4f} {:>7.2f}\n",
               gain.policy, gain.mean_gain, gain.worst_gain, gain.worst_cell,
               gain.restamps_per_request, gain.restamps_per_hit,
               gain.requests_per_second / 1e6);
  }
}

void PrintBars(const std::vector<Bar>& bars) {
  fmt::print("\n");
  for (const Bar& bar : bars) {
    const std::string worst =
        bar.where.empty() ? "" : fmt::format(" (worst: {})", bar.where);
    const std::string missed =
        bar.cells_missed == 0 ? "" : fmt::format("{} of ", bar.cells_missed);
    fmt::print("{:<6} {:<32} {:>8.4f}, must be {} {:>7.4f}: {}{} cells{}\n",
               bar.passed() ? "ok" : "MISSED", bar.name, bar.value,
               bar.at_least ? ">=" : "<=", bar.limit, missed, bar.cells, worst);
  }
}

Json ToJson(const std::vector<PolicyCell>& cells,
            const std::vector<PolicyGain>& gains,
            const std::vector<Bar>& bars) {
  Json json;
  for (const PolicyCell& cell : cells) {
    Json one{{"trace", cell.trace},           {"ignore_size", cell.ignore_size},
             {"fraction", cell.fraction},     {"size", cell.capacity},
             {"miss_ratios", Json::object()}, {"published", cell.published}};
    for (const auto& [policy, run] : cell.runs) {
      one["miss_ratios"][policy] = run.object_miss_ratio();
    }
    json["cells"].push_back(std::move(one));
  }
  for (const PolicyGain& gain : gains) {
    json["policies"].push_back(
        {{"policy", gain.policy},
         {"mean_gain", gain.mean_gain},
         {"worst_gain", gain.worst_gain},
         {"worst_cell", gain.worst_cell},
         {"restamps_per_request", gain.restamps_per_request},
         {"restamps_per_hit", gain.restamps_per_hit},
         {"requests_per_second", gain.requests_per_second}});
  }
  for (const Bar& bar : bars) {
    json["bars"].push_back({{"name", bar.name},
                            {"value", bar.value},
                            {"limit", bar.limit},
                            {"at_least", bar.at_least},
                            {"cells", bar.cells},
                            {"cells_missed", bar.cells_missed},
                            {"where", bar.where},
                            {"passed", bar.passed()}});
  }
  return json;
}

/// Runs all cells whose trace is there; drops the others, saying so.
Status RunCells(const std::string& directory, unsigned threads,
                std::vector<PolicyCell>& cells) {
  std::map<std::string, std::vector<PolicyCell*>> by_trace;
  for (PolicyCell& cell : cells) by_trace[cell.trace].push_back(&cell);
  for (const auto& [name, of_trace] : by_trace) {
    const std::string path = FindTrace(directory, name);
    if (path.empty()) {
      std::cerr << "policies: no trace " << name << " in " << directory
                << ", left out\n";
      continue;
    }
    LARDER_RETURN_IF_ERROR(RunTrace(path, of_trace, AllPolicies(), threads));
  }
  std::erase_if(cells, [](const PolicyCell& c) { return c.runs.empty(); });
  return Status::Ok();
}

int Run(const std::string& directory, unsigned threads, bool as_json) {
  Result<std::vector<PolicyCell>> cells =
      ReadPolicyCells(directory + "/" + std::string(kReferenceName));
  const Status done =
      cells ? RunCells(directory, threads, *cells) : cells.error();
  if (!done.ok()) {
    std::cerr << "policies: " << done.ToString() << '\n';
    return 3;
  }
  // The cells that means are taken over: those with a target for `adaptive`.
  std::vector<PolicyCell> main_cells = *cells;
  std::erase_if(main_cells, [](const PolicyCell& cell) {
    return !AdaptiveLimit(cell).has_value();
  });
  std::vector<PolicyGain> gains;
  for (const std::string& policy : AllPolicies()) {
    gains.push_back(GainOf(policy, main_cells));
  }
  const std::vector<Bar> bars = Judge(*cells, main_cells);
  if (as_json) {
    std::cout << ToJson(*cells, gains, bars).dump(2) << '\n';
  } else {
    PrintCells(*cells);
    PrintGains(gains);
    PrintBars(bars);
  }
  return std::ranges::all_of(bars, &Bar::passed) ? 0 : 1;
}

}  // namespace
}  // namespace larder::bench

int main(int argc, char** argv) {
  CLI::App app(
      "Replays traces through larder's policies and compares their miss "
      "ratios with published ones. Exit codes: 0 all bars held (or no traces "
      "given), 1 a bar missed, 2 usage, 3 error.",
      "policies");
  std::string directory;
  unsigned threads = 0;
  bool as_json = false;
  app.add_option("--traces", directory,
                 "Directory with traces and reference_miss_ratios.csv")
      ->envname("LARDER_TRACES");
  app.add_option("--threads", threads, "Runs at a time; 0 = all processors")
      ->check(CLI::Range(0U, 1024U));
  app.add_flag("--json", as_json, "Print one JSON object");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (directory.empty()) {
    std::cerr << "policies: skipped: no traces (--traces DIR or "
                 "LARDER_TRACES)\n";
    return 0;
  }
  return larder::bench::Run(directory, threads, as_json);
}
