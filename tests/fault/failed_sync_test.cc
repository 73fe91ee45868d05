#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/store_fixture.h"
#include "fault/sync_hook.h"

// The device fails while a change is synced. Whether the change is there
// afterwards cannot be known, and that is what the caller is told.

namespace larder::testing {
namespace {

class FailedSyncTest : public StoreFixture {
 protected:
  FailedSyncTest() {
    SetSyncHook([this](int fd) {
      const std::string path = PathOf(fd);
      if (path.ends_with(".log")) ++log_syncs_;
      if (path.ends_with(".seg")) {
        const std::scoped_lock lock(mutex_);
        synced_.insert(path);
      }
      // A compaction syncs the log, too.
      if (std::this_thread::get_id() == thread_ && !suffix_.empty() &&
          path.ends_with(suffix_) && fails_.exchange(false)) {
        failed_ = path;
        return EIO;
      }
      return ::syscall(SYS_fsync, fd) == 0 ? 0 : errno;
    });
  }
  void SetUp() override {
    Open({{"size_limit", "32MiB"}, {"durability", "power"}});
  }
  void TearDown() override {
    engine_.reset();
    SetSyncHook({});
  }
  /// The next sync of a file that is named so, by the thread of the test.
  void FailSyncOf(std::string_view suffix) {
    suffix_ = suffix;
    fails_ = true;
  }
  void SetUntilItWorks() {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!Set("after", "value").ok()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      ::sched_yield();
    }
  }

  const std::thread::id thread_ = std::this_thread::get_id();
  std::string suffix_;
  std::filesystem::path failed_;  // The file whose sync did.
  std::atomic<bool> fails_{false};
  std::atomic<int> log_syncs_{0};
  std::mutex mutex_;
  std::set<std::string> synced_;  // Segments. Guarded by mutex_.
};

TEST_F(FailedSyncTest, TheOutcomeIsUnknown) {
  ASSERT_EQ(Set("key", "old").ToString(), "kOk");
  FailSyncOf(".log");
  const Status status = Set("key", "new");
  EXPECT_EQ(status.code(), StatusCode::kOutcomeUnknown) << status.ToString();
  ASSERT_NO_FATAL_FAILURE(SetUntilItWorks());
  const auto value = Get("key");
  EXPECT_TRUE(value == "old" || value == "new");
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(FailedSyncTest, AnIncrSaysThatItMayHaveCounted) {
  ASSERT_TRUE(Run(IncrCommand{.key = "n"}).status.ok());
  FailSyncOf(".log");
  EXPECT_EQ(Run(IncrCommand{.key = "n"}).status.code(),
            StatusCode::kOutcomeUnknown);
  ASSERT_NO_FATAL_FAILURE(SetUntilItWorks());
  const std::int64_t n = Run(IncrCommand{.key = "n", .delta = 0}).integer;
  EXPECT_TRUE(n == 1 || n == 2) << n;
}

TEST_F(FailedSyncTest, SoDoesAStream) {
  auto writer = engine_->OpenWriter(SetCommand{.key = "key"}, 0);
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE((*writer)->Append(std::string(300'000, 'x')).ok());
  FailSyncOf(".log");
  EXPECT_EQ((*writer)->Commit().status.code(), StatusCode::kOutcomeUnknown);
}

TEST_F(FailedSyncTest, OfWhatIsRefusedMeanwhileTheOutcomeIsKnown) {
  FailSyncOf(".log");
  ASSERT_EQ(Set("a", "1").code(), StatusCode::kOutcomeUnknown);
  suffix_ = ".log";
  fails_ = true;  // So that it does not heal.
  const Status status = Set("b", "2");
  ASSERT_NO_FATAL_FAILURE(SetUntilItWorks());
  EXPECT_TRUE(status.code() != StatusCode::kIoError || !Get("b").has_value());
}

// What it wrote before may not be on the device, whoever thought so.
TEST_F(FailedSyncTest, AStreamIsSyncedThatWasOpenMeanwhile) {
  const std::string value(3 << 20, 'x');
  auto writer = engine_->OpenWriter(SetCommand{.key = "key"}, 0);
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE((*writer)->Append(value).ok());
  FailSyncOf(".log");
  EXPECT_EQ(Set("small", "1").code(), StatusCode::kOutcomeUnknown);
  ASSERT_NO_FATAL_FAILURE(SetUntilItWorks());  // All is opened anew.
  ASSERT_TRUE((*writer)->Append(value).ok());
  synced_.clear();
  EXPECT_EQ((*writer)->Commit().status.ToString(), "kOk");
  for (const auto& file : std::filesystem::directory_iterator(path_ / "log")) {
    EXPECT_TRUE(synced_.contains(file.path())) << file.path();
  }
  EXPECT_TRUE(Get("key") == value + value);
}

// Nothing of it is in the log yet.
TEST_F(FailedSyncTest, ASegmentThatCannotBeSyncedChangesNothing) {
  ASSERT_EQ(Set("key", "old").ToString(), "kOk");
  FailSyncOf(".seg");
  EXPECT_EQ(Set("key", std::string(100'000, 'x')).code(), StatusCode::kIoError);
  EXPECT_EQ(Get("key"), "old");
  // The next one has another file.
  EXPECT_EQ(Set("key", std::string(100'000, 'y')).ToString(), "kOk");
}

// The kernel takes its pages for written by now: whatever is promised of them,
// they are written elsewhere before.
TEST_F(FailedSyncTest, ASegmentThatCannotBeSyncedIsNotReliedUpon) {
  const std::string value(90'000, 'x');
  const Command weak = SetCommand{.key = "key", .value = value};
  Reply reply;
  ASSERT_TRUE(engine_
                  ->Execute({&weak, 1}, {&reply, 1},
                            {.durability = Durability::kProcess})
                  .ok());
  FailSyncOf(".seg");
  EXPECT_EQ(engine_->Sync().code(), StatusCode::kIoError);
  const std::filesystem::path doubtful = failed_;
  auto writer = engine_->OpenWriter(SetCommand{.key = "small"}, 0);
  ASSERT_TRUE(writer.has_value());
  FailSyncOf(".log");
  EXPECT_FALSE((*writer)->Commit().status.ok());
  ASSERT_NO_FATAL_FAILURE(SetUntilItWorks());  // All is opened anew.
  EXPECT_EQ(Run(TouchCommand{.key = "key"}).status.ToString(), "kOk");
  EXPECT_FALSE(std::filesystem::exists(doubtful));
  EXPECT_EQ(Get("key"), value);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(FailedSyncTest, AFailedSyncHealsAsAFailedWriteDoes) {
  ASSERT_EQ(Set("key", "value").ToString(), "kOk");
  FailSyncOf(".log");
  EXPECT_EQ(engine_->Sync().code(), StatusCode::kIoError);
  ASSERT_NO_FATAL_FAILURE(SetUntilItWorks());
  EXPECT_EQ(engine_->Sync().ToString(), "kOk");
  EXPECT_EQ(Get("key"), "value");
}

}  // namespace
}  // namespace larder::testing
