#include <atomic>
#include <cerrno>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/segments/segment_log_fixture.h"
#include "os/segment_io.h"
#include "segments/segment_log.h"

namespace larder {
namespace {

namespace fs = std::filesystem;

// The system's calls, some of which fail when told to.
class FaultyIo final : public SegmentIo {
 public:
  int Open(const char* path, int flags, mode_t mode) noexcept override {
    if ((flags & O_CREAT) != 0 && create_error != 0) {
      errno = create_error;
      return -1;
    }
    if (open_error != 0) {
      errno = open_error;
      return -1;
    }
    return SegmentIo::Open(path, flags, mode);
  }
  ssize_t WriteAt(int fd, const iovec* pieces, int count,
                  off_t offset) noexcept override {
    ++writes;
    if (interruptions > 0) {
      --interruptions;
      errno = EINTR;
      return -1;
    }
    if (room == 0) {
      errno = write_error;
      return -1;
    }
    // One byte of one piece, or as much as there is room for.
    if (short_writes || room < SIZE_MAX) {
      while (pieces->iov_len == 0) {
        ++pieces;
      }
      const iovec part{pieces->iov_base,
                       std::min({pieces->iov_len, room,
                                 short_writes ? std::size_t{777} : SIZE_MAX})};
      const ssize_t done = SegmentIo::WriteAt(fd, &part, 1, offset);
      if (room < SIZE_MAX && done > 0) {
        room -= static_cast<std::size_t>(done);
      }
      return done;
    }
    return SegmentIo::WriteAt(fd, pieces, count, offset);
  }
  ssize_t ReadAt(int fd, void* buffer, std::size_t size,
                 off_t offset) noexcept override {
    if (read_error != 0) {
      errno = read_error;
      return -1;
    }
    // What lies before a bad sector is read.
    if (offset >= bad_begin && offset < bad_end) {
      errno = EIO;
      return -1;
    }
    if (offset < bad_begin && offset + static_cast<off_t>(size) > bad_begin) {
      size = static_cast<std::size_t>(bad_begin - offset);
    }
    return SegmentIo::ReadAt(
        fd, buffer, short_writes ? std::min<std::size_t>(size, 777) : size,
        offset);
  }
  int SyncFile(int fd) noexcept override {
    ++file_syncs;
    if (sync_error != 0) {
      errno = sync_error;
      return -1;
    }
    return SegmentIo::SyncFile(fd);
  }
  int SyncDirectory(int fd) noexcept override {
    ++directory_syncs;
    return SegmentIo::SyncDirectory(fd);
  }
  int Truncate(int fd, off_t size) noexcept override {
    if (truncate_error != 0) {
      errno = truncate_error;
      return -1;
    }
    if (keep_blocks) return 0;
    return SegmentIo::Truncate(fd, size);
  }
  int Rename(const char* from, const char* to) noexcept override {
    if (rename_error != 0) {
      errno = rename_error;
      return -1;
    }
    return SegmentIo::Rename(from, to);
  }
  int Unlink(const char* path) noexcept override {
    if (unlink_error != 0) {
      errno = unlink_error;
      return -1;
    }
    return SegmentIo::Unlink(path);
  }

  std::size_t room = SIZE_MAX;  // Bytes until write_error.
  int write_error = ENOSPC;
  int create_error = 0;
  int open_error = 0;
  int read_error = 0;
  off_t bad_begin = 0;  // Of every file.
  off_t bad_end = 0;
  int sync_error = 0;
  int unlink_error = 0;
  int truncate_error = 0;
  bool keep_blocks = false;  // Truncate does nothing.
  int rename_error = 0;
  int interruptions = 0;
  bool short_writes = false;
  std::atomic<int> writes{0};
  int file_syncs = 0;
  int directory_syncs = 0;
};

class SegmentLogFaultTest : public SegmentLogFixture {
 protected:
  void SetUp() override {
    options_.io = &io_;
    options_.log = [this](std::string_view line) { lines_.emplace_back(line); };
    SegmentLogFixture::SetUp();
  }
  void TearDown() override { log_.reset(); }

  /// The keys of all records of a segment that can be read.
  std::vector<std::string> KeysIn(std::uint32_t id, std::uint64_t& damaged) {
    std::vector<std::string> keys;
    const auto visit = [&](const SegmentPlace&, const SegmentRecord& record) {
      keys.emplace_back(record.key);
      return true;
    };
    EXPECT_TRUE(log_->ForEachRecord(id, visit, &damaged).ok());
    return keys;
  }
  /// Tries to write a record and returns why it failed.
  Status PutFails(std::uint64_t seed, std::size_t size) {
    StoredRecord record{"key-" + std::to_string(seed),
                        testing::MakeValue(seed, size),
                        seed,
                        {}};
    auto grant = log_->Reserve(record.key.size(), size);
    if (!grant) {
      return grant.error();
    }
    const auto place = WriteTo(*log_, *grant, record);
    EXPECT_FALSE(place.has_value());
    return place ? Status::Ok() : place.error();
  }

  /// Writes records of 5,000 bytes with one call.
  Status PutAll(std::vector<StoredRecord>& records, std::uint64_t count) {
    std::vector<SegmentGrant> grants;
    std::vector<SegmentRecord> contents;
    for (std::uint64_t seed = 1; seed <= count; ++seed) {
      records.push_back({"key-" + std::to_string(seed),
                         testing::MakeValue(seed, 5000),
                         seed,
                         {}});
    }
    for (const StoredRecord& record : records) {
      auto grant = log_->Reserve(record.key.size(), record.value.size(),
                                 LogStream::kMoved);
      if (!grant) return grant.error();
      grants.push_back(std::move(*grant));
      contents.push_back({record.key, record.value, record.version,
                          record.value.size(), 0, 7});
    }
    std::vector<SegmentPlace> places(count);
    const Status status = log_->WriteAll(grants, contents, places);
    for (std::size_t i = 0; i < count; ++i) records[i].place = places[i];
    return status;
  }

  FaultyIo io_;
  std::vector<std::string> lines_;
};

// Several records at once ----------------------------------------------------

TEST_F(SegmentLogFaultTest, RecordsInARowAreOneWrite) {
  std::vector<StoredRecord> records;
  ASSERT_EQ(PutAll(records, 20).ToString(), "kOk");
  EXPECT_EQ(io_.writes, 1);
  for (const StoredRecord& record : records) ExpectReadable(record);
}

TEST_F(SegmentLogFaultTest, RecordsInARowGoOnInTheNextSegment) {
  io_.short_writes = true;
  std::vector<StoredRecord> records;
  ASSERT_EQ(PutAll(records, 60).ToString(), "kOk");
  EXPECT_NE(records.front().place.segment, records.back().place.segment);
  for (const StoredRecord& record : records) ExpectReadable(record);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  Reopen();
  for (const StoredRecord& record : records) ExpectReadable(record);
  EXPECT_TRUE(lines_.empty());  // Sealed with the right number of records.
}

TEST_F(SegmentLogFaultTest, RecordsThatFailAtOnceAreAGap) {
  io_.room = 12'000;
  std::vector<StoredRecord> records;
  EXPECT_EQ(PutAll(records, 4).code(), StatusCode::kNoSpace);
  io_.room = SIZE_MAX;
  const StoredRecord next = Put(9, 3000);
  ExpectReadable(next);
  Reopen();
  ExpectReadable(next);
}

// Truncation ---------------------------------------------------------------

// At every length of a torn file: whole records are read, others are not, and
// new ones go to a new file.
TEST_F(SegmentLogFaultTest, TornTailIsCutAfterTheLastWholeRecord) {
  for (const std::uint64_t cut : {0, 1, 63, 64, 65, 100, 3000, 3071, 3072, 3073,
                                  3135, 3136, 3300, 8100, 8191, 8192}) {
    SCOPED_TRACE(cut);
    log_.reset();
    fs::remove_all(path());
    Reopen();
    const StoredRecord first = Put(1, 3000);   // [0, 3072)
    const StoredRecord second = Put(2, 5000);  // [3072, 8192)
    ASSERT_EQ(second.place.offset, 3072U);
    // Without its footer, as a killed process leaves it.
    log_.reset();
    fs::resize_file(FilePath(1), cut);
    Reopen();
    if (cut >= 3072) {
      ExpectReadable(first);
      EXPECT_EQ(fs::file_size(FilePath(1)),
                (cut >= 8192 ? 8192U : 3072U) + kSegmentFooterSize);
    } else {
      ExpectFails(first, StatusCode::kNotFound);
      EXPECT_FALSE(fs::exists(FilePath(1)));
    }
    if (cut >= 8192) {
      ExpectReadable(second);
    } else {
      EXPECT_FALSE(Get(second).has_value());
    }
    EXPECT_FALSE(lines_.empty());
    ExpectReadable(Put(3, 100));
    EXPECT_EQ(log_->disk_bytes(), DuBytes());
    lines_.clear();
  }
}

TEST_F(SegmentLogFaultTest, SecondOpenAfterACutFindsASealedFile) {
  const StoredRecord record = Put(1, 3000);
  Put(2, 3000);
  log_.reset();
  fs::resize_file(FilePath(1), 5000);
  Reopen();
  lines_.clear();
  const auto writes = io_.writes.load();
  Reopen();
  EXPECT_TRUE(lines_.empty());
  EXPECT_EQ(io_.writes, writes);
  ExpectReadable(record);
}

TEST_F(SegmentLogFaultTest, ReadOnlyOpenCutsNothing) {
  const StoredRecord first = Put(1, 3000);
  const StoredRecord second = Put(2, 5000);
  log_.reset();
  fs::resize_file(FilePath(1), 5000);
  options_.read_only = true;
  Reopen();
  ExpectReadable(first);
  ExpectFails(second, StatusCode::kCorruption);
  log_.reset();
  EXPECT_EQ(fs::file_size(FilePath(1)), 5000U);
}

TEST_F(SegmentLogFaultTest, FileCutBeforeItIsMappedIsCorruptionNotASignal) {
  const StoredRecord first = Put(1, 3000);
  const StoredRecord second = Put(2, 50'000);
  ASSERT_TRUE(log_->SealOpen().ok());
  fs::resize_file(FilePath(1), 4096);
  ExpectFails(second, StatusCode::kCorruption);
  ExpectReadable(first);
  ExpectFails(second, StatusCode::kCorruption);
  fs::resize_file(FilePath(1), 0);
  Reopen();
  EXPECT_FALSE(Get(first).has_value());
}

TEST_F(SegmentLogFaultTest, OpenFileCutBeforeItIsMappedIsCorruption) {
  const StoredRecord first = Put(1, 3000);
  const StoredRecord second = Put(2, 50'000);
  fs::resize_file(FilePath(1), 4096);
  ExpectFails(second, StatusCode::kCorruption);
  ExpectReadable(first);
}

TEST_F(SegmentLogFaultTest, VanishedFileIsNotFound) {
  const StoredRecord record = Put(1, 3000);
  ASSERT_TRUE(log_->SealOpen().ok());
  fs::remove(FilePath(1));
  ExpectFails(record, StatusCode::kNotFound);
  EXPECT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
}

// Damage -------------------------------------------------------------------

// Every byte of a small record's header and key and of the start and end of
// its payload; a flipped bit of the padding may be harmless, wrong bytes are
// never returned.
TEST_F(SegmentLogFaultTest, FlippedBitGivesCorruptionNeverWrongBytes) {
  const StoredRecord before = Put(1, 300);
  const StoredRecord record = Put(2, 5000);
  const StoredRecord after = Put(3, 300);
  ASSERT_TRUE(log_->SealOpen().ok());
  const std::uint64_t begin = record.place.offset;
  const std::uint64_t payload = begin + PayloadStart(record.key.size());
  const std::uint64_t end = after.place.offset;
  int harmless = 0;
  for (std::uint64_t at = begin;
       at<end; at += at> payload + 8 && at + 300 < end ? 97U : 1U) {
    FlipBit(1, at);
    const auto value = Get(record);
    if (value) {
      EXPECT_TRUE(value->bytes() == record.value) << at;
      const bool in_key_padding =
          at >= begin + kRecordHeaderSize + record.key.size() && at < payload;
      EXPECT_TRUE(in_key_padding || at >= payload + record.value.size()) << at;
      ++harmless;
    } else {
      EXPECT_EQ(value.error().code(), StatusCode::kCorruption);
    }
    ExpectReadable(before);
    ExpectReadable(after);
    FlipBit(1, at);
  }
  EXPECT_GT(harmless, 0);
  ExpectReadable(record);
}

TEST_F(SegmentLogFaultTest, DamageInTheMiddleIsSkippedByRecovery) {
  const StoredRecord first = Put(1, 3000);
  const StoredRecord second = Put(2, 3000);
  const StoredRecord third = Put(3, 3000);
  log_.reset();
  // Unsealed, header of the second and payload of the first damaged.
  fs::resize_file(FilePath(1), fs::file_size(FilePath(1)) - 1);
  FlipBit(1, second.place.offset + 20);
  FlipBit(1, 2000);
  Reopen();
  ExpectFails(first, StatusCode::kCorruption);
  ExpectFails(second, StatusCode::kCorruption);
  ExpectReadable(third);
  std::uint64_t damaged = 0;
  const std::vector<std::string> keys = KeysIn(1, damaged);
  EXPECT_EQ(keys, std::vector<std::string>{"key-3"});
  // All of the first; of the second what is not zeros.
  EXPECT_EQ(damaged, third.place.offset);
}

TEST_F(SegmentLogFaultTest, DamagedFooterCostsNoRecord) {
  const StoredRecord record = Put(1, 3000);
  ASSERT_TRUE(log_->SealOpen().ok());
  const std::uint64_t size = fs::file_size(FilePath(1));
  for (std::uint64_t at = size - kSegmentFooterSize; at < size; at += 5) {
    FlipBit(1, at);
    Reopen();
    ExpectReadable(record);
    EXPECT_EQ(fs::file_size(FilePath(1)), size);
  }
}

TEST_F(SegmentLogFaultTest, FileOfGarbageGivesNothingAndIsDropped) {
  const std::string garbage = testing::MakeValue(7, 100'000);
  std::ofstream(FilePath(5), std::ios::binary) << garbage;
  Reopen();
  StoredRecord record{"key", std::string(100, 'x'), 1, {5, 64, 100}};
  EXPECT_FALSE(Get(record).has_value());
  EXPECT_EQ(Put(1, 100).place.segment, 6U);
}

TEST_F(SegmentLogFaultTest, RenamedFileIsNotTakenForAnotherSegment) {
  StoredRecord record = Put(1, 3000);
  log_.reset();
  fs::rename(FilePath(1), FilePath(9));
  Reopen();
  record.place.segment = 9;
  EXPECT_FALSE(Get(record).has_value());
}

TEST_F(SegmentLogFaultTest, ReadErrorDuringRecoveryLeavesTheFileAlone) {
  const StoredRecord record = Put(1, 3000);
  log_.reset();
  fs::resize_file(FilePath(1), fs::file_size(FilePath(1)) - 1);
  const auto size = fs::file_size(FilePath(1));
  io_.read_error = EIO;
  Reopen();
  io_.read_error = 0;
  ExpectReadable(record);
  EXPECT_EQ(fs::file_size(FilePath(1)), size);
  EXPECT_FALSE(lines_.empty());
}

// Bad sectors --------------------------------------------------------------

class BadSectorTest : public SegmentLogFaultTest {
 protected:
  void SetUp() override {
    options_.read_mode = ReadMode::kPread;
    SegmentLogFaultTest::SetUp();
    first_ = Put(1, 9000);
    second_ = Put(2, 9000);
    third_ = Put(3, 9000);
    ASSERT_TRUE(log_->SealOpen().ok());
    io_.bad_begin = 12'288;  // In the middle of the second.
    io_.bad_end = 16'384;
  }
  StoredRecord first_;
  StoredRecord second_;
  StoredRecord third_;
};

TEST_F(BadSectorTest, IsAnErrorOfItsValueOnly) {
  ExpectReadable(first_);
  ExpectFails(second_, StatusCode::kIoError);
  ExpectReadable(third_);
  io_.bad_end = 0;
  ExpectReadable(second_);
}

TEST_F(BadSectorTest, IsDamageToWhoeverWantsTheRest) {
  std::uint64_t damaged = 0;
  std::vector<std::string> keys = KeysIn(1, damaged);
  EXPECT_EQ(keys, (std::vector<std::string>{first_.key, third_.key}));
  EXPECT_GE(damaged, 9000U);
  io_.bad_begin = second_.place.offset;  // Its header, too.
  keys.clear();
  const auto visit = [&](std::span<const PlacedRecord> group) {
    for (const PlacedRecord& record : group) {
      keys.emplace_back(record.record.key);
    }
    return true;
  };
  ASSERT_TRUE(log_->ForEachGroup(1, 9, visit, &damaged).ok());
  EXPECT_EQ(keys, (std::vector<std::string>{first_.key, third_.key}));
}

// Failing writes -----------------------------------------------------------

TEST_F(SegmentLogFaultTest, ShortWritesAndInterruptionsAreFinished) {
  io_.short_writes = true;
  io_.interruptions = 3;
  const StoredRecord record = Put(1, 20'000);
  ExpectReadable(record);
  EXPECT_GT(io_.writes, 20);
  Reopen();
  ExpectReadable(record);
}

TEST_F(SegmentLogFaultTest, FullDiskFailsTheWriteAndKeepsTheRest) {
  const StoredRecord first = Put(1, 3000);
  for (const std::size_t room : {0, 10, 64, 1000, 4999}) {
    io_.room = room;
    EXPECT_EQ(PutFails(2, 5000).code(), StatusCode::kNoSpace);
  }
  io_.room = SIZE_MAX;
  const StoredRecord last = Put(3, 5000);
  ExpectReadable(first);
  ExpectReadable(last);
  Reopen();
  ExpectReadable(first);
  ExpectReadable(last);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
}

TEST_F(SegmentLogFaultTest, RemainsOfAFailedWriteAreCutWhenSealed) {
  const StoredRecord first = Put(1, 3000);
  io_.room = 50'000;
  EXPECT_EQ(PutFails(2, 60'000).code(), StatusCode::kNoSpace);
  io_.room = SIZE_MAX;
  EXPECT_GT(fs::file_size(FilePath(1)), 50'000U);
  ASSERT_TRUE(log_->SealOpen().ok());
  EXPECT_EQ(fs::file_size(FilePath(1)), 3072U + kSegmentFooterSize);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  ExpectReadable(first);
}

TEST_F(SegmentLogFaultTest, WriteErrorSaysWhere) {
  Put(1, 3000);
  io_.room = 0;
  io_.write_error = EIO;
  const Status status = PutFails(2, 3000);
  EXPECT_EQ(status.code(), StatusCode::kIoError);
  EXPECT_NE(status.message().find("segment 1 at 3072"), std::string::npos)
      << status.message();
  io_.room = SIZE_MAX;
}

TEST_F(SegmentLogFaultTest, NoRoomForAFooterLosesNothing) {
  const StoredRecord record = Put(1, 3000);
  io_.room = 5;
  EXPECT_EQ(log_->SealOpen().code(), StatusCode::kNoSpace);
  EXPECT_TRUE(log_->Segments().at(0).sealed);
  ExpectReadable(record);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  io_.room = SIZE_MAX;
  Reopen();
  ExpectReadable(record);
  EXPECT_EQ(fs::file_size(FilePath(1)), 3072U + kSegmentFooterSize);
}

TEST_F(SegmentLogFaultTest, SegmentThatCannotBeMadeLeavesTheLogUsable) {
  io_.create_error = ENOSPC;
  EXPECT_EQ(log_->Reserve(1, 100).error().code(), StatusCode::kNoSpace);
  EXPECT_EQ(log_->open_id(), 0U);
  io_.create_error = 0;
  ExpectReadable(Put(1, 100));
}

// As if the directory had lost its write permission, which root does not mind.
TEST_F(SegmentLogFaultTest, DirectoryThatMayNotBeWrittenCostsNoId) {
  const StoredRecord first = Put(1, 150'000);
  io_.create_error = EACCES;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(log_->Reserve(1, 150'000).error().code(),
              StatusCode::kPermissionDenied);
    EXPECT_EQ(log_->open_id(), 0U);
    ExpectReadable(first);
  }
  io_.create_error = 0;
  const StoredRecord second = Put(2, 150'000);
  EXPECT_EQ(second.place.segment, first.place.segment + 1);
  ExpectReadable(second);
}

TEST_F(SegmentLogFaultTest, NameThatIsTakenIsPassedOver) {
  std::ofstream(FilePath(1)) << "of somebody else";
  EXPECT_FALSE(log_->Reserve(1, 100).has_value());
  EXPECT_EQ(Put(1, 100).place.segment, 2U);
}

TEST_F(SegmentLogFaultTest, SegmentThatCannotBeUnlinkedStays) {
  const StoredRecord record = Put(1, 3000);
  ASSERT_TRUE(log_->SealOpen().ok());
  io_.unlink_error = EIO;
  EXPECT_EQ(log_->Remove(1, SegmentBlocks::kFree).code(), StatusCode::kIoError);
  ExpectReadable(record);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  io_.unlink_error = 0;
  EXPECT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
}

// Syncing ------------------------------------------------------------------

TEST_F(SegmentLogFaultTest, SyncTouchesWhatIsNotYetOnTheDevice) {
  Put(1, 150'000);
  Put(2, 150'000);  // The first is sealed now.
  ASSERT_TRUE(log_->Sync().ok());
  EXPECT_EQ(io_.file_syncs, 2);
  EXPECT_EQ(io_.directory_syncs, 2);  // Of log/ and, for log/, its parent.
  ASSERT_TRUE(log_->Sync().ok());
  EXPECT_EQ(io_.file_syncs, 2);
  EXPECT_EQ(io_.directory_syncs, 2);
  Put(3, 10'000);
  ASSERT_TRUE(log_->Sync().ok());
  EXPECT_EQ(io_.file_syncs, 3);
}

TEST_F(SegmentLogFaultTest, FilesOfEarlierRunsAreSyncedByRequestAndOnce) {
  Put(1, 150'000);
  Reopen();
  ASSERT_TRUE(log_->Sync().ok());
  EXPECT_EQ(io_.file_syncs, 0);
  ASSERT_TRUE(log_->SyncAll().ok());
  EXPECT_EQ(io_.file_syncs, 1);
  ASSERT_TRUE(log_->SyncAll().ok());
  EXPECT_EQ(io_.file_syncs, 1);
}

TEST_F(SegmentLogFaultTest, FailedSyncIsNotForgottenByTheNext) {
  const StoredRecord record = Put(1, 3000);
  io_.sync_error = EIO;
  EXPECT_EQ(log_->Sync().code(), StatusCode::kIoError);
  io_.sync_error = 0;
  // The kernel says all is well now, but the pages may be gone.
  EXPECT_EQ(log_->Sync().code(), StatusCode::kIoError);
  // New records go elsewhere.
  EXPECT_EQ(Put(2, 3000).place.segment, 2U);
  ExpectReadable(record);
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
  EXPECT_TRUE(log_->Sync().ok());
}

TEST_F(SegmentLogFaultTest, FailedSyncIsNotForgottenByTheNextLog) {
  const StoredRecord record = Put(1, 3000);
  io_.sync_error = EIO;
  EXPECT_EQ(log_->Sync().code(), StatusCode::kIoError);
  io_.sync_error = 0;
  const auto doubtful = log_->DoubtfulSegments();
  EXPECT_EQ(doubtful, std::vector<std::uint32_t>{1});
  options_.doubtful = doubtful;
  Reopen();
  EXPECT_EQ(log_->SyncAll().code(), StatusCode::kIoError);
  EXPECT_EQ(log_->SyncSegments(doubtful).code(), StatusCode::kIoError);
  EXPECT_EQ(log_->DoubtfulSegments(), doubtful);
  ExpectReadable(record);
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kKeep).ok());
  EXPECT_TRUE(log_->SyncAll().ok());
  EXPECT_TRUE(log_->DoubtfulSegments().empty());
  EXPECT_EQ(log_->spare_bytes(), 0U);  // Nor does it become another one.
}

TEST_F(SegmentLogFaultTest, RemovedSegmentNeedsNoSync) {
  Put(1, 3000);
  ASSERT_TRUE(log_->SealOpen().ok());
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kFree).ok());
  ASSERT_TRUE(log_->Sync().ok());
  EXPECT_EQ(io_.file_syncs, 0);
}

// Random histories ---------------------------------------------------------

// A file damaged at random is read for what is right or not at all.
TEST_F(SegmentLogFaultTest, RandomDamageNeverGivesWrongBytes) {
  const std::uint64_t seed = testing::SeedFromEnvironment(20'240'611);
  testing::Random random(seed);
  SCOPED_TRACE(seed);
  for (int history = 0; history < 60; ++history) {
    log_.reset();
    fs::remove_all(path());
    Reopen();
    std::vector<StoredRecord> records;
    for (int i = 0; i < 12; ++i) {
      if (random.OneIn(5)) {
        const auto gap = log_->Reserve(5, random.Below(30'000));
      }
      records.push_back(Put(random.Next(), random.Below(40'000)));
    }
    log_.reset();
    for (const auto& entry : fs::directory_iterator(path())) {
      const std::uint64_t size = entry.file_size();
      const std::uint32_t id =
          *ParseSegmentName(entry.path().filename().string());
      for (std::uint64_t i = random.Below(4); i > 0; --i) {
        FlipBit(id, random.Below(size));
      }
      if (random.OneIn(2)) {
        fs::resize_file(entry.path(), random.Below(size) + 1);
      }
    }
    Reopen();
    for (const StoredRecord& record : records) {
      const auto value = Get(record);
      if (value) {
        ASSERT_TRUE(value->bytes() == record.value);
      } else {
        ASSERT_TRUE(value.error().code() == StatusCode::kCorruption ||
                    value.error().code() == StatusCode::kNotFound)
            << value.error().ToString();
      }
    }
  }
}

// A file system may have no RENAME_NOREPLACE.
TEST_F(SegmentLogFaultTest, FileThatCannotBeRenamedIsUnlinkedInsteadOfKept) {
  Put(1, 5000);
  ASSERT_TRUE(log_->SealOpen().ok());
  io_.rename_error = EINVAL;
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kKeep).ok());
  EXPECT_FALSE(fs::exists(FilePath(1)));
  EXPECT_EQ(log_->spare_bytes(), 0U);
  EXPECT_EQ(log_->disk_bytes(), 0U);
  ExpectReadable(Put(2, 5000));
}

TEST_F(SegmentLogFaultTest, KeptFileThatCannotBeCutIsUnlinked) {
  Put(1, 5000);
  ASSERT_TRUE(log_->SealOpen().ok());
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kKeep).ok());
  ASSERT_GT(log_->spare_bytes(), 0U);
  io_.truncate_error = EIO;
  EXPECT_TRUE(log_->ShrinkReusable(1));
  EXPECT_EQ(log_->spare_bytes(), 0U);
  EXPECT_TRUE(fs::is_empty(path()));
}

// Else who waits for room would wait for ever.
TEST_F(SegmentLogFaultTest, KeptFileThatKeepsItsBlocksIsUnlinked) {
  Put(1, 5000);
  ASSERT_TRUE(log_->SealOpen().ok());
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kKeep).ok());
  io_.keep_blocks = true;
  EXPECT_TRUE(log_->ShrinkReusable(1));
  EXPECT_EQ(log_->spare_bytes(), 0U);
  EXPECT_TRUE(fs::is_empty(path()));
}

TEST_F(SegmentLogFaultTest, KeptFileThatCannotBeOpenedIsUnlinked) {
  Put(1, 5000);
  ASSERT_TRUE(log_->SealOpen().ok());
  io_.open_error = EMFILE;
  ASSERT_TRUE(log_->Remove(1, SegmentBlocks::kKeep).ok());
  io_.open_error = 0;
  EXPECT_EQ(log_->spare_bytes(), 0U);
  EXPECT_TRUE(fs::is_empty(path()));
  ExpectReadable(Put(2, 5000));
}

}  // namespace
}  // namespace larder
