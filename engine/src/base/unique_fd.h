#ifndef LARDER_ENGINE_SRC_BASE_UNIQUE_FD_H_
#define LARDER_ENGINE_SRC_BASE_UNIQUE_FD_H_

#include <utility>

#include <unistd.h>

namespace larder {

/// Owns a file descriptor. Threads: thread-compatible.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { Reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void Reset(int fd = -1) noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  [[nodiscard]] int Release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_UNIQUE_FD_H_
