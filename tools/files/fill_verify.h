#ifndef LARDER_TOOLS_FILES_FILL_VERIFY_H_
#define LARDER_TOOLS_FILES_FILL_VERIFY_H_

#include <chrono>
#include <ctime>
#include <optional>

#include "larder/cache/cache.h"

#include "commands/progress.h"
#include "files/file_run.h"

namespace larder::tools {

/// What reading everything back gave.
struct VerifyCounts {
  std::uint64_t hits = 0;
  std::uint64_t hit_bytes = 0;
  std::uint64_t misses = 0;
  /// Hits whose checksum is that of the file.
  std::uint64_t verified = 0;
  /// Hits that differ from a file that changed since the fill began.
  std::uint64_t changed = 0;
  /// Hits that differ from a file that did not change: damage.
  std::uint64_t mismatched = 0;
  /// Time spent in reading values from the cache, of all threads.
  std::chrono::duration<double> read_time{0};

  VerifyCounts& operator+=(const VerifyCounts& other);
};

/// Compares the cache's values with the files, by XXH3 (128 bits).
class VerifyWorker final : public FileWorker {
 public:
  /// `filled_since`: files with a change time from then on may differ.
  VerifyWorker(Cache& cache, std::timespec filled_since, FileProblems& problems,
               Progress& progress);

  Status Handle(const FoundFile& file) override;
  [[nodiscard]] const VerifyCounts& counts() const { return counts_; }

 private:
  struct Digest {
    std::uint64_t size_bytes = 0;
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    friend bool operator==(const Digest&, const Digest&) = default;
  };
  /// nullopt on a miss.
  Result<std::optional<Digest>> DigestOfValue(const FoundFile& file);
  Result<std::optional<Digest>> DigestOfStream(const std::string& key);
  Result<Digest> DigestOfSource(class SourceFile& source);

  Cache& cache_;
  std::timespec filled_since_;
  FileProblems& problems_;
  Progress& progress_;
  std::vector<char> piece_;
  VerifyCounts counts_;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_FILES_FILL_VERIFY_H_
