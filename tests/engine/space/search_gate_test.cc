#include "space/search_gate.h"

#include <chrono>

#include <gtest/gtest.h>

namespace larder::testing {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kLimit = 64'000'000;

class SearchGateTest : public ::testing::Test {
 protected:
  bool IsOpen(SearchGate::State state, std::uint64_t log_bytes = 0,
              seconds after = seconds(0)) const {
    return gate_.IsOpen(state, log_bytes, now_ + after);
  }

  const SearchGate::Clock::time_point now_ = SearchGate::Clock::now();
  const SearchGate::State vain_{.changes = 10,
                                .killed_bytes = 5'000'000,
                                .live_bytes = 50'000'000,
                                .limit = kLimit};
  SearchGate gate_;
};

TEST_F(SearchGateTest, IsOpenUntilASearchWasInVain) {
  EXPECT_TRUE(IsOpen(vain_));
  gate_.Note(vain_, now_ - seconds(1), now_, 0);
  EXPECT_FALSE(IsOpen(vain_));
}

TEST_F(SearchGateTest, WithoutAChangeItStaysClosedForGood) {
  gate_.Note(vain_, now_ - seconds(1), now_, 0);
  EXPECT_FALSE(IsOpen(vain_, 0, seconds(1'000'000)));
}

TEST_F(SearchGateTest, AnotherLimitOpensIt) {
  gate_.Note(vain_, now_ - seconds(1), now_, 0);
  SearchGate::State state = vain_;
  state.limit = kLimit + 1;
  EXPECT_TRUE(IsOpen(state));
}

TEST_F(SearchGateTest, RoomToCompactTheIndexOpensIt) {
  SearchGate::State state = vain_;
  state.may_compact = false;
  gate_.Note(state, now_ - seconds(1), now_, 0);
  EXPECT_FALSE(IsOpen(state));
  EXPECT_TRUE(IsOpen(vain_));
}

TEST_F(SearchGateTest, WhatDiedOpensItIfItShowsOrIsAsMuchAsIsWanted) {
  gate_.Note(vain_, now_ - seconds(1), now_, 0);
  SearchGate::State state = vain_;
  state.changes += 1;
  state.killed_bytes += kLimit / 64 - 1;
  EXPECT_FALSE(IsOpen(state));
  EXPECT_FALSE(IsOpen(state, kLimit / 64));
  EXPECT_TRUE(IsOpen(state, kLimit / 64 - 1));
  state.killed_bytes += 1;
  EXPECT_TRUE(IsOpen(state));
}

TEST_F(SearchGateTest, WhatWasAddedOpensItIfItShows) {
  gate_.Note(vain_, now_ - seconds(1), now_, 0);
  SearchGate::State state = vain_;
  state.changes += 1;
  state.live_bytes += kLimit / 64 - 1;
  EXPECT_FALSE(IsOpen(state));
  state.live_bytes += 1;
  EXPECT_TRUE(IsOpen(state));
}

TEST_F(SearchGateTest, AnyChangeOpensItAfterTwentyTimesWhatASearchTakes) {
  gate_.Note(vain_, now_ - seconds(2), now_, 0);
  SearchGate::State state = vain_;
  state.changes += 1;
  EXPECT_FALSE(IsOpen(state, 0, seconds(39)));
  EXPECT_TRUE(IsOpen(state, 0, seconds(40)));
}

TEST_F(SearchGateTest, StaysOpenAfterOneThatFoundMuch) {
  gate_.Note(vain_, now_ - seconds(1), now_, kLimit / 64);
  EXPECT_TRUE(IsOpen(vain_));
  gate_.Note(vain_, now_ - seconds(1), now_, kLimit / 64 - 1);
  EXPECT_FALSE(IsOpen(vain_));
}

class StoredSearchTest : public SearchGateTest {
 protected:
  static constexpr std::uint64_t kDead = 1000;
  static constexpr std::chrono::microseconds kWallTime = std::chrono::hours(9);

  /// After a second of search, which ended `ago`.
  void Restore(const SearchGate::State& state, std::uint64_t dead_bytes,
               std::chrono::microseconds ago = seconds(0)) {
    const VainSearch search{
        .limit = kLimit,
        .live_bytes = vain_.live_bytes,
        .dead_bytes = kDead,
        .took_us = 1'000'000,
        .ended_us = static_cast<std::uint64_t>((kWallTime - ago).count())};
    const auto decoded = VainSearch::Decode(search.Encode());
    ASSERT_TRUE(decoded.has_value());
    gate_.Restore(*decoded, state, dead_bytes, now_, kWallTime);
  }
};

TEST_F(StoredSearchTest, StandsForOneOfThisProcess) {
  Restore(vain_, kDead);
  EXPECT_FALSE(IsOpen(vain_, 0, seconds(19)));
  // What that process changed afterwards is not known.
  EXPECT_TRUE(IsOpen(vain_, 0, seconds(20)));
}

TEST_F(StoredSearchTest, TheTimeSinceThenCounts) {
  Restore(vain_, kDead, seconds(15));
  EXPECT_FALSE(IsOpen(vain_, 0, seconds(4)));
  EXPECT_TRUE(IsOpen(vain_, 0, seconds(5)));
}

TEST_F(StoredSearchTest, AClockThatWasSetBackDoesNotKeepItShut) {
  Restore(vain_, kDead, -std::chrono::hours(5));
  EXPECT_TRUE(IsOpen(vain_, 0, seconds(20)));
}

TEST_F(StoredSearchTest, WhatDiedSinceThenCounts) {
  SearchGate::State state = vain_;
  Restore(state, kDead + kLimit / 64 - 100);
  EXPECT_FALSE(IsOpen(state));
  EXPECT_TRUE(gate_.IsOpen(state, kLimit / 64 - 100, now_));
  state.killed_bytes += 99;
  EXPECT_FALSE(IsOpen(state));
  state.killed_bytes += 1;
  EXPECT_TRUE(IsOpen(state));
}

TEST_F(StoredSearchTest, IsNothingAfterMuchHasChanged) {
  Restore(vain_, kDead + kLimit / 64);
  EXPECT_TRUE(IsOpen(vain_));
  SearchGate::State state = vain_;
  state.live_bytes -= kLimit / 64;
  Restore(state, kDead);
  EXPECT_TRUE(IsOpen(state));
  state = vain_;
  state.limit *= 2;
  Restore(state, kDead);
  EXPECT_TRUE(IsOpen(state));
}

TEST_F(StoredSearchTest, BytesOfAnotherLengthAreNone) {
  const std::string bytes = VainSearch().Encode();
  EXPECT_TRUE(VainSearch::Decode(bytes).has_value());
  EXPECT_FALSE(VainSearch::Decode(bytes.substr(1)).has_value());
  EXPECT_FALSE(VainSearch::Decode(bytes + "x").has_value());
  EXPECT_FALSE(VainSearch::Decode({}).has_value());
  EXPECT_FALSE(VainSearch::Decode(std::string(bytes.size(), '\xFF')));
}

}  // namespace
}  // namespace larder::testing
