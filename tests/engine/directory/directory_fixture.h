#ifndef LARDER_TESTS_ENGINE_DIRECTORY_DIRECTORY_FIXTURE_H_
#define LARDER_TESTS_ENGINE_DIRECTORY_DIRECTORY_FIXTURE_H_

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "directory/directory.h"
#include "read_file.h"
#include "temporary_directory.h"

namespace larder {

using testing::ReadFile;

using DirectoryPtr = std::unique_ptr<CacheDirectory>;

inline Result<DirectoryPtr> OpenAt(const std::filesystem::path& path,
                                   OpenMode mode = OpenMode::kCreate) {
  auto directory = CacheDirectory::Open(path, mode, false, {});
  if (directory) (*directory)->Keep();
  return directory;
}

/// What `call` says in a child process that is user and group 65534 (or who
/// runs the test, if that is not root).
inline Status InUnprivilegedChild(const std::function<Status()>& call) {
  int pipe_fds[2];
  EXPECT_EQ(::pipe(pipe_fds), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 ||
                             ::setresgid(65534, 65534, 65534) != 0 ||
                             ::setresuid(65534, 65534, 65534) != 0)) {
      ::_exit(3);
    }
    const Status status = call();
    const std::string text =
        static_cast<char>('A' + static_cast<int>(status.code())) +
        status.message();
    const bool written = ::write(pipe_fds[1], text.data(), text.size()) ==
                         static_cast<ssize_t>(text.size());
    ::_exit(written ? 0 : 4);
  }
  ::close(pipe_fds[1]);
  std::string text(4096, '\0');
  const ssize_t size = ::read(pipe_fds[0], text.data(), text.size());
  ::close(pipe_fds[0]);
  int exit_status = -1;
  ::waitpid(child, &exit_status, 0);
  EXPECT_EQ(exit_status, 0);
  if (size <= 0) {
    return Status::Internal("the child said nothing");
  }
  return {static_cast<StatusCode>(text[0] - 'A'),
          text.substr(1, static_cast<std::size_t>(size) - 1)};
}

class DirectoryFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    // Open to others, so that the unprivileged child meets only what a test
    // puts in its way.
    ASSERT_EQ(::chmod(temporary_.path().c_str(), 0755), 0);
  }

  [[nodiscard]] std::filesystem::path path() const {
    return temporary_.path() / "cache";
  }

  static void WriteFile(const std::filesystem::path& file,
                        const std::string& text) {
    std::ofstream(file, std::ios::binary) << text;
    ASSERT_TRUE(std::filesystem::exists(file));
  }

  /// Every entry below the temporary directory with its mode and content.
  [[nodiscard]] std::map<std::string, std::string> Everything() const {
    std::map<std::string, std::string> found;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(temporary_.path())) {
      struct stat info {};
      EXPECT_EQ(::lstat(entry.path().c_str(), &info), 0);
      found[entry.path().string()] =
          std::to_string(info.st_mode) +
          (S_ISREG(info.st_mode) ? ReadFile(entry.path()) : "");
    }
    return found;
  }

  /// Open must fail with `code`, say all of `parts`, and change nothing.
  void ExpectRefused(const std::filesystem::path& at, OpenMode mode,
                     StatusCode code,
                     std::initializer_list<std::string> parts) {
    const auto before = Everything();
    const auto directory = OpenAt(at, mode);
    ASSERT_FALSE(directory.has_value());
    ExpectStatus(directory.error(), code, parts);
    EXPECT_EQ(Everything(), before);
  }

  static void ExpectStatus(const Status& status, StatusCode code,
                           std::initializer_list<std::string> parts) {
    EXPECT_EQ(status.code(), code) << status.ToString();
    for (const std::string& part : parts) {
      EXPECT_NE(status.message().find(part), std::string::npos)
          << status.message() << "\n  lacks: " << part;
    }
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
  }

  testing::TemporaryDirectory temporary_;
};

}  // namespace larder

#endif  // LARDER_TESTS_ENGINE_DIRECTORY_DIRECTORY_FIXTURE_H_
