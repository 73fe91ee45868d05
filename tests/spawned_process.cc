#include "spawned_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace larder::testing {
namespace {

void Require(bool condition, const char* what) {
  if (condition) return;
  std::perror(what);
  std::abort();
}

}  // namespace

// posix_spawn and not fork: the test itself has RocksDB's threads.
SpawnedProcess::SpawnedProcess(const std::string& program,
                               const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  Require(::pipe2(ends.data(), O_CLOEXEC) == 0, "pipe2");
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  Require(::posix_spawn_file_actions_init(&actions) == 0, "file_actions_init");
  // Clears FD_CLOEXEC, even where both are the same descriptor.
  Require(::posix_spawn_file_actions_adddup2(&actions, ends[1], kReportFd) == 0,
          "adddup2");
  const int error = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr,
                                  argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  errno = error;
  Require(error == 0, program.c_str());
  ::close(ends[1]);
  fd_ = ends[0];
}

SpawnedProcess::~SpawnedProcess() {
  if (pid_ != -1) Kill();
  ::close(fd_);
}

bool SpawnedProcess::ReadUntil(Clock::time_point deadline,
                               std::vector<char>& bytes) {
  std::array<char, 65536> buffer;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(
        deadline - Clock::now());
    const timespec timeout = {
        .tv_sec = std::max<long>(left.count() / 1'000'000, 0),
        .tv_nsec = std::max<long>(left.count() % 1'000'000, 0) * 1000};
    pollfd ready = {.fd = fd_, .events = POLLIN, .revents = 0};
    const int count = ::ppoll(&ready, 1, &timeout, nullptr);
    if (count < 0 && errno == EINTR) continue;
    Require(count >= 0, "ppoll");
    if (count == 0) return true;
    const ssize_t size = ::read(fd_, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    Require(size >= 0, "read");
    if (size == 0) return false;
    bytes.insert(bytes.end(), buffer.data(), buffer.data() + size);
    if (left.count() <= 0) return true;  // It may write faster than we read.
  }
}

void SpawnedProcess::Kill() {
  ::kill(pid_, SIGKILL);
  Wait();
}

int SpawnedProcess::Wait() {
  while (pid_ != -1 && ::waitpid(pid_, &status_, 0) == -1) {
    Require(errno == EINTR, "waitpid");
  }
  pid_ = -1;
  return status_;
}

}  // namespace larder::testing
