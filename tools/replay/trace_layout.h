#ifndef LARDER_TOOLS_REPLAY_TRACE_LAYOUT_H_
#define LARDER_TOOLS_REPLAY_TRACE_LAYOUT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "trace_columns.h"
#include "trace_fields.h"
#include "trace_reader.h"

namespace larder::replay {

/// What a column of operations has in it.
enum class OpWords : std::uint8_t {
  /// The commands of memcached, and read and write, in any case.
  kCommands = 0,
  /// SCSI operation codes in hexadecimal digits.
  kScsi = 1,
};

/// A table of requests: how its lines are split, and what the fields mean.
struct TableLayout {
  TraceFormat format = TraceFormat::kCsv;
  TraceColumns columns{};
  char separator = ',';
  Quotes quotes = Quotes::kEnclose;
  OpWords ops = OpWords::kCommands;
  /// The first line is not a request.
  bool has_header = false;
  /// Rows may have more fields than `columns`, which are not used.
  bool more_fields = false;
  /// The key, which is the second column, may hold separators.
  bool separators_in_key = false;
};

/// The layout of `format`, of which `line` is the first line: those of formats
/// without a header, which do not depend on it, and those of the others if it
/// is their header, or a row if they may lack one.
/// REQUIRES: `format` is kCsv, kTwitter, kCloudPhysics, kLrb or kWikipedia.
/// Errors: kParseError says what was expected.
[[nodiscard]] Result<TableLayout> LayoutOf(TraceFormat format,
                                           std::string_view line);

/// If `line` is a header. Its format is kCsv unless it is the one of
/// kCloudPhysics or kWikipedia. nullopt: it is none, as a field is a number or
/// none is a name for keys. Errors: kInvalidArgument (two readings).
[[nodiscard]] Result<std::optional<TableLayout>> LayoutOfHeader(
    std::string_view line);

/// If the caller says what the columns are. `line`, the first one, tells the
/// separator, and is a header if no field is what its column should have.
/// Errors: kParseError (it has not that many fields), kInvalidArgument (two
/// separators fit).
[[nodiscard]] Result<TableLayout> LayoutOfColumns(const TraceColumns& columns,
                                                  std::string_view line);

/// Whether `line` is a row of this layout, every field of it.
[[nodiscard]] bool IsRow(const TableLayout& layout, std::string_view line);

/// Reads the lines of `source`, from the first one.
[[nodiscard]] Result<std::unique_ptr<TraceReader>> MakeTableReader(
    BufferedSource source, const std::string& path, const TableLayout& layout);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_LAYOUT_H_
