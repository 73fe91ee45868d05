#ifndef LARDER_BENCH_STORES_WORK_DIRECTORY_H_
#define LARDER_BENCH_STORES_WORK_DIRECTORY_H_

#include <filesystem>
#include <string>

#include "larder/engine/status.h"

namespace larder::bench {

/// A fresh directory that goes away, with all below it, with its owner.
///
/// Threads: thread-compatible.
class WorkDirectory {
 public:
  /// Makes one below `parent`, which must exist.
  /// Errors: kNotFound, kPermissionDenied, kNoSpace, kIoError.
  static Result<WorkDirectory> Make(const std::filesystem::path& parent);

  WorkDirectory(WorkDirectory&& other) noexcept;
  WorkDirectory& operator=(WorkDirectory&& other) noexcept;
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  ~WorkDirectory();

  [[nodiscard]] const std::filesystem::path& path() const noexcept {
    return path_;
  }

 private:
  explicit WorkDirectory(std::filesystem::path path) noexcept
      : path_(std::move(path)) {}
  void Remove() noexcept;

  std::filesystem::path path_;
};

/// The type of the file system that holds `path`, for example "ext4".
std::string FileSystemName(const std::filesystem::path& path);

}  // namespace larder::bench

#endif  // LARDER_BENCH_STORES_WORK_DIRECTORY_H_
