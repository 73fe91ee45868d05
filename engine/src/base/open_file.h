#ifndef LARDER_ENGINE_SRC_BASE_OPEN_FILE_H_
#define LARDER_ENGINE_SRC_BASE_OPEN_FILE_H_

#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>

#include <fcntl.h>
#include <sys/types.h>

#include "larder/engine/status.h"

#include "base/unique_fd.h"

namespace larder {

/// Keeps the descriptors 0 to 2 from being given to what is opened meanwhile.
/// Where the application has closed some of them, they are taken until the end
/// of the scope by descriptors that cannot be read or written (O_PATH), so that
/// they answer as before: EBADF. For calls that open by themselves, and not
/// around any other function of this header.
///
/// Threads: thread-safe; if one of them is closed, one scope at a time.
/// Cost:    three system calls if all are open; errno is kept.
class StandardDescriptorsTaken {
 public:
  StandardDescriptorsTaken() noexcept;
  ~StandardDescriptorsTaken();
  StandardDescriptorsTaken(const StandardDescriptorsTaken&) = delete;
  StandardDescriptorsTaken& operator=(const StandardDescriptorsTaken&) = delete;

 private:
  const bool locked_;
};

/// Whether one of the descriptors 0 to 2 is of the file at `path`.
[[nodiscard]] bool IsStandardDescriptor(const char* path) noexcept;

/// Where a file is, as openat takes it, and what to call it for people.
struct FilePlace {
  explicit FilePlace(const std::filesystem::path& path)
      : name(path), shown(path) {}
  FilePlace(int its_directory, std::filesystem::path its_name,
            std::filesystem::path its_path)
      : directory(its_directory),
        name(std::move(its_name)),
        shown(std::move(its_path)) {}

  int directory = AT_FDCWD;
  std::filesystem::path name;
  std::filesystem::path shown;
};

/// openat, through EINTR, with O_CLOEXEC and O_NOCTTY. The descriptor is not
/// one of 0 to 2, nor is it for a moment: what the application writes to a
/// standard output that it has closed must not get into a file of ours.
/// Nothing in larder opens a file but by this and the functions below.
[[nodiscard]] int OpenDescriptor(int directory, const char* path, int flags,
                                 mode_t mode = 0) noexcept;

/// Opens a regular file of a cache. Never waits for a pipe's other end, follows
/// no link, and refuses whatever else has the name.
/// Errors: kNotAFile, else as PathError.
[[nodiscard]] Result<UniqueFd> OpenFile(
    const FilePlace& place, int flags, mode_t mode = 0,
    std::string_view needed = "to be its owner") noexcept;

/// A part of what every kNotAFile of this header says.
inline constexpr std::string_view kNotAFileText = ", where a cache has a file";

/// kNotAFile if something else than a regular file is open as `fd`.
[[nodiscard]] Status CheckIsFile(int fd, const FilePlace& place) noexcept;

/// Why OpenDescriptor with O_NOFOLLOW and O_NONBLOCK failed with `error`.
/// Errors: as OpenFile.
[[nodiscard]] Status OpenFileError(int error, const FilePlace& place,
                                   std::string_view needed) noexcept;

/// kNotAFile if there is something else than a regular file, without opening
/// it; OK if there is nothing.
[[nodiscard]] Status CheckNamesFile(const FilePlace& place) noexcept;

/// Opens a directory for reading. With O_NOFOLLOW in `flags` not through a
/// link. errno says what failed.
[[nodiscard]] UniqueFd OpenDirectory(int directory, const char* path,
                                     int flags = 0) noexcept;

/// What keeps the open file of `fd` without a descriptor: its inode, so that no
/// other file gets the number, and, but for file systems as overlayfs, its
/// locks, also in forked children. A page of it is mapped, and never looked at,
/// as it may be cut off. nullptr: that cannot be done; keep the descriptor.
[[nodiscard]] std::shared_ptr<const void> KeepByMapping(int fd) noexcept;

/// Calls `visit` with each name in a directory, without . and .., until it
/// returns false. Returns 0 or an errno.
[[nodiscard]] int ListDirectory(
    int directory, const char* path,
    const std::function<bool(const char* name)>& visit) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_OPEN_FILE_H_
