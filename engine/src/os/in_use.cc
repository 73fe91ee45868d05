#include "os/in_use.h"

#include <cstdint>

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "os/ofd_lock.h"

namespace larder {
namespace {

constexpr std::uint64_t kInUseByte = 0;

}  // namespace

Result<bool> DeclareInUse(int fd, const std::filesystem::path& path) noexcept {
  const Result<bool> locked = TryOfdLock(fd, kInUseByte, OfdLock::kShared);
  if (!locked || !*locked) return locked;
  // Who removes it does so under the lock that is in the way of ours: either we
  // come first, or its name has gone by now.
  struct stat named {};
  struct stat opened {};
  return ::lstat(path.c_str(), &named) == 0 && ::fstat(fd, &opened) == 0 &&
         named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

bool IsUnused(int fd) noexcept {
  return TryOfdLock(fd, kInUseByte, OfdLock::kExclusive).value_or(false);
}

bool MappingsKeepLocks(int fd) noexcept {
  // Not so where a file system maps another file than was opened, as overlayfs.
  struct statfs about {};
  return ::fstatfs(fd, &about) == 0 && about.f_type == TMPFS_MAGIC;
}

}  // namespace larder
