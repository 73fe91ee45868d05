#include "search_gate.h"

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

}  // namespace
}  // namespace larder::testing
