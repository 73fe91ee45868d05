// An open file description lock, since a classic POSIX lock is lost as soon as
// any descriptor of the file is closed in the process, and flock cannot lock
// single bytes (others have their use in docs/format.md).
//
// The file may be unlinked by a creation that failed. So a lock counts only if
// afterwards the name still leads to the file that was locked.

#include "seat_lock.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

namespace larder {
namespace {

constexpr int kAttemptCountMax = 16;
constexpr std::size_t kHolderSizeMax = 512;
constexpr std::size_t kCommandSizeMax = 256;
constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
constexpr std::string_view kPidLabel = "pid ";
constexpr std::string_view kCommandLabel = "command ";

struct flock SeatByte(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = 0;
  lock.l_len = 1;
  return lock;
}

// The first bytes of a small file; empty if it cannot be read.
std::string ReadStart(int fd, std::size_t size_max) {
  std::string text(size_max, '\0');
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

std::string CommandOfThisProcess() {
  const UniqueFd fd(::open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC));
  std::string command = fd ? ReadStart(fd.get(), kCommandSizeMax) : "";
  while (!command.empty() && command.back() == '\0') {
    command.pop_back();
  }
  std::replace_if(
      command.begin(), command.end(), [](char c) { return c < ' ' || c > '~'; },
      ' ');
  return command;
}

// The lock does not depend on it, so what cannot be written is left out.
void WriteHolder(int fd) {
  const std::string text = std::string(kPidLabel) + std::to_string(::getpid()) +
                           "\n" + std::string(kCommandLabel) +
                           CommandOfThisProcess() + "\n";
  if (::pwrite(fd, text.data(), text.size(), 0) ==
      static_cast<ssize_t>(text.size())) {
    static_cast<void>(!::ftruncate(fd, static_cast<off_t>(text.size())));
  }
}

std::string DescribeHolder(int fd) {
  const std::string text = ReadStart(fd, kHolderSizeMax);
  pid_t pid = 0;
  if (text.starts_with(kPidLabel)) {
    std::from_chars(text.data() + kPidLabel.size(), text.data() + text.size(),
                    pid);
  }
  if (pid == ::getpid()) {
    return "this process (" + std::to_string(pid) + ") has it open already";
  }
  if (pid <= 0 || (::kill(pid, 0) != 0 && errno == ESRCH)) {
    return "a process that cannot be seen from here has it open";
  }
  std::string command;
  if (const auto at = text.find(kCommandLabel); at != std::string::npos) {
    command = text.substr(at + kCommandLabel.size());
    command.resize(std::min(command.find('\n'), command.size()));
  }
  return "process " + std::to_string(pid) + " (" + command + ") has it open";
}

bool NameLeadsTo(int directory_fd, int fd) {
  struct stat named {};
  struct stat locked {};
  return ::fstatat(directory_fd, kSeatLockName, &named, AT_SYMLINK_NOFOLLOW) ==
             0 &&
         ::fstat(fd, &locked) == 0 && named.st_ino == locked.st_ino &&
         named.st_dev == locked.st_dev;
}

}  // namespace

Result<SeatLock> SeatLock::Acquire(int directory_fd,
                                   const std::string& directory) noexcept {
  const std::string path = directory + "/" + kSeatLockName;
  for (int attempt = 0; attempt < kAttemptCountMax; ++attempt) {
    SeatLock seat;
    seat.fd_.Reset(::openat(directory_fd, kSeatLockName, kFlags));
    if (!seat.fd_ && errno == ENOENT) {
      seat.fd_.Reset(::openat(directory_fd, kSeatLockName,
                              kFlags | O_CREAT | O_EXCL, 0600));
      seat.created_ = static_cast<bool>(seat.fd_);
      if (!seat.fd_ && errno == EEXIST) {
        continue;  // Somebody else made it.
      }
    }
    if (!seat.fd_) {
      return Fail(Status::FromErrno(errno, "opening " + path));
    }
    const struct flock lock = SeatByte(F_WRLCK);
    if (::fcntl(seat.fd_.get(), F_OFD_SETLK, &lock) != 0) {
      if (errno != EAGAIN && errno != EACCES) {
        return Fail(Status::FromErrno(errno, "locking " + path));
      }
      return Fail(Status(StatusCode::kSeatUnavailable,
                         "cannot open " + directory + ": " +
                             DescribeHolder(seat.fd_.get()) +
                             "; close it there first"));
    }
    seat.owner_ = ::getpid();
    if (NameLeadsTo(directory_fd, seat.fd_.get())) {
      WriteHolder(seat.fd_.get());
      return seat;
    }
  }
  return Fail(Status(StatusCode::kSeatUnavailable,
                     path + " is being replaced all the time"));
}

void SeatLock::Release() noexcept {
  if (fd_ && owner_ == ::getpid()) {
    // Or the next one who asks would be told of a holder of the past.
    static_cast<void>(!::ftruncate(fd_.get(), 0));
    const struct flock lock = SeatByte(F_UNLCK);
    ::fcntl(fd_.get(), F_OFD_SETLK, &lock);
  }
  fd_.Reset();
}

}  // namespace larder
