// Limits of the process: what they make fail says which one to raise, and ends
// nobody.

#include "process_limits.h"

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include "larder/engine/engine.h"

#include "temporary_directory.h"

namespace larder::testing {
namespace {

/// A soft limit of this process, as it was again afterwards.
class Limited {
 public:
  Limited(int resource, rlim_t value) : resource_(resource) {
    ::getrlimit(resource_, &before_);
    const rlimit limit = {value, before_.rlim_max};
    EXPECT_EQ(::setrlimit(resource_, &limit), 0);
  }
  ~Limited() { ::setrlimit(resource_, &before_); }
  Limited(const Limited&) = delete;
  Limited& operator=(const Limited&) = delete;

 private:
  const int resource_;
  rlimit before_{};
};

std::size_t OpenDescriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count - 1;  // That of the iterator itself.
}

bool Mentions(const Status& status, std::string_view text) {
  return status.message().find(text) != std::string::npos;
}

bool IsHeldBack() {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return ::sigismember(&mask, SIGXFSZ) == 1;
}

class ProcessLimitsTest : public ::testing::Test {
 protected:
  ProcessLimitsTest() { ::signal(SIGXFSZ, SIG_DFL); }
  Result<std::unique_ptr<Engine>> Open() const {
    EngineOptions options;
    options.region_directory = regions_.path();
    return OpenEngine(directory_.path() / "cache", std::move(options));
  }
  static Reply Set(Engine& engine, std::string_view value) {
    const Command command = SetCommand{.key = "key", .value = value};
    Reply reply;
    const Status status = engine.Execute({&command, 1}, {&reply, 1});
    if (!status.ok()) reply.status = status;
    return reply;
  }
  /// Opens with one more descriptor each time, until it works; how many
  /// refusals there were.
  int OpenWithFew() const {
    const std::size_t used = OpenDescriptors();
    for (int more = 0; more < 100; ++more) {
      const Limited few(RLIMIT_NOFILE, used + static_cast<rlim_t>(more));
      const auto engine = Open();
      if (engine) return more;
      EXPECT_EQ(engine.error().code(), StatusCode::kIoError)
          << engine.error().ToString();
      EXPECT_TRUE(Mentions(engine.error(), "EMFILE") &&
                  Mentions(engine.error(), "RLIMIT_NOFILE"))
          << engine.error().ToString();
    }
    return 100;
  }

  const TemporaryDirectory directory_;
  const TemporaryDirectory regions_;
};

TEST_F(ProcessLimitsTest, OutOfDescriptorsSaysWhatToRaise) {
  { ASSERT_TRUE(Open()); }
  const int refusals = OpenWithFew();
  EXPECT_GT(refusals, 0);
  EXPECT_LT(refusals, 100);
}

TEST_F(ProcessLimitsTest, OutOfDescriptorsSaysSoToAClient) {
  const auto holder = Open();
  ASSERT_TRUE(holder);
  ASSERT_TRUE(Set(**holder, "value").applied);
  const int refusals = OpenWithFew();
  EXPECT_GT(refusals, 0);
  EXPECT_LT(refusals, 100);
  EXPECT_TRUE(Set(**holder, "value").applied);
}

TEST_F(ProcessLimitsTest, AFileThatIsTooLongIsNoFullDisk) {
  const auto engine = Open();
  ASSERT_TRUE(engine);
  const std::string large(1 << 20, 'v');
  ASSERT_TRUE(Set(**engine, large).applied);
  const Limited none(RLIMIT_FSIZE, 0);
  for (const std::string& value : {std::string("small"), large}) {
    const Reply reply = Set(**engine, value);
    EXPECT_EQ(reply.status.code(), StatusCode::kIoError);
    EXPECT_TRUE(Mentions(reply.status, "RLIMIT_FSIZE"))
        << reply.status.ToString();
  }
}

// What is kept for a full disk is longer than that.
TEST_F(ProcessLimitsTest, ANewCacheSaysSoToo) {
  const Limited little(RLIMIT_FSIZE, 1 << 20);
  const auto engine = Open();
  Status status = engine ? Set(**engine, "value").status : engine.error();
  EXPECT_EQ(status.code(), StatusCode::kIoError);
  EXPECT_TRUE(Mentions(status, "RLIMIT_FSIZE")) << status.ToString();
}

TEST_F(ProcessLimitsTest, TheSignalIsHeldOnlyMeanwhile) {
  {
    const FileSizeSignalHeld held;
    { const FileSizeSignalHeld again; }
    EXPECT_TRUE(IsHeldBack());
    ::raise(SIGXFSZ);  // As the kernel does.
    errno = EFBIG;
  }
  EXPECT_EQ(errno, EFBIG);
  EXPECT_FALSE(IsHeldBack());
}

TEST_F(ProcessLimitsTest, WhatTheApplicationHasPendingStaysPending) {
  sigset_t signal;
  ::sigemptyset(&signal);
  ::sigaddset(&signal, SIGXFSZ);
  ::pthread_sigmask(SIG_BLOCK, &signal, nullptr);
  ::raise(SIGXFSZ);
  {
    const FileSizeSignalHeld held;
    errno = EFBIG;
  }
  EXPECT_TRUE(IsHeldBack());
  const timespec at_once{};
  EXPECT_EQ(::sigtimedwait(&signal, nullptr, &at_once), SIGXFSZ);
  ::pthread_sigmask(SIG_UNBLOCK, &signal, nullptr);
}

}  // namespace
}  // namespace larder::testing
