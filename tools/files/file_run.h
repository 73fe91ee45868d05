#ifndef LARDER_TOOLS_FILES_FILE_RUN_H_
#define LARDER_TOOLS_FILES_FILE_RUN_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "larder/engine/status.h"

#include "files/file_walk.h"

/// Many threads on the files of some trees.

namespace larder::tools {

/// Counts what could not be read and keeps the first lines for people.
///
/// Threads: thread-safe.
class FileProblems {
 public:
  /// kNotFound counts as vanished, all else as unreadable.
  void Add(const Status& problem);
  [[nodiscard]] std::uint64_t vanished() const;
  [[nodiscard]] std::uint64_t unreadable() const;
  /// The lines, and how many more there were, on standard error.
  void Report(const std::string& title) const;

 private:
  static constexpr std::size_t kLineCountMax = 10;
  mutable std::mutex mutex_;  // Guards all below.
  std::uint64_t vanished_ = 0;
  std::uint64_t unreadable_ = 0;
  std::vector<std::string> lines_;
};

/// What one thread does with its share of the files.
///
/// Threads: one thread.
class FileWorker {
 public:
  virtual ~FileWorker() = default;
  /// A failure ends the run.
  [[nodiscard]] virtual Status Handle(const FoundFile& file) = 0;
  /// After the last file.
  [[nodiscard]] virtual Status Finish() { return Status::Ok(); }
};

struct FileRunOptions {
  std::vector<std::string> paths;
  /// The cache's own directory.
  std::string excluded;
};

/// Walks the paths on this thread and deals the files to the workers, each on
/// a thread of its own. Returns the first failure of a worker.
Status RunOnFiles(const FileRunOptions& options,
                  const std::vector<FileWorker*>& workers,
                  FileProblems& problems);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_FILES_FILE_RUN_H_
