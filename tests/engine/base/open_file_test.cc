#include "base/open_file.h"

#include <cerrno>
#include <fstream>
#include <functional>
#include <set>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "forked_process.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

// Closes those of 0 to 2 whose bits are set; the others are open.
void CloseStandard(int closed) {
  while (::open("/dev/null", O_RDWR) < 3) {
  }
  for (int fd = 0; fd < 3; ++fd) {
    if ((closed >> fd & 1) != 0) ::close(fd);
  }
}

// The bits of those that are closed.
int ClosedNow() {
  int closed = 0;
  for (int fd = 0; fd < 3; ++fd) closed |= IsOpen(fd) ? 0 : 1 << fd;
  return closed;
}

class StandardDescriptors : public ::testing::TestWithParam<int> {
 protected:
  // Runs `test` in a child that has closed them; 0 if it returned true.
  static int InChild(const std::function<bool()>& test) {
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      CloseStandard(GetParam());
      return test() ? 0 : 1;
    });
    return child.Wait();
  }
  TemporaryDirectory directory_;
};

TEST_P(StandardDescriptors, AreNeverGivenToAFile) {
  const std::string path = directory_.path() / "file";
  EXPECT_EQ(InChild([&] {
              const int fd = OpenDescriptor(AT_FDCWD, path.c_str(),
                                            O_RDWR | O_CREAT, 0600);
              return fd >= 3 && (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
            }),
            0);
}

TEST_P(StandardDescriptors, StayClosed) {
  EXPECT_EQ(InChild([&] {
              const UniqueFd fd =
                  OpenDirectory(AT_FDCWD, directory_.path().c_str());
              return fd && ClosedNow() == GetParam();
            }),
            0);
}

TEST_P(StandardDescriptors, CannotBeWrittenWhileTheyAreTaken) {
  EXPECT_EQ(InChild([] {
              const StandardDescriptorsTaken taken;
              for (int i = 0; i < 3; ++i) {
                if ((GetParam() >> i & 1) == 0) continue;
                if (!IsOpen(i) || ::write(i, "x", 1) >= 0 || errno != EBADF) {
                  return false;
                }
              }
              return true;
            }),
            0);
}

TEST_P(StandardDescriptors, AreOpenedByTheChildOfOneThatHadThemTaken) {
  EXPECT_EQ(InChild([] {
              const StandardDescriptorsTaken taken;
              ForkedProcess child([](const ForkedProcess::Pipe&) {
                const UniqueFd fd = OpenDirectory(AT_FDCWD, "/");
                return fd.get() >= 3 && ClosedNow() == GetParam() ? 0 : 1;
              });
              return child.Wait() == 0;
            }),
            0);
}

INSTANTIATE_TEST_SUITE_P(Closed, StandardDescriptors, ::testing::Range(0, 8));

TEST(StandardDescriptorsTaken, LeavesWhatTheApplicationOpenedMeanwhile) {
  ForkedProcess child([](const ForkedProcess::Pipe&) {
    const UniqueFd own(::open("/dev/null", O_WRONLY));
    ::close(1);
    {
      const StandardDescriptorsTaken taken;
      ::dup2(own.get(), 1);
    }
    return ::write(1, "x", 1) == 1 ? 0 : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
}

TEST(StandardDescriptorsTaken, KeepsErrno) {
  ForkedProcess child([](const ForkedProcess::Pipe&) {
    ::close(1);
    const int fd = OpenDescriptor(AT_FDCWD, "/nowhere/at/all", O_RDONLY);
    return fd < 0 && errno == ENOENT ? 0 : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
}

class OpenFileTest : public ::testing::Test {
 protected:
  // Errors of opening `name` for reading and for writing.
  void IsRefused(const char* kind) {
    for (const int flags : {O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_CREAT}) {
      const auto fd = OpenFile(FilePlace(path_), flags, 0600);
      ASSERT_FALSE(fd);
      EXPECT_EQ(fd.error().code(), StatusCode::kNotAFile);
      EXPECT_NE(fd.error().message().find(kind), std::string::npos)
          << fd.error().ToString();
    }
    EXPECT_EQ(CheckNamesFile(FilePlace(path_)).code(), StatusCode::kNotAFile);
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_.path() / "file";
};

TEST_F(OpenFileTest, OpensAFile) {
  std::ofstream(path_) << "text";
  EXPECT_TRUE(OpenFile(FilePlace(path_), O_RDWR));
  EXPECT_TRUE(CheckNamesFile(FilePlace(path_)).ok());
}

TEST_F(OpenFileTest, SaysThatThereIsNone) {
  EXPECT_EQ(OpenFile(FilePlace(path_), O_RDWR).error().code(),
            StatusCode::kNotFound);
  EXPECT_TRUE(CheckNamesFile(FilePlace(path_)).ok());
}

TEST_F(OpenFileTest, RefusesADirectory) {
  ASSERT_EQ(::mkdir(path_.c_str(), 0700), 0);
  IsRefused("a directory");
}

TEST_F(OpenFileTest, RefusesAPipeWithoutWaiting) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  IsRefused("a pipe");
}

TEST_F(OpenFileTest, RefusesALinkToAFile) {
  const std::string target = directory_.path() / "target";
  std::ofstream(target) << "text";
  ASSERT_EQ(::symlink(target.c_str(), path_.c_str()), 0);
  IsRefused("a symbolic link");
}

TEST_F(OpenFileTest, RefusesALinkToNothing) {
  ASSERT_EQ(::symlink("nothing", path_.c_str()), 0);
  IsRefused("a symbolic link");
}

TEST_F(OpenFileTest, RefusesASocket) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address),
                   sizeof(address)),
            0);
  IsRefused("a socket");
}

TEST_F(OpenFileTest, RefusesADevice) {
  if (::mknod(path_.c_str(), S_IFCHR | 0600, makedev(1, 3)) != 0) {
    GTEST_SKIP() << "may not make a device";
  }
  IsRefused("a device");
}

TEST_F(OpenFileTest, ListsADirectory) {
  std::ofstream(path_) << "text";
  std::set<std::string> names;
  EXPECT_EQ(ListDirectory(AT_FDCWD, directory_.path().c_str(),
                          [&](const char* name) {
                            names.insert(name);
                            return true;
                          }),
            0);
  EXPECT_EQ(names, std::set<std::string>{"file"});
  EXPECT_EQ(ListDirectory(AT_FDCWD, "/nowhere", {}), ENOENT);
}

}  // namespace
}  // namespace larder::testing
