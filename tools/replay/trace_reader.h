#ifndef LARDER_TOOLS_REPLAY_TRACE_READER_H_
#define LARDER_TOOLS_REPLAY_TRACE_READER_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "larder/engine/status.h"

#include "trace.h"
#include "trace_source.h"

namespace larder::replay {

/// How a trace file is written; docs/replay.md has each in full.
enum class TraceFormat : std::uint8_t {
  kDetect = 0,
  kCsv = 1,            ///< "csv": time_ms,key,size,op,ttl_s.
  kOracleGeneral = 2,  ///< "oracleGeneral": libCacheSim's 24-byte records.
  kText = 3,           ///< "text": a key per line.
};

/// Errors: kInvalidArgument lists the names.
[[nodiscard]] Result<TraceFormat> ParseTraceFormat(std::string_view name);
[[nodiscard]] std::string_view TraceFormatName(TraceFormat format) noexcept;

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
  [[nodiscard]] virtual TraceFormat format() const noexcept = 0;
  /// Rows that the format says to ignore.
  [[nodiscard]] virtual std::uint64_t left_out() const noexcept { return 0; }
  [[nodiscard]] virtual bool has_costs() const noexcept { return false; }
};

/// Opens a trace, plain or zstd; with kDetect, its format is told from its
/// first bytes: control characters mean oracleGeneral, a header or 5 fields
/// CSV, anything else keys. Errors: those of open(2), kParseError (header).
[[nodiscard]] Result<std::unique_ptr<TraceReader>> OpenTrace(
    const std::string& path, TraceFormat format);

// The readers, each in its own file; OpenTrace chooses.
[[nodiscard]] Result<std::unique_ptr<TraceReader>> MakeCsvReader(
    BufferedSource source, const std::string& path);
[[nodiscard]] std::unique_ptr<TraceReader> MakeOracleReader(
    BufferedSource source, const std::string& path);
[[nodiscard]] std::unique_ptr<TraceReader> MakeTextReader(
    BufferedSource source, const std::string& path);
/// The first line of a CSV trace: a header, or a row of five numbers.
[[nodiscard]] bool LooksLikeCsv(std::string_view line);
/// The hash by which a trace's keys are told apart.
[[nodiscard]] std::uint64_t HashKey(std::string_view key) noexcept;
/// `text` for a message: printable, cut after 40 characters, in quotes.
[[nodiscard]] std::string Quote(std::string_view text);

struct LoadOptions {
  TraceFormat format = TraceFormat::kDetect;
  /// Bad rows to skip before giving up.
  std::uint64_t skip_bad_count_max = 0;
  /// Requests to read at most.
  std::uint64_t request_count_max = kTraceRequestCountMax;
};

/// Reads a whole trace. Errors: those of OpenTrace; kParseError (a bad row
/// beyond `skip_bad_count_max`; an empty trace), kOutOfRange (too many
/// requests or bytes to count).
[[nodiscard]] Result<Trace> LoadTrace(const std::string& path,
                                      const LoadOptions& options);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_READER_H_
