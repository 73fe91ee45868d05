#include "torture/torture_model.h"

#include <gtest/gtest.h>

#include "torture/torture_plan.h"

namespace larder::tools {
namespace {

TortureRecord Call(TortureOp op, std::int64_t begin, std::int64_t end,
                   std::uint64_t stamp, std::uint64_t result) {
  TortureRecord call;
  call.op = op;
  call.begin_ns = begin;
  call.end_ns = end;
  call.stamp = stamp;
  call.result = result;
  call.outcome = TortureOutcome::kAcknowledged;
  return call;
}

TortureRecord InDoubt(TortureRecord call) {
  call.outcome = TortureOutcome::kUnknown;
  call.end_ns = 0;
  return call;
}

// A call on an own key: these come one after the other.
TortureRecord Own(TortureOp op, std::uint64_t stamp, std::uint64_t result) {
  return Call(op, 0, 0, stamp, result);
}

TortureFaults Apply(OwnKeysModel& model,
                    const std::vector<TortureRecord>& calls) {
  TortureFaults faults;
  for (const TortureRecord& call : calls) model.Apply(call, faults);
  return faults;
}

TEST(TortureModel, AnswersThatFitAreNoFault) {
  OwnKeysModel model;
  EXPECT_TRUE(
      Apply(model, {Own(TortureOp::kSet, 7, 0), Own(TortureOp::kGet, 0, 7),
                    Own(TortureOp::kAdd, 8, 0), Own(TortureOp::kPop, 0, 7),
                    Own(TortureOp::kAdd, 9, 1), Own(TortureOp::kDelete, 0, 1),
                    Own(TortureOp::kDelete, 0, 0)})
          .none());
  EXPECT_TRUE(model.Allows(TortureOp::kSet, 0, kTortureAbsent));
  EXPECT_FALSE(model.Allows(TortureOp::kSet, 0, 9));
}

TEST(TortureModel, AnOldValueIsLoss) {
  OwnKeysModel model;
  EXPECT_EQ(
      Apply(model, {Own(TortureOp::kSet, 7, 0), Own(TortureOp::kSet, 8, 0),
                    Own(TortureOp::kGet, 0, 7)})
          .lost,
      1U);
  EXPECT_TRUE(model.IsBroken(TortureOp::kGet, 0));
}

TEST(TortureModel, ACallInDoubtAllowsBothAndAReadDecides) {
  OwnKeysModel model;
  const std::vector<TortureRecord> calls = {
      Own(TortureOp::kSet, 7, 0), InDoubt(Own(TortureOp::kSet, 8, 0))};
  EXPECT_TRUE(Apply(model, calls).none());
  EXPECT_TRUE(model.Allows(TortureOp::kSet, 0, 7));
  EXPECT_TRUE(model.Allows(TortureOp::kSet, 0, 8));
  EXPECT_FALSE(model.Allows(TortureOp::kSet, 0, kTortureAbsent));
  EXPECT_TRUE(Apply(model, {Own(TortureOp::kGet, 0, 8)}).none());
  EXPECT_FALSE(model.Allows(TortureOp::kSet, 0, 7));
}

TEST(TortureModel, ACallThatSaysNotAppliedChangesNothing) {
  OwnKeysModel model;
  TortureRecord call = Own(TortureOp::kSet, 8, 0);
  call.outcome = TortureOutcome::kNotApplied;
  EXPECT_TRUE(Apply(model, {call}).none());
  EXPECT_FALSE(model.Allows(TortureOp::kSet, 0, 8));
}

TEST(TortureModel, ACountThatJumpsWasMadeTwice) {
  OwnKeysModel model;
  EXPECT_EQ(
      Apply(model, {Own(TortureOp::kIncr, 0, 1), Own(TortureOp::kIncr, 0, 3)})
          .repeated,
      1U);
}

TEST(TortureModel, ACountThatStaysBehindIsLoss) {
  OwnKeysModel model;
  EXPECT_EQ(
      Apply(model, {Own(TortureOp::kIncr, 0, 1), Own(TortureOp::kIncr, 0, 1)})
          .lost,
      1U);
}

TEST(TortureModel, ReadsOfSharedKeysMayOverlapWrites) {
  const TortureFaults faults =
      CheckSharedKey({Call(TortureOp::kSharedSet, 0, 10, 1, 0),
                      Call(TortureOp::kSharedSet, 5, 20, 2, 0),
                      Call(TortureOp::kSharedGet, 6, 7, 0, 1),
                      Call(TortureOp::kSharedGet, 8, 9, 0, 2),
                      Call(TortureOp::kSharedGet, 30, 31, 0, 1)});
  EXPECT_TRUE(faults.none());
}

TEST(TortureModel, AnOverwrittenValueIsStale) {
  const std::vector<TortureRecord> writes = {
      Call(TortureOp::kSharedSet, 0, 10, 1, 0),
      Call(TortureOp::kSharedSet, 11, 20, 2, 0)};
  std::vector<TortureRecord> calls = writes;
  calls.push_back(Call(TortureOp::kSharedGet, 21, 22, 0, 1));
  EXPECT_EQ(CheckSharedKey(calls).lost, 1U);  // The last read.
  calls.push_back(Call(TortureOp::kSharedGet, 30, 31, 0, 2));
  EXPECT_EQ(CheckSharedKey(calls).stale, 1U);
}

TEST(TortureModel, AMissAfterAWriteIsLoss) {
  EXPECT_EQ(CheckSharedKey({Call(TortureOp::kSharedSet, 0, 10, 1, 0),
                            Call(TortureOp::kSharedGet, 11, 12, 0, 0)})
                .lost,
            1U);
}

TEST(TortureModel, AValueFromTheFutureOrOfNobodyIsTorn) {
  EXPECT_EQ(CheckSharedKey({Call(TortureOp::kSharedGet, 0, 1, 0, 1),
                            Call(TortureOp::kSharedGet, 2, 3, 0, 77),
                            Call(TortureOp::kSharedSet, 4, 10, 1, 0),
                            Call(TortureOp::kSharedGet, 11, 12, 0, 1)})
                .torn,
            2U);
}

TEST(TortureModel, AWriteInDoubtIsNeverOverwrittenForCertain) {
  EXPECT_TRUE(CheckSharedKey({InDoubt(Call(TortureOp::kSharedSet, 0, 0, 1, 0)),
                              Call(TortureOp::kSharedSet, 11, 20, 2, 0),
                              Call(TortureOp::kSharedGet, 30, 31, 0, 1)})
                  .none());
}

TEST(TortureModel, SharedCountsAddUp) {
  const std::vector<TortureRecord> calls = {
      Call(TortureOp::kSharedIncr, 0, 10, 0, 2),
      Call(TortureOp::kSharedIncr, 5, 8, 0, 1),
      InDoubt(Call(TortureOp::kSharedIncr, 11, 0, 0, 0))};
  EXPECT_TRUE(CheckSharedCounter(calls, 2).none());
  EXPECT_TRUE(CheckSharedCounter(calls, 3).none());
  EXPECT_EQ(CheckSharedCounter(calls, 4).repeated, 1U);
  EXPECT_GE(CheckSharedCounter(calls, 1).lost, 1U);
}

TEST(TortureModel, TheSameSumTwiceIsLoss) {
  EXPECT_GE(CheckSharedCounter({Call(TortureOp::kSharedIncr, 0, 10, 0, 1),
                                Call(TortureOp::kSharedIncr, 5, 8, 0, 1)},
                               2)
                .lost,
            1U);
}

TEST(TortureModel, ASmallerSumLaterIsStale) {
  EXPECT_EQ(CheckSharedCounter({Call(TortureOp::kSharedIncr, 0, 10, 0, 2),
                                Call(TortureOp::kSharedIncr, 11, 20, 0, 1)},
                               2)
                .stale,
            1U);
}

TEST(TortureValue, EveryByteIsChecked) {
  const std::uint64_t stamp =
      TortureStamp({.run = 1, .writer = 2, .life = 3}, 4);
  for (const std::size_t size : {16U, 17U, 24U, 1000U}) {
    const std::string value = TortureValue(stamp, size);
    EXPECT_EQ(value.size(), size);
    EXPECT_EQ(ReadTortureValue(value), stamp);
    EXPECT_EQ(ReadTortureValue(value + "x"), kTortureTorn);
    for (std::size_t i = 0; i < size; ++i) {
      std::string damaged = value;
      damaged[i] = static_cast<char>(damaged[i] ^ 1);
      EXPECT_NE(ReadTortureValue(damaged), stamp) << i;
    }
  }
  EXPECT_EQ(ReadTortureValue("short"), kTortureTorn);
}

}  // namespace
}  // namespace larder::tools
