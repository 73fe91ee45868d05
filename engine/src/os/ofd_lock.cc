#include "os/ofd_lock.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace larder {
namespace {

struct flock ByteLock(std::uint64_t byte, OfdLock kind) noexcept {
  struct flock lock {};
  lock.l_type = static_cast<short>(kind == OfdLock::kNone     ? F_UNLCK
                                   : kind == OfdLock::kShared ? F_RDLCK
                                                              : F_WRLCK);
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(byte);
  lock.l_len = 1;
  return lock;
}

}  // namespace

Result<bool> TryOfdLock(int fd, std::uint64_t byte, OfdLock kind) noexcept {
  struct flock lock = ByteLock(byte, kind);
  while (::fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    if (errno == EAGAIN || errno == EACCES) return false;
    if (errno != EINTR) return Fail(Status::FromErrno(errno, "locking a byte"));
  }
  return true;
}

int WaitForExclusiveOfdLock(int fd, std::uint64_t byte) {
  struct flock lock = ByteLock(byte, OfdLock::kExclusive);
  while (::fcntl(fd, F_OFD_SETLKW, &lock) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

Result<bool> IsOfdLocked(int fd, std::uint64_t byte) noexcept {
  struct flock lock = ByteLock(byte, OfdLock::kExclusive);
  if (::fcntl(fd, F_OFD_GETLK, &lock) != 0) {
    return Fail(Status::FromErrno(errno, "asking for a lock"));
  }
  return lock.l_type != F_UNLCK;
}

}  // namespace larder
