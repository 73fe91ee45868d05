// Ways to end a process that has a cache open. gtest cannot host them, so each
// is a run of another program.

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "larder/cache/cache.h"

#include "spawned_process.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

using namespace std::chrono_literals;

class ExitTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
  }
  void ExpectToEndWell() {
    const std::string_view form = GetParam();
    const bool in_log = form.starts_with("exit-of-the-log");
    const bool in_callback = in_log || form == "exit-of-a-callback";
    SpawnedProcess process(LARDER_EXIT_FORM, {GetParam(), cache_});
    std::vector<char> report;
    const auto deadline = SpawnedProcess::Clock::now() + 60s;
    EXPECT_FALSE(process.ReadUntil(deadline, report)) << "it does not end";
    if (SpawnedProcess::Clock::now() >= deadline) process.Kill();
    const int status = process.Wait();
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), in_callback ? 7 : 0);
    EXPECT_EQ(std::string(report.begin(), report.end()),
              in_log ? "from the log" : "");
  }
  void ExpectWhole(Cache& cache) {
    EXPECT_TRUE(cache.Get("main").value().has_value());
    EXPECT_TRUE(cache.Check().value().ok());
    if (std::string_view(GetParam()) == "leaked-and-recorded") {
      std::ifstream trace(cache_ + ".trace");
      std::string line;
      int count = 0;
      while (std::getline(trace, line)) ++count;
      EXPECT_EQ(count, 1 + 101);  // The names of the columns, and the sets.
    }
    const std::string other = cache_ + ".2";
    if (!std::filesystem::exists(other)) return;
    // Some of these were damaged in their middle.
    const auto opened = Cache::Open(other);
    ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
    EXPECT_TRUE((*opened)->Get("main").value().has_value());
    EXPECT_LE((*opened)->Check(/*repair=*/true).value().values_damaged, 1U);
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const std::string cache_ = directory_.path() / "cache";
};

TEST_P(ExitTest, AProcessThatHasTheStoreEndsWell) {
  ExpectToEndWell();
  const auto cache = Cache::Open(cache_);
  ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
  EXPECT_TRUE((*cache)->engine().capabilities().holds_store);
  ExpectWhole(**cache);
}

TEST_P(ExitTest, AProcessThatAsksAnotherOneEndsWell) {
  const auto cache = Cache::Open(cache_);
  ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
  ExpectToEndWell();
  ExpectWhole(**cache);
}

INSTANTIATE_TEST_SUITE_P(
    EveryForm, ExitTest,
    ::testing::Values(
        "global", "global-used-too-late", "global-of-two", "function-static",
        "thread-local", "leaked", "leaked-and-recorded", "busy",
        "exit-of-a-thread", "exit-of-a-callback",
        "destroyed-in-a-callback-at-exit", "closes-in-a-thread",
        "destroys-in-a-thread", "opens-in-threads", "opens-first-in-a-thread",
        "opens-first-after-exit", "child-opens-in-a-thread",
        "destroyed-in-a-callback", "objects-between-two-opens",
        "closes-amid-a-callback", "destroys-amid-a-callback",
        "opens-amid-a-clock", "two-exits", "two-exits-one-in-a-callback",
        "forks-amid-exit", "exit-of-the-log-of-a-thread",
        "exit-of-the-log-in-a-call", "exit-of-the-log-in-open",
        "exit-of-the-log-after-many-lines",
        "exit-of-the-log-with-a-locked-stream", "exit-of-the-log-at-exit",
        "child-exits", "child-uses-and-exits", "child-closes-and-exits",
        "children-of-a-busy-parent", "read-only", "grandchild",
        "underscore-exit", "exec", "vfork", "daemon"),
    [](const auto& form) {
      std::string name = form.param;
      std::erase(name, '-');
      return name;
    });

}  // namespace
}  // namespace larder::testing
