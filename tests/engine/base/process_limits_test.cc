// Limits of the process: what they make fail says which one to raise, and ends
// nobody.

#include "base/process_limits.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "read_file.h"
#include "segments/segment_mapping.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

// Until it counts.
void AwaitFileSizeLimit() {
  std::this_thread::sleep_for(2 * kFileSizeLimitTime);
}

/// A soft limit of this process, as it was again afterwards.
class Limited {
 public:
  Limited(int resource, rlim_t value) : resource_(resource) {
    ::getrlimit(resource_, &before_);
    const rlimit limit = {value, before_.rlim_max};
    EXPECT_EQ(::setrlimit(resource_, &limit), 0);
    if (resource_ == RLIMIT_FSIZE) AwaitFileSizeLimit();
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

// What they are of, a line each.
std::string DescribeDescriptors() {
  std::string lines;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    lines += std::filesystem::read_symlink(entry.path(), gone).string() + "\n";
  }
  return lines;
}

// Waits until there are at most so many.
bool GoesDownTo(std::size_t count) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (OpenDescriptors() > count) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
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
  static Reply Set(Engine& engine, const std::string& key,
                   std::string_view value) {
    const Command command = SetCommand{.key = key, .value = value};
    Reply reply;
    const Status status = engine.Execute({&command, 1}, {&reply, 1});
    if (!status.ok()) reply.status = status;
    return reply;
  }
  static std::string Get(Engine& engine, const std::string& key) {
    const Command command = GetCommand{.key = key};
    Reply reply;
    const Status status = engine.Execute({&command, 1}, {&reply, 1});
    return status.ok() ? reply.value.ToString() : status.ToString();
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

  const std::size_t before_ = OpenDescriptors();
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

// What docs/processes.md lists: the directory, db/, log/, seat.lock, and of the
// holder LOCK, the MANIFEST, the log of writes and marks. However many tables
// and segments there are, whether they were written to or read.
TEST_F(ProcessLimitsTest, AnIdleCacheHasEightDescriptorsAtMost) {
  const TemporaryDirectory memory(TemporaryDirectory::Place::kMemory);
  const auto open = [&](const char* mode) {
    EngineOptions options;
    options.region_directory = memory.path();
    options.settings = {{"read_mode", mode}};
    options.memory_budget_bytes = 1 << 20;
    auto engine = OpenEngine(directory_.path() / "cache", std::move(options));
    EXPECT_TRUE(engine) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  };
  const std::string large(100'000, 'v');
  const std::string small(200, 'v');
  for (const char* const mode : {"map", "pread"}) {
    const std::size_t before = OpenDescriptors();
    auto holder = open(mode);
    for (int i = 0; i < 20'000; ++i) {
      ASSERT_TRUE(Set(*holder, "k" + std::to_string(i), small).applied);
    }
    for (int i = 0; i < 300; ++i) {
      ASSERT_TRUE(Set(*holder, "l" + std::to_string(i), large).applied);
      ASSERT_EQ(Get(*holder, "l" + std::to_string(i / 2)), large);
    }
    EXPECT_TRUE(GoesDownTo(before + 8)) << DescribeDescriptors();
    // It opens what it needs.
    for (int i = 0; i < 20'000; ++i) {
      ASSERT_EQ(Get(*holder, "k" + std::to_string(i)), small);
    }
    for (int i = 0; i < 300; ++i) {
      ASSERT_EQ(Get(*holder, "l" + std::to_string(i)), large);
    }
    ASSERT_TRUE(Set(*holder, "l0", "another").applied);
    ASSERT_TRUE(Set(*holder, "l1", large + "x").applied);
    EXPECT_EQ(Get(*holder, "l1"), large + "x");
    EXPECT_TRUE(GoesDownTo(before + 8)) << DescribeDescriptors();
    ASSERT_TRUE(holder->Close().ok());
    holder.reset();
    EXPECT_EQ(OpenDescriptors(), before) << DescribeDescriptors();
  }
}

TEST_F(ProcessLimitsTest, AnIdleClientHasFiveDescriptorsAtMost) {
  const TemporaryDirectory memory(TemporaryDirectory::Place::kMemory);
  EngineOptions options;
  options.region_directory = memory.path();
  const auto path = directory_.path() / "cache";
  const auto holder = OpenEngine(path, options);
  ASSERT_TRUE(holder);
  const std::string large(100'000, 'v');
  ASSERT_TRUE(Set(**holder, "l", large).applied);
  const std::size_t rest = 8;  // Of the holder.
  ASSERT_TRUE(GoesDownTo(before_ + rest)) << DescribeDescriptors();
  const auto client = OpenEngine(path, options);
  ASSERT_TRUE(client);
  EXPECT_FALSE((*client)->capabilities().holds_store);
  EXPECT_LE(OpenDescriptors(), before_ + rest + 4) << DescribeDescriptors();
  ASSERT_TRUE(Set(**client, "k", "v").applied);
  ASSERT_TRUE(Set(**client, "m", large).applied);
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(Get(**client, "k"), "v");
    ASSERT_EQ(Get(**client, "l"), large);
  }
  EXPECT_TRUE(GoesDownTo(before_ + rest + 5)) << DescribeDescriptors();
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

// The sanitizers take all address space there is.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(ProcessLimitsTest, ValuesAreReadWithoutAddressSpaceForThem) {
  const auto engine = Open();
  ASSERT_TRUE(engine);
  const std::string value(1 << 20, 'v');
  ASSERT_TRUE(Set(**engine, value).applied);
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  // Less than a segment, enough for a copy.
  const Limited little(RLIMIT_AS, pages * 4096 + (4 << 20));
  const Command command = GetCommand{.key = "key"};
  Reply reply;
  ASSERT_TRUE((*engine)->Execute({&command, 1}, {&reply, 1}).ok());
  ASSERT_TRUE(reply.status.ok()) << reply.status.ToString();
  EXPECT_TRUE(reply.value.bytes() == value);
  EXPECT_EQ(ReadFile("/proc/self/maps").find(".seg"), std::string::npos);
}
#endif

TEST_F(ProcessLimitsTest, MostMappingsAreLeftToOthers) {
  if (MappingCountMax() > 100'000) GTEST_SKIP() << "too many to try";
  const TemporaryDirectory directory;
  const std::string path = directory.path() / "file";
  std::ofstream(path) << std::string(4096, 'x');
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const auto counters = std::make_shared<SegmentCounters>();
  std::vector<std::shared_ptr<SegmentMapping>> mappings;
  for (;;) {
    auto mapping = SegmentMapping::Map(fd, 4096, counters);
    ASSERT_TRUE(mapping) << mapping.error().ToString();
    if (*mapping == nullptr) break;
    mappings.push_back(*std::move(mapping));
    ASSERT_LE(mappings.size(), MappingCountMax());
  }
  EXPECT_EQ(mappings.size(), MappingCountMax());
  mappings.pop_back();
  const auto again = SegmentMapping::Map(fd, 4096, counters);
  ASSERT_TRUE(again);
  EXPECT_NE(*again, nullptr);
  ::close(fd);
}

TEST_F(ProcessLimitsTest, TheSignalIsHeldOnlyMeanwhile) {
  const Limited large(RLIMIT_FSIZE, rlim_t{1} << 50);
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

TEST_F(ProcessLimitsTest, TheSignalIsNotHeldWithoutALimit) {
  {
    const Limited large(RLIMIT_FSIZE, rlim_t{1} << 50);
    const FileSizeSignalHeld held;
    EXPECT_TRUE(IsHeldBack());
  }
  AwaitFileSizeLimit();
  const FileSizeSignalHeld held;
  EXPECT_FALSE(IsHeldBack());
}

TEST_F(ProcessLimitsTest, WhatTheApplicationHasPendingStaysPending) {
  const Limited large(RLIMIT_FSIZE, rlim_t{1} << 50);
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
