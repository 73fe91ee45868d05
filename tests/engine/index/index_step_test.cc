#include "index/index_step.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace larder::testing {
namespace {

rocksdb::SstFileMetaData Table(std::string smallest, std::string largest,
                               std::uint64_t size = 100) {
  rocksdb::SstFileMetaData table;
  table.smallestkey = std::move(smallest);
  table.largestkey = std::move(largest);
  table.size = size;
  return table;
}

rocksdb::ColumnFamilyMetaData Index(
    std::vector<std::vector<rocksdb::SstFileMetaData>> levels) {
  rocksdb::ColumnFamilyMetaData index;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    std::uint64_t size = 0;
    for (const auto& table : levels[i]) size += table.size;
    index.file_count += levels[i].size();
    index.levels.emplace_back(static_cast<int>(i), size, std::move(levels[i]));
  }
  return index;
}

/// The ends of all steps through it.
std::vector<std::string> Ends(const rocksdb::ColumnFamilyMetaData& index,
                              std::uint64_t bytes_max) {
  std::vector<std::string> ends;
  std::string cursor;
  while (const auto step = NextIndexStep(index, cursor, bytes_max)) {
    EXPECT_LE(step->begin, step->end);
    EXPECT_TRUE(cursor.empty() ? step->begin.empty() : step->begin > cursor);
    ends.push_back(step->end);
    if (step->cursor.empty()) break;
    EXPECT_GT(step->cursor, cursor);
    cursor = step->cursor;
  }
  return ends;
}

TEST(IndexStep, NothingIsNoStep) {
  EXPECT_FALSE(NextIndexStep(Index({{}, {}, {}}), "", 1000));
}

TEST(IndexStep, LevelZeroAloneIsTakenWhole) {
  const auto index = Index({{Table("b", "d"), Table("a", "c")}, {}});
  EXPECT_EQ(Ends(index, 1), (std::vector<std::string>{"d"}));
}

TEST(IndexStep, TakesAsManyTablesAsThereIsRoomFor) {
  const auto index =
      Index({{}, {}, {Table("a", "b"), Table("c", "d"), Table("e", "f")}});
  EXPECT_EQ(Ends(index, 200), (std::vector<std::string>{"d", "f"}));
  EXPECT_EQ(Ends(index, 1000), (std::vector<std::string>{"f"}));
}

TEST(IndexStep, TakesOneWhereThereIsNoRoom) {
  const auto index = Index({{}, {}, {Table("a", "b"), Table("c", "d")}});
  EXPECT_EQ(Ends(index, 0), (std::vector<std::string>{"b", "d"}));
}

TEST(IndexStep, LevelZeroTakesOfTheRoom) {
  const auto index =
      Index({{Table("a", "z")}, {}, {Table("a", "b"), Table("c", "d")}});
  EXPECT_EQ(Ends(index, 200), (std::vector<std::string>{"b", "d"}));
  EXPECT_EQ(Ends(index, 300), (std::vector<std::string>{"d"}));
}

TEST(IndexStep, CountsWhatATableAboveReachesOver) {
  // The upper one with the three that it overlaps is more than there is room
  // for: what ends first is taken, which takes them, and they are done with.
  const auto index = Index(
      {{},
       {Table("a", "f")},
       {Table("a", "b"), Table("c", "d"), Table("e", "f"), Table("g", "h")}});
  EXPECT_EQ(Ends(index, 300), (std::vector<std::string>{"b", "h"}));
  EXPECT_EQ(Ends(index, 400), (std::vector<std::string>{"f", "h"}));
}

TEST(IndexStep, OfThreeLevelsNothingIsLeftOut) {
  const auto index =
      Index({{},
             {Table("a", "f")},
             {Table("a", "c"), Table("d", "f")},
             {Table("a", "b"), Table("c", "d"), Table("e", "f")}});
  EXPECT_EQ(Ends(index, 300), (std::vector<std::string>{"b", "c", "d", "f"}));
}

TEST(CursorBeforeChanges, IsBeforeTheTableThatHasMostDeletions) {
  auto few = Table("c", "d");
  few.num_deletions = 1;
  few.num_entries = 9;
  auto many = Table("e", "f");
  many.num_deletions = 2;
  const auto cursor =
      CursorBeforeChanges(Index({{}, {few, many}, {Table("a", "z")}}));
  ASSERT_TRUE(cursor.has_value());
  EXPECT_LT(*cursor, "e");
  EXPECT_GT(*cursor, "d");
}

TEST(CursorBeforeChanges, IsBeforeTheTableThatHasMostEntriesIfNoneIsDeleted) {
  auto many = Table("c", "d");
  many.num_entries = 2;
  auto few = Table("e", "f");
  few.num_entries = 1;
  const auto cursor =
      CursorBeforeChanges(Index({{}, {many, few}, {Table("a", "z")}}));
  ASSERT_TRUE(cursor.has_value());
  EXPECT_LT(*cursor, "c");
}

TEST(CursorBeforeChanges, ThoseOfLevelZeroCountThoseOfTheLastDoNot) {
  auto table = Table("c", "d");
  table.num_deletions = 1;
  EXPECT_TRUE(CursorBeforeChanges(Index({{table}, {}, {}})).has_value());
  EXPECT_FALSE(CursorBeforeChanges(Index({{}, {}, {table}})).has_value());
  EXPECT_FALSE(CursorBeforeChanges(Index({{}, {}, {}})).has_value());
}

}  // namespace
}  // namespace larder::testing
