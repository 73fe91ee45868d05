#include "index/run_table.h"

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "index/store_keys.h"

namespace larder {
namespace {

TEST(RunTable, VersionsGrowFromTheStart) {
  RunTable runs;
  runs.Start(100);
  EXPECT_EQ(runs.NextVersion(), 100U);
  EXPECT_EQ(runs.NextPosition(1).version, 101U);
  EXPECT_EQ(runs.NextVersion(), 102U);
}

TEST(RunTable, LoadedAnewItGivesNoVersionAgain) {
  RunTable runs;
  runs.Start(100);
  runs.Load(1, 50, 0);
  EXPECT_EQ(runs.NextPosition(1).version, 100U);
  runs.Clear();
  runs.Start(10);  // What a database knows that was reset.
  EXPECT_TRUE(runs.Runs().empty());
  EXPECT_EQ(runs.NextVersion(), 101U);
  EXPECT_EQ(runs.NextPosition(1).run, 3U);
}

TEST(RunTable, ARunEndsOnceItHasItsSize) {
  RunTable runs;
  runs.SetRunSize(100);
  const auto first = runs.NextPosition(60);
  EXPECT_EQ(runs.NextPosition(60).run, first.run);  // 60 is not yet 100.
  const auto next = runs.NextPosition(60);
  EXPECT_EQ(next.run, first.run + 1);
  EXPECT_EQ(next.run_first, next.version);
  EXPECT_EQ(runs.current(), next.run);
}

TEST(RunTable, RunsAreRangesOfPositionsWithoutGaps) {
  RunTable runs;
  runs.Start(10);
  runs.SetRunSize(50);
  std::vector<RunTable::Position> given;
  for (int i = 0; i < 40; ++i) {
    given.push_back(runs.NextPosition(20));
    if (i % 3 == 0) runs.NextVersion();  // A large value's.
  }
  const std::vector<RunTable::Run> all = runs.Runs();
  ASSERT_GT(all.size(), 5U);
  for (std::size_t i = 1; i < all.size(); ++i) {
    EXPECT_EQ(all[i - 1].end, all[i].first);
    EXPECT_LT(all[i - 1].id, all[i].id);
  }
  for (const RunTable::Position& position : given) {
    const auto run =
        std::find_if(all.begin(), all.end(), [&](const RunTable::Run& r) {
          return position.version >= r.first && position.version < r.end;
        });
    ASSERT_NE(run, all.end());
    EXPECT_EQ(run->id, position.run);
    EXPECT_EQ(run->first, position.run_first);
  }
}

TEST(RunTable, BytesAreWhatWasWritten) {
  RunTable runs;
  runs.SetRunSize(1000);
  runs.NextPosition(70);
  runs.NextPosition(80);
  ASSERT_EQ(runs.Runs().size(), 1U);
  EXPECT_EQ(runs.Runs()[0].bytes, 150U);
  runs.SetBytes(runs.current(), 40);
  EXPECT_EQ(runs.Runs()[0].bytes, 40U);
  runs.SetBytes(999, 40);  // No such run: no effect.
  EXPECT_EQ(runs.Runs().size(), 1U);
}

TEST(RunTable, ASealedRunGetsNothingMore) {
  RunTable runs;
  const auto before = runs.NextPosition(1);
  runs.Seal();
  EXPECT_EQ(runs.current(), 0U);
  const auto after = runs.NextPosition(1);
  EXPECT_EQ(after.run, before.run + 1);
  EXPECT_EQ(after.run_first, after.version);
}

TEST(RunTable, LoadedRunsAreNotWrittenTo) {
  RunTable runs;
  runs.Load(7, 1000, 5);
  runs.Load(9, 2000, 5);
  runs.Start(3000);
  runs.Seal();
  EXPECT_TRUE(runs.Contains(7));
  EXPECT_FALSE(runs.Contains(8));
  const auto position = runs.NextPosition(1);
  EXPECT_EQ(position.run, 10U);
  EXPECT_EQ(position.version, 3000U);
  const auto all = runs.Runs();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].end, 2000U);
  EXPECT_EQ(all[1].end, 3000U);
  EXPECT_EQ(all[2].end, 3001U);
}

TEST(RunTable, IdsAreNotGivenAgain) {
  RunTable runs;
  runs.SetLastId(40);
  const auto first = runs.NextPosition(1);
  EXPECT_EQ(first.run, 41U);
  runs.Drop(first.run);
  EXPECT_EQ(runs.current(), 0U);
  EXPECT_EQ(runs.NextPosition(1).run, 42U);
}

// Dropping one gives its positions to the run before: they hold nothing.
TEST(RunTable, ADroppedRunLeavesNoGap) {
  RunTable runs;
  runs.SetRunSize(1);
  const auto a = runs.NextPosition(1);
  const auto b = runs.NextPosition(1);
  const auto c = runs.NextPosition(1);
  runs.Drop(b.run);
  const auto all = runs.Runs();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].id, a.run);
  EXPECT_EQ(all[0].end, c.version);
}

TEST(RunTable, ThreadsNeverGetTheSameVersion) {
  RunTable runs;
  runs.SetRunSize(64);
  constexpr int kThreads = 4;
  constexpr int kEach = 5000;
  std::vector<std::vector<std::uint64_t>> given(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&runs, &mine = given[static_cast<std::size_t>(t)]] {
      for (int i = 0; i < kEach; ++i) {
        mine.push_back(i % 2 == 0 ? runs.NextVersion()
                                  : runs.NextPosition(8).version);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::uint64_t> all;
  for (const auto& mine : given) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), std::size_t{kThreads} * kEach);
}

TEST(RunKeys, RoundTripInOrderOfIds) {
  std::string before;
  for (const std::uint32_t id : {1U, 255U, 256U, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
    const std::string key = RunKey(id);
    EXPECT_EQ(ParseRunKey(key), id);
    EXPECT_LT(before, key);
    before = key;
  }
  EXPECT_EQ(RunKey(0x01020304), std::string("run/\x01\x02\x03\x04"));
  EXPECT_FALSE(ParseRunKey("run/123"));
  EXPECT_FALSE(ParseRunKey("run/12345"));
}

TEST(PositionKeys, ByteOrderIsNumberOrder) {
  const std::uint64_t positions[] = {0, 1, 255, 256, 1ULL << 63, ~0ULL};
  std::string before;
  for (const std::uint64_t position : positions) {
    const std::string key = PositionKey(position).slice().ToString();
    EXPECT_EQ(key.size(), 8U);
    EXPECT_LT(before, key);
    before = key;
  }
}

}  // namespace
}  // namespace larder
