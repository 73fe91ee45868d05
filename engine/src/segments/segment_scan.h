#ifndef LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_SCAN_H_
#define LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_SCAN_H_

#include <cstdint>
#include <functional>
#include <span>

#include "larder/engine/status.h"

#include "os/segment_io.h"
#include "segments/segment_log.h"

namespace larder {

/// What a walk over a segment file found.
struct SegmentScanResult {
  std::uint64_t record_count = 0;   ///< Whole records.
  std::uint64_t records_end = 0;    ///< End of the last whole one.
  std::uint64_t damaged_bytes = 0;  ///< Neither record, gap nor footer.
};

using SegmentVisit =
    std::function<bool(const SegmentPlace&, const SegmentRecord&)>;

/// What becomes of a walk that cannot read a part of the file.
enum class BadSectors : std::uint8_t {
  kFail,   ///< It ends (kIoError): all depends on it.
  kDamage  ///< It goes on behind it: what can be read is wanted.
};

/// Calls `visit` (may be empty) for each whole record in the first `size`
/// bytes of segment `id`, in order of offset; false stops the walk. Reads with
/// pread, not through a mapping: a bad sector is no signal here.
/// Cost: memory for one record, at least 1 MiB.
[[nodiscard]] Result<SegmentScanResult> ScanSegment(SegmentIo& io, int fd,
                                                    std::uint32_t id,
                                                    std::uint64_t size,
                                                    BadSectors bad_sectors,
                                                    const SegmentVisit& visit);

using SegmentGroupVisit = std::function<bool(std::span<const PlacedRecord>)>;

/// The same, with kDamage, and with up to `count_max` records at once, which
/// stay in memory during the call. Whether a payload is whole is left to the
/// visitor, who may not need it: records come with its checksum.
[[nodiscard]] Result<SegmentScanResult> ScanSegmentGroups(
    SegmentIo& io, int fd, std::uint32_t id, std::uint64_t size,
    std::size_t count_max, const SegmentGroupVisit& visit);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_SCAN_H_
