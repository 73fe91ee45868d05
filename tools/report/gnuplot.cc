#include "gnuplot.h"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace larder::report {

namespace {

/// A file in memory: gnuplot may stop reading whenever it likes.
Result<int> MakeScriptFile(std::string_view script) {
  const int fd = ::memfd_create("gnuplot", MFD_CLOEXEC);
  if (fd < 0) {
    return Fail(Status::FromErrno(errno, "gnuplot script"));
  }
  while (!script.empty()) {
    const ssize_t written = ::write(fd, script.data(), script.size());
    if (written < 0) {
      const int error_number = errno;
      ::close(fd);
      return Fail(Status::FromErrno(error_number, "gnuplot script"));
    }
    script.remove_prefix(static_cast<std::size_t>(written));
  }
  ::lseek(fd, 0, SEEK_SET);
  return fd;
}

Result<pid_t> StartGnuplot(int script_fd) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, script_fd, STDIN_FILENO);
  std::string program = "gnuplot";
  std::string from_input = "-";
  std::array<char*, 3> arguments{program.data(), from_input.data(), nullptr};
  pid_t pid = -1;
  const int code = ::posix_spawnp(&pid, program.c_str(), &actions, nullptr,
                                  arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (code == ENOENT) {
    return Fail(Status::NotFound(
        "gnuplot is not installed (package gnuplot-nox): no plot"));
  }
  if (code != 0) {
    return Fail(Status::FromErrno(code, "cannot start gnuplot"));
  }
  return pid;
}

}  // namespace

Status RunGnuplot(std::string_view script) {
  const Result<int> script_fd = MakeScriptFile(script);
  if (!script_fd) {
    return script_fd.error();
  }
  const Result<pid_t> pid = StartGnuplot(*script_fd);
  ::close(*script_fd);
  if (!pid) {
    return pid.error();
  }
  int wait_status = 0;
  while (::waitpid(*pid, &wait_status, 0) < 0) {
    if (errno != EINTR) {
      return Status::FromErrno(errno, "gnuplot");
    }
  }
  if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0) {
    return Status::IoError("gnuplot failed");
  }
  return Status::Ok();
}

std::string QuoteForGnuplot(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += '\'';  // Doubled: the way to write one.
    }
    if (c != '\n') {
      quoted += c;
    }
  }
  return quoted + "'";
}

}  // namespace larder::report
