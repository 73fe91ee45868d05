#ifndef LARDER_ENGINE_SRC_SEGMENTS_MAPPING_CLOCK_H_
#define LARDER_ENGINE_SRC_SEGMENTS_MAPPING_CLOCK_H_

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "segments/segment_file.h"

namespace larder {

/// Bounds how many files keep their mapping between reads, by the second
/// chance algorithm: a reader sets a flag of the file, the hand clears it, and
/// drops the mapping of a file whose flag it finds clear.
///
/// Threads: thread-safe.
class MappingClock {
 public:
  explicit MappingClock(std::size_t count_max)
      : count_max_(count_max > 0 ? count_max : 1) {}

  /// To be told of every file that was just mapped.
  void Add(const std::shared_ptr<SegmentFile>& file);
  /// Has all of them give back descriptors that were kept for reading and are
  /// not used.
  void CloseIdleReading();

 private:
  const std::size_t count_max_;
  std::mutex mutex_;  // Before SegmentFile's in the lock order.
  std::size_t hand_ = 0;
  // At most count_max_. Weak: a removed file goes without being looked up.
  std::vector<std::weak_ptr<SegmentFile>> ring_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENTS_MAPPING_CLOCK_H_
