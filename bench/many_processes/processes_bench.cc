// Many processes on one cache, beside servers and DiskCache: everything that
// docs/benchmarks.md says of processes, measured in one run.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "many_processes/process_figures.h"

namespace larder::bench {
namespace {

using Measure = std::function<void(const ProcessBenchOptions&, Report&)>;

const std::vector<std::pair<std::string, Measure>>& Parts() {
  static const std::vector<std::pair<std::string, Measure>> parts = {
      {"mix", MeasureMix},           {"hot", MeasureHotReads},
      {"ring", MeasureRoundTrips},   {"large", MeasureLargeValues},
      {"alone", MeasureAlone},       {"idle", MeasureIdle},
      {"takeover", MeasureTakeover}, {"torture", MeasureTorture}};
  return parts;
}

struct Arguments {
  ProcessBenchOptions options;
  std::string parent = std::filesystem::temp_directory_path();
  std::string json;
  std::vector<std::string> only;
};

int Run(Arguments given) {
  std::string scratch = given.parent + "/larder-processes-XXXXXX";
  if (::mkdtemp(scratch.data()) == nullptr) {
    std::fprintf(stderr, "processes: cannot make %s\n", scratch.c_str());
    return 3;
  }
  given.options.directory = scratch;
  Report report;
  for (const auto& [name, measure] : Parts()) {
    const bool wanted = given.only.empty() ||
                        std::find(given.only.begin(), given.only.end(), name) !=
                            given.only.end();
    if (!wanted) continue;
    std::fprintf(stderr, "processes: %s\n", name.c_str());
    measure(given.options, report);
  }
  std::error_code ignored;
  std::filesystem::remove_all(scratch, ignored);
  std::fputs(FormatReport(report).c_str(), stdout);
  if (!given.json.empty()) {
    std::ofstream file(given.json);
    file << ReportJson(report);
    if (!file.flush()) {
      std::fprintf(stderr, "processes: cannot write %s\n", given.json.c_str());
      return 3;
    }
  }
  return 0;
}

}  // namespace
}  // namespace larder::bench

int main(int argc, char** argv) {
  larder::bench::Arguments given;
  CLI::App app("Many processes on one cache, beside others", "processes");
  app.add_option("--dir", given.parent, "Where caches are made for a while");
  app.add_option("--seconds", given.options.seconds, "Of each load, 3");
  app.add_option("--rounds", given.options.rounds, "Of the mix, 3")
      ->check(CLI::PositiveNumber);
  app.add_option("--processes", given.options.processes, "Of the mix, 8");
  app.add_option("--torture-seconds", given.options.torture_seconds, "20");
  app.add_option("--json", given.json, "Writes the figures to this file, too");
  app.add_option("--only", given.only,
                 "Parts: mix hot ring large alone idle takeover torture");
  CLI11_PARSE(app, argc, argv);
  return larder::bench::Run(std::move(given));
}
