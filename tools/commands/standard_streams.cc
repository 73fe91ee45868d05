#include "commands/standard_streams.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace larder::tools {

void KeepStandardDescriptors() noexcept {
  int fd = -1;
  do {
    fd = ::open("/", O_PATH | O_CLOEXEC);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

Status CheckStandardInput() noexcept {
  const int flags = ::fcntl(STDIN_FILENO, F_GETFL);
  struct stat info {};
  if (flags < 0 || (flags & O_PATH) != 0 || ::fstat(STDIN_FILENO, &info) != 0) {
    return Status::InvalidArgument("standard input is closed");
  }
  if ((flags & O_ACCMODE) == O_WRONLY) {
    return Status::InvalidArgument("standard input is open for writing only");
  }
  return S_ISDIR(info.st_mode)
             ? Status::InvalidArgument("standard input is a directory")
             : Status::Ok();
}

}  // namespace larder::tools
