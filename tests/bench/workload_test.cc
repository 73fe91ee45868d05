#include "stores/workload.h"

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace larder::bench {
namespace {

TEST(Workload, KeysAreDistinctAndOfTheSizesThatAreClaimed) {
  const std::vector<std::string> keys = MakeKeys(20'000, 3);
  const std::set<std::string> distinct(keys.begin(), keys.end());
  EXPECT_EQ(distinct.size(), keys.size());
  for (const std::string& key : keys) {
    ASSERT_GE(key.size(), 16U);
    ASSERT_LE(key.size(), 24U);
  }
}

TEST(Workload, TheSameSeedGivesTheSameKeysAndValues) {
  EXPECT_EQ(KeyOf(5, 9), KeyOf(5, 9));
  EXPECT_NE(KeyOf(5, 9), KeyOf(5, 10));
  const ValuePool one(4096, 9);
  const ValuePool two(4096, 9);
  EXPECT_EQ(one.Of(17, 4096), two.Of(17, 4096));
  EXPECT_NE(one.Of(17, 4096), one.Of(18, 4096));
}

TEST(Workload, FoldNoticesAnyChangedByteAndTheSize) {
  const ValuePool pool(100, 1);
  std::string value(pool.Of(0, 77));
  const std::uint64_t before = Fold(value);
  for (std::size_t at = 0; at < value.size(); ++at) {
    value[at] = static_cast<char>(value[at] ^ 1);
    EXPECT_NE(Fold(value), before) << at;
    value[at] = static_cast<char>(value[at] ^ 1);
  }
  EXPECT_NE(Fold(std::string(8, '\0')), Fold(std::string(16, '\0')));
}

TEST(Workload, AShuffleVisitsEveryIndexOnce) {
  for (const std::uint64_t count : {1U, 2U, 3U, 1000U, 4097U}) {
    const Shuffle shuffle(count, 5);
    std::set<std::uint64_t> seen;
    for (std::uint64_t i = 0; i < count; ++i) {
      seen.insert(shuffle.At(i));
    }
    EXPECT_EQ(seen.size(), count);
    EXPECT_EQ(*seen.rbegin(), count - 1);
  }
}

TEST(Workload, ZipfDrawsRanksInProportionToTheirWeights) {
  constexpr std::uint64_t kCount = 1000;
  constexpr int kDraws = 400'000;
  constexpr double kTheta = 0.99;
  const Zipf zipf(kCount, kTheta);
  Random random(11);
  std::vector<int> drawn(kCount);
  for (int i = 0; i < kDraws; ++i) {
    ++drawn.at(zipf.Draw(random));
  }
  double weights = 0;
  for (std::uint64_t rank = 1; rank <= kCount; ++rank) {
    weights += std::pow(static_cast<double>(rank), -kTheta);
  }
  for (const std::uint64_t rank : {1U, 2U, 10U, 100U}) {
    const double expected =
        kDraws * std::pow(static_cast<double>(rank), -kTheta) / weights;
    EXPECT_NEAR(drawn[rank - 1], expected, 5 * std::sqrt(expected)) << rank;
  }
}

}  // namespace
}  // namespace larder::bench
