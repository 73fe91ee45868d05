#include "directory/high_water.h"

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
  EXPECT_EQ(Open()->marks(), HighWaterMarks());
  EXPECT_FALSE(std::filesystem::exists(file_));
  ASSERT_TRUE(Open()->Raise({.segment = 5}).ok());
  ASSERT_TRUE(Open()->Raise({.version = 1'000}).ok());
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

// The damaged slot may have been the newer one.
TEST_F(HighWaterTest, ADamagedSlotRaisesTheMarks) {
  for (const std::streamoff slot : {0, 64}) {
    std::filesystem::remove(file_);
    const auto marks = Open();
    for (std::uint32_t i = 1; i <= 5; ++i) {
      ASSERT_TRUE(marks->Raise({.segment = i * 64}).ok());
    }
    Damage(slot + 20);
    EXPECT_GT(Open()->marks().segment, 320U);
    EXPECT_EQ(Open()->marks().version, 0U);
  }
}

TEST_F(HighWaterTest, OfTheManifestTheLastCounts) {
  ASSERT_TRUE(Open()->Raise({.manifest = {.number = 9, .size = 500}}).ok());
  ASSERT_TRUE(Open()->Raise({.manifest = {.number = 4, .size = 100}}).ok());
  ASSERT_TRUE(Open()->Settle({.segment = 3}).ok());
  EXPECT_EQ(Open()->marks(), (HighWaterMarks{3, 0, {4, 100}}));
  EXPECT_EQ(HighWater::Read(file_), Open()->marks());
  ASSERT_TRUE(Open()->ForgetManifest().ok());
  EXPECT_EQ(Open()->marks(), (HighWaterMarks{3, 0}));
  Damage(20);  // And the other slot does not know another one.
  EXPECT_EQ(Open()->marks().manifest, ManifestMark());
}

TEST_F(HighWaterTest, ADamagedFileIsMadeAnew) {
  ASSERT_TRUE(Open()->Raise({.segment = 64}).ok());
  ASSERT_TRUE(Open()->Raise({.segment = 128}).ok());
  Damage(20);
  Damage(64 + 20);
  EXPECT_EQ(Open()->marks(), HighWaterMarks());
  for (std::uint32_t i = 6; i < 8; ++i) {
    ASSERT_TRUE(Open()->Raise({.segment = i << 20}).ok());
  }
  EXPECT_EQ(Open()->marks().segment, 7U << 20);
}

TEST_F(HighWaterTest, WhatIsNoFileIsRefused) {
  ASSERT_EQ(::mkfifo(file_.c_str(), 0600), 0);
  EXPECT_EQ(HighWater::Open(file_).error().code(), StatusCode::kNotAFile);
  std::filesystem::remove(file_);
  std::filesystem::create_symlink("elsewhere", file_);
  EXPECT_FALSE(HighWater::Open(file_).has_value());
  std::filesystem::remove(file_);
  std::filesystem::create_directory(file_);
  EXPECT_FALSE(HighWater::Open(file_).has_value());
}

}  // namespace
}  // namespace larder::testing
