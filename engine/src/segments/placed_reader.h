#ifndef LARDER_ENGINE_SRC_SEGMENTS_PLACED_READER_H_
#define LARDER_ENGINE_SRC_SEGMENTS_PLACED_READER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "larder/engine/status.h"
#include "larder/engine/value_handle.h"

#include "segments/segment_log.h"

namespace larder {

/// A process's own way to values in segment files.
///
/// Threads: thread-safe.
class PlacedReader {
 public:
  virtual ~PlacedReader() = default;
  /// The value that is one record at `place`, without a copy.
  /// Errors: kNotFound (it has moved or gone), kCorruption, kIoError.
  [[nodiscard]] virtual Result<ValueHandle> ReadPlaced(
      std::string_view key, std::uint64_t version,
      const SegmentPlace& place) noexcept = 0;
  /// For who reads several; as SegmentLog::ReadAhead.
  virtual std::size_t ReadAheadPlaced(
      std::span<WantedRecord> wanted) noexcept = 0;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENTS_PLACED_READER_H_
