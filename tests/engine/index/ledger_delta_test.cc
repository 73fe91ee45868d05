#include "index/ledger_delta.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/merge_operator.h>

#include "base/coding.h"
#include "temporary_directory.h"
#include "test_values.h"

namespace larder {
namespace {

using testing::Random;

constexpr Rank kMain = Rank{1} << 62;

std::string Encoded(const LedgerDelta& delta) {
  std::string bytes;
  delta.Encode(bytes);
  return bytes;
}

LedgerDelta Decoded(std::string_view bytes) {
  LedgerDelta delta;
  EXPECT_EQ(LedgerDelta::Decode(bytes, delta).ToString(), "kOk");
  return delta;
}

/// Ranks and places from few, so that cells meet; cutoffs now and then.
LedgerDelta RandomDelta(Random& random, bool may_reset = false) {
  LedgerDelta delta;
  delta.reset = may_reset && random.OneIn(6);
  if (random.OneIn(2)) delta.version_max = random.Next();
  if (random.OneIn(3)) {
    delta.segment_max = static_cast<std::uint32_t>(random.Next());
  }
  if (random.OneIn(4)) {
    delta.epoch_max = static_cast<std::uint32_t>(random.Below(5));
  }
  for (int c = 0; c < kRankClassCount; ++c) {
    if (random.OneIn(5)) {
      delta.cutoffs[c] =
          (Rank{static_cast<unsigned>(c)} << 62) + random.Below(8);
    }
  }
  for (std::int64_t& total : delta.totals) {
    if (random.OneIn(3)) {
      total = static_cast<std::int64_t>(random.Below(2000)) - 1000;
    }
  }
  for (std::uint64_t cells = random.Below(6); cells > 0; --cells) {
    delta.Add((random.Below(4) << 62) + random.Below(10), random.Below(5),
              static_cast<std::int64_t>(random.Below(200)) - 100,
              static_cast<std::int64_t>(random.Below(3)) - 1);
  }
  return delta;
}

std::string SumOf(const std::vector<LedgerDelta>& deltas) {
  LedgerSum sum;
  for (const LedgerDelta& delta : deltas) sum.Apply(delta);
  return Encoded(sum.ToDelta());
}

TEST(LedgerDelta, RandomDeltasRoundTrip) {
  Random random(testing::SeedFromEnvironment(11));
  for (int round = 0; round < 2000; ++round) {
    const LedgerDelta delta = RandomDelta(random, /*may_reset=*/true);
    const LedgerDelta decoded = Decoded(Encoded(delta));
    EXPECT_EQ(decoded.reset, delta.reset);
    EXPECT_EQ(decoded.version_max, delta.version_max);
    EXPECT_EQ(decoded.segment_max, delta.segment_max);
    EXPECT_EQ(decoded.epoch_max, delta.epoch_max);
    EXPECT_EQ(decoded.cutoffs, delta.cutoffs);
    EXPECT_EQ(decoded.totals, delta.totals);
    ASSERT_EQ(decoded.cells.size(), delta.cells.size());
    EXPECT_EQ(Encoded(decoded), Encoded(delta));
  }
}

TEST(LedgerDelta, ExtremesRoundTrip) {
  LedgerDelta delta;
  delta.version_max = std::numeric_limits<std::uint64_t>::max();
  delta.segment_max = std::numeric_limits<std::uint32_t>::max();
  delta.epoch_max = std::numeric_limits<std::uint32_t>::max();
  delta.Count(Total::kHits, std::numeric_limits<std::int64_t>::min());
  delta.Count(Total::kCorruptions, std::numeric_limits<std::int64_t>::max());
  delta.Add(~Rank{0}, ~PlaceId{0}, std::numeric_limits<std::int64_t>::min(),
            std::numeric_limits<std::int64_t>::max());
  const LedgerDelta decoded = Decoded(Encoded(delta));
  EXPECT_EQ(decoded.version_max, delta.version_max);
  EXPECT_EQ(decoded.totals, delta.totals);
  EXPECT_EQ(decoded.cells[0].rank, ~Rank{0});
  EXPECT_EQ(decoded.cells[0].bytes, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(decoded.cells[0].items, std::numeric_limits<std::int64_t>::max());
}

TEST(LedgerDelta, BytesAreThoseOfTheFormat) {
  LedgerDelta delta;
  delta.version_max = 300;
  delta.segment_max = 2;
  delta.epoch_max = 1;
  delta.Count(Total::kSets, 1);
  delta.Count(Total::kDeletes, -1);
  delta.Add(5, PlaceOfRun(3), -100, -1);
  const std::string expected(
      "\x01\x04"            // Format, flags: epoch.
      "\xAC\x02\x02\x01"    // Version, segment, epoch.
      "\x0C\x02\x01"        // Totals 2 and 3: 1 and -1.
      "\x01"                // One cell:
      "\x05\0\0\0\0\0\0\0"  // Rank,
      "\x07\xC7\x01\x01",   // run 3, -100 bytes, -1 items.
      2 + 4 + 3 + 1 + 8 + 4);
  EXPECT_EQ(Encoded(delta), expected);
}

TEST(LedgerDelta, TruncationsAndTrailingBytesAreCorruption) {
  Random random(12);
  for (int round = 0; round < 50; ++round) {
    const std::string good = Encoded(RandomDelta(random, true));
    LedgerDelta delta;
    for (std::size_t size = 0; size < good.size(); ++size) {
      const std::vector<char> cut(
          good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_EQ(
          LedgerDelta::Decode(std::string_view(cut.data(), cut.size()), delta)
              .code(),
          StatusCode::kCorruption);
    }
    EXPECT_EQ(LedgerDelta::Decode(good + '\0', delta).code(),
              StatusCode::kCorruption);
  }
}

TEST(LedgerDelta, RandomDamageNeverDoesMoreThanFail) {
  Random random(testing::SeedFromEnvironment(13));
  int refused = 0;
  for (int round = 0; round < 30'000; ++round) {
    std::string bytes = Encoded(RandomDelta(random, true));
    bytes[random.Below(bytes.size())] = static_cast<char>(random.Next());
    LedgerDelta delta;
    const Status status = LedgerDelta::Decode(bytes, delta);
    if (status.ok()) continue;
    ASSERT_EQ(status.code(), StatusCode::kCorruption);
    ++refused;
  }
  EXPECT_GT(refused, 100);
}

TEST(LedgerDelta, CellCountBeyondTheBytesIsRefusedBeforeAllocation) {
  LedgerDelta delta;
  std::string bytes = Encoded(delta);
  bytes.pop_back();
  PutVarint(bytes, std::uint64_t{1} << 60);
  EXPECT_EQ(LedgerDelta::Decode(bytes, delta).code(), StatusCode::kCorruption);
}

TEST(LedgerDelta, ClearMakesItAChangeOfNothing) {
  Random random(14);
  LedgerDelta delta = RandomDelta(random, true);
  delta.Add(1, 1, 1, 1);
  delta.Clear();
  EXPECT_EQ(Encoded(delta), Encoded(LedgerDelta()));
}

TEST(LedgerSum, OrderDoesNotMatterWithoutReset) {
  Random random(testing::SeedFromEnvironment(15));
  for (int round = 0; round < 500; ++round) {
    std::vector<LedgerDelta> deltas;
    for (int i = 0; i < 6; ++i) deltas.push_back(RandomDelta(random));
    const std::string in_order = SumOf(deltas);
    for (std::size_t i = deltas.size() - 1; i > 0; --i) {
      std::swap(deltas[i], deltas[random.Below(i + 1)]);
    }
    EXPECT_EQ(SumOf(deltas), in_order);
  }
}

// As RocksDB may: any neighbours may be summed first, whatever resets.
TEST(LedgerSum, GroupingDoesNotMatter) {
  Random random(testing::SeedFromEnvironment(16));
  for (int round = 0; round < 500; ++round) {
    std::vector<LedgerDelta> deltas;
    for (int i = 0; i < 7; ++i) deltas.push_back(RandomDelta(random, true));
    const std::string whole = SumOf(deltas);
    while (deltas.size() > 1) {
      const std::size_t i = random.Below(deltas.size() - 1);
      const std::vector<LedgerDelta> two = {deltas[i], deltas[i + 1]};
      deltas[i] = Decoded(SumOf(two));
      deltas.erase(deltas.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    }
    EXPECT_EQ(SumOf(deltas), whole);
  }
}

TEST(LedgerSum, ResetForgetsCellsButNotTotals) {
  LedgerDelta before;
  before.version_max = 9;
  before.cutoffs[kClassMain] = kMain + 1;
  before.Count(Total::kSets, 3);
  before.Add(kMain + 5, 2, 100, 1);
  LedgerDelta reset;
  reset.reset = true;
  reset.epoch_max = 1;
  LedgerDelta after;
  after.Add(kMain + 6, 2, 50, 1);
  const LedgerDelta sum = Decoded(SumOf({before, reset, after}));
  ASSERT_EQ(sum.cells.size(), 1U);
  EXPECT_EQ(sum.cells[0].rank, kMain + 6);
  EXPECT_EQ(sum.version_max, 9U);
  EXPECT_EQ(sum.epoch_max, 1U);
  EXPECT_EQ(sum.cutoffs[kClassMain], kMain + 1);
  EXPECT_EQ(sum.totals[static_cast<std::size_t>(Total::kSets)], 3);
}

TEST(LedgerSum, CutoffDropsDeadCellsOfItsClassOnly) {
  LedgerDelta cells;
  cells.Add(3, 0, 10, 1);          // Probation.
  cells.Add(kMain + 3, 0, 10, 1);  // Below the cutoff.
  cells.Add(kMain + 4, 0, 10, 1);  // At it: lives.
  LedgerDelta cutoff;
  cutoff.cutoffs[kClassMain] = kMain + 4;
  const LedgerDelta sum = Decoded(SumOf({cutoff, cells}));
  ASSERT_EQ(sum.cells.size(), 2U);
  EXPECT_EQ(sum.cells[0].rank, 3U);
  EXPECT_EQ(sum.cells[1].rank, kMain + 4);
}

TEST(LedgerSum, CellsThatCancelOutVanish) {
  LedgerDelta plus;
  plus.Add(kMain, 4, 100, 1);
  LedgerDelta minus;
  minus.Add(kMain, 4, -100, -1);
  EXPECT_TRUE(Decoded(SumOf({plus, minus})).cells.empty());
  EXPECT_TRUE(Decoded(SumOf({minus, plus})).cells.empty());
}

// ---------------------------------------------------------- merge operator

TEST(LedgerMergeOperator, PartialMergesThenFullEqualsFull) {
  const auto merge = NewLedgerMergeOperator();
  Random random(testing::SeedFromEnvironment(17));
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> operands;
    std::vector<LedgerDelta> deltas;
    for (int i = 0; i < 6; ++i) {
      deltas.push_back(RandomDelta(random, true));
      operands.push_back(Encoded(deltas.back()));
    }
    const std::size_t split = 1 + random.Below(5);
    std::string left;
    std::string right;
    ASSERT_TRUE(merge->PartialMergeMulti(
        "ledger",
        std::deque<rocksdb::Slice>(
            operands.begin(),
            operands.begin() + static_cast<std::ptrdiff_t>(split)),
        &left, nullptr));
    ASSERT_TRUE(merge->PartialMergeMulti(
        "ledger",
        std::deque<rocksdb::Slice>(
            operands.begin() + static_cast<std::ptrdiff_t>(split),
            operands.end()),
        &right, nullptr));
    std::string result;
    rocksdb::Slice existing_operand;
    rocksdb::MergeOperator::MergeOperationOutput out(result, existing_operand);
    const rocksdb::Slice existing(left);
    const std::vector<rocksdb::Slice> rest = {right};
    ASSERT_TRUE(merge->FullMergeV2(rocksdb::MergeOperator::MergeOperationInput(
                                       "ledger", &existing, rest, nullptr),
                                   &out));
    EXPECT_EQ(result, SumOf(deltas));
  }
}

TEST(LedgerMergeOperator, RefusesDamage) {
  const auto merge = NewLedgerMergeOperator();
  std::string result;
  EXPECT_FALSE(merge->PartialMergeMulti(
      "ledger", std::deque<rocksdb::Slice>{"\x02junk"}, &result, nullptr));
}

std::unique_ptr<rocksdb::DB> OpenDatabase(const std::filesystem::path& path) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.merge_operator = NewLedgerMergeOperator();
  options.level0_file_num_compaction_trigger = 2;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options, path.string(), &db);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return std::unique_ptr<rocksdb::DB>(db);
}

TEST(LedgerMergeOperator, ADatabaseKeepsTheSumOverFlushesAndReopening) {
  const testing::TemporaryDirectory directory;
  Random random(testing::SeedFromEnvironment(18));
  std::unique_ptr<rocksdb::DB> db = OpenDatabase(directory.path() / "db");
  std::vector<LedgerDelta> deltas;
  for (int i = 0; i < 400; ++i) {
    deltas.push_back(RandomDelta(random, random.OneIn(50)));
    ASSERT_TRUE(
        db->Merge(rocksdb::WriteOptions(), "ledger", Encoded(deltas.back()))
            .ok());
    if (random.OneIn(20)) {
      ASSERT_TRUE(db->Flush(rocksdb::FlushOptions()).ok());
    }
    if (random.OneIn(100)) {
      ASSERT_TRUE(
          db->CompactRange(rocksdb::CompactRangeOptions(), nullptr, nullptr)
              .ok());
    }
    if (random.OneIn(80)) {
      db.reset();
      db = OpenDatabase(directory.path() / "db");
    }
    if (i % 16 == 0) {
      std::string bytes;
      ASSERT_TRUE(db->Get(rocksdb::ReadOptions(), "ledger", &bytes).ok());
      // A reset, once met, stays in the sum: compare what it sums up to.
      ASSERT_EQ(SumOf({Decoded(bytes)}), SumOf(deltas)) << i;
    }
  }
}

}  // namespace
}  // namespace larder
