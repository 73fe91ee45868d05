#include "replay_report.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <ostream>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "replay_advice.h"
#include "trace_fields.h"

// The three ways to print results. The names of JSON and CSV fields are part
// of the interface: docs/replay.md lists them.

namespace larder::replay {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 3> kObjectiveNames = {"objects", "bytes",
                                                             "cost"};

double PerSecond(const RunResult& run) noexcept {
  return run.seconds <= 0 ? 0.0
                          : static_cast<double>(run.requests) / run.seconds;
}

std::optional<double> Part(const std::optional<LatencySummary>& latency,
                           double LatencySummary::*field) {
  if (!latency) return std::nullopt;
  return *latency.*field;
}

/// The fields of a row in the order of JSON and CSV.
Json RowJson(const ReplayRow& row) {
  const auto optional = [](const std::optional<double>& value) {
    return value ? Json(*value) : Json(nullptr);
  };
  const RunResult& run = row.run;
  Json json;
  json["trace"] = row.trace;
  json["policy"] = row.policy;
  json["objective"] = ObjectiveName(row.objective);
  json["via"] = ReplayViaName(row.via);
  json["size"] = row.capacity;
  json["size_text"] = row.size_text;
  json["unit"] = row.counts_bytes ? "bytes" : "items";
  json["requests"] = run.requests;
  json["deletes"] = run.deletes;
  json["hits"] = run.hits;
  json["object_miss_ratio"] = run.object_miss_ratio();
  json["byte_miss_ratio"] = run.byte_miss_ratio();
  json["cost_miss_ratio"] = run.cost_miss_ratio();
  json["restamps_per_request"] = run.restamps_per_request();
  json["evictions"] = run.evictions;
  json["no_room"] = run.no_room;
  json["write_amplification"] = optional(run.write_amplification);
  json["bytes_written_per_request"] = optional(run.bytes_written_per_request);
  json["space_amplification"] = optional(run.space_amplification);
  json["get_p50_us"] = optional(Part(run.get_latency, &LatencySummary::p50_us));
  json["get_p99_us"] = optional(Part(run.get_latency, &LatencySummary::p99_us));
  json["get_max_us"] = optional(Part(run.get_latency, &LatencySummary::max_us));
  json["set_p50_us"] = optional(Part(run.set_latency, &LatencySummary::p50_us));
  json["set_p99_us"] = optional(Part(run.set_latency, &LatencySummary::p99_us));
  json["set_max_us"] = optional(Part(run.set_latency, &LatencySummary::max_us));
  json["seconds"] = run.seconds;
  json["requests_per_second"] = PerSecond(run);
  return json;
}

std::string Field(const Json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

enum class Align : std::uint8_t { kLeft, kRight };

/// A column of the table; `text` gives "" where a row has nothing.
struct Column {
  std::string_view title;
  Align align;
  std::function<std::string(const ReplayRow&)> text;
};

std::string Ratio(double value) { return fmt::format("{:.4f}", value); }
std::string Ratio(const std::optional<double>& value) {
  return value ? fmt::format("{:.2f}", *value) : "";
}
std::string Micros(const std::optional<LatencySummary>& latency) {
  return latency ? fmt::format("{:.1f}", latency->p99_us) : "";
}

const std::vector<Column>& Columns() {
  using Row = const ReplayRow&;
  static const std::vector<Column> columns = {
      {"trace", Align::kLeft, [](Row r) { return r.trace; }},
      {"policy", Align::kLeft, [](Row r) { return r.policy; }},
      {"objective", Align::kLeft,
       [](Row r) {
         return r.objective == Objective::kObjects
                    ? std::string()
                    : std::string(ObjectiveName(r.objective));
       }},
      {"size", Align::kRight, [](Row r) { return r.size_text; }},
      {"capacity", Align::kRight,
       [](Row r) {
         return fmt::format("{} {}", r.capacity,
                            r.counts_bytes ? "B" : "items");
       }},
      {"requests", Align::kRight,
       [](Row r) { return std::to_string(r.run.requests); }},
      {"miss", Align::kRight,
       [](Row r) { return Ratio(r.run.object_miss_ratio()); }},
      {"byte miss", Align::kRight,
       [](Row r) {
         return r.counts_bytes ? Ratio(r.run.byte_miss_ratio()) : "";
       }},
      {"cost miss", Align::kRight,
       [](Row r) {
         return r.run.request_cost == static_cast<double>(r.run.requests)
                    ? ""
                    : Ratio(r.run.cost_miss_ratio());
       }},
      {"restamps/req", Align::kRight,
       [](Row r) { return Ratio(r.run.restamps_per_request()); }},
      {"write amp", Align::kRight,
       [](Row r) { return Ratio(r.run.write_amplification); }},
      {"written B/req", Align::kRight,
       [](Row r) {
         const std::optional<double>& bytes = r.run.bytes_written_per_request;
         return bytes ? fmt::format("{:.0f}", *bytes) : "";
       }},
      {"space amp", Align::kRight,
       [](Row r) { return Ratio(r.run.space_amplification); }},
      {"get p99 us", Align::kRight,
       [](Row r) { return Micros(r.run.get_latency); }},
      {"set p99 us", Align::kRight,
       [](Row r) { return Micros(r.run.set_latency); }},
      {"seconds", Align::kRight,
       [](Row r) { return fmt::format("{:.2f}", r.run.seconds); }},
      {"Mreq/s", Align::kRight,
       [](Row r) { return fmt::format("{:.2f}", PerSecond(r.run) / 1e6); }},
  };
  return columns;
}

}  // namespace

std::string_view ObjectiveName(Objective objective) noexcept {
  return kObjectiveNames[static_cast<std::size_t>(objective)];
}

Result<Objective> ParseObjective(std::string_view name) {
  for (std::size_t i = 0; i < kObjectiveNames.size(); ++i) {
    if (kObjectiveNames[i] == name) return static_cast<Objective>(i);
  }
  return Fail(Status::InvalidArgument("objective " + Quote(name) +
                                      ": expected objects, bytes or cost"));
}

std::string_view ReplayViaName(ReplayVia via) noexcept {
  return via == ReplayVia::kSimulator ? "simulator" : "engine";
}

std::string SummaryText(const TraceSummary& trace) {
  const TraceContent& content = trace.content;
  std::string text = fmt::format("{}: read as {}", trace.name,
                                 TraceFormatName(content.format));
  if (content.has_header) text += " with a header";
  if (content.compression != Compression::kNone) {
    text += fmt::format(", {}", CompressionName(content.compression));
  }
  text += fmt::format(", columns {}", content.columns);
  if (!content.separator.empty()) {
    text +=
        fmt::format(" separated by {}", SeparatorName(content.separator[0]));
  }
  return text + fmt::format("; {} gets, {} sets, {} deletes of {} keys",
                            trace.gets, trace.sets, trace.deletes, trace.keys);
}

void WriteTable(const std::vector<ReplayRow>& rows, std::ostream& out) {
  std::vector<std::string> lines(rows.size() + 1);
  for (const Column& column : Columns()) {
    std::vector<std::string> cells;
    std::size_t width = 0;
    for (const ReplayRow& row : rows) {
      cells.push_back(column.text(row));
      width = std::max(width, cells.back().size());
    }
    if (width == 0) continue;
    width = std::max(width, column.title.size());
    cells.insert(cells.begin(), std::string(column.title));
    for (std::size_t i = 0; i < lines.size(); ++i) {
      lines[i] += lines[i].empty() ? "" : "  ";
      lines[i] += column.align == Align::kLeft
                      ? fmt::format("{:<{}}", cells[i], width)
                      : fmt::format("{:>{}}", cells[i], width);
    }
  }
  for (std::string& line : lines) {
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
}

void WriteJson(const std::vector<ReplayRow>& rows,
               const std::vector<TraceSummary>& traces, std::ostream& out) {
  Json json;
  json["results"] = Json::array();
  for (const ReplayRow& row : rows) json["results"].push_back(RowJson(row));
  json["advice"] = Json::array();
  for (const ReplayAdvice& advice : AdviceFrom(rows)) {
    json["advice"].push_back(
        {{"trace", advice.trace},
         {"objective", ObjectiveName(advice.objective)},
         {"policy", advice.policy},
         {"size", advice.capacity},
         {"unit", advice.counts_bytes ? "bytes" : "items"},
         {"size_text", advice.size_text},
         {"miss_ratio", advice.miss_ratio},
         {"miss_ratio_largest", advice.miss_ratio_largest}});
  }
  json["traces"] = Json::array();
  for (const TraceSummary& trace : traces) {
    const TraceContent& content = trace.content;
    json["traces"].push_back(
        {{"trace", trace.name},
         {"path", trace.path},
         {"format", TraceFormatName(content.format)},
         {"columns", content.columns},
         {"separator", content.separator},
         {"header", content.has_header},
         {"compression", CompressionName(content.compression)},
         {"requests", trace.gets + trace.sets},
         {"gets", trace.gets},
         {"sets", trace.sets},
         {"deletes", trace.deletes},
         {"keys", trace.keys},
         {"footprint_bytes", trace.footprint_bytes},
         {"skipped_rows", trace.skipped_rows},
         {"left_out_rows", trace.left_out_rows}});
  }
  out << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

void WriteCsv(const std::vector<ReplayRow>& rows, std::ostream& out) {
  const auto write = [&out](const Json& row, auto&& text) {
    const char* separator = "";
    for (const auto& item : row.items()) {
      out << separator << text(item);
      separator = ",";
    }
    out << '\n';
  };
  write(RowJson({}), [](const auto& item) { return item.key(); });
  for (const ReplayRow& row : rows) {
    write(RowJson(row), [](const auto& item) { return Field(item.value()); });
  }
}

}  // namespace larder::replay
