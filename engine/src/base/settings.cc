#include "larder/engine/settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <span>
#include <utility>
#include <variant>

#include "larder/engine/limits.h"
#include "larder/engine/policy.h"

#include "base/stored_setting.h"
#include "base/text_units.h"

/// Every setting is one row of a table: its name, what it is for, and a field
/// that knows the member, the text form and the bounds. A new setting is a
/// member of Settings, a row here and a line in docs/settings.md.
///
/// Always: 1. The rows are in the order of the struct.
///         2. WithSetting returns only what ValidateSettings accepts, if it
///            was given such.
///         3. WithSetting(s, n, FormatSetting(s, n)) == s.

namespace larder {
namespace {

using internal::QuoteForMessage;

constexpr std::uint64_t kByteCountMax = 1ULL << 60;
constexpr std::uint64_t kItemCountMax = 1ULL << 60;
constexpr Duration kTtlMax = std::chrono::hours(24) * 36500;
constexpr std::uint64_t kLargeValueMinLowest = 256;
constexpr std::uint64_t kInlineValueMaxHighest = 4096;

struct ByteCountField {
  std::uint64_t Settings::*member;
  std::uint64_t min;
  std::uint64_t max;
};
struct CountField {
  std::uint64_t Settings::*member;
  std::uint64_t max;
};
struct DurationField {
  Duration Settings::*member;
  Duration max;
};
struct PolicyField {
  std::string Settings::*member;
};
struct ChoiceField {
  std::span<const std::string_view> names;  // By the enumerator's number.
  std::uint8_t (*get)(const Settings&);
  void (*set)(Settings*, std::uint8_t);
};

template <auto kMember>
constexpr ChoiceField Choice(std::span<const std::string_view> names) {
  using Enum = std::remove_cvref_t<decltype(std::declval<Settings>().*kMember)>;
  return {names,
          [](const Settings& settings) {
            return static_cast<std::uint8_t>(settings.*kMember);
          },
          [](Settings* settings, std::uint8_t value) {
            settings->*kMember = static_cast<Enum>(value);
          }};
}

using Field = std::variant<ByteCountField, CountField, DurationField,
                           PolicyField, ChoiceField>;

struct Descriptor {
  std::string_view name;
  std::string_view description;
  Field field;
};

constexpr std::array<std::string_view, 3> kObjectiveNames = {"objects", "bytes",
                                                             "cost"};
constexpr std::array<std::string_view, 2> kWhenFullNames = {"evict", "fail"};
constexpr std::array<std::string_view, 3> kDurabilityNames = {"none", "process",
                                                              "power"};
constexpr std::array<std::string_view, 3> kCompressionNames = {"none", "lz4",
                                                               "zstd"};
constexpr std::array<std::string_view, 2> kVerifyReadsNames = {"always",
                                                               "once"};
constexpr std::array<std::string_view, 2> kReadModeNames = {"map", "pread"};
constexpr std::array<std::string_view, 2> kNoYesNames = {"no", "yes"};

constexpr std::array kDescriptors = {
    Descriptor{"size_limit", "physical bytes of the whole directory",
               ByteCountField{&Settings::size_limit, kSizeLimitBytesMin,
                              kByteCountMax}},
    Descriptor{"min_free_bytes",
               "free space to leave on the file system; 0 = off",
               ByteCountField{&Settings::min_free_bytes, 0, kByteCountMax}},
    Descriptor{"item_count_limit", "most live items; 0 = no limit",
               CountField{&Settings::item_count_limit, kItemCountMax}},
    Descriptor{"item_size_limit", "largest value; 0 = no limit but size_limit",
               ByteCountField{&Settings::item_size_limit, 0, kByteCountMax}},
    Descriptor{"policy", "which items are evicted first",
               PolicyField{&Settings::policy}},
    Descriptor{"objective",
               "what the policy tries to save: objects, bytes or cost",
               Choice<&Settings::objective>(kObjectiveNames)},
    Descriptor{"when_full",
               "what a full cache does with a new item: evict "
               "others or fail",
               Choice<&Settings::when_full>(kWhenFullNames)},
    Descriptor{"durability",
               "what an acknowledged write survives: none, process death or "
               "power failure",
               Choice<&Settings::durability>(kDurabilityNames)},
    Descriptor{"default_ttl",
               "time to live of an item stored without one; "
               "0s = for ever",
               DurationField{&Settings::default_ttl, kTtlMax}},
    Descriptor{"large_value_min", "values from this size go to segment files",
               ByteCountField{&Settings::large_value_min, kLargeValueMinLowest,
                              kChunkSizeBytesMax}},
    Descriptor{
        "inline_value_max",
        "values up to this size are kept in the index entry",
        ByteCountField{&Settings::inline_value_max, 0, kInlineValueMaxHighest}},
    Descriptor{"compression", "how values are compressed: none, lz4 or zstd",
               Choice<&Settings::compression>(kCompressionNames)},
    Descriptor{
        "compression_min", "smaller values are not compressed",
        ByteCountField{&Settings::compression_min, 0, kValueInMemoryBytesMax}},
    Descriptor{"verify_reads",
               "when checksums of large values are compared: always, or once "
               "while they stay in memory",
               Choice<&Settings::verify_reads>(kVerifyReadsNames)},
    Descriptor{
        "read_mode",
        "how large values are read: map, without a copy, or pread, which "
        "outlives files that others cut",
        Choice<&Settings::read_mode>(kReadModeNames)},
    Descriptor{"scan_hold_max",
               "what open scans may hold of removed segments; 0 = size_limit",
               ByteCountField{&Settings::scan_hold_max, 0, kByteCountMax}},
    Descriptor{"scan_hold_counts",
               "whether that counts in size_limit: no or yes",
               Choice<&Settings::scan_hold_counts>(kNoYesNames)},
};

std::string Join(std::span<const std::string_view> names) {
  std::string text;
  for (const std::string_view name : names) {
    text += text.empty() ? "" : ", ";
    text += name;
  }
  return text;
}

const Descriptor* FindDescriptor(std::string_view name) {
  const auto* const found =
      std::find_if(kDescriptors.begin(), kDescriptors.end(),
                   [name](const Descriptor& d) { return d.name == name; });
  return found == kDescriptors.end() ? nullptr : found;
}

Status UnknownSetting(std::string_view name) {
  std::array<std::string_view, kDescriptors.size()> names;
  std::transform(kDescriptors.begin(), kDescriptors.end(), names.begin(),
                 [](const Descriptor& d) { return d.name; });
  return Status::InvalidArgument(
      "unknown setting " + QuoteForMessage(name) + "; did you mean \"" +
      std::string(internal::NearestName(name, names)) + "\"?");
}

// Checks that `value` is one of `names`; the error may suggest one.
Status CheckName(std::string_view value,
                 std::span<const std::string_view> names) {
  if (std::find(names.begin(), names.end(), value) != names.end()) {
    return Status::Ok();
  }
  return Status::InvalidArgument(QuoteForMessage(value) + " is not one of " +
                                 Join(names) +
                                 internal::SuggestionFor(value, names));
}

template <typename T>
Status CheckBounds(std::string_view name, T value, T min, T max,
                   std::string (*format)(T)) {
  if (value < min) {
    return Status::InvalidArgument(std::string(name) + ": " + format(value) +
                                   " is below the minimum " + format(min));
  }
  if (value > max) {
    return Status::InvalidArgument(std::string(name) + ": " + format(value) +
                                   " is above the maximum " + format(max));
  }
  return Status::Ok();
}

std::string FormatCount(std::uint64_t count) { return std::to_string(count); }

// Text of a field ------------------------------------------------------------

std::string Format(const ByteCountField& field, const Settings& settings) {
  return FormatByteCount(settings.*field.member);
}
std::string Format(const CountField& field, const Settings& settings) {
  return FormatCount(settings.*field.member);
}
std::string Format(const DurationField& field, const Settings& settings) {
  return FormatDuration(settings.*field.member);
}
std::string Format(const PolicyField& field, const Settings& settings) {
  return settings.*field.member;
}
std::string Format(const ChoiceField& field, const Settings& settings) {
  const std::uint8_t value = field.get(settings);
  return value < field.names.size() ? std::string(field.names[value])
                                    : std::to_string(value);
}

// Bounds of a field ----------------------------------------------------------

Status Check(std::string_view name, const ByteCountField& field,
             const Settings& settings) {
  return CheckBounds(name, settings.*field.member, field.min, field.max,
                     FormatByteCount);
}
Status Check(std::string_view name, const CountField& field,
             const Settings& settings) {
  return CheckBounds(name, settings.*field.member, std::uint64_t{0}, field.max,
                     FormatCount);
}
Status Check(std::string_view name, const DurationField& field,
             const Settings& settings) {
  return CheckBounds(name, settings.*field.member, Duration::zero(), field.max,
                     FormatDuration);
}
Status Check(std::string_view name, const PolicyField& field,
             const Settings& settings) {
  const std::vector<std::string> owned = PolicyNames();
  const std::vector<std::string_view> names(owned.begin(), owned.end());
  const Status known = CheckName(settings.*field.member, names);
  return known.ok()
             ? known
             : Status(known.code(), std::string(name) + ": " + known.message());
}
Status Check(std::string_view name, const ChoiceField& field,
             const Settings& settings) {
  const std::uint8_t value = field.get(settings);
  if (value < field.names.size()) {
    return Status::Ok();
  }
  return Status::InvalidArgument(std::string(name) +
                                 ": no enumerator has the "
                                 "number " +
                                 std::to_string(value));
}

// Field from text ------------------------------------------------------------

Status Parse(const ByteCountField& field, std::string_view text,
             Settings* settings) {
  const Result<std::uint64_t> bytes = ParseByteCount(text);
  if (!bytes) {
    return bytes.error();
  }
  settings->*field.member = *bytes;
  return Status::Ok();
}
Status Parse(const CountField& field, std::string_view text,
             Settings* settings) {
  const std::string_view digits = internal::TrimSpaces(text);
  std::uint64_t count = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return Status::ParseError(QuoteForMessage(text) +
                              " is not a count: expected like 0 or 50000");
  }
  settings->*field.member = count;
  return Status::Ok();
}
Status Parse(const DurationField& field, std::string_view text,
             Settings* settings) {
  const Result<Duration> duration = ParseDuration(text);
  if (!duration) {
    return duration.error();
  }
  settings->*field.member = *duration;
  return Status::Ok();
}
Status Parse(const PolicyField& field, std::string_view text,
             Settings* settings) {
  settings->*field.member = std::string(internal::TrimSpaces(text));
  return Status::Ok();
}
Status Parse(const ChoiceField& field, std::string_view text,
             Settings* settings) {
  const std::string_view name = internal::TrimSpaces(text);
  const auto found = std::find(field.names.begin(), field.names.end(), name);
  if (found == field.names.end()) {
    return CheckName(name, field.names);
  }
  field.set(settings, static_cast<std::uint8_t>(found - field.names.begin()));
  return Status::Ok();
}

// What no field can see alone.
Status CheckTogether(const Settings& settings) {
  if (settings.inline_value_max >= settings.large_value_min) {
    return Status::InvalidArgument(
        "inline_value_max (" + FormatByteCount(settings.inline_value_max) +
        ") must be below large_value_min (" +
        FormatByteCount(settings.large_value_min) + ")");
  }
  constexpr std::uint64_t kCountingLimitMin = kSizeLimitBytesMin / 3 * 4;
  if (settings.scan_hold_counts == ScanHoldCounts::kYes &&
      settings.size_limit < kCountingLimitMin) {
    return Status::InvalidArgument(
        "scan_hold_counts=yes keeps a quarter of size_limit for scans: "
        "size_limit must be at least " +
        FormatByteCount(kCountingLimitMin) + " then");
  }
  return Status::Ok();
}

Status CheckDescriptor(const Descriptor& descriptor, const Settings& settings) {
  return std::visit(
      [&](const auto& field) {
        return Check(descriptor.name, field, settings);
      },
      descriptor.field);
}

std::string FormatDescriptor(const Descriptor& descriptor,
                             const Settings& settings) {
  return std::visit([&](const auto& field) { return Format(field, settings); },
                    descriptor.field);
}

}  // namespace

std::vector<SettingText> DescribeSettings(const Settings& settings) {
  std::vector<SettingText> lines;
  lines.reserve(kDescriptors.size());
  for (const Descriptor& descriptor : kDescriptors) {
    lines.push_back({std::string(descriptor.name),
                     FormatDescriptor(descriptor, settings),
                     std::string(descriptor.description)});
  }
  return lines;
}

Result<std::string> FormatSetting(const Settings& settings,
                                  std::string_view name) {
  const Descriptor* const descriptor = FindDescriptor(name);
  if (descriptor == nullptr) {
    return Fail(UnknownSetting(name));
  }
  return FormatDescriptor(*descriptor, settings);
}

namespace {

// Whether a policy has to be registered in this process.
enum class PolicyName : std::uint8_t { kRegistered, kAny };

Result<Settings> With(Settings settings, std::string_view name,
                      std::string_view value, PolicyName policy) {
  const Descriptor* const descriptor = FindDescriptor(name);
  if (descriptor == nullptr) {
    return Fail(UnknownSetting(name));
  }
  const Status parsed = std::visit(
      [&](const auto& field) { return Parse(field, value, &settings); },
      descriptor->field);
  if (!parsed.ok()) {
    return Fail(
        Status(parsed.code(), std::string(name) + ": " + parsed.message()));
  }
  if (policy == PolicyName::kAny && !settings.policy.empty() &&
      std::holds_alternative<PolicyField>(descriptor->field)) {
    return settings;
  }
  LARDER_FAIL_IF_ERROR(CheckDescriptor(*descriptor, settings));
  LARDER_FAIL_IF_ERROR(CheckTogether(settings));
  return settings;
}

}  // namespace

Result<Settings> WithSetting(Settings settings, std::string_view name,
                             std::string_view value) {
  return With(std::move(settings), name, value, PolicyName::kRegistered);
}

Result<Settings> WithStoredSetting(Settings settings, std::string_view name,
                                   std::string_view value) {
  return With(std::move(settings), name, value, PolicyName::kAny);
}

Status ValidateSettings(const Settings& settings) {
  for (const Descriptor& descriptor : kDescriptors) {
    LARDER_RETURN_IF_ERROR(CheckDescriptor(descriptor, settings));
  }
  return CheckTogether(settings);
}

}  // namespace larder
