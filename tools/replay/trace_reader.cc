#include "trace_reader.h"

#include <algorithm>
#include <array>
#include <utility>

#include <xxhash.h>

#include "key_index.h"
#include "trace_detect.h"

// Opening a trace as what it is, and loading it for replay. Keys are known by
// their XXH3 hash from here on, and numbered densely so that simulators index
// arrays instead of hashing.

namespace larder::replay {
namespace {

constexpr std::array<std::string_view, 9> kFormatNames = {
    "detect",       "csv", "oracleGeneral", "text",     "twitter",
    "cloudPhysics", "lrb", "arc",           "wikipedia"};
constexpr std::array<std::string_view, 4> kCompressionNames = {"none", "zstd",
                                                               "gzip", "xz"};
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string NameOf(const std::string& path) {
  std::string name = path.substr(path.find_last_of('/') + 1);
  for (const std::string_view suffix :
       {".zst", ".gz", ".xz", ".csv", ".tsv", ".tr", ".lis", ".oracleGeneral",
        ".bin", ".txt"}) {
    if (name.size() > suffix.size() && name.ends_with(suffix)) {
      name.resize(name.size() - suffix.size());
    }
  }
  return name;
}

/// Collects rows into a Trace.
class Builder {
 public:
  Status Add(const TraceRow& row) {
    const auto count_before = static_cast<std::uint32_t>(keys_.count());
    const std::uint32_t key = keys_.Intern(row.key_hash);
    std::uint64_t sum = 0;
    if (__builtin_add_overflow(trace_.request_bytes, row.size_bytes, &sum)) {
      return Status::OutOfRange("more request bytes than 64 bits can count");
    }
    trace_.request_bytes = sum;
    if (key == count_before && row.op != TraceOp::kDelete) {
      trace_.footprint_bytes += row.size_bytes;
    }
    trace_.has_sizes |= row.size_bytes != 1 && row.op != TraceOp::kDelete;
    trace_.has_ttls |= row.ttl_s != 0;
    ++trace_.op_counts[static_cast<std::size_t>(row.op)];
    trace_.requests.push_back({.time_ms = row.time_ms,
                               .size_bytes = row.size_bytes,
                               .key = key,
                               .ttl_s = row.ttl_s & kTraceTtlSecondsMax,
                               .op_bits = static_cast<unsigned>(row.op) & 3U});
    return Status::Ok();
  }
  void AddCost(float cost) { trace_.costs.push_back(cost); }
  [[nodiscard]] Trace Finish() {
    trace_.key_hashes = keys_.TakeHashes();
    trace_.requests.shrink_to_fit();
    return std::move(trace_);
  }
  Trace& trace() noexcept { return trace_; }

 private:
  Trace trace_;
  KeyIndex keys_;
};

}  // namespace

Result<TraceFormat> ParseTraceFormat(std::string_view name) {
  std::string names;
  for (std::size_t i = 0; i < kFormatNames.size(); ++i) {
    if (HeaderName(kFormatNames[i]) == HeaderName(name)) {
      return static_cast<TraceFormat>(i);
    }
    names += i == 0 ? "" : i + 1 == kFormatNames.size() ? " or " : ", ";
    names += kFormatNames[i];
  }
  return Fail(Status::InvalidArgument("trace format " + Quote(name) +
                                      ": expected " + names));
}

std::string_view TraceFormatName(TraceFormat format) noexcept {
  return kFormatNames[static_cast<std::size_t>(format)];
}

std::string_view CompressionName(Compression compression) noexcept {
  return kCompressionNames[static_cast<std::size_t>(compression)];
}

std::uint64_t HashKey(std::string_view key) noexcept {
  return XXH3_64bits(key.data(), key.size());
}

std::string Quote(std::string_view text) {
  constexpr std::size_t kShown = 40;
  std::string quoted = "\"";
  for (const char c : text.substr(0, kShown)) {
    quoted += c >= 0x20 && c < 0x7F ? c : '?';
  }
  quoted += text.size() > kShown ? "...\"" : "\"";
  return quoted;
}

namespace {

/// The first line that `source` has, without taking it.
std::string_view FirstLine(BufferedSource& source) {
  std::string_view line = source.Peek(kDetectSizeBytes);
  line = line.substr(0, line.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

/// How `source` is to be read. Errors lack the name of the file.
Result<DetectedFormat> ChooseFormat(BufferedSource& source,
                                    const std::string& path,
                                    const LoadOptions& options) {
  const auto table = [&path](Result<TableLayout> layout) {
    if (!layout) {
      return Result<DetectedFormat>(Fail(Status(
          layout.error().code(), path + ":1: " + layout.error().message())));
    }
    return Result<DetectedFormat>(
        DetectedFormat{.format = layout->format, .layout = *layout});
  };
  if (!options.columns.empty()) {
    return table(LayoutOfColumns(options.columns, FirstLine(source)));
  }
  switch (options.format) {
    case TraceFormat::kDetect:
      return DetectFormat(
          source.Peek(kDetectSizeBytes).substr(0, kDetectSizeBytes), path);
    case TraceFormat::kOracleGeneral:
    case TraceFormat::kText:
    case TraceFormat::kArc:
      return DetectedFormat{.format = options.format, .layout = {}};
    default:
      return table(LayoutOf(options.format, FirstLine(source)));
  }
}

void SkipByteOrderMark(BufferedSource& source, TraceFormat format) {
  if (format == TraceFormat::kOracleGeneral) return;
  const std::string_view head = source.Peek(kDetectSizeBytes);
  if (!head.starts_with(kByteOrderMark)) return;
  // Records may begin with these bytes, too.
  if (format == TraceFormat::kDetect && IsBinary(head)) return;
  source.Skip(kByteOrderMark.size());
}

}  // namespace

Result<OpenedTrace> OpenTrace(const std::string& path,
                              const LoadOptions& options) {
  Result<OpenedSource> opened = OpenByteSource(path);
  if (!opened) return Fail(std::move(opened.error()));
  BufferedSource source(std::move(opened->bytes));
  SkipByteOrderMark(source, options.format);
  Result<DetectedFormat> chosen = ChooseFormat(source, path, options);
  if (!chosen) {
    // What could not be read is why it looks strange.
    LARDER_FAIL_IF_ERROR(source.TakeError());
    return Fail(std::move(chosen.error()));
  }
  OpenedTrace trace{.reader = nullptr, .compression = opened->compression};
  if (chosen->layout) {
    Result<std::unique_ptr<TraceReader>> reader =
        MakeTableReader(std::move(source), path, *chosen->layout);
    if (!reader) return Fail(std::move(reader.error()));
    trace.reader = std::move(*reader);
  } else if (chosen->format == TraceFormat::kArc) {
    trace.reader = MakeArcReader(std::move(source), path);
  } else if (chosen->format == TraceFormat::kOracleGeneral) {
    trace.reader = MakeOracleReader(std::move(source), path);
  } else {
    const bool certain = options.format == TraceFormat::kText;
    trace.reader = MakeTextReader(
        std::move(source), path,
        certain ? TextKeys::kAnyLine : TextKeys::kWithoutSeparator);
  }
  return trace;
}

Result<Trace> LoadTrace(const std::string& path, const LoadOptions& options) {
  Result<OpenedTrace> opened = OpenTrace(path, options);
  if (!opened) return Fail(std::move(opened.error()));
  TraceReader& reader = *opened->reader;
  Builder builder;
  Trace& trace = builder.trace();
  while (trace.requests.size() < options.request_count_max) {
    Result<std::optional<TraceRow>> row = reader.Next();
    if (!row) {
      if (row.error().code() != StatusCode::kParseError ||
          trace.bad_row_count >= options.skip_bad_count_max) {
        return Fail(std::move(row.error()));
      }
      if (trace.bad_row_count++ == 0) {
        trace.first_bad_row = row.error().message();
      }
      continue;
    }
    if (!row->has_value()) break;
    if (trace.requests.size() == kTraceRequestCountMax) {
      return Fail(Status::OutOfRange(path + ": more requests than " +
                                     std::to_string(kTraceRequestCountMax)));
    }
    LARDER_FAIL_IF_ERROR(builder.Add(**row));
    if (reader.has_costs()) builder.AddCost((*row)->cost);
  }
  if (trace.requests.empty()) {
    return Fail(Status::ParseError(path + ": expected requests, got none"));
  }
  trace.name = NameOf(path);
  trace.path = path;
  trace.left_out_row_count = reader.left_out();
  trace.content = reader.content();
  trace.content.compression = opened->compression;
  return builder.Finish();
}

std::vector<std::uint32_t> NextAccesses(const Trace& trace) {
  std::vector<std::uint32_t> next(trace.requests.size(), kNeverAgain);
  std::vector<std::uint32_t> last(trace.key_hashes.size(), kNeverAgain);
  for (std::size_t i = trace.requests.size(); i-- > 0;) {
    const TraceRequest& request = trace.requests[i];
    next[i] = last[request.key];
    last[request.key] = request.op() == TraceOp::kDelete
                            ? kNeverAgain
                            : static_cast<std::uint32_t>(i);
  }
  return next;
}

}  // namespace larder::replay
