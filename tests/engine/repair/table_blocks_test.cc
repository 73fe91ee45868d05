// Tables that RocksDB has written, and files that only look like some.

#include "repair/table_blocks.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <xxhash.h>

#include "base/coding.h"
#include "temporary_directory.h"

namespace larder {
namespace {

constexpr int kPairCount = 1000;
constexpr std::uint64_t kPut = 1;

std::string KeyOf(int i) { return "key" + std::to_string(10'000 + i); }

void PutPair(std::string& block, std::uint64_t shared, std::string_view own,
             std::string_view value) {
  PutVarint(block, shared);
  PutVarint(block, own.size());
  PutVarint(block, value.size());
  block.append(own).append(value);
}

std::string InternalKey(std::string_view user, std::uint64_t sequence) {
  std::string key(user);
  PutFixed<std::uint64_t>(key, sequence << 8 | kPut);
  return key;
}

// What follows the pairs of a block; all that are not at a restart share.
std::string Sealed(std::string block,
                   const std::vector<std::uint32_t>& restarts = {0}) {
  for (const std::uint32_t restart : restarts) PutFixed(block, restart);
  PutFixed(block, static_cast<std::uint32_t>(restarts.size()));
  const auto checksum =
      static_cast<std::uint32_t>(XXH3_64bits(block.data(), block.size()));
  block.push_back(0);
  PutFixed(block, checksum);
  return block;
}

class TableBlocksTest : public ::testing::Test {
 protected:
  void Write(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  // A table of RocksDB with the options that larder's have.
  std::string MakeTable(bool hashes) {
    rocksdb::BlockBasedTableOptions table;
    table.format_version = 5;
    table.checksum = rocksdb::kXXH3;
    if (hashes) {
      table.data_block_index_type =
          rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
    }
    rocksdb::Options options;
    options.compression = rocksdb::kNoCompression;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), options);
    EXPECT_TRUE(writer.Open(path_.string()).ok());
    for (int i = 0; i < kPairCount; ++i) {
      EXPECT_TRUE(writer.Put(KeyOf(i), std::string(i % 100, 'v')).ok());
    }
    EXPECT_TRUE(writer.Finish().ok());
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void Scan(const std::optional<std::string>& last_key = std::nullopt,
            std::optional<std::uint64_t> size = std::nullopt) {
    keys_.clear();
    const auto visit = [this](const TablePair& pair) {
      keys_.emplace_back(pair.key);
      return Status::Ok();
    };
    auto gaps = ScanTableBlocks(FilePlace(path_),
                                {.last_key = last_key, .size = size}, visit);
    ASSERT_TRUE(gaps.has_value()) << gaps.error().ToString();
    gaps_ = *std::move(gaps);
  }
  bool IsInGap(std::string_view key) const {
    for (const KeyGap& gap : gaps_) {
      if (gap.Contains(key)) return true;
    }
    return false;
  }

  const testing::TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "table.sst";
  std::vector<std::string> keys_;
  std::vector<KeyGap> gaps_;
};

TEST_F(TableBlocksTest, WholeTablesAreReadWithIndexAndWithout) {
  for (const bool hashes : {false, true}) {
    const std::string table = MakeTable(hashes);
    Scan();
    EXPECT_EQ(keys_.size(), std::size_t{kPairCount});
    EXPECT_TRUE(gaps_.empty());
    Write(table.substr(0, table.size() - 60));
    Scan(KeyOf(kPairCount - 1));
    EXPECT_EQ(keys_.size(), std::size_t{kPairCount});
    EXPECT_TRUE(gaps_.empty());
    // Nobody knows that these are all.
    Scan();
    EXPECT_EQ(keys_.size(), std::size_t{kPairCount});
    EXPECT_FALSE(IsInGap(KeyOf(kPairCount - 1)));
    EXPECT_TRUE(IsInGap(KeyOf(kPairCount)));
  }
}

TEST_F(TableBlocksTest, WhatIsNotVisitedIsInAGap) {
  const std::string table = MakeTable(true);
  for (const bool with_index : {true, false}) {
    for (const std::size_t at : {100U, 9000U, 30'000U}) {
      std::string damaged = table;
      damaged[at] = static_cast<char>(damaged[at] ^ 1);
      if (!with_index) damaged.resize(damaged.size() - 60);
      Write(damaged);
      Scan(KeyOf(kPairCount - 1));
      ASSERT_FALSE(gaps_.empty());
      std::size_t next = 0;
      for (int i = 0; i < kPairCount; ++i) {
        const bool visited = next < keys_.size() && keys_[next] == KeyOf(i);
        next += visited ? 1 : 0;
        EXPECT_TRUE(visited || IsInGap(KeyOf(i))) << i;
      }
      EXPECT_EQ(next, keys_.size());
      EXPECT_EQ(with_index, keys_.size() > kPairCount * 9 / 10) << at;
    }
  }
}

TEST_F(TableBlocksTest, NoValuePassesForABlock) {
  std::string forged;
  PutPair(forged, 0, InternalKey("zzz", std::uint64_t{1} << 55), "FORGED");
  std::string first;
  PutPair(first, 0, InternalKey("aaa", 1), std::string(40, 'v'));
  PutPair(first, 0, InternalKey("bbb", 2), Sealed(forged));
  std::string second;
  PutPair(second, 0, InternalKey("ccc", 3), "v");
  Write(Sealed(first) + Sealed(second));
  Scan("ccc");
  EXPECT_EQ(keys_, (std::vector<std::string>{"aaa", "bbb", "ccc"}));
  EXPECT_TRUE(gaps_.empty());
  for (std::size_t at = 0; at < first.size(); ++at) {
    std::string damaged = Sealed(first);
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    Write(damaged + Sealed(second));
    Scan("ccc");
    EXPECT_TRUE(keys_.empty()) << at;
    EXPECT_TRUE(IsInGap("aaa") && IsInGap("ccc")) << at;
  }
}

// The value is a block, an index that has it, and the footer of a table.
TEST_F(TableBlocksTest, NoEndOfAValuePassesForThatOfATable) {
  std::string pair;
  PutPair(pair, 0, InternalKey("zzz", std::uint64_t{1} << 55), "FORGED");
  const std::string block = Sealed(pair);
  constexpr std::size_t kTrailerSize = 5;
  std::string head;
  std::string value;
  for (int round = 0; round < 3; ++round) {  // The first ones for sizes.
    const std::size_t at = head.size();
    std::string index;
    for (const auto& [offset, size] :
         {std::pair<std::size_t, std::size_t>(0, at - kTrailerSize),
          {at, block.size() - kTrailerSize}}) {
      PutVarint(index, 0);
      PutVarint(index, 1);
      index += "k";
      PutVarint(index, offset);
      PutVarint(index, size);
    }
    const std::size_t index_size = Sealed(index).size() - kTrailerSize;
    value = block + Sealed(index);
    std::string footer(1, 4);  // XXH3.
    PutVarint(footer, 0);
    PutVarint(footer, 0);
    PutVarint(footer, at + block.size());
    PutVarint(footer, index_size);
    footer.resize(41);
    PutFixed<std::uint32_t>(footer, 5);
    PutFixed<std::uint64_t>(footer, 0x88e241b785f4cff7);
    value += footer;
    head.clear();
    PutPair(head, 0, InternalKey("aaa", 1), value);
    head.resize(head.size() - value.size());
  }
  Write(head + value);
  Scan("ccc");
  ASSERT_EQ(keys_, std::vector<std::string>{"zzz"}) << "no forgery";
  Scan("ccc", head.size() + value.size() + 100);
  EXPECT_TRUE(keys_.empty());
  EXPECT_TRUE(IsInGap("aaa") && IsInGap("ccc"));
}

TEST_F(TableBlocksTest, KeysThatDoNotGrowEndIt) {
  std::string block;
  PutPair(block, 0, InternalKey("bbb", 2), "v");
  Write(Sealed(block) + Sealed(block));
  Scan();
  EXPECT_EQ(keys_, std::vector<std::string>{"bbb"});
}

// Each key has all of the one before and a byte, without restarts: all of them
// are far more than memory has room for.
TEST_F(TableBlocksTest, KeysAreNotKept) {
  constexpr int kLinks = 200'000;
  std::string block;
  PutPair(block, 0, InternalKey("a", 1), "");
  for (std::uint64_t i = 9; i < kLinks; ++i) {
    PutPair(block, i, std::string_view("\0", 1), "");
  }
  Write(Sealed(block));
  Scan();
  EXPECT_TRUE(keys_.empty());
  EXPECT_TRUE(IsInGap("a"));
}

// Offsets of restarts that never end, over and over, with what could be pairs.
TEST_F(TableBlocksTest, TimeIsLinearInTheSize) {
  std::string bytes;
  PutPair(bytes, 0, InternalKey("a", 1), "");
  for (std::uint32_t i = 0; bytes.size() < 32 << 20; ++i) PutFixed(bytes, i);
  Write(bytes);
  Scan();  // Else not in the time that a test has.
  EXPECT_TRUE(keys_.empty());
}

TEST_F(TableBlocksTest, AHugeFileIsNone) {
  Write("x");
  std::filesystem::resize_file(path_, std::uintmax_t{1} << 40);
  Scan();
  EXPECT_TRUE(keys_.empty());
  EXPECT_TRUE(IsInGap("a"));
}

}  // namespace
}  // namespace larder
