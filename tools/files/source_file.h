#ifndef LARDER_TOOLS_FILES_SOURCE_FILE_H_
#define LARDER_TOOLS_FILES_SOURCE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>
#include <string>
#include <utility>

#include "larder/engine/status.h"

namespace larder::tools {

/// Files and large values are read in pieces of this size.
inline constexpr std::size_t kPieceSizeBytes = 1 << 20;

/// A regular file that is read, of a tree that others may change meanwhile.
///
/// Threads: thread-compatible.
class SourceFile {
 public:
  /// Errors: kNotFound if there is no regular file any more (deleted, replaced
  /// by a directory, a symbolic link, a pipe), else by errno.
  static Result<SourceFile> Open(const std::string& path);
  SourceFile(SourceFile&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        size_bytes_(other.size_bytes_),
        changed_at_(other.changed_at_),
        path_(std::move(other.path_)) {}
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;
  SourceFile& operator=(SourceFile&&) = delete;
  ~SourceFile();

  /// Fills `buffer`; fewer bytes only at the end of the file.
  Result<std::size_t> Read(std::span<char> buffer);
  /// Back to the beginning.
  Status Rewind();

  /// At Open; it may have become another one since.
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  /// When content or metadata changed last, at Open.
  [[nodiscard]] std::timespec changed_at() const { return changed_at_; }

 private:
  SourceFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_;
  std::uint64_t size_bytes_ = 0;
  std::timespec changed_at_{};
  std::string path_;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_FILES_SOURCE_FILE_H_
