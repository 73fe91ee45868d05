// Values that are not in memory are asked for together by who reads many.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/test_point.h"
#include "engine/cold_pages.h"
#include "engine/store_fixture.h"
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

class ColdStreams : public StoreFixture {
 protected:
  static constexpr std::uint64_t kSize = 40 * kMiB;
  static constexpr std::size_t kPart = 256U << 10;

  // Of mapped files, that is.
  static std::uint64_t ResidentFileBytes() {
    std::ifstream file("/proc/self/status");
    for (std::string word; file >> word;) {
      std::uint64_t kib = 0;
      if (word == "RssFile:" && file >> kib) return kib << 10;
    }
    return 0;
  }
  void Write() {
    auto writer = engine_->OpenWriter({.key = "key"}, kSize, {});
    ASSERT_TRUE(writer.has_value());
    for (std::uint64_t i = 0; i < kSize / kPart; ++i) {
      ASSERT_TRUE((*writer)->Append(MakeValue(i, kPart)).ok());
    }
    ASSERT_TRUE((*writer)->Commit().applied);
  }
  void ReadAll(ValueReader& reader) {
    std::string part(kPart, '\0');
    for (std::uint64_t i = 0; i < kSize / kPart; ++i) {
      const auto count = reader.Read(part);
      ASSERT_TRUE(count.has_value()) << count.error().ToString();
      ASSERT_EQ(*count, kPart);
      ASSERT_TRUE(part == MakeValue(i, kPart));
    }
  }
};

TEST_F(ColdStreams, WhatWentByIsNoMemoryOfTheProcess) {
  Open({{"size_limit", "128MiB"}});
  const std::uint64_t before = ResidentFileBytes();
  Write();
  const auto reader = engine_->OpenReader("key");
  ASSERT_TRUE(reader.has_value());
  ReadAll(**reader);
  EXPECT_LT(ResidentFileBytes(), before + 8 * kMiB);
}

TEST_F(ColdStreams, PiecesAreAskedForAheadAndReadOnce) {
  Open({{"size_limit", "128MiB"}});
  if (!ReadsAreCounted(path_)) {
    GTEST_SKIP() << "this file system does not count what is read";
  }
  Write();
  ASSERT_NO_FATAL_FAILURE(Reopen());
  for (const auto& file : std::filesystem::directory_iterator(path_ / "log")) {
    DropPages(file.path());
  }
  static std::atomic<int> asked{0};
  test_point_hook.store([](const char* name) {
    if (std::string_view(name) == "log.read_ahead") ++asked;
  });
  const std::uint64_t before = BytesRead();
  const auto reader = engine_->OpenReader("key");
  ASSERT_TRUE(reader.has_value());
  ReadAll(**reader);
  test_point_hook.store(nullptr);
  EXPECT_GE(asked, 10);
  EXPECT_GE(BytesRead() - before, kSize * 9 / 10);
  EXPECT_LE(BytesRead() - before, kSize * 13 / 10);
}

}  // namespace
}  // namespace larder::testing
