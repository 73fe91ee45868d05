#ifndef LARDER_ENGINE_SRC_SEGMENT_SCAN_H_
#define LARDER_ENGINE_SRC_SEGMENT_SCAN_H_

#include <cstdint>
#include <functional>

#include "larder/engine/status.h"

#include "segment_io.h"
#include "segment_log.h"

namespace larder {

/// What a walk over a segment file found.
struct SegmentScanResult {
  std::uint64_t record_count = 0;   ///< Whole records.
  std::uint64_t records_end = 0;    ///< End of the last whole one.
  std::uint64_t damaged_bytes = 0;  ///< Neither record, gap nor footer.
};

using SegmentVisit =
    std::function<bool(const SegmentPlace&, const SegmentRecord&)>;

/// Calls `visit` (may be empty) for each whole record in the first `size`
/// bytes of segment `id`, in order of offset; false stops the walk. Reads with
/// pread, not through a mapping: a bad sector is an error here, not a signal.
/// Cost: memory for one record, at least 1 MiB.
[[nodiscard]] Result<SegmentScanResult> ScanSegment(SegmentIo& io, int fd,
                                                    std::uint32_t id,
                                                    std::uint64_t size,
                                                    const SegmentVisit& visit);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENT_SCAN_H_
