// Processes that are killed, and such that do nothing.

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "many_processes/actors.h"
#include "many_processes/peer_servers.h"
#include "many_processes/process_figures.h"
#include "torture/torture_proof.h"
#include "torture/torture_run.h"

namespace larder::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;
using tools::TortureEvents;
using tools::TortureOptions;
using tools::TortureProof;

struct Tortured {
  TortureEvents events;
  TortureProof proof;
};

Result<Tortured> Torture(const ProcessBenchOptions& options,
                         const std::string& name, TortureOptions torture) {
  torture.directory = options.directory + "/" + name;
  torture.work = options.directory + "/" + name + ".work";
  torture.program = LARDER_COMMAND;
  torture.run = 1;
  std::filesystem::create_directories(torture.work);
  CacheOptions made;
  made.settings = {{"policy", "none"}, {"when_full", "fail"}};
  auto cache = Cache::Open(torture.directory, std::move(made));
  if (!cache) return Fail(cache.error());
  LARDER_FAIL_IF_ERROR((*cache)->Close());
  auto events = RunTorture(torture);
  if (!events) return Fail(events.error());
  cache = Cache::Open(torture.directory);
  if (!cache) return Fail(cache.error());
  auto proof = ProveTorture(torture, *events, **cache);
  LARDER_FAIL_IF_ERROR((*cache)->Close());
  if (!proof) return Fail(proof.error());
  return Tortured{std::move(*events), std::move(*proof)};
}

Figure Bounded(std::string name, double value, std::string unit,
               std::optional<double> at_most = {}) {
  Figure figure;
  figure.name = std::move(name);
  figure.value = value;
  figure.unit = std::move(unit);
  figure.at_most = at_most;
  return figure;
}

// Something that must not be.
Figure Zero(std::string name, std::uint64_t count) {
  return Bounded(std::move(name), static_cast<double>(count), "", 0);
}

constexpr int kWatchedTakeovers = 5;

// A few calls of each kind, so that nothing is done for the first time later.
ActorAnswer WarmUp(Cache& cache, std::uint32_t) {
  for (int i = 0; i < 1000; ++i) {
    const std::string key = "idle:" + std::to_string(i % 50);
    if (!cache.Set(key, "value").ok() || !cache.Get(key)) {
      return {.value = -1};
    }
  }
  return {.value = 1};
}

// Reads one key until this process is the holder itself: how many reads that
// were, and how long the longest took, in ms.
ActorAnswer ReadUntilHolder(Cache& cache, std::uint32_t turn) {
  if (turn == 1) return WarmUp(cache, turn);
  ActorAnswer answer;
  while (!cache.engine().capabilities().holds_store) {
    const auto begin = SteadyClock::now();
    if (!cache.Get("idle:1")) return {.value = -1};
    const std::chrono::duration<double, std::milli> took =
        SteadyClock::now() - begin;
    answer.second = std::max(answer.second, took.count());
    ++answer.value;
  }
  return answer;
}

// One holder that is killed under the eyes of a reader.
ActorAnswer WatchTakeover(const std::string& directory) {
  Actor holder(directory, WarmUp);
  Actor reader(directory, ReadUntilHolder);
  if (!holder.opened() || !reader.opened() || holder.Turn().value < 0 ||
      reader.Turn().value < 0) {
    return {.value = -1};
  }
  ::usleep(100'000);  // The tier is made soon after the cache was opened.
  if (holder.Turn().value < 0) return {.value = -1};
  holder.process().Kill(SIGKILL);
  return reader.Turn();
}

}  // namespace

void MeasureTakeover(const ProcessBenchOptions& options, Report& report) {
  TortureOptions torture;
  torture.processes = 5;  // Four go on writing when the holder dies.
  torture.seconds = options.seconds * 2;
  torture.kill_every = std::chrono::milliseconds(400);
  torture.holders_only = true;
  const auto tortured = Torture(options, "takeover", torture);
  if (!tortured) {
    report.left_out.push_back("takeover: " + tortured.error().ToString());
    return;
  }
  const std::vector<double>& takeovers = tortured->proof.takeover_ms;
  if (!takeovers.empty()) {
    report.figures.push_back(Bounded("takeover, four writers: median",
                                     takeovers[takeovers.size() / 2], "ms",
                                     60));
    report.figures.push_back(
        Bounded("takeover, four writers: max", takeovers.back(), "ms", 500));
  }
  report.figures.push_back(
      Zero("takeover: lost or wrong", tortured->proof.ok() ? 0 : 1));
  std::vector<double> reads;
  double longest_ms = 0;
  for (int i = 0; i < kWatchedTakeovers; ++i) {
    const ActorAnswer answer =
        WatchTakeover(options.directory + "/watch" + std::to_string(i));
    if (answer.value < 0) {
      report.left_out.emplace_back("hot reads in a takeover: a call failed");
      return;
    }
    reads.push_back(answer.value);
    longest_ms = std::max(longest_ms, answer.second);
  }
  std::sort(reads.begin(), reads.end());
  report.figures.push_back(Bounded("hot reads while nobody serves: median",
                                   reads[reads.size() / 2], ""));
  report.figures.push_back(
      Bounded("hot reads while nobody serves: longest", longest_ms, "ms"));
}

void MeasureIdle(const ProcessBenchOptions& options, Report& report) {
  const std::string directory = options.directory + "/idle";
  Actor holder(directory, WarmUp);
  Actor client(directory, WarmUp);
  if (!holder.opened() || !client.opened() || holder.Turn().value < 0 ||
      client.Turn().value < 0) {
    report.left_out.emplace_back("idle: the cache does not open");
    return;
  }
  ::usleep(2'000'000);  // What was begun in the background is done by then.
  const double holder_before = ProcessCpuSeconds(holder.process().pid());
  const double client_before = ProcessCpuSeconds(client.process().pid());
  ::usleep(5'000'000);
  const double of_holder =
      ProcessCpuSeconds(holder.process().pid()) - holder_before;
  const double of_client =
      ProcessCpuSeconds(client.process().pid()) - client_before;
  report.figures.push_back(
      Bounded("CPU of an idle holder in 5 s", of_holder * 1e3, "ms", 1));
  report.figures.push_back(
      Bounded("CPU of an idle client in 5 s", of_client * 1e3, "ms", 1));
}

void MeasureTorture(const ProcessBenchOptions& options, Report& report) {
  TortureOptions torture;
  torture.processes = options.processes;
  torture.seconds = options.torture_seconds;
  torture.kill_every = std::chrono::milliseconds(200);
  const auto tortured = Torture(options, "torture", torture);
  if (!tortured) {
    report.left_out.push_back("torture: " + tortured.error().ToString());
    return;
  }
  const auto& [events, proof] = *tortured;
  report.figures.push_back(Bounded(
      "torture: processes killed",
      static_cast<double>(events.holder_kills.size() + events.clients_killed),
      ""));
  report.figures.push_back(Bounded("torture: writes acknowledged",
                                   static_cast<double>(proof.acknowledged),
                                   ""));
  report.figures.push_back(Zero("torture: lost", proof.faults.lost));
  report.figures.push_back(Zero("torture: repeated, stale, torn, split",
                                proof.faults.repeated + proof.faults.stale +
                                    proof.faults.torn + proof.faults.split));
  report.figures.push_back(
      Zero("torture: hung or died", events.hung + events.died));
  report.figures.push_back(
      Zero("torture: counters off", proof.check.counters_match ? 0 : 1));
}

}  // namespace larder::bench
