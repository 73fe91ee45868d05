#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <time.h>

#include "larder/cache/cache.h"
#include "larder/engine/policy.h"

#include "stores/work_directory.h"
#include "stores/workload.h"

// What a policy costs a hit. One full cache is read by Zipf's law under each
// policy in turn, in short rounds that each lie between two rounds of
// least-recently-stored, for which hits are nothing to note. Hits are counted
// per second of the reading threads' processor time, and the medians of ratios
// are printed: neither sees much of what else the machine does.

namespace larder::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::string_view kReference = "least-recently-stored";

struct Options {
  std::string directory = "/tmp";
  std::uint64_t item_count = 20'000;
  std::uint64_t value_size_bytes = 1024;
  unsigned threads = 1;
  unsigned rounds = 21;
  std::uint64_t hot_tier_bytes = 64 << 20;
  double round_seconds = 0.2;
};

double ThreadSeconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) +
         1e-9 * static_cast<double>(now.tv_nsec);
}

struct Tally {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  double seconds = 0;
};

struct Round {
  double hits_per_second = 0;
  std::uint64_t misses = 0;
};

class HitBench {
 public:
  HitBench(const Options& options, std::unique_ptr<Cache> cache)
      : options_(options), cache_(std::move(cache)) {
    double sum = 0;
    for (std::uint64_t i = 0; i < options_.item_count; ++i) {
      keys_.push_back(KeyOf(i, 1));
      sum += 1.0 / static_cast<double>(i + 1);
      popularity_.push_back(sum);
    }
  }

  Status Fill() {
    const std::string value(options_.value_size_bytes, 'v');
    for (const std::string& key : keys_) {
      LARDER_RETURN_IF_ERROR(cache_->Set(key, value));
    }
    return cache_->Sync();
  }

  Result<Round> Measure(std::string_view policy) {
    LARDER_FAIL_IF_ERROR(cache_->Reset("policy", policy));
    Run(options_.round_seconds / 4);  // The switch, and the first stamps.
    return Run(options_.round_seconds);
  }
  [[nodiscard]] Result<EngineStats> Stats() { return cache_->Stats(); }
  Status Close() { return cache_->Close(); }

 private:
  Round Run(double seconds) {
    const auto end =
        SteadyClock::now() + std::chrono::duration_cast<SteadyClock::duration>(
                                 std::chrono::duration<double>(seconds));
    std::vector<Tally> tallies(options_.threads);
    std::vector<std::jthread> threads;
    for (Tally& tally : tallies) {
      threads.emplace_back([&, seed = ++seed_] { tally = Read(seed, end); });
    }
    threads.clear();
    Tally sum;
    for (const Tally& tally : tallies) {
      sum.hits += tally.hits;
      sum.misses += tally.misses;
      sum.seconds += tally.seconds;
    }
    return {static_cast<double>(sum.hits) / sum.seconds, sum.misses};
  }

  Tally Read(std::uint64_t seed, SteadyClock::time_point end) {
    constexpr int kReadsPerLook = 256;
    Random random(seed);
    Tally tally;
    const double begin = ThreadSeconds();
    do {
      for (int i = 0; i < kReadsPerLook; ++i) {
        const auto at = std::ranges::lower_bound(
            popularity_, random.Unit() * popularity_.back());
        const auto index = static_cast<std::size_t>(at - popularity_.begin());
        const auto value = cache_->Get(keys_[index]);
        ++(value && *value ? tally.hits : tally.misses);
      }
    } while (SteadyClock::now() < end);
    tally.seconds = ThreadSeconds() - begin;
    return tally;
  }

  const Options& options_;
  std::unique_ptr<Cache> cache_;
  std::vector<std::string> keys_;
  std::vector<double> popularity_;  // Sums of 1 / rank.
  std::uint64_t seed_ = 0;
};

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

Status RunPolicy(HitBench& bench, const Options& options,
                 const std::string& policy) {
  std::vector<double> ratios;
  std::vector<double> rates;
  std::uint64_t misses = 0;
  const Result<EngineStats> before = bench.Stats();
  Result<Round> left = bench.Measure(kReference);
  for (unsigned i = 0; i < options.rounds; ++i) {
    const Result<Round> here = bench.Measure(policy);
    const Result<Round> right = bench.Measure(kReference);
    if (!left || !here || !right) {
      return !left ? left.error() : !here ? here.error() : right.error();
    }
    rates.push_back(here->hits_per_second);
    ratios.push_back(2 * here->hits_per_second /
                     (left->hits_per_second + right->hits_per_second));
    misses += here->misses;
    left = right;
  }
  const Result<EngineStats> after = bench.Stats();
  if (!before || !after) return !before ? before.error() : after.error();
  std::ranges::sort(ratios);
  fmt::print("{:<24}{:>10.3f}{:>10.3f}{:>8.3f} ..{:>6.3f}{:>10}{:>10}\n",
             policy, Median(rates) / 1e6, Median(ratios),
             ratios[ratios.size() / 4], ratios[ratios.size() * 3 / 4],
             after->restamps - before->restamps, misses);
  return Status::Ok();
}

Status RunAll(const Options& options) {
  const Result<WorkDirectory> directory =
      WorkDirectory::Make(options.directory);
  if (!directory) return directory.error();
  CacheOptions cache_options;
  // Full enough that its policy has something to say, but nothing is evicted.
  cache_options.settings = {{"size_limit", "256MiB"}};
  cache_options.hot_tier_bytes = options.hot_tier_bytes;
  Result<std::unique_ptr<Cache>> cache =
      Cache::Open(directory->path() / "cache", std::move(cache_options));
  if (!cache) return cache.error();
  HitBench bench(options, std::move(*cache));
  LARDER_RETURN_IF_ERROR(bench.Fill());
  fmt::print("{:<24}{:>10}{:>10}{:>18}{:>10}{:>10}\n", "policy", "Mhit/s",
             "ratio", "quartiles", "restamps", "misses");
  for (const std::string& policy : PolicyNames()) {
    LARDER_RETURN_IF_ERROR(RunPolicy(bench, options, policy));
  }
  return bench.Close();
}

}  // namespace
}  // namespace larder::bench

int main(int argc, char** argv) {
  CLI::App app(
      "Hits per second of processor time under each policy, beside "
      "least-recently-stored.",
      "policy_hits");
  larder::bench::Options options;
  app.add_option("--dir", options.directory, "Where to make the cache");
  app.add_option("--items", options.item_count)
      ->check(CLI::Range(1U, 10'000'000U));
  app.add_option("--value-size", options.value_size_bytes)
      ->check(CLI::Range(0U, 1U << 20));
  app.add_option("--threads", options.threads)->check(CLI::Range(1U, 64U));
  app.add_option("--rounds", options.rounds)->check(CLI::Range(1U, 1000U));
  app.add_option("--hot-tier", options.hot_tier_bytes, "Bytes; 0 = none");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const larder::Status done = larder::bench::RunAll(options);
  if (done.ok()) return 0;
  std::cerr << "policy_hits: " << done.ToString() << '\n';
  return 1;
}
