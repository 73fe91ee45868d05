// bench_report: from the JSON of larder_bench to a table, a plot, a verdict
// and a section of the README.

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include <CLI/CLI.hpp>

#include "bench_bars.h"
#include "bench_results.h"
#include "bench_text.h"
#include "gnuplot.h"

namespace larder::report {

namespace {

constexpr int kExitMissed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitError = 3;

struct Arguments {
  std::string input;
  std::string markdown = "-";
  std::string plot;
  std::string update;
  bool check = false;
};

Result<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return Fail(Status::FromErrno(errno, "cannot open " + path));
  }
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) {
    return Fail(Status::IoError("cannot read " + path));
  }
  return text;
}

Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) {
    return Status::IoError("cannot write " + path);
  }
  return Status::Ok();
}

Status UpdateSection(const std::string& path, const std::string& section) {
  const auto document = ReadFile(path);
  if (!document) {
    return document.error();
  }
  const auto updated = ReplaceSection(*document, section);
  if (!updated) {
    return Status(updated.error().code(),
                  path + ": " + updated.error().message());
  }
  return WriteFile(path, *updated);
}

Status Report(const Arguments& arguments, const BenchResults& results) {
  const std::string table = RenderMarkdown(results);
  if (arguments.markdown == "-") {
    std::fputs(table.c_str(), stdout);
  } else {
    LARDER_RETURN_IF_ERROR(WriteFile(arguments.markdown, table));
  }
  if (!arguments.plot.empty()) {
    LARDER_RETURN_IF_ERROR(
        RunGnuplot(RenderPlotScript(results, arguments.plot)));
  }
  if (!arguments.update.empty()) {
    LARDER_RETURN_IF_ERROR(UpdateSection(
        arguments.update,
        "Made by `bench/run`; how: docs/benchmarks.md.\n" + table));
  }
  return Status::Ok();
}

/// Says which bars were missed or not measured.
int Verdict(const BenchResults& results) {
  int exit_code = 0;
  for (const BarResult& result : CheckBars(results)) {
    if (!result.met()) {
      std::fprintf(stderr, "bench_report: %s\n", result.Describe().c_str());
      exit_code = kExitMissed;
    }
  }
  for (const auto& [name, message] : results.errors) {
    std::fprintf(stderr, "bench_report: %s failed: %s\n", name.c_str(),
                 message.c_str());
    exit_code = kExitMissed;
  }
  return exit_code;
}

int Run(const Arguments& arguments) {
  const auto json = ReadFile(arguments.input);
  auto results = json ? ParseBenchResults(*json)
                      : Result<BenchResults>(Fail(json.error()));
  Status status = results ? Report(arguments, *results) : results.error();
  if (!status.ok()) {
    std::fprintf(stderr, "bench_report: %s: %s\n", arguments.input.c_str(),
                 status.ToString().c_str());
    return kExitError;
  }
  return arguments.check ? Verdict(*results) : 0;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Makes a table, a plot and a verdict of the JSON of larder_bench.",
      "bench_report");
  app.add_option("FILE", arguments.input, "JSON of --benchmark_out")
      ->required();
  app.add_option("--markdown", arguments.markdown,
                 "where the table goes; - is standard output")
      ->capture_default_str();
  app.add_option("--plot", arguments.plot, "draw this SVG with gnuplot");
  app.add_option("--update", arguments.update,
                 "replace the section between <!-- bench --> and "
                 "<!-- /bench --> of this file by the table");
  app.add_flag("--check", arguments.check,
               "exit with 1 and say which if a bar is missed");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  return Run(arguments);
}

}  // namespace

}  // namespace larder::report

int main(int argc, char** argv) { return larder::report::Main(argc, argv); }
