#include "commands/attached_rates.h"

#include <chrono>

#include <gtest/gtest.h>

namespace larder::tools {
namespace {

using std::chrono::seconds;

AttachedFigures At(seconds published, std::uint64_t hits, std::uint64_t misses,
                   std::uint64_t sets) {
  AttachedFigures figures;
  figures.store = StoreTotals();
  figures.store->published_at = TimePoint(published);
  figures.store->hits = hits;
  figures.store->misses = misses;
  figures.store->sets = sets;
  return figures;
}

TEST(AttachedRates, NothingIsKnownAtFirst) {
  AttachedRateMeter meter;
  const AttachedRates rates = meter.Update(At(seconds(1), 5, 5, 5), 1);
  EXPECT_FALSE(rates.operations_per_second.has_value());
  EXPECT_FALSE(rates.service_p50_us.has_value());
}

TEST(AttachedRates, RatesOfTheStoreGoByItsOwnClock) {
  AttachedRateMeter meter;
  meter.Update(At(seconds(10), 0, 0, 0), 1);
  AttachedFigures now = At(seconds(12), 60, 20, 20);
  now.hot_hits = 40;
  const AttachedRates rates = meter.Update(now, 0.5);
  EXPECT_DOUBLE_EQ(rates.operations_per_second.value_or(0), 50);
  EXPECT_DOUBLE_EQ(rates.hit_ratio.value_or(0), 0.75);
  EXPECT_DOUBLE_EQ(rates.hot_ratio.value_or(0), 0.5);
  EXPECT_DOUBLE_EQ(rates.hot_reads_per_second, 80);
}

TEST(AttachedRates, WhatWasNotPublishedAgainKeepsItsRate) {
  AttachedRateMeter meter;
  meter.Update(At(seconds(10), 0, 0, 0), 1);
  meter.Update(At(seconds(11), 100, 0, 0), 1);
  const AttachedRates rates = meter.Update(At(seconds(11), 100, 0, 0), 1);
  EXPECT_DOUBLE_EQ(rates.operations_per_second.value_or(0), 100);
}

TEST(AttachedRates, CountsThatBeganAnewAreNotNegative) {
  AttachedRateMeter meter;
  AttachedFigures before;
  before.requests = 1000;
  meter.Update(before, 1);
  AttachedFigures after;
  after.requests = 10;
  EXPECT_DOUBLE_EQ(meter.Update(after, 1).requests_per_second, 10);
}

TEST(AttachedRates, ServiceTimesAreOfTheInterval) {
  AttachedRateMeter meter;
  AttachedFigures figures;
  figures.service_time[20] = 1000;  // About a millisecond, long ago.
  meter.Update(figures, 1);
  figures.service_time[10] = 99;  // 1 to 2 us.
  figures.service_time[16] = 1;   // 65 to 131 us.
  const AttachedRates rates = meter.Update(figures, 1);
  EXPECT_GT(rates.service_p50_us.value_or(0), 1.0);
  EXPECT_LT(rates.service_p50_us.value_or(0), 2.1);
  EXPECT_LT(rates.service_p99_us.value_or(0), 2.1);
}

}  // namespace
}  // namespace larder::tools
