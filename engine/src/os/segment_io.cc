#include "os/segment_io.h"

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <unistd.h>

#include "base/immortal.h"
#include "base/open_file.h"
#include "base/process_limits.h"

namespace larder {
namespace {

constinit Immortal<SegmentIo> the_system;

}  // namespace

int SegmentIo::Open(const char* path, int flags, mode_t mode) noexcept {
  return OpenDescriptor(AT_FDCWD, path, flags, mode);
}

ssize_t SegmentIo::WriteAt(int fd, const iovec* pieces, int count,
                           off_t offset) noexcept {
  const FileSizeSignalHeld held;
  return ::pwritev(fd, pieces, count, offset);
}

ssize_t SegmentIo::ReadAt(int fd, void* buffer, std::size_t size,
                          off_t offset) noexcept {
  return ::pread(fd, buffer, size, offset);
}

int SegmentIo::Truncate(int fd, off_t size) noexcept {
  const FileSizeSignalHeld held;
  return ::ftruncate(fd, size);
}

int SegmentIo::SyncFile(int fd) noexcept { return ::fdatasync(fd); }

int SegmentIo::SyncDirectory(int fd) noexcept { return ::fsync(fd); }

int SegmentIo::Unlink(const char* path) noexcept { return ::unlink(path); }

int SegmentIo::Rename(const char* from, const char* to) noexcept {
  return ::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

SegmentIo* SegmentIo::System() noexcept { return &the_system.value; }

ssize_t ReadFully(SegmentIo& io, int fd, char* buffer, std::size_t size,
                  off_t offset) noexcept {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = io.ReadAt(fd, buffer + done, size - done,
                                    offset + static_cast<off_t>(done));
    if (count == 0) {
      break;
    }
    if (count < 0) {
      if (errno == EINTR) {
        continue;
      }
      return -1;
    }
    done += static_cast<std::size_t>(count);
  }
  return static_cast<ssize_t>(done);
}

bool WriteFully(SegmentIo& io, int fd, iovec* pieces, int count,
                off_t offset) noexcept {
  while (count > 0) {
    const ssize_t written = io.WriteAt(fd, pieces, count, offset);
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return false;
    }
    if (written == 0) {  // Not for pwritev on a file; never loop on it.
      errno = EIO;
      return false;
    }
    offset += written;
    auto left = static_cast<std::size_t>(written);
    while (count > 0 && left >= pieces->iov_len) {
      left -= pieces->iov_len;
      ++pieces;
      --count;
    }
    if (count > 0) {
      pieces->iov_base = static_cast<char*>(pieces->iov_base) + left;
      pieces->iov_len -= left;
    }
  }
  return true;
}

}  // namespace larder
