// Creation goes through states that each can be left by a crash: directories;
// seat.lock; larder.format.tmp; larder.format (by rename); db/ and log/. Up to
// the rename the directory counts as vacant and the next Open starts over;
// from then on it is a cache, and Open makes what is missing.

#include "directory/directory_create.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/open_file.h"
#include "base/path_error.h"
#include "base/process_limits.h"

namespace larder {
namespace {

constexpr const char* kToCreate =
    "write and search permission for the directory above";

// A directory that may be written but not read cannot be synced; the kernel
// writes it in its own time then.
Status SyncDirectoryAt(const std::filesystem::path& path) {
  const UniqueFd fd = OpenDirectory(AT_FDCWD, path.c_str());
  if (!fd) {
    return errno == EACCES ? Status::Ok()
                           : PathError(errno, "open", path, kToCreate);
  }
  return ::fsync(fd.get()) == 0 ? Status::Ok()
                                : PathError(errno, "sync", path, kToCreate);
}

Status WriteAll(int fd, const std::string& text) {
  const FileSizeSignalHeld held;
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(fd, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return Status::FromErrno(count < 0 ? errno : EIO, "write");
    }
    done += static_cast<std::size_t>(count);
  }
  return Status::Ok();
}

}  // namespace

CreationUndo::~CreationUndo() {
  std::for_each(made_.rbegin(), made_.rend(), [](const auto& path) {
    // Best effort; a directory that others use meanwhile is not empty.
    static_cast<void>(std::remove(path.c_str()));
  });
}

Status MakeDirectories(const std::filesystem::path& path, CreationUndo& undo) {
  std::vector<std::filesystem::path> missing;
  struct stat info {};
  for (std::filesystem::path at = path;
       ::lstat(at.c_str(), &info) != 0 && errno == ENOENT;
       at = at.parent_path()) {
    missing.push_back(at);
  }
  while (!missing.empty()) {
    const std::filesystem::path next = std::move(missing.back());
    missing.pop_back();
    const mode_t mode = missing.empty() ? 0700 : 0777;
    if (::mkdir(next.c_str(), mode) == 0) {
      undo.Add(next);
      LARDER_RETURN_IF_ERROR(SyncDirectoryAt(next.parent_path()));
    } else if (errno != EEXIST) {
      return PathError(errno, "create", next, kToCreate);
    }
  }
  return Status::Ok();
}

Status MakeSubdirectory(const std::filesystem::path& root, int root_fd,
                        const char* name, CreationUndo& undo) {
  if (::mkdirat(root_fd, name, 0700) == 0) {
    undo.Add(root / name);
    return ::fsync(root_fd) == 0 ? Status::Ok()
                                 : PathError(errno, "sync", root, kToCreate);
  }
  if (errno != EEXIST) {
    return PathError(errno, "create", root / name, kToCreate);
  }
  struct stat info {};
  if (::fstatat(root_fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISDIR(info.st_mode)) {
    return {StatusCode::kNotADirectory,
            (root / name).string() +
                " is not a directory; move it away and open again"};
  }
  return Status::Ok();
}

std::error_code RemoveTree(const std::filesystem::path& path) noexcept {
  const StandardDescriptorsTaken taken;
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return error;
}

Status WriteStamp(const std::filesystem::path& root, int root_fd,
                  const DirectoryStamp& stamp, CreationUndo& undo) {
  const std::filesystem::path temporary = root / kStampTemporaryName;
  const auto fd = OpenFile(FilePlace(root_fd, kStampTemporaryName, temporary),
                           O_WRONLY | O_CREAT | O_TRUNC, 0600, kToCreate);
  if (!fd) {
    return fd.error();
  }
  undo.Add(temporary);
  if (Status status = WriteAll(fd->get(), FormatStamp(stamp)); !status.ok()) {
    return {status.code(), temporary.string() + ": " + status.message()};
  }
  if (::fsync(fd->get()) != 0) {
    return PathError(errno, "sync", temporary, kToCreate);
  }
  if (::renameat(root_fd, kStampTemporaryName, root_fd, kStampName) != 0) {
    return PathError(errno, "rename", temporary, kToCreate);
  }
  undo.Add(root / kStampName);
  return ::fsync(root_fd) == 0 ? Status::Ok()
                               : PathError(errno, "sync", root, kToCreate);
}

}  // namespace larder
