#ifndef LARDER_TESTS_FORKED_PROCESS_H_
#define LARDER_TESTS_FORKED_PROCESS_H_

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <utility>

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace larder::testing {

/// A forked child that runs a function and reports numbers through a pipe. It
/// is killed and waited for at destruction at the latest.
///
/// Threads: thread-compatible; fork while this process has one thread.
class ForkedProcess {
 public:
  /// What the function gets to talk to its parent.
  class Pipe {
   public:
    explicit Pipe(int fd) : fd_(fd) {}
    void Send(std::uint64_t value) const {
      if (::write(fd_, &value, sizeof(value)) != sizeof(value)) ::_exit(99);
    }

   private:
    int fd_;
  };

  explicit ForkedProcess(const std::function<int(const Pipe&)>& run) {
    int fds[2];
    if (::pipe(fds) != 0) std::abort();
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ < 0) std::abort();
    if (pid_ == 0) {
      ::close(fds[0]);
      ::_exit(run(Pipe(fds[1])));
    }
    ::close(fds[1]);
    fd_ = fds[0];
  }
  ForkedProcess(ForkedProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        fd_(std::exchange(other.fd_, -1)) {}
  ForkedProcess& operator=(ForkedProcess&&) = delete;
  ~ForkedProcess() {
    Kill(SIGKILL);
    Wait();
    if (fd_ >= 0) ::close(fd_);
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  void Kill(int signal) const {
    if (pid_ > 0) ::kill(pid_, signal);
  }
  /// The next number of the child; nullopt if it ended or is silent.
  [[nodiscard]] std::optional<std::uint64_t> Receive(
      std::chrono::milliseconds timeout = std::chrono::seconds(200)) const {
    pollfd poll_fd{.fd = fd_, .events = POLLIN, .revents = 0};
    if (::poll(&poll_fd, 1, static_cast<int>(timeout.count())) != 1) {
      return std::nullopt;
    }
    std::uint64_t value = 0;
    if (::read(fd_, &value, sizeof(value)) != sizeof(value)) {
      return std::nullopt;
    }
    return value;
  }
  /// The exit code, or -signal if a signal ended it.
  int Wait() {
    if (pid_ <= 0) return status_;
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return status_;
  }

 private:
  pid_t pid_ = -1;
  int fd_ = -1;
  int status_ = 0;
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_FORKED_PROCESS_H_
