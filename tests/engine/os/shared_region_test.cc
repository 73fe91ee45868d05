#include "os/shared_region.h"

#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "open_descriptors.h"
#include "os/in_use.h"
#include "temporary_directory.h"

namespace larder {
namespace {

class SharedRegionTest : public ::testing::Test {
 protected:
  RegionAddress Address() const {
    return {.directory = directory_.path(),
            .id = {.high = 1, .low = 2},
            .epoch = 3,
            .kind = RegionKind::kHot,
            .number = 4};
  }
  testing::TemporaryDirectory directory_;
};

TEST_F(SharedRegionTest, WhatOneWritesTheOtherReads) {
  const auto mine = SharedRegion::Create(Address(), 1U << 20, 1U << 20);
  ASSERT_TRUE(mine.has_value());
  const auto theirs =
      SharedRegion::Open(Address(), SharedRegion::Access::kReadOnly);
  ASSERT_TRUE(theirs.has_value());
  std::memcpy((*mine)->data() + 4096, "hello", 5);
  EXPECT_EQ(std::string_view((*theirs)->data() + 4096, 5), "hello");
  EXPECT_EQ((*theirs)->size(), 1U << 20);
}

TEST_F(SharedRegionTest, TheFileIsPrivateWhateverTheUmask) {
  const mode_t old = ::umask(0277);
  const auto region = SharedRegion::Create(Address(), 4096, 4096);
  ::umask(old);
  ASSERT_TRUE(region.has_value());
  struct stat about {};
  ASSERT_EQ(::stat((*region)->path().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600U);
}

TEST_F(SharedRegionTest, ALeftoverOfOursIsReplaced) {
  {
    const auto old = SharedRegion::Create(Address(), 4096, 4096);
    ASSERT_TRUE(old.has_value());
    (*old)->data()[100] = 'x';
  }
  const auto region = SharedRegion::Create(Address(), 8192, 8192);
  ASSERT_TRUE(region.has_value());
  EXPECT_EQ((*region)->data()[100], 0);
}

TEST_F(SharedRegionTest, ALinkIsNotFollowed) {
  const auto target = directory_.path() / "target";
  std::ofstream(target) << std::string(8192, '\0');
  std::filesystem::create_symlink(target, Address().Path());
  EXPECT_EQ(SharedRegion::Create(Address(), 4096, 4096).error().code(),
            StatusCode::kPermissionDenied);
  EXPECT_FALSE(SharedRegion::Open(Address(), SharedRegion::Access::kReadWrite));
  EXPECT_EQ(std::filesystem::file_size(target), 8192U);
}

TEST_F(SharedRegionTest, AFileThatOthersCanReadIsRefused) {
  { ASSERT_TRUE(SharedRegion::Create(Address(), 4096, 4096).has_value()); }
  ASSERT_EQ(::chmod(Address().Path().c_str(), 0640), 0);
  EXPECT_EQ(SharedRegion::Open(Address(), SharedRegion::Access::kReadWrite)
                .error()
                .code(),
            StatusCode::kPermissionDenied);
}

TEST_F(SharedRegionTest, AnotherUsersFileIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give files away";
  { ASSERT_TRUE(SharedRegion::Create(Address(), 4096, 4096).has_value()); }
  ASSERT_EQ(::chown(Address().Path().c_str(), 12345, 12345), 0);
  EXPECT_EQ(SharedRegion::Create(Address(), 4096, 4096).error().code(),
            StatusCode::kPermissionDenied);
  const auto opened =
      SharedRegion::Open(Address(), SharedRegion::Access::kReadWrite);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), StatusCode::kPermissionDenied);
  // It may be of a cache in use: whose it is is said, not to remove it.
  const std::string& message = opened.error().message();
  EXPECT_NE(message.find("uid 12345"), std::string::npos) << message;
  EXPECT_EQ(message.find("remove"), std::string::npos) << message;
}

TEST_F(SharedRegionTest, AnotherLayoutIsRefused) {
  const auto region = SharedRegion::Create(Address(), 4096, 4096);
  ASSERT_TRUE(region.has_value());
  ++(*region)->At<RegionHeader>(0)->layout_version;
  EXPECT_EQ(SharedRegion::Open(Address(), SharedRegion::Access::kReadWrite)
                .error()
                .code(),
            StatusCode::kUnsupportedFormat);
}

TEST_F(SharedRegionTest, AnotherRegionUnderTheNameIsRefused) {
  const auto region = SharedRegion::Create(Address(), 4096, 4096);
  ASSERT_TRUE(region.has_value());
  RegionAddress other = Address();
  other.number = 5;
  other.epoch = 9;
  std::filesystem::rename(Address().Path(), other.Path());
  EXPECT_EQ(SharedRegion::Open(other, SharedRegion::Access::kReadWrite)
                .error()
                .code(),
            StatusCode::kCorruption);
}

TEST_F(SharedRegionTest, AHalfMadeFileIsRefused) {
  const UniqueFd fd(::open(Address().Path().c_str(), O_CREAT | O_RDWR, 0600));
  ASSERT_TRUE(fd);
  for (const off_t size : {off_t{0}, off_t{10}, off_t{4096}}) {
    ASSERT_EQ(::ftruncate(fd.get(), size), 0);
    EXPECT_EQ(SharedRegion::Open(Address(), SharedRegion::Access::kReadWrite)
                  .error()
                  .code(),
              StatusCode::kCorruption)
        << size;
  }
}

TEST_F(SharedRegionTest, AMissingDirectoryIsNotFound) {
  RegionAddress address = Address();
  address.directory /= "missing";
  EXPECT_EQ(SharedRegion::Create(address, 4096, 4096).error().code(),
            StatusCode::kNotFound);
}

TEST_F(SharedRegionTest, UnlinkAllKeepsOtherCachesAndTheCurrentEpoch) {
  RegionAddress old = Address();
  old.epoch = 2;
  RegionAddress other = Address();
  other.id.low = 77;
  for (const auto& address : {Address(), old, other}) {
    ASSERT_TRUE(SharedRegion::Create(address, 4096, 4096).has_value());
  }
  SharedRegion::UnlinkAll(directory_.path(), Address().id, 3);
  EXPECT_TRUE(std::filesystem::exists(Address().Path()));
  EXPECT_FALSE(std::filesystem::exists(old.Path()));
  EXPECT_TRUE(std::filesystem::exists(other.Path()));
}

// In use as long as it is mapped; on a tmpfs without a descriptor.
TEST(SharedRegionInUse, TheMappingSaysSo) {
  using testing::IsOpenHere;
  using testing::TemporaryDirectory;
  for (const auto place :
       {TemporaryDirectory::Place::kDisk, TemporaryDirectory::Place::kMemory}) {
    const TemporaryDirectory directory(place);
    const RegionAddress address = {
        .directory = directory.path(), .id = {.high = 1, .low = 2}, .epoch = 3};
    const auto is_unused = [&address] {
      const UniqueFd fd(::open(address.Path().c_str(), O_RDWR | O_CLOEXEC));
      EXPECT_TRUE(fd);
      return IsUnused(fd.get());
    };
    auto made = SharedRegion::Create(address, 8192, 4096);
    ASSERT_TRUE(made.has_value());
    auto opened = SharedRegion::Open(address, SharedRegion::Access::kReadOnly);
    ASSERT_TRUE(opened.has_value());
    EXPECT_TRUE((*made)->Allocate(8192).ok());
    struct statfs about {};
    ASSERT_EQ(::statfs(directory.path().c_str(), &about), 0);
    EXPECT_EQ(IsOpenHere(address.Path()), about.f_type != TMPFS_MAGIC);
    EXPECT_FALSE(is_unused());
    made->reset();
    EXPECT_FALSE(is_unused());
    opened->reset();
    EXPECT_TRUE(is_unused());
  }
}

// Somebody is just removing it as an orphan.
TEST_F(SharedRegionTest, WhatIsBeingRemovedIsNotOpened) {
  { ASSERT_TRUE(SharedRegion::Create(Address(), 4096, 4096).has_value()); }
  const UniqueFd fd(::open(Address().Path().c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(IsUnused(fd.get()));
  EXPECT_EQ(SharedRegion::Open(Address(), SharedRegion::Access::kReadWrite)
                .error()
                .code(),
            StatusCode::kNotFound);
  EXPECT_TRUE(SharedRegion::Create(Address(), 4096, 4096).has_value());
}

TEST_F(SharedRegionTest, AReplacedFileIsNotAllocated) {
  const auto region = SharedRegion::Create(Address(), 8192, 4096);
  ASSERT_TRUE(region.has_value());
  std::filesystem::remove(Address().Path());
  EXPECT_EQ((*region)->Allocate(8192).code(), StatusCode::kNotFound);
  std::ofstream(Address().Path()) << "another";
  EXPECT_EQ((*region)->Allocate(8192).code(), StatusCode::kNotFound);
  EXPECT_EQ(std::filesystem::file_size(Address().Path()), 7U);
}

// A full tmpfs answers with a status; without the allocation ahead the process
// would die of SIGBUS at the first touch.
class FullTmpfsTest : public SharedRegionTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::mount("tmpfs", directory_.path().c_str(), "tmpfs",
                                    MS_NOSUID, "size=1m,mode=0700") != 0) {
      GTEST_SKIP() << "needs the right to mount a tmpfs";
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) ::umount2(directory_.path().c_str(), MNT_DETACH);
  }
  bool mounted_ = false;
};

TEST_F(FullTmpfsTest, CreateSaysNoSpaceAndLeavesNoFile) {
  EXPECT_EQ(SharedRegion::Create(Address(), 4U << 20, 4U << 20).error().code(),
            StatusCode::kNoSpace);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(FullTmpfsTest, GrowingSaysNoSpaceAndKeepsWhatIsThere) {
  const auto region = SharedRegion::Create(Address(), 4U << 20, 64U << 10);
  ASSERT_TRUE(region.has_value());
  EXPECT_TRUE((*region)->Allocate(256U << 10).ok());
  (*region)->data()[(256U << 10) - 1] = 'x';
  EXPECT_EQ((*region)->Allocate(4U << 20).code(), StatusCode::kNoSpace);
  EXPECT_TRUE((*region)->Allocate(256U << 10).ok());
  EXPECT_EQ((*region)->data()[(256U << 10) - 1], 'x');
}

// Others get the memory back at once, though it is mapped and the file is gone.
TEST_F(FullTmpfsTest, WhatIsLetGoIsFree) {
  const auto region = SharedRegion::Create(Address(), 900U << 10, 900U << 10);
  ASSERT_TRUE(region.has_value());
  const auto reader =
      SharedRegion::Open(Address(), SharedRegion::Access::kReadOnly);
  ASSERT_TRUE(reader.has_value());
  (*region)->data()[500'000] = 'x';
  ASSERT_EQ((*reader)->data()[500'000], 'x');
  SharedRegion::Unlink(Address());
  EXPECT_LT(FreeSpaceBytes(directory_.path()), 200U << 10);
  EXPECT_TRUE((*reader)->LetGo());
  EXPECT_EQ((*reader)->data()[500'000], 0);
  EXPECT_TRUE((*region)->LetGo());
  (*region)->data()[500'000] = 'y';  // Nobody sees it.
  EXPECT_EQ((*reader)->data()[500'000], 0);
  EXPECT_GT(FreeSpaceBytes(directory_.path()), 900U << 10);
}

}  // namespace
}  // namespace larder
