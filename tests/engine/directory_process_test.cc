#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "directory_fixture.h"

namespace larder {
namespace {

using DirectoryProcessTest = DirectoryFixture;

// A child that has the directory open until it is killed.
class Holder {
 public:
  explicit Holder(const std::filesystem::path& path) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      const auto directory = OpenAt(path);
      const char answer = directory ? 'y' : 'n';
      if (::write(ready[1], &answer, 1) != 1) {
        ::_exit(2);
      }
      for (;;) {
        ::pause();
      }
    }
    char answer = 0;
    EXPECT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    ::close(ready[0]);
    ::close(ready[1]);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  ~Holder() { Kill(); }

  void Kill() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = 0;
    }
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

TEST_F(DirectoryProcessTest, HolderIsNamedToOtherProcesses) {
  const Holder holder(path());
  ExpectRefused(path(), OpenMode::kCreate, StatusCode::kSeatUnavailable,
                {path().string(), "process " + std::to_string(holder.pid()),
                 "directory_process_test"});
  EXPECT_TRUE(OpenAt(path(), OpenMode::kReadOnly).has_value());
}

TEST_F(DirectoryProcessTest, KillingTheHolderFreesTheSeat) {
  Holder holder(path());
  EXPECT_FALSE(OpenAt(path()).has_value());
  holder.Kill();
  const auto directory = OpenAt(path());
  ASSERT_TRUE(directory.has_value()) << directory.error().ToString();
}

TEST_F(DirectoryProcessTest, ForkedChildThatLetsGoDoesNotKeepTheSeat) {
  auto directory = OpenAt(path());
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    (*directory)->CloseLockInChild();
    static_cast<void>(!::write(ready[1], "r", 1));
    for (;;) {
      ::pause();
    }
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  // The child has not taken the lock from its parent with it.
  EXPECT_EQ(OpenAt(path()).error().code(), StatusCode::kSeatUnavailable);
  directory->reset();
  EXPECT_TRUE(OpenAt(path()).has_value());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(DirectoryProcessTest, ChildThatDestroysItsCopyLeavesTheParentsLock) {
  auto directory = OpenAt(path());
  const pid_t child = ::fork();
  if (child == 0) {
    directory->reset();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(OpenAt(path()).error().code(), StatusCode::kSeatUnavailable);
}

TEST_F(DirectoryProcessTest, ClosingFreesTheSeatThoughAChildLives) {
  auto directory = OpenAt(path());
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) {
      ::pause();
    }
  }
  directory->reset();
  EXPECT_TRUE(OpenAt(path()).has_value());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

// Many at once: one gets the seat and makes the cache, and all that open it
// afterwards see that one.
TEST_F(DirectoryProcessTest, RacingCreatorsMakeOneCache) {
  constexpr int kRounds = 20;
  constexpr int kChildren = 4;
  for (int round = 0; round < kRounds; ++round) {
    const auto at = temporary_.path() / std::to_string(round);
    int ids[2];
    ASSERT_EQ(::pipe(ids), 0);
    std::vector<pid_t> children;
    for (int i = 0; i < kChildren; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        const auto directory = OpenAt(at);
        if (!directory) {
          ::_exit(directory.error().code() == StatusCode::kSeatUnavailable ? 0
                                                                           : 1);
        }
        const std::string& id = (*directory)->id();
        ::_exit(::write(ids[1], id.data(), id.size()) == 32 ? 0 : 2);
      }
      children.push_back(child);
    }
    for (const pid_t child : children) {
      int status = -1;
      ::waitpid(child, &status, 0);
      EXPECT_EQ(status, 0);
    }
    ::close(ids[1]);
    std::string all(32 * kChildren, '\0');
    const ssize_t size = ::read(ids[0], all.data(), all.size());
    ::close(ids[0]);
    ASSERT_GE(size, 32);
    const std::string id = (*OpenAt(at, OpenMode::kExisting))->id();
    for (ssize_t i = 0; i < size; i += 32) {
      EXPECT_EQ(all.substr(static_cast<std::size_t>(i), 32), id);
    }
  }
}

}  // namespace
}  // namespace larder
