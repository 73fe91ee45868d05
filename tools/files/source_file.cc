#include "files/source_file.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace larder::tools {

Result<SourceFile> SourceFile::Open(const std::string& path) {
  // O_NONBLOCK: a pipe that has taken the file's place must not hold us up.
  const int fd =
      ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    const int error = errno;
    if (error == ELOOP || error == ENXIO || error == ENOTDIR) {
      return Fail(Status::NotFound(path + ": not a regular file any more"));
    }
    return Fail(Status::FromErrno(error, path));
  }
  SourceFile file(fd, path);
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return Fail(Status::FromErrno(errno, path));
  }
  if (!S_ISREG(info.st_mode)) {
    return Fail(Status::NotFound(path + ": not a regular file any more"));
  }
  file.size_bytes_ = static_cast<std::uint64_t>(info.st_size);
  file.changed_at_ = info.st_ctim;
  return file;
}

SourceFile::~SourceFile() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

Result<std::size_t> SourceFile::Read(std::span<char> buffer) {
  std::size_t filled = 0;
  while (filled < buffer.size()) {
    const ssize_t count =
        ::read(fd_, buffer.data() + filled, buffer.size() - filled);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return Fail(Status::FromErrno(errno, path_));
    }
    if (count == 0) {
      break;
    }
    filled += static_cast<std::size_t>(count);
  }
  return filled;
}

Status SourceFile::Rewind() {
  return ::lseek(fd_, 0, SEEK_SET) == 0 ? Status::Ok()
                                        : Status::FromErrno(errno, path_);
}

}  // namespace larder::tools
