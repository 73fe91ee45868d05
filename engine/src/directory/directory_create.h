#ifndef LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_CREATE_H_
#define LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_CREATE_H_

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "larder/engine/status.h"

#include "directory/directory_stamp.h"

namespace larder {

inline constexpr const char* kStampName = "larder.format";
inline constexpr const char* kStampTemporaryName = "larder.format.tmp";

/// Remembers what was made, and takes it away again unless told to keep it.
///
/// Threads: thread-compatible.
class CreationUndo {
 public:
  CreationUndo() = default;
  CreationUndo(CreationUndo&& other) noexcept
      : made_(std::exchange(other.made_, {})) {}
  CreationUndo& operator=(CreationUndo&&) = delete;
  ~CreationUndo();
  void Add(std::filesystem::path made) { made_.push_back(std::move(made)); }
  void Keep() noexcept { made_.clear(); }

 private:
  std::vector<std::filesystem::path> made_;  // Files and empty directories.
};

/// Makes `path` with mode 0700 and what is missing above it, durably.
/// Errors: see PathError.
[[nodiscard]] Status MakeDirectories(const std::filesystem::path& path,
                                     CreationUndo& undo);
/// Makes the directory `name` with mode 0700 unless it is there.
[[nodiscard]] Status MakeSubdirectory(const std::filesystem::path& root,
                                      int root_fd, const char* name,
                                      CreationUndo& undo);
/// Removes whatever is at `path`, if anything.
[[nodiscard]] std::error_code RemoveTree(
    const std::filesystem::path& path) noexcept;
/// Puts the stamp into the directory, whole or not at all, durably.
[[nodiscard]] Status WriteStamp(const std::filesystem::path& root, int root_fd,
                                const DirectoryStamp& stamp,
                                CreationUndo& undo);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_CREATE_H_
