#ifndef LARDER_ENGINE_SRC_SEGMENT_MAPPING_H_
#define LARDER_ENGINE_SRC_SEGMENT_MAPPING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "larder/engine/status.h"

namespace larder {

/// Running figures of one log, shared with its files, grants and mappings,
/// any of which may outlive it.
struct SegmentCounters {
  std::atomic<std::int64_t> disk_bytes{0};
  std::atomic<std::int64_t> unlinked_bytes{0};
  std::atomic<std::uint64_t> bytes_written{0};
};

/// One segment file in memory, for reading. It may be longer than the file:
/// pages past the file's end must not be touched (SIGBUS), which is the
/// caller's care. Shared by the file's cache of it and by value handles.
///
/// Threads: thread-safe.
class SegmentMapping {
 public:
  /// Errors: kIoError (no address space, too many mappings).
  [[nodiscard]] static Result<std::shared_ptr<SegmentMapping>> Map(
      int fd, std::size_t size,
      std::shared_ptr<SegmentCounters> counters) noexcept;
  SegmentMapping(const char* base, std::size_t size,
                 std::shared_ptr<SegmentCounters> counters) noexcept;
  SegmentMapping(const SegmentMapping&) = delete;
  SegmentMapping& operator=(const SegmentMapping&) = delete;
  ~SegmentMapping();

  [[nodiscard]] const char* base() const noexcept { return base_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// The file is unlinked but keeps `bytes` of the disk while this lives.
  void MarkUnlinked(std::uint64_t bytes) noexcept;

 private:
  const char* base_;
  std::size_t size_;
  std::shared_ptr<SegmentCounters> counters_;
  std::atomic<std::int64_t> unlinked_bytes_{0};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENT_MAPPING_H_
