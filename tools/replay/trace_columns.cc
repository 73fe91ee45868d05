#include "trace_columns.h"

#include <algorithm>
#include <array>
#include <utility>

#include "trace_reader.h"

// The names of columns: those of --columns, which stand for one thing each, and
// those that headers of other tools have.

namespace larder::replay {
namespace {

using enum ColumnRole;
using enum TimeUnit;

struct ColumnName {
  std::string_view name;
  TraceColumn column;
};

/// What ParseColumns takes; ColumnsText gives the first that fits.
constexpr std::array kNames = {
    ColumnName{"time_s", {kTime, kSeconds}},
    ColumnName{"time_ms", {kTime, kMilliseconds}},
    ColumnName{"time_us", {kTime, kMicroseconds}},
    ColumnName{"time_ns", {kTime, kNanoseconds}},
    ColumnName{"time", {kTime, kSeconds}},
    ColumnName{"key", {kKey, kSeconds}},
    ColumnName{"size", {kSize, kSeconds}},
    ColumnName{"op", {kOp, kSeconds}},
    ColumnName{"ttl_s", {kTtl, kSeconds}},
    ColumnName{"ttl_ms", {kTtl, kMilliseconds}},
    ColumnName{"ttl", {kTtl, kSeconds}},
    ColumnName{"cost", {kCost, kSeconds}},
};
constexpr std::string_view kUnused = "-";

/// Larder's own names first.
constexpr std::array kHeaderNames = {
    ColumnName{"time_ms", {kTime, kMilliseconds}},
    ColumnName{"key", {kKey, kSeconds}},
    ColumnName{"size", {kSize, kSeconds}},
    ColumnName{"op", {kOp, kSeconds}},
    ColumnName{"ttl_s", {kTtl, kSeconds}},
    ColumnName{"cost", {kCost, kSeconds}},

    ColumnName{"time_s", {kTime, kSeconds}},
    ColumnName{"time_us", {kTime, kMicroseconds}},
    ColumnName{"time_ns", {kTime, kNanoseconds}},
    ColumnName{"timestamp_s", {kTime, kSeconds}},
    ColumnName{"timestamp_ms", {kTime, kMilliseconds}},
    ColumnName{"relative_unix", {kTime, kSeconds}},
    ColumnName{"time", {kTime, kUnknown}},
    ColumnName{"timestamp", {kTime, kUnknown}},
    ColumnName{"id", {kKey, kSeconds}},
    ColumnName{"obj_id", {kKey, kSeconds}},
    ColumnName{"object", {kKey, kSeconds}},
    ColumnName{"object_id", {kKey, kSeconds}},
    ColumnName{"lbn", {kKey, kSeconds}},
    ColumnName{"hashed_path_query", {kKey, kSeconds}},
    ColumnName{"hashed_host_path_query", {kKey, kSeconds}},
    ColumnName{"size_bytes", {kSize, kSeconds}},
    ColumnName{"obj_size", {kSize, kSeconds}},
    ColumnName{"object_size", {kSize, kSeconds}},
    ColumnName{"response_size", {kSize, kSeconds}},
    ColumnName{"operation", {kOp, kSeconds}},
    ColumnName{"ttl", {kTtl, kSeconds}},
    ColumnName{"ttl_ms", {kTtl, kMilliseconds}},
};
constexpr std::size_t kOwnNameCount = 6;

constexpr std::size_t kAbsent = ~std::size_t{0};

template <typename Names>
std::size_t Find(const Names& names, std::string_view name) noexcept {
  const auto found = std::ranges::find(names, name, &ColumnName::name);
  return found == names.end() ? kAbsent
                              : static_cast<std::size_t>(found - names.begin());
}

bool IsNumber(std::string_view text) noexcept {
  constexpr std::string_view kNumeric = "0123456789+-.";
  return !text.empty() && kNumeric.find(text[0]) != std::string_view::npos &&
         text.find_first_not_of("0123456789+-.e") == std::string_view::npos;
}

Status Repeated(std::string_view one, std::string_view other) {
  return Status::InvalidArgument(
      "columns " + Quote(one) + " and " + Quote(other) +
      " could be the same: say which is which by --columns");
}

}  // namespace

Result<TraceColumns> ParseColumns(const std::vector<std::string>& names) {
  if (names.size() > kColumnCountMax) {
    return Fail(Status::InvalidArgument("expected at most 64 columns, got " +
                                        std::to_string(names.size())));
  }
  TraceColumns columns;
  std::array<const std::string*, kColumnRoleCount> seen{};
  for (const std::string& name : names) {
    columns.emplace_back();
    if (name == kUnused) continue;
    const std::size_t index = Find(kNames, name);
    if (index == kAbsent) {
      return Fail(Status::InvalidArgument(
          "column " + Quote(name) +
          ": expected time (or time_s, time_ms, time_us, time_ns), key, size, "
          "op, ttl (or ttl_s, ttl_ms), cost, or - for one not to use"));
    }
    columns.back() = kNames[index].column;
    const auto role = static_cast<std::size_t>(columns.back()->role);
    if (seen[role] != nullptr) {
      return Fail(Status::InvalidArgument("columns: " + Quote(*seen[role]) +
                                          " and " + Quote(name) +
                                          " are for the same"));
    }
    seen[role] = &name;
  }
  if (seen[static_cast<std::size_t>(kKey)] == nullptr) {
    return Fail(Status::InvalidArgument("columns: expected a \"key\""));
  }
  return columns;
}

TraceColumns ColumnsOf(std::string_view list) {
  std::vector<std::string> names;
  for (;;) {
    const std::size_t comma = list.find(',');
    names.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return ParseColumns(names).value_or(TraceColumns());
}

std::string ColumnsText(const TraceColumns& columns) {
  std::string text;
  for (const std::optional<TraceColumn>& column : columns) {
    if (!text.empty()) text += ',';
    if (!column) {
      text += kUnused;
      continue;
    }
    const auto fits = [&column](const ColumnName& name) {
      return name.column.role == column->role &&
             name.column.unit == column->unit;
    };
    const auto found = std::ranges::find_if(kNames, fits);
    text += found == kNames.end() ? std::string_view("time") : found->name;
  }
  return text;
}

std::string HeaderName(std::string_view name) {
  const std::size_t begin = name.find_first_not_of(' ');
  if (begin == std::string_view::npos) return "";
  name = name.substr(begin, name.find_last_not_of(' ') + 1 - begin);
  std::string lower;
  for (const char c : name) {
    lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return lower;
}

Result<std::optional<TraceColumns>> ColumnsOfHeader(
    const std::vector<std::string_view>& names) {
  struct Place {
    std::size_t at = kAbsent;
    std::size_t name = kAbsent;
  };
  std::array<Place, kColumnRoleCount> places;
  std::array<Place, kColumnRoleCount> rivals;
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::string_view name = names[i];
    if (i == 0 && name.starts_with('#')) name.remove_prefix(1);
    const std::string lower = HeaderName(name);
    if (IsNumber(lower)) return std::nullopt;
    const std::size_t known = Find(kHeaderNames, lower);
    if (known == kAbsent) continue;
    const auto role = static_cast<std::size_t>(kHeaderNames[known].column.role);
    const Place found{.at = i, .name = known};
    const bool own = known < kOwnNameCount;
    const bool had_own = places[role].name < kOwnNameCount;
    if (places[role].at == kAbsent || (own && !had_own)) {
      places[role] = found;
    } else if (own == had_own) {
      rivals[role] = found;
    }
  }
  if (names.size() > kColumnCountMax ||
      places[static_cast<std::size_t>(kKey)].at == kAbsent) {
    return std::nullopt;
  }
  TraceColumns columns(names.size());
  for (std::size_t role = 0; role < kColumnRoleCount; ++role) {
    const Place& place = places[role];
    if (place.at == kAbsent) continue;
    const Place& rival = rivals[role];
    if (rival.at != kAbsent &&
        (place.name >= kOwnNameCount || rival.name < kOwnNameCount)) {
      return Fail(Repeated(names[place.at], names[rival.at]));
    }
    columns[place.at] = kHeaderNames[place.name].column;
  }
  return columns;
}

}  // namespace larder::replay
