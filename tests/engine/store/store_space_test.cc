#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/engine/policy.h"

#include "base/test_point.h"
#include "engine/store_fixture.h"
#include "forked_process.h"
#include "test_values.h"

// The directory under its limit: eviction, freeing and cleaning, seen from
// outside.

namespace larder::testing {
namespace {

using std::chrono::seconds;

std::string KeyOf(std::uint64_t i) { return "key" + std::to_string(i); }

/// Test names have letters and digits only.
std::string NameOf(std::string_view policy) {
  std::string name;
  for (const char c : policy) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) name.push_back(c);
  }
  return name;
}

struct Mix {
  std::string name;
  std::size_t size_min;
  std::size_t size_max;
};

std::size_t SizeOf(const Mix& mix, Random& random) {
  if (mix.size_min == mix.size_max) return mix.size_min;
  // Log-uniform: as many between 1 and 2 KiB as between 64 and 128.
  const double low = std::log(static_cast<double>(mix.size_min));
  const double high = std::log(static_cast<double>(mix.size_max));
  const double at = static_cast<double>(random.Below(1 << 20)) / (1 << 20);
  return static_cast<std::size_t>(std::exp(low + (high - low) * at));
}

// ------------------------------------------------------------- the limit

class StoreLimit
    : public StoreFixture,
      public ::testing::WithParamInterface<std::tuple<std::string, Mix>> {};

TEST_P(StoreLimit, TheDirectoryNeverPassesIt) {
  constexpr std::uint64_t kLimit = 16 * kMiB;
  const auto& [policy, mix] = GetParam();
  Open({{"size_limit", "16MiB"}, {"policy", policy}});
  Random random(SeedFromEnvironment(41));
  std::uint64_t written = 0;
  std::uint64_t highest = 0;
  // Small items cost a multiple of their bytes.
  const std::uint64_t enough = mix.size_max < 1024 ? kLimit : 2 * kLimit;
  for (std::uint64_t i = 0; written < enough; ++i) {
    const std::size_t size = SizeOf(mix, random);
    // A third overwrites, so that segments have holes.
    const std::uint64_t key = random.OneIn(3) ? random.Below(i + 1) : i;
    const Status status = Set(KeyOf(key), MakeValue(i, size));
    ASSERT_EQ(status.ToString(), "kOk") << i;
    written += size;
    if (random.OneIn(4)) Get(KeyOf(random.Below(i + 1)));
    if (size >= 4096 || i % 32 == 0) {
      highest = std::max(highest, DirectoryBytes());
      ASSERT_LE(highest, kLimit) << "after " << i;
    }
  }
  EXPECT_GT(Stats().evictions, 0U);
  EXPECT_GT(highest, kLimit / 2);  // It was full.
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// Items that lie in the index give no room until it is compacted: what died
// must not be taken for too little, and the rest evicted for nothing.
class StoreOfTinyItems
    : public StoreFixture,
      public ::testing::WithParamInterface<std::tuple<std::string, bool>> {};

TEST_P(StoreOfTinyItems, StaysFull) {
  const auto& [policy, in_background] = GetParam();
  background_ = in_background;
  Open({{"size_limit", "16MiB"}, {"policy", policy}});
  Random random(SeedFromEnvironment(43));
  std::uint64_t fewest = ~std::uint64_t{0};
  for (std::uint64_t i = 0; i < 160'000; ++i) {
    const std::uint64_t key = random.OneIn(3) ? random.Below(i + 1) : i;
    ASSERT_EQ(Set(KeyOf(key), MakeValue(i, 100)).ToString(), "kOk") << i;
    if (i % 512 == 0 && Stats().evictions != 0) {
      fewest = std::min(fewest, Stats().count);
    }
  }
  EXPECT_GT(Stats().evictions, 40'000U);
  EXPECT_GT(Stats().count, 50'000U);
  EXPECT_GT(fewest, 30'000U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

INSTANTIATE_TEST_SUITE_P(
    Policies, StoreOfTinyItems,
    ::testing::Combine(::testing::Values("least-recently-stored", "s3-fifo",
                                         "adaptive"),
                       ::testing::Bool()),
    [](const auto& test) {
      return NameOf(std::get<0>(test.param)) +
             (std::get<1>(test.param) ? "InBackground" : "");
    });

INSTANTIATE_TEST_SUITE_P(
    Mixes, StoreLimit,
    ::testing::Combine(::testing::Values("least-recently-stored", "s3-fifo"),
                       ::testing::Values(Mix{"Tiny", 100, 100},
                                         Mix{"Small", 600, 600},
                                         Mix{"Page", 4096, 4096},
                                         Mix{"Large", 65536, 65536},
                                         Mix{"Huge", 2 << 20, 2 << 20},
                                         Mix{"Mixed", 64, 1 << 20})),
    [](const auto& test) {
      return NameOf(std::get<0>(test.param)) + std::get<1>(test.param).name;
    });

// ------------------------------------------------- random histories, policies

class StorePolicies : public StoreFixture,
                      public ::testing::WithParamInterface<std::string> {
 protected:
  void Step(Random& random, std::uint64_t step) {
    const std::string key = KeyOf(random.Below(400));
    const std::string tag =
        random.OneIn(3) ? "" : "tag" + std::to_string(step % 5);
    switch (random.Below(16)) {
      case 0:
        Run(DeleteCommand{.key = key, .with_value = random.OneIn(2)});
        break;
      case 1:
        Run(TouchCommand{.key = key, .ttl = seconds(random.Below(60))});
        break;
      case 2:
        Run(IncrCommand{.key = key + "n", .tag = tag});
        break;
      case 3:
        clock_.Advance(seconds(random.Below(5)));
        break;
      case 4:
        if (random.OneIn(40)) Run(EvictTagCommand{tag});
        break;
      case 5:
        if (random.OneIn(200)) Run(ClearCommand{});
        if (random.OneIn(60)) Run(CullCommand{});
        break;
      case 6:
      case 7:
      case 8:
        Get(key);
        break;
      default:
        const std::size_t size = SizeOf({"", 1, 300'000}, random);
        const Reply reply = Run(SetCommand{
            .key = key,
            .value = MakeValue(step, size),
            .ttl = random.OneIn(3)
                       ? std::optional<Duration>(seconds(random.Below(100)))
                       : std::nullopt,
            .tag = tag,
            .pinned = random.OneIn(100),
            .cost = static_cast<float>(random.Below(4)) + 0.5F});
        ASSERT_EQ(reply.status.ToString(), "kOk");
    }
  }
};

TEST_P(StorePolicies, CountersEqualARecountAfterRandomHistories) {
  Open({{"size_limit", "16MiB"}, {"policy", GetParam()}});
  Random random(SeedFromEnvironment(42));
  for (std::uint64_t step = 0; step < 1500; ++step) {
    ASSERT_NO_FATAL_FAILURE(Step(random, step)) << step;
    if (step % 500 == 250) {
      ASSERT_NO_FATAL_FAILURE(ExpectSound()) << step;
    }
    if (step == 1000) {
      ASSERT_NO_FATAL_FAILURE(Reopen());
    }
    ASSERT_LE(DirectoryBytes(), 16 * kMiB) << step;
  }
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
  const EngineStats before = Stats();
  ASSERT_NO_FATAL_FAILURE(Reopen());
  EXPECT_EQ(Stats().count, before.count);
  EXPECT_EQ(Stats().live_bytes, before.live_bytes);
  EXPECT_EQ(Stats().evictions, before.evictions);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

std::vector<std::string> EvictingPolicies() {
  std::vector<std::string> names = PolicyNames();
  std::erase(names, "none");  // Its cache is full at the end of the history.
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, StorePolicies,
                         ::testing::ValuesIn(EvictingPolicies()),
                         [](const auto& test) { return NameOf(test.param); });

// ------------------------------------------------------------ single cases

class StoreSpace : public StoreFixture {
 protected:
  /// Stores items of 64 KiB until one is refused or `bytes` are written.
  int Fill(std::uint64_t bytes, int first = 0, std::size_t size = 65536) {
    int i = first;
    for (std::uint64_t written = 0; written < bytes; written += size, ++i) {
      const auto n = static_cast<std::uint64_t>(i);
      if (!Set(KeyOf(n), MakeValue(n, size)).ok()) break;
    }
    return i;
  }

  /// Those that a flush or a compaction makes or removes.
  std::vector<std::string> Tables() const {
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(path_ / "db")) {
      if (file.path().extension() == ".sst") {
        names.push_back(file.path().filename().string());
      }
    }
    std::sort(names.begin(), names.end());
    return names;
  }
};

TEST_F(StoreSpace, WhenFullIsFailRefusesAndEvictsNothing) {
  Open({{"size_limit", "16MiB"}, {"when_full", "fail"}});
  const int stored = Fill(64 * kMiB);
  ASSERT_GT(stored, 150);  // 9.4 MiB.
  ASSERT_LT(stored, 256);
  EXPECT_EQ(Set("more", MakeValue(1, 65536)).code(), StatusCode::kNoSpace);
  EXPECT_EQ(Stats().evictions, 0U);
  EXPECT_EQ(Stats().count, static_cast<std::uint64_t>(stored));
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(stored); ++i) {
    ASSERT_TRUE(Get(KeyOf(i)) == MakeValue(i, 65536)) << i;
  }
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, WhenFullIsFailTakesItemsAgainAfterDeletes) {
  Open({{"size_limit", "16MiB"}, {"when_full", "fail"}});
  const int stored = Fill(64 * kMiB);
  for (std::uint64_t i = 0; i < 64; ++i) {
    EXPECT_TRUE(Run(DeleteCommand{.key = KeyOf(i)}).applied);
  }
  for (std::uint64_t i = 1000; i < 1030; ++i) {
    ASSERT_EQ(Set(KeyOf(i), MakeValue(i, 65536)).ToString(), "kOk") << i;
  }
  EXPECT_EQ(Stats().count, static_cast<std::uint64_t>(stored) - 64 + 30);
  EXPECT_LE(DirectoryBytes(), 16 * kMiB);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, PolicyNoneRefusesWhenFull) {
  Open({{"size_limit", "16MiB"}, {"policy", "none"}});
  const int stored = Fill(64 * kMiB);
  EXPECT_EQ(Stats().evictions, 0U);
  EXPECT_EQ(Stats().count, static_cast<std::uint64_t>(stored));
  EXPECT_EQ(Set("more", MakeValue(1, 65536)).code(), StatusCode::kNoSpace);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

/// A reader that finds a value gone, before it looks for it again.
class StoreOvertaken : public StoreSpace {
 protected:
  StoreOvertaken() { overtaken_ = this; }
  ~StoreOvertaken() override { test_point_hook = nullptr; }

  void OnMoved() {
    if (++moves_ == 1) {  // Cleaning moves it elsewhere meanwhile.
      HideSegments(false);
      std::thread([this] { Fill(64 * kMiB, 1000, 4096); }).join();
      HideSegments(true);
    } else {
      HideSegments(false);
    }
  }
  /// Files that are not open are not found, as if they had been cleaned.
  void HideSegments(bool hide) const {
    const std::filesystem::path log = path_ / "log";
    const std::filesystem::path away = directory_.path() / "away";
    std::filesystem::create_directory(away);
    const std::filesystem::path& from = hide ? log : away;
    for (const auto& file : std::filesystem::directory_iterator(from)) {
      std::filesystem::rename(file.path(),
                              (hide ? away : log) / file.path().filename());
    }
  }
  static void Hook(const char* name) {
    if (std::string_view(name) == "get.moved") overtaken_->OnMoved();
  }

  static inline StoreOvertaken* overtaken_ = nullptr;
  int moves_ = 0;
};

TEST_F(StoreOvertaken, TwiceByCleaningAReaderLosesNothing) {
  Open({{"size_limit", "16MiB"}, {"when_full", "fail"}});
  ASSERT_EQ(Set("dead", MakeValue(1, 400'000)).ToString(), "kOk");
  ASSERT_EQ(Set("kept", MakeValue(2, 4096)).ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(Reopen());
  ASSERT_TRUE(Run(DeleteCommand{.key = "dead"}).applied);
  HideSegments(true);
  test_point_hook = Hook;
  EXPECT_TRUE(Get("kept") == MakeValue(2, 4096));
  EXPECT_EQ(moves_, 2);
  EXPECT_EQ(Stats().evictions, 0U);
  EXPECT_EQ(Stats().corruptions, 0U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreOvertaken, WhatHasGoneForGoodIsDamageAndNoEviction) {
  Open({{"size_limit", "16MiB"}, {"when_full", "fail"}});
  ASSERT_EQ(Set("gone", MakeValue(1, 65536)).ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(Reopen());
  HideSegments(true);
  EXPECT_EQ(Get("gone"), std::nullopt);
  EXPECT_EQ(Stats().evictions, 0U);
  EXPECT_EQ(Stats().corruptions, 1U);
}

// A second process says how it wants the cache, one setting after the other.
TEST_F(StoreSpace, ALowerLimitComesAfterWhatForbidsEvictions) {
  Open({{"size_limit", "32MiB"}});
  const int stored = Fill(20 * kMiB);
  EngineOptions options;
  options.clock = &clock_;
  options.settings = {{"size_limit", "16MiB"}, {"when_full", "fail"}};
  const auto second = OpenEngine(path_, options);
  ASSERT_TRUE(second.has_value()) << second.error().ToString();
  EXPECT_EQ(Stats().evictions, 0U);
  EXPECT_EQ(Stats().count, static_cast<std::uint64_t>(stored));
  EXPECT_EQ(Set("more", MakeValue(1, 65536)).code(), StatusCode::kNoSpace);
}

TEST_F(StoreSpace, ItemCountLimitHolds) {
  Open({{"size_limit", "16MiB"}, {"item_count_limit", "100"}});
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(Set(KeyOf(i), "value").ToString(), "kOk");
    ASSERT_LE(Stats().count, 100U) << i;
  }
  EXPECT_GT(Stats().count, 50U);
  EXPECT_TRUE(IsLive(KeyOf(999)));
  EXPECT_EQ(Stats().evictions, 1000 - Stats().count);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, OverwritingAtTheItemCountLimitIsNoNewItem) {
  Open({{"size_limit", "16MiB"},
        {"item_count_limit", "10"},
        {"when_full", "fail"}});
  for (std::uint64_t i = 0; i < 10; ++i) {
    ASSERT_EQ(Set(KeyOf(i), "old").ToString(), "kOk");
  }
  EXPECT_EQ(Set("eleventh", "x").code(), StatusCode::kNoSpace);
  EXPECT_EQ(Set(KeyOf(3), "new").ToString(), "kOk");
  EXPECT_EQ(Get(KeyOf(3)), "new");
}

TEST_F(StoreSpace, PinnedItemsAreNeverEvicted) {
  Open({{"size_limit", "16MiB"}});
  for (std::uint64_t i = 0; i < 20; ++i) {
    const std::string value = MakeValue(i, 100'000);
    ASSERT_TRUE(Run(SetCommand{.key = "pinned" + std::to_string(i),
                               .value = value,
                               .pinned = true})
                    .applied);
  }
  Fill(48 * kMiB);
  EXPECT_GT(Stats().evictions, 100U);
  for (std::uint64_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(Get("pinned" + std::to_string(i)) == MakeValue(i, 100'000));
  }
  EXPECT_GE(Stats().pinned_bytes, 2'000'000U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, PinnedItemsPastHalfOfTheCacheAreRefused) {
  Open({{"size_limit", "16MiB"}});
  Reply reply;
  std::uint64_t stored = 0;
  for (; stored < 100; ++stored) {
    const std::string value = MakeValue(stored, 500'000);
    reply =
        Run(SetCommand{.key = KeyOf(stored), .value = value, .pinned = true});
    if (!reply.status.ok()) break;
  }
  EXPECT_EQ(reply.status.code(), StatusCode::kNoSpace);
  EXPECT_FALSE(reply.applied);
  EXPECT_GE(stored, 8U);
  EXPECT_LE(stored, 16U);
  EXPECT_EQ(Stats().count, stored);
  // Others still fit, and so does a new value of one that is pinned.
  EXPECT_EQ(Set("other", "value").ToString(), "kOk");
  const std::string again = MakeValue(99, 500'000);
  EXPECT_TRUE(
      Run(SetCommand{.key = KeyOf(0), .value = again, .pinned = true}).applied);
  EXPECT_TRUE(Get(KeyOf(0)) == again);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, ThePolicyCanBeSwitchedWhileFull) {
  Open({{"size_limit", "16MiB"}, {"policy", "least-recently-used"}});
  int next = Fill(20 * kMiB);
  for (const std::string& name : EvictingPolicies()) {
    ASSERT_EQ(engine_->Reset("policy", name).ToString(), "kOk");
    const int end = Fill(4 * kMiB, next);
    ASSERT_EQ(end, next + 64) << name;  // None was refused.
    next = end;
    EXPECT_TRUE(IsLive(KeyOf(static_cast<std::uint64_t>(next - 1)))) << name;
    ASSERT_LE(DirectoryBytes(), 16 * kMiB) << name;
    ASSERT_NO_FATAL_FAILURE(ExpectSound()) << name;
  }
}

TEST_F(StoreSpace, CullEvictsDownToItsTarget) {
  Open({{"size_limit", "32MiB"}});
  Fill(20 * kMiB);
  const EngineStats before = Stats();
  const Reply reply = Run(CullCommand{.live_bytes_target = 5 * kMiB});
  ASSERT_EQ(reply.status.ToString(), "kOk");
  const EngineStats after = Stats();
  EXPECT_LE(after.live_bytes, 5 * kMiB);
  EXPECT_GT(after.live_bytes, 4 * kMiB);  // One row at most too many.
  EXPECT_EQ(reply.count, before.count - after.count);
  EXPECT_EQ(after.evictions - before.evictions, reply.count);
  EXPECT_LT(DirectoryBytes(), 10 * kMiB);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, CullWithinTheLimitsEvictsNothing) {
  Open({{"size_limit", "32MiB"}});
  Fill(10 * kMiB);
  EXPECT_EQ(Run(CullCommand{}).count, 0U);
  EXPECT_EQ(Stats().count, 160U);
}

TEST_F(StoreSpace, ClearFreesTheSegmentsAtOnce) {
  Open({{"size_limit", "32MiB"}});
  Fill(20 * kMiB);
  for (std::uint64_t i = 0; i < 4000; ++i) {
    ASSERT_TRUE(Set("small" + std::to_string(i), MakeValue(i, 600)).ok());
  }
  const std::uint64_t before = DirectoryBytes();
  EXPECT_GT(before, 20 * kMiB);
  EXPECT_EQ(Run(ClearCommand{}).count, 4320U);
  EXPECT_EQ(Stats().count, 0U);
  EXPECT_EQ(Stats().live_bytes, 0U);
  EXPECT_EQ(Stats().segments, 0U);
  EXPECT_LT(DirectoryBytes(), 8 * kMiB);
  EXPECT_FALSE(Get(KeyOf(1)).has_value());
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
  EXPECT_EQ(Set("after", "value").ToString(), "kOk");
  EXPECT_EQ(Get("after"), "value");
}

TEST_F(StoreSpace, AFullCacheWritesOverItsOwnFiles) {
  Open({{"size_limit", "16MiB"}});
  std::map<std::uint64_t, std::set<std::string>> names;  // By inode.
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(Set(KeyOf(i), MakeValue(i, 40'000)).ToString(), "kOk") << i;
    for (const auto& entry :
         std::filesystem::directory_iterator(path_ / "log")) {
      struct stat info {};
      if (::stat(entry.path().c_str(), &info) != 0) continue;
      names[info.st_ino].insert(entry.path().filename());
    }
    ASSERT_LE(DirectoryBytes(), 16 * kMiB) << i;
  }
  std::size_t most = 0;
  for (const auto& [inode, all] : names) most = std::max(most, all.size());
  EXPECT_GT(most, 1U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
  // What was kept for that is given back with the rest.
  ASSERT_TRUE(Run(ClearCommand{}).status.ok());
  EXPECT_TRUE(std::filesystem::is_empty(path_ / "log"));
}

TEST_F(StoreSpace, ValuesThatCanNeverFitChangeNothing) {
  Open({{"size_limit", "16MiB"}});
  Fill(4 * kMiB);
  const EngineStats before = Stats();
  const std::string huge(16 * kMiB, 'x');
  EXPECT_EQ(Set(KeyOf(0), huge).code(), StatusCode::kTooLarge);
  EXPECT_TRUE(Get(KeyOf(0)) == MakeValue(0, 65536));
  EXPECT_EQ(Stats().count, before.count);
  EXPECT_EQ(Stats().live_bytes, before.live_bytes);
  EXPECT_EQ(Stats().evictions, 0U);
  EXPECT_EQ(Stats().bytes_written_user, before.bytes_written_user);
}

TEST_F(StoreSpace, ItemSizeLimitIsTooLarge) {
  Open({{"size_limit", "16MiB"}, {"item_size_limit", "1000"}});
  EXPECT_EQ(Set("a", std::string(1001, 'x')).code(), StatusCode::kTooLarge);
  EXPECT_EQ(Set("a", std::string(1000, 'x')).ToString(), "kOk");
}

TEST_F(StoreSpace, TheLargestValueFitsAFullCache) {
  Open({{"size_limit", "16MiB"}});
  Fill(20 * kMiB);
  for (std::uint64_t i = 0; i < 3; ++i) {
    const std::string value = MakeValue(i, 9 * kMiB);
    ASSERT_EQ(Set("large", value).ToString(), "kOk") << i;
    ASSERT_LE(DirectoryBytes(), 16 * kMiB) << i;
    EXPECT_TRUE(Get("large") == value);
  }
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, AnEvictedKeyCanBeStoredAgain) {
  Open({{"size_limit", "16MiB"}});
  ASSERT_TRUE(Run(SetCommand{.key = "old",
                             .value = MakeValue(1, 5000),
                             .ttl = seconds(90),
                             .tag = "tag"})
                  .applied);
  Fill(24 * kMiB);
  ASSERT_FALSE(Get("old").has_value());
  ASSERT_TRUE(Run(SetCommand{.key = "old",
                             .value = MakeValue(2, 5000),
                             .ttl = seconds(90),
                             .tag = "tag"})
                  .applied);
  EXPECT_TRUE(Get("old") == MakeValue(2, 5000));
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
  EXPECT_EQ(Run(EvictTagCommand{"tag"}).count, 1U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, ExpiredItemsSettleExactly) {
  Open({{"size_limit", "32MiB"}});
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const std::string value = MakeValue(i, i % 3 == 0 ? 50 : 2000);
    ASSERT_TRUE(
        Run(SetCommand{
                .key = KeyOf(i), .value = value, .ttl = seconds(1 + i % 100)})
            .applied);
  }
  for (std::uint64_t second = 1; second <= 100; ++second) {
    clock_.Advance(seconds(1));
    ASSERT_EQ(*engine_->Count(), 3000 - 30 * second) << second;
  }
  EXPECT_EQ(Stats().expirations, 3000U);
  EXPECT_EQ(Stats().live_bytes, 0U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

std::atomic<bool> settling{false};

// Whoever counts while somebody else settles waits for that.
TEST_F(StoreSpace, ExpiredItemsAreNotCountedWhileTheySettle) {
  Open();
  for (std::uint64_t i = 0; i < 100; ++i) {
    const std::string key = KeyOf(i);
    ASSERT_TRUE(
        Run(SetCommand{.key = key, .value = "v", .ttl = seconds(10)}).applied);
  }
  clock_.Advance(seconds(20));
  test_point_hook = [](const char* name) {
    if (std::string_view(name) != "settle.begun" || settling) return;
    settling = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  };
  std::thread other([this] { EXPECT_TRUE(engine_->Count().has_value()); });
  while (!settling) std::this_thread::yield();
  EXPECT_EQ(*engine_->Count(), 0U);
  other.join();
  test_point_hook = nullptr;
}

TEST_F(StoreSpace, ANewTtlMovesTheSettlement) {
  Open({{"size_limit", "16MiB"}});
  for (const char* key : {"stays", "goes", "for ever"}) {
    Run(SetCommand{.key = key, .value = "v", .ttl = seconds(10)});
  }
  Run(TouchCommand{.key = "stays", .ttl = seconds(100)});
  Run(TouchCommand{.key = "for ever"});
  clock_.Advance(seconds(10));
  EXPECT_EQ(*engine_->Count(), 2U);
  Run(TouchCommand{.key = "for ever", .ttl = seconds(1)});
  clock_.Advance(seconds(1));
  EXPECT_EQ(*engine_->Count(), 1U);
  clock_.Advance(seconds(89));
  EXPECT_EQ(*engine_->Count(), 0U);
  EXPECT_EQ(Stats().expirations, 3U);
}

// ----------------------------------------------------------------- cleaning

TEST_F(StoreSpace, CleanedValuesStayReadableForWhoeverHoldsThem) {
  Open({{"size_limit", "16MiB"}, {"policy", "least-recently-used"}});
  constexpr std::size_t kSize = 30'000;
  const std::string streamed = MakeValue(777, 3'000'000);
  ASSERT_TRUE(
      Run(SetCommand{.key = "stream", .value = streamed, .pinned = true})
          .applied);
  // Of each ten items nine are small holes to be; the tenth is pinned.
  std::map<std::string, std::string> kept;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const bool keep = i % 10 == 0;
    const std::string value = MakeValue(i, kSize);
    ASSERT_TRUE(Run(SetCommand{.key = KeyOf(i), .value = value, .pinned = keep})
                    .applied);
    if (keep) kept[KeyOf(i)] = value;
  }
  const Reply held = Run(GetCommand{.key = KeyOf(10)});
  auto reader = engine_->OpenReader("stream");
  ASSERT_TRUE(reader.has_value() && *reader != nullptr);
  std::string read(1'000'000, '\0');
  ASSERT_EQ(*(*reader)->Read(read), read.size());
  auto scan = engine_->OpenScan({.with_values = true});
  ASSERT_TRUE(scan.has_value());
  const auto page = (*scan)->Next(5);
  ASSERT_TRUE(page.has_value());
  std::map<std::string, std::string> scanned;
  for (const ScanItem& item : *page) scanned[item.key] = item.value.ToString();

  for (std::uint64_t i = 0; i < 300; ++i) {
    if (i % 10 != 0) Run(DeleteCommand{.key = KeyOf(i)});
  }
  for (std::uint64_t i = 0; i < 600; ++i) {
    ASSERT_EQ(Set("new" + std::to_string(i), MakeValue(i, kSize)).ToString(),
              "kOk");
    ASSERT_LE(DirectoryBytes(), 16 * kMiB);
  }
  EXPECT_GT(Stats().segments_cleaned, 0U);
  EXPECT_GT(Stats().bytes_moved, 0U);

  EXPECT_TRUE(held.value.bytes() == MakeValue(10, kSize));
  for (const auto& [key, value] : kept) EXPECT_TRUE(Get(key) == value) << key;
  std::string rest(streamed.size(), '\0');
  const auto more = (*reader)->Read(rest);
  ASSERT_TRUE(more.has_value()) << more.error().ToString();
  rest.resize(*more);
  EXPECT_TRUE(read + rest == streamed);
  for (bool more_pages = true; more_pages;) {
    const auto next = (*scan)->Next(50);
    ASSERT_TRUE(next.has_value()) << next.error().ToString();
    for (const ScanItem& item : *next) {
      scanned[item.key] = item.value.ToString();
    }
    more_pages = !next->empty();
  }
  EXPECT_EQ(scanned.size(), 301U);  // All that lived when it was opened.
  EXPECT_TRUE(scanned["stream"] == streamed);
  for (std::uint64_t i = 0; i < 300; ++i) {
    EXPECT_TRUE(scanned[KeyOf(i)] == MakeValue(i, kSize)) << i;
  }
  scan->reset();
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, DamageIsNotMovedButCounted) {
  Open({{"size_limit", "16MiB"}});
  constexpr std::size_t kSize = 30'000;
  for (std::uint64_t i = 0; i < 300; ++i) {
    ASSERT_TRUE(Run(SetCommand{.key = KeyOf(i),
                               .value = MakeValue(i, kSize),
                               .pinned = i % 10 == 0})
                    .applied);
  }
  // Neither the first nor the last of a segment.
  const std::string damaged = MakeValue(20, kSize);
  int flips = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path_ / "log")) {
    std::fstream file(entry.path(),
                      std::ios::in | std::ios::out | std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const std::size_t at = bytes.find(damaged);
    if (at == std::string::npos) continue;
    file.seekp(static_cast<std::streamoff>(at + kSize / 2));
    file.put(static_cast<char>(damaged[kSize / 2] ^ 4));
    ASSERT_TRUE(file.good());
    ++flips;
  }
  ASSERT_EQ(flips, 1);
  for (std::uint64_t i = 0; i < 300; ++i) {
    if (i % 10 != 0) Run(DeleteCommand{.key = KeyOf(i)});
  }
  for (std::uint64_t i = 0; i < 600; ++i) {
    ASSERT_EQ(Set("new" + std::to_string(i), MakeValue(i, kSize)).ToString(),
              "kOk");
  }
  EXPECT_GT(Stats().bytes_moved, 0U);
  EXPECT_EQ(Stats().corruptions, 1U);  // Before anybody has asked for it.
  EXPECT_FALSE(IsLive(KeyOf(20)));
  for (std::uint64_t i = 0; i < 300; i += 10) {
    if (i == 20) continue;
    EXPECT_TRUE(Get(KeyOf(i)) == MakeValue(i, kSize)) << i;
  }
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, HotKeysLeaveNoHolesAmongOthers) {
  Open({{"size_limit", "16MiB"}});
  constexpr std::size_t kSize = 4096;
  constexpr std::uint64_t kSets = 10'000;
  for (std::uint64_t i = 0; i < kSets; ++i) {
    // Every other set is of one of eight keys.
    const std::string key = i % 2 == 0 ? "hot" + KeyOf(i / 2 % 8) : KeyOf(i);
    ASSERT_EQ(Set(key, MakeValue(i, kSize)).ToString(), "kOk") << i;
  }
  EXPECT_GT(Stats().evictions, 0U);
  EXPECT_LT(Stats().bytes_moved, kSets * kSize / 50);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// What waits for a compaction takes room, and on a busy machine compactions
// lag: one run of a few is enough to see what is possible.
TEST_F(StoreSpace, TheIndexOfSmallItemsLeavesRoomForThem) {
  constexpr std::size_t kSize = 512;
  constexpr std::uint64_t kEnough = 16 * kMiB / 5 * 2;
  constexpr int kRunsMax = 5;
  std::uint64_t most = 0;
  for (int run = 0; run < kRunsMax && most <= kEnough; ++run) {
    Open({{"size_limit", "16MiB"}});
    std::uint64_t highest = 0;
    for (std::uint64_t i = 0; i < 32 * kMiB / kSize; ++i) {
      ASSERT_EQ(Set(KeyOf(i), MakeValue(i, kSize)).ToString(), "kOk") << i;
      if (i % 64 == 0) highest = std::max(highest, DirectoryBytes());
    }
    EXPECT_LE(highest, 16 * kMiB);
    most = std::max(most, Stats().count * kSize);
    ASSERT_NO_FATAL_FAILURE(ExpectSound());
    ASSERT_EQ(engine_->Close().ToString(), "kOk");
    engine_.reset();
    std::filesystem::remove_all(path_);
  }
  EXPECT_GT(most, kEnough);
}

TEST_F(StoreSpace, TheLimitHoldsWhileTheBackgroundMakesRoom) {
  background_ = true;
  Open({{"size_limit", "16MiB"}});
  constexpr std::size_t kSize = 4096;
  constexpr std::uint64_t kKeys = 4096;
  Random random(SeedFromEnvironment(44));
  std::uint64_t highest = 0;
  for (std::uint64_t i = 0; i < 3 * kKeys; ++i) {
    const std::uint64_t key =
        i < kKeys ? i : random.Below(random.Below(kKeys) + 1);
    ASSERT_EQ(Set(KeyOf(key), MakeValue(i, kSize)).ToString(), "kOk") << i;
    if (i % 8 == 0) highest = std::max(highest, DirectoryBytes());
  }
  EXPECT_LE(highest, 16 * kMiB);
  EXPECT_GT(Stats().segments_cleaned, 0U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// Each looks for room while the others do; the directory is added up while all
// stand still.
TEST_F(StoreSpace, WritersOfLargeValuesNeverPassTheLimitTogether) {
  constexpr std::uint64_t kLimit = 32 * kMiB;
  constexpr int kThreads = 8;
  constexpr int kSamples = 60;
  const ForkedProcess child([this](const ForkedProcess::Pipe& pipe) {
    background_ = true;
    Open({{"size_limit", std::to_string(kLimit)}});
    std::vector<std::thread> threads;
    std::atomic<std::uint64_t> number{0};
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        Random random(SeedFromEnvironment(45) + static_cast<std::uint64_t>(t));
        for (;;) {
          const std::uint64_t n = ++number;
          // One that waits for the others is served, too.
          const std::size_t size = 1000 + random.Below(5 * kMiB);
          if (!Set(KeyOf(random.Below(1000)), MakeValue(n, size)).ok()) {
            ::_exit(1);
          }
          if (n == 30) pipe.Send(n);  // It is full.
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return 0;
  });
  ASSERT_TRUE(child.Receive().has_value());
  for (int i = 0; i < kSamples; ++i) {
    child.Kill(SIGSTOP);
    int status = 0;
    ASSERT_EQ(::waitpid(child.pid(), &status, WUNTRACED), child.pid());
    ASSERT_TRUE(WIFSTOPPED(status)) << status;
    ASSERT_LE(DirectoryBytes(), kLimit) << i;
    child.Kill(SIGCONT);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

TEST_F(StoreSpace, WritersNeverPassTheItemLimitTogether) {
  constexpr std::uint64_t kItems = 100;
  Open({{"item_count_limit", std::to_string(kItems)}});
  const std::string value(64 * 1024, 'v');
  std::atomic<std::uint64_t> sets{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; !stop; ++i) {
        EXPECT_EQ(Set(KeyOf(i * 8 + t), value).ToString(), "kOk");
        ++sets;
      }
    });
  }
  std::uint64_t most = 0;
  while (sets < 40 * kItems) most = std::max(most, *engine_->Count());
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, kItems);
  EXPECT_GE(*engine_->Count(), kItems * 3 / 4);
}

TEST_F(StoreSpace, CleaningAndWritersOfTheSameKeysAgree) {
  Open({{"size_limit", "16MiB"}});
  // Each thread has every third key; with so few of them cleaning meets keys
  // that are being set, and dead and live records lie side by side.
  constexpr std::uint64_t kThreads = 3;
  constexpr std::uint64_t kKeys = 2400;
  constexpr std::uint64_t kSets = 6000;
  constexpr std::size_t kSize = 4096;
  std::array<std::map<std::uint64_t, std::uint64_t>, kThreads> last;
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Random random(SeedFromEnvironment(43) + t);
      for (std::uint64_t i = 0; i < kSets; ++i) {
        const std::uint64_t any = random.Below(kKeys / kThreads);
        const std::uint64_t key =
            random.Below(any + 1) * kThreads + t;  // Some more often.
        const std::uint64_t value = i * kThreads + t;
        EXPECT_EQ(Set(KeyOf(key), MakeValue(value, kSize)).ToString(), "kOk");
        last[t][key] = value;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(Stats().segments_cleaned, 0U);
  std::uint64_t there = 0;
  for (const auto& of_thread : last) {
    for (const auto& [key, value] : of_thread) {
      const auto found = Get(KeyOf(key));
      if (!found) continue;  // Evicted.
      ++there;
      EXPECT_TRUE(*found == MakeValue(value, kSize)) << key;
    }
  }
  EXPECT_GT(there, kKeys / 2);
  EXPECT_LE(DirectoryBytes(), 16 * kMiB);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, RunsWithHolesAreCleaned) {
  Open({{"size_limit", "16MiB"}, {"when_full", "fail"}});
  // Small values: in runs of the database. Every fifth stays.
  for (std::uint64_t i = 0; i < 9000; ++i) {
    ASSERT_EQ(Set(KeyOf(i), MakeValue(i, 600)).ToString(), "kOk") << i;
    if (i >= 100 && i % 5 != 0)
      Run(DeleteCommand{.key = KeyOf(i - 100 - i % 5 + 1)});
  }
  for (std::uint64_t i = 0; i < 9000; ++i) {
    if (i % 5 != 0) Run(DeleteCommand{.key = KeyOf(i)});
  }
  for (std::uint64_t i = 10'000; i < 22'000; ++i) {
    const Status status = Set(KeyOf(i), MakeValue(i, 600));
    ASSERT_EQ(status.ToString(), "kOk") << i;
    if (i % 5 != 0) {
      ASSERT_TRUE(Run(DeleteCommand{.key = KeyOf(i)}).applied);
    }
    if (i % 64 == 0) {
      ASSERT_LE(DirectoryBytes(), 16 * kMiB) << i;
    }
  }
  for (std::uint64_t i = 10'000; i < 22'000; i += 5) {
    ASSERT_TRUE(Get(KeyOf(i)) == MakeValue(i, 600)) << i;
  }
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, AnOpenScanHoldsNoMoreThanThereWas) {
  constexpr std::uint64_t kLimit = 16 * kMiB;
  constexpr std::size_t kSize = 20'000;
  Open({{"size_limit", std::to_string(kLimit)}});
  std::uint64_t i = 0;
  for (; i < kLimit / kSize; ++i) {
    ASSERT_EQ(Set(KeyOf(i), MakeValue(i, kSize)).ToString(), "kOk");
  }
  auto scan = engine_->OpenScan({.with_values = true});
  ASSERT_TRUE(scan.has_value());
  const std::uint64_t count = Stats().count;
  std::uint64_t held = 0;
  for (const std::uint64_t end = 10 * i; i < end; ++i) {
    ASSERT_EQ(Set(KeyOf(i), MakeValue(i, kSize)).ToString(), "kOk");
    held = std::max(held, Stats().held_bytes);
  }
  EXPECT_GT(held, kLimit / 2);
  EXPECT_LE(held, kLimit);
  EXPECT_LE(DirectoryBytes(), kLimit);
  // All that there was is there for it.
  std::uint64_t seen = 0;
  for (;;) {
    const auto page = (*scan)->Next(100);
    ASSERT_TRUE(page.has_value()) << page.error().ToString();
    if (page->empty()) break;
    for (const ScanItem& item : *page) {
      ASSERT_EQ(item.value.size(), kSize);
      ++seen;
    }
  }
  EXPECT_EQ(seen, count);
  scan->reset();
  EXPECT_EQ(Stats().held_bytes, 0U);
}

// Scans that hold what is removed, and writers that remove it.
class HoldingScans : public StoreSpace {
 protected:
  static constexpr std::uint64_t kLimit = 16 * kMiB;
  static constexpr std::size_t kSize = 20'000;

  void Write(std::uint64_t count) {
    for (const std::uint64_t end = next_ + count; next_ < end; ++next_) {
      ASSERT_EQ(Set(KeyOf(next_), MakeValue(next_, kSize)).ToString(), "kOk");
      const EngineStats stats = Stats();
      held_max_ = std::max(held_max_, stats.held_bytes);
      taken_max_ = std::max(taken_max_, stats.held_bytes + DirectoryBytes());
    }
  }
  std::unique_ptr<Scan> OpenScan() {
    return std::move(*engine_->OpenScan({.with_values = true}));
  }

  std::uint64_t next_ = 0;
  std::uint64_t held_max_ = 0;
  std::uint64_t taken_max_ = 0;
};

TEST_F(HoldingScans, TheOldestEndsWhenTheyHoldTooMuch) {
  constexpr std::uint64_t kHoldMax = 4 * kMiB;
  Open({{"size_limit", std::to_string(kLimit)},
        {"scan_hold_max", std::to_string(kHoldMax)}});
  ASSERT_NO_FATAL_FAILURE(Write(2 * kLimit / kSize));
  const auto without_values = std::move(*engine_->OpenScan({}));
  const auto old = OpenScan();
  ASSERT_NO_FATAL_FAILURE(Write(3 * kMiB / kSize));
  const auto young = OpenScan();
  auto page = old->Next(1);
  ASSERT_TRUE(page.has_value());
  for (; page && next_ < 4 * kLimit / kSize; page = old->Next(1)) {
    ASSERT_NO_FATAL_FAILURE(Write(10));
  }
  ASSERT_FALSE(page.has_value());
  EXPECT_EQ(page.error().code(), StatusCode::kAborted);
  EXPECT_NE(page.error().message().find("scan_hold_max"), std::string::npos);
  EXPECT_EQ(young->Next(1).value().size(), 1U);
  EXPECT_EQ(old->Next(1).error().code(), StatusCode::kAborted);
  ASSERT_NO_FATAL_FAILURE(Write(kLimit / kSize));
  EXPECT_EQ(young->Next(1).error().code(), StatusCode::kAborted);
  EXPECT_EQ(without_values->Next(1).value().size(), 1U);
  EXPECT_GT(held_max_, kHoldMax / 2);
  EXPECT_LE(held_max_, kHoldMax);
  EXPECT_EQ(Stats().held_bytes, 0U);
}

TEST_F(HoldingScans, ALowerBoundIsObeyedAtOnce) {
  Open({{"size_limit", std::to_string(kLimit)}});
  ASSERT_NO_FATAL_FAILURE(Write(kLimit / kSize));
  const auto scan = OpenScan();
  ASSERT_NO_FATAL_FAILURE(Write(kLimit / kSize));
  ASSERT_GT(Stats().held_bytes, 4 * kMiB);
  ASSERT_TRUE(engine_->Reset("scan_hold_max", "1MiB").ok());
  ASSERT_NO_FATAL_FAILURE(Write(kMiB / kSize));
  EXPECT_EQ(Stats().held_bytes, 0U);
  EXPECT_EQ(scan->Next(1).error().code(), StatusCode::kAborted);
}

TEST_F(HoldingScans, WhatTheyHoldCountsIfAsked) {
  Open({{"size_limit", std::to_string(2 * kLimit)}});
  ASSERT_NO_FATAL_FAILURE(Write(2 * kLimit / kSize));
  ASSERT_TRUE(engine_->Reset("scan_hold_counts", "yes").ok());
  taken_max_ = 0;
  auto scan = OpenScan();
  ASSERT_NO_FATAL_FAILURE(Write(kLimit / 4 / kSize));
  EXPECT_TRUE(scan->Next(1).has_value());
  ASSERT_NO_FATAL_FAILURE(Write(2 * kLimit / kSize));
  EXPECT_GT(held_max_, kLimit / 4);
  EXPECT_LE(held_max_, kLimit / 2);
  EXPECT_LE(taken_max_, 2 * kLimit);
  EXPECT_EQ(scan->Next(1).error().code(), StatusCode::kAborted);
  EXPECT_EQ(Stats().size_limit, 2 * kLimit);
  EXPECT_LE(DirectoryBytes(), 2 * kLimit / 4 * 3);
  // Its part is the cache's again.
  ASSERT_TRUE(engine_->Reset("scan_hold_counts", "no").ok());
  ASSERT_NO_FATAL_FAILURE(Write(kLimit / kSize));
  EXPECT_GT(Stats().live_bytes, 2 * kLimit / 4 * 3);
  // Too small a cache has nothing to spare.
  ASSERT_TRUE(engine_->Reset("size_limit", "16MiB").ok());
  EXPECT_EQ(engine_->Reset("scan_hold_counts", "yes").code(),
            StatusCode::kInvalidArgument);
}

TEST_F(HoldingScans, OneSegmentMayAlwaysBeHeld) {
  constexpr std::uint64_t kSegment = kMiB / 2;
  Open({{"size_limit", std::to_string(kLimit)}, {"scan_hold_max", "1KiB"}});
  ASSERT_NO_FATAL_FAILURE(Write(kLimit / kSize));
  const auto scan = OpenScan();
  ASSERT_NO_FATAL_FAILURE(Write(kLimit / kSize));
  EXPECT_GT(held_max_, 0U);
  EXPECT_LE(held_max_, kSegment);
  EXPECT_EQ(scan->Next(1).error().code(), StatusCode::kAborted);
}

// One that reads while it is ended sees whole values up to there.
TEST_F(HoldingScans, OneThatReadsMeanwhileEndsBetweenTwoItems) {
  Open({{"size_limit", std::to_string(kLimit)}, {"scan_hold_max", "1MiB"}});
  ASSERT_NO_FATAL_FAILURE(Write(kLimit / kSize));
  std::atomic<bool> stop{false};
  std::uint64_t ended = 0;
  std::uint64_t wrong = 0;
  std::thread reader([&] {
    while (!stop) {
      const auto scan = OpenScan();
      for (;;) {
        auto page = scan->Next(7);
        if (!page) {
          ended += page.error().code() == StatusCode::kAborted ? 1 : 1'000'000;
          break;
        }
        if (page->empty()) break;
        for (const ScanItem& item : *page) {
          wrong += item.value.size() == kSize ? 0 : 1;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
  });
  ASSERT_NO_FATAL_FAILURE(Write(4 * kLimit / kSize));
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_GT(ended, 0U);
  EXPECT_LT(ended, 1'000'000U);
  EXPECT_EQ(Stats().held_bytes, 0U);
}

// Whatever is smaller than kTooLarge is taken, whatever the cache holds.
class LargestValue : public StoreSpace,
                     public ::testing::WithParamInterface<
                         std::tuple<std::string, std::uint64_t>> {
 protected:
  static constexpr std::uint64_t kLimit = 24 * kMiB;

  /// As settings.md has it.
  static std::uint64_t Largest(std::uint64_t limit) {
    return limit / 8 * 7 - std::max<std::uint64_t>(limit / 128, kMiB / 2);
  }
  void FillWith(const Mix& mix, std::uint64_t bytes) {
    Random random(SeedFromEnvironment(57));
    std::uint64_t i = 0;
    for (std::uint64_t done = 0; done < bytes; ++i) {
      const std::size_t size = SizeOf(mix, random);
      ASSERT_EQ(Set(KeyOf(i), MakeValue(i, size)).ToString(), "kOk") << i;
      done += size + 100;
    }
    count_ = i;
  }
  void Prepare(const std::string& state) {
    if (state == "Empty") return;
    if (state == "Tiny") return FillWith({"tiny", 16, 100}, kLimit / 2);
    if (state == "Pages") return FillWith({"pages", 4096, 4096}, 2 * kLimit);
    FillWith({"mixed", 100, kLimit / 16}, 3 * kLimit);
    if (state == "Mixed") return;
    if (state == "Overwritten") {
      FillWith({"pages", 4096, 4096}, kLimit);
      FillWith({"mixed", 100, kLimit / 16}, kLimit);
    } else if (state == "Deleted") {
      for (std::uint64_t i = 0; i < count_; i += 2) {
        Run(DeleteCommand{.key = KeyOf(i)});
      }
    } else if (state == "Cleared") {
      Run(ClearCommand{});
    } else if (state == "Lowered") {
      ASSERT_EQ(engine_->Reset("size_limit", "16MiB").ToString(), "kOk");
    } else if (state == "Reopened") {
      ASSERT_NO_FATAL_FAILURE(Reopen());
    } else {
      FAIL() << state;
    }
  }
  Status Stream(std::uint64_t size, std::uint64_t size_expected,
                std::uint64_t value) {
    auto writer =
        engine_->OpenWriter(SetCommand{.key = "large"}, size_expected, {});
    if (!writer) return writer.error();
    const std::string piece = MakeValue(value, 300'000);
    for (std::uint64_t done = 0; done < size;) {
      const std::size_t count =
          std::min<std::uint64_t>(piece.size(), size - done);
      const Status status =
          (*writer)->Append(std::string_view(piece).substr(0, count));
      if (!status.ok()) return status;
      done += count;
    }
    return (*writer)->Commit().status;
  }

  std::uint64_t count_ = 0;
};

TEST_P(LargestValue, IsTaken) {
  const auto& [state, eighths] = GetParam();
  Open({{"size_limit", std::to_string(kLimit)}});
  ASSERT_NO_FATAL_FAILURE(Prepare(state));
  const std::uint64_t limit = state == "Lowered" ? 16 * kMiB : kLimit;
  const std::uint64_t size = Largest(limit) / 8 * eighths;
  ASSERT_LE(DirectoryBytes(), limit);
  EXPECT_EQ(Stream(size, size, 1).ToString(), "kOk");
  EXPECT_LE(DirectoryBytes(), limit);
  EXPECT_EQ(Stream(size, 0, 2).ToString(), "kOk");
  EXPECT_LE(DirectoryBytes(), limit);
  EXPECT_EQ(Set("large", MakeValue(3, size)).ToString(), "kOk");
  EXPECT_TRUE(Get("large") == MakeValue(3, size));
  EXPECT_LE(DirectoryBytes(), limit);
  // More is never taken, and changes nothing.
  const std::uint64_t more = Largest(limit) + 1;
  EXPECT_EQ(Stream(more, more, 4).code(), StatusCode::kTooLarge);
  EXPECT_EQ(Set("large", MakeValue(4, more)).code(), StatusCode::kTooLarge);
  EXPECT_TRUE(Get("large") == MakeValue(3, size));
  // Unless it shows at its end only, when others have been evicted for it.
  EXPECT_EQ(Stream(more, 0, 4).code(), StatusCode::kTooLarge);
  EXPECT_EQ(Set("large", MakeValue(5, size)).ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

INSTANTIATE_TEST_SUITE_P(
    States, LargestValue,
    ::testing::Combine(::testing::Values("Empty", "Tiny", "Pages", "Mixed",
                                         "Overwritten", "Deleted", "Cleared",
                                         "Lowered", "Reopened"),
                       ::testing::Values(std::uint64_t{4}, std::uint64_t{6},
                                         std::uint64_t{8})),
    [](const auto& param) {
      return std::get<0>(param.param) +
             std::to_string(std::get<1>(param.param));
    });

class FullStore : public StoreSpace,
                  public ::testing::WithParamInterface<std::size_t> {};

// Refusing costs nothing, and what was deleted can be used.
TEST_P(FullStore, ARefusalLeavesTheFilesAlone) {
  constexpr std::uint64_t kLimit = 32 * kMiB;
  const std::size_t size = GetParam();
  Open({{"size_limit", std::to_string(kLimit)}, {"when_full", "fail"}});
  std::uint64_t count = 0;
  Status status;
  while (status.ok()) {
    status = Set(KeyOf(count), MakeValue(count, size));
    if (status.ok()) ++count;
  }
  ASSERT_EQ(status.code(), StatusCode::kNoSpace) << status.ToString();
  EXPECT_LE(DirectoryBytes(), kLimit);
  EXPECT_GE(Stats().live_bytes, kLimit / 100 * (size < 500 ? 80 : 85));
  const std::vector<std::string> tables = Tables();
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(Set("new" + KeyOf(i), MakeValue(i, size)).code(),
              StatusCode::kNoSpace);
  }
  // None is new; some may have waited for their deletion.
  const std::vector<std::string> after = Tables();
  EXPECT_TRUE(
      std::includes(tables.begin(), tables.end(), after.begin(), after.end()));
  // What was not refused is all there, and room is found again.
  EXPECT_EQ(Stats().count, count);
  for (std::uint64_t i = 0; i < count; i += 4) {
    ASSERT_TRUE(Run(DeleteCommand{.key = KeyOf(i)}).applied) << i;
  }
  for (std::uint64_t i = 0; i < count / 8; ++i) {
    ASSERT_EQ(Set("new" + KeyOf(i), MakeValue(i, size)).ToString(), "kOk") << i;
  }
  EXPECT_LE(DirectoryBytes(), kLimit);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// Where nothing can be evicted there is no cutoff to be saved, either: what is
// pinned fills a limit that was lowered.
TEST_P(FullStore, APinnedCacheDoesNotGrowByRefusing) {
  const std::size_t size = GetParam();
  Open({{"size_limit", std::to_string(64 * kMiB)}});
  std::uint64_t count = 0;
  while (Stats().live_bytes < 15 * kMiB) {
    const std::string value = MakeValue(count, size);
    ASSERT_TRUE(
        Run(SetCommand{.key = KeyOf(count++), .value = value, .pinned = true})
            .status.ok());
  }
  ASSERT_TRUE(engine_->Reset("size_limit", "16MiB").ok());
  std::uint64_t refused = 0;
  for (std::uint64_t i = 0; refused < 10; ++i) {  // It fills up.
    refused += Set("more" + KeyOf(i), MakeValue(i, size)).ok() ? 0 : 1;
  }
  const std::uint64_t before = DirectoryBytes();
  for (std::uint64_t i = 0; i < 2000; ++i) {
    refused += Set("new" + KeyOf(i), MakeValue(i, 4000)).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 1900U);
  // 67 for each of them were 134 KB, in a log that is cut now and then.
  EXPECT_LE(DirectoryBytes(), before + 8 * 1024);
}

// Where they leave no room to write the index again, nobody does: not to look
// for room, nor to delete what gives room as soon as its segment is dead.
TEST_F(StoreSpace, NothingIsCompactedWherePinsLeaveNoRoomForIt) {
  constexpr std::uint64_t kLimit = 16 * kMiB;
  Open({{"size_limit", std::to_string(4 * kLimit)}});
  std::uint64_t count = 0;
  while (Stats().live_bytes < 16'100'000) {
    const std::string value = MakeValue(count, 4000);
    ASSERT_TRUE(
        Run(SetCommand{.key = KeyOf(count++), .value = value, .pinned = true})
            .status.ok());
  }
  ASSERT_TRUE(engine_->Reset("size_limit", std::to_string(kLimit)).ok());
  const std::vector<std::string> tables = Tables();
  const std::uint64_t used = DirectoryBytes();
  std::uint64_t table_bytes = 0;
  for (const std::string& name : tables) {
    table_bytes += std::filesystem::file_size(path_ / "db" / name);
  }
  ASSERT_LE(used, kLimit);
  ASSERT_GT(used + table_bytes, kLimit);
  const auto expect_no_other = [&] {
    const std::vector<std::string> after = Tables();
    EXPECT_TRUE(std::includes(tables.begin(), tables.end(), after.begin(),
                              after.end()));
    EXPECT_LE(DirectoryBytes(), kLimit);
  };
  for (std::uint64_t i = 0; i < 200; ++i) {
    ASSERT_EQ(Set("new" + KeyOf(i), MakeValue(i, 4000)).code(),
              StatusCode::kNoSpace);
  }
  expect_no_other();
  for (std::uint64_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(Run(DeleteCommand{.key = KeyOf(i)}).applied) << i;
  }
  expect_no_other();
  for (std::uint64_t i = 10; i < count; ++i) {
    ASSERT_TRUE(Run(DeleteCommand{.key = KeyOf(i)}).applied) << i;
  }
  for (std::uint64_t i = 0; i < 2000; ++i) {
    ASSERT_EQ(Set("new" + KeyOf(i), MakeValue(i, 4000)).ToString(), "kOk") << i;
  }
  EXPECT_LE(DirectoryBytes(), kLimit);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// What holes there are in its segments is moved into room that a lower limit
// takes away: while it is lowered, as far as it goes.
TEST_F(StoreSpace, ALowerLimitFindsTheHolesOfWhatMayNotBeEvicted) {
  constexpr std::uint64_t kLimit = 32 * kMiB;
  Open({{"size_limit", std::to_string(2 * kLimit)}, {"when_full", "fail"}});
  const int count = Fill(40 * kMiB);
  for (int i = 0; i < count; i += 2) {
    const std::string key = KeyOf(static_cast<std::uint64_t>(i));
    ASSERT_TRUE(Run(DeleteCommand{.key = key}).applied);
  }
  ASSERT_TRUE(engine_->Reset("size_limit", std::to_string(kLimit)).ok());
  EXPECT_LE(DirectoryBytes(), kLimit);
  EXPECT_GT(Fill(2 * kMiB, count), count + 16);  // And there is room again.
  EXPECT_EQ(Stats().evictions, 0U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// Nor does it for each process that comes.
TEST_P(FullStore, WhoComesLaterDoesNotSearchAgain) {
  constexpr std::uint64_t kLimit = 32 * kMiB;
  const std::size_t size = GetParam();
  Open({{"size_limit", std::to_string(kLimit)}, {"when_full", "fail"}});
  std::uint64_t count = 0;
  while (Set(KeyOf(count), MakeValue(count, size)).ok()) ++count;
  for (int round = 0; round < 4; ++round) {
    ASSERT_NO_FATAL_FAILURE(Reopen());
    std::vector<std::string> tables = Tables();
    Status status;
    while ((status = Set(KeyOf(count), MakeValue(count, size))).ok()) {
      ++count;
      tables = Tables();
    }
    ASSERT_EQ(status.code(), StatusCode::kNoSpace);
    if (round == 0) continue;  // What closing left may be worth a search.
    const std::vector<std::string> after = Tables();
    EXPECT_TRUE(
        std::includes(tables.begin(), tables.end(), after.begin(), after.end()))
        << round;
  }
  for (std::uint64_t i = 0; i < count; i += 4) {
    ASSERT_TRUE(Run(DeleteCommand{.key = KeyOf(i)}).applied) << i;
  }
  ASSERT_NO_FATAL_FAILURE(Reopen());
  for (std::uint64_t i = 0; i < count / 8; ++i) {
    ASSERT_EQ(Set("new" + KeyOf(i), MakeValue(i, size)).ToString(), "kOk") << i;
  }
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// A batch fills no less than single sets.
TEST_P(FullStore, BatchesUseTheRoom) {
  constexpr std::uint64_t kLimit = 32 * kMiB;
  constexpr std::uint64_t kBatch = 200;
  const std::size_t size = GetParam();
  Open({{"size_limit", std::to_string(kLimit)}, {"when_full", "fail"}});
  Status status;
  for (std::uint64_t first = 0; status.ok(); first += kBatch) {
    std::vector<std::string> keys;
    std::vector<std::string> values;
    std::vector<Command> commands;
    for (std::uint64_t i = first; i < first + kBatch; ++i) {
      keys.push_back(KeyOf(i));
      values.push_back(MakeValue(i, size));
    }
    for (std::uint64_t i = 0; i < kBatch; ++i) {
      commands.emplace_back(SetCommand{.key = keys[i], .value = values[i]});
    }
    std::vector<Reply> replies(kBatch);
    status = engine_->Execute(commands, replies, {.all_or_nothing = true});
  }
  EXPECT_EQ(status.code(), StatusCode::kNoSpace) << status.ToString();
  EXPECT_LE(DirectoryBytes(), kLimit);
  EXPECT_GE(Stats().live_bytes, kLimit / 100 * (size < 500 ? 80 : 85));
}

// What adds nothing finds its room, again and again.
TEST_P(FullStore, TouchesAreTaken) {
  constexpr std::uint64_t kLimit = 16 * kMiB;
  constexpr std::uint64_t kRounds = 4;
  constexpr std::uint64_t kTouches = 5000;
  const std::size_t size = GetParam();
  Open({{"size_limit", std::to_string(kLimit)}, {"when_full", "fail"}});
  std::uint64_t count = 0;
  for (Status status; status.ok();) {
    const std::string key = KeyOf(count);
    const std::string value = MakeValue(count, size);
    status = Run(SetCommand{
                     .key = key, .value = value, .ttl = std::chrono::hours(9)})
                 .status;
    if (status.ok()) ++count;
  }
  std::uint64_t refused = 0;
  for (std::uint64_t round = 1; round <= kRounds; ++round) {
    for (std::uint64_t n = 0; n < kTouches; ++n) {
      const std::uint64_t i = n * count / kTouches;
      const Status status =
          Run(TouchCommand{.key = KeyOf(i), .ttl = std::chrono::hours(round)})
              .status;
      if (status.ok()) continue;
      ASSERT_EQ(status.code(), StatusCode::kNoSpace) << status.ToString();
      ++refused;
    }
    ASSERT_LE(DirectoryBytes(), kLimit) << round;
  }
  EXPECT_LE(refused, kRounds * kTouches / 10);
  EXPECT_EQ(Stats().count, count);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_P(FullStore, WhatLiesInTheIndexIsOverwritten) {
  constexpr std::uint64_t kLimit = 16 * kMiB;
  constexpr std::uint64_t kCounters = 100;
  constexpr std::uint64_t kRounds = 2;
  constexpr std::uint64_t kOverwrites = 5000;
  const std::size_t size = GetParam();
  Open({{"size_limit", std::to_string(kLimit)}, {"when_full", "fail"}});
  for (std::uint64_t i = 0; i < kCounters; ++i) {
    ASSERT_EQ(Run(IncrCommand{.key = "n" + KeyOf(i)}).status.ToString(), "kOk");
  }
  std::uint64_t count = 0;
  while (Set(KeyOf(count), MakeValue(count, size)).ok()) ++count;
  const std::uint64_t all = Stats().count;
  std::uint64_t refused = 0;
  std::vector<std::uint64_t> counted(kCounters, 1);
  for (std::uint64_t round = 1; round <= kRounds; ++round) {
    for (std::uint64_t n = 0; n < kOverwrites; ++n) {
      const Reply counting =
          Run(IncrCommand{.key = "n" + KeyOf(n % kCounters)});
      if (counting.status.ok()) ++counted[n % kCounters];
      const std::string key = KeyOf(n * count / kOverwrites);
      const Status written = Set(key, MakeValue(n, 100));
      for (const Status& status : {counting.status, written}) {
        if (status.ok()) continue;
        ASSERT_EQ(status.code(), StatusCode::kNoSpace) << status.ToString();
        ++refused;
      }
      if (written.ok()) {
        ASSERT_TRUE(Get(key) == MakeValue(n, 100)) << key;
      }
    }
    ASSERT_LE(DirectoryBytes(), kLimit) << round;
  }
  EXPECT_LE(refused, 2 * kRounds * kOverwrites / 10);
  EXPECT_EQ(Stats().count, all);
  for (std::uint64_t i = 0; i < kCounters; ++i) {
    EXPECT_EQ(Run(IncrCommand{.key = "n" + KeyOf(i)}).integer,
              static_cast<std::int64_t>(counted[i] + 1));
  }
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

INSTANTIATE_TEST_SUITE_P(Sizes, FullStore,
                         ::testing::Values(std::size_t{100}, std::size_t{1000}),
                         ::testing::PrintToStringParamName());

// Five eighths of the limit are live at any time; the rest can be freed.
TEST_F(StoreSpace, OverwritesAreNeverRefused) {
  Open({{"size_limit", "16MiB"}, {"when_full", "fail"}});
  constexpr std::uint64_t kLimit = 16 * kMiB;
  Random random(SeedFromEnvironment(1));
  const Mix mix{"mixed", 16, 512 * 1024};
  std::vector<std::size_t> sizes;
  for (std::uint64_t live = 0; live < kLimit * 5 / 8;
       live += sizes.back() + 200) {
    sizes.push_back(SizeOf(mix, random));
  }
  std::uint64_t written = 0;
  std::uint64_t reopened = 0;
  for (std::uint64_t i = 0; written < 8 * kLimit; ++i) {
    const std::size_t key = i < sizes.size() ? i : random.Below(sizes.size());
    const Status status = Set(KeyOf(key), MakeValue(i, sizes[key]));
    ASSERT_EQ(status.ToString(), "kOk") << "after " << written;
    written += sizes[key];
    if (written / (kLimit / 4) != reopened) {
      reopened = written / (kLimit / 4);
      Reopen();
    }
  }
  EXPECT_EQ(Stats().count, sizes.size());
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, ALowerLimitTakesEffectAtOnce) {
  Open({{"size_limit", "48MiB"}});
  Fill(40 * kMiB);
  EXPECT_GT(DirectoryBytes(), 32 * kMiB);
  ASSERT_EQ(engine_->Reset("size_limit", "16MiB").ToString(), "kOk");
  EXPECT_LE(DirectoryBytes(), 16 * kMiB);
  EXPECT_GT(Stats().count, 50U);
  Fill(8 * kMiB, 10'000);
  EXPECT_LE(DirectoryBytes(), 16 * kMiB);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(StoreSpace, AHigherLimitTakesEffectAtOnce) {
  Open({{"size_limit", "16MiB"}});
  Fill(20 * kMiB);
  const EngineStats before = Stats();
  ASSERT_EQ(engine_->Reset("size_limit", "64MiB").ToString(), "kOk");
  Fill(20 * kMiB, 10'000);
  EXPECT_EQ(Stats().evictions, before.evictions);
  EXPECT_EQ(Stats().count, before.count + 320);
}

// A compaction as the database opens must not take what was stored after a
// Clear, in another epoch, for dead.
TEST_F(StoreSpace, NothingIsLostOverManyReopenings) {
  Open({{"size_limit", "16MiB"}});
  ASSERT_EQ(Set("cleared", "value").ToString(), "kOk");
  ASSERT_EQ(Run(ClearCommand{}).count, 1U);
  std::uint64_t stored = 0;
  for (int session = 0; session < 12; ++session) {
    for (int i = 0; i < 40; ++i, ++stored) {
      ASSERT_TRUE(Run(SetCommand{.key = KeyOf(stored * 7919 % 480),
                                 .value = MakeValue(stored, 100),
                                 .ttl = std::chrono::hours(1),
                                 .tag = "tag"})
                      .applied);
    }
    ASSERT_NO_FATAL_FAILURE(Reopen());
    ASSERT_EQ(Stats().count, stored) << session;
    ASSERT_NO_FATAL_FAILURE(ExpectSound()) << session;
  }
  EXPECT_EQ(Run(EvictTagCommand{"tag"}).count, stored);
}

}  // namespace
}  // namespace larder::testing
