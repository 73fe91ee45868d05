#include "trace_row.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace larder::replay {
namespace {

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

/// A unit of time: a millisecond is `per_ms` of it, or it is `ms` of them.
struct UnitSize {
  std::string_view suffix;
  std::uint64_t ms = 1;
  std::uint64_t per_ms = 1;
};

UnitSize SizeOf(TimeUnit unit) noexcept {
  switch (unit) {
    case TimeUnit::kMilliseconds:
      return {.suffix = "_ms"};
    case TimeUnit::kMicroseconds:
      return {.suffix = "_us", .per_ms = 1000};
    case TimeUnit::kNanoseconds:
      return {.suffix = "_ns", .per_ms = 1'000'000};
    case TimeUnit::kSeconds:
      return {.suffix = "_s", .ms = 1000};
    case TimeUnit::kUnknown:
      break;
  }
  return {.suffix = "", .ms = 1000};
}

/// Seconds may have a fraction ("12.345"), of which milliseconds are kept.
std::optional<std::uint64_t> ParseSeconds(std::string_view text) {
  const std::size_t point = text.find('.');
  const auto whole = ParseNumber<std::uint64_t>(text.substr(0, point));
  if (!whole || *whole > kTraceTimeMsMax / 1000) return std::nullopt;
  std::uint64_t ms = 0;
  if (point != std::string_view::npos) {
    std::string fraction(text.substr(point + 1));
    if (fraction.empty() ||
        fraction.find_first_not_of("0123456789") != std::string::npos) {
      return std::nullopt;
    }
    fraction.resize(3, '0');
    ms = ParseNumber<std::uint64_t>(fraction).value_or(0);
  }
  return *whole * 1000 + ms;
}

struct OpWord {
  std::string_view word;
  TraceOp op;
};

constexpr std::array kCommandWords = {
    OpWord{"get", TraceOp::kGet},       OpWord{"gets", TraceOp::kGet},
    OpWord{"read", TraceOp::kGet},      OpWord{"set", TraceOp::kSet},
    OpWord{"add", TraceOp::kSet},       OpWord{"replace", TraceOp::kSet},
    OpWord{"cas", TraceOp::kSet},       OpWord{"append", TraceOp::kSet},
    OpWord{"prepend", TraceOp::kSet},   OpWord{"incr", TraceOp::kSet},
    OpWord{"decr", TraceOp::kSet},      OpWord{"write", TraceOp::kSet},
    OpWord{"delete", TraceOp::kDelete},
};
/// READ and WRITE of 6, 10, 12 and 16 bytes.
constexpr std::array kScsiWords = {
    OpWord{"08", TraceOp::kGet}, OpWord{"28", TraceOp::kGet},
    OpWord{"88", TraceOp::kGet}, OpWord{"a8", TraceOp::kGet},
    OpWord{"0a", TraceOp::kSet}, OpWord{"2a", TraceOp::kSet},
    OpWord{"8a", TraceOp::kSet}, OpWord{"aa", TraceOp::kSet},
};

bool SameWord(std::string_view text, std::string_view lower) noexcept {
  return std::ranges::equal(text, lower, [](char a, char b) {
    return a == b || (a >= 'A' && a <= 'Z' && a - 'A' + 'a' == b);
  });
}

template <typename Words>
std::optional<TraceOp> FindOp(const Words& words, std::string_view text) {
  for (const OpWord& word : words) {
    if (SameWord(text, word.word)) return word.op;
  }
  return std::nullopt;
}

}  // namespace

RowParser::RowParser(const TableLayout& layout) : layout_(layout) {
  places_.fill(kAbsent);
  for (std::size_t i = 0; i < layout_.columns.size(); ++i) {
    const std::optional<TraceColumn>& column = layout_.columns[i];
    if (!column) continue;
    places_[static_cast<std::size_t>(column->role)] = i;
    units_[static_cast<std::size_t>(column->role)] = column->unit;
  }
}

std::optional<RowParser::Fault> RowParser::Split(std::string_view line) {
  if (!fields_.Split(line, layout_.separator, layout_.quotes)) {
    return Fault{"a quote that ends before the next separator", Quote(line)};
  }
  const std::size_t expected = layout_.columns.size();
  if (layout_.separators_in_key && fields_.count() > expected &&
      fields_.count() <= kColumnCountMax) {
    fields_.Merge(1, expected);
  }
  if (fields_.count() == expected) return std::nullopt;
  if (layout_.more_fields && fields_.count() > expected) return std::nullopt;
  return Fault{(layout_.more_fields ? "at least " : "") +
                   std::to_string(expected) +
                   (expected == 1 ? " field" : " fields"),
               std::to_string(fields_.count()) + " in " + Quote(line)};
}

auto RowParser::Parse(std::string_view line) -> tl::expected<TraceRow, Fault> {
  if (std::optional<Fault> fault = Split(line)) {
    return tl::unexpected(std::move(*fault));
  }
  Parsed<std::uint64_t> time = Time();
  if (!time) return tl::unexpected(std::move(time.error()));
  Parsed<std::uint64_t> size = Size();
  if (!size) return tl::unexpected(std::move(size.error()));
  Parsed<std::uint32_t> ttl = Ttl();
  if (!ttl) return tl::unexpected(std::move(ttl.error()));
  Parsed<TraceOp> op = Op();
  if (!op) return tl::unexpected(std::move(op.error()));
  Parsed<float> cost = Cost();
  if (!cost) return tl::unexpected(std::move(cost.error()));
  const std::size_t key = places_[static_cast<std::size_t>(ColumnRole::kKey)];
  return TraceRow{.time_ms = *time,
                  .key_hash = HashKey(fields_.at(key)),
                  .size_bytes = *size,
                  .ttl_s = *ttl,
                  .op = *op,
                  .cost = *cost};
}

bool RowParser::Fits(ColumnRole role) const {
  switch (role) {
    case ColumnRole::kTime:
      return Time().has_value();
    case ColumnRole::kSize:
      return Size().has_value();
    case ColumnRole::kOp:
      return Op().has_value();
    case ColumnRole::kTtl:
      return Ttl().has_value();
    case ColumnRole::kCost:
      return Cost().has_value();
    case ColumnRole::kKey:
      break;
  }
  return true;
}

std::string_view RowParser::Text(ColumnRole role) const {
  std::string_view text = fields_.at(places_[static_cast<std::size_t>(role)]);
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

auto RowParser::Time() const -> Parsed<std::uint64_t> {
  if (!has(ColumnRole::kTime)) return 0;
  const TimeUnit unit = units_[static_cast<std::size_t>(ColumnRole::kTime)];
  const UnitSize size = SizeOf(unit);
  const std::string_view text = Text(ColumnRole::kTime);
  if (size.ms == 1000) {
    if (const auto ms = ParseSeconds(text)) return *ms;
  } else {
    const auto value = ParseNumber<std::uint64_t>(text);
    if (value && *value / size.per_ms <= kTraceTimeMsMax) {
      return *value / size.per_ms;
    }
  }
  return tl::unexpected(
      Fault{"time" + std::string(size.suffix) +
                (size.ms == 1000 ? " as a number from 0 to "
                                 : " as a whole number from 0 to ") +
                std::to_string(kTraceTimeMsMax / size.ms * size.per_ms),
            Quote(text)});
}

auto RowParser::Size() const -> Parsed<std::uint64_t> {
  if (!has(ColumnRole::kSize)) return 1;
  const std::string_view text = Text(ColumnRole::kSize);
  const auto value = ParseNumber<std::uint64_t>(text);
  if (value && *value <= kTraceSizeBytesMax) return *value;
  return tl::unexpected(Fault{
      "size as a whole number from 0 to " + std::to_string(kTraceSizeBytesMax),
      Quote(text)});
}

auto RowParser::Ttl() const -> Parsed<std::uint32_t> {
  if (!has(ColumnRole::kTtl)) return 0;
  constexpr std::uint64_t kMax = 1ULL << 53;
  const TimeUnit unit = units_[static_cast<std::size_t>(ColumnRole::kTtl)];
  const std::string_view text = Text(ColumnRole::kTtl);
  const auto value = ParseNumber<std::uint64_t>(text);
  if (!value || *value > kMax) {
    return tl::unexpected(Fault{"ttl" + std::string(SizeOf(unit).suffix) +
                                    " as a whole number from 0 to " +
                                    std::to_string(kMax),
                                Quote(text)});
  }
  // Rounded up: 0 would be for ever.
  const std::uint64_t seconds =
      unit == TimeUnit::kMilliseconds ? (*value + 999) / 1000 : *value;
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(seconds, kTraceTtlSecondsMax));
}

auto RowParser::Op() const -> Parsed<TraceOp> {
  if (!has(ColumnRole::kOp)) return TraceOp::kGet;
  const std::string_view text = Text(ColumnRole::kOp);
  if (layout_.ops == OpWords::kScsi) {
    if (const auto op = FindOp(kScsiWords, text)) return *op;
    return tl::unexpected(Fault{
        "op 08, 28, 88 or a8 (reads), 0a, 2a, 8a or aa (writes)", Quote(text)});
  }
  if (const auto op = FindOp(kCommandWords, text)) return *op;
  return tl::unexpected(Fault{"op get, set or delete", Quote(text)});
}

auto RowParser::Cost() const -> Parsed<float> {
  if (!has(ColumnRole::kCost)) return 1.0F;
  const std::string_view text = Text(ColumnRole::kCost);
  const auto value = ParseNumber<float>(text);
  if (value && *value >= 0 && *value <= 1e15F) return *value;
  return tl::unexpected(Fault{"cost as a number from 0 to 1e15", Quote(text)});
}

}  // namespace larder::replay
