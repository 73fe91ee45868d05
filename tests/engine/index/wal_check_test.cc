// The logs are written here as RocksDB writes them, and then as it never does.

#include "index/wal_check.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <rocksdb/file_system.h>

#include "larder/engine/engine.h"

#include "base/coding.h"
#include "forked_process.h"
#include "index/manifest_check.h"
#include "index/wal_reader.h"
#include "index/wal_writer.h"
#include "temporary_directory.h"
#include "wal_records.h"

namespace larder::testing {
namespace {

// A batch of `count` sets in a family, of values of `value_size` bytes.
std::string Batch(std::uint64_t first, std::uint32_t count,
                  std::size_t value_size = 3) {
  std::string batch;
  PutFixed(batch, first);
  PutFixed(batch, count);
  for (std::uint32_t i = 0; i < count; ++i) {
    batch += '\x05';
    PutVarint(batch, 2);
    PutVarint(batch, 1);
    batch += 'k';
    PutVarint(batch, value_size);
    batch.append(value_size, 'v');
  }
  return batch;
}

class WalCheckTest : public ::testing::Test {
 protected:
  void Write(int number, const std::string& log) const {
    std::ofstream file(directory_.path() / (std::to_string(number) + ".log"),
                       std::ios::binary);
    file << log;
  }
  Result<WalFindings> Find(std::uint64_t flushed = 0) const {
    return CheckWriteAheadLogs(*rocksdb::FileSystem::Default(),
                               directory_.path(), flushed);
  }
  std::string Check() const {
    const auto found = Find();
    return found ? "kOk" : found.error().ToString();
  }
  // The records that a salvage takes from the logs.
  std::vector<std::string> Salvaged() const {
    const std::filesystem::path to = directory_.path() / "to";
    std::filesystem::create_directories(to);
    EXPECT_EQ(
        CopyReadableLogs(*rocksdb::FileSystem::Default(), directory_.path(), to)
            .ToString(),
        "kOk");
    std::vector<std::string> records = ReadWalRecords(to / "8.log");
    for (std::string& more : ReadWalRecords(to / "9.log")) {
      records.push_back(std::move(more));
    }
    return records;
  }
  static std::string Log(const std::vector<std::string>& records) {
    return WriteWalRecords(records);
  }
  void ExpectWrong(std::string_view what) const {
    const std::string answer = Check();
    EXPECT_EQ(answer.substr(0, 11), "kCorruption");
    EXPECT_NE(answer.find(what), std::string::npos) << answer;
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
};

TEST_F(WalCheckTest, NumbersGrowAndMayBeLeftOut) {
  EXPECT_EQ(Check(), "kOk");
  Write(8, Log({Batch(1, 3), Batch(4, 0), Batch(4, 1), Batch(9, 2)}));
  Write(11, Log({Batch(11, 1, 100'000), Batch(12, 2, 40'000), Batch(14, 1)}));
  Write(12, "");
  EXPECT_EQ(Check(), "kOk");
}

TEST_F(WalCheckTest, ANumberTwiceIsRefused) {
  Write(8, Log({Batch(1, 3), Batch(3, 1)}));
  ExpectWrong("8.log, record at 43: sequence number 3 again, after 3");
}

TEST_F(WalCheckTest, ALogMayNotBeginBeforeTheLastOneEnds) {
  Write(8, Log({Batch(1, 3)}));
  Write(11, Log({Batch(2, 1)}));
  ExpectWrong("11.log, record at 0: sequence number 2 again");
}

TEST_F(WalCheckTest, ARecordIsABatchOfAsManyChangesAsItSays) {
  std::string batch = Batch(1, 2);
  batch[8] = 3;
  Write(8, Log({batch}));
  ExpectWrong("3 changes announced, 2 found");
  Write(8, Log({Batch(1, 2) + "\x09"}));  // Of a transaction.
  ExpectWrong("not a batch of changes");
  Write(8, Log({Batch((std::uint64_t{1} << 56) - 1, 2)}));
  ExpectWrong("too large");
}

// A crash may leave any of it.
TEST_F(WalCheckTest, WhatRocksDbCutsOffIsLeftToIt) {
  const std::string twice = Log({Batch(5, 1), Batch(1, 1)});
  std::string flipped = twice;
  flipped[Log({Batch(5, 1)}).size() + 12] ^= 1;
  Write(8, flipped);
  EXPECT_EQ(Check(), "kOk");
  Write(8, Log({Batch(5, 1)}) + std::string(kWalBlockSize, '\0'));
  EXPECT_EQ(Check(), "kOk");
  for (std::size_t size = 0; size < twice.size(); ++size) {
    Write(8, twice.substr(0, size));
    ASSERT_EQ(Check(), "kOk") << size;
  }
}

// What was behind the damage is gone, and its numbers are used again.
TEST_F(WalCheckTest, TheNextLogGoesOnWhereReplayStopped) {
  std::string damaged = Log({Batch(1, 3), Batch(4, 9)});
  damaged[60] ^= 1;
  Write(8, damaged);
  Write(9, Log({Batch(4, 1), Batch(5, 1)}));
  EXPECT_EQ(Check(), "kOk");
  Write(9, Log({Batch(4, 2), Batch(5, 1)}));
  ExpectWrong("9.log, record at");
}

TEST_F(WalCheckTest, MissingNumbersAreNoted) {
  Write(8, Log({Batch(7, 3), Batch(10, 1)}));
  Write(9, Log({Batch(11, 1), Batch(12, 0), Batch(12, 1)}));
  EXPECT_FALSE(Find(6)->gap);
  EXPECT_FALSE(Find(30)->gap);  // Tables may have more than a log.
  EXPECT_TRUE(Find(5)->gap);
  Write(9, Log({Batch(12, 1)}));
  EXPECT_TRUE(Find(6)->gap);
  Write(8, Log({Batch(7, 3), Batch(11, 1)}));
  EXPECT_TRUE(Find(6)->gap);
}

TEST_F(WalCheckTest, DamageWithMoreBehindItIsNoTornEnd) {
  const std::string whole = Log({Batch(1, 3), Batch(4, 1), Batch(5, 1)});
  const std::size_t second = Log({Batch(1, 3)}).size();
  EXPECT_EQ(Find()->cut, "");
  Write(8, whole.substr(0, second + 9));
  EXPECT_EQ(Find()->cut, "");
  std::string damaged = whole;
  damaged[second + 9] ^= 1;
  Write(8, damaged);
  EXPECT_EQ(Find()->cut, (directory_.path() / "8.log at ").string() +
                             std::to_string(second));
}

TEST_F(WalCheckTest, ASalvageReadsOnBehindDamage) {
  const std::vector<std::string> records = {
      Batch(1, 3), Batch(4, 1), Batch(5, 1), Batch(6, 1, 40'000), Batch(7, 1)};
  std::string log = Log(records);
  log[Log({records[0]}).size() + 9] ^= 1;
  Write(8, log);
  Write(9, Log({Batch(8, 2)}));
  EXPECT_EQ(Salvaged(),
            (std::vector<std::string>{records[0], records[2], records[3],
                                      records[4], Batch(8, 2)}));
  // The size of a fragment is damaged: all of its block is lost.
  log[Log({records[0]}).size() + 5] ^= 1;
  Write(8, log);
  EXPECT_EQ(Salvaged(),
            (std::vector<std::string>{records[0], records[4], Batch(8, 2)}));
}

TEST_F(WalCheckTest, ASalvageLeavesOutWhatIsOutOfOrder) {
  Write(8, Log({Batch(1, 3), Batch(9, 1), Batch(4, 1), Batch(4, 1),
                Batch(5, 4) + "?", Batch(5, 1), Batch(2, 2)}));
  Write(9, Log({Batch(6, 3), Batch(9, 1)}));
  EXPECT_EQ(Salvaged(),
            (std::vector<std::string>{Batch(1, 3), Batch(4, 1), Batch(5, 1),
                                      Batch(6, 3), Batch(9, 1)}));
}

class ManifestCheckTest : public WalCheckTest {
 protected:
  static std::string Edit(std::uint64_t last_sequence) {
    std::string record("\x02\x05\x03\x09\x04", 5);  // Two more numbers first.
    PutVarint(record, last_sequence);
    return record + "\x67 tables";
  }
  std::string CheckIt(const std::string& manifest, ManifestMark mark = {}) {
    std::ofstream(directory_.path() / "CURRENT") << "MANIFEST-000007\n";
    std::ofstream(directory_.path() / "MANIFEST-000007") << manifest;
    const auto checked =
        CheckManifest(*rocksdb::FileSystem::Default(), directory_.path(), mark);
    return checked ? std::to_string(checked->value_or(0))
                   : checked.error().message();
  }
};

TEST_F(ManifestCheckTest, TheLastNumberNeverFalls) {
  EXPECT_EQ(CheckIt(Log({Edit(0), Edit(300), "", Edit(300), Edit(1000)})),
            "1000");
  EXPECT_NE(CheckIt(Log({Edit(300), Edit(299)})).find("299, after 300"),
            std::string::npos);
}

TEST_F(ManifestCheckTest, OneThatWasLongerIsCut) {
  const std::string whole = Log({Edit(1), Edit(2)});
  const std::string cut = Log({Edit(1)});
  EXPECT_EQ(CheckIt(cut), "1");  // Nobody knows.
  EXPECT_EQ(CheckIt(cut, {.number = 7, .size = cut.size()}), "1");
  EXPECT_EQ(CheckIt(whole, {.number = 7, .size = cut.size()}), "2");
  EXPECT_EQ(CheckIt(cut, {.number = 6, .size = whole.size()}), "1");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(
        CheckIt(whole.substr(0, size), {.number = 7, .size = whole.size()})
            .find("has had " + std::to_string(whole.size())),
        std::string::npos)
        << size;
  }
}

// RocksDB takes that for what a crash leaves.
TEST_F(ManifestCheckTest, ARecordOfAWrongSizeIsNoEnd) {
  std::string damaged = Log({Edit(1), Edit(2), Edit(3)});
  const std::size_t second = Log({Edit(1)}).size();
  damaged[second + 5] = '\x70';
  EXPECT_NE(CheckIt(damaged).find("damaged at " + std::to_string(second)),
            std::string::npos);
  damaged.resize(second + 12);
  EXPECT_EQ(CheckIt(damaged), "1");
}

// The real thing ------------------------------------------------------------

// The log that a killed process left.
class KilledWriterTest : public ::testing::Test {
 protected:
  static constexpr int kSets = 100;

  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
    ForkedProcess writer([this](const ForkedProcess::Pipe& pipe) -> int {
      const auto engine = std::move(*Open());
      for (int i = 0; i < 2 * kSets; ++i) {
        // Half of what is written over: no row is ever less than nothing.
        const int keys = i < kSets || !overwrites_ ? kSets : kSets / 2;
        const std::string key = std::to_string(i % keys);
        const Command command = i < kSets || overwrites_
                                    ? Command(SetCommand{key, "v"})
                                    : Command(DeleteCommand{.key = key});
        Reply reply;
        if (!engine->Execute({&command, 1}, {&reply, 1}).ok()) return 1;
      }
      pipe.Send(1);
      for (;;) ::pause();
    });
    ASSERT_EQ(writer.Receive(), 1U);
    writer.Kill(SIGKILL);
    writer.Wait();
  }
  // Writes the log again, each record as often as `copies` says.
  void RewriteLog(
      const std::function<int(std::size_t index, std::size_t count)>& copies) {
    std::filesystem::path last;
    for (const auto& file :
         std::filesystem::directory_iterator(cache_ / "db")) {
      if (file.path().extension() == ".log") last = std::max(last, file.path());
    }
    const std::vector<std::string> records = ReadWalRecords(last);
    std::string log;
    for (std::size_t i = 0; i < records.size(); ++i) {
      for (int n = copies(i, records.size()); n > 0; --n) {
        AppendWalRecord(log, records[i]);
      }
    }
    std::ofstream(last, std::ios::binary) << log;
  }
  Result<std::unique_ptr<Engine>> Open(EngineOptions options = {}) const {
    options.region_directory = directory_.path();
    return OpenEngine(cache_, std::move(options));
  }

  bool overwrites_ = false;  // Instead of deleting.
  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const std::filesystem::path cache_ = directory_.path() / "cache";
};

class KilledOverwriterTest : public KilledWriterTest {
 protected:
  KilledOverwriterTest() { overwrites_ = true; }
};

constexpr auto kLastTwice = [](std::size_t index, std::size_t count) {
  return index + 1 == count ? 2 : 1;
};

TEST_F(KilledWriterTest, EveryOpenSaysThatARecordIsThereTwice) {
  RewriteLog(kLastTwice);
  for (const OpenMode mode : {OpenMode::kExisting, OpenMode::kReadOnly}) {
    const auto opened = Open({.mode = mode});
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().code(), StatusCode::kCorruption);
    EXPECT_NE(opened.error().message().find("again"), std::string::npos)
        << opened.error().ToString();
  }
}

TEST_F(KilledWriterTest, ACacheThatMayBeResetOpens) {
  RewriteLog(kLastTwice);
  const auto opened = Open({.when_damaged = WhenDamaged::kReset});
  ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
  EXPECT_EQ((*opened)->Count().value(), 0U);
}

// Items were counted out that never were counted in.
TEST_F(KilledWriterTest, WhatLacksARecordIsCountedAnew) {
  RewriteLog([](std::size_t index, std::size_t count) {
    return index > count / 4 && index < count / 3 ? 0 : 1;
  });
  const auto opened = Open();
  ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
  EXPECT_EQ((*opened)->Count().value(), 0U);
  EXPECT_TRUE((*opened)->Check(false).value().ok());
}

// No row is less than nothing, but less than there is.
TEST_F(KilledOverwriterTest, WhatLacksARecordIsCountedAnew) {
  RewriteLog([](std::size_t index, std::size_t count) {
    return index > count / 8 && index < count / 6 ? 0 : 1;
  });
  const auto opened = Open();
  ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
  EXPECT_EQ((*opened)->Count().value(), static_cast<std::uint64_t>(kSets));
  EXPECT_TRUE((*opened)->Check(false).value().ok());
}

// Who counts anew after each death would be slow to take over.
TEST_F(KilledOverwriterTest, AWholeLogIsNotCountedAnew) {
  std::string told;
  const auto opened =
      Open({.log = [&](std::string_view line) { told += line; }});
  ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
  EXPECT_EQ(told.find("anew"), std::string::npos) << told;
}

}  // namespace
}  // namespace larder::testing
