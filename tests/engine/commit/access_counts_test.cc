#include "commit/access_counts.h"

#include <cstdint>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace larder::testing {
namespace {

void ExpectEq(const Accesses& found, std::uint64_t hits, std::uint64_t misses) {
  EXPECT_EQ(found.hits, hits);
  EXPECT_EQ(found.misses, misses);
}

TEST(AccessCounts, EachThreadsAreCounted) {
  constexpr int kThreads = 4;
  constexpr int kReads = 1000;
  AccessCounts counts;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kReads; ++i) counts.Add(i % 4 != 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectEq(counts.Total(nullptr), kThreads * kReads * 3 / 4,
           kThreads * kReads / 4);
}

TEST(AccessCounts, ATierCountsFromWhenItCame) {
  AccessCounts counts;
  HotTierFigures tier{.hits = 1000, .misses = 500};
  counts.ChangeTier(nullptr, &tier);
  ExpectEq(counts.Total(&tier), 0, 0);
  tier.hits += 10;
  tier.misses += 5;
  counts.Add(true);
  ExpectEq(counts.Total(&tier), 11, 5);
}

TEST(AccessCounts, WhatATierAnsweredStaysWhenItGoes) {
  AccessCounts counts;
  HotTierFigures first{.hits = 1000, .misses = 500};
  counts.ChangeTier(nullptr, &first);
  first.hits += 10;
  const HotTierFigures second{.hits = 7, .misses = 3};
  counts.ChangeTier(&first, &second);
  ExpectEq(counts.Total(&second), 10, 0);
  const HotTierFigures later{.hits = 9, .misses = 4};
  ExpectEq(counts.Total(&later), 12, 1);
  counts.ChangeTier(&later, nullptr);
  ExpectEq(counts.Total(nullptr), 12, 1);
}

TEST(AccessCounts, WhatIsUnsavedIsTheRest) {
  AccessCounts counts;
  counts.Add(true);
  counts.Add(false);
  counts.SetSaved(counts.Total(nullptr));
  counts.Add(false);
  ExpectEq(counts.Total(nullptr) - counts.saved(), 0, 1);
}

}  // namespace
}  // namespace larder::testing
