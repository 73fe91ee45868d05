#include "index/told_items.h"

#include <map>
#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace larder {
namespace {

using Verdict = ToldItems::Verdict;

class ToldItemsTest : public ::testing::Test {
 protected:
  Verdict ClaimLine(const std::string& key, std::uint64_t version) {
    return told_.ClaimLine(key, version,
                           [&] { return IsInIndex(key, version); });
  }
  [[nodiscard]] bool IsInIndex(std::string_view key,
                               std::uint64_t version) const {
    const auto at = index_.find(key);
    return at != index_.end() && at->second == version;
  }

  std::map<std::string, std::uint64_t, std::less<>> index_;
  ToldItems told_{[this](std::string_view key, std::uint64_t version) {
    return IsInIndex(key, version);
  }};
};

TEST_F(ToldItemsTest, WriterAfterACompactionDoesNotTell) {
  index_["k"] = 7;
  EXPECT_EQ(ClaimLine("k", 7), Verdict::kTell);
  EXPECT_FALSE(told_.Claim("k", 7));
}

TEST_F(ToldItemsTest, CompactionAfterAWriterDoesNotTell) {
  index_["k"] = 7;
  EXPECT_TRUE(told_.Claim("k", 7));
  EXPECT_EQ(ClaimLine("k", 7), Verdict::kDrop);
  EXPECT_EQ(told_.size(), 1U);
}

TEST_F(ToldItemsTest, LineThatIsNotCurrentIsNotTold) {
  EXPECT_EQ(ClaimLine("k", 7), Verdict::kDrop);
  index_["k"] = 8;
  EXPECT_EQ(ClaimLine("k", 7), Verdict::kDrop);
  EXPECT_EQ(told_.size(), 0U);
}

TEST_F(ToldItemsTest, LineOfAHeldVersionStays) {
  index_["k"] = 7;
  {
    ToldItems::Holds holds;
    EXPECT_TRUE(told_.Hold(7, holds));
    EXPECT_TRUE(told_.Hold(7, holds));  // Two commands of one batch.
    EXPECT_EQ(ClaimLine("k", 7), Verdict::kLeave);
  }
  EXPECT_EQ(ClaimLine("k", 7), Verdict::kTell);
}

TEST_F(ToldItemsTest, WhatWasToldCannotBeHeld) {
  index_["k"] = 7;
  EXPECT_TRUE(told_.Claim("k", 7));
  ToldItems::Holds holds;
  EXPECT_FALSE(told_.Hold(7, holds));
}

TEST_F(ToldItemsTest, OnlyWhatTheIndexHasNoMoreIsForgotten) {
  constexpr std::uint64_t kStays = 100;
  constexpr std::uint64_t kCount = 100000;
  for (std::uint64_t i = 1; i <= kCount; ++i) {
    const std::string key = std::to_string(i);
    index_[key] = i;
    EXPECT_EQ(ClaimLine(key, i), Verdict::kTell);
    if (i > kStays) index_.erase(key);
  }
  EXPECT_LT(told_.size(), kCount / 20);
  for (std::uint64_t i = 1; i <= kStays; ++i) {
    EXPECT_EQ(ClaimLine(std::to_string(i), i), Verdict::kDrop);
  }
}

}  // namespace
}  // namespace larder
