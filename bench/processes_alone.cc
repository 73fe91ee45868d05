// What a process that is alone pays for others being able to join it: the same
// commands for a store by itself and for one with a seat, a server's thread and
// a hot tier, in turns.

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "larder/engine/engine.h"

#include "process_figures.h"
#include "store.h"
#include "test_values.h"

namespace larder::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;
using testing::Random;

constexpr std::uint64_t kKeys = 20'000;
constexpr std::size_t kValueSize = 1'000;
constexpr int kOperations = 4'000;
constexpr int kRounds = 101;

std::string KeyOf(std::uint64_t number) {
  return "alone:" + std::to_string(number);
}

// Nanoseconds of one operation; negative: it failed.
double TimeOf(Engine& engine, bool sets, Random& random) {
  const std::string value(kValueSize, 'v');
  std::vector<std::string> keys;
  for (int i = 0; i < kOperations; ++i) {
    keys.push_back(KeyOf(random.Below(kKeys)));
  }
  const auto begin = SteadyClock::now();
  for (const std::string& key : keys) {
    const Command command =
        sets ? Command(SetCommand{.key = key, .value = value})
             : Command(GetCommand{.key = key});
    Reply reply;
    if (!engine.Execute({&command, 1}, {&reply, 1}, {}).ok() ||
        !reply.applied) {
      return -1;
    }
  }
  const std::chrono::duration<double, std::nano> passed =
      SteadyClock::now() - begin;
  return passed.count() / kOperations;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Figure AloneFigure(std::string name, double with, double without) {
  Figure figure;
  figure.name = std::move(name);
  figure.value = with / 1e3;
  figure.unit = "us";
  figure.peer = "no seat";
  figure.peer_value = without / 1e3;
  figure.at_most = 1.02;
  return figure;
}

}  // namespace

void MeasureAlone(const ProcessBenchOptions& options, Report& report) {
  EngineOptions engine_options;
  auto bare = Store::Open(options.directory + "/bare", engine_options);
  auto joined = OpenEngine(options.directory + "/joined", engine_options);
  if (!bare || !joined) {
    report.left_out.emplace_back("a process alone: a cache does not open");
    return;
  }
  Random random(1);
  for (std::uint64_t i = 0; i < kKeys; ++i) {
    const std::string key = KeyOf(i);
    const std::string value(kValueSize, 'v');
    const Command command = SetCommand{.key = key, .value = value};
    Reply reply;
    (*bare)->Execute({&command, 1}, {&reply, 1}, {}).IgnoreError();
    (*joined)->Execute({&command, 1}, {&reply, 1}, {}).IgnoreError();
  }
  for (const bool sets : {true, false}) {
    std::vector<double> with;
    std::vector<double> without;
    for (int round = 0; round < kRounds; ++round) {
      // Who begins alternates as well.
      for (const bool is_joined : {round % 2 == 0, round % 2 != 0}) {
        Engine& engine = is_joined ? **joined : static_cast<Engine&>(**bare);
        const double time = TimeOf(engine, sets, random);
        if (time < 0) {
          report.left_out.emplace_back("a process alone: a command failed");
          return;
        }
        (is_joined ? with : without).push_back(time);
      }
    }
    report.figures.push_back(
        AloneFigure(sets ? "Set of 1,000 B, alone" : "Get of 1,000 B, alone",
                    Median(with), Median(without)));
  }
}

}  // namespace larder::bench
