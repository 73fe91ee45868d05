// Files that somebody else cuts under a reader: with read_mode pread, and
// wherever a file is not this user's alone, that is damage and not a signal.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/segments/segment_log_fixture.h"
#include "engine/store_fixture.h"
#include "segments/segment_file.h"
#include "segments/segment_format.h"

namespace larder {
namespace {

constexpr std::size_t kLarge = 100'000;

class ReadModeTest : public SegmentLogFixture {
 protected:
  void SetUp() override {
    options_.read_mode = ReadMode::kPread;
    Reopen();
  }
  void Cut(std::uint32_t id, std::uint64_t size) const {
    ASSERT_EQ(::truncate(FilePath(id).c_str(), static_cast<off_t>(size)), 0);
  }
};

TEST_F(ReadModeTest, PreadReadsWhatWasWritten) {
  const StoredRecord large = Put(1, kLarge);
  const StoredRecord small = Put(2, 600);
  ExpectReadable(large);
  ExpectReadable(small);
  ASSERT_NO_FATAL_FAILURE(Reopen());
  ExpectReadable(large);
  ExpectReadable(small);
}

TEST_F(ReadModeTest, PreadTakesACutFileForDamage) {
  const StoredRecord record = Put(1, kLarge);
  ExpectReadable(record);
  ASSERT_NO_FATAL_FAILURE(Cut(record.place.segment, 4096));
  ExpectFails(record, StatusCode::kCorruption);
}

TEST_F(ReadModeTest, PreadKeepsTheBytesOfAHandle) {
  const StoredRecord record = Put(1, kLarge);
  const auto value = Get(record);
  ASSERT_TRUE(value.has_value());
  ASSERT_NO_FATAL_FAILURE(Cut(record.place.segment, 0));
  EXPECT_TRUE(value->bytes() == record.value);
}

TEST_F(ReadModeTest, PreadComparesTheChecksumEachTime) {
  const StoredRecord record = Put(1, kLarge);
  ASSERT_TRUE(
      log_->Read(record.place, record.key, record.version, VerifyReads::kOnce));
  FlipBit(record.place.segment, record.place.offset + kLarge / 2);
  const auto value =
      log_->Read(record.place, record.key, record.version, VerifyReads::kOnce);
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().code(), StatusCode::kCorruption);
}

TEST_F(ReadModeTest, PreadAlignsAsAMappingDoes) {
  const StoredRecord record = Put(1, kLarge);
  const auto value = Get(record);
  ASSERT_TRUE(value.has_value());
  const auto address = reinterpret_cast<std::uintptr_t>(value->bytes().data());
  EXPECT_EQ(address % kSegmentAlignment,
            PayloadStart(record.key.size()) % kSegmentAlignment);
}

TEST_F(ReadModeTest, PreadRefusesALengthThatNoFileHas) {
  StoredRecord record = Put(1, kLarge);
  record.place.payload_size = UINT32_MAX;
  ExpectFails(record, StatusCode::kCorruption);
}

TEST_F(ReadModeTest, PreadReadsWhatASnapshotHolds) {
  const StoredRecord record = Put(1, kLarge);
  ASSERT_TRUE(log_->SealOpen().ok());
  auto snapshot = log_->Snapshot();
  ASSERT_TRUE(log_->Remove(record.place.segment, SegmentBlocks::kFree).ok());
  ExpectReadable(record);
  EXPECT_GT(log_->unlinked_bytes(), 0U);
  snapshot.reset();
  EXPECT_EQ(log_->unlinked_bytes(), 0U);
  ExpectFails(record, StatusCode::kNotFound);
}

TEST_F(ReadModeTest, AChangeLetsMappingsGo) {
  log_->SetReadMode(ReadMode::kMap);
  const StoredRecord record = Put(1, kLarge);
  ExpectReadable(record);
  log_->SetReadMode(ReadMode::kPread);
  ASSERT_NO_FATAL_FAILURE(Cut(record.place.segment, 4096));
  ExpectFails(record, StatusCode::kCorruption);
}

TEST_F(ReadModeTest, AChangeKeepsWhatASnapshotHoldsMapped) {
  log_->SetReadMode(ReadMode::kMap);
  const StoredRecord record = Put(1, kLarge);
  ASSERT_TRUE(log_->SealOpen().ok());
  const auto snapshot = log_->Snapshot();
  ASSERT_TRUE(log_->Remove(record.place.segment, SegmentBlocks::kFree).ok());
  log_->SetReadMode(ReadMode::kPread);
  ExpectReadable(record);
}

// Without the setting.
class SharedSegment : public SegmentLogFixture {
 protected:
  // The file is cut between two reads.
  void SurvivesACut(const StoredRecord& record) {
    ExpectReadable(record);
    ASSERT_EQ(::truncate(FilePath(record.place.segment).c_str(), 4096), 0);
    ExpectFails(record, StatusCode::kCorruption);
  }
};

TEST_F(SharedSegment, WithTwoNamesIsNotMapped) {
  const StoredRecord record = Put(1, kLarge);
  std::filesystem::create_hard_link(FilePath(record.place.segment),
                                    directory_.path() / "other");
  SurvivesACut(record);
}

TEST_F(SharedSegment, ThatOthersMayWriteIsNotMapped) {
  const StoredRecord record = Put(1, kLarge);
  ASSERT_EQ(::chmod(FilePath(record.place.segment).c_str(), 0620), 0);
  SurvivesACut(record);
}

TEST_F(SharedSegment, OfAnotherUserIsNotMapped) {
  const StoredRecord record = Put(1, kLarge);
  if (::chown(FilePath(record.place.segment).c_str(), 65534, 65534) != 0) {
    GTEST_SKIP() << "may not give a file away";
  }
  SurvivesACut(record);
}

class ReadModeOfStore : public testing::StoreFixture {
 protected:
  void CutSegments() const {
    for (const auto& entry :
         std::filesystem::directory_iterator(path_ / "log")) {
      std::filesystem::resize_file(entry.path(), 4096);
    }
  }
};

TEST_F(ReadModeOfStore, ACutFileIsAMissThatIsCounted) {
  Open({{"read_mode", "pread"}});
  const std::string value = testing::MakeValue(1, kLarge);
  ASSERT_TRUE(Set("key", value).ok());
  ASSERT_EQ(Get("key"), value);
  CutSegments();
  EXPECT_EQ(Get("key"), std::nullopt);
  EXPECT_FALSE(IsLive("key"));
  EXPECT_EQ(Stats().corruptions, 1U);
}

TEST_F(ReadModeOfStore, AChangeWorksAtOnce) {
  Open();
  const std::string value = testing::MakeValue(1, kLarge);
  ASSERT_TRUE(Set("key", value).ok());
  ASSERT_EQ(Get("key"), value);
  ASSERT_TRUE(engine_->Reset("read_mode", "pread").ok());
  CutSegments();
  EXPECT_EQ(Get("key"), std::nullopt);
}

TEST_F(ReadModeOfStore, StreamsEndWithAnErrorWhenTheFileIsCut) {
  Open({{"read_mode", "pread"}});
  const std::string value = testing::MakeValue(1, 3 << 20);
  ASSERT_TRUE(Set("key", value).ok());
  auto reader = engine_->OpenReader("key");
  ASSERT_TRUE(reader.has_value() && *reader != nullptr);
  CutSegments();
  std::string buffer(value.size(), '\0');
  const auto read = (*reader)->Read(buffer);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code(), StatusCode::kCorruption);
}

TEST_F(ReadModeOfStore, CleaningAndCheckOutliveACut) {
  Open({{"read_mode", "pread"}, {"size_limit", "16MiB"}});
  for (int i = 0; i < 400; ++i) {
    const std::string value = testing::MakeValue(i, kLarge);
    ASSERT_TRUE(Set("key" + std::to_string(i % 100), value).ok());
    if (i % 50 == 49) CutSegments();
    Get("key" + std::to_string(i / 3));
  }
  ASSERT_TRUE(engine_->Check(true).has_value());
  ExpectSound();
}

}  // namespace
}  // namespace larder
