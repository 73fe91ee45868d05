#include "trace_reader.h"

#include <algorithm>
#include <array>
#include <utility>

#include <xxhash.h>

#include "key_index.h"

// Telling formats apart, and loading a trace for replay. Keys are known by
// their XXH3 hash from here on, and numbered densely so that simulators index
// arrays instead of hashing.

namespace larder::replay {
namespace {

constexpr std::array<std::string_view, 4> kFormatNames = {
    "detect", "csv", "oracleGeneral", "text"};
constexpr std::size_t kDetectSizeBytes = 4096;

TraceFormat Detect(std::string_view head) noexcept {
  const bool binary = std::ranges::any_of(head, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r';
  });
  if (binary) return TraceFormat::kOracleGeneral;
  std::string_view line = head.substr(0, head.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return LooksLikeCsv(line) ? TraceFormat::kCsv : TraceFormat::kText;
}

std::string NameOf(const std::string& path) {
  std::string name = path.substr(path.find_last_of('/') + 1);
  for (const std::string_view suffix :
       {".zst", ".gz", ".xz", ".csv", ".oracleGeneral", ".bin", ".txt"}) {
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
  for (std::size_t i = 0; i < kFormatNames.size(); ++i) {
    if (kFormatNames[i] == name) return static_cast<TraceFormat>(i);
  }
  return Fail(
      Status::InvalidArgument("trace format " + Quote(name) +
                              ": expected detect, csv, oracleGeneral or text"));
}

std::string_view TraceFormatName(TraceFormat format) noexcept {
  return kFormatNames[static_cast<std::size_t>(format)];
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

Result<std::unique_ptr<TraceReader>> OpenTrace(const std::string& path,
                                               TraceFormat format) {
  Result<OpenedSource> opened = OpenByteSource(path);
  if (!opened) return Fail(std::move(opened.error()));
  BufferedSource source(std::move(opened->bytes));
  if (format == TraceFormat::kDetect) {
    format = Detect(source.Peek(kDetectSizeBytes).substr(0, kDetectSizeBytes));
  }
  if (format == TraceFormat::kCsv) {
    return MakeCsvReader(std::move(source), path);
  }
  if (format == TraceFormat::kText) {
    return MakeTextReader(std::move(source), path);
  }
  return MakeOracleReader(std::move(source), path);
}

Result<Trace> LoadTrace(const std::string& path, const LoadOptions& options) {
  Result<std::unique_ptr<TraceReader>> reader = OpenTrace(path, options.format);
  if (!reader) return Fail(std::move(reader.error()));
  Builder builder;
  Trace& trace = builder.trace();
  while (trace.requests.size() < options.request_count_max) {
    Result<std::optional<TraceRow>> row = (*reader)->Next();
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
    if ((*reader)->has_costs()) builder.AddCost((*row)->cost);
  }
  if (trace.requests.empty()) {
    return Fail(Status::ParseError(path + ": expected requests, got none"));
  }
  trace.name = NameOf(path);
  trace.path = path;
  trace.left_out_row_count = (*reader)->left_out();
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
