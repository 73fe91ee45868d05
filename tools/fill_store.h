#ifndef LARDER_TOOLS_FILL_STORE_H_
#define LARDER_TOOLS_FILL_STORE_H_

#include <string>

#include "larder/cache/cache.h"

#include "file_run.h"
#include "progress.h"
#include "set_batch.h"

namespace larder::tools {

/// The tag of a file: its extension without the dot; empty if it has none.
std::string_view FileTag(std::string_view path);

/// Stores files: key = path, value = content, tag = extension. Small ones go
/// in batches, the others are streamed, so memory is bounded.
class FillWorker final : public FileWorker {
 public:
  /// All outlive the worker.
  FillWorker(Cache& cache, FileProblems& problems, Progress& progress);

  Status Handle(const FoundFile& file) override;
  Status Finish() override;
  [[nodiscard]] BatchCounts counts() const;

 private:
  Status StoreBatched(const SetCommand& command, std::size_t size_expected,
                      class SourceFile& source);
  Status StoreStreamed(const SetCommand& command, class SourceFile& source);

  Cache& cache_;
  FileProblems& problems_;
  Progress& progress_;
  SetBatch batch_;
  std::vector<char> piece_;
  BatchCounts streamed_;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_FILL_STORE_H_
