#ifndef LARDER_TOOLS_REPLAY_TRACE_COLUMNS_H_
#define LARDER_TOOLS_REPLAY_TRACE_COLUMNS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/status.h"

namespace larder::replay {

/// What a column of a table says of a request.
enum class ColumnRole : std::uint8_t {
  kTime = 0,
  kKey = 1,
  kSize = 2,
  kOp = 3,
  kTtl = 4,
  kCost = 5,
};
inline constexpr std::size_t kColumnRoleCount = 6;

/// Unit of a column of times or times to live.
enum class TimeUnit : std::uint8_t {
  kSeconds = 0,
  kMilliseconds = 1,
  kMicroseconds = 2,
  kNanoseconds = 3,
  /// The header does not say; taken for seconds.
  kUnknown = 4,
};

/// A column with a meaning.
struct TraceColumn {
  ColumnRole role = ColumnRole::kKey;
  TimeUnit unit = TimeUnit::kSeconds;
};

/// The columns of a table in their order; nullopt = not used. No role is there
/// twice, and kKey is there.
using TraceColumns = std::vector<std::optional<TraceColumn>>;

/// Most columns of a table.
inline constexpr std::size_t kColumnCountMax = 64;

/// The columns that `names` stand for: time or time_s, time_ms, time_us,
/// time_ns, key, size, op, ttl or ttl_s, ttl_ms, cost, and "-" for a column
/// that is not used.
/// Errors: kInvalidArgument (unknown or repeated name, no key, too many).
[[nodiscard]] Result<TraceColumns> ParseColumns(
    const std::vector<std::string>& names);

/// The same from a list with commas. REQUIRES: it is right.
[[nodiscard]] TraceColumns ColumnsOf(std::string_view list);

/// What ParseColumns takes, with commas: "time_ms,key,-,size".
[[nodiscard]] std::string ColumnsText(const TraceColumns& columns);

/// What `names`, the fields of the first line of a file, say as a header:
/// in any case, within spaces, the first perhaps behind a "#". Of several names
/// for one thing larder's own ("time_ms", "key", ...) counts. nullopt: this is
/// no header, as a field is a number or none is a name for keys.
/// Errors: kInvalidArgument (two names for one thing, neither larder's own).
[[nodiscard]] Result<std::optional<TraceColumns>> ColumnsOfHeader(
    const std::vector<std::string_view>& names);

/// `name` of a header as ColumnsOfHeader compares it: in lower case, without
/// spaces around it.
[[nodiscard]] std::string HeaderName(std::string_view name);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_COLUMNS_H_
