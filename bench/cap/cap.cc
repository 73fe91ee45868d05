// cap: does the directory stay below the limit, what is alive in it, and what
// does that cost? See docs/benchmarks.md.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "larder/engine/settings.h"

#include "cap/cap_exact.h"
#include "cap/cap_report.h"
#include "cap/cap_run.h"
#include "gnuplot.h"
#include "stores/work_directory.h"

namespace larder::bench {

namespace {

constexpr int kExitMissed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitError = 3;
constexpr double kSampleRateMin = 10.0;

struct Arguments {
  std::vector<std::string> limits{"64MiB", "512MiB"};
  std::vector<std::string> workloads;
  std::string engine = "larder";
  std::string directory = std::filesystem::temp_directory_path().string();
  std::string json;
  std::string plot;
  double factor = 3.0;
  double sample_rate = 50.0;
  int repetitions = 1;
  std::uint64_t seed = 1;
  bool without_raw = false;
  bool without_exact = false;
  bool check = false;
  bool list = false;
};

/// The arguments, understood.
struct Plan {
  std::vector<std::uint64_t> limits;
  std::vector<const CapWorkload*> workloads;
  int repetitions = 1;
  CapOptions options;
};

void AddOptions(CLI::App& app, Arguments& arguments) {
  app.add_option("--limit", arguments.limits, "size limits, such as 64MiB")
      ->capture_default_str();
  app.add_option("--workload", arguments.workloads,
                 "names of workloads (see --list); default: all");
  app.add_option("--engine", arguments.engine,
                 "larder, or sqlite: DiskCache's design, for comparison")
      ->capture_default_str();
  app.add_option("--dir", arguments.directory,
                 "where to make the working directories")
      ->capture_default_str();
  app.add_option("--factor", arguments.factor,
                 "how many times the limit is written")
      ->capture_default_str();
  app.add_option("--sample-hz", arguments.sample_rate,
                 "samples of the directory per second, at least 10")
      ->capture_default_str();
  app.add_option(
         "--repetitions", arguments.repetitions,
         "runs of each workload, of which the one with the middle ratio "
         "to raw RocksDB is shown, with the worst directory, live "
         "payload and longest set of all of them")
      ->capture_default_str();
  app.add_option("--seed", arguments.seed)->capture_default_str();
  app.add_option("--json", arguments.json, "write all figures to this file");
  app.add_option("--plot", arguments.plot, "draw this SVG with gnuplot");
  app.add_flag("--no-raw", arguments.without_raw,
               "leave raw RocksDB out, and so the ratio");
  app.add_flag("--no-exact", arguments.without_exact,
               "leave out the second run, in processes that are stopped for "
               "each look at the directory");
  app.add_flag("--check", arguments.check,
               "exit with 1 and say which if a bar is missed");
  app.add_flag("--list", arguments.list, "list the workloads");
}

Result<Plan> MakePlan(const Arguments& arguments) {
  Plan plan;
  for (const std::string& text : arguments.limits) {
    const auto limit = ParseByteCount(text);
    if (!limit) {
      return Fail(limit.error());
    }
    plan.limits.push_back(*limit);
  }
  for (const std::string& name : arguments.workloads) {
    const CapWorkload* workload = FindCapWorkload(name);
    if (workload == nullptr) {
      return Fail(Status::InvalidArgument("no workload named " + name +
                                          "; --list shows them"));
    }
    plan.workloads.push_back(workload);
  }
  const auto engine = EngineFromName(arguments.engine);
  if (!engine ||
      (*engine != EngineKind::kLarder && *engine != EngineKind::kSqlite)) {
    return Fail(Status::InvalidArgument("--engine wants larder or sqlite"));
  }
  if (!(arguments.factor > 1.0) || !(arguments.sample_rate >= kSampleRateMin)) {
    return Fail(Status::InvalidArgument(
        "--factor wants more than 1, --sample-hz at least 10"));
  }
  // Of the others only what the stopped processes show is measured.
  const bool only_timed =
      arguments.without_exact || *engine != EngineKind::kLarder;
  for (const CapWorkload* workload : plan.workloads) {
    if (only_timed && !workload->is_timed) {
      return Fail(Status::InvalidArgument(
          std::string(workload->name) +
          " is measured in processes that are stopped, of larder only: leave "
          "--no-exact and --engine sqlite out"));
    }
  }
  if (plan.workloads.empty()) {
    for (const CapWorkload& workload : AllCapWorkloads()) {
      if (workload.is_timed || !only_timed) {
        plan.workloads.push_back(&workload);
      }
    }
  }
  if (arguments.repetitions < 1) {
    return Fail(Status::InvalidArgument("--repetitions wants at least 1"));
  }
  plan.repetitions = arguments.repetitions;
  plan.options.engine = *engine;
  plan.options.parent_directory = arguments.directory;
  plan.options.factor = arguments.factor;
  plan.options.seed = arguments.seed;
  plan.options.with_raw = !arguments.without_raw;
  plan.options.with_exact = !arguments.without_exact;
  plan.options.sample_period = std::chrono::microseconds(
      static_cast<std::int64_t>(1e6 / arguments.sample_rate));
  return plan;
}

double SpeedOf(const CapResult& result) {
  return result.raw ? result.speed.sets_per_second / result.raw->sets_per_second
                    : result.speed.sets_per_second;
}

// A single run of a second says little about speed on a shared machine, while
// no run may break a promise.
CapResult Combine(std::vector<CapResult> runs) {
  std::sort(runs.begin(), runs.end(), [](const auto& a, const auto& b) {
    return SpeedOf(a) < SpeedOf(b);
  });
  CapResult middle = runs[runs.size() / 2];
  for (const CapResult& run : runs) {
    middle.directory_ratio_max =
        std::max(middle.directory_ratio_max, run.directory_ratio_max);
    middle.live_share_end = std::min(middle.live_share_end, run.live_share_end);
    middle.live_share_mean =
        std::min(middle.live_share_mean, run.live_share_mean);
    middle.live_share_min = std::min(middle.live_share_min, run.live_share_min);
    middle.speed.latency.max =
        std::max(middle.speed.latency.max, run.speed.latency.max);
    if (middle.exact && run.exact && &run != &runs[runs.size() / 2]) {
      middle.exact->sample_count += run.exact->sample_count;
      middle.exact->over_count += run.exact->over_count;
      middle.exact->refused_count += run.exact->refused_count;
    }
  }
  return middle;
}

Result<CapResult> RunRepeatedly(const Plan& plan, const CapWorkload& workload,
                                std::uint64_t limit) {
  std::vector<CapResult> runs;
  for (int i = 0; i < plan.repetitions; ++i) {
    auto result = RunCap(workload, limit, plan.options);
    if (!result) {
      return Fail(Status(result.error().code(),
                         workload.name + ": " + result.error().message()));
    }
    runs.push_back(std::move(*result));
  }
  return Combine(std::move(runs));
}

Result<std::vector<CapResult>> RunAll(const Plan& plan) {
  std::fputs(CapTableHead().c_str(), stdout);
  std::vector<CapResult> results;
  for (const std::uint64_t limit : plan.limits) {
    for (const CapWorkload* workload : plan.workloads) {
      auto result = RunRepeatedly(plan, *workload, limit);
      if (!result) {
        return Fail(std::move(result.error()));
      }
      std::fputs(CapTableRow(*result).c_str(), stdout);
      std::fflush(stdout);
      results.push_back(std::move(*result));
    }
  }
  return results;
}

Status WriteOutputs(const Arguments& arguments,
                    const std::vector<CapResult>& results) {
  if (!arguments.json.empty()) {
    std::ofstream file(arguments.json, std::ios::binary | std::ios::trunc);
    file << CapJson(results);
    file.close();
    if (!file) {
      return Status::IoError("cannot write " + arguments.json);
    }
  }
  if (!arguments.plot.empty()) {
    return report::RunGnuplot(CapPlotScript(results, arguments.plot));
  }
  return Status::Ok();
}

int Run(const Arguments& arguments) {
  if (arguments.list) {
    for (const CapWorkload& workload : AllCapWorkloads()) {
      std::printf("%-18s %s (%s)\n", workload.name.c_str(),
                  workload.description.c_str(), workload.policy.c_str());
    }
    return 0;
  }
  const auto plan = MakePlan(arguments);
  if (!plan) {
    std::fprintf(stderr, "cap: %s\n", plan.error().message().c_str());
    return kExitUsage;
  }
  const auto results = RunAll(*plan);
  const Status status =
      results ? WriteOutputs(arguments, *results) : results.error();
  if (!status.ok()) {
    std::fprintf(stderr, "cap: %s\n", status.ToString().c_str());
    return kExitError;
  }
  int exit_code = 0;
  for (const CapResult& result : *results) {
    for (const std::string& line : MissedBars(result)) {
      std::fprintf(stderr, "cap: %s\n", line.c_str());
      exit_code = arguments.check ? kExitMissed : 0;
    }
  }
  return exit_code;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Writes several times the limit to a cache, under several workloads, and "
      "watches its directory.",
      "cap");
  AddOptions(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  return Run(arguments);
}

}  // namespace

}  // namespace larder::bench

int main(int argc, char** argv) {
  int exit_code = 0;
  return larder::bench::RunWriterIfAsked(argc, argv, exit_code)
             ? exit_code
             : larder::bench::Main(argc, argv);
}
