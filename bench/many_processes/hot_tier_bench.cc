// What it costs to read the hot tier, and to ask the holder.
//
//   BM_HotHit/BYTES/threads:N   a value that is there (100 keys)
//   BM_HotHitSpread/BYTES       the same, of many keys: out of the CPU's cache
//   BM_HotAbsent, BM_HotUnknown a key that is known to be absent; not known
//   BM_HotPublish/BYTES         a write of a key that is there
//   BM_RingRoundTrip/BYTES      a message to another process and back
//   BM_SocketRoundTrip/BYTES    the same through a Unix socket
// The round trips report the median and the 99th percentile, too.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "hot/hot_reader.h"
#include "hot/hot_writer.h"
#include "many_processes/round_trips.h"
#include "temporary_directory.h"

namespace larder {
namespace {

using testing::TemporaryDirectory;

constexpr std::uint64_t kTierSize = 64U << 20;

// A tier with `count` keys of `size` bytes.
class Tier {
 public:
  Tier(std::size_t count, std::size_t size) {
    HotWriter::Options options;
    options.hot = {.directory = directory_.path(),
                   .id = {.high = 1, .low = 2},
                   .epoch = 1,
                   .kind = RegionKind::kHot,
                   .number = 1};
    options.touch = options.hot;
    options.touch.kind = RegionKind::kTouch;
    options.size_bytes = kTierSize;
    options.admit_on_write_max = kHotValueSizeMax;
    writer_ = std::move(*HotWriter::Create(options));
    reader_ = std::move(*HotReader::Open(options.hot, options.touch));
    const std::string value(size, 'v');
    for (std::size_t i = 0; i < count; ++i) {
      keys_.push_back("some:key:" + std::to_string(1'000'000 + i));
      Set(keys_.back(), value);
    }
  }
  void Set(std::string_view key, std::string_view value) {
    const HotKey hot_key(key);
    HotItem item;
    item.value = value;
    writer_->Publish(writer_->Begin(hot_key), hot_key, item);
  }
  HotWriter& writer() { return *writer_; }
  const HotReader& reader() const { return *reader_; }
  const std::vector<std::string>& keys() const { return keys_; }

 private:
  TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  std::unique_ptr<HotWriter> writer_;
  std::unique_ptr<HotReader> reader_;
  std::vector<std::string> keys_;
};

void ReadKeys(benchmark::State& state, const Tier& tier, HotOutcome expected) {
  const Clock& clock = *Clock::System();
  std::size_t i = static_cast<std::size_t>(state.thread_index()) * 17;
  std::size_t other = 0;
  for (auto _ : state) {
    Reply reply;
    const HotOutcome outcome =
        tier.reader().Get(HotKey(tier.keys()[i]), true, clock, nullptr, reply);
    benchmark::DoNotOptimize(reply.value.bytes().data());
    if (outcome != expected) ++other;
    i += 1;
    if (i >= tier.keys().size()) i = 0;
  }
  if (other != 0) state.SkipWithError("not the outcome that is measured");
  state.SetItemsProcessed(state.iterations());
}

std::unique_ptr<Tier> shared_tier;  // Of the benchmark that runs.

void SetUpHundred(const benchmark::State& state) {
  shared_tier =
      std::make_unique<Tier>(100, static_cast<std::size_t>(state.range(0)));
}
void TearDown(const benchmark::State&) { shared_tier.reset(); }

void BM_HotHit(benchmark::State& state) {
  ReadKeys(state, *shared_tier, HotOutcome::kHit);
}
BENCHMARK(BM_HotHit)
    ->Arg(100)
    ->Arg(1024)
    ->Arg(16384)
    ->Setup(SetUpHundred)
    ->Teardown(TearDown)
    ->Threads(1)
    ->Threads(2)
    ->UseRealTime();

void BM_HotHitSpread(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  const Tier tier((32U << 20) / (size + 100), size);
  std::vector<std::uint32_t> order(100'000);
  std::uint32_t random = 1;
  for (std::uint32_t& at : order) {
    random = random * 1664525 + 1013904223;
    at = random % static_cast<std::uint32_t>(tier.keys().size());
  }
  const Clock& clock = *Clock::System();
  std::size_t i = 0;
  std::size_t hits = 0;
  for (auto _ : state) {
    Reply reply;
    if (tier.reader().Get(HotKey(tier.keys()[order[i]]), true, clock, nullptr,
                          reply) == HotOutcome::kHit) {
      ++hits;
    }
    benchmark::DoNotOptimize(reply.value.bytes().data());
    if (++i == order.size()) i = 0;
  }
  state.counters["hit_ratio"] =
      static_cast<double>(hits) / static_cast<double>(state.iterations());
}
BENCHMARK(BM_HotHitSpread)->Arg(100)->Arg(1024)->Arg(16384);

void BM_HotAbsent(benchmark::State& state) {
  Tier tier(100, 1);
  for (const std::string& key : tier.keys()) {
    const HotKey hot_key(key);
    tier.writer().PublishAbsent(tier.writer().Begin(hot_key), hot_key);
  }
  ReadKeys(state, tier, HotOutcome::kAbsent);
}
BENCHMARK(BM_HotAbsent);

void BM_HotUnknown(benchmark::State& state) {
  Tier tier(100, 1);
  for (const std::string& key : tier.keys()) {
    const HotKey hot_key(key);
    tier.writer().Drop(tier.writer().Begin(hot_key), hot_key);
  }
  ReadKeys(state, tier, HotOutcome::kUnknown);
}
BENCHMARK(BM_HotUnknown);

void BM_HotPublish(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  Tier tier(100, size);
  const std::string value(size, 'w');
  std::size_t i = 0;
  for (auto _ : state) {
    tier.Set(tier.keys()[i], value);
    if (++i == tier.keys().size()) i = 0;
  }
}
BENCHMARK(BM_HotPublish)->Arg(100)->Arg(1024)->Arg(16384);

// Round trips
// ------------------------------------------------------------------

// Times each round trip and reports its distribution.
template <typename RoundTrip>
void TimeRoundTrips(benchmark::State& state, RoundTrip&& round_trip) {
  std::vector<double> microseconds;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    round_trip();
    microseconds.push_back(std::chrono::duration<double, std::micro>(
                               std::chrono::steady_clock::now() - start)
                               .count());
  }
  std::sort(microseconds.begin(), microseconds.end());
  const auto at = [&](double share) {
    return microseconds[static_cast<std::size_t>(
        share * static_cast<double>(microseconds.size() - 1))];
  };
  state.counters["p50_us"] = at(0.50);
  state.counters["p99_us"] = at(0.99);
}

void RunRoundTrips(benchmark::State& state, bench::Echo& echo) {
  TimeRoundTrips(state, [&echo] {
    if (!echo.RoundTrip()) std::abort();
  });
}

void BM_RingRoundTrip(benchmark::State& state) {
  RunRoundTrips(state,
                *bench::MakeRingEcho(static_cast<std::size_t>(state.range(0))));
}
BENCHMARK(BM_RingRoundTrip)->Arg(64)->Arg(1024)->Arg(65536)->UseRealTime();

void BM_SocketRoundTrip(benchmark::State& state) {
  RunRoundTrips(
      state, *bench::MakeSocketEcho(static_cast<std::size_t>(state.range(0))));
}
BENCHMARK(BM_SocketRoundTrip)->Arg(64)->Arg(1024)->Arg(65536)->UseRealTime();

}  // namespace
}  // namespace larder

BENCHMARK_MAIN();
