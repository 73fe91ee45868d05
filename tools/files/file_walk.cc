#include "files/file_walk.h"

#include <cerrno>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

namespace larder::tools {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using DirectoryPtr = std::unique_ptr<DIR, CloseDirectory>;

bool SameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

std::string Join(const std::string& directory, std::string_view name) {
  std::string path = directory;
  if (!path.ends_with('/')) {
    path += '/';
  }
  return path.append(name);
}

// One walk. Directories wait in `pending_`, so depth costs no stack.
class Walk {
 public:
  Walk(const std::string& excluded, const WalkCallbacks& callbacks)
      : callbacks_(callbacks) {
    struct stat info {};
    if (::stat(excluded.c_str(), &info) == 0) {
      excluded_ = info;
    }
  }

  /// False if `path` cannot be looked at.
  bool Visit(std::string path) {
    while (path.size() > 1 && path.ends_with('/')) {
      path.pop_back();
    }
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) {
      Problem(path);
      return false;
    }
    Meet(std::move(path), info);
    while (!pending_.empty() && !stopped_) {
      const std::string directory = std::move(pending_.back());
      pending_.pop_back();
      List(directory);
    }
    return true;
  }

  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  void Problem(const std::string& path) {
    callbacks_.on_problem(Status::FromErrno(errno, path));
  }

  void Meet(std::string path, const struct stat& info) {
    if (S_ISREG(info.st_mode)) {
      stopped_ = !callbacks_.on_file(
          {std::move(path), static_cast<std::uint64_t>(info.st_size)});
    } else if (S_ISDIR(info.st_mode) &&
               !(excluded_ && SameFile(*excluded_, info))) {
      pending_.push_back(std::move(path));
    }
  }

  void List(const std::string& path) {
    const DirectoryPtr directory(::opendir(path.c_str()));
    if (directory == nullptr) {
      Problem(path);
      return;
    }
    for (errno = 0; !stopped_; errno = 0) {
      // readdir is safe: nobody else has this stream.
      const dirent* entry = ::readdir(directory.get());  // NOLINT
      if (entry == nullptr) {
        if (errno != 0) {
          Problem(path);
        }
        return;
      }
      const std::string_view name(entry->d_name);
      if (name == "." || name == ".." || entry->d_type == DT_LNK) {
        continue;
      }
      struct stat info {};
      if (::fstatat(::dirfd(directory.get()), entry->d_name, &info,
                    AT_SYMLINK_NOFOLLOW) != 0) {
        Problem(Join(path, name));
        continue;
      }
      Meet(Join(path, name), info);
    }
  }

  const WalkCallbacks& callbacks_;
  std::optional<struct stat> excluded_;
  std::vector<std::string> pending_;
  bool stopped_ = false;
};

}  // namespace

std::size_t WalkFiles(const std::vector<std::string>& paths,
                      const std::string& excluded,
                      const WalkCallbacks& callbacks) {
  Walk walk(excluded, callbacks);
  std::size_t visited = 0;
  for (const std::string& path : paths) {
    if (walk.Visit(path)) {
      ++visited;
    }
    if (walk.stopped()) {
      break;
    }
  }
  return visited;
}

}  // namespace larder::tools
