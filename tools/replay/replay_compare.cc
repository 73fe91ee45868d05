#include <cmath>
#include <fstream>
#include <map>
#include <ostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "replay_report.h"

namespace larder::replay {
namespace {

struct Expected {
  double object_miss_ratio = 0;
  double byte_miss_ratio = 0;
};

std::string IdOf(std::string_view trace, std::string_view policy,
                 std::string_view objective, std::uint64_t size,
                 std::string_view unit) {
  return fmt::format("{}\n{}\n{}\n{} {}", trace, policy, objective, size, unit);
}

/// The results of a report by their ids.
Result<std::map<std::string, Expected>> ReadReport(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Fail(Status::FromErrno(errno, path));
  using Json = nlohmann::json;
  const Json report = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  const auto bad = [&path](const std::string& what) {
    return Fail(Status::ParseError(path + ": expected " + what));
  };
  if (!report.is_object() || !report.contains("results") ||
      !report["results"].is_array()) {
    return bad("a report of replay --json, got something else");
  }
  std::map<std::string, Expected> results;
  for (const Json& row : report["results"]) {
    const auto has = [&row](const char* name, bool (Json::*is)() const) {
      return row.is_object() && row.contains(name) && (row[name].*is)();
    };
    if (!has("trace", &Json::is_string) || !has("policy", &Json::is_string) ||
        !has("objective", &Json::is_string) || !has("unit", &Json::is_string) ||
        !has("size", &Json::is_number_unsigned) ||
        !has("object_miss_ratio", &Json::is_number) ||
        !has("byte_miss_ratio", &Json::is_number)) {
      return bad(fmt::format(
          "trace, policy, objective, unit, size and miss ratios in result {}",
          results.size() + 1));
    }
    const std::string id =
        IdOf(row["trace"].get<std::string>(), row["policy"].get<std::string>(),
             row["objective"].get<std::string>(),
             row["size"].get<std::uint64_t>(), row["unit"].get<std::string>());
    results[id] = {row["object_miss_ratio"].get<double>(),
                   row["byte_miss_ratio"].get<double>()};
  }
  return results;
}

}  // namespace

Result<bool> CompareWithBaseline(const std::vector<ReplayRow>& rows,
                                 const std::string& path, double tolerance,
                                 std::ostream& out) {
  const auto expected = ReadReport(path);
  if (!expected) return Fail(expected.error());
  std::size_t compared = 0;
  std::size_t deviating = 0;
  for (const ReplayRow& row : rows) {
    const auto found = expected->find(
        IdOf(row.trace, row.policy, ObjectiveName(row.objective), row.capacity,
             row.counts_bytes ? "bytes" : "items"));
    if (found == expected->end()) continue;
    ++compared;
    const Expected& was = found->second;
    const double objects = row.run.object_miss_ratio() - was.object_miss_ratio;
    const double bytes = row.run.byte_miss_ratio() - was.byte_miss_ratio;
    if (std::abs(objects) <= tolerance && std::abs(bytes) <= tolerance) {
      continue;
    }
    ++deviating;
    out << fmt::format(
        "deviates: {} {} {}: miss {:.4f}, was {:.4f} ({:+.4f}); byte miss "
        "{:.4f}, was {:.4f} ({:+.4f})\n",
        row.trace, row.policy, row.size_text, row.run.object_miss_ratio(),
        was.object_miss_ratio, objects, row.run.byte_miss_ratio(),
        was.byte_miss_ratio, bytes);
  }
  if (compared == 0) {
    return Fail(Status::NotFound(
        path + ": no result with the same trace, policy, objective and size"));
  }
  out << fmt::format(
      "compared {} of {} results with {}: {} deviate by more "
      "than {:g}\n",
      compared, rows.size(), path, deviating, tolerance);
  return deviating == 0;
}

}  // namespace larder::replay
