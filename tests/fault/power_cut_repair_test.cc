#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "fault/power_cut_disk.h"
#include "fault/sync_hook.h"
#include "forked_process.h"
#include "store/store.h"
#include "temporary_directory.h"
#include "test_values.h"

// The power fails while a damaged cache is repaired, at each of its syncs in
// turn. What is left can be opened or repaired, and has all that a repair that
// is not cut off finds.

namespace larder::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kItems = 120;
constexpr std::uint64_t kSyncsMax = 200;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kStep = 5;
#else
constexpr std::uint64_t kStep = 2;
#endif

enum class Damage : std::uint8_t { kBlock, kManifest, kDatabase };

class PowerCutRepairTest : public ::testing::TestWithParam<Damage> {
 protected:
  PowerCutRepairTest() { SkipSyncs(); }
  ~PowerCutRepairTest() override { SetSyncHook({}); }

  static std::unique_ptr<Store> Open(const fs::path& path,
                                     WhenDamaged when_damaged) {
    EngineOptions options;
    options.background = false;
    options.when_damaged = when_damaged;
    options.settings = {{"size_limit", "16MiB"}, {"policy", "none"}};
    auto store = Store::Open(path, options);
    EXPECT_TRUE(store.has_value()) << store.error().ToString();
    return store ? std::move(*store) : nullptr;
  }
  static std::string KeyOf(int i) { return "key" + std::to_string(1'000 + i); }
  static std::string ValueOf(int i) {
    constexpr std::size_t kSizes[] = {50, 300, 3'000, 20'000};
    return MakeValue(static_cast<std::uint64_t>(i), kSizes[i % 4]);
  }

  /// By a process that is killed: half of it is in tables, half in a log.
  void Fill() const {
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      const auto store = Open(cache_, WhenDamaged::kFail);
      if (!store) return 1;
      for (int i = 0; i < kItems; ++i) {
        const std::string key = KeyOf(i);
        const std::string value = ValueOf(i);
        const Command set =
            SetCommand{.key = key, .value = value, .tag = "tag"};
        const auto durability =
            i < kItems / 2 ? Durability::kNone : Durability::kProcess;
        Reply reply;
        EXPECT_TRUE(
            store->Execute({&set, 1}, {&reply, 1}, {.durability = durability})
                .ok());
        const bool is_middle = i == kItems / 2;
        EXPECT_TRUE(!is_middle || store->Sync().ok());
      }
      if (!HasFailure()) ::raise(SIGKILL);
      return 1;
    });
    ASSERT_EQ(child.Wait(), -SIGKILL);
  }

  void DoDamage() const {
    if (GetParam() == Damage::kDatabase) {
      fs::remove_all(cache_ / "db");
      return;
    }
    for (const auto& file : fs::directory_iterator(cache_ / "db")) {
      const std::string name = file.path().filename();
      if (GetParam() == Damage::kManifest && name.starts_with("MANIFEST")) {
        fs::remove(file);
      }
      if (!name.ends_with(".sst")) continue;
      std::ifstream in(file.path(), std::ios::binary);
      std::string bytes{std::istreambuf_iterator<char>(in), {}};
      const std::size_t at = bytes.find("key10");
      if (at == std::string::npos) continue;
      bytes[at] ^= 1;
      std::ofstream(file.path(), std::ios::binary) << bytes;
    }
  }

  /// What can be opened is sound.
  static void ExpectSoundIfOpen(const fs::path& path) {
    EngineOptions options;
    options.background = false;
    const auto store = Store::Open(path, options);
    if (!store) return;
    const auto report = (*store)->Check(false);
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_TRUE(report->counters_match) << report->problems.front();
  }

  /// Repairs it, and returns which items there are then.
  static std::set<int> Repaired(const fs::path& path) {
    std::set<int> there;
    const auto store = Open(path, WhenDamaged::kRepair);
    if (!store) return there;
    const auto report = store->Check(/*repair=*/true);
    EXPECT_TRUE(report.has_value()) << report.error().ToString();
    for (int i = 0; i < kItems; ++i) {
      const std::string key = KeyOf(i);
      const Command get = GetCommand{.key = key};
      Reply reply;
      EXPECT_TRUE(store->Execute({&get, 1}, {&reply, 1}, {}).ok());
      if (!reply.applied) continue;
      EXPECT_TRUE(reply.value.bytes() == ValueOf(i)) << key;
      there.insert(i);
    }
    EXPECT_TRUE(store->Check(false)->ok());
    return there;
  }

  /// All that is there was synced long ago.
  static void SyncTree(const fs::path& root) {
    const auto sync = [](const fs::path& path) {
      const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      EXPECT_EQ(::fsync(fd.get()), 0);
    };
    sync(root);
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      sync(entry.path());
    }
  }

  /// False: the repair ended first.
  bool RepairAndKill(const fs::path& at, PowerCutDisk::Faults faults) const {
    fs::copy(cache_, at / "cache", fs::copy_options::recursive);
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      PowerCutDisk before(at / "notes");
      before.Start({});
      SyncTree(at / "cache");
      PowerCutDisk disk(at / "notes");
      disk.Start(faults);
      Repaired(at / "cache");
      return HasFailure() ? 1 : 0;
    });
    const int status = child.Wait();
    EXPECT_TRUE(status == 0 || status == -SIGKILL) << status;
    return status != 0;
  }

  const TemporaryDirectory directory_;
  const fs::path cache_ = directory_.path() / "cache";
};

TEST_P(PowerCutRepairTest, NothingIsLostThatARepairFinds) {
  ASSERT_NO_FATAL_FAILURE(Fill());
  DoDamage();
  fs::copy(cache_, directory_.path() / "whole", fs::copy_options::recursive);
  const std::set<int> found = Repaired(directory_.path() / "whole");
  EXPECT_GT(found.size(), kItems / 3U);
  Random random(SeedFromEnvironment(1));
  bool killed = true;
  for (std::uint64_t at = 1; killed && at < kSyncsMax; at += kStep) {
    SCOPED_TRACE(at);
    const TemporaryDirectory directory;
    killed = RepairAndKill(directory.path(),
                           {.kill_at = at, .kill_before = random.OneIn(2)});
    const PowerCutDisk disk(directory.path() / "notes");
    for (const char* left : {"first", "second"}) {
      disk.Cut(directory.path() / "cache", directory.path() / left, random);
      if (at > 1) ExpectSoundIfOpen(directory.path() / left);
      const std::set<int> there = Repaired(directory.path() / left);
      for (const int i : found) EXPECT_TRUE(there.contains(i)) << KeyOf(i);
      ASSERT_FALSE(HasFailure());
    }
  }
  EXPECT_FALSE(killed);
}

INSTANTIATE_TEST_SUITE_P(Damages, PowerCutRepairTest,
                         ::testing::Values(Damage::kBlock, Damage::kManifest,
                                           Damage::kDatabase));

}  // namespace
}  // namespace larder::testing
