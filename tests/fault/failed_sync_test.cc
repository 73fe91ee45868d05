#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

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
      if (!suffix_.empty() && path.ends_with(suffix_) && fails_.exchange(false))
        return EIO;
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
  /// The next sync of a file that is named so.
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

  std::string suffix_;
  std::atomic<bool> fails_{false};
  std::atomic<int> log_syncs_{0};
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

// Nothing of it is in the log yet.
TEST_F(FailedSyncTest, ASegmentThatCannotBeSyncedChangesNothing) {
  ASSERT_EQ(Set("key", "old").ToString(), "kOk");
  FailSyncOf(".seg");
  EXPECT_EQ(Set("key", std::string(100'000, 'x')).code(), StatusCode::kIoError);
  EXPECT_EQ(Get("key"), "old");
  // The next one has another file.
  EXPECT_EQ(Set("key", std::string(100'000, 'y')).ToString(), "kOk");
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
