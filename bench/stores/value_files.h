#ifndef LARDER_BENCH_STORES_VALUE_FILES_H_
#define LARDER_BENCH_STORES_VALUE_FILES_H_

#include <filesystem>
#include <string>
#include <string_view>

#include "larder/engine/status.h"

namespace larder::bench {

/// Values in files of their own, laid out as DiskCache does: a random name of
/// 32 hex digits, the first two pairs of which are directories, "ab/cd/*.val".
///
/// Threads: thread-compatible.
class ValueFiles {
 public:
  explicit ValueFiles(std::filesystem::path directory)
      : directory_(std::move(directory)) {}

  /// The name of the new file, relative to the directory.
  Result<std::string> Write(std::string_view value);
  /// Replaces `buffer` by the content. Errors: kNotFound, kIoError.
  Status Read(std::string_view name, std::string& buffer) const;
  /// Also removes directories that this empties. A file that has gone is fine.
  void Delete(std::string_view name) const noexcept;

 private:
  std::filesystem::path directory_;
};

}  // namespace larder::bench

#endif  // LARDER_BENCH_STORES_VALUE_FILES_H_
