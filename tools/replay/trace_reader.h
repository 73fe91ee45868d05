#ifndef LARDER_TOOLS_REPLAY_TRACE_READER_H_
#define LARDER_TOOLS_REPLAY_TRACE_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "larder/engine/status.h"

#include "trace.h"
#include "trace_columns.h"
#include "trace_source.h"

namespace larder::replay {

/// One row as it stands in a file.
struct TraceRow {
  std::uint64_t time_ms = 0;
  std::uint64_t key_hash = 0;
  std::uint64_t size_bytes = 1;
  std::uint32_t ttl_s = 0;
  TraceOp op = TraceOp::kGet;
  float cost = 1.0F;
};

/// Reads the rows of one file.
///
/// Threads: thread-compatible.
class TraceReader {
 public:
  virtual ~TraceReader() = default;
  /// The next row; nullopt at the end. Errors: kParseError for one bad row
  /// ("FILE:LINE: expected ..., got ..."), after which reading may go on;
  /// anything else ends the trace.
  [[nodiscard]] virtual Result<std::optional<TraceRow>> Next() = 0;
  [[nodiscard]] virtual TraceContent content() const = 0;
  /// Rows that the format says to ignore.
  [[nodiscard]] virtual std::uint64_t left_out() const noexcept { return 0; }
  [[nodiscard]] virtual bool has_costs() const noexcept { return false; }
};

struct LoadOptions {
  TraceFormat format = TraceFormat::kDetect;
  /// What the columns of a table are, in place of its header; empty = what the
  /// file says. REQUIRES: then `format` is kDetect or kCsv.
  TraceColumns columns{};
  /// Bad rows to skip before giving up.
  std::uint64_t skip_bad_count_max = 0;
  /// Requests to read at most.
  std::uint64_t request_count_max = kTraceRequestCountMax;
};

/// A reader, and how the file is compressed.
struct OpenedTrace {
  std::unique_ptr<TraceReader> reader;
  Compression compression = Compression::kNone;
};

/// Opens a trace; with kDetect and no columns its format is told from the
/// content (DetectFormat). A byte order mark before text is skipped.
/// Errors: those of open(2) and of decompression, kParseError (header),
/// kInvalidArgument (the format is not certain; the message says what to do).
[[nodiscard]] Result<OpenedTrace> OpenTrace(const std::string& path,
                                            const LoadOptions& options);

enum class TextKeys : std::uint8_t {
  kAnyLine = 0,           ///< Whatever the line is.
  kWithoutSeparator = 1,  ///< A line that may be columns is a bad row.
};

// The readers, each in its own file; OpenTrace chooses. MakeTableReader is in
// trace_layout.h.
inline constexpr std::size_t kOracleRecordSizeBytes = 24;
[[nodiscard]] std::unique_ptr<TraceReader> MakeOracleReader(
    BufferedSource source, const std::string& path);
[[nodiscard]] std::unique_ptr<TraceReader> MakeTextReader(
    BufferedSource source, const std::string& path, TextKeys keys);
[[nodiscard]] std::unique_ptr<TraceReader> MakeArcReader(
    BufferedSource source, const std::string& path);
/// The hash by which a trace's keys are told apart.
[[nodiscard]] std::uint64_t HashKey(std::string_view key) noexcept;
/// `text` for a message: printable, cut after 40 characters, in quotes.
[[nodiscard]] std::string Quote(std::string_view text);

/// Reads a whole trace. Errors: those of OpenTrace; kParseError (a bad row
/// beyond `skip_bad_count_max`; an empty trace), kOutOfRange (too many
/// requests or bytes to count).
[[nodiscard]] Result<Trace> LoadTrace(const std::string& path,
                                      const LoadOptions& options);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_READER_H_
