#include "base/text_units.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <utility>

#include "larder/engine/settings.h"

/// Sizes and durations as people write them.
///
/// Always: what Format* gives, Parse* takes back to the same number, for every
/// 64-bit number; and no text overflows silently.

namespace larder {
namespace internal {
namespace {

__extension__ using Uint128 = unsigned __int128;

constexpr std::size_t kQuotedSizeMax = 60;
constexpr int kFractionDigitCountMax = 18;

bool IsDigit(char c) noexcept { return c >= '0' && c <= '9'; }
bool IsSpace(char c) noexcept { return c == ' ' || c == '\t'; }

}  // namespace

std::string QuoteForMessage(std::string_view text) {
  const bool cut = text.size() > kQuotedSizeMax;
  std::string quoted = "\"";
  for (const char c : text.substr(0, kQuotedSizeMax)) {
    quoted += c >= ' ' && c <= '~' ? c : '?';
  }
  return quoted + (cut ? "...\"" : "\"");
}

std::string_view TrimSpaces(std::string_view text) noexcept {
  while (!text.empty() && IsSpace(text.front())) {
    text.remove_prefix(1);
  }
  while (!text.empty() && IsSpace(text.back())) {
    text.remove_suffix(1);
  }
  return text;
}

std::optional<std::uint64_t> DecimalNumber::Times(
    std::uint64_t unit) const noexcept {
  const Uint128 product =
      Uint128{whole} * unit + Uint128{fraction} * unit / fraction_scale;
  if (product > std::numeric_limits<std::uint64_t>::max()) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(product);
}

std::optional<DecimalNumber> TakeNumber(std::string_view* text) noexcept {
  DecimalNumber number;
  std::size_t i = 0;
  for (; i < text->size() && IsDigit((*text)[i]); ++i) {
    const auto digit = static_cast<unsigned>((*text)[i] - '0');
    if (__builtin_mul_overflow(number.whole, 10U, &number.whole) ||
        __builtin_add_overflow(number.whole, digit, &number.whole)) {
      return std::nullopt;
    }
  }
  const std::size_t whole_digit_count = i;
  if (i < text->size() && (*text)[i] == '.') {
    ++i;
    const std::size_t begin = i;
    for (; i < text->size() && IsDigit((*text)[i]); ++i) {
      const auto digit = static_cast<unsigned>((*text)[i] - '0');
      number.has_fraction = number.has_fraction || digit != 0;
      if (i - begin < kFractionDigitCountMax) {
        number.fraction = number.fraction * 10 + digit;
        number.fraction_scale *= 10;
      }
    }
    if (i == begin) {
      return std::nullopt;  // A point needs a digit after it.
    }
  }
  if (whole_digit_count == 0) {
    return std::nullopt;
  }
  text->remove_prefix(i);
  return number;
}

std::string TakeLetters(std::string_view* text) {
  std::string letters;
  while (!text->empty()) {
    const char c = text->front();
    if (c >= 'A' && c <= 'Z') {
      letters += static_cast<char>(c - 'A' + 'a');
    } else if (c >= 'a' && c <= 'z') {
      letters += c;
    } else {
      break;
    }
    text->remove_prefix(1);
  }
  return letters;
}

namespace {

// Optimal string alignment distance, three rows at a time.
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    last[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string_view NearestName(std::string_view name,
                             std::span<const std::string_view> names) {
  std::string_view nearest;
  std::size_t distance_min = std::numeric_limits<std::size_t>::max();
  for (const std::string_view candidate : names) {
    const std::size_t distance =
        EditDistance(name.substr(0, kQuotedSizeMax), candidate);
    if (distance < distance_min) {
      distance_min = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string SuggestionFor(std::string_view name,
                          std::span<const std::string_view> names) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 11>
      kCalledElsewhere{{{"fifo", "least-recently-stored"},
                        {"lru", "least-recently-used"},
                        {"lfu", "least-frequently-used"},
                        {"lfuda", "least-frequently-used"},
                        {"s3fifo", "s3-fifo"},
                        {"second-chance", "clock"},
                        {"gdsf-h", "gdsf-history"},
                        {"auto", "adaptive"},
                        {"fsync", "power"},
                        {"sync", "power"},
                        {"disk", "power"}}};
  std::string_view meant = NearestName(name, names);
  const std::size_t letters = std::max(name.size(), meant.size());
  if (letters > kQuotedSizeMax || 3 * EditDistance(name, meant) > letters) {
    meant = {};
  }
  for (const auto& [alias, known] : kCalledElsewhere) {
    if (alias == name &&
        std::find(names.begin(), names.end(), known) != names.end()) {
      meant = known;
    }
  }
  if (meant.empty() || meant == "none") return {};
  return "; did you mean \"" + std::string(meant) + "\"?";
}

}  // namespace internal

namespace {

using internal::DecimalNumber;
using internal::QuoteForMessage;

struct ByteUnit {
  std::string_view name;
  std::uint64_t bytes;
};

constexpr std::uint64_t Power(std::uint64_t base, int exponent) {
  return exponent == 0 ? 1 : base * Power(base, exponent - 1);
}

// The form that FormatByteCount writes; binary before decimal, so that binary
// wins a tie.
constexpr std::array kByteUnits = {
    ByteUnit{"B", 1},
    ByteUnit{"KiB", Power(1024, 1)},
    ByteUnit{"MiB", Power(1024, 2)},
    ByteUnit{"GiB", Power(1024, 3)},
    ByteUnit{"TiB", Power(1024, 4)},
    ByteUnit{"PiB", Power(1024, 5)},
    ByteUnit{"EiB", Power(1024, 6)},
    ByteUnit{"KB", Power(1000, 1)},
    ByteUnit{"MB", Power(1000, 2)},
    ByteUnit{"GB", Power(1000, 3)},
    ByteUnit{"TB", Power(1000, 4)},
    ByteUnit{"PB", Power(1000, 5)},
    ByteUnit{"EB", Power(1000, 6)},
};

// "" and "b" to 1; "k", "kib" to 1024; "kb" to 1000; and so on.
std::optional<std::uint64_t> BytesOfUnit(std::string_view unit) {
  if (unit.empty() || unit == "b") {
    return 1;
  }
  constexpr std::string_view kPrefixes = "kmgtpe";
  const std::size_t index = kPrefixes.find(unit.front());
  if (index == std::string_view::npos) {
    return std::nullopt;
  }
  const int exponent = static_cast<int>(index) + 1;
  const std::string_view rest = unit.substr(1);
  if (rest.empty() || rest == "ib") {
    return Power(1024, exponent);
  }
  return rest == "b" ? std::optional(Power(1000, exponent)) : std::nullopt;
}

struct DurationUnit {
  std::string_view name;
  std::uint64_t microseconds;
};

constexpr std::uint64_t kSecond = 1'000'000;
// From long to short: the order in which a text names them.
constexpr std::array kDurationUnits = {
    DurationUnit{"w", 7 * 24 * 3600 * kSecond},
    DurationUnit{"d", 24 * 3600 * kSecond},
    DurationUnit{"h", 3600 * kSecond},
    DurationUnit{"m", 60 * kSecond},
    DurationUnit{"s", kSecond},
    DurationUnit{"ms", 1000},
    DurationUnit{"us", 1},
};

tl::unexpected<Status> BadDuration(std::string_view text,
                                   std::string_view why) {
  return Fail(Status::ParseError(
      QuoteForMessage(text) + " is not a duration (" + std::string(why) +
      "): expected like 90, 1.5, 250ms, 10s, 1h30m, 7d or 2w"));
}

// The magnitude, as parts like "1h" "30m" in falling order of unit, or one
// plain number of seconds. On failure the error says why.
tl::expected<std::uint64_t, std::string_view> ParseMagnitude(
    std::string_view rest) {
  std::uint64_t sum = 0;
  bool nonzero = false;
  std::size_t unit_begin = 0;
  for (bool first = true; first || !rest.empty(); first = false) {
    const std::optional<DecimalNumber> number = internal::TakeNumber(&rest);
    if (!number) {
      return tl::unexpected<std::string_view>("a number is missing or too big");
    }
    nonzero = nonzero || number->whole != 0 || number->has_fraction;
    const std::string name = internal::TakeLetters(&rest);
    rest = internal::TrimSpaces(rest);
    std::uint64_t unit = kSecond;
    if (!name.empty()) {
      const auto* const found = std::find_if(
          kDurationUnits.begin() + unit_begin, kDurationUnits.end(),
          [&](const DurationUnit& u) { return u.name == name; });
      if (found == kDurationUnits.end()) {
        return tl::unexpected<std::string_view>(
            "units are w, d, h, m, s, ms, us, each once and in this order");
      }
      unit = found->microseconds;
      unit_begin = static_cast<std::size_t>(found - kDurationUnits.begin()) + 1;
    } else if (!first || !rest.empty()) {
      return tl::unexpected<std::string_view>("a unit is missing");
    }
    const std::optional<std::uint64_t> part = number->Times(unit);
    if (!part || __builtin_add_overflow(sum, *part, &sum)) {
      return tl::unexpected<std::string_view>("too long");
    }
  }
  if (nonzero && sum == 0) {
    return tl::unexpected<std::string_view>("shorter than a microsecond");
  }
  return sum;
}

}  // namespace

Result<std::uint64_t> ParseByteCount(std::string_view text) {
  const auto fail = [text](std::string_view why) {
    return Fail(Status::ParseError(
        QuoteForMessage(text) + " is not a size (" + std::string(why) +
        "): expected like 1536, 4k, 64MiB, 1.5GiB or 10MB"));
  };
  std::string_view rest = internal::TrimSpaces(text);
  const std::optional<DecimalNumber> number = internal::TakeNumber(&rest);
  if (!number) {
    return fail("it has no number at its head, or one too big");
  }
  rest = internal::TrimSpaces(rest);
  const std::optional<std::uint64_t> unit =
      BytesOfUnit(internal::TakeLetters(&rest));
  if (!unit || !rest.empty()) {
    return fail("unknown unit");
  }
  const std::optional<std::uint64_t> bytes = number->Times(*unit);
  if (!bytes) {
    return fail("over 64 bits");
  }
  if (*bytes == 0 && number->has_fraction) {
    return fail("less than a byte");
  }
  return *bytes;
}

std::string FormatByteCount(std::uint64_t bytes) {
  std::string shortest = std::to_string(bytes) + "B";
  if (bytes == 0) {
    return shortest;
  }
  for (const ByteUnit& unit : kByteUnits) {
    if (bytes % unit.bytes != 0) {
      continue;
    }
    std::string text =
        std::to_string(bytes / unit.bytes) + std::string(unit.name);
    if (text.size() < shortest.size()) {
      shortest = std::move(text);
    }
  }
  return shortest;
}

Result<Duration> ParseDuration(std::string_view text) {
  std::string_view rest = internal::TrimSpaces(text);
  const bool negative = !rest.empty() && rest.front() == '-';
  if (!rest.empty() && (rest.front() == '-' || rest.front() == '+')) {
    rest.remove_prefix(1);
  }
  const auto magnitude = ParseMagnitude(rest);
  if (!magnitude) {
    return BadDuration(text, magnitude.error());
  }
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  if (*magnitude > kMax + (negative ? 1 : 0)) {
    return BadDuration(text, "too long");
  }
  const std::uint64_t bits = negative ? 0 - *magnitude : *magnitude;
  return Duration(static_cast<std::int64_t>(bits));
}

std::string FormatDuration(Duration duration) {
  const bool negative = duration.count() < 0;
  auto rest = static_cast<std::uint64_t>(duration.count());
  rest = negative ? 0 - rest : rest;
  std::string text = negative ? "-" : "";
  if (rest < kSecond && rest != 0) {
    return text + (rest % 1000 == 0 ? std::to_string(rest / 1000) + "ms"
                                    : std::to_string(rest) + "us");
  }
  if (rest == 0) {
    return "0s";
  }
  for (const DurationUnit& unit : kDurationUnits) {
    if (unit.name == "w" || unit.microseconds < 60 * kSecond ||
        rest < unit.microseconds) {
      continue;  // "14d" reads better than "2w"; seconds come below.
    }
    text += std::to_string(rest / unit.microseconds) + std::string(unit.name);
    rest %= unit.microseconds;
  }
  if (rest == 0) {
    return text;
  }
  text += std::to_string(rest / kSecond);
  if (rest % kSecond != 0) {
    std::string fraction = std::to_string(kSecond + rest % kSecond);
    fraction[0] = '.';
    fraction.erase(fraction.find_last_not_of('0') + 1);
    text += fraction;
  }
  return text + "s";
}

}  // namespace larder
