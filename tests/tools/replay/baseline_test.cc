#include "baseline.h"

#include <functional>
#include <ostream>
#include <random>

#include <gtest/gtest.h>

#include "count_sketch.h"
#include "naive_cache.h"
#include "trace_files.h"

namespace larder::replay {
namespace {

using testing::MixedKeys;
using testing::NaiveCache;

constexpr std::uint32_t kKeyCount = 120;

std::uint64_t SizeOf(std::uint32_t key, std::uint64_t size_max) {
  return 1 + (key * 2654435761U >> 7) % size_max;
}

/// One algorithm and its textbook form.
struct Pair {
  std::string name;
  std::function<std::unique_ptr<NaiveCache>(const BaselineOptions&)> naive;
};

std::ostream& operator<<(std::ostream& out, const Pair& pair) {
  return out << pair.name;
}

class BaselineTest : public ::testing::TestWithParam<Pair> {
 protected:
  /// Requests of both until they differ, which must not be.
  static void Compare(std::uint64_t seed, std::uint64_t capacity,
                      std::uint64_t size_max) {
    const BaselineOptions options{
        .capacity_bytes = capacity,
        .key_count = kKeyCount,
        .average_size_bytes = static_cast<double>(1 + size_max) / 2,
        .random_seed = seed};
    const std::unique_ptr<Baseline> fast =
        MakeBaseline(GetParam().name, options);
    const std::unique_ptr<NaiveCache> naive = GetParam().naive(options);
    ASSERT_NE(fast, nullptr);
    std::size_t hits = 0;
    std::size_t index = 0;
    for (const std::uint32_t key : MixedKeys(seed, kKeyCount, 4000)) {
      const std::uint64_t size = SizeOf(key, size_max);
      const bool there = fast->Contains(key);
      const bool hit = fast->Access({.key = key, .size_bytes = size});
      ASSERT_EQ(hit, there);
      ASSERT_EQ(hit, naive->Access(key, size))
          << "request " << index << ", seed " << seed << ", capacity "
          << capacity;
      ASSERT_LE(fast->used_bytes(), capacity);
      hits += hit ? 1 : 0;
      ++index;
    }
    EXPECT_GT(hits, 0U);  // Else the comparison says little.
  }
};

TEST_P(BaselineTest, AgreesWithItsTextbookFormOnObjectsOfOneSize) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    for (const std::uint64_t capacity : {3U, 10U, 37U, 100U}) {
      ASSERT_NO_FATAL_FAILURE(Compare(seed, capacity, 1));
    }
  }
}

TEST_P(BaselineTest, AgreesWithItsTextbookFormOnObjectsOfManySizes) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    for (const std::uint64_t capacity : {400U, 1000U, 2500U}) {
      ASSERT_NO_FATAL_FAILURE(Compare(seed, capacity, 40));
    }
  }
}

TEST_P(BaselineTest, AgreesWhenSomeObjectsDoNotFit) {
  ASSERT_NO_FATAL_FAILURE(Compare(7, 400, 600));
}

std::uint64_t ItemsOf(const BaselineOptions& options) {
  const double items =
      static_cast<double>(options.capacity_bytes) / options.average_size_bytes;
  return static_cast<std::uint64_t>(
      std::min(items, static_cast<double>(kKeyCount)));
}

INSTANTIATE_TEST_SUITE_P(
    All, BaselineTest,
    ::testing::Values(Pair{"lru",
                           [](const BaselineOptions& o) {
                             return testing::MakeNaiveLru(o.capacity_bytes);
                           }},
                      Pair{"fifo",
                           [](const BaselineOptions& o) {
                             return testing::MakeNaiveFifo(o.capacity_bytes);
                           }},
                      Pair{"sieve",
                           [](const BaselineOptions& o) {
                             return testing::MakeNaiveSieve(o.capacity_bytes);
                           }},
                      Pair{"s3fifo",
                           [](const BaselineOptions& o) {
                             return testing::MakeNaiveS3Fifo(o.capacity_bytes);
                           }},
                      Pair{"arc",
                           [](const BaselineOptions& o) {
                             return testing::MakeNaiveArc(o.capacity_bytes);
                           }},
                      Pair{"lirs",
                           [](const BaselineOptions& o) {
                             return testing::MakeNaiveLirs(o.capacity_bytes);
                           }},
                      Pair{"wtinylfu",
                           [](const BaselineOptions& o) {
                             return testing::MakeNaiveWTinyLfu(
                                 o.capacity_bytes, ItemsOf(o), o.random_seed);
                           }}),
    [](const auto& param) { return param.param.name; });

class AnyBaselineTest : public ::testing::TestWithParam<std::string> {
 protected:
  static std::unique_ptr<Baseline> Make(std::uint64_t capacity) {
    return MakeBaseline(GetParam(),
                        {.capacity_bytes = capacity, .key_count = kKeyCount});
  }
};

TEST_P(AnyBaselineTest, NeverHoldsMoreThanItsCapacityEvenWhenItemsVanish) {
  std::mt19937_64 random(3);
  const auto cache = Make(30);
  const std::vector<std::uint32_t> keys = MixedKeys(5, kKeyCount, 20'000);
  const std::vector<std::uint32_t> next =
      NextAccesses(testing::TraceOfKeys(keys));
  for (std::uint32_t i = 0; i < keys.size(); ++i) {
    if (random() % 4 == 0) {
      const auto victim = static_cast<std::uint32_t>(random() % kKeyCount);
      cache->Erase(victim);
      ASSERT_FALSE(cache->Contains(victim));
    }
    const bool there = cache->Contains(keys[i]);
    ASSERT_EQ(cache->Access({.key = keys[i],
                             .index = i,
                             .next_if_hit = next[i],
                             .next_if_filled = next[i]}),
              there);
    ASSERT_LE(cache->used_bytes(), 30U);
  }
  EXPECT_GT(cache->evictions(), 0U);
}

TEST_P(AnyBaselineTest, ErasingEverythingLeavesNoBytes) {
  const auto cache = Make(30);
  for (std::uint32_t key = 0; key < kKeyCount; ++key) {
    static_cast<void>(cache->Access({.key = key,
                                     .index = key,
                                     .next_if_hit = 1000 + key,
                                     .next_if_filled = 1000 + key}));
  }
  EXPECT_GT(cache->used_bytes(), 0U);
  for (std::uint32_t key = 0; key < kKeyCount; ++key) cache->Erase(key);
  EXPECT_EQ(cache->used_bytes(), 0U);
}

INSTANTIATE_TEST_SUITE_P(All, AnyBaselineTest,
                         ::testing::ValuesIn(BaselineNames()),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(WTinyLfuClimber, GrowsItsWindowWhenRecencyPays) {
  // Each request in two repeats one of the last 300: the more of the cache is
  // window, the more of them hit.
  const BaselineOptions options{.capacity_bytes = 200, .key_count = 100'000};
  const auto fixed = MakeBaseline("wtinylfu", options);
  const auto climber = MakeBaseline("wtinylfu-climber", options);
  std::mt19937_64 random(8);
  std::uint64_t fixed_hits = 0;
  std::uint64_t climber_hits = 0;
  for (std::uint32_t i = 300; i < 100'000; ++i) {
    for (const std::uint32_t key :
         {i, i - static_cast<std::uint32_t>(random() % 300)}) {
      fixed_hits += fixed->Access({.key = key}) ? 1 : 0;
      climber_hits += climber->Access({.key = key}) ? 1 : 0;
    }
  }
  EXPECT_GT(climber_hits, fixed_hits * 5 / 4);
}

TEST(CountSketch, EstimatesAtLeastTheTrueCountUpToFifteen) {
  CountSketch sketch(4096);
  for (std::uint32_t key = 0; key < 200; ++key) {
    for (std::uint32_t i = 0; i < key % 20; ++i) sketch.Increment(key);
  }
  std::uint32_t excess = 0;
  for (std::uint32_t key = 0; key < 200; ++key) {
    const std::uint32_t count = std::min(key % 20, 15U);
    ASSERT_GE(sketch.Estimate(key), count);
    excess += sketch.Estimate(key) - count;
  }
  EXPECT_LT(excess, 20U);  // Hardly any collisions at this size.
}

TEST(CountSketch, HalvesAfterTenAccessesForEachItem) {
  CountSketch sketch(8);
  for (int i = 0; i < 12; ++i) sketch.Increment(1);
  for (std::uint32_t key = 100; key < 168; ++key) sketch.Increment(key);
  EXPECT_LT(sketch.Estimate(1), 12U);
  EXPECT_GE(sketch.Estimate(1), 6U);
}

}  // namespace
}  // namespace larder::replay
