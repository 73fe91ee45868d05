#include "repair/readable_pairs.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/sst_file_writer.h>

#include "temporary_directory.h"

namespace larder {
namespace {

constexpr int kKeyCount = 4000;

std::string KeyOf(int i) {
  std::string number = std::to_string(i);
  return "the same beginning of all/" +
         number.insert(0, 6 - number.size(), '0');
}

class ReadablePairsTest : public ::testing::Test {
 protected:
  ReadablePairsTest() {
    rocksdb::SstFileWriter writer{rocksdb::EnvOptions(), rocksdb::Options()};
    EXPECT_TRUE(writer.Open(path_).ok());
    for (int i = 0; i < kKeyCount; ++i) {
      EXPECT_TRUE(writer.Put(KeyOf(i), std::string(100, 'v')).ok());
    }
    EXPECT_TRUE(writer.Finish().ok());
  }

  void FlipBitAt(double share) {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    const auto at = static_cast<std::streamoff>(
        share * static_cast<double>(std::filesystem::file_size(path_)));
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 1));
  }

  /// The keys that can be read.
  std::set<std::string> Walk() {
    rocksdb::SstFileReader table{rocksdb::Options()};
    EXPECT_TRUE(table.Open(path_).ok());
    ReadablePairs pairs(
        [&table] {
          return std::unique_ptr<rocksdb::Iterator>(
              table.NewIterator(rocksdb::ReadOptions()));
        },
        {});
    std::set<std::string> keys;
    const Status status = pairs.Walk([&](std::string_view key, auto) {
      EXPECT_TRUE(keys.insert(std::string(key)).second) << key;
      return Status::Ok();
    });
    EXPECT_EQ(status.ToString(), "kOk");
    gaps_ = pairs.gaps();
    return keys;
  }

  const testing::TemporaryDirectory directory_;
  const std::string path_ = directory_.path() / "table.sst";
  std::vector<KeyGap> gaps_;
};

TEST_F(ReadablePairsTest, AllOfAWholeTable) {
  EXPECT_EQ(Walk().size(), kKeyCount);
  EXPECT_TRUE(gaps_.empty());
}

TEST_F(ReadablePairsTest, ADamagedBlockCostsItsOwnPairs) {
  FlipBitAt(0.3);
  FlipBitAt(0.6);
  const std::set<std::string> keys = Walk();
  EXPECT_GE(keys.size(), kKeyCount - 2 * 64);  // Blocks of 4 KiB.
  EXPECT_LT(keys.size(), kKeyCount);
  for (int i = 0; i < kKeyCount; ++i) {
    const bool in_gap =
        std::any_of(gaps_.begin(), gaps_.end(),
                    [i](const KeyGap& gap) { return gap.Contains(KeyOf(i)); });
    EXPECT_EQ(in_gap, !keys.contains(KeyOf(i))) << i;
  }
}

TEST_F(ReadablePairsTest, TheFirstAndTheLastBlockToo) {
  FlipBitAt(0.001);
  const std::set<std::string> keys = Walk();
  EXPECT_GE(keys.size(), kKeyCount - 64);
  EXPECT_FALSE(keys.contains(KeyOf(0)));
  EXPECT_TRUE(keys.contains(KeyOf(kKeyCount - 1)));
}

}  // namespace
}  // namespace larder
