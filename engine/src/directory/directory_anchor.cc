// RocksDB and the log of segments open, rename and unlink files by paths. A
// path through /proc/self/fd leads to the directory that the descriptor is of,
// wherever that is by now: also to one that has no name any more, in which
// nothing can be made.
//
// Rejected: a file system for RocksDB that uses openat, which all its kinds of
// files would have to be written for again; to look at the directory before
// each access, as it may be replaced right after the look; the current
// directory of a thread (unshare), as RocksDB's paths are used on many.

#include "directory/directory_anchor.h"

#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/open_file.h"
#include "base/path_error.h"
#include "directory/directory_create.h"

namespace larder {
namespace {

constexpr std::string_view kDescriptorLinks = "/proc/self/fd/";

constexpr const char* NameOf(DirectoryPart part) noexcept {
  switch (part) {
    case DirectoryPart::kDatabase:
      return "db";
    case DirectoryPart::kLog:
      return "log";
    case DirectoryPart::kStamp:
      return kStampName;
  }
  return "";
}

FileIdentity IdentityOf(const struct stat& info) noexcept {
  return {.device = info.st_dev, .inode = info.st_ino};
}

// Keeps the file there is. nullptr: that cannot be done.
std::shared_ptr<const void> MapFile(int directory, const char* name,
                                    const FileIdentity& identity) {
  const UniqueFd fd(
      OpenDescriptor(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat info {};
  const bool same = fd && ::fstat(fd.get(), &info) == 0 &&
                    S_ISREG(info.st_mode) && IdentityOf(info) == identity;
  return same ? KeepByMapping(fd.get()) : nullptr;
}

Status Gone(const std::filesystem::path& path, const char* what) {
  return {StatusCode::kGone, path.string() + " was " + what +
                                 " while the cache was open; close this cache "
                                 "and open it again"};
}

}  // namespace

std::filesystem::path DescriptorPath(int fd) {
  return std::string(kDescriptorLinks) + std::to_string(fd);
}

Result<std::shared_ptr<DirectoryAnchor>> DirectoryAnchor::Open(
    const std::filesystem::path& root) noexcept {
  UniqueFd fd = OpenDirectory(AT_FDCWD, root.c_str());
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) {
    return Fail(PathError(errno, "open", root, kToRead));
  }
  const FileIdentity identity = IdentityOf(info);
  if (::stat(DescriptorPath(fd.get()).c_str(), &info) != 0 ||
      IdentityOf(info) != identity) {
    return Fail(Status(StatusCode::kUnsupportedFileSystem,
                       "cannot open " + root.string() +
                           " safely, as /proc/self/fd is not there: mount "
                           "/proc"));
  }
  return std::shared_ptr<DirectoryAnchor>(
      new DirectoryAnchor(root, std::move(fd), identity));
}

DirectoryAnchor::DirectoryAnchor(std::filesystem::path root, UniqueFd fd,
                                 const FileIdentity& identity) noexcept
    : root_(std::move(root)), fd_(std::move(fd)), identity_(identity) {}

std::filesystem::path DirectoryAnchor::Path() const {
  // In a child the number may be that of anything.
  return DescriptorPath(guard_.InChild() ? -1 : fd_.get());
}

std::filesystem::path DirectoryAnchor::PathOf(DirectoryPart part) const {
  return HeldPathOf(part).path;
}

DirectoryAnchor::HeldPath DirectoryAnchor::HeldPathOf(
    DirectoryPart part) const {
  const std::lock_guard lock(mutex_);
  const auto& held = parts_[static_cast<std::size_t>(part)];
  if (!held || held->fd == nullptr || guard_.InChild()) {
    return {.path = Path() / NameOf(part), .held = nullptr};
  }
  return {.path = DescriptorPath(held->fd->get()), .held = held->fd};
}

Status DirectoryAnchor::HoldParts() noexcept {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < kDirectoryPartCount; ++i) {
    const auto part = static_cast<DirectoryPart>(i);
    const int kind = part == DirectoryPart::kStamp ? 0 : O_DIRECTORY;
    // O_PATH: whatever it is, nothing waits for it and nothing is read.
    UniqueFd fd(
        OpenDescriptor(fd_.get(), NameOf(part), O_PATH | O_NOFOLLOW | kind));
    struct stat info {};
    if (!fd && errno == ENOENT) {
      parts_[i].reset();
      continue;
    }
    if (!fd || ::fstat(fd.get(), &info) != 0) {
      return PathError(errno, "open", root_ / NameOf(part), kToRead);
    }
    // Paths through the old descriptor are in use if it is the same file.
    if (parts_[i] && parts_[i]->identity == IdentityOf(info)) continue;
    HeldPart& held = parts_[i].emplace();
    held.identity = IdentityOf(info);
    if (part == DirectoryPart::kStamp) {
      held.page = MapFile(fd_.get(), NameOf(part), held.identity);
    }
    if (held.page == nullptr) {
      held.fd = std::make_shared<const ForkSafeFd>(std::move(fd));
    }
  }
  return Status::Ok();
}

Status DirectoryAnchor::CheckName() const noexcept {
  struct stat info {};
  if (::stat(root_.c_str(), &info) == 0) {
    return IdentityOf(info) == identity_ ? Status::Ok()
                                         : Gone(root_, "replaced");
  }
  return errno == ENOENT || errno == ENOTDIR
             ? Gone(root_, "removed or renamed")
             : PathError(errno, "look at", root_, kToRead);
}

Status DirectoryAnchor::CheckParts() const noexcept {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < kDirectoryPartCount; ++i) {
    if (!parts_[i]) continue;
    const char* const name = NameOf(static_cast<DirectoryPart>(i));
    struct stat info {};
    if (::fstatat(fd_.get(), name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
      if (IdentityOf(info) == parts_[i]->identity) continue;
      return Gone(root_ / name, "replaced");
    }
    return errno == ENOENT ? Gone(root_ / name, "removed")
                           : PathError(errno, "look at", root_ / name, kToRead);
  }
  return Status::Ok();
}

Status DirectoryAnchor::CheckPresent() const noexcept {
  LARDER_RETURN_IF_ERROR(CheckName());
  return CheckParts();
}

std::string NameDescriptors(std::string message) {
  std::size_t at = 0;
  while ((at = message.find(kDescriptorLinks, at)) != std::string::npos) {
    const std::size_t digits = at + kDescriptorLinks.size();
    const std::size_t end = std::min(
        message.find_first_not_of("0123456789", digits), message.size());
    std::error_code error;
    const std::filesystem::path target =
        std::filesystem::read_symlink(message.substr(at, end - at), error);
    if (error || end == digits) {
      at = end;
      continue;
    }
    message.replace(at, end - at, target.native());
    at += target.native().size();
  }
  return message;
}

Status NameDescriptors(const Status& status) {
  if (status.ok()) return status;
  return {status.code(), NameDescriptors(std::string(status.message()))};
}

Status EmptyDirectory(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  std::error_code error(ListDirectory(AT_FDCWD, directory.c_str(),
                                      [&names](const char* name) {
                                        names.emplace_back(name);
                                        return true;
                                      }),
                        std::generic_category());
  for (const std::string& name : names) {
    if (error) break;
    const StandardDescriptorsTaken taken;  // It opens what it empties.
    std::filesystem::remove_all(directory / name, error);
  }
  if (!error) return Status::Ok();
  return NameDescriptors(
      Status::FromErrno(error.value(), "emptying " + directory.string()));
}

}  // namespace larder
