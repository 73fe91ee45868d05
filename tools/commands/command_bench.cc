// larder bench: the mix of DiskCache's own benchmark (90 % get, 9 % set, 1 %
// delete, 100 keys, values of up to 500 bytes), or another one.

#include <array>
#include <charconv>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "larder/engine/settings.h"

#include "commands/cache_access.h"
#include "commands/command_line.h"
#include "commands/interruption.h"
#include "commands/number_option.h"
#include "commands/option_types.h"
#include "commands/output.h"
#include "measure/bench_run.h"
#include "measure/random_keys.h"
#include "measure/scratch_directory.h"

namespace larder::tools {
namespace {

constexpr unsigned kThreadCountMax = 256;
constexpr unsigned kProcessCountMax = 256;
constexpr std::uint64_t kValueSizeBytesMax = 64ULL << 20;

// "90/9/1" or "90,9,1": the weights of get, set and delete.
Result<std::array<std::uint32_t, kBenchOperationCount>> ParseMix(
    const std::string& text) {
  constexpr std::uint32_t kWeightMax = 1'000'000;
  std::array<std::uint32_t, kBenchOperationCount> mix{};
  const char* at = text.data();
  const char* end = at + text.size();
  bool good = true;
  for (std::size_t i = 0; i < mix.size() && good; ++i) {
    const auto parsed = std::from_chars(at, end, mix[i]);
    good = parsed.ec == std::errc() && mix[i] <= kWeightMax;
    at = parsed.ptr;
    if (i + 1 < mix.size()) {
      good = good && at != end && (*at == '/' || *at == ',' || *at == ':');
      ++at;
    }
  }
  if (!good || at != end || mix[0] + mix[1] + mix[2] == 0) {
    return Fail(Status::ParseError(
        "'" + text + "', expected GET/SET/DELETE such as 90/9/1"));
  }
  return mix;
}

// "500" (1 to 500 bytes) or "1KiB..64KiB".
Status ParseValueSizes(const std::string& text, BenchOptions& options) {
  const std::size_t dots = text.find("..");
  const bool range = dots != std::string::npos;
  const auto min = ParseByteCount(range ? text.substr(0, dots) : "1");
  const auto max = ParseByteCount(range ? text.substr(dots + 2) : text);
  if (!min || !max) {
    return !min ? min.error() : max.error();
  }
  if (*max > kValueSizeBytesMax || (range && *min > *max)) {
    return Status::ParseError("'" + text +
                              "', expected MAX or MIN..MAX, at most 64MiB");
  }
  options.value_size_bytes_min = std::min(*min, *max);
  options.value_size_bytes_max = *max;
  return Status::Ok();
}

Json OperationJson(const BenchOperation& operation) {
  return {{"count", operation.times.count()},
          {"miss", operation.misses},
          {"p50_us", operation.times.QuantileMicroseconds(0.50)},
          {"p90_us", operation.times.QuantileMicroseconds(0.90)},
          {"p99_us", operation.times.QuantileMicroseconds(0.99)},
          {"max_us", operation.times.max_microseconds()}};
}

Json ResultJson(const BenchOptions& options, const BenchResult& result) {
  Json operations;
  for (std::size_t i = 0; i < kBenchOperationCount; ++i) {
    operations[std::string(kBenchOperationNames[i])] =
        OperationJson(result.operations[i]);
  }
  operations["total"] = OperationJson(result.Total());
  return {{"operations_per_second", result.operations_per_second()},
          {"seconds", result.seconds()},
          {"processes", options.processes},
          {"threads", options.threads},
          {"keys", options.key_count},
          {"distribution", options.distribution},
          {"operations", operations}};
}

std::string OperationText(std::string_view name,
                          const BenchOperation& operation) {
  return fmt::format("{:<8}{:>12}{:>12}{:>12.2f}{:>12.2f}{:>12.2f}{:>12.2f}\n",
                     name, operation.times.count(), operation.misses,
                     operation.times.QuantileMicroseconds(0.50),
                     operation.times.QuantileMicroseconds(0.90),
                     operation.times.QuantileMicroseconds(0.99),
                     operation.times.max_microseconds());
}

std::string ResultText(const BenchOptions& options, const BenchResult& result) {
  std::string text =
      fmt::format("{:<8}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}\n", "", "count",
                  "miss", "p50 us", "p90 us", "p99 us", "max us");
  for (std::size_t i = 0; i < kBenchOperationCount; ++i) {
    text += OperationText(kBenchOperationNames[i], result.operations[i]);
  }
  text += OperationText("total", result.Total());
  return text + fmt::format(
                    "{:.0f} operations/s in {:.2f} s, {} processes of {} "
                    "threads\n",
                    result.operations_per_second(), result.seconds(),
                    options.processes, options.threads);
}

void PrintResult(const BenchOptions& options, const BenchResult& result,
                 const OutputFormat& format) {
  if (format.json) {
    PrintJson(ResultJson(options, result));
  } else {
    Print(ResultText(options, result));
  }
}

Result<BenchResult> Measure(const BenchOptions& options,
                            const OutputFormat& format) {
  CacheOptions cache_options = MakeCacheOptions(OpenMode::kCreate, format);
  cache_options.settings = options.settings;
  const OpenBenchTarget open =
      CacheTargets(options.directory, std::move(cache_options));
  if (options.processes > 1) return RunBenchProcesses(options, open);
  const auto target = open();
  if (!target) return Fail(target.error());
  auto result = RunBenchProcess(**target, options, 0, [] {});
  const Status closed = (*target)->Close();
  if (result && !closed.ok()) return Fail(closed);
  return result;
}

// What is said of one limit is the default of the other.
struct BenchArguments {
  BenchOptions options;
  std::optional<std::uint64_t> operations;
  std::optional<double> seconds;
};

BenchOptions OptionsOf(const BenchArguments& arguments) {
  BenchOptions options = arguments.options;
  if (arguments.seconds) {
    options.time_max = std::chrono::nanoseconds(
        static_cast<std::int64_t>(*arguments.seconds * 1e9));
    options.operations = std::numeric_limits<std::uint64_t>::max();
  }
  options.operations = arguments.operations.value_or(options.operations);
  return options;
}

// In a cache of its own: in that of somebody else the load would replace and
// evict items, and change what the policy has learnt.
int RunBench(BenchOptions options, const OutputFormat& format) {
  if (const Status own = CheckNotInCache(options.directory); !own.ok()) {
    return ReportError(own, {}, kUseOwnDirectory);
  }
  const Interruption interruption;
  auto scratch = ScratchDirectory::Create(options.directory, "bench");
  if (!scratch) return ReportError(scratch.error(), options.directory);
  options.directory = scratch->path() / "cache";
  options.stopped = &Interruption::signal();
  const auto result = Measure(options, format);
  NoteFailure(scratch->Remove());
  Interruption::EndIfNoted();
  if (!result) return ReportError(result.error(), options.directory);
  PrintResult(options, *result, format);
  return kExitOk;
}

// Options that bench reads itself, as a string each.
template <typename Parse>
void AddParsedOption(CLI::App* command, const std::string& name,
                     const std::string& description, Parse parse) {
  command->add_option_function<std::string>(
      name,
      [name, parse](const std::string& text) {
        if (const Status status = parse(text); !status.ok()) {
          throw CLI::ValidationError(name, status.ToString());
        }
      },
      description);
}

void AddLoadOptions(CLI::App* command, BenchOptions& options) {
  AddParsedOption(command, "--mix",
                  "Weights of get/set/delete, 90/9/1 by default",
                  [&options](const std::string& text) {
                    const auto mix = ParseMix(text);
                    options.mix = mix.value_or(options.mix);
                    return mix ? Status::Ok() : mix.error();
                  });
  AddParsedOption(command, "--value-size",
                  "Largest value, or MIN..MAX; 500 by default",
                  [&options](const std::string& text) {
                    return ParseValueSizes(text, options);
                  });
  AddParsedOption(command, "--distribution",
                  "Of the keys: uniform (default) or zipf:EXPONENT",
                  [&options](const std::string& text) {
                    const auto chooser = KeyChooser::Parse(text, 1);
                    options.distribution = text;
                    return chooser ? Status::Ok() : chooser.error();
                  });
}

}  // namespace

void AddBenchCommand(CommandLine& line) {
  auto arguments = std::make_shared<BenchArguments>();
  BenchOptions* const options = &arguments->options;
  CLI::App* command =
      line.AddCommand("bench", "Measure a mix of get, set and delete",
                      [arguments](const OutputFormat& format) {
                        return RunBench(OptionsOf(*arguments), format);
                      });
  AddDirectoryArgument(command, options->directory);
  AddNumberOption<unsigned>(command, "--threads", options->threads,
                            {.min = 1, .max = kThreadCountMax},
                            "Threads per process");
  AddNumberOption<unsigned>(command, "--processes", options->processes,
                            {.min = 1, .max = kProcessCountMax}, "Processes");
  AddNumberOption<std::uint64_t>(command, "--keys", options->key_count,
                                 {.min = 1}, "Distinct keys, 100");
  AddLoadOptions(command, *options);
  AddNumberOption<std::uint64_t>(
      command, "--operations", arguments->operations, {},
      "Per thread; 100000, or no limit with --seconds");
  AddNumberOption<double>(command, "--seconds", arguments->seconds,
                          {.min = 0.001, .max = 1e6}, "Stop after so many");
  AddNumberOption<std::uint64_t>(
      command, "--warmup", options->warmup_operations, {},
      "Operations per thread before, 1000 by default");
  AddNumberOption<std::uint64_t>(command, "--seed", options->seed, {},
                                 "Of the random choices");
  AddCreateOptions(command, options->settings);
}

}  // namespace larder::tools
