// The logs are written here as RocksDB writes them, and then as it never does.

#include "wal_check.h"

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

#include "coding.h"
#include "forked_process.h"
#include "manifest_check.h"
#include "temporary_directory.h"
#include "wal_reader.h"

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

void AppendFragment(std::string& log, WalFragment type,
                    std::string_view bytes) {
  std::string typed(1, static_cast<char>(type));
  typed += bytes;
  PutFixed(log, WalChecksum(typed));
  PutFixed(log, static_cast<std::uint16_t>(bytes.size()));
  log += typed;
}

void AppendRecord(std::string& log, std::string_view record) {
  bool first = true;
  do {
    const std::size_t rest = kWalBlockSize - log.size() % kWalBlockSize;
    if (rest < kWalHeadSize) {
      log.append(rest, '\0');
      continue;
    }
    const std::string_view part = record.substr(0, rest - kWalHeadSize);
    record.remove_prefix(part.size());
    AppendFragment(log,
                   record.empty()
                       ? (first ? WalFragment::kFull : WalFragment::kLast)
                       : (first ? WalFragment::kFirst : WalFragment::kMiddle),
                   part);
    first = false;
  } while (!record.empty());
}

class WalCheckTest : public ::testing::Test {
 protected:
  void Write(int number, const std::string& log) const {
    std::ofstream file(directory_.path() / (std::to_string(number) + ".log"),
                       std::ios::binary);
    file << log;
  }
  std::string Check() const {
    return CheckWriteAheadLogs(*rocksdb::FileSystem::Default(),
                               directory_.path())
        .ToString();
  }
  static std::string Log(const std::vector<std::string>& records) {
    std::string log;
    for (const std::string& record : records) AppendRecord(log, record);
    return log;
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

TEST_F(WalCheckTest, TheLastNumberOfAManifestNeverFalls) {
  const auto edit = [](std::uint64_t last_sequence) {
    std::string record("\x02\x05\x03\x09\x04", 5);  // Two more numbers first.
    PutVarint(record, last_sequence);
    return record + "\x67 tables";
  };
  const auto check = [&](const std::vector<std::string>& records) {
    std::ofstream(directory_.path() / "CURRENT") << "MANIFEST-000007\n";
    std::ofstream(directory_.path() / "MANIFEST-000007") << Log(records);
    return CheckManifest(*rocksdb::FileSystem::Default(), directory_.path())
        .ToString();
  };
  EXPECT_EQ(check({edit(0), edit(300), "", edit(300), edit(1000)}), "kOk");
  EXPECT_NE(check({edit(300), edit(299)}).find("299, after 300"),
            std::string::npos);
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
        const std::string key = std::to_string(i % kSets);
        const Command command = i < kSets ? Command(SetCommand{key, "v"})
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
    std::unique_ptr<rocksdb::FSSequentialFile> file;
    ASSERT_TRUE(rocksdb::FileSystem::Default()
                    ->NewSequentialFile(last, {}, &file, nullptr)
                    .ok());
    WalReader reader(std::move(file), WalReader::Checksums::kVerified);
    std::vector<std::string> records;
    while (const auto record = reader.Next()) records.emplace_back(*record);
    std::string log;
    for (std::size_t i = 0; i < records.size(); ++i) {
      for (int n = copies(i, records.size()); n > 0; --n) {
        AppendRecord(log, records[i]);
      }
    }
    std::ofstream(last, std::ios::binary) << log;
  }
  Result<std::unique_ptr<Engine>> Open(EngineOptions options = {}) const {
    options.region_directory = directory_.path();
    return OpenEngine(cache_, std::move(options));
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const std::filesystem::path cache_ = directory_.path() / "cache";
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

}  // namespace
}  // namespace larder::testing
