// Reads that need no message, and what a message costs.

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "many_processes/actors.h"
#include "many_processes/process_figures.h"
#include "many_processes/round_trips.h"
#include "temporary_directory.h"

namespace larder::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int kHotKeys = 100;
constexpr std::size_t kHotValueSize = 100;
constexpr int kHotRounds = 5;
constexpr int kRoundTrips = 20'000;

std::vector<std::string> Keys() {
  std::vector<std::string> keys;
  for (int i = 0; i < kHotKeys; ++i) keys.push_back("hot:" + std::to_string(i));
  return keys;
}

ActorAnswer SetAll(Cache& cache) {
  const std::string value(kHotValueSize, 'v');
  for (const std::string& key : Keys()) {
    if (!cache.Set(key, value).ok()) return {.value = -1};
  }
  return {.value = 1};
}

// Gets per second, for about `seconds`; negative: a miss.
ActorAnswer ReadAll(Cache& cache, double seconds) {
  const std::vector<std::string> keys = Keys();
  const auto begin = SteadyClock::now();
  std::uint64_t count = 0;
  double passed = 0;
  while (passed < seconds) {
    for (int i = 0; i < 10 * kHotKeys; ++i) {
      const auto value =
          cache.Get(keys[static_cast<std::size_t>(i % kHotKeys)]);
      if (!value || !*value || (*value)->bytes().size() != kHotValueSize) {
        return {.value = -1};
      }
      ++count;
    }
    passed = std::chrono::duration<double>(SteadyClock::now() - begin).count();
  }
  return {.value = static_cast<double>(count) / passed};
}

// What two processes get done beside one, if they have nothing in common: a
// machine that is busy, or whose processors are halves, gives less than 2.
double ScalingOfTheMachine(double seconds) {
  const Actor::Act compute = [seconds](Cache&, std::uint32_t) {
    const auto begin = SteadyClock::now();
    double passed = 0;
    double count = 0;
    volatile std::uint64_t number = 1;
    while (passed < seconds) {
      for (int i = 0; i < 10'000; ++i) number = number * 1664525 + 1013904223;
      ++count;
      passed =
          std::chrono::duration<double>(SteadyClock::now() - begin).count();
    }
    return ActorAnswer{.value = count / passed};
  };
  const testing::TemporaryDirectory directory;
  Actor one(directory.path() / "cache", compute);
  Actor two(directory.path() / "cache", compute);
  const double alone = one.Turn().value;
  one.Begin();
  two.Begin();
  const double first = one.End().value;
  return (first + two.End().value) / alone;
}

Figure NanosecondFigure(std::string name, double per_second) {
  Figure figure;
  figure.name = std::move(name);
  figure.value = per_second > 0 ? 1e9 / per_second : 0;
  figure.unit = "ns";
  figure.at_most = 150;
  return figure;
}

}  // namespace

void MeasureHotReads(const ProcessBenchOptions& options, Report& report) {
  const std::string directory = options.directory + "/hot";
  const double seconds = options.seconds / 10;
  Actor holder(directory, [seconds](Cache& cache, std::uint32_t turn) {
    return turn == 1 ? SetAll(cache) : ReadAll(cache, seconds);
  });
  const Actor::Act read = [seconds](Cache& cache, std::uint32_t) {
    return ReadAll(cache, seconds);
  };
  if (!holder.opened() || holder.Turn().value < 0) {
    report.left_out.emplace_back("hot reads: the cache does not open");
    return;
  }
  Actor one(directory, read);
  Actor two(directory, read);
  one.Turn();  // The first rounds let the keys into the tier.
  two.Turn();
  holder.Turn();
  std::vector<double> holders;
  std::vector<double> singles;
  std::vector<double> ratios;
  std::vector<double> machine;
  for (int round = 0; round < kHotRounds; ++round) {
    holders.push_back(holder.Turn().value);
    const double alone = (one.Turn().value + two.Turn().value) / 2;
    one.Begin();
    two.Begin();
    const double first = one.End().value;
    const double second = two.End().value;
    singles.push_back(alone);
    ratios.push_back((first + second) / alone);
    machine.push_back(ScalingOfTheMachine(seconds));
  }
  report.figures.push_back(
      NanosecondFigure("hot hit of 100 B, client", Median(singles)));
  report.figures.push_back(
      NanosecondFigure("hot hit of 100 B, holder", Median(holders)));
  Figure scaling;
  scaling.name = "hot hits, two readers";
  scaling.value = Median(ratios);
  scaling.unit = "x one";
  scaling.at_least = 1.8;
  report.figures.push_back(std::move(scaling));
  Figure limit;
  limit.name = "two busy loops: what the machine gives";
  limit.value = Median(machine);
  limit.unit = "x one";
  report.figures.push_back(std::move(limit));
}

void MeasureRoundTrips(const ProcessBenchOptions&, Report& report) {
  const auto median_us = [](Echo& echo) {
    std::vector<double> microseconds;
    for (int i = 0; i < kRoundTrips; ++i) {
      const auto begin = SteadyClock::now();
      if (!echo.RoundTrip()) return 0.0;
      microseconds.push_back(
          std::chrono::duration<double, std::micro>(SteadyClock::now() - begin)
              .count());
    }
    return Median(std::move(microseconds));
  };
  std::vector<double> rings;
  std::vector<double> sockets;
  for (int round = 0; round < 3; ++round) {
    rings.push_back(median_us(*MakeRingEcho(64)));
    sockets.push_back(median_us(*MakeSocketEcho(64)));
  }
  Figure figure;
  figure.name = "round trip of 64 B, p50";
  figure.value = Median(rings);
  figure.unit = "us";
  figure.peer = "Unix socket";
  figure.peer_value = Median(sockets);
  figure.at_most = 0.6;
  report.figures.push_back(std::move(figure));
}

}  // namespace larder::bench
