#include "trace_layout.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "trace_row.h"

// Which separator and which columns a table has. Nothing is chosen if two
// readings fit: that is an error, which names them.

namespace larder::replay {
namespace {

constexpr std::string_view kOwnColumns = "time_ms,key,size,op,ttl_s";
constexpr std::string_view kTwitterColumns = "time_s,key,-,size,-,op,ttl_s";
constexpr std::string_view kCloudPhysicsColumns = "-,time_s,op,size,key";
constexpr std::string_view kLrbColumns = "time_s,key,size";
constexpr std::string_view kWikipediaTextColumns = "time_s,key,size,-";
constexpr std::string_view kWikipediaUploadColumns = "time_s,key,-,size,-";

constexpr std::array<std::string_view, 5> kCloudPhysicsHeader = {
    "version", "time", "op", "size", "lbn"};
constexpr std::array<std::string_view, 4> kWikipediaTextHeader = {
    "relative_unix", "hashed_host_path_query", "response_size",
    "time_firstbyte"};
constexpr std::array<std::string_view, 5> kWikipediaUploadHeader = {
    "relative_unix", "hashed_path_query", "image_type", "response_size",
    "time_firstbyte"};

std::vector<std::string_view> NamesOf(const Fields& fields) {
  std::vector<std::string_view> names;
  const std::size_t count = std::min(fields.count(), kColumnCountMax);
  for (std::size_t i = 0; i < count; ++i) names.push_back(fields.at(i));
  return names;
}

template <typename Header>
bool IsHeader(const std::vector<std::string_view>& names,
              const Header& header) {
  return std::ranges::equal(names, header,
                            [](std::string_view name, std::string_view one) {
                              return HeaderName(name) == one;
                            });
}

bool StartsWithNumber(std::string_view line) noexcept {
  return !line.empty() && line[0] >= '0' && line[0] <= '9';
}

TableLayout CloudPhysics(char separator) {
  return {.format = TraceFormat::kCloudPhysics,
          .columns = ColumnsOf(kCloudPhysicsColumns),
          .separator = separator,
          .ops = OpWords::kScsi};
}

TableLayout Wikipedia(std::string_view columns, char separator) {
  return {.format = TraceFormat::kWikipedia,
          .columns = ColumnsOf(columns),
          .separator = separator,
          .quotes = Quotes::kLiteral};
}

/// `names` as a header whose fields `separator` separates.
Result<std::optional<TableLayout>> HeaderLayout(
    const std::vector<std::string_view>& names, char separator) {
  TableLayout layout{.separator = separator};
  if (IsHeader(names, kCloudPhysicsHeader)) {
    layout = CloudPhysics(separator);
  } else if (IsHeader(names, kWikipediaTextHeader)) {
    layout = Wikipedia(kWikipediaTextColumns, separator);
  } else if (IsHeader(names, kWikipediaUploadHeader)) {
    layout = Wikipedia(kWikipediaUploadColumns, separator);
  } else {
    Result<std::optional<TraceColumns>> columns = ColumnsOfHeader(names);
    if (!columns) return Fail(std::move(columns.error()));
    if (!columns->has_value()) return std::nullopt;
    layout.columns = std::move(**columns);
  }
  layout.has_header = true;
  return layout;
}

Status Unexpected(std::string_view expected, std::string_view line) {
  return Status::ParseError("expected " + std::string(expected) + ", got " +
                            Quote(line));
}

/// The formats that may have a header and may lack it.
Result<TableLayout> LayoutWithoutHeader(TraceFormat format,
                                        std::string_view line) {
  if (format == TraceFormat::kCsv) {
    if (line.empty() || StartsWithNumber(line)) {
      return TableLayout{.columns = ColumnsOf(kOwnColumns)};
    }
    return Fail(Unexpected("a header with a column \"key\"", line));
  }
  if (format == TraceFormat::kCloudPhysics) {
    if (StartsWithNumber(line)) return CloudPhysics(',');
    return Fail(Unexpected("version,time,op,size,lbn", line));
  }
  for (const std::string_view columns :
       {kWikipediaTextColumns, kWikipediaUploadColumns}) {
    TableLayout layout = Wikipedia(columns, '\t');
    if (IsRow(layout, line)) return layout;
  }
  return Fail(Unexpected("a header or row of 4 or 5 fields, with tabs", line));
}

/// If no field is what its column should have, though there is one that is not
/// the key.
bool IsHeaderOf(const TableLayout& layout, std::string_view line) {
  RowParser parser(layout);
  static_cast<void>(parser.Parse(line));
  bool any = false;
  for (std::size_t i = 0; i < kColumnRoleCount; ++i) {
    const auto role = static_cast<ColumnRole>(i);
    if (role == ColumnRole::kKey || !parser.has(role)) continue;
    if (parser.Fits(role)) return false;
    any = true;
  }
  return any;
}

}  // namespace

bool IsRow(const TableLayout& layout, std::string_view line) {
  return RowParser(layout).Parse(line).has_value();
}

Result<std::optional<TableLayout>> LayoutOfHeader(std::string_view line) {
  Fields fields;
  std::optional<TableLayout> found;
  for (const char separator : kSeparators) {
    // What lies around other separators is no separator itself.
    if (separator == kBlanks && found) break;
    if (!fields.Split(line, separator, Quotes::kEnclose)) continue;
    const std::vector<std::string_view> names = NamesOf(fields);
    // One field could be a key.
    if (names.size() < 2 || fields.count() > kColumnCountMax) continue;
    Result<std::optional<TableLayout>> layout = HeaderLayout(names, separator);
    if (!layout) return Fail(std::move(layout.error()));
    if (!layout->has_value()) continue;
    if (found) {
      return Fail(Status::InvalidArgument(
          "the header may be separated by " + SeparatorName(found->separator) +
          " or by " + SeparatorName(separator)));
    }
    found = std::move(*layout);
  }
  return found;
}

Result<TableLayout> LayoutOf(TraceFormat format, std::string_view line) {
  if (format == TraceFormat::kTwitter) {
    return TableLayout{.format = format,
                       .columns = ColumnsOf(kTwitterColumns),
                       .quotes = Quotes::kLiteral,
                       .separators_in_key = true};
  }
  if (format == TraceFormat::kLrb) {
    return TableLayout{.format = format,
                       .columns = ColumnsOf(kLrbColumns),
                       .separator = kBlanks,
                       .quotes = Quotes::kLiteral,
                       .more_fields = true};
  }
  if (format == TraceFormat::kCsv && HeaderName(line) == "key") {
    return TableLayout{.columns = ColumnsOf("key"), .has_header = true};
  }
  Result<std::optional<TableLayout>> header = LayoutOfHeader(line);
  if (!header) return Fail(std::move(header.error()));
  if (header->has_value() &&
      (format == TraceFormat::kCsv || (*header)->format == format)) {
    return std::move(**header);
  }
  return LayoutWithoutHeader(format, line);
}

Result<TableLayout> LayoutOfColumns(const TraceColumns& columns,
                                    std::string_view line) {
  TableLayout layout{.columns = columns};
  if (columns.size() == 1) {
    layout.separator = kNoSeparator;
    layout.quotes = Quotes::kLiteral;
    return layout;
  }
  Fields fields;
  std::optional<char> found;
  for (const char separator : kSeparators) {
    if (separator == kBlanks && found) break;
    if (!fields.Split(line, separator, Quotes::kEnclose) ||
        fields.count() != columns.size()) {
      continue;
    }
    if (found) {
      return Fail(Status::InvalidArgument(
          "columns may be separated by " + SeparatorName(*found) + " or by " +
          SeparatorName(separator) + " in " + Quote(line)));
    }
    found = separator;
  }
  if (!found) {
    return Fail(Unexpected(
        std::to_string(columns.size()) +
            " columns as --columns says (- for those not to use), separated "
            "by one of , ; | tab or blanks",
        line));
  }
  layout.separator = *found;
  layout.has_header = IsHeaderOf(layout, line);
  return layout;
}

}  // namespace larder::replay
