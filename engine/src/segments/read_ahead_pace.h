#ifndef LARDER_ENGINE_SRC_SEGMENTS_READ_AHEAD_PACE_H_
#define LARDER_ENGINE_SRC_SEGMENTS_READ_AHEAD_PACE_H_

#include <cstddef>
#include <cstdint>

#include "segments/segment_log.h"

namespace larder {

/// Tells who reads many values when to ask for the next ones together
/// (SegmentLog::ReadAhead): while values are found not to be in memory. Else
/// asking costs time and brings nothing.
///
/// Threads: thread-compatible.
class ReadAheadPace {
 public:
  /// The most that is asked for at once: of more, the first might be gone again
  /// before they are read.
  static constexpr std::size_t kItemsMax = 64;
  static constexpr std::uint64_t kBytesMax = 8U << 20;

  explicit ReadAheadPace(bool is_cold = false) noexcept : is_cold_(is_cold) {}

  /// To be called before each item. True: the next ones, from this one on, are
  /// to be asked for now (Asked).
  [[nodiscard]] bool IsDue() noexcept {
    if (items_left_ > 0) {
      --items_left_;
      return false;
    }
    return is_cold();
  }
  /// So many items were looked at, the next one among them, and so many of
  /// their records were not in memory.
  void Asked(std::size_t items, std::size_t cold_records) noexcept {
    items_left_ = items > 0 ? items - 1 : 0;
    is_cold_ = cold_records > 0;
    reads_before_ = SegmentLog::ThreadColdReads();
  }
  /// Whether anything was not in memory lately.
  [[nodiscard]] bool is_cold() const noexcept {
    return is_cold_ || SegmentLog::ThreadColdReads() != reads_before_;
  }

 private:
  std::size_t items_left_ = 0;
  bool is_cold_;
  std::uint64_t reads_before_ = SegmentLog::ThreadColdReads();
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENTS_READ_AHEAD_PACE_H_
