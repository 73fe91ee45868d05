#include "repair/key_cover.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace larder {
namespace {

TEST(KeyCoverTest, WithoutRangesThereIsNothing) {
  const KeyCover cover;
  EXPECT_TRUE(cover.empty());
  EXPECT_EQ(cover.HeightAt(""), 0U);
  EXPECT_EQ(cover.HeightAt("key"), 0U);
}

TEST(KeyCoverTest, EndsAreOutside) {
  KeyCover cover;
  cover.Add({"b", "d", false}, 3);
  EXPECT_EQ(cover.HeightAt("a"), 0U);
  EXPECT_EQ(cover.HeightAt("b"), 3U);
  EXPECT_EQ(cover.HeightAt("cz"), 3U);
  EXPECT_EQ(cover.HeightAt("d"), 0U);
  // One that ends where the next begins, one to the end, and an empty one.
  cover.Add({"d", "e", false}, 2);
  cover.Add({"x", {}, true}, 1);
  cover.Add({"g", "f", false}, 9);
  EXPECT_EQ(cover.HeightAt("c"), 3U);
  EXPECT_EQ(cover.HeightAt("d"), 2U);
  EXPECT_EQ(cover.HeightAt("e"), 0U);
  EXPECT_EQ(cover.HeightAt("f"), 0U);
  EXPECT_EQ(cover.HeightAt("xyz"), 1U);
}

TEST(KeyCoverTest, TheHighestOfAllRangesCounts) {
  std::mt19937 random(7);
  const auto draw_key = [&random] {
    std::string key(random() % 3, 'a');
    for (char& c : key) c = static_cast<char>('a' + random() % 4);
    return key;
  };
  for (int round = 0; round < 200; ++round) {
    KeyCover cover;
    std::vector<std::pair<KeyGap, std::uint64_t>> ranges;
    for (int i = 0; i < 12; ++i) {
      ranges.push_back(
          {{draw_key(), draw_key(), random() % 8 == 0}, random() % 5});
      cover.Add(ranges.back().first, ranges.back().second);
      // Looked at in between, too.
      const std::string key = draw_key();
      std::uint64_t wanted = 0;
      for (const auto& [range, height] : ranges) {
        if (range.Contains(key)) wanted = std::max(wanted, height);
      }
      ASSERT_EQ(cover.HeightAt(key), wanted) << round << " " << key;
    }
  }
}

}  // namespace
}  // namespace larder
