#include "segments/segment_reuse.h"

#include <atomic>
#include <csignal>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "engine/segments/segment_log_fixture.h"
#include "os/segment_io.h"
#include "segments/segment_file.h"
#include "segments/segment_log.h"

// Files of segments that are kept to become new ones: that they do, and all
// that keeps them from it.

namespace larder {
namespace {

namespace fs = std::filesystem;

class SegmentReuseTest : public SegmentLogFixture {
 protected:
  static constexpr std::size_t kSize = 10'000;

  void SetUp() override {
    SegmentLogFixture::SetUp();
    if (!IsReused(*log_)) {
      GTEST_SKIP() << "no file is used again on this file system";
    }
    log_->DropSpares();
  }
  static bool IsReused(SegmentLog& log) {
    auto grant = log.Reserve(1, kSize);
    EXPECT_TRUE(grant.has_value());
    const std::string value = testing::MakeValue(1, kSize);
    EXPECT_TRUE(log.Write(*grant, {"k", value, 1, kSize, 0, 7}).has_value());
    const std::uint32_t id = grant->file->id();
    *grant = SegmentGrant();
    EXPECT_TRUE(log.SealOpen().ok());
    EXPECT_TRUE(log.Remove(id, SegmentBlocks::kKeep).ok());
    return log.spare_bytes() > 0;
  }

  /// Writes records until the open segment of new ones is nearly full, and
  /// seals it.
  std::vector<StoredRecord> FillSegment() {
    std::vector<StoredRecord> records;
    std::uint64_t bytes = 0;
    do {
      records.push_back(Put(next_seed_++, kSize));
      bytes += SegmentLog::RecordSize(records.back().key.size(), kSize);
    } while (bytes + kSize + 1000 < kSegmentSizeBytesMin);
    EXPECT_TRUE(log_->SealOpen().ok());
    return records;
  }
  [[nodiscard]] ino_t InodeOf(std::uint32_t id) const {
    struct stat info {};
    EXPECT_EQ(::stat(FilePath(id).c_str(), &info), 0) << id;
    return info.st_ino;
  }
  Status Keep(std::uint32_t id) {
    return log_->Remove(id, SegmentBlocks::kKeep);
  }
  /// Another log on the same files, as another process has it.
  [[nodiscard]] std::unique_ptr<SegmentLog> OpenView() const {
    SegmentLogOptions options = options_;
    options.read_only = true;
    auto view = SegmentLog::Open(path(), options, 1, {});
    EXPECT_TRUE(view.has_value()) << view.error().ToString();
    return std::move(*view);
  }
  /// All whole records of a segment, and what is damaged in it.
  std::vector<std::string> KeysOf(std::uint32_t id, std::uint64_t& damaged) {
    std::vector<std::string> keys;
    const Status status = log_->ForEachRecord(
        id,
        [&](const SegmentPlace&, const SegmentRecord& record) {
          keys.emplace_back(record.key);
          return true;
        },
        &damaged);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return keys;
  }

  std::uint64_t next_seed_ = 1;
};

TEST_F(SegmentReuseTest, AKeptFileBecomesTheNextSegment) {
  const std::vector<StoredRecord> old = FillSegment();
  const std::uint32_t id = old[0].place.segment;
  const ino_t inode = InodeOf(id);
  const std::uint64_t bytes = log_->disk_bytes();
  ASSERT_TRUE(Keep(id).ok());
  EXPECT_FALSE(fs::exists(FilePath(id)));
  EXPECT_TRUE(log_->Segments().empty());
  EXPECT_EQ(log_->spare_bytes(), bytes);
  EXPECT_EQ(log_->disk_bytes(), bytes);
  for (const StoredRecord& record : old) {
    ExpectFails(record, StatusCode::kNotFound);
  }
  const StoredRecord record = Put(next_seed_++, kSize);
  EXPECT_EQ(InodeOf(record.place.segment), inode);
  EXPECT_EQ(log_->spare_bytes(), 0U);
  EXPECT_LT(log_->reusable_bytes(), bytes - kSize);
  EXPECT_GT(log_->reusable_bytes(), bytes - 2 * kSize);
  EXPECT_EQ(log_->disk_bytes(), bytes);
  EXPECT_EQ(DuBytes(), bytes);
  ExpectReadable(record);
}

TEST_F(SegmentReuseTest, ARoundOfReuseLeavesTheSameBytes) {
  for (int round = 0; round < 10; ++round) {
    const std::vector<StoredRecord> records = FillSegment();
    for (const StoredRecord& record : records) ExpectReadable(record);
    std::uint64_t damaged = 0;
    EXPECT_EQ(KeysOf(records[0].place.segment, damaged).size(), records.size());
    EXPECT_EQ(damaged, 0U);
    EXPECT_EQ(log_->disk_bytes(), DuBytes());
    ASSERT_TRUE(Keep(records[0].place.segment).ok());
  }
}

TEST_F(SegmentReuseTest, SparesAreBoundedAndUnlinkedOnDemand) {
  std::vector<std::uint32_t> ids;
  for (int i = 0; i < 7; ++i) ids.push_back(FillSegment()[0].place.segment);
  const std::uint64_t each = log_->disk_bytes() / ids.size();
  for (const std::uint32_t id : ids) ASSERT_TRUE(Keep(id).ok());
  EXPECT_EQ(log_->spare_bytes(), kLogStreamCount * each);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  log_->DropSpares();
  EXPECT_EQ(log_->spare_bytes(), 0U);
  EXPECT_EQ(log_->disk_bytes(), 0U);
  EXPECT_TRUE(fs::is_empty(path()));
}

TEST_F(SegmentReuseTest, SparesCanBeCut) {
  const std::uint32_t id = FillSegment()[0].place.segment;
  const ino_t inode = InodeOf(id);
  ASSERT_TRUE(Keep(id).ok());
  const std::uint64_t before = log_->spare_bytes();
  ASSERT_TRUE(log_->ShrinkReusable(50'000));
  EXPECT_LE(log_->spare_bytes(), before - 50'000);
  EXPECT_GT(log_->spare_bytes(), before - 60'000);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  ASSERT_TRUE(log_->ShrinkReusable(before));
  EXPECT_EQ(log_->spare_bytes(), 0U);
  EXPECT_FALSE(log_->ShrinkReusable(1));
  // The file is still of use.
  const std::vector<StoredRecord> records = FillSegment();
  EXPECT_EQ(InodeOf(records[0].place.segment), inode);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  for (const StoredRecord& record : records) ExpectReadable(record);
}

TEST_F(SegmentReuseTest, WhatIsLeftOfAFileInUseCanBeCut) {
  const std::uint32_t id = FillSegment()[0].place.segment;
  ASSERT_TRUE(Keep(id).ok());
  const StoredRecord first = Put(next_seed_++, kSize);
  const auto granted = log_->Reserve(5, kSize);
  ASSERT_TRUE(granted.has_value());
  const std::uint64_t before = log_->reusable_bytes();
  ASSERT_TRUE(log_->ShrinkReusable(50'000));
  EXPECT_LE(log_->reusable_bytes(), before - 45'000);
  EXPECT_GT(log_->reusable_bytes(), before - 60'000);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  ASSERT_TRUE(log_->ShrinkReusable(before));
  EXPECT_LT(log_->reusable_bytes(), 4096U);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  ExpectReadable(first);
  const StoredRecord second = Put(next_seed_++, kSize);
  ExpectReadable(second);
  EXPECT_GT(second.place.offset, granted->offset);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
}

TEST_F(SegmentReuseTest, AHandleKeepsItsBytes) {
  const std::vector<StoredRecord> old = FillSegment();
  const auto value = Get(old[2]);
  ASSERT_TRUE(value.has_value());
  ASSERT_TRUE(Keep(old[0].place.segment).ok());
  EXPECT_EQ(log_->spare_bytes(), 0U);
  FillSegment();
  EXPECT_TRUE(value->bytes() == old[2].value);
}

TEST_F(SegmentReuseTest, AMappingThatNobodyUsesKeepsNothing) {
  const std::vector<StoredRecord> old = FillSegment();
  ExpectReadable(old[0]);
  ASSERT_TRUE(Keep(old[0].place.segment).ok());
  EXPECT_GT(log_->spare_bytes(), 0U);
}

TEST_F(SegmentReuseTest, ASnapshotKeepsItsSegments) {
  const std::vector<StoredRecord> old = FillSegment();
  const auto snapshot = log_->Snapshot();
  ASSERT_TRUE(Keep(old[0].place.segment).ok());
  EXPECT_EQ(log_->spare_bytes(), 0U);
  FillSegment();
  for (const StoredRecord& record : old) ExpectReadable(record);
}

TEST_F(SegmentReuseTest, AnotherReaderKeepsWhatItReads) {
  const std::vector<StoredRecord> old = FillSegment();
  const std::vector<StoredRecord> unread = FillSegment();
  auto view = OpenView();
  auto value = view->Read(old[1].place, old[1].key, old[1].version);
  ASSERT_TRUE(value.has_value());
  ASSERT_TRUE(Keep(old[0].place.segment).ok());
  EXPECT_EQ(log_->spare_bytes(), 0U);
  ASSERT_TRUE(Keep(unread[0].place.segment).ok());
  EXPECT_GT(log_->spare_bytes(), 0U);
  // A handle outlives the log it is from.
  const std::vector<StoredRecord> next = FillSegment();
  auto second = view->Read(next[1].place, next[1].key, next[1].version);
  view.reset();
  ASSERT_TRUE(Keep(next[0].place.segment).ok());
  EXPECT_EQ(log_->spare_bytes(), 0U);
  const std::vector<StoredRecord> last = FillSegment();
  EXPECT_TRUE(value->bytes() == old[1].value);
  EXPECT_TRUE(second->bytes() == next[1].value);
}

// As after a failed write: the log is opened anew in the same process.
TEST_F(SegmentReuseTest, AHandleOfAnEarlierLogKeepsItsBytes) {
  const std::vector<StoredRecord> old = FillSegment();
  const std::vector<StoredRecord> unread = FillSegment();
  const auto value = Get(old[1]);
  ASSERT_TRUE(value.has_value());
  Reopen();
  ASSERT_TRUE(Keep(old[0].place.segment).ok());
  EXPECT_EQ(log_->spare_bytes(), 0U);
  ASSERT_TRUE(Keep(unread[0].place.segment).ok());
  EXPECT_GT(log_->spare_bytes(), 0U);
  FillSegment();
  EXPECT_TRUE(value->bytes() == old[1].value);
}

TEST_F(SegmentReuseTest, WhoWritesByItselfKeepsTheFile) {
  const std::vector<StoredRecord> old = FillSegment();
  const std::uint32_t id = old[0].place.segment;
  {
    const auto fd = OpenSegmentFile(*SegmentIo::System(), path(), id,
                                    O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    ASSERT_TRUE(fd.has_value()) << fd.error().ToString();
    ASSERT_TRUE(Keep(id).ok());
    EXPECT_EQ(log_->spare_bytes(), 0U);
  }
  ASSERT_TRUE(Keep(FillSegment()[0].place.segment).ok());
  EXPECT_GT(log_->spare_bytes(), 0U);
  EXPECT_EQ(OpenSegmentFile(*SegmentIo::System(), path(), id, O_RDONLY)
                .error()
                .code(),
            StatusCode::kNotFound);
}

// Whoever has opened a file by its old name finds out that it has become
// another segment's, at whatever moment that happened.
TEST_F(SegmentReuseTest, AFileThatIsRenamedWhileItIsOpenedIsRefused) {
  class RenamingIo final : public SegmentIo {
   public:
    int Open(const char* name, int flags, mode_t mode) noexcept override {
      const int fd = SegmentIo::Open(name, flags, mode);
      if (rename) std::exchange(rename, nullptr)();
      return fd;
    }
    std::function<void()> rename;
  };
  const std::vector<StoredRecord> old = FillSegment();
  RenamingIo io;
  io.rename = [&] { ASSERT_TRUE(Keep(old[0].place.segment).ok()); };
  const auto fd =
      OpenSegmentFile(io, path(), old[0].place.segment, O_RDONLY | O_CLOEXEC);
  ASSERT_FALSE(fd.has_value());
  EXPECT_EQ(fd.error().code(), StatusCode::kNotFound);
  EXPECT_GT(log_->spare_bytes(), 0U);
}

// A reader that comes after the file has its new name finds nothing by the old
// one, and by the new one only what is written from then on.
TEST_F(SegmentReuseTest, AReaderThatComesLaterSeesTheNewSegmentOnly) {
  const std::vector<StoredRecord> old = FillSegment();
  ASSERT_TRUE(Keep(old[0].place.segment).ok());
  const auto view = OpenView();
  const StoredRecord record = Put(next_seed_++, kSize);
  const auto value = view->Read(record.place, record.key, record.version);
  ASSERT_TRUE(value.has_value()) << value.error().ToString();
  EXPECT_TRUE(value->bytes() == record.value);
  EXPECT_EQ(view->Read(old[0].place, old[0].key, old[0].version).error().code(),
            StatusCode::kNotFound);
  // What is behind it in the file was another segment's.
  SegmentPlace stale = old[1].place;
  stale.segment = record.place.segment;
  EXPECT_EQ(log_->Read(stale, old[1].key, old[1].version).error().code(),
            StatusCode::kCorruption);
}

// A child that came about in any way keeps what it has mapped, and no more; the
// log that asks need not be its parent's.
class SegmentReuseForkTest : public SegmentReuseTest,
                             public ::testing::WithParamInterface<bool> {};

TEST_P(SegmentReuseForkTest, AChildKeepsWhatItHasMapped) {
  const std::vector<StoredRecord> old = FillSegment();
  const std::vector<StoredRecord> unread = FillSegment();
  const std::vector<StoredRecord> last = FillSegment();
  auto value = Get(old[1]);
  ASSERT_TRUE(value.has_value());
  // Without the handlers of fork, as clone does it.
  const pid_t child = GetParam() ? ::fork() : ::_Fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (;;) ::pause();
  }
  *value = ValueHandle();
  Reopen();
  ASSERT_TRUE(Keep(old[0].place.segment).ok());
  EXPECT_EQ(log_->spare_bytes(), 0U);
  ASSERT_TRUE(Keep(unread[0].place.segment).ok());
  EXPECT_GT(log_->spare_bytes(), 0U);
  const std::uint64_t before = log_->spare_bytes();
  EXPECT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ASSERT_TRUE(Keep(last[0].place.segment).ok());
  EXPECT_GT(log_->spare_bytes(), before);
}

INSTANTIATE_TEST_SUITE_P(ForkAndClone, SegmentReuseForkTest, ::testing::Bool());

TEST_F(SegmentReuseTest, AChildChangesNothingOfItsParents) {
  const std::uint32_t ids[] = {FillSegment()[0].place.segment,
                               FillSegment()[0].place.segment};
  for (const std::uint32_t id : ids) ASSERT_TRUE(Keep(id).ok());
  const StoredRecord first = Put(next_seed_++, kSize);
  auto grant = log_->Reserve(3, kSize);
  ASSERT_TRUE(grant.has_value());
  EXPECT_GT(log_->spare_bytes(), 0U);
  const std::uint64_t bytes = DuBytes();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    *grant = SegmentGrant();
    log_.reset();
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(DuBytes(), bytes);
  const StoredRecord second{"abc", testing::MakeValue(99, kSize), 99, {}};
  const auto place = WriteTo(*log_, *grant, second);
  ASSERT_TRUE(place.has_value()) << place.error().ToString();
  ExpectReadable({second.key, second.value, second.version, *place});
  ExpectReadable(first);
}

// Space that was granted by a log that has gone: the next one has the file.
TEST_F(SegmentReuseTest, AGrantOfAnEarlierLogChangesNothing) {
  ASSERT_TRUE(Keep(FillSegment()[0].place.segment).ok());
  const StoredRecord first = Put(next_seed_++, kSize);
  auto grant = log_->Reserve(3, kSize);
  ASSERT_TRUE(grant.has_value());
  const StoredRecord second = Put(next_seed_++, kSize);
  Reopen();
  const std::uint64_t size = fs::file_size(FilePath(first.place.segment));
  *grant = SegmentGrant();
  EXPECT_EQ(fs::file_size(FilePath(first.place.segment)), size);
  std::uint64_t damaged = 0;
  EXPECT_EQ(KeysOf(first.place.segment, damaged),
            (std::vector<std::string>{first.key, second.key}));
  ExpectReadable(second);
}

// There a mapping is one of the file below, and does not keep the lock.
TEST_F(SegmentReuseTest, NoFileIsUsedAgainOnAnOverlay) {
  const fs::path root = directory_.path();
  for (const char* name : {"lower", "upper", "work", "merged"}) {
    fs::create_directory(root / name);
  }
  const std::string options = "lowerdir=" + (root / "lower").string() +
                              ",upperdir=" + (root / "upper").string() +
                              ",workdir=" + (root / "work").string();
  const fs::path merged = root / "merged";
  if (::mount("overlay", merged.c_str(), "overlay", 0, options.c_str()) != 0) {
    GTEST_SKIP() << "no right to mount an overlay";
  }
  auto log = SegmentLog::Open(merged / "log", options_, 1, {});
  ASSERT_TRUE(log.has_value()) << log.error().ToString();
  EXPECT_FALSE(IsReused(**log));
  EXPECT_EQ((*log)->disk_bytes(), 0U);
  log->reset();
  EXPECT_EQ(::umount(merged.c_str()), 0);
}

TEST_F(SegmentReuseTest, AFileWithAnotherNameIsNotWrittenOver) {
  const std::vector<StoredRecord> old = FillSegment();
  const fs::path copy = directory_.path() / "copy";
  fs::create_hard_link(FilePath(old[0].place.segment), copy);
  const std::uint64_t size = fs::file_size(copy);
  ASSERT_TRUE(Keep(old[0].place.segment).ok());
  EXPECT_EQ(log_->spare_bytes(), 0U);
  const ino_t inode = InodeOf(FillSegment()[0].place.segment);
  struct stat info {};
  ASSERT_EQ(::stat(copy.c_str(), &info), 0);
  EXPECT_NE(info.st_ino, inode);
  EXPECT_EQ(static_cast<std::uint64_t>(info.st_size), size);
}

TEST_F(SegmentReuseTest, SparesThatRestHaveNoDescriptors) {
  const auto descriptors_of_spares = [&] {
    int count = 0;
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const fs::path target = fs::read_symlink(entry.path(), gone);
      if (target.parent_path() == fs::canonical(path())) ++count;
    }
    return count;
  };
  const std::uint32_t id = FillSegment()[0].place.segment;
  const ino_t inode = InodeOf(id);
  ASSERT_TRUE(Keep(id).ok());
  log_->CloseIdleFiles();
  EXPECT_EQ(descriptors_of_spares(), 1);  // Kept since the last call.
  log_->CloseIdleFiles();
  EXPECT_EQ(descriptors_of_spares(), 0);
  ASSERT_TRUE(log_->ShrinkReusable(50'000));
  log_->CloseIdleFiles();
  log_->CloseIdleFiles();
  EXPECT_EQ(descriptors_of_spares(), 0);
  const std::vector<StoredRecord> records = FillSegment();
  EXPECT_EQ(InodeOf(records[0].place.segment), inode);
  for (const StoredRecord& record : records) ExpectReadable(record);
}

TEST_F(SegmentReuseTest, ASpareOfAnotherSizeIsNotUsed) {
  const std::uint32_t id = FillSegment()[0].place.segment;
  ASSERT_TRUE(Keep(id).ok());
  log_->SetSegmentSize(2 * kSegmentSizeBytesMin);
  const StoredRecord record = Put(next_seed_++, kSize);
  EXPECT_EQ(log_->spare_bytes(), 0U);
  EXPECT_EQ(log_->reusable_bytes(), 0U);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
  ExpectReadable(record);
}

TEST_F(SegmentReuseTest, AFileThatIsNotInMemoryIsNotUsed) {
  const std::vector<StoredRecord> old = FillSegment();
  const std::uint32_t id = old[0].place.segment;
  const UniqueFd fd(::open(FilePath(id).c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(static_cast<bool>(fd));
  const ino_t inode = InodeOf(id);
  ASSERT_TRUE(Keep(id).ok());
  // Other processors may have references to pages for a moment.
  const auto is_in_memory = [&] {
    char byte = 0;
    iovec piece{&byte, 1};
    return ::preadv2(fd.get(), &piece, 1, 8192, RWF_NOWAIT) >= 0;
  };
  for (int attempt = 0; attempt < 1000 && is_in_memory(); ++attempt) {
    ASSERT_EQ(::fsync(fd.get()), 0);
    ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  }
  if (is_in_memory()) {
    GTEST_SKIP() << "this file system keeps all files in memory";
  }
  EXPECT_NE(InodeOf(Put(next_seed_++, kSize).place.segment), inode);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
}

TEST_F(SegmentReuseTest, AnUnusedGrantInAReusedFileIsAGap) {
  ASSERT_TRUE(Keep(FillSegment()[0].place.segment).ok());
  const StoredRecord first = Put(next_seed_++, kSize);
  {
    const auto unused = log_->Reserve(3, kSize);
    ASSERT_TRUE(unused.has_value());
  }
  const StoredRecord second = Put(next_seed_++, kSize);
  ASSERT_TRUE(log_->SealOpen().ok());
  std::uint64_t damaged = 0;
  EXPECT_EQ(KeysOf(first.place.segment, damaged),
            (std::vector<std::string>{first.key, second.key}));
  EXPECT_EQ(damaged, 0U);
}

// As kill -9 leaves it: nothing is sealed, nothing is unlinked.
TEST_F(SegmentReuseTest, AReusedFileIsCutAfterItsOwnRecords) {
  const std::vector<StoredRecord> gone = FillSegment();
  const std::vector<StoredRecord> spare = FillSegment();
  ASSERT_TRUE(Keep(gone[0].place.segment).ok());
  const StoredRecord first = Put(next_seed_++, kSize);
  const StoredRecord second = Put(next_seed_++, 3000);
  ASSERT_TRUE(Keep(spare[0].place.segment).ok());
  const fs::path after = directory_.path() / "after";
  fs::copy(path(), after);
  auto reopened =
      SegmentLog::Open(after, options_, 1, [](std::uint32_t) { return true; });
  ASSERT_TRUE(reopened.has_value()) << reopened.error().ToString();
  // The spare had nothing of its own.
  ASSERT_EQ((*reopened)->Segments().size(), 1U);
  const SegmentInfo segment = (*reopened)->Segments()[0];
  EXPECT_EQ(segment.id, first.place.segment);
  EXPECT_LT(segment.size_bytes, kSize + 5000);
  for (const StoredRecord& record : {first, second}) {
    const auto value =
        (*reopened)->Read(record.place, record.key, record.version);
    ASSERT_TRUE(value.has_value()) << value.error().ToString();
    EXPECT_TRUE(value->bytes() == record.value);
  }
  EXPECT_GT((*reopened)->next_id(), log_->open_id());
}

// Readers hold what they read for a while, now and then somebody opens the log
// beside its writer, and all that is full is removed at once.
TEST_F(SegmentReuseTest, WhatIsHeldNeverChanges) {
  constexpr std::uint64_t kRecordsMin = 3000;
  constexpr std::uint64_t kRecordsMax = 60'000;  // Threads may run in turns.
  std::mutex mutex;                              // Guards newest.
  std::vector<StoredRecord> newest;
  std::atomic<bool> writing{true};
  std::atomic<std::uint64_t> held{0};
  const auto read = [&](std::uint64_t seed, bool beside) {
    testing::Random random(seed);
    std::vector<std::pair<StoredRecord, ValueHandle>> handles;
    std::unique_ptr<SegmentLog> view;
    while (writing) {
      if (beside && random.OneIn(20))
        view = random.OneIn(2) ? OpenView() : nullptr;
      StoredRecord record;
      {
        const std::lock_guard lock(mutex);
        if (newest.empty()) continue;
        record = newest[random.Below(newest.size())];
      }
      SegmentLog& log = view ? *view : *log_;
      auto value = log.Read(record.place, record.key, record.version);
      if (value) {
        handles.emplace_back(std::move(record), std::move(*value));
        ++held;
      } else {
        ASSERT_EQ(value.error().code(), StatusCode::kNotFound)
            << value.error().ToString();
      }
      if (handles.size() < 8) continue;
      for (const auto& [of, handle] : handles) {
        ASSERT_TRUE(handle.bytes() == of.value) << of.key;
      }
      handles.clear();
    }
  };
  std::map<ino_t, std::uint32_t> inodes;
  std::uint32_t reused = 0;
  std::vector<std::thread> threads;
  threads.emplace_back(read, 1, false);
  threads.emplace_back(read, 2, true);
  const auto goes_on = [&](std::uint64_t seed) {
    return seed <= kRecordsMin ||
           ((reused == 0 || held == 0) && seed <= kRecordsMax);
  };
  for (std::uint64_t seed = 1; goes_on(seed); ++seed) {
    StoredRecord record = Put(seed, 1000 + seed * 37 % 40'000);
    const auto [at, is_new] =
        inodes.emplace(InodeOf(record.place.segment), record.place.segment);
    reused += at->second != record.place.segment ? 1 : 0;
    at->second = record.place.segment;
    for (const SegmentInfo& segment : log_->Segments()) {
      if (!segment.sealed) continue;
      ASSERT_TRUE(Keep(segment.id).ok());
    }
    const std::lock_guard lock(mutex);
    newest.push_back(std::move(record));
    if (newest.size() > 16) newest.erase(newest.begin());
  }
  writing = false;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(reused, 0U);
  EXPECT_GT(held, 0U);
  EXPECT_EQ(log_->disk_bytes(), DuBytes());
}

}  // namespace
}  // namespace larder
