// Values that are too large for the hot tier or at its limit: a client beside
// the holder itself.

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "many_processes/actors.h"
#include "many_processes/process_figures.h"
#include "stores/workload.h"

namespace larder::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int kTransferRounds = 5;
constexpr std::uint64_t kBytesPerTurn = 64U << 20;
constexpr std::uint64_t kTransferKeys = 32;

std::string KeyOf(std::uint64_t size, std::uint64_t i) {
  return fmt::format("{}:{}", size, i % kTransferKeys);
}

// MB/s; negative: a call failed. Values are read to their last byte.
ActorAnswer RunTurn(Cache& cache, std::uint64_t size, bool sets) {
  const std::string value(size, 'v');
  const std::uint64_t fold = Fold(value);
  const std::uint64_t count = kBytesPerTurn / size;
  const auto begin = SteadyClock::now();
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string key = KeyOf(size, i);
    if (sets) {
      if (!cache.Set(key, value).ok()) return {.value = -1};
    } else {
      const auto got = cache.Get(key);
      if (!got || !*got || Fold((*got)->bytes()) != fold) return {.value = -1};
    }
  }
  const double seconds =
      std::chrono::duration<double>(SteadyClock::now() - begin).count();
  return {.value = static_cast<double>(kBytesPerTurn) / 1e6 / seconds};
}

}  // namespace

void MeasureLargeValues(const ProcessBenchOptions& options, Report& report) {
  const std::string directory = options.directory + "/large";
  // Turns go through sizes, then sets and gets.
  const std::vector<std::pair<std::uint64_t, bool>> cases = {{64U << 10, true},
                                                             {64U << 10, false},
                                                             {1U << 20, true},
                                                             {1U << 20, false}};
  const Actor::Act act = [&cases](Cache& cache, std::uint32_t turn) {
    const auto& [size, sets] = cases[(turn - 1) % cases.size()];
    return RunTurn(cache, size, sets);
  };
  Actor holder(directory, act);
  Actor client(directory, act);
  if (!holder.opened() || !client.opened()) {
    report.left_out.emplace_back("large values: the cache does not open");
    return;
  }
  std::vector<std::vector<double>> holders(cases.size());
  std::vector<std::vector<double>> clients(cases.size());
  for (int round = 0; round < kTransferRounds; ++round) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      holders[i].push_back(holder.Turn().value);
      clients[i].push_back(client.Turn().value);
    }
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    Figure figure;
    figure.name =
        fmt::format("{} of {} KiB, client", cases[i].second ? "Set" : "Get",
                    cases[i].first >> 10);
    figure.value = Median(clients[i]);
    figure.unit = "MB/s";
    figure.peer = "holder";
    figure.peer_value = Median(holders[i]);
    figure.at_least = 0.8;
    report.figures.push_back(std::move(figure));
  }
}

}  // namespace larder::bench
