#ifndef LARDER_ENGINE_SRC_OS_SEGMENT_IO_H_
#define LARDER_ENGINE_SRC_OS_SEGMENT_IO_H_

#include <cstddef>

#include <sys/types.h>
#include <sys/uio.h>

namespace larder {

/// The system calls that the segment log makes, so that tests can make them
/// fail. Each returns what the call of the same name returns, with errno set.
///
/// Threads: thread-safe.
class SegmentIo {
 public:
  SegmentIo() = default;
  SegmentIo(const SegmentIo&) = delete;
  SegmentIo& operator=(const SegmentIo&) = delete;
  virtual constexpr ~SegmentIo() = default;

  virtual int Open(const char* path, int flags, mode_t mode) noexcept;
  virtual ssize_t WriteAt(int fd, const iovec* pieces, int count,
                          off_t offset) noexcept;
  virtual ssize_t ReadAt(int fd, void* buffer, std::size_t size,
                         off_t offset) noexcept;
  virtual int Truncate(int fd, off_t size) noexcept;
  virtual int SyncFile(int fd) noexcept;
  virtual int SyncDirectory(int fd) noexcept;
  virtual int Unlink(const char* path) noexcept;
  /// renameat2 with RENAME_NOREPLACE, which not every file system has.
  virtual int Rename(const char* from, const char* to) noexcept;

  /// The real ones; never destroyed.
  static SegmentIo* System() noexcept;
};

/// Reads until `size` bytes are there or the file ends, through EINTR and
/// short reads. Returns the bytes read, or -1.
ssize_t ReadFully(SegmentIo& io, int fd, char* buffer, std::size_t size,
                  off_t offset) noexcept;
/// Writes all pieces (which it consumes), through EINTR and short writes.
/// Returns false with errno set; some bytes may be written then.
bool WriteFully(SegmentIo& io, int fd, iovec* pieces, int count,
                off_t offset) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_SEGMENT_IO_H_
