#ifndef LARDER_TOOLS_REPLAY_TRACE_CONTENT_H_
#define LARDER_TOOLS_REPLAY_TRACE_CONTENT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "larder/engine/status.h"

#include "trace_source.h"

namespace larder::replay {

/// How a trace file is written; docs/replay.md has each in full.
enum class TraceFormat : std::uint8_t {
  kDetect = 0,
  kCsv = 1,            ///< "csv": larder's own, or columns that are named.
  kOracleGeneral = 2,  ///< "oracleGeneral": libCacheSim's 24-byte records.
  kText = 3,           ///< "text": a key per line.
  kTwitter = 4,        ///< "twitter": 7 columns.
  kCloudPhysics = 5,   ///< "cloudPhysics": libCacheSim's cloudPhysicsIO.csv.
  kLrb = 6,            ///< "lrb": time, id, size, with blanks.
  kArc = 7,            ///< "arc": extents of blocks (.lis).
  kWikipedia = 8,      ///< "wikipedia": TSV of Wikimedia's caches.
};

/// Errors: kInvalidArgument lists the names.
[[nodiscard]] Result<TraceFormat> ParseTraceFormat(std::string_view name);
[[nodiscard]] std::string_view TraceFormatName(TraceFormat format) noexcept;
/// "none", "zstd", "gzip" or "xz".
[[nodiscard]] std::string_view CompressionName(
    Compression compression) noexcept;

/// What a file was taken for.
struct TraceContent {
  TraceFormat format = TraceFormat::kDetect;
  Compression compression = Compression::kNone;
  /// The columns as --columns takes them, or as the format has them.
  std::string columns{};
  /// What is between columns: a character, a space for any blanks, or nothing.
  std::string separator{};
  /// The first line names the columns.
  bool has_header = false;
  /// There is a time of each request.
  bool has_times = false;
  /// False: that of the times is not certain, and was taken for seconds.
  bool knows_time_unit = true;
};

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_CONTENT_H_
