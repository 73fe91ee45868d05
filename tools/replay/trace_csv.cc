#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "trace_reader.h"

// CSV traces: fields without quotes, since keys are ids or are escaped by
// TraceWriter. A header names the columns, in any order; `key` is required,
// unknown columns are ignored. Without a header the order is the documented
// one. Every number has a bound that the simulator relies on.

namespace larder::replay {
namespace {

enum Column : std::size_t {
  kTime,
  kKey,
  kSize,
  kOp,
  kTtl,
  kCost,
  kColumnCount,
};
constexpr std::array<std::string_view, kColumnCount> kColumnNames = {
    "time_ms", "key", "size", "op", "ttl_s", "cost"};
constexpr std::size_t kFieldCountMax = 64;
constexpr std::size_t kAbsent = ~std::size_t{0};

/// Splits at commas; fields beyond kFieldCountMax are counted, not kept.
struct Fields {
  std::array<std::string_view, kFieldCountMax> at;
  std::size_t count = 0;

  explicit Fields(std::string_view line) {
    for (;;) {
      const std::size_t comma = line.find(',');
      if (count < kFieldCountMax) at[count] = line.substr(0, comma);
      ++count;
      if (comma == std::string_view::npos) return;
      line.remove_prefix(comma + 1);
    }
  }
};

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

class CsvReader final : public TraceReader {
 public:
  CsvReader(BufferedSource source, std::string path)
      : source_(std::move(source)), path_(std::move(path)) {}

  /// Takes the header if there is one.
  Status ReadHeader() {
    const std::string_view window = source_.Peek(kHeaderSizeBytesMax);
    const std::string_view line = window.substr(0, window.find('\n'));
    columns_ = {0, 1, 2, 3, 4, kAbsent};
    field_count_ = 5;
    const bool numbers = !line.empty() && (line[0] >= '0' && line[0] <= '9');
    if (numbers || line.empty()) return Status::Ok();
    Result<BufferedSource::Line> header = source_.NextLine();
    if (!header) return std::move(header.error());
    return TakeHeader(header->text);
  }

  Result<std::optional<TraceRow>> Next() override {
    Result<BufferedSource::Line> line = source_.NextLine();
    if (!line) return Fail(std::move(line.error()));
    if (line->end) return std::nullopt;
    if (line->too_long) {
      return Fail(Bad(
          "a line of at most " + std::to_string(kLineSizeBytesMax) + " bytes",
          line->text));
    }
    const Fields fields(line->text);
    if (fields.count != field_count_) {
      return Fail(BadCount(std::to_string(field_count_) + " fields",
                           fields.count, line->text));
    }
    return ParseRow(fields);
  }

  TraceFormat format() const noexcept override { return TraceFormat::kCsv; }
  bool has_costs() const noexcept override {
    return columns_[kCost] != kAbsent;
  }

 private:
  static constexpr std::size_t kHeaderSizeBytesMax = 4096;

  Status TakeHeader(std::string_view line) {
    const Fields fields(line);
    if (fields.count > kFieldCountMax) {
      return BadCount("at most 64 columns", fields.count, line);
    }
    columns_.fill(kAbsent);
    field_count_ = fields.count;
    for (std::size_t i = 0; i < fields.count; ++i) {
      const auto* name = std::ranges::find(kColumnNames, fields.at[i]);
      if (name == kColumnNames.end()) continue;
      columns_[static_cast<std::size_t>(name - kColumnNames.begin())] = i;
    }
    if (columns_[kKey] == kAbsent) {
      return Bad("a header with a column \"key\"", line);
    }
    return Status::Ok();
  }

  [[nodiscard]] Status Bad(const std::string& expected,
                           std::string_view got) const {
    return Status::ParseError(Where() + ": expected " + expected + ", got " +
                              Quote(got));
  }
  [[nodiscard]] Status BadCount(const std::string& expected, std::size_t count,
                                std::string_view line) const {
    return Status::ParseError(Where() + ": expected " + expected + ", got " +
                              std::to_string(count) + " in " + Quote(line));
  }
  [[nodiscard]] std::string Where() const {
    return path_ + ":" + std::to_string(source_.line_number());
  }

  [[nodiscard]] Result<std::optional<TraceRow>> ParseRow(
      const Fields& fields) const {
    const Result<std::uint64_t> time =
        Number(fields, kTime, kTraceTimeMsMax, 0);
    if (!time) return Fail(time.error());
    const Result<std::uint64_t> size =
        Number(fields, kSize, kTraceSizeBytesMax, 1);
    if (!size) return Fail(size.error());
    const Result<std::uint64_t> ttl = Number(fields, kTtl, 1ULL << 53, 0);
    if (!ttl) return Fail(ttl.error());
    const Result<TraceOp> op = Op(fields);
    if (!op) return Fail(op.error());
    const Result<float> cost = Cost(fields);
    if (!cost) return Fail(cost.error());
    return TraceRow{.time_ms = *time,
                    .key_hash = HashKey(fields.at[columns_[kKey]]),
                    .size_bytes = *size,
                    .ttl_s = static_cast<std::uint32_t>(
                        std::min<std::uint64_t>(*ttl, kTraceTtlSecondsMax)),
                    .op = *op,
                    .cost = *cost};
  }

  [[nodiscard]] Result<std::uint64_t> Number(const Fields& fields,
                                             Column column, std::uint64_t max,
                                             std::uint64_t absent) const {
    if (columns_[column] == kAbsent) return absent;
    const std::string_view text = fields.at[columns_[column]];
    const auto value = ParseNumber<std::uint64_t>(text);
    if (value && *value <= max) return *value;
    return Fail(Bad(std::string(kColumnNames[column]) +
                        " as a whole number from 0 to " + std::to_string(max),
                    text));
  }

  [[nodiscard]] Result<float> Cost(const Fields& fields) const {
    if (columns_[kCost] == kAbsent) return 1.0F;
    const std::string_view text = fields.at[columns_[kCost]];
    const auto value = ParseNumber<float>(text);
    if (value && *value >= 0 && *value <= 1e15F) return *value;
    return Fail(Bad("cost as a number from 0 to 1e15", text));
  }

  [[nodiscard]] Result<TraceOp> Op(const Fields& fields) const {
    if (columns_[kOp] == kAbsent) return TraceOp::kGet;
    const std::string_view text = fields.at[columns_[kOp]];
    if (text == "get") return TraceOp::kGet;
    if (text == "set") return TraceOp::kSet;
    if (text == "delete") return TraceOp::kDelete;
    return Fail(Bad("op get, set or delete", text));
  }

  BufferedSource source_;
  std::string path_;
  /// Field of each column; kAbsent if the file has it not.
  std::array<std::size_t, kColumnCount> columns_{};
  std::size_t field_count_ = 0;
};

}  // namespace

bool LooksLikeCsv(std::string_view line) {
  const Fields fields(line);
  if (fields.count > kFieldCountMax) return false;
  const auto* end = fields.at.begin() + fields.count;
  if (std::find(fields.at.begin(), end, "key") != end) return true;
  return fields.count == 5 && ParseNumber<std::uint64_t>(fields.at[0]) &&
         ParseNumber<std::uint64_t>(fields.at[2]) &&
         ParseNumber<std::uint64_t>(fields.at[4]);
}

Result<std::unique_ptr<TraceReader>> MakeCsvReader(BufferedSource source,
                                                   const std::string& path) {
  auto reader = std::make_unique<CsvReader>(std::move(source), path);
  LARDER_FAIL_IF_ERROR(reader->ReadHeader());
  return reader;
}

}  // namespace larder::replay
