#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "base/process_limits.h"
#include "engine/store_fixture.h"
#include "test_values.h"

// Every write of a file fails at once, with EFBIG: the process may write no
// files, and is not to be ended by the signal for that. What was acknowledged
// stays readable meanwhile, and writes come back by themselves.

namespace larder::testing {
namespace {

class FailedWriteTest : public StoreFixture {
 protected:
  FailedWriteTest() { std::signal(SIGXFSZ, SIG_DFL); }
  void SetUp() override {
    ::getrlimit(RLIMIT_FSIZE, &limit_);
    Open({{"size_limit", "32MiB"}});
  }
  void TearDown() override { LetWritesWork(); }

  void LetWritesFail() {
    const rlimit none = {0, limit_.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
    std::this_thread::sleep_for(2 * kFileSizeLimitTime);
  }
  void LetWritesWork() { ::setrlimit(RLIMIT_FSIZE, &limit_); }

  static std::string KeyOf(std::uint64_t i) {
    return "item" + std::to_string(i);
  }
  /// Of all three kinds: in the index, in the database, in segment files.
  static std::string ValueOf(std::uint64_t i) {
    constexpr std::size_t kSizes[] = {50, 500, 5000, 1'500'000};
    return MakeValue(i, kSizes[i % 16 == 0 ? 3 : i % 3]);
  }
  void Store(std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t i = begin; i < end; ++i) {
      ASSERT_EQ(Set(KeyOf(i), ValueOf(i)).ToString(), "kOk") << i;
    }
  }
  void ExpectStored(std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t i = begin; i < end; ++i) {
      ASSERT_TRUE(Get(KeyOf(i)) == ValueOf(i)) << i;
    }
  }
  /// Tries until it works; writes heal by themselves, but not at once.
  Status SetUntilItWorks() {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(20);
    Status status;
    do {
      status = Set("after", "value");
      if (!status.ok()) ::sched_yield();
    } while (!status.ok() && std::chrono::steady_clock::now() < deadline);
    return status;
  }
  /// Lets a write fail, and a try to reopen after it.
  void Fail() {
    ASSERT_NO_FATAL_FAILURE(LetWritesFail());
    const Status first = Set("lost", "value");
    ASSERT_EQ(first.code(), StatusCode::kIoError) << first.ToString();
    const Status second = Set("lost", "value");
    ASSERT_EQ(second.code(), StatusCode::kIoError) << second.ToString();
  }

  rlimit limit_ = {};
};

TEST_F(FailedWriteTest, ReadsGoOnWhileWritesFail) {
  ASSERT_NO_FATAL_FAILURE(Store(0, 40));
  ASSERT_NO_FATAL_FAILURE(Reopen());  // So that some of it is in tables.
  ASSERT_NO_FATAL_FAILURE(Store(40, 60));
  ASSERT_NO_FATAL_FAILURE(Fail());
  ASSERT_NO_FATAL_FAILURE(ExpectStored(0, 60));
  EXPECT_FALSE(Get("lost").has_value());
  EXPECT_EQ(*engine_->Count(), 60U);
  auto scan = engine_->OpenScan({.with_values = true});
  ASSERT_TRUE(scan.has_value()) << scan.error().ToString();
  EXPECT_EQ((*scan)->Next(100)->size(), 60U);
  EXPECT_EQ(Run(DeleteCommand{.key = KeyOf(1)}).status.code(),
            StatusCode::kIoError);
  EXPECT_EQ(Run(ClearCommand{}).status.code(), StatusCode::kIoError);
  EXPECT_FALSE(engine_->Sync().ok());
  EXPECT_FALSE(engine_->Reset("policy", "clock").ok());
  ASSERT_NO_FATAL_FAILURE(ExpectStored(0, 60));
}

TEST_F(FailedWriteTest, WritesComeBackAndNothingIsLost) {
  ASSERT_NO_FATAL_FAILURE(Store(0, 40));
  ASSERT_NO_FATAL_FAILURE(Fail());
  LetWritesWork();
  ASSERT_EQ(SetUntilItWorks().ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(ExpectStored(0, 40));
  EXPECT_EQ(*engine_->Count(), 41U);
  ASSERT_NO_FATAL_FAILURE(Store(40, 80));
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
  ASSERT_NO_FATAL_FAILURE(Reopen());
  ASSERT_NO_FATAL_FAILURE(ExpectStored(0, 80));
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(FailedWriteTest, WhatWasNotLoggedIsForgottenWhole) {
  ASSERT_NO_FATAL_FAILURE(Store(0, 20));
  for (std::uint64_t i = 0; i < 10; ++i) {
    const std::string key = KeyOf(2 * i);
    const Command command = SetCommand{.key = key, .value = "unlogged"};
    Reply reply;
    ASSERT_TRUE(engine_
                    ->Execute({&command, 1}, {&reply, 1},
                              {.durability = Durability::kNone})
                    .ok());
  }
  ASSERT_NO_FATAL_FAILURE(Fail());
  LetWritesWork();
  ASSERT_EQ(SetUntilItWorks().ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(ExpectStored(0, 20));
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(FailedWriteTest, ItHappensAgainAndAgain) {
  for (std::uint64_t round = 0; round < 5; ++round) {
    ASSERT_NO_FATAL_FAILURE(Store(round * 10, round * 10 + 10));
    ASSERT_NO_FATAL_FAILURE(Fail()) << round;
    LetWritesWork();
    ASSERT_EQ(SetUntilItWorks().ToString(), "kOk") << round;
    ASSERT_NO_FATAL_FAILURE(ExpectStored(0, round * 10 + 10));
    ASSERT_NO_FATAL_FAILURE(ExpectSound()) << round;
  }
}

TEST_F(FailedWriteTest, AFailedLargeValueLeavesTheOldOne) {
  const std::string old = MakeValue(1, 100'000);
  ASSERT_EQ(Set("key", old).ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(LetWritesFail());
  EXPECT_EQ(Set("key", MakeValue(2, 100'000)).code(), StatusCode::kIoError);
  EXPECT_TRUE(Get("key") == old);
  LetWritesWork();
  ASSERT_EQ(SetUntilItWorks().ToString(), "kOk");
  EXPECT_TRUE(Get("key") == old);
  EXPECT_EQ(Set("key", MakeValue(3, 100'000)).ToString(), "kOk");
  EXPECT_TRUE(Get("key") == MakeValue(3, 100'000));
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(FailedWriteTest, ValuesInHandStayValid) {
  ASSERT_NO_FATAL_FAILURE(Store(0, 30));
  ASSERT_NO_FATAL_FAILURE(Reopen());
  std::vector<Reply> held;
  for (std::uint64_t i = 0; i < 30; ++i) {
    held.push_back(Run(GetCommand{.key = KeyOf(i)}));
  }
  ASSERT_NO_FATAL_FAILURE(Fail());
  LetWritesWork();
  ASSERT_EQ(SetUntilItWorks().ToString(), "kOk");
  for (std::uint64_t i = 0; i < 30; ++i) {
    EXPECT_TRUE(held[i].value.bytes() == ValueOf(i)) << i;
  }
}

TEST_F(FailedWriteTest, AChangedSettingStaysChanged) {
  ASSERT_EQ(engine_->Reset("size_limit", "48MiB").ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(Fail());
  EXPECT_EQ(engine_->CurrentSettings().size_limit, 48 * kMiB);
  LetWritesWork();
  ASSERT_EQ(SetUntilItWorks().ToString(), "kOk");
  EXPECT_EQ(engine_->CurrentSettings().size_limit, 48 * kMiB);
}

TEST_F(FailedWriteTest, AnOpenStreamGoesOnAfterIt) {
  const std::string value = MakeValue(5, 5'000'000);
  auto writer = engine_->OpenWriter(SetCommand{.key = "stream"}, 0);
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE((*writer)->Append(value.substr(0, 3'000'000)).ok());
  ASSERT_NO_FATAL_FAILURE(Fail());
  LetWritesWork();
  ASSERT_EQ(SetUntilItWorks().ToString(), "kOk");
  ASSERT_EQ((*writer)->Append(value.substr(3'000'000)).ToString(), "kOk");
  ASSERT_TRUE((*writer)->Commit().applied);
  EXPECT_TRUE(Get("stream") == value);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(FailedWriteTest, AnOpenScanSaysThatItWasCutOff) {
  ASSERT_NO_FATAL_FAILURE(Store(0, 10));
  auto scan = engine_->OpenScan({});
  ASSERT_TRUE(scan.has_value());
  ASSERT_EQ((*scan)->Next(1)->size(), 1U);
  ASSERT_NO_FATAL_FAILURE(Fail());
  const auto page = (*scan)->Next(1);
  ASSERT_FALSE(page.has_value());
  EXPECT_EQ(page.error().code(), StatusCode::kAborted);
}

TEST_F(FailedWriteTest, ClosingWhileWritesFailLosesNothing) {
  ASSERT_NO_FATAL_FAILURE(Store(0, 40));
  ASSERT_NO_FATAL_FAILURE(Fail());
  engine_->Close().IgnoreError();  // It cannot write; that is all.
  engine_.reset();
  LetWritesWork();
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_NO_FATAL_FAILURE(ExpectStored(0, 40));
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// A tmpfs of its own, as others change what is free on a shared one.
class FreeSpaceFloorTest : public StoreFixture {
 protected:
  void SetUp() override {
    const bool mounted =
        (::unshare(CLONE_NEWNS) == 0 ||
         ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        ::mount("larder-test", directory_.path().c_str(), "tmpfs",
                MS_NOSUID | MS_NODEV, "size=64m,mode=0700") == 0;
    if (!mounted) GTEST_SKIP() << "cannot mount a tmpfs";
  }
  void TearDown() override {
    engine_.reset();
    ::umount2(directory_.path().c_str(), MNT_DETACH);
  }
  std::uint64_t FreeBytes() const {
    struct statvfs file_system = {};
    ::statvfs(directory_.path().c_str(), &file_system);
    return std::uint64_t{file_system.f_bavail} * file_system.f_frsize;
  }
};

TEST_F(FreeSpaceFloorTest, ItActsAsALowerLimit) {
  Open({{"size_limit", "1GiB"}, {"min_free_bytes", "24MiB"}});
  for (std::uint64_t i = 0; i < 1500; ++i) {
    const std::string key = "key" + std::to_string(i);
    ASSERT_EQ(Set(key, MakeValue(i, 65536)).ToString(), "kOk") << i;
    ASSERT_GE(FreeBytes() + 65536, 24 * kMiB) << i;
  }
  EXPECT_GT(Stats().evictions, 700U);
  EXPECT_GT(Stats().live_bytes, 10 * kMiB);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

}  // namespace
}  // namespace larder::testing
