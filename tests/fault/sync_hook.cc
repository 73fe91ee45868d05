// The program's own fsync and fdatasync come before the C library's, for the
// shared library of RocksDB as well.

#include "sync_hook.h"

#include <array>
#include <cerrno>
#include <utility>

#include <sys/syscall.h>
#include <unistd.h>

namespace larder::testing {
namespace {

SyncHook& Hook() {
  static auto* const kHook = new SyncHook;  // RocksDB's threads may be late.
  return *kHook;
}

int Run(int fd, long system_call) {
  if (!Hook()) return static_cast<int>(::syscall(system_call, fd));
  const int error = Hook()(fd);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

}  // namespace

void SetSyncHook(SyncHook hook) { Hook() = std::move(hook); }

void SkipSyncs() {
  SetSyncHook([](int) { return 0; });
}

std::string PathOf(int fd) {
  std::array<char, 4096> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), path.data(), path.size());
  return {path.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

}  // namespace larder::testing

extern "C" int fsync(int fd) { return larder::testing::Run(fd, SYS_fsync); }
extern "C" int fdatasync(int fd) {
  return larder::testing::Run(fd, SYS_fdatasync);
}
