#include <utility>

#include "trace_layout.h"
#include "trace_row.h"

namespace larder::replay {
namespace {

class TableReader final : public TraceReader {
 public:
  TableReader(BufferedSource source, std::string path,
              const TableLayout& layout)
      : layout_(layout),
        parser_(layout),
        source_(std::move(source)),
        path_(std::move(path)) {}

  Status SkipHeader() {
    if (!layout_.has_header) return Status::Ok();
    Result<BufferedSource::Line> header = source_.NextLine();
    return header ? Status::Ok() : std::move(header.error());
  }

  Result<std::optional<TraceRow>> Next() override {
    Result<BufferedSource::Line> line = source_.NextLine();
    if (!line) return Fail(std::move(line.error()));
    if (line->end) return std::nullopt;
    if (line->too_long) {
      return Fail(Bad(
          {"a line of at most " + std::to_string(kLineSizeBytesMax) + " bytes",
           Quote(line->text)}));
    }
    auto row = parser_.Parse(line->text);
    if (!row) return Fail(Bad(row.error()));
    return *row;
  }

  TraceContent content() const override {
    const std::size_t time = static_cast<std::size_t>(ColumnRole::kTime);
    bool unit_known = true;
    for (const std::optional<TraceColumn>& column : layout_.columns) {
      if (column && static_cast<std::size_t>(column->role) == time) {
        unit_known = column->unit != TimeUnit::kUnknown;
      }
    }
    return {.format = layout_.format,
            .columns = ColumnsText(layout_.columns),
            .separator = layout_.separator == kNoSeparator
                             ? std::string()
                             : std::string(1, layout_.separator),
            .has_header = layout_.has_header,
            .has_times = parser_.has(ColumnRole::kTime),
            .knows_time_unit = unit_known};
  }
  bool has_costs() const noexcept override {
    return parser_.has(ColumnRole::kCost);
  }

 private:
  [[nodiscard]] Status Bad(const RowParser::Fault& fault) const {
    return Status::ParseError(
        path_ + ":" + std::to_string(source_.line_number()) + ": expected " +
        fault.expected + ", got " + fault.got);
  }

  const TableLayout layout_;
  RowParser parser_;
  BufferedSource source_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<TraceReader>> MakeTableReader(
    BufferedSource source, const std::string& path, const TableLayout& layout) {
  auto reader = std::make_unique<TableReader>(std::move(source), path, layout);
  LARDER_FAIL_IF_ERROR(reader->SkipHeader());
  return reader;
}

}  // namespace larder::replay
