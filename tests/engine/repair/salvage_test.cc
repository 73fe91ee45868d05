#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "engine/store_fixture.h"
#include "test_values.h"

// What a repair brings back, and what it must not.

namespace larder {
namespace {

namespace fs = std::filesystem;
using testing::MakeValue;

constexpr int kItemCount = 200;
constexpr std::size_t kLarge = 4000;

std::string KeyOf(int i) { return "key" + std::to_string(1000 + i); }

class SalvageTest : public testing::StoreFixture {
 protected:
  void Fill(std::size_t size) {
    for (int i = 0; i < kItemCount; ++i) {
      ASSERT_EQ(Set(KeyOf(i), MakeValue(i, size)).ToString(), "kOk");
    }
  }
  void Close() {
    ASSERT_EQ(engine_->Close().ToString(), "kOk");
    engine_.reset();
  }
  /// Damages the blocks in which the bytes `what` are, in all tables.
  void DamageTablesAt(const std::string& what) {
    int found = 0;
    for (const auto& file : fs::directory_iterator(path_ / "db")) {
      if (file.path().extension() != ".sst") continue;
      std::ifstream in(file.path(), std::ios::binary);
      std::string bytes{std::istreambuf_iterator<char>(in), {}};
      const std::size_t at = bytes.find(what);
      if (at == std::string::npos) continue;
      bytes[at] ^= 1;
      std::ofstream(file.path(), std::ios::binary) << bytes;
      ++found;
    }
    EXPECT_GT(found, 0) << what;
  }
  int CountRight(std::size_t size) {
    int right = 0;
    for (int i = 0; i < kItemCount; ++i) {
      const auto value = Get(KeyOf(i));
      if (!value) continue;
      EXPECT_EQ(*value, MakeValue(i, size)) << KeyOf(i);
      ++right;
    }
    return right;
  }
};

TEST_F(SalvageTest, ALostDatabaseIsMadeFromTheLog) {
  Open();
  Fill(kLarge);
  Close();
  fs::remove_all(path_ / "db");
  OpenRepaired();
  EXPECT_EQ(CountRight(kLarge), kItemCount);
  // Nobody knows their expiry.
  clock_.Advance(std::chrono::hours(2));
  EXPECT_EQ(CountRight(kLarge), 0);
}

TEST_F(SalvageTest, LostEntriesComeBackAsTheyWere) {
  Open();
  Fill(kLarge);
  Run(SetCommand{
      .key = "key1000tagged", .value = MakeValue(1, kLarge), .tag = "red"});
  Run(SetCommand{.key = "key1000expiring",
                 .value = MakeValue(2, kLarge),
                 .ttl = std::chrono::minutes(5)});
  const std::uint64_t bytes = Stats().live_bytes;
  Close();
  DamageTablesAt("key10");
  OpenRepaired();
  EXPECT_EQ(CountRight(kLarge), kItemCount);
  EXPECT_EQ(Stats().count, kItemCount + 2U);
  EXPECT_EQ(Stats().live_bytes, bytes);
  EXPECT_EQ(Run(EvictTagCommand{.tag = "red"}).count, 1U);
  EXPECT_TRUE(IsLive("key1000expiring"));
  clock_.Advance(std::chrono::minutes(10));
  EXPECT_FALSE(IsLive("key1000expiring"));
  EXPECT_EQ(CountRight(kLarge), kItemCount);
}

TEST_F(SalvageTest, DeletedItemsStayDeleted) {
  Open();
  Fill(kLarge);
  for (int i = 0; i < kItemCount; i += 2) Run(DeleteCommand{.key = KeyOf(i)});
  Close();
  DamageTablesAt("key10");
  OpenRepaired();
  for (int i = 0; i < kItemCount; i += 2) EXPECT_FALSE(IsLive(KeyOf(i))) << i;
}

TEST_F(SalvageTest, SmallValuesAreFoundInTheDatabase) {
  Open({{"inline_value_max", "64"}, {"large_value_min", "64KiB"}});
  Fill(kLarge);
  Close();
  DamageTablesAt("key10");
  OpenRepaired();
  EXPECT_GE(CountRight(kLarge), kItemCount * 9 / 10);
}

TEST_F(SalvageTest, NoVersionIsGivenTwice) {
  Open();
  Fill(kLarge);
  const std::uint64_t before = Run(GetCommand{.key = KeyOf(9)}).info.version;
  Close();
  for (int round = 0; round < 3; ++round) {
    fs::remove_all(path_ / "db");
    if (round == 1) fs::remove_all(path_ / "log" / "1.seg");
    OpenRepaired();
    ASSERT_EQ(Set("new", MakeValue(round, kLarge)).ToString(), "kOk");
    EXPECT_GT(Run(GetCommand{.key = "new"}).info.version, before);
    Close();
  }
}

TEST_F(SalvageTest, ARepairThatWasCutOffIsNoObstacle) {
  Open();
  Fill(kLarge);
  Close();
  const auto expect_whole = [&] {
    Open();
    EXPECT_EQ(CountRight(kLarge), kItemCount);
    ExpectSound();
    Close();
    for (const char* name : {"db.new", "db.copy", "db.ready", "db.moving"}) {
      EXPECT_FALSE(fs::exists(path_ / name)) << name;
    }
  };
  fs::create_directories(path_ / "db.new" / "lost");
  fs::create_directories(path_ / "db.copy");
  expect_whole();
  // Whole, beside what is left of the old one.
  fs::copy(path_ / "db", path_ / "db.ready");
  fs::remove(path_ / "db" / "CURRENT");
  expect_whole();
  // Some of its files are in place.
  fs::create_directories(path_ / "db.moving");
  for (const char* name : {"CURRENT", "IDENTITY"}) {
    fs::rename(path_ / "db" / name, path_ / "db.moving" / name);
  }
  expect_whole();
}

// Nothing of the index is left; what the stream has written is its own.
TEST_F(SalvageTest, AStreamIsCommittedAfterARepairThatLostAll) {
  Open({{"durability", "none"}});
  Fill(50);
  const std::string value = MakeValue(7, 3 << 20);
  auto writer = engine_->OpenWriter(SetCommand{.key = "stream"}, 0);
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE((*writer)->Append(value.substr(0, 2 << 20)).ok());
  ASSERT_TRUE(engine_->Sync().ok());  // Writes the items to tables.
  for (const auto& file : fs::directory_iterator(path_ / "db")) {
    if (file.path().extension() != ".sst") continue;
    std::fstream bytes(file.path(),
                       std::ios::in | std::ios::out | std::ios::binary);
    bytes << std::string(file.file_size(), '\0');
  }
  const auto report = engine_->Check(/*repair=*/true);
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(Stats().count, 0U);
  ASSERT_TRUE((*writer)->Append(value.substr(2 << 20)).ok());
  EXPECT_EQ((*writer)->Commit().status.ToString(), "kOk");
  EXPECT_TRUE(Get("stream") == value);
  writer->reset();
  Close();
  Open();
  EXPECT_TRUE(Get("stream") == value);
  ExpectSound();
}

TEST_F(SalvageTest, ResetThrowsAllAway) {
  Open({{"size_limit", "64MiB"}});
  Fill(kLarge);
  const Status busy = ResetCache(path_);
  EXPECT_EQ(busy.code(), StatusCode::kSeatUnavailable) << busy.ToString();
  EXPECT_EQ(CountRight(kLarge), kItemCount);
  Close();
  fs::remove(path_ / "larder.format");
  EXPECT_EQ(ResetCache(path_).ToString(), "kOk");
  Open();
  EXPECT_EQ(Stats().count, 0U);
  EXPECT_EQ(engine_->CurrentSettings().size_limit, Settings().size_limit);
}

TEST_F(SalvageTest, ResetTouchesNothingElse) {
  fs::create_directories(path_ / "db");
  std::ofstream(path_ / "db" / "CURRENT") << "of somebody else";
  std::ofstream(path_ / "thesis.txt") << "years of work";
  EXPECT_EQ(ResetCache(path_).code(), StatusCode::kForeignDirectory);
  EXPECT_TRUE(fs::exists(path_ / "db" / "CURRENT"));
}

}  // namespace
}  // namespace larder
