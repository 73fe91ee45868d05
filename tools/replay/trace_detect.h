#ifndef LARDER_TOOLS_REPLAY_TRACE_DETECT_H_
#define LARDER_TOOLS_REPLAY_TRACE_DETECT_H_

#include <optional>
#include <string>
#include <string_view>

#include "trace_layout.h"
#include "trace_reader.h"

namespace larder::replay {

/// Most bytes of a file by which its format is told.
inline constexpr std::size_t kDetectSizeBytes = 64 * 1024;

struct DetectedFormat {
  TraceFormat format = TraceFormat::kText;
  /// Of a table.
  std::optional<TableLayout> layout;
};

/// What a trace is that begins with `head` and is called `path`, without doubt:
///  - binary: oracleGeneral if it is called so, or if what the records say of
///    the next ones of their keys is true;
///  - by the header: larder's CSV and others with a column for keys,
///    cloudPhysics, wikipedia;
///  - by the rows, all of which must fit: twitter, larder's CSV;
///  - by name, if the rows fit: arc (".lis") and lrb (".tr");
///  - text if no line has anything that may separate columns.
/// Errors: kInvalidArgument says what it may be, and what to do.
[[nodiscard]] Result<DetectedFormat> DetectFormat(std::string_view head,
                                                  const std::string& path);

/// Whether there are control characters in `head` that no text has.
[[nodiscard]] bool IsBinary(std::string_view head) noexcept;

/// Whether `line` has something that may separate or enclose columns: one of
/// , ; | tab space carriage return and quote.
[[nodiscard]] bool HasSeparator(std::string_view line) noexcept;

/// Whether `line` is one of an ARC trace.
[[nodiscard]] bool IsArcRow(std::string_view line);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_DETECT_H_
