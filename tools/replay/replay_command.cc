#include "replay_command.h"

#include <string>

#include <CLI/CLI.hpp>

#include "commands/number_option.h"
#include "replay_report.h"

namespace larder::replay {
namespace {

using tools::AddNumberOption;

/// Turns a refused value into CLI11's own error.
template <typename T>
T ValueOr(const Result<T>& result) {
  if (!result) throw CLI::ValidationError(result.error().message());
  return *result;
}

/// A list that may be given as "a,b" or by repeating the option, and that does
/// not swallow the arguments after it.
void TakeList(CLI::Option* option) {
  option->delimiter(',')->allow_extra_args(false);
}

void AddWhat(CLI::App& command, ReplayOptions& options) {
  command.add_option("traces", options.traces, "Trace files")
      ->required()
      ->option_text("TRACE...");
  TakeList(command
               .add_option("--policy,-p", options.policies,
                           "Policies: names, all, baselines, bound")
               ->option_text("NAME,..."));
  TakeList(command
               .add_option("--size,-s", options.sizes,
                           "Cache sizes: bytes, items, or % of footprint")
               ->option_text("SIZE,..."));
  TakeList(command
               .add_option_function<std::vector<std::string>>(
                   "--objective",
                   [&options](const std::vector<std::string>& names) {
                     options.objectives.clear();
                     for (const std::string& name : names) {
                       options.objectives.push_back(
                           ValueOr(ParseObjective(name)));
                     }
                   },
                   "What policies save: objects, bytes, cost")
               ->option_text("NAME,..."));
  command
      .add_option_function<std::string>(
          "--via",
          [&options](const std::string& via) {
            options.via =
                via == "engine" ? ReplayVia::kEngine : ReplayVia::kSimulator;
          },
          "Run the policy code alone, or a real cache directory")
      ->check(CLI::IsMember({"simulator", "engine"}));
}

void AddReading(CLI::App& command, ReplayOptions& options) {
  command
      .add_option_function<std::string>(
          "--format",
          [&options](const std::string& name) {
            options.load.format = ValueOr(ParseTraceFormat(name));
          },
          "csv, oracleGeneral, text, twitter, cloudPhysics, lrb, arc, "
          "wikipedia; default: tell from the file, or refuse it")
      ->option_text("NAME");
  TakeList(command
               .add_option_function<std::vector<std::string>>(
                   "--columns",
                   [&options](const std::vector<std::string>& names) {
                     options.load.columns = ValueOr(ParseColumns(names));
                   },
                   "Columns of a table: time, key, size, op, ttl, cost; - for "
                   "others")
               ->option_text("NAME,..."));
  AddNumberOption<std::uint64_t>(&command, "--skip-bad",
                                 options.load.skip_bad_count_max, {},
                                 "Skip up to N malformed rows of each trace");
  AddNumberOption<std::uint64_t>(&command, "--limit",
                                 options.load.request_count_max,
                                 {.min = 1, .max = kTraceRequestCountMax},
                                 "Use the first N requests of each trace only");
  command.add_flag("--ignore-size", options.ignore_size,
                   "Count every object as 1; sizes are then items");
  command.add_flag("--ttl", options.use_ttl,
                   "Let items expire as the trace says");
}

void AddOutput(CLI::App& command, ReplayOptions& options) {
  command.add_flag_callback(
      "--csv", [&options] { options.output = ReplayOutput::kCsv; },
      "Print CSV");
  command
      .add_option("--plot", options.plot_path,
                  "Draw miss ratio against size as SVG, with the bound")
      ->option_text("FILE.svg");
  command
      .add_option("--plot-time", options.plot_time_path,
                  "Draw miss ratio over the course of each trace as SVG")
      ->option_text("FILE.svg");
  command
      .add_option("--baseline", options.baseline_path,
                  "Compare with an earlier --json; exit code 1 if it differs")
      ->option_text("FILE.json");
  AddNumberOption<double>(&command, "--tolerance", options.tolerance,
                          {.min = 0.0, .max = 1.0},
                          "Largest difference of a miss ratio (default 0.01)");
  command.add_flag_callback(
      "--no-progress", [&options] { options.progress = ShowProgress::kNever; },
      "No progress bar even on a terminal");
}

void AddRunning(CLI::App& command, ReplayOptions& options) {
  AddNumberOption<unsigned>(&command, "--threads", options.thread_count,
                            {.min = 1, .max = 1024},
                            "Runs at a time; default: one for each processor");
  AddNumberOption<std::uint32_t>(
      &command, "--buckets", options.bucket_count, {.min = 1, .max = 65536},
      "Rank buckets of larder's policies (default 256)");
  AddNumberOption<std::uint64_t>(&command, "--seed", options.random_seed, {},
                                 "Seed of random choices (default 1)");
  command
      .add_option("--dir", options.directory,
                  "Where --via engine makes its cache directories")
      ->check(CLI::ExistingDirectory)
      ->option_text("DIR");
  command.add_flag("--serve-evicted", options.serve_evicted,
                   "Engine: serve evicted items while their bytes exist");
}

}  // namespace

void AddReplayOptions(CLI::App& command, ReplayOptions& options) {
  AddWhat(command, options);
  AddReading(command, options);
  AddOutput(command, options);
  AddRunning(command, options);
}

}  // namespace larder::replay
