// DiskCache's mix with many processes: larder, and the peers that are there.

#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "bench_run.h"
#include "peer_servers.h"
#include "process_figures.h"

namespace larder::bench {
namespace {

using tools::BenchOptions;
using tools::BenchResult;

BenchOptions MixOptions(const ProcessBenchOptions& options) {
  BenchOptions mix;  // The defaults are DiskCache's mix.
  mix.processes = options.processes;
  mix.operations = std::numeric_limits<std::uint64_t>::max();
  mix.time_max = std::chrono::nanoseconds(
      static_cast<std::int64_t>(options.seconds * 1e9));
  return mix;
}

void AddOwnFigures(const BenchResult& result, Report& report) {
  const auto& get = result.operations[0].times;
  const auto& set = result.operations[1].times;
  const auto add = [&report](std::string name, double value, std::string unit,
                             std::optional<double> at_most = {}) {
    Figure figure;
    figure.name = std::move(name);
    figure.value = value;
    figure.unit = std::move(unit);
    figure.at_most = at_most;
    report.figures.push_back(std::move(figure));
  };
  add("mix: get p50", get.QuantileMicroseconds(0.50), "us", 0.5);
  add("mix: get p99", get.QuantileMicroseconds(0.99), "us", 20);
  add("mix: set p50", set.QuantileMicroseconds(0.50), "us");
  add("mix: set p99", set.QuantileMicroseconds(0.99), "us", 5'000);
  add("mix: set max", set.max_microseconds(), "us", 100'000);
}

// Larder beside a peer, in operations per second.
void AddRatio(double larder, const std::string& peer, double peer_value,
              double at_least, Report& report) {
  Figure figure;
  figure.name = "mix: operations";
  figure.value = larder;
  figure.unit = "/s";
  figure.peer = peer;
  figure.peer_value = peer_value;
  figure.at_least = at_least;
  report.figures.push_back(std::move(figure));
  report.bars.back().bars.emplace_back(peer, peer_value);
}

void MeasurePeer(const std::string& name,
                 const Result<std::unique_ptr<PeerServer>>& server,
                 const BenchOptions& mix, double larder, double at_least,
                 Report& report) {
  if (!server) {
    report.left_out.push_back(name + ": " + server.error().message());
    return;
  }
  const auto result = tools::RunBenchProcesses(mix, (*server)->Targets());
  if (!result) {
    report.left_out.push_back(name + ": " + result.error().message());
    return;
  }
  AddRatio(larder, name, result->operations_per_second(), at_least, report);
}

// What a command prints; empty if it fails.
std::string OutputOf(const std::string& command) {
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  std::string output;
  char buffer[4096];
  for (std::size_t size; (size = std::fread(buffer, 1, sizeof buffer, pipe));) {
    output.append(buffer, size);
  }
  return ::pclose(pipe) == 0 ? output : std::string();
}

void MeasureDiskCache(const ProcessBenchOptions& options, double larder,
                      double larder_set_p50, Report& report) {
  const std::string directory = options.directory + "/diskcache";
  // Debian's, where the package is; python3 may be another one.
  const std::string python =
      ::access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : "python3";
  const std::string output = OutputOf(fmt::format(
      "'{}' '{}' '{}' {} {} 2>/dev/null", python, LARDER_DISKCACHE_MIX,
      directory, options.processes, options.seconds));
  const auto json = nlohmann::json::parse(output, nullptr, false);
  if (json.is_discarded()) {
    report.left_out.emplace_back(
        "DiskCache: python3 with python3-diskcache does not run");
    return;
  }
  AddRatio(larder, "DiskCache", json.at("operations_per_second"), 12, report);
  Figure set;
  set.name = "mix: set p50";
  set.value = larder_set_p50;
  set.unit = "us";
  set.peer = "DiskCache";
  set.peer_value = json.at("operations").at("set").at("p50_us");
  set.at_most = 1;
  report.figures.push_back(std::move(set));
}

}  // namespace

void MeasureMix(const ProcessBenchOptions& options, Report& report) {
  const BenchOptions mix = MixOptions(options);
  const auto larder = tools::RunBenchProcesses(
      mix, tools::CacheTargets(options.directory + "/mix", {}));
  if (!larder) {
    report.left_out.push_back("mix: " + larder.error().ToString());
    return;
  }
  const double per_second = larder->operations_per_second();
  report.bars.push_back(
      {fmt::format("Operations per second, {} processes", options.processes),
       {{"larder", per_second}}});
  MeasurePeer("Redis", StartRedis(options.directory), mix, per_second, 10,
              report);
  MeasurePeer("memcached", StartMemcached(options.directory), mix, per_second,
              7, report);
  MeasureDiskCache(options, per_second,
                   larder->operations[1].times.QuantileMicroseconds(0.50),
                   report);
  AddOwnFigures(*larder, report);
}

}  // namespace larder::bench
