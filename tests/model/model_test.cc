#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <gtest/gtest.h>

#include "model/history_runner.h"
#include "test_values.h"

// Random histories of 200 operations on the real store against the model.
//   LARDER_SEED=N       the seed of the first history (printed)
//   LARDER_HISTORIES=N  how many histories there are, all shards together

namespace larder::testing {
namespace {

constexpr std::uint64_t kShardCount = 4;

std::uint64_t HistoryCount() {
  const char* text = std::getenv("LARDER_HISTORIES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 1000;
}

void RunShard(std::uint64_t shard, std::uint64_t count,
              const HistoryOptions& history_options,
              const RunnerOptions& runner_options) {
  const std::uint64_t seed = SeedFromEnvironment(1) + shard * count;
  std::printf("seeds %llu to %llu\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(seed + count - 1));
  for (std::uint64_t i = seed; i < seed + count; ++i) {
    const auto history = MakeHistory(i, history_options);
    const auto problem = RunHistory(history, StoreFactory(), runner_options);
    if (!problem) continue;
    const SmallFailure small =
        Shrink(history, *problem, StoreFactory(), runner_options);
    FAIL() << "LARDER_SEED=" << i << ": " << *problem
           << "\nA smaller history fails too: " << small.problem << "\n"
           << Describe(small.history);
  }
}

class ModelTest : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(ModelTest, StoreAnswersLikeTheModel) {
  RunShard(
      GetParam(), HistoryCount() / kShardCount, {},
      {.settings = {{"size_limit", "128MiB"}, {"large_value_min", "4KiB"}}});
}

// A cache of 16 MiB with three times as much in values.
TEST_P(ModelTest, FullStoreNeverServesWhatTheModelHasNot) {
  RunShard(1000 + GetParam(), std::max<std::uint64_t>(HistoryCount() / 100, 1),
           {.op_count = 600, .key_count = 200, .with_eviction = true},
           {.settings = {{"size_limit", "16MiB"}}, .with_eviction = true});
}

INSTANTIATE_TEST_SUITE_P(Shards, ModelTest,
                         ::testing::Range(std::uint64_t{0}, kShardCount));

}  // namespace
}  // namespace larder::testing
