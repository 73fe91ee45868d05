#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <signal.h>

#include "fault/power_cut_disk.h"
#include "fault/sync_hook.h"
#include "forked_process.h"
#include "store/store.h"
#include "temporary_directory.h"
#include "test_values.h"

// Compactions of the index drop for good what was evicted or cleared, while the
// log that says so may not be synced: a power cut takes it back. Whatever it
// leaves, what is counted is what is there.

namespace larder::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kItems = 3'000;
constexpr std::uint64_t kSyncsMax = 7;  // Those of a compaction, and more.
constexpr int kCuts = 6;

class PowerCutCutoffsTest : public ::testing::TestWithParam<bool> {
 protected:
  PowerCutCutoffsTest() { SkipSyncs(); }
  ~PowerCutCutoffsTest() override { SetSyncHook({}); }

  static std::unique_ptr<Store> Open(const fs::path& path) {
    EngineOptions options;
    options.background = false;
    options.settings = {{"size_limit", "16MiB"},
                        {"policy", "least-recently-stored"}};
    auto store = Store::Open(path, options);
    EXPECT_TRUE(store.has_value()) << store.error().ToString();
    return store ? std::move(*store) : nullptr;
  }

  static void Run(Store& store, const Command& command) {
    Reply reply;
    EXPECT_TRUE(store.Execute({&command, 1}, {&reply, 1}, {}).ok());
    EXPECT_EQ(reply.status.ToString(), "kOk");
  }

  static std::uint64_t TableBytes(const fs::path& cache) {
    std::uint64_t bytes = 0;
    for (const auto& file : fs::directory_iterator(cache / "db")) {
      if (file.path().extension() == ".sst") bytes += file.file_size();
    }
    return bytes;
  }

  static void Fill(const fs::path& cache) {
    const auto store = Open(cache);
    ASSERT_TRUE(store);
    for (std::size_t i = 0; i < kItems; ++i) {
      const std::string key = "key" + std::to_string(i);
      const std::string value = MakeValue(i, 100);
      Run(*store, SetCommand{.key = key, .value = value});
    }
    ASSERT_EQ(store->Close().ToString(), "kOk");
  }

  /// All items lie in synced tables; then they go, and are compacted away. What
  /// is written between lies beside them: a flush would sync the log.
  void DropAll(const fs::path& at, PowerCutDisk::Faults faults) {
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      PowerCutDisk before(at / "notes");
      before.Start({});
      Fill(at / "cache");
      const auto store = Open(at / "cache");
      if (!store) return 1;
      const std::uint64_t full = TableBytes(at / "cache");
      PowerCutDisk disk(at / "notes");
      disk.Start(faults);
      Command drop = CullCommand{.live_bytes_target = 0};
      if (GetParam()) drop = ClearCommand{};
      Run(*store, drop);
      Run(*store, SetCommand{.key = "housekeeping", .value = "compacts"});
      EXPECT_LT(TableBytes(at / "cache"), full / 2);
      if (!HasFailure()) ::raise(SIGKILL);
      return 1;
    });
    ASSERT_EQ(child.Wait(), -SIGKILL);
  }

  static void ExpectCounted(const fs::path& path) {
    const auto store = Open(path);
    ASSERT_TRUE(store);
    const auto report = store->Check(false);
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_TRUE(report->ok()) << report->problems.front();
    EXPECT_EQ(report->count_ledger, report->count_recount);
    EXPECT_EQ(report->bytes_ledger, report->bytes_recount);
  }
};

TEST_P(PowerCutCutoffsTest, WhatIsCountedIsThere) {
  Random random(SeedFromEnvironment(1));
  for (std::uint64_t kill_at = 0; kill_at <= kSyncsMax; ++kill_at) {
    const TemporaryDirectory directory;
    ASSERT_NO_FATAL_FAILURE(
        DropAll(directory.path(),
                {.kill_at = kill_at, .kill_before = random.OneIn(2)}));
    const PowerCutDisk disk(directory.path() / "notes");
    for (int cut = 0; cut < kCuts; ++cut) {
      SCOPED_TRACE(std::to_string(kill_at) + ", cut " + std::to_string(cut));
      const fs::path left = directory.path() / std::to_string(cut);
      disk.Cut(directory.path() / "cache", left, random);
      ASSERT_NO_FATAL_FAILURE(ExpectCounted(left));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EvictedAndCleared, PowerCutCutoffsTest,
                         ::testing::Bool(), [](const auto& way) {
                           return way.param ? "Cleared" : "Evicted";
                         });

}  // namespace
}  // namespace larder::testing
