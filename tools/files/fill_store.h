#ifndef LARDER_TOOLS_FILES_FILL_STORE_H_
#define LARDER_TOOLS_FILES_FILL_STORE_H_

#include <cstdint>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "larder/cache/cache.h"

#include "commands/progress.h"
#include "files/file_run.h"
#include "files/set_batch.h"

namespace larder::tools {

/// The tag of a file: its extension without the dot; empty if it has none.
std::string_view FileTag(std::string_view path);

/// What the workers of one fill share.
///
/// Threads: thread-safe.
struct FillShared {
  Cache& cache;
  FileProblems& problems;
  Progress& progress;
  /// Values from this size are streamed while nothing else is stored: an
  /// unfinished value can be as large as the cache, and cannot be evicted.
  std::uint64_t alone_size_bytes_min = 0;
  /// Held exclusively while such a value is streamed, shared by all other
  /// writes.
  std::shared_mutex stream_mutex = {};
};

/// Stores files: key = path, value = content, tag = extension. Small ones go
/// in batches, the others are streamed, so memory is bounded.
class FillWorker final : public FileWorker {
 public:
  /// `shared` outlives the worker.
  explicit FillWorker(FillShared& shared);

  Status Handle(const FoundFile& file) override;
  Status Finish() override;
  [[nodiscard]] BatchCounts counts() const;

 private:
  Status StoreBatched(const SetCommand& command, std::size_t size_expected,
                      class SourceFile& source);
  Status StoreStreamed(const SetCommand& command, class SourceFile& source);
  Status Stream(const SetCommand& command, class SourceFile& source);

  FillShared& shared_;
  SetBatch batch_;
  std::vector<char> piece_;
  BatchCounts streamed_;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_FILES_FILL_STORE_H_
