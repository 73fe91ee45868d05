// The program's own pread comes before the C library's, for the shared library
// of RocksDB as well.

#include "read_hook.h"

#include <cerrno>
#include <utility>

#include <sys/syscall.h>
#include <unistd.h>

namespace larder::testing {
namespace {

ReadHook& Hook() {
  static auto* const kHook = new ReadHook;  // RocksDB's threads may be late.
  return *kHook;
}

ssize_t Run(int fd, void* buffer, std::size_t size, off_t offset) {
  const int error = Hook() ? Hook()(fd, size, offset) : 0;
  if (error == 0) return ::syscall(SYS_pread64, fd, buffer, size, offset);
  errno = error;
  return -1;
}

}  // namespace

void SetReadHook(ReadHook hook) { Hook() = std::move(hook); }

}  // namespace larder::testing

extern "C" ssize_t pread(int fd, void* buffer, std::size_t size, off_t at) {
  return larder::testing::Run(fd, buffer, size, at);
}
extern "C" ssize_t pread64(int fd, void* buffer, std::size_t size, off_t at) {
  return larder::testing::Run(fd, buffer, size, at);
}
