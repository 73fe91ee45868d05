// Values that are not in memory are asked for together by who reads many.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "cold_pages.h"
#include "store_fixture.h"
#include "test_point.h"
#include "test_values.h"

namespace larder::testing {
namespace {

class ColdBatches : public StoreFixture {
 protected:
  static constexpr int kCount = 150;
  static constexpr std::size_t kSize = 20'000;

  void SetUp() override {
    Open();
    if (!ReadsAreCounted(path_)) {
      GTEST_SKIP() << "this file system does not count what is read";
    }
    for (int i = 0; i < kCount; ++i) {
      ASSERT_TRUE(Set(KeyOf(i), MakeValue(i, kSize)).ok());
    }
    ASSERT_EQ(engine_->Close().ToString(), "kOk");
    engine_.reset();
    for (const auto& file :
         std::filesystem::directory_iterator(path_ / "log")) {
      DropPages(file.path());
    }
    ASSERT_NO_FATAL_FAILURE(Open());
    asked_ = 0;
    test_point_hook.store([](const char* name) {
      if (std::string_view(name) == "log.read_ahead") ++asked_;
    });
  }
  void TearDown() override { test_point_hook.store(nullptr); }

  static std::string KeyOf(int i) {
    const std::string digits = std::to_string(i);
    return std::string(4 - digits.size(), '0') + digits;
  }
  // Values and their records' pages, at most.
  static constexpr std::uint64_t kBytesMax =
      std::uint64_t{kCount} * (kSize + 2 * kPage) * 13 / 10;
  static inline std::atomic<int> asked_{0};
};

TEST_F(ColdBatches, AMultiGetAsksForManyAtATime) {
  std::vector<std::string> keys;
  for (int i = 0; i < kCount; ++i) keys.push_back(KeyOf(i));
  const std::vector<Command> commands = [&keys] {
    std::vector<Command> gets;
    for (const auto& key : keys) gets.emplace_back(GetCommand{.key = key});
    return gets;
  }();
  std::vector<Reply> replies(commands.size());
  const std::uint64_t before = BytesRead();
  ASSERT_TRUE(engine_->Execute(commands, replies, {}).ok());
  for (int i = 0; i < kCount; ++i) {
    ASSERT_TRUE(replies[static_cast<std::size_t>(i)].applied);
    EXPECT_TRUE(replies[static_cast<std::size_t>(i)].value.bytes() ==
                MakeValue(i, kSize));
  }
  EXPECT_GE(asked_, 2);
  EXPECT_LE(asked_, 4);
  EXPECT_LE(BytesRead() - before, kBytesMax);
  // Now they are in memory, and after one look nobody asks any more.
  ASSERT_TRUE(engine_->Execute(commands, replies, {}).ok());
  const int asked = asked_;
  ASSERT_TRUE(engine_->Execute(commands, replies, {}).ok());
  EXPECT_EQ(asked_, asked);
}

TEST_F(ColdBatches, AScanAsksForManyAtATime) {
  for (const bool reverse : {false, true}) {
    auto scan = engine_->OpenScan({.reverse = reverse, .with_values = true});
    ASSERT_TRUE(scan.has_value());
    const auto page = (*scan)->Next(kCount);
    ASSERT_TRUE(page.has_value());
    ASSERT_EQ(page->size(), std::size_t{kCount});
    for (int i = 0; i < kCount; ++i) {
      const int index = reverse ? kCount - 1 - i : i;
      const ScanItem& item = (*page)[static_cast<std::size_t>(i)];
      EXPECT_EQ(item.key, KeyOf(index));
      EXPECT_TRUE(item.value.bytes() == MakeValue(index, kSize));
    }
    EXPECT_GE(asked_, 2);
    EXPECT_LE(asked_, 4);
  }
}

TEST_F(ColdBatches, ACheckAsksForManyAtATime) {
  const std::uint64_t before = BytesRead();
  const auto report = engine_->Check(false);
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->ok());
  EXPECT_EQ(report->items_checked, std::uint64_t{kCount});
  EXPECT_GE(asked_, 2);
  EXPECT_LE(asked_, 4);
  EXPECT_LE(BytesRead() - before, kBytesMax);
}

}  // namespace
}  // namespace larder::testing
