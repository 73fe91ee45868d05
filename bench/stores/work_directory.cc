#include "stores/work_directory.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

#include <linux/magic.h>
#include <sys/vfs.h>

namespace larder::bench {

namespace {

// Not in linux/magic.h of all kernels larder is built on.
constexpr unsigned long kXfsMagic = 0x58465342UL;

}  // namespace

Result<WorkDirectory> WorkDirectory::Make(const std::filesystem::path& parent) {
  std::string name = (parent / "larder-bench-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    return Fail(Status::FromErrno(errno, "cannot make " + name));
  }
  return WorkDirectory(std::filesystem::path(name));
}

WorkDirectory::WorkDirectory(WorkDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

WorkDirectory& WorkDirectory::operator=(WorkDirectory&& other) noexcept {
  if (this != &other) {
    Remove();
    path_ = std::exchange(other.path_, {});
  }
  return *this;
}

WorkDirectory::~WorkDirectory() { Remove(); }

void WorkDirectory::Remove() noexcept {
  if (path_.empty()) {
    return;
  }
  std::error_code error;
  std::filesystem::remove_all(path_, error);
  if (error) {
    std::fprintf(stderr, "cannot remove %s: %s\n", path_.c_str(),
                 error.message().c_str());
  }
  path_.clear();
}

std::string FileSystemName(const std::filesystem::path& path) {
  struct statfs info {};
  if (::statfs(path.c_str(), &info) != 0) {
    return "unknown";
  }
  switch (static_cast<unsigned long>(info.f_type)) {
    case EXT4_SUPER_MAGIC:
      return "ext4";
    case BTRFS_SUPER_MAGIC:
      return "btrfs";
    case OVERLAYFS_SUPER_MAGIC:
      return "overlayfs";
    case TMPFS_MAGIC:
      return "tmpfs";
    case kXfsMagic:
      return "xfs";
    default:
      return "type " + std::to_string(info.f_type);
  }
}

}  // namespace larder::bench
