#include "high_water.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "temporary_directory.h"

namespace larder::testing {
namespace {

class HighWaterTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::unique_ptr<HighWater> Open() const {
    auto opened = HighWater::Open(file_);
    EXPECT_TRUE(opened.has_value()) << opened.error().ToString();
    return opened ? *std::move(opened) : nullptr;
  }
  void Damage(std::streamoff at) const {
    std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.put('x');
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path file_ = directory_.path() / "marks";
};

TEST_F(HighWaterTest, MarksAreThereTheNextTime) {
  EXPECT_FALSE(Open()->is_known());
  EXPECT_FALSE(std::filesystem::exists(file_));
  ASSERT_TRUE(Open()->Raise({.segment = 5}).ok());
  ASSERT_TRUE(Open()->Raise({.version = 1'000}).ok());
  EXPECT_TRUE(Open()->is_known());
  EXPECT_EQ(Open()->marks(), (HighWaterMarks{5, 1'000}));
}

TEST_F(HighWaterTest, RaisingNeverLowers) {
  const auto marks = Open();
  ASSERT_TRUE(marks->Raise({.segment = 9, .version = 90}).ok());
  ASSERT_TRUE(marks->Raise({.segment = 7, .version = 91}).ok());
  EXPECT_EQ(Open()->marks(), (HighWaterMarks{9, 91}));
  ASSERT_TRUE(marks->Settle({.segment = 8, .version = 80}).ok());
  EXPECT_EQ(Open()->marks(), (HighWaterMarks{8, 80}));
}

// The slot before the last one is what a torn write leaves.
TEST_F(HighWaterTest, ADamagedSlotDoesNotCount) {
  const auto marks = Open();
  for (std::uint32_t i = 1; i <= 4; ++i) {
    ASSERT_TRUE(marks->Raise({.segment = i}).ok());
  }
  Damage(20);  // The fourth is in the first slot.
  EXPECT_EQ(Open()->marks(), (HighWaterMarks{3, 0}));
  Damage(64 + 20);
  EXPECT_FALSE(Open()->is_known());
  ASSERT_TRUE(Open()->Raise({.segment = 6}).ok());
  EXPECT_EQ(Open()->marks(), (HighWaterMarks{6, 0}));
}

TEST_F(HighWaterTest, WhatIsNoFileIsRefused) {
  ASSERT_EQ(::mkfifo(file_.c_str(), 0600), 0);
  EXPECT_EQ(HighWater::Open(file_).error().code(), StatusCode::kIoError);
  std::filesystem::remove(file_);
  std::filesystem::create_symlink("elsewhere", file_);
  EXPECT_FALSE(HighWater::Open(file_).has_value());
  std::filesystem::remove(file_);
  std::filesystem::create_directory(file_);
  EXPECT_FALSE(HighWater::Open(file_).has_value());
}

}  // namespace
}  // namespace larder::testing
