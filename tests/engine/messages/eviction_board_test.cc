#include "messages/eviction_board.h"

#include <chrono>
#include <string>

#include <gtest/gtest.h>

namespace larder {
namespace {

using std::chrono::seconds;

constexpr std::size_t kAll = 1U << 30;
const EvictionBoard::SteadyTime kStart{std::chrono::hours(1)};

TEST(EvictionBoardTest, EachSubscriberIsToldFromItsFirstCallOn) {
  EvictionBoard board;
  EXPECT_FALSE(board.any());
  board.Add("before", 1, EvictionReason::kEvicted);
  EXPECT_TRUE(board.Take(1, kAll, kStart).notices.empty());
  EXPECT_TRUE(board.any());
  board.Add("a", 1, EvictionReason::kEvicted);
  EXPECT_TRUE(board.Take(2, kAll, kStart).notices.empty());
  board.Add("b", 2, EvictionReason::kExpired);
  const EvictionNotices first = board.Take(1, kAll, kStart);
  ASSERT_EQ(first.notices.size(), 2U);
  EXPECT_EQ(first.notices[0],
            (EvictionNotice{"a", 1, EvictionReason::kEvicted}));
  EXPECT_EQ(first.notices[1],
            (EvictionNotice{"b", 2, EvictionReason::kExpired}));
  EXPECT_EQ(board.Take(2, kAll, kStart).notices.size(), 1U);
  EXPECT_TRUE(board.Take(1, kAll, kStart).notices.empty());
}

TEST(EvictionBoardTest, WhatDoesNotFitIsDroppedAndCounted) {
  EvictionBoard board;
  static_cast<void>(board.Take(1, kAll, kStart));
  for (std::size_t i = 0; i < EvictionBoard::kNoticeCountMax + 5; ++i) {
    board.Add(std::to_string(i), 1, EvictionReason::kEvicted);
  }
  EXPECT_EQ(board.dropped(), 5U);
  const EvictionNotices taken = board.Take(1, kAll, kStart);
  EXPECT_EQ(taken.notices.size(), EvictionBoard::kNoticeCountMax);
  EXPECT_EQ(taken.notices.front().key, "0");
  EXPECT_EQ(taken.dropped, 5U);
  EXPECT_EQ(board.Take(1, kAll, kStart).dropped, 0U);
}

TEST(EvictionBoardTest, OneAnswerIsBounded) {
  EvictionBoard board;
  static_cast<void>(board.Take(1, kAll, kStart));
  for (int i = 0; i < 10; ++i) {
    board.Add(std::string(1'000, 'k'), 1, EvictionReason::kEvicted);
  }
  std::size_t count = 0;
  int answers = 0;
  for (; count < 10; ++answers) {
    const EvictionNotices taken = board.Take(1, 3'000, kStart);
    ASSERT_FALSE(taken.notices.empty());
    ASSERT_LE(taken.notices.size(), 3U);
    count += taken.notices.size();
  }
  EXPECT_EQ(count, 10U);
  EXPECT_EQ(answers, 4);
}

TEST(EvictionBoardTest, WhoDoesNotComeAnyMoreIsForgotten) {
  EvictionBoard board;
  static_cast<void>(board.Take(1, kAll, kStart));
  board.Add("a", 1, EvictionReason::kEvicted);
  static_cast<void>(
      board.Take(2, kAll, kStart + EvictionBoard::kForgottenAfter));
  EXPECT_EQ(board.Take(1, kAll, kStart + EvictionBoard::kForgottenAfter)
                .notices.size(),
            1U);
  board.Add("b", 1, EvictionReason::kEvicted);
  static_cast<void>(board.Take(
      2, kAll, kStart + 2 * EvictionBoard::kForgottenAfter + seconds(1)));
  EXPECT_TRUE(
      board
          .Take(1, kAll,
                kStart + 2 * EvictionBoard::kForgottenAfter + seconds(1))
          .notices.empty());
}

}  // namespace
}  // namespace larder
