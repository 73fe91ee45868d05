#include "os/disk_usage.h"

#include <array>
#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include <fts.h>
#include <sys/stat.h>

#include "base/open_file.h"

namespace larder {
namespace {

struct CloseTree {
  void operator()(FTS* tree) const noexcept { ::fts_close(tree); }
};

}  // namespace

Result<std::uint64_t> DiskUsage(const std::filesystem::path& path) noexcept {
  const StandardDescriptorsTaken taken;
  std::string root = path.string();
  const std::array<char*, 2> roots{root.data(), nullptr};
  const std::unique_ptr<FTS, CloseTree> tree(
      ::fts_open(roots.data(), FTS_PHYSICAL | FTS_NOCHDIR, nullptr));
  if (!tree) {
    return Fail(Status::FromErrno(errno, "listing " + root));
  }
  std::uint64_t bytes = 0;
  std::set<std::pair<dev_t, ino_t>> linked;
  errno = 0;
  while (const FTSENT* const entry = ::fts_read(tree.get())) {
    switch (entry->fts_info) {
      case FTS_DP:  // A directory, the second time.
        break;
      case FTS_NS:
      case FTS_DNR:
      case FTS_ERR:
        if (entry->fts_errno != ENOENT || entry->fts_level == 0) {
          return Fail(Status::FromErrno(
              entry->fts_errno, "counting " + std::string(entry->fts_path)));
        }
        break;
      default: {
        const struct stat& info = *entry->fts_statp;
        if (entry->fts_info == FTS_D || info.st_nlink < 2 ||
            linked.emplace(info.st_dev, info.st_ino).second) {
          bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
        }
        break;
      }
    }
    errno = 0;
  }
  if (errno != 0) {
    return Fail(Status::FromErrno(errno, "listing " + root));
  }
  return bytes;
}

}  // namespace larder
