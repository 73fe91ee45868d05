#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "larder/engine/settings.h"

#include "engine/segments/segment_log_fixture.h"
#include "engine/store_fixture.h"
#include "segments/segment_mapping.h"

// What docs/settings.md promises of verify_reads, with bits flipped in files
// that are mapped.

namespace larder {
namespace {

constexpr std::size_t kLarge = 100'000;

class VerifyReadsTest : public SegmentLogFixture {
 protected:
  Status ReadWith(VerifyReads verify, const StoredRecord& record) {
    const auto value =
        log_->Read(record.place, record.key, record.version, verify);
    return value ? Status::Ok() : value.error();
  }
  /// Flips a bit in the middle of the payload.
  void Damage(const StoredRecord& record) const {
    FlipBit(record.place.segment, record.place.offset + 64 + kPayloadAlignment +
                                      record.value.size() / 2);
  }
};

TEST_F(VerifyReadsTest, AlwaysNoticesAFlipUnderALiveMapping) {
  const StoredRecord record = Put(1, kLarge);
  ASSERT_TRUE(ReadWith(VerifyReads::kAlways, record).ok());
  Damage(record);
  EXPECT_EQ(ReadWith(VerifyReads::kAlways, record).code(),
            StatusCode::kCorruption);
}

TEST_F(VerifyReadsTest, AlwaysNoticesItAfterOnceHasReadTheValue) {
  const StoredRecord record = Put(1, kLarge);
  ASSERT_TRUE(ReadWith(VerifyReads::kOnce, record).ok());
  ASSERT_TRUE(ReadWith(VerifyReads::kOnce, record).ok());
  Damage(record);
  EXPECT_EQ(ReadWith(VerifyReads::kAlways, record).code(),
            StatusCode::kCorruption);
}

TEST_F(VerifyReadsTest, OnceNoticesAFlipBeforeTheFirstRead) {
  const StoredRecord record = Put(1, kLarge);
  const StoredRecord neighbour = Put(2, kLarge / 2);
  ASSERT_TRUE(ReadWith(VerifyReads::kOnce, neighbour).ok());
  Damage(record);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(ReadWith(VerifyReads::kOnce, record).code(),
              StatusCode::kCorruption);
  }
  EXPECT_TRUE(ReadWith(VerifyReads::kOnce, neighbour).ok());
}

TEST_F(VerifyReadsTest, OnceNoticesAFlipAfterOpeningAgain) {
  const StoredRecord record = Put(1, kLarge);
  ASSERT_TRUE(ReadWith(VerifyReads::kOnce, record).ok());
  Damage(record);
  Reopen();
  EXPECT_EQ(ReadWith(VerifyReads::kOnce, record).code(),
            StatusCode::kCorruption);
}

TEST_F(VerifyReadsTest, OnceIsAlwaysForSmallerValues) {
  const StoredRecord record = Put(1, kVerifyOnceBytesMin - 1);
  ASSERT_TRUE(ReadWith(VerifyReads::kOnce, record).ok());
  Damage(record);
  EXPECT_EQ(ReadWith(VerifyReads::kOnce, record).code(),
            StatusCode::kCorruption);
}

TEST_F(VerifyReadsTest, OnceChecksTheHeaderOnEveryRead) {
  const StoredRecord record = Put(1, kLarge);
  ASSERT_TRUE(ReadWith(VerifyReads::kOnce, record).ok());
  StoredRecord other = record;
  other.version = 2;
  EXPECT_EQ(ReadWith(VerifyReads::kOnce, other).code(),
            StatusCode::kCorruption);
  FlipBit(1, record.place.offset + 50);
  EXPECT_EQ(ReadWith(VerifyReads::kOnce, record).code(),
            StatusCode::kCorruption);
}

// Values of the smallest size that is remembered, one after another: none is
// taken for its neighbour.
TEST_F(VerifyReadsTest, EveryRecordIsRememberedByItself) {
  std::vector<StoredRecord> records;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    records.push_back(Put(seed, kVerifyOnceBytesMin));
  }
  for (std::size_t i = 0; i < records.size(); i += 2) {
    ASSERT_TRUE(ReadWith(VerifyReads::kOnce, records[i]).ok());
  }
  for (std::size_t i = 1; i < records.size(); i += 2) {
    Damage(records[i]);
    EXPECT_EQ(ReadWith(VerifyReads::kOnce, records[i]).code(),
              StatusCode::kCorruption);
  }
}

class VerifyReadsOfDevice : public VerifyReadsTest {
 protected:
  static constexpr std::size_t kBlock = 4096;
  static constexpr off_t kAt = 8 * kBlock;

  // The device gives back something else than it got: written past the page
  // cache, which forgets what it has of the file.
  void DamageOnDevice(const StoredRecord& record) {
    ASSERT_TRUE(log_->Sync().ok());
    ASSERT_TRUE(ReadWith(VerifyReads::kOnce, record).ok());
    const UniqueFd fd(
        ::open(FilePath(1).c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    if (!fd) GTEST_SKIP() << "no direct access to the device here";
    const std::unique_ptr<char, decltype(&std::free)> block(
        static_cast<char*>(std::aligned_alloc(kBlock, kBlock)), std::free);
    if (::pread(fd.get(), block.get(), kBlock, kAt) != ssize_t{kBlock}) {
      GTEST_SKIP() << "no direct access to the device here";
    }
    block.get()[100] ^= 1;
    ASSERT_EQ(::pwrite(fd.get(), block.get(), kBlock, kAt), ssize_t{kBlock});
    auto mapping = SegmentMapping::Map(fd.get(), kLarge,
                                       std::make_shared<SegmentCounters>());
    ASSERT_TRUE(mapping.has_value());
    mapping_ = std::move(*mapping);
    if (mapping_->IsResident(kAt, kBlock)) {
      GTEST_SKIP() << "this file system keeps the page";
    }
  }
  std::shared_ptr<SegmentMapping> mapping_;
};

TEST_F(VerifyReadsOfDevice, OnceComparesWhatComesFromIt) {
  const StoredRecord record = Put(1, kLarge);
  DamageOnDevice(record);
  if (IsSkipped()) return;
  EXPECT_EQ(ReadWith(VerifyReads::kOnce, record).code(),
            StatusCode::kCorruption);
}

TEST_F(VerifyReadsOfDevice, OnceComparesWhatCameAheadOfTheRead) {
  const StoredRecord record = Put(1, kLarge);
  DamageOnDevice(record);
  if (IsSkipped()) return;
  WantedRecord wanted[] = {{record.place, record.key.size()}};
  // What was in memory is not always asked about.
  std::size_t asked = 0;
  for (int i = 0; i < 1000 && asked == 0; ++i) asked = log_->ReadAhead(wanted);
  ASSERT_EQ(asked, 1U);
  [[maybe_unused]] const volatile char byte = mapping_->base()[kAt];  // Waits.
  ASSERT_TRUE(mapping_->IsResident(kAt, kBlock));
  EXPECT_EQ(ReadWith(VerifyReads::kOnce, record).code(),
            StatusCode::kCorruption);
}

class VerifyReadsOfStore : public testing::StoreFixture {
 protected:
  /// Flips a bit in the middle of every segment file.
  void DamageSegments() const {
    for (const auto& entry :
         std::filesystem::directory_iterator(path_ / "log")) {
      std::fstream file(entry.path(),
                        std::ios::in | std::ios::out | std::ios::binary);
      const auto at = static_cast<std::streamoff>(entry.file_size() / 2);
      file.seekg(at);
      const char byte = static_cast<char>(file.get() ^ 4);
      file.seekp(at);
      file.put(byte);
      ASSERT_TRUE(file.good());
    }
  }
};

TEST_F(VerifyReadsOfStore, DamageIsAMissThatIsCountedAsSoonAsItIsSetToAlways) {
  Open();
  const std::string value = testing::MakeValue(1, kLarge);
  ASSERT_TRUE(Set("key", value).ok());
  ASSERT_EQ(Get("key"), value);
  ASSERT_EQ(Get("key"), value);
  DamageSegments();
  ASSERT_TRUE(engine_->Reset("verify_reads", "always").ok());
  EXPECT_EQ(Get("key"), std::nullopt);
  EXPECT_FALSE(IsLive("key"));
  EXPECT_EQ(Stats().corruptions, 1U);
}

TEST_F(VerifyReadsOfStore, DamageIsAMissAfterOpeningAgain) {
  Open({{"verify_reads", "once"}});
  const std::string value = testing::MakeValue(1, kLarge);
  ASSERT_TRUE(Set("key", value).ok());
  ASSERT_EQ(Get("key"), value);
  DamageSegments();
  ASSERT_NO_FATAL_FAILURE(Reopen());
  EXPECT_EQ(Get("key"), std::nullopt);
  EXPECT_EQ(Stats().corruptions, 1U);
}

TEST_F(VerifyReadsOfStore, CheckComparesWhateverTheSetting) {
  Open({{"verify_reads", "once"}});
  const std::string value = testing::MakeValue(1, kLarge);
  ASSERT_TRUE(Set("key", value).ok());
  ASSERT_EQ(Get("key"), value);
  DamageSegments();
  const auto report = engine_->Check(false);
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->values_damaged, 1U);
}

}  // namespace
}  // namespace larder
