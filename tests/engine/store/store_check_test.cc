// Check beside those who write, evict and clean: it must neither call a sound
// cache damaged nor mend what is whole.

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/test_point.h"
#include "engine/store_fixture.h"
#include "test_values.h"

namespace larder::testing {
namespace {

class StoreCheckTest : public StoreFixture {
 protected:
  void TearDown() override { test_point_hook.store(nullptr); }
};

TEST_F(StoreCheckTest, IsExactBesideWritersEvictionAndCleaning) {
  background_ = true;
  Open({{"size_limit", "16MiB"}});
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (std::uint64_t t = 0; t < 2; ++t) {
    writers.emplace_back([this, t, &stop] {
      Random random(t);
      for (std::uint64_t i = 0; !stop; ++i) {
        // Inline, in runs, in segments; a third of them again and again.
        const std::string key =
            std::to_string(i % 3 == 0 ? random.Below(500) : 1'000 + i) +
            std::to_string(t);
        ASSERT_TRUE(Set(key, MakeValue(i, 50U << random.Below(9))).ok());
      }
    });
  }
  for (int i = 0; i < 40 || Stats().evictions < 1'000; ++i) {
    const auto report = engine_->Check(/*repair=*/i % 2 == 0);
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_TRUE(report->ok()) << report->problems.front();
    EXPECT_EQ(report->repaired, 0U);
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
}

// Of three items that follow each other two are gone, and what is left is found
// by its lines, in the orders of tags and of expiry.
TEST_F(StoreCheckTest, MatchesLinesAmongWhatWasEvictedByTag) {
  constexpr std::uint64_t kItems = 3000;
  Open({{"size_limit", "16MiB"}});
  Random random(SeedFromEnvironment(5));
  for (std::uint64_t i = 0; i < kItems; ++i) {
    const std::string key = "k" + std::to_string(i);
    const std::string tag = "t" + std::to_string(i % 3);
    const auto ttl = std::chrono::seconds(1 + random.Below(10'000));
    ASSERT_TRUE(
        Run(SetCommand{.key = key, .value = "v", .ttl = ttl, .tag = tag})
            .status.ok());
  }
  for (const std::string_view tag : {"t0", "t1"}) {
    ASSERT_EQ(Run(EvictTagCommand{.tag = tag}).count, kItems / 3);
    const auto report = engine_->Check(/*repair=*/false);
    ASSERT_TRUE(report.has_value());
    EXPECT_TRUE(report->ok()) << report->problems.front();
    EXPECT_EQ(report->index_entries_stale, 0U);
  }
}

Engine* evicting = nullptr;

// Between the moment that it looks at and the looking, all of it goes.
TEST_F(StoreCheckTest, SeesTheValuesOfItsMoment) {
  Open({{"size_limit", "16MiB"}});
  for (int i = 0; i < 200; ++i) {
    const std::string key = std::to_string(i);
    ASSERT_TRUE(Set(key, MakeValue(7, 50U << (i % 10))).ok());
  }
  evicting = engine_.get();
  test_point_hook.store([](const char* name) {
    if (std::string_view(name) != "check.begun") return;
    std::thread([] {  // Another one: this one is in the store.
      const Command cull = CullCommand{.live_bytes_target = 0};
      Reply reply;
      EXPECT_TRUE(evicting->Execute({&cull, 1}, {&reply, 1}, {}).ok());
      EXPECT_GT(reply.count, 0U);
    })
        .join();
  });
  const auto report = engine_->Check(/*repair=*/true);
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->ok()) << report->problems.front();
  EXPECT_EQ(report->items_checked, 200U);
  EXPECT_EQ(report->repaired, 0U);
}

// Nobody keeps the other process out, or what it frees.
class ViewCheckTest : public StoreCheckTest {
 protected:
  static constexpr int kItems = 60;
  void SetUp() override {
    Open({{"size_limit", "16MiB"}});
    for (int i = 0; i < kItems; ++i) {
      ASSERT_TRUE(Set(std::to_string(i), MakeValue(i, 50U << (i % 12))).ok());
    }
    EngineOptions options;
    options.mode = OpenMode::kReadOnly;
    options.clock = &clock_;
    auto view = OpenEngine(path_, options);
    ASSERT_TRUE(view.has_value()) << view.error().ToString();
    view_ = *std::move(view);
    evicting = engine_.get();
  }
  static void ClearAll() {
    const Command clear = ClearCommand{};
    Reply reply;
    EXPECT_TRUE(evicting->Execute({&clear, 1}, {&reply, 1}, {}).ok());
  }
  /// Damages a value in each segment, and returns how many there are.
  std::uint64_t FlipInSegments() const {
    constexpr std::streamoff kAt = 500;
    std::uint64_t count = 0;
    for (const auto& file :
         std::filesystem::directory_iterator(path_ / "log")) {
      std::fstream bytes(file.path(),
                         std::ios::in | std::ios::out | std::ios::binary);
      bytes.seekg(kAt);
      const char byte = static_cast<char>(bytes.get() ^ 1);
      bytes.seekp(kAt);
      bytes.put(byte);
      ++count;
    }
    return count;
  }
  std::unique_ptr<Engine> view_;
};

TEST_F(ViewCheckTest, DoesNotMissWhatWasFreedMeanwhile) {
  test_point_hook.store([](const char* name) {
    if (std::string_view(name) == "check.begun") ClearAll();
  });
  const auto report = view_->Check(false);
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_TRUE(report->ok()) << report->problems.front();
  EXPECT_EQ(report->items_checked, static_cast<std::uint64_t>(kItems));
}

TEST_F(ViewCheckTest, FindsDamage) {
  const std::uint64_t damaged = FlipInSegments();
  const auto report = view_->Check(false);
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->values_damaged, damaged);
  EXPECT_EQ(report->values_missing, 0U);
}

TEST_F(ViewCheckTest, DoesNotMissWhatWasFreedBeforeItIsConfirmed) {
  EXPECT_GT(FlipInSegments(), 0U);
  test_point_hook.store([](const char* name) {
    if (std::string_view(name) == "check.confirm") ClearAll();
  });
  const auto report = view_->Check(false);
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_TRUE(report->ok());
}

}  // namespace
}  // namespace larder::testing
