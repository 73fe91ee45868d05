// What a process that is alone pays for others being able to join it: the same
// commands for a store by itself and for one with a seat and a server's thread,
// in turns; and what the hot tier then costs and gains.

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "larder/engine/engine.h"

#include "many_processes/process_figures.h"
#include "store/store.h"
#include "test_values.h"

namespace larder::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::uint64_t kAloneKeys = 20'000;
constexpr std::size_t kAloneValueSize = 1'000;
constexpr int kAloneOperations = 4'000;
constexpr std::size_t kAloneRounds = 101;

std::string KeyOf(std::uint64_t number) {
  return "alone:" + std::to_string(number);
}

// Nanoseconds of one operation; negative: it failed.
double TimeOf(Engine& engine, bool sets, testing::Random& random) {
  const std::string value(kAloneValueSize, 'v');
  std::vector<std::string> keys;
  for (int i = 0; i < kAloneOperations; ++i) {
    keys.push_back(KeyOf(random.Below(kAloneKeys)));
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
  return passed.count() / kAloneOperations;
}

Figure AloneFigure(std::string name, double with, double without) {
  Figure figure;
  figure.name = std::move(name);
  figure.value = with / 1e3;
  figure.unit = "us";
  figure.peer = "store itself";
  figure.peer_value = without / 1e3;
  return figure;
}

enum Kind : std::size_t { kBare, kSeat, kHotTier, kKindCount };
using Engines = std::array<std::unique_ptr<Engine>, kKindCount>;

// None, if one cannot be opened or filled.
std::optional<Engines> OpenAll(const std::string& directory) {
  EngineOptions with_tier;
  EngineOptions without_tier;
  without_tier.hot_tier_bytes = 0;
  auto bare = Store::Open(directory + "/bare", without_tier);
  auto seat = OpenEngine(directory + "/seat", without_tier);
  auto tier = OpenEngine(directory + "/tier", with_tier);
  if (!bare || !seat || !tier) return std::nullopt;
  Engines engines{std::move(*bare), std::move(*seat), std::move(*tier)};
  const std::string value(kAloneValueSize, 'v');
  for (const auto& engine : engines) {
    for (std::uint64_t i = 0; i < kAloneKeys; ++i) {
      const std::string key = KeyOf(i);
      const Command command = SetCommand{.key = key, .value = value};
      Reply reply;
      if (!engine->Execute({&command, 1}, {&reply, 1}, {}).ok() ||
          !reply.status.ok()) {
        return std::nullopt;
      }
    }
  }
  return engines;
}

}  // namespace

void MeasureAlone(const ProcessBenchOptions& options, Report& report) {
  const auto engines = OpenAll(options.directory);
  if (!engines) {
    report.left_out.emplace_back("a process alone: a cache does not open");
    return;
  }
  testing::Random random(1);
  for (const bool sets : {true, false}) {
    std::array<std::vector<double>, kKindCount> times;
    for (std::size_t turn = 0; turn < kAloneRounds * kKindCount; ++turn) {
      // Each comes first, second and last.
      const std::size_t kind = (turn + turn / kKindCount) % kKindCount;
      times[kind].push_back(TimeOf(*(*engines)[kind], sets, random));
      if (times[kind].back() < 0) {
        report.left_out.emplace_back("a process alone: a command failed");
        return;
      }
    }
    const std::string name = sets ? "Set of 1,000 B" : "Get of 1,000 B";
    const double bare = Median(times[kBare]);
    report.figures.push_back(
        AloneFigure(name + ", a process alone", Median(times[kSeat]), bare));
    report.figures.back().at_most = 1.02;
    report.figures.push_back(
        AloneFigure(name + ", with a hot tier", Median(times[kHotTier]), bare));
  }
}

}  // namespace larder::bench
