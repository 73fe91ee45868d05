// larder against raw RocksDB, LMDB and SQLite, in one program and one run.
//
//   larder_bench [--dir DIR] [--scale X] [--engines a,b] [--seed N]
//                [--benchmark_...]
//
// See docs/benchmarks.md.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>
#include <sys/utsname.h>

#include "operations/benchmarks.h"
#include "operations/fixtures.h"
#include "stores/store_adapter.h"
#include "stores/work_directory.h"

namespace larder::bench {

namespace {

struct Arguments {
  Fixtures::Options fixtures;
  std::vector<EngineKind> engines;
  /// Those of the benchmark library.
  std::vector<char*> rest;
};

int Usage(const std::string& problem) {
  std::fprintf(stderr,
               "larder_bench: %s\n"
               "usage: larder_bench [--dir DIR] [--scale X] [--seed N] "
               "[--engines larder,rocksdb,lmdb,sqlite] [--benchmark_...]\n",
               problem.c_str());
  return 2;
}

/// The value of `--name value` or `--name=value` at `*at`, which it moves on.
std::optional<std::string_view> FlagValue(std::string_view name,
                                          std::span<char* const> arguments,
                                          std::size_t* at) {
  const std::string_view argument = arguments[*at];
  if (argument == name && *at + 1 < arguments.size()) {
    return arguments[++*at];
  }
  if (argument.size() > name.size() && argument.starts_with(name) &&
      argument[name.size()] == '=') {
    return argument.substr(name.size() + 1);
  }
  return std::nullopt;
}

Result<std::vector<EngineKind>> ParseEngines(std::string_view text) {
  std::vector<EngineKind> engines;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const auto kind = EngineFromName(text.substr(0, comma));
    if (!kind) {
      return Fail(Status::ParseError("no engine named " +
                                     std::string(text.substr(0, comma))));
    }
    engines.push_back(*kind);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return engines;
}

Result<Arguments> ParseArguments(std::span<char* const> arguments) {
  Arguments result;
  result.fixtures.parent_directory = std::filesystem::temp_directory_path();
  result.engines.assign(AllEngines().begin(), AllEngines().end());
  result.rest.push_back(arguments[0]);
  for (std::size_t at = 1; at < arguments.size(); ++at) {
    if (const auto dir = FlagValue("--dir", arguments, &at)) {
      result.fixtures.parent_directory = *dir;
    } else if (const auto scale = FlagValue("--scale", arguments, &at)) {
      result.fixtures.scale = std::atof(std::string(*scale).c_str());
    } else if (const auto seed = FlagValue("--seed", arguments, &at)) {
      result.fixtures.seed =
          std::strtoull(std::string(*seed).c_str(), nullptr, 10);
    } else if (const auto names = FlagValue("--engines", arguments, &at)) {
      auto engines = ParseEngines(*names);
      if (!engines) {
        return Fail(engines.error());
      }
      result.engines = std::move(*engines);
    } else {
      result.rest.push_back(arguments[at]);
    }
  }
  if (!(result.fixtures.scale > 0.0 && result.fixtures.scale <= 10.0)) {
    return Fail(Status::ParseError("--scale wants a number in (0, 10]"));
  }
  if (!std::filesystem::is_directory(result.fixtures.parent_directory)) {
    return Fail(Status::NotFound("no directory " +
                                 result.fixtures.parent_directory.string()));
  }
  return result;
}

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) {
      return line.substr(std::min(line.find(':') + 2, line.size()));
    }
  }
  return "unknown";
}

void AddContext(const Arguments& arguments, const Fixtures& fixtures) {
  struct utsname system {};
  ::uname(&system);
  benchmark::AddCustomContext("kernel", system.release);
  benchmark::AddCustomContext("processor", ProcessorName());
  benchmark::AddCustomContext("file_system",
                              FileSystemName(fixtures.parent_directory()));
  benchmark::AddCustomContext("scale",
                              std::to_string(arguments.fixtures.scale));
  benchmark::AddCustomContext("seed", std::to_string(arguments.fixtures.seed));
  benchmark::AddCustomContext("rocksdb_options",
                              DescribeRocksDb(fixtures.store_options()));
}

int Main(std::span<char* const> arguments) {
  if (arguments.size() > 1 && std::strcmp(arguments[1], kWriterFlag) == 0) {
    return RunWriterUntilKilled(arguments.subspan(2));
  }
  auto parsed = ParseArguments(arguments);
  if (!parsed) {
    return Usage(parsed.error().message());
  }
  int rest_count = static_cast<int>(parsed->rest.size());
  benchmark::Initialize(&rest_count, parsed->rest.data());
  if (benchmark::ReportUnrecognizedArguments(rest_count, parsed->rest.data())) {
    return 2;
  }
  Fixtures fixtures(parsed->fixtures);
  AddContext(*parsed, fixtures);
  RegisterOperations(fixtures, parsed->engines);
  RegisterOpening(fixtures, parsed->engines,
                  std::filesystem::canonical("/proc/self/exe").string());
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  fixtures.Clear();
  return EXIT_SUCCESS;
}

}  // namespace

}  // namespace larder::bench

int main(int argc, char** argv) {
  return larder::bench::Main({argv, static_cast<std::size_t>(argc)});
}
