#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "larder/cache/cache.h"

#include "store/store.h"
#include "temporary_directory.h"
#include "test_values.h"

// A cache whose limit is larger than its file system, a tmpfs of 64 MiB in a
// mount namespace of this process. Needs the right to mount (root, or user
// namespaces); is skipped where there is none.

namespace larder::testing {
namespace {

using std::chrono::seconds;

class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Mount()) GTEST_SKIP() << "cannot mount a tmpfs: " << reason_;
    ASSERT_NO_FATAL_FAILURE(PlaceBallast(20U << 20));
    ASSERT_NO_FATAL_FAILURE(Open());
  }
  void TearDown() override {
    cache_.reset();
    if (mounted_) ::umount2(directory_.path().c_str(), MNT_DETACH);
  }

  /// Gives this process mounts of its own, once: RocksDB's threads outlive a
  /// test, and have the mounts of the thread that started them.
  static int Unshare() {
    static const int error = [] {
      if (::unshare(CLONE_NEWNS) != 0 &&
          ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
        return errno;
      }
      // Nothing that is mounted here may be seen outside.
      return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0
                 ? 0
                 : errno;
    }();
    return error;
  }

  bool Mount() {
    if (Unshare() != 0) {
      reason_ = std::string("unshare: ") + std::strerror(Unshare());
      return false;
    }
    if (::mount("larder-test", directory_.path().c_str(), "tmpfs",
                MS_NOSUID | MS_NODEV, "size=64m,mode=0700") != 0) {
      reason_ = std::string("mount: ") + std::strerror(errno);
      return false;
    }
    mounted_ = true;
    return true;
  }

  /// What somebody else has on the file system.
  void PlaceBallast(std::size_t bytes) {
    const int fd =
        ::open(ballast_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(::posix_fallocate(fd, 0, static_cast<off_t>(bytes)), 0);
    ::close(fd);
  }
  void RemoveBallast() { std::filesystem::remove(ballast_); }

  /// Somebody else does, in files "more0", "more1", ...
  void TakeTheLastByte() {
    std::size_t size = 1 << 20;
    for (int i = 0; size >= 4096; ++i) {
      const std::filesystem::path path =
          directory_.path() / ("more" + std::to_string(i));
      const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
      if (fd < 0 || ::posix_fallocate(fd, 0, static_cast<off_t>(size)) != 0) {
        size /= 2;
      }
      if (fd >= 0) ::close(fd);
    }
  }

  void Open() {
    auto cache = Cache::Open(directory_.path() / "cache",
                             {.settings = {{"size_limit", "1GiB"}}});
    ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
    cache_ = *std::move(cache);
  }

  static std::string KeyOf(int i) { return "item" + std::to_string(i); }

  /// Sets items until one is refused, which must be for lack of space.
  void FillUntilRefused(std::size_t value_size) {
    Status status;
    for (item_count_ = 0; status.ok() && item_count_ < 2'000'000;
         item_count_ += status.ok() ? 1 : 0) {
      const auto n = static_cast<std::uint64_t>(item_count_);
      status = cache_->Set(KeyOf(item_count_), MakeValue(n, value_size),
                           {.tag = item_count_ % 2 == 0 ? "even" : ""});
    }
    ASSERT_EQ(status.code(), StatusCode::kNoSpace) << status.ToString();
    ASSERT_GT(item_count_, 50);
    value_size_ = value_size;
  }

  /// Every item that was acknowledged, but for those before `begin`, is there.
  void ExpectReadable(int begin = 0) {
    for (int i = begin; i < item_count_; ++i) {
      const auto value = cache_->Get(KeyOf(i));
      ASSERT_TRUE(value.has_value()) << i << value.error().ToString();
      ASSERT_TRUE(value->has_value()) << i;
      ASSERT_TRUE((*value)->bytes() ==
                  MakeValue(static_cast<std::uint64_t>(i), value_size_))
          << i;
    }
  }

  /// Sets until one succeeds; the cache heals by itself, but not at once.
  Status SetUntilItWorks() {
    const auto deadline = std::chrono::steady_clock::now() + seconds(20);
    Status status;
    do {
      status = cache_->Set("after", std::string(value_size_, 'a'));
      if (!status.ok()) std::this_thread::yield();
    } while (!status.ok() && std::chrono::steady_clock::now() < deadline);
    return status;
  }

  void ExpectHealthy() {
    const auto report = cache_->Check();
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_TRUE(report->ok())
        << (report->problems.empty() ? "" : report->problems.front());
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path ballast_ = directory_.path() / "ballast";
  bool mounted_ = false;
  std::string reason_;
  std::unique_ptr<Cache> cache_;
  int item_count_ = 0;
  std::size_t value_size_ = 0;
};

/// The sizes of small values (in the database) and large ones (in files).
class FullDiskWith : public FullDiskTest,
                     public ::testing::WithParamInterface<std::size_t> {};

TEST_P(FullDiskWith, NothingAcknowledgedIsLost) {
  ASSERT_NO_FATAL_FAILURE(FillUntilRefused(GetParam()));
  ASSERT_NO_FATAL_FAILURE(ExpectReadable());
  EXPECT_EQ(*cache_->Count(), static_cast<std::uint64_t>(item_count_));
  EXPECT_EQ(cache_->Stats()->evictions, 0U);
}

TEST_P(FullDiskWith, DeleteEvictAndClearWork) {
  ASSERT_NO_FATAL_FAILURE(FillUntilRefused(GetParam()));
  const auto deleted = cache_->Delete(KeyOf(1));
  ASSERT_TRUE(deleted.has_value()) << deleted.error().ToString();
  EXPECT_TRUE(*deleted);
  EXPECT_FALSE(*cache_->Contains(KeyOf(1)));
  const auto evicted = cache_->Evict("even");
  ASSERT_TRUE(evicted.has_value()) << evicted.error().ToString();
  EXPECT_EQ(*evicted, static_cast<std::uint64_t>((item_count_ + 1) / 2));
  const auto cleared = cache_->Clear();
  ASSERT_TRUE(cleared.has_value()) << cleared.error().ToString();
  EXPECT_EQ(*cleared, static_cast<std::uint64_t>(item_count_ / 2 - 1));
  EXPECT_EQ(*cache_->Count(), 0U);
}

TEST_P(FullDiskWith, SetsWorkAgainAfterClear) {
  ASSERT_NO_FATAL_FAILURE(FillUntilRefused(GetParam()));
  ASSERT_TRUE(cache_->Clear().has_value());
  EXPECT_EQ(SetUntilItWorks().ToString(), "kOk");
  EXPECT_EQ((*cache_->Get("after"))->bytes(), std::string(value_size_, 'a'));
  ASSERT_NO_FATAL_FAILURE(ExpectHealthy());
}

TEST_P(FullDiskWith, SetsWorkAgainWhenOthersMakeRoom) {
  ASSERT_NO_FATAL_FAILURE(FillUntilRefused(GetParam()));
  RemoveBallast();
  EXPECT_EQ(SetUntilItWorks().ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(ExpectReadable());
  ASSERT_NO_FATAL_FAILURE(ExpectHealthy());
}

TEST_P(FullDiskWith, ReopensAndReadsOnTheFullDisk) {
  ASSERT_NO_FATAL_FAILURE(FillUntilRefused(GetParam()));
  ASSERT_EQ(cache_->Close().ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_NO_FATAL_FAILURE(ExpectReadable());
  RemoveBallast();
  EXPECT_EQ(SetUntilItWorks().ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(ExpectHealthy());
}

TEST_P(FullDiskWith, SetsLeaveTheReserveAlone) {
  ASSERT_NO_FATAL_FAILURE(FillUntilRefused(GetParam()));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(cache_->Set("more", MakeValue(1, value_size_)).code(),
              StatusCode::kNoSpace);
  }
  EXPECT_GT(std::filesystem::file_size(directory_.path() / "cache/reserve"),
            0U);
}

// A reserve is kept for just this: somebody else takes the very last byte.
TEST_P(FullDiskWith, DeletesWorkWhenOthersTakeTheLastByte) {
  ASSERT_NO_FATAL_FAILURE(FillUntilRefused(GetParam()));
  ASSERT_NO_FATAL_FAILURE(TakeTheLastByte());
  for (int i = 0; i < 20; ++i) {
    const auto deleted = cache_->Delete(KeyOf(i));
    ASSERT_TRUE(deleted.has_value()) << deleted.error().ToString();
    EXPECT_TRUE(*deleted) << i;
  }
  ASSERT_NO_FATAL_FAILURE(ExpectReadable(20));
  const auto cleared = cache_->Clear();
  ASSERT_TRUE(cleared.has_value()) << cleared.error().ToString();
  EXPECT_EQ(*cleared, static_cast<std::uint64_t>(item_count_ - 20));
}

TEST_P(FullDiskWith, EvictWorksWhenOthersTakeTheLastByte) {
  ASSERT_NO_FATAL_FAILURE(FillUntilRefused(GetParam()));
  ASSERT_NO_FATAL_FAILURE(TakeTheLastByte());
  const auto evicted = cache_->Evict("even");
  ASSERT_TRUE(evicted.has_value()) << evicted.error().ToString();
  EXPECT_EQ(*evicted, static_cast<std::uint64_t>((item_count_ + 1) / 2));
  EXPECT_EQ(*cache_->Count(), static_cast<std::uint64_t>(item_count_ / 2));
}

// Without the reserve, and with too little room for sets, which are tried over
// and over. The database is opened again for a delete, though not at once.
TEST_P(FullDiskWith, RefusedSetsDoNotKeepDeletesFromWorking) {
  ASSERT_NO_FATAL_FAILURE(FillUntilRefused(GetParam()));
  ASSERT_TRUE(cache_->Delete(KeyOf(0)).has_value());
  std::filesystem::resize_file(directory_.path() / "cache/reserve", 0);
  ASSERT_NO_FATAL_FAILURE(TakeTheLastByte());
  Result<bool> deleted = true;
  for (int i = 1; deleted && i < item_count_; ++i) {
    deleted = cache_->Delete(KeyOf(i));
  }
  ASSERT_FALSE(deleted.has_value());
  ASSERT_EQ(deleted.error().code(), StatusCode::kNoSpace);
  std::filesystem::resize_file(ballast_, 19U << 20);
  const auto deadline = std::chrono::steady_clock::now() + seconds(10);
  while (!deleted && std::chrono::steady_clock::now() < deadline) {
    for (int i = 0; i < 1000; ++i) {
      ASSERT_EQ(cache_->Set("more", "value").code(), StatusCode::kNoSpace);
    }
    deleted = cache_->Delete(KeyOf(item_count_ - 1));
  }
  EXPECT_TRUE(deleted.has_value()) << deleted.error().ToString();
}

// Clients' changes that come at the same time are one commit.
TEST_F(FullDiskTest, ADeleteWorksBesideSetsOfOthers) {
  ASSERT_EQ(cache_->Close().ToString(), "kOk");
  auto store = Store::Open(directory_.path() / "cache", {.background = false});
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  const std::string value(500, 'v');
  Reply reply;
  const Command first = SetCommand{.key = "old", .value = value};
  ASSERT_TRUE((*store)->Execute({&first, 1}, {&reply, 1}, {}).ok());
  ASSERT_NO_FATAL_FAILURE(TakeTheLastByte());
  std::vector<std::string> keys;
  for (int i = 0; i < 64; ++i) keys.push_back(KeyOf(i));
  std::vector<Command> commands;
  for (const std::string& key : keys) {
    commands.emplace_back(SetCommand{.key = key, .value = value});
  }
  commands.emplace_back(DeleteCommand{.key = "old"});
  std::vector<Reply> replies(commands.size());
  std::vector<ClientChange> changes;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    changes.push_back({.session = {i + 1, 1},
                       .command = &commands[i],
                       .reply = &replies[i],
                       .options = {},
                       .status = {}});
  }
  (*store)->ExecuteGroup(changes);
  EXPECT_EQ(changes.front().status.code(), StatusCode::kNoSpace);
  EXPECT_EQ(changes.back().status.ToString(), "kOk");
  EXPECT_TRUE(replies.back().applied);
}

TEST(FromRocks, AWriteThatWaitedForAFailedFlushFoundNoSpace) {
  const auto flush = rocksdb::Status::NoSpace("while appending to 1.sst");
  const auto write = rocksdb::Status::Incomplete(flush.ToString());
  EXPECT_EQ(FromRocks(write, "writing").code(), StatusCode::kNoSpace);
  const auto other = rocksdb::Status::Incomplete("IO error: 1.sst");
  EXPECT_EQ(FromRocks(other, "writing").code(), StatusCode::kIoError);
}

INSTANTIATE_TEST_SUITE_P(Sizes, FullDiskWith,
                         ::testing::Values(std::size_t{500},
                                           std::size_t{60'000}));

}  // namespace
}  // namespace larder::testing
