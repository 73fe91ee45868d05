#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/cache/cache.h"

#include "replay_run.h"
#include "trace_files.h"

// A live cache records itself; what it recorded tells what it did.

namespace larder::replay {
namespace {

constexpr std::uint64_t kCapacity = 60'000;

class RecordTest : public testing::TraceFiles {
 protected:
  std::unique_ptr<Cache> Open(const std::string& policy, CacheOptions options) {
    options.settings = {{"policy", policy}, {"size_limit", "64MiB"}};
    options.background = false;
    options.serve_evicted = false;
    options.logical_capacity = kCapacity;
    options.random_seed = 1;
    auto cache = Cache::Open(Path("cache"), std::move(options));
    EXPECT_TRUE(cache) << cache.error().message();
    return std::move(*cache);
  }
  static std::size_t SizeOf(std::uint32_t key) { return 20 + key * 37 % 300; }
  /// Gets, and sets what is not there: returns the miss ratio.
  static double Work(Cache& cache, std::size_t count) {
    std::size_t misses = 0;
    for (const std::uint32_t key : testing::MixedKeys(7, 3000, count)) {
      const std::string name = "key/" + std::to_string(key);
      const auto got = cache.Get(name);
      EXPECT_TRUE(got);
      if (got && *got) continue;
      ++misses;
      EXPECT_TRUE(cache.Set(name, std::string(SizeOf(key), 'x')).ok());
    }
    return static_cast<double>(misses) / static_cast<double>(count);
  }
  static double Replayed(const std::string& path, const std::string& policy,
                         std::uint64_t capacity) {
    const auto trace = LoadTrace(path, {});
    EXPECT_TRUE(trace) << trace.error().message();
    if (!trace) return -1;
    const auto run =
        RunInSimulator(*trace, {.policy = policy, .capacity = capacity});
    EXPECT_TRUE(run) << run.error().message();
    return run ? run->object_miss_ratio() : -1;
  }
};

TEST_F(RecordTest, ReplayMissesWhatTheLiveCacheMissed) {
  for (const char* policy : {"least-recently-used", "s3-fifo", "adaptive"}) {
    const std::string file = Path(std::string(policy) + ".csv.zst");
    const auto cache = Open(policy, {.record = {.file = file}});
    ASSERT_TRUE(cache->Clear());
    const double live = Work(*cache, 15'000);
    const auto stats = cache->Stats();
    ASSERT_TRUE(stats);
    EXPECT_EQ(stats->rows_recorded_dropped, 0U);
    ASSERT_TRUE(cache->Close().ok());
    EXPECT_NEAR(Replayed(file, policy, kCapacity), live, 0.01) << policy;
    EXPECT_GT(live, 0.1);
    EXPECT_LT(live, 0.9);
  }
}

TEST_F(RecordTest, ShareOfTheKeysStandsForASmallerCache) {
  const std::string file = Path("half.csv");
  const auto cache =
      Open("least-recently-used", {.record = {.file = file, .key_share = 0.5}});
  const double live = Work(*cache, 30'000);
  ASSERT_TRUE(cache->Close().ok());
  EXPECT_NEAR(Replayed(file, "least-recently-used", kCapacity / 2), live, 0.05);
}

TEST_F(RecordTest, KeysAndValuesAreNotInTheTrace) {
  const std::string file = Path("t.csv");
  const auto cache = Open("adaptive", {.record = {.file = file}});
  ASSERT_TRUE(cache->Set("secret", "private").ok());
  ASSERT_TRUE(cache->Get("secret"));
  ASSERT_TRUE(cache->Close().ok());
  const std::string text = Read(file);
  EXPECT_EQ(text.find("secret"), std::string::npos);
  EXPECT_EQ(text.find("private"), std::string::npos);
  EXPECT_NE(text.find(",7,set,"), std::string::npos) << text;
  EXPECT_NE(text.find(",7,get,"), std::string::npos) << text;
}

TEST_F(RecordTest, TimeToLiveOfTheSettingsIsRecorded) {
  const std::string file = Path("t.csv");
  const auto cache =
      Open("adaptive", {.record = {.file = file, .plain_keys = true}});
  ASSERT_TRUE(cache->Reset("default_ttl", "60s").ok());
  ASSERT_TRUE(cache->Set("a", "1").ok());
  ASSERT_TRUE(cache->Reset("default_ttl", "2s").ok());
  ASSERT_TRUE(cache->Set("b", "1").ok());
  ASSERT_TRUE(cache->Close().ok());
  const std::string text = Read(file);
  EXPECT_NE(text.find(",a,1,set,60\n"), std::string::npos) << text;
  EXPECT_NE(text.find(",b,1,set,2\n"), std::string::npos) << text;
}

TEST_F(RecordTest, FullDiskLosesRowsButNoRequests) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full";
  std::string logged;
  CacheOptions options{.log = [&](std::string_view line) { logged += line; },
                       .record = {.file = "/dev/full"}};
  const auto cache = Open("adaptive", std::move(options));
  Work(*cache, 2'000);
  EXPECT_TRUE(cache->Close().ok());
  EXPECT_NE(logged.find("recording is incomplete"), std::string::npos);
}

TEST_F(RecordTest, ForkedChildRecordsNothingAndExits) {
  const std::string file = Path("t.csv");
  auto cache = Open("adaptive", {.record = {.file = file}});
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    cache.reset();
    std::_Exit(0);
  }
  int state = -1;
  ASSERT_EQ(::waitpid(child, &state, 0), child);
  EXPECT_TRUE(WIFEXITED(state) && WEXITSTATUS(state) == 0);
  ASSERT_TRUE(cache->Set("a", "1").ok());
  ASSERT_TRUE(cache->Close().ok());
  const auto trace = LoadTrace(file, {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 1U);
}

TEST_F(RecordTest, EnvironmentNamesFileAndCache) {
  ::setenv("LARDER_RECORD", Path("%p.csv").c_str(), 1);
  ::setenv("LARDER_RECORD_DIRECTORY", Path("other").c_str(), 1);
  const std::string file = Path(std::to_string(::getpid()) + ".csv");
  ASSERT_TRUE(Open("adaptive", {})->Close().ok());
  EXPECT_NE(::access(file.c_str(), F_OK), 0);
  ::setenv("LARDER_RECORD_DIRECTORY", Path("cache").c_str(), 1);
  ASSERT_TRUE(Open("adaptive", {})->Close().ok());
  EXPECT_EQ(::access(file.c_str(), F_OK), 0);
  ::unsetenv("LARDER_RECORD");
  ::unsetenv("LARDER_RECORD_DIRECTORY");
}

TEST_F(RecordTest, ShareOutsideOfItsRangeIsRefused) {
  for (const double share : {0.0, -1.0, 1.5}) {
    const auto cache = Cache::Open(
        Path("cache"), {.record = {.file = Path("t.csv"), .key_share = share}});
    ASSERT_FALSE(cache);
    EXPECT_EQ(cache.error().code(), StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace larder::replay
