#include "directory/directory.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "directory/directory_create.h"
#include "directory/directory_stamp.h"
#include "engine/directory/directory_fixture.h"
#include "os/file_system_kind.h"

namespace larder {
namespace {

namespace fs = std::filesystem;
using DirectoryTest = DirectoryFixture;

mode_t ModeOf(const fs::path& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777U;
}

// What du(1) itself says.
std::uint64_t DuSays(const fs::path& path) {
  const std::string command = "du -s --block-size=1 '" + path.string() + "'";
  FILE* const pipe = ::popen(command.c_str(), "r");
  unsigned long long bytes = 0;
  EXPECT_EQ(std::fscanf(pipe, "%llu", &bytes), 1);
  ::pclose(pipe);
  return bytes;
}

TEST_F(DirectoryTest, CreateMakesParentsAndLayout) {
  const fs::path deep = temporary_.path() / "a" / "b" / "cache";
  const auto directory = OpenAt(deep);
  ASSERT_TRUE(directory.has_value()) << directory.error().ToString();
  EXPECT_EQ(ModeOf(deep), 0700U);
  EXPECT_EQ(ModeOf(deep / "db"), 0700U);
  EXPECT_EQ(ModeOf(deep / "log"), 0700U);
  EXPECT_EQ(ModeOf(deep / "larder.format"), 0600U);
  EXPECT_EQ((*directory)->root(), deep);
  EXPECT_TRUE(fs::equivalent((*directory)->db_path(), deep / "db"));
  EXPECT_TRUE(fs::equivalent((*directory)->log_path(), deep / "log"));
  EXPECT_EQ(ReadFile(deep / "larder.format"),
            "larder format 1\nid " + (*directory)->id() + "\nfeatures 0\n");
  EXPECT_EQ((*directory)->id().size(), 32U);
}

TEST_F(DirectoryTest, ReopeningKeepsTheIdAndChangesNothing) {
  const std::string id = (*OpenAt(path()))->id();
  const auto before = Everything();
  for (const OpenMode mode :
       {OpenMode::kCreate, OpenMode::kExisting, OpenMode::kReadOnly}) {
    auto directory = OpenAt(path(), mode);
    ASSERT_TRUE(directory.has_value()) << directory.error().ToString();
    EXPECT_EQ((*directory)->id(), id);
    directory->reset();
    EXPECT_EQ(Everything(), before);
  }
}

TEST_F(DirectoryTest, TwoCachesHaveDifferentIds) {
  const auto one = OpenAt(temporary_.path() / "one");
  const auto two = OpenAt(temporary_.path() / "two");
  EXPECT_NE((*one)->id(), (*two)->id());
}

TEST_F(DirectoryTest, RelativePathAndTrailingSlashAreTheSameCache) {
  const std::string id = (*OpenAt(path()))->id();
  EXPECT_EQ((*OpenAt(path() / ""))->id(), id);
  EXPECT_EQ((*OpenAt(path() / ""))->root(), path());
  const fs::path old = fs::current_path();
  fs::current_path(temporary_.path());
  const auto directory = OpenAt("cache");
  fs::current_path(old);
  ASSERT_TRUE(directory.has_value());
  EXPECT_EQ((*directory)->id(), id);
  EXPECT_TRUE((*directory)->CheckPresent().ok());
}

TEST_F(DirectoryTest, SymbolicLinkToACacheIsFollowed) {
  const std::string id = (*OpenAt(path()))->id();
  fs::create_directory_symlink(path(), temporary_.path() / "link");
  EXPECT_EQ((*OpenAt(temporary_.path() / "link"))->id(), id);
}

TEST_F(DirectoryTest, MissingDirectoryIsNotFoundUnlessCreated) {
  for (const OpenMode mode : {OpenMode::kExisting, OpenMode::kReadOnly}) {
    ExpectRefused(path(), mode, StatusCode::kNotFound,
                  {path().string(), "no such directory"});
  }
}

TEST_F(DirectoryTest, EmptyDirectoryBecomesACacheOnlyInCreateMode) {
  fs::create_directory(path());
  for (const OpenMode mode : {OpenMode::kExisting, OpenMode::kReadOnly}) {
    ExpectRefused(path(), mode, StatusCode::kNotFound,
                  {path().string(), "no cache", "empty"});
  }
  EXPECT_TRUE(OpenAt(path()).has_value());
}

TEST_F(DirectoryTest, LostAndFoundDoesNotMakeADirectoryForeign) {
  fs::create_directories(path() / "lost+found");
  EXPECT_TRUE(OpenAt(path()).has_value());
}

TEST_F(DirectoryTest, DanglingLinkIsNotFound) {
  fs::create_symlink("nowhere", path());
  ExpectRefused(path(), OpenMode::kCreate, StatusCode::kNotFound,
                {path().string(), "symbolic link to nothing"});
}

TEST_F(DirectoryTest, FileInItsPlaceIsNotADirectory) {
  WriteFile(path(), "text");
  for (const OpenMode mode :
       {OpenMode::kCreate, OpenMode::kExisting, OpenMode::kReadOnly}) {
    ExpectRefused(path(), mode, StatusCode::kNotADirectory,
                  {path().string() + " is not a directory"});
  }
}

TEST_F(DirectoryTest, FileInTheMiddleOfThePathIsNamed) {
  WriteFile(temporary_.path() / "file", "text");
  ExpectRefused(
      temporary_.path() / "file" / "a" / "cache", OpenMode::kCreate,
      StatusCode::kNotADirectory,
      {(temporary_.path() / "file").string() + " is not a directory"});
}

TEST_F(DirectoryTest, ForeignDirectoryIsNamedWithWhatIsInIt) {
  fs::create_directory(path());
  WriteFile(path() / "thesis.txt", "text");
  for (const OpenMode mode :
       {OpenMode::kCreate, OpenMode::kExisting, OpenMode::kReadOnly}) {
    ExpectRefused(path(), mode, StatusCode::kForeignDirectory,
                  {path().string(), "thesis.txt", "empty or new"});
  }
}

TEST_F(DirectoryTest, BadPathsAreInvalid) {
  ExpectRefused("", OpenMode::kCreate, StatusCode::kInvalidArgument, {"empty"});
  ExpectRefused(std::string("a\0b", 3), OpenMode::kCreate,
                StatusCode::kInvalidArgument, {"zero byte"});
  ExpectRefused(temporary_.path() / std::string(300, 'x'), OpenMode::kCreate,
                StatusCode::kInvalidArgument, {"too long"});
}

TEST_F(DirectoryTest, NewerFormatIsRefused) {
  ASSERT_TRUE(OpenAt(path()).has_value());
  WriteFile(path() / "larder.format", "larder format 2\nwhat=ever\n");
  for (const OpenMode mode :
       {OpenMode::kCreate, OpenMode::kExisting, OpenMode::kReadOnly}) {
    ExpectRefused(path(), mode, StatusCode::kUnsupportedFormat,
                  {path().string(), "format 2", "knows 1", "upgrade"});
  }
}

TEST_F(DirectoryTest, UnknownFeatureIsRefused) {
  const std::string id = (*OpenAt(path()))->id();
  WriteFile(path() / "larder.format",
            "larder format 1\nid " + id + "\nfeatures 5\n");
  ExpectRefused(path(), OpenMode::kCreate, StatusCode::kUnsupportedFormat,
                {path().string(), "features 5"});
}

TEST_F(DirectoryTest, DamagedStampIsCorruption) {
  ASSERT_TRUE(OpenAt(path()).has_value());
  const std::string id(32, 'a');
  for (const std::string& text :
       {std::string(), std::string("larder format "),
        std::string("larder format 0\n"), std::string("larder format x\n"),
        std::string("rader format 1\n"), std::string("larder format 1\n"),
        std::string("larder format 1\nid 12\nfeatures 0\n"),
        "larder format 1\nid " + id, "larder format 1\nid " + id + "\n",
        "larder format 1\nid " + id + "\nfeatures -1\n",
        "larder format 1\nid " + std::string(32, 'G') + "\nfeatures 0\n"}) {
    WriteFile(path() / "larder.format", text);
    ExpectRefused(path(), OpenMode::kCreate, StatusCode::kCorruption,
                  {path().string(), "larder.format is damaged"});
  }
}

TEST_F(DirectoryTest, LinesAfterTheKnownOnesAreSkipped) {
  const std::string id = (*OpenAt(path()))->id();
  WriteFile(path() / "larder.format",
            "larder format 1\nid " + id + "\nfeatures 0\nnote hello\n");
  EXPECT_EQ((*OpenAt(path()))->id(), id);
}

// Each state that a crash during creation can leave.
TEST_F(DirectoryTest, InterruptedCreationIsFinishedByTheNextOpen) {
  const std::vector<std::vector<std::string>> states{
      {"seat.lock"},
      {"seat.lock", "larder.format.tmp"},
      {"seat.lock", "larder.format"},
      {"seat.lock", "larder.format", "db/"}};
  for (std::size_t i = 0; i < states.size(); ++i) {
    const fs::path at = temporary_.path() / std::to_string(i);
    fs::create_directory(at);
    for (const std::string& name : states[i]) {
      if (name == "db/") {
        fs::create_directory(at / name);
      } else {
        WriteFile(at / name, name == "larder.format"
                                 ? "larder format 1\nid " +
                                       std::string(32, '7') + "\nfeatures 0\n"
                                 : "larder fo");
      }
    }
    if (states[i].size() < 3 && states[i].back() != "larder.format") {
      ExpectRefused(at, OpenMode::kExisting, StatusCode::kNotFound, {});
    }
    const auto directory = OpenAt(at);
    ASSERT_TRUE(directory.has_value()) << directory.error().ToString();
    EXPECT_TRUE(fs::is_directory(at / "db"));
    EXPECT_TRUE(fs::is_directory(at / "log"));
    EXPECT_FALSE(fs::exists(at / "larder.format.tmp"));
  }
}

TEST_F(DirectoryTest, FailedCreationTakesBackWhatItMade) {
  fs::create_directory(path());
  WriteFile(path() / "larder.format",
            "larder format 1\nid " + std::string(32, '7') + "\nfeatures 0\n");
  WriteFile(path() / "log", "a file where a directory belongs");
  ExpectRefused(path(), OpenMode::kCreate, StatusCode::kNotADirectory,
                {(path() / "log").string()});
}

TEST_F(DirectoryTest, UndoRemovesOnlyWhatWasMadeAndIsEmpty) {
  const fs::path made = temporary_.path() / "x" / "y" / "z";
  {
    CreationUndo undo;
    ASSERT_TRUE(MakeDirectories(made, undo).ok());
    WriteFile(temporary_.path() / "x" / "other", "of somebody else");
  }
  EXPECT_FALSE(fs::exists(temporary_.path() / "x" / "y"));
  EXPECT_TRUE(fs::exists(temporary_.path() / "x" / "other"));
}

TEST_F(DirectoryTest, UnwritableDirectoryNamesUidOwnerAndMode) {
  fs::create_directory(path());
  ASSERT_EQ(::chmod(path().c_str(), 0555), 0);
  const Status status = InUnprivilegedChild([&] {
    auto directory = OpenAt(path());
    return directory ? Status::Ok() : directory.error();
  });
  ExpectStatus(status, StatusCode::kPermissionDenied,
               {path().string(), "Permission denied",
                "uid " + std::to_string(::geteuid() == 0 ? 65534 : ::geteuid()),
                "belongs to uid " + std::to_string(::geteuid()), "mode 0555",
                "write and search permission"});
}

TEST_F(DirectoryTest, UnreadableCacheIsPermissionDenied) {
  ASSERT_TRUE(OpenAt(path()).has_value());
  ASSERT_EQ(::chmod(path().c_str(), 0), 0);
  const Status status = InUnprivilegedChild([&] {
    auto directory = OpenAt(path(), OpenMode::kReadOnly);
    return directory ? Status::Ok() : directory.error();
  });
  ASSERT_EQ(::chmod(path().c_str(), 0700), 0);
  ExpectStatus(status, StatusCode::kPermissionDenied,
               {path().string(), "mode 0000", "read and search permission"});
}

TEST_F(DirectoryTest, ParentThatMayNotBeSearchedIsNamed) {
  const fs::path parent = temporary_.path() / "private";
  fs::create_directory(parent);
  ASSERT_EQ(::chmod(parent.c_str(), 0600), 0);
  const Status status = InUnprivilegedChild([&] {
    auto directory = OpenAt(parent / "cache");
    return directory ? Status::Ok() : directory.error();
  });
  ASSERT_EQ(::chmod(parent.c_str(), 0700), 0);
  ExpectStatus(status, StatusCode::kPermissionDenied,
               {(parent / "cache").string(),
                parent.string() + " belongs to uid", "mode 0600"});
}

TEST_F(DirectoryTest, ParentThatMayNotBeWrittenIsNamed) {
  ASSERT_EQ(::chmod(temporary_.path().c_str(), 0555), 0);
  const Status status = InUnprivilegedChild([&] {
    auto directory = OpenAt(path() / "deeper");
    return directory ? Status::Ok() : directory.error();
  });
  ASSERT_EQ(::chmod(temporary_.path().c_str(), 0755), 0);
  ExpectStatus(status, StatusCode::kPermissionDenied,
               {"create " + path().string(),
                temporary_.path().string() + " belongs to uid", "mode 0555"});
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(DirectoryTest, WriterMustOwnTheDirectory) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs a second user";
  }
  ASSERT_TRUE(OpenAt(path()).has_value());
  ASSERT_EQ(::chmod(path().c_str(), 0777), 0);
  const Status status = InUnprivilegedChild([&] {
    auto directory = OpenAt(path(), OpenMode::kExisting);
    return directory ? Status::Ok() : directory.error();
  });
  ExpectStatus(status, StatusCode::kPermissionDenied,
               {path().string(), "uid 65534", "belongs to uid 0"});
}

TEST_F(DirectoryTest, ReadOnlyNeedsNoWritePermission) {
  const auto writer = OpenAt(path());
  ASSERT_EQ(::chmod(path().c_str(), 0555), 0);
  ASSERT_EQ(::chmod((path() / "larder.format").c_str(), 0444), 0);
  const auto before = Everything();
  const Status status = InUnprivilegedChild([&] {
    auto directory = OpenAt(path(), OpenMode::kReadOnly);
    if (!directory) {
      return directory.error();
    }
    if ((*directory)->ReleaseReserve().code() != StatusCode::kReadOnly ||
        (*directory)->RestoreReserve(1).code() != StatusCode::kReadOnly) {
      return Status::Internal("the reserve was touched");
    }
    return (*directory)->CheckPresent();
  });
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(Everything(), before);
  ASSERT_EQ(::chmod(path().c_str(), 0755), 0);
}

TEST_F(DirectoryTest, DescriptorsAreClosedOnExec) {
  const auto directory = OpenAt(path());
  int open_count = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const fs::path target = fs::read_symlink(entry.path(), error);
    if (!error && target.string().starts_with(path().string())) {
      ++open_count;
      EXPECT_NE(
          ::fcntl(std::stoi(entry.path().filename()), F_GETFD) & FD_CLOEXEC, 0)
          << target;
    }
  }
  EXPECT_EQ(open_count, 3);  // Itself, db/ and log/; the stamp is mapped.
}

TEST_F(DirectoryTest, RemovedDirectoryIsGone) {
  const auto directory = OpenAt(path());
  EXPECT_TRUE((*directory)->CheckPresent().ok());
  fs::remove_all(path());
  ExpectStatus((*directory)->CheckPresent(), StatusCode::kGone,
               {path().string(), "removed"});
}

TEST_F(DirectoryTest, ReplacedDirectoryIsGone) {
  const auto directory = OpenAt(path());
  fs::rename(path(), temporary_.path() / "elsewhere");
  EXPECT_EQ((*directory)->CheckPresent().code(), StatusCode::kGone);
  fs::create_directory(path());
  ExpectStatus((*directory)->CheckPresent(), StatusCode::kGone,
               {path().string(), "replaced"});
  fs::remove(path());
  fs::rename(temporary_.path() / "elsewhere", path());
  EXPECT_TRUE((*directory)->CheckPresent().ok());
}

TEST_F(DirectoryTest, ReserveIsAllocatedReleasedAndFoundAgain) {
  auto directory = OpenAt(path());
  EXPECT_EQ((*directory)->reserve_bytes(), 0U);
  const std::uint64_t before = DuSays(path());
  ASSERT_TRUE((*directory)->RestoreReserve(1U << 20).ok());
  EXPECT_EQ((*directory)->reserve_bytes(), 1U << 20);
  EXPECT_EQ(DuSays(path()), before + (1U << 20));
  ASSERT_TRUE((*directory)->RestoreReserve(100U << 20).ok());
  EXPECT_EQ((*directory)->reserve_bytes(), kReserveBytesMax);
  directory->reset();
  directory = OpenAt(path());
  EXPECT_EQ((*directory)->reserve_bytes(), kReserveBytesMax);
  ASSERT_TRUE((*directory)->ReleaseReserve().ok());
  EXPECT_EQ((*directory)->reserve_bytes(), 0U);
  EXPECT_EQ(DuSays(path()), before);
  ASSERT_TRUE((*directory)->ReleaseReserve().ok());
  ASSERT_TRUE((*directory)->RestoreReserve(2U << 20).ok());
  ASSERT_TRUE((*directory)->RestoreReserve(1U << 20).ok());
  EXPECT_EQ((*directory)->reserve_bytes(), 1U << 20);
}

TEST_F(DirectoryTest, DiskBytesAreWhatDuCounts) {
  const auto directory = OpenAt(path());
  ASSERT_TRUE((*directory)->RestoreReserve(1U << 20).ok());
  WriteFile(path() / "db" / "file", std::string(123'456, 'x'));
  fs::create_hard_link(path() / "db" / "file", path() / "log" / "again");
  fs::create_symlink("/usr", path() / "link");
  fs::create_directories(path() / "db" / "deep" / "er");
  const int sparse =
      ::open((path() / "sparse").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(::ftruncate(sparse, 1 << 24), 0);
  ASSERT_EQ(::pwrite(sparse, "x", 1, 1 << 20), 1);
  ::close(sparse);
  const auto bytes = CacheDirectory::DiskBytes(path());
  ASSERT_TRUE(bytes.has_value());
  EXPECT_EQ(*bytes, DuSays(path()));
  EXPECT_LT(*bytes, 2U << 20);
  EXPECT_EQ(CacheDirectory::DiskBytes(path() / "no").error().code(),
            StatusCode::kNotFound);
}

TEST_F(DirectoryTest, FreeBytesArePlausible) {
  const auto free = (*OpenAt(path()))->FreeBytes();
  ASSERT_TRUE(free.has_value());
  EXPECT_EQ(*free > 0, fs::space(path()).available > 0);
}

TEST(FileSystemKind, NetworkFileSystemsAreKnownAndLocalOnesPass) {
  EXPECT_EQ(NetworkFileSystemName(0x6969), "NFS");
  EXPECT_EQ(NetworkFileSystemName(0x01021997), "9p");
  EXPECT_EQ(NetworkFileSystemName(0x65735546), "FUSE");
  for (const std::uint32_t smb : {0x517BU, 0xFF534D42U, 0xFE534D42U}) {
    EXPECT_TRUE(NetworkFileSystemName(smb).starts_with("SMB"));
  }
  constexpr std::array<std::uint32_t, 8> kLocal{
      0xEF53,     0x58465342, 0x9123683E, 0x2FC12FC1,  // ext, xfs, btrfs, zfs
      0x794C7630, 0x01021994, 0xF2F52010, 0xCA451A4E,  // overlay, tmpfs, f2fs,
  };                                                   // bcachefs
  for (const std::uint32_t local : kLocal) {
    EXPECT_EQ(NetworkFileSystemName(local), "") << std::hex << local;
  }
}

}  // namespace
}  // namespace larder
