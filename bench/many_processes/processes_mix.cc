// DiskCache's mix with many processes: larder, and the peers that are there.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include "many_processes/peer_servers.h"
#include "many_processes/process_figures.h"
#include "measure/bench_run.h"

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

// One system's runs of the mix.
struct Runs {
  std::string name;
  double at_least = 0;
  std::vector<double> per_second;
  std::vector<double> set_p50_us;
  std::vector<double> cpu_us;  // Per operation, of clients and server.
};

// CPU time of all children that have ended, and theirs.
double ChildrenCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) +
           static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void AddRun(const BenchResult& result, double cpu_seconds, Runs& runs) {
  runs.per_second.push_back(result.operations_per_second());
  runs.set_p50_us.push_back(
      result.operations[1].times.QuantileMicroseconds(0.50));
  runs.cpu_us.push_back(cpu_seconds * 1e6 /
                        static_cast<double>(result.Total().times.count()));
}

// The reason if it failed.
Status RunPeer(const Result<std::unique_ptr<PeerServer>>& server,
               const BenchOptions& mix, Runs& runs) {
  if (!server) return server.error();
  const double before = ChildrenCpuSeconds() + (*server)->cpu_seconds();
  const auto result = tools::RunBenchProcesses(mix, (*server)->Targets());
  if (!result) return result.error();
  AddRun(*result, ChildrenCpuSeconds() + (*server)->cpu_seconds() - before,
         runs);
  return Status::Ok();
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

Status RunDiskCache(const ProcessBenchOptions& options, Runs& runs) {
  const std::string directory = options.directory + "/diskcache";
  // Debian's, where the package is; python3 may be another one.
  const std::string python =
      ::access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : "python3";
  const double before = ChildrenCpuSeconds();
  const std::string output = OutputOf(fmt::format(
      "'{}' '{}' '{}' {} {} 2>/dev/null", python, LARDER_DISKCACHE_MIX,
      directory, options.processes, options.seconds));
  const auto json = nlohmann::json::parse(output, nullptr, false);
  if (json.is_discarded()) {
    return Status::NotFound("python3 with python3-diskcache does not run");
  }
  runs.per_second.push_back(json.at("operations_per_second"));
  const auto& operations = json.at("operations");
  runs.set_p50_us.push_back(operations.at("set").at("p50_us"));
  double count = 0;
  for (const auto& operation : operations) {
    count += operation.at("count").get<double>();
  }
  runs.cpu_us.push_back((ChildrenCpuSeconds() - before) * 1e6 / count);
  return Status::Ok();
}

// Larder beside a peer, in microseconds.
void AddTimes(std::string name, double larder, const std::string& peer,
              double peer_value, std::optional<double> at_most,
              Report& report) {
  Figure figure;
  figure.name = std::move(name);
  figure.value = larder;
  figure.unit = "us";
  figure.peer = peer;
  figure.peer_value = peer_value;
  figure.at_most = at_most;
  report.figures.push_back(std::move(figure));
}

}  // namespace

// All systems in turns, so that a drift of the machine hits each of them.
void MeasureMix(const ProcessBenchOptions& options, Report& report) {
  const BenchOptions mix = MixOptions(options);
  Runs larder;
  BenchResult all;
  std::vector<Runs> peers = {{"Redis", 10, {}, {}, {}},
                             {"memcached", 7, {}, {}, {}},
                             {"DiskCache", 12, {}, {}, {}}};
  std::vector<Status> failures(peers.size());
  for (unsigned round = 0; round < options.rounds; ++round) {
    const double before = ChildrenCpuSeconds();
    const auto result = tools::RunBenchProcesses(
        mix, tools::CacheTargets(options.directory + "/mix", {}));
    if (!result) {
      report.left_out.push_back("mix: " + result.error().ToString());
      return;
    }
    all.Merge(*result);
    AddRun(*result, ChildrenCpuSeconds() - before, larder);
    for (std::size_t i = 0; i < peers.size(); ++i) {
      if (!failures[i].ok()) continue;
      failures[i] =
          i == 0   ? RunPeer(StartRedis(options.directory), mix, peers[i])
          : i == 1 ? RunPeer(StartMemcached(options.directory), mix, peers[i])
                   : RunDiskCache(options, peers[i]);
    }
  }
  const double per_second = Median(larder.per_second);
  report.bars.push_back(
      {fmt::format("Operations per second, {} processes", options.processes),
       {{"larder", per_second}}});
  for (std::size_t i = 0; i < peers.size(); ++i) {
    if (failures[i].ok()) {
      AddRatio(per_second, peers[i].name, Median(peers[i].per_second),
               peers[i].at_least, report);
    } else {
      report.left_out.push_back(peers[i].name + ": " + failures[i].message());
    }
  }
  for (std::size_t i = 0; i < peers.size(); ++i) {
    if (!failures[i].ok()) continue;
    AddTimes("mix: CPU per operation", Median(larder.cpu_us), peers[i].name,
             Median(peers[i].cpu_us), std::nullopt, report);
  }
  AddOwnFigures(all, report);
  if (failures.back().ok()) {
    AddTimes("mix: set p50", Median(larder.set_p50_us), peers.back().name,
             Median(peers.back().set_p50_us), 1, report);
  }
}

}  // namespace larder::bench
