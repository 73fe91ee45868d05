#include "torture/storm_board.h"

#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "temporary_directory.h"
#include "torture/storm_value.h"

// What a reader of the storm may see, and what it may not.

namespace larder::tools {
namespace {

constexpr StormStamp kStamp{.key = 3, .era = 1, .number = 7, .size = 1000};

TEST(StormValue, EveryLineSaysWhoseItIs) {
  const std::string value = StormValue(kStamp);
  EXPECT_EQ(CompareStorm(kStamp, 0, value), std::nullopt);
  for (std::size_t at = 0; at + kStormLineBytes <= value.size();
       at += kStormLineBytes) {
    EXPECT_EQ(ReadStormLine(std::string_view(value).substr(at)), kStamp) << at;
  }
  EXPECT_EQ(ReadStormLine(std::string(kStormLineBytes, '\0')), std::nullopt);
}

TEST(StormValue, APieceIsComparedWhereItLies) {
  const std::string value = StormValue(kStamp);
  EXPECT_EQ(CompareStorm(kStamp, 128, std::string_view(value).substr(128)),
            std::nullopt);
  EXPECT_TRUE(CompareStorm(kStamp, 64, std::string_view(value).substr(128)));
}

TEST(StormValue, AFlippedBitIsFound) {
  for (const std::size_t at : {0, 63, 64, 500, 999}) {
    std::string value = StormValue(kStamp);
    value[at] ^= 0x10;
    const auto difference = CompareStorm(kStamp, 0, value);
    ASSERT_TRUE(difference) << at;
    EXPECT_EQ(difference->offset, at / kStormLineBytes * kStormLineBytes);
    EXPECT_EQ(difference->found, std::nullopt);
  }
}

TEST(StormValue, ALineOfAnotherValueIsNamed) {
  std::string value = StormValue(kStamp);
  const StormStamp other{.key = 4, .era = 1, .number = 2, .size = 1000};
  value.replace(64, 64, StormValue(other).substr(64, 64));
  const auto difference = CompareStorm(kStamp, 0, value);
  ASSERT_TRUE(difference);
  EXPECT_EQ(difference->found, other);
}

class StormBoardTest : public ::testing::Test {
 protected:
  /// The call `number` on kKey, acknowledged.
  StormCall& Done(std::uint64_t number, StormKind kind = StormKind::kSet) {
    StormKey& key = page_->keys[kKey];
    StormCall& call = key.ring[number % kStormRing];
    call.number = number;
    call.kind = kind;
    call.clears = page_->clears_begun.load();
    call.state = StormState::kDone;
    key.begun = key.done = number;
    return call;
  }
  [[nodiscard]] std::string Verdict(const StormFloor& floor,
                                    std::uint64_t number,
                                    std::uint32_t key = kKey) const {
    const StormVerdict verdict =
        JudgeRead(*page_, kKey, floor,
                  {.key = key, .era = floor.era, .number = number, .size = 64});
    return verdict.why == nullptr ? "" : StormFaultName(verdict.fault);
  }
  [[nodiscard]] StormFloor Floor() const { return TakeFloor(*page_, kKey); }

  static constexpr std::uint32_t kKey = 5;
  const std::unique_ptr<StormPage> page_ = std::make_unique<StormPage>();
};

TEST_F(StormBoardTest, WhatWasAcknowledgedOrHasBegunMayBeRead) {
  Done(1);
  page_->keys[kKey].begun = 2;
  EXPECT_EQ(Verdict(Floor(), 1), "");
  EXPECT_EQ(Verdict(Floor(), 2), "");
  EXPECT_EQ(Verdict(Floor(), 3), "wrong");
  EXPECT_EQ(Verdict(Floor(), 1, kKey + 1), "wrong");
}

TEST_F(StormBoardTest, AnOlderValueIsStale) {
  Done(1);
  const StormFloor before = Floor();
  Done(2);
  EXPECT_EQ(Verdict(before, 1), "");
  EXPECT_EQ(Verdict(Floor(), 1), "stale");
}

TEST_F(StormBoardTest, AMissIsLossUntilTheNextCallBegins) {
  Done(1);
  const StormFloor floor = Floor();
  EXPECT_TRUE(IsLost(*page_, kKey, floor));
  page_->keys[kKey].begun = 2;
  EXPECT_FALSE(IsLost(*page_, kKey, floor));
  Done(2, StormKind::kDelete);
  EXPECT_FALSE(IsLost(*page_, kKey, Floor()));
}

TEST_F(StormBoardTest, WhatFailedOrWasDeletedIsWrong) {
  Done(1).state = StormState::kNotApplied;
  EXPECT_EQ(Verdict(Floor(), 1), "wrong");
  Done(2, StormKind::kDelete);
  EXPECT_EQ(Verdict(Floor(), 2), "wrong");
}

TEST_F(StormBoardTest, WhatWasOverIsStale) {
  Done(1).dead_at_us = 1;
  EXPECT_EQ(Verdict(Floor(), 1), "stale");
  Done(2);
  EXPECT_EQ(Verdict(Floor(), 2), "");
  page_->clears_begun = page_->clears_done = 1;
  EXPECT_EQ(Verdict(Floor(), 2), "stale");
  EXPECT_FALSE(IsLost(*page_, kKey, Floor()) &&
               page_->clears_done != page_->clears_begun);
}

TEST_F(StormBoardTest, ANewEraKnowsNothingOfTheOld) {
  Done(4);
  StormKey& key = page_->keys[kKey];
  key.done = 0;
  ++key.era;
  EXPECT_EQ(Floor().done, 0U);
  EXPECT_FALSE(IsLost(*page_, kKey, Floor()));
  EXPECT_EQ(Verdict(Floor(), 4), "");
}

TEST_F(StormBoardTest, APartOfABatchIsSplitUnlessItsEraWasLeft) {
  Done(1);
  const StormFloor floor = Floor();
  EXPECT_TRUE(IsSplit(*page_, kKey, floor, kStormGroup - 1));
  EXPECT_FALSE(IsSplit(*page_, kKey, floor, kStormGroup));
  EXPECT_FALSE(IsSplit(*page_, kKey, floor, 0));  // A miss: IsLost.
  ++page_->keys[kKey].era;
  EXPECT_FALSE(IsSplit(*page_, kKey, floor, kStormGroup - 1));
}

}  // namespace
}  // namespace larder::tools
