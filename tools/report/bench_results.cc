#include "bench_results.h"

#include <algorithm>
#include <charconv>

#include <nlohmann/json.hpp>

namespace larder::report {

namespace {

using Json = nlohmann::json;

/// Seconds in one unit of the file.
std::optional<double> UnitSeconds(std::string_view unit) {
  if (unit == "ns") {
    return 1e-9;
  }
  if (unit == "us") {
    return 1e-6;
  }
  if (unit == "ms") {
    return 1e-3;
  }
  if (unit == "s") {
    return 1.0;
  }
  return std::nullopt;
}

/// nullopt: not a name of ours, which is no error.
std::optional<CaseId> ParseName(std::string_view name) {
  constexpr std::string_view kPrefix = "BM_";
  if (!name.starts_with(kPrefix)) {
    return std::nullopt;
  }
  name.remove_prefix(kPrefix.size());
  const std::size_t first = name.find('/');
  const std::size_t second =
      first == name.npos ? name.npos : name.find('/', first + 1);
  if (second == name.npos) {
    return std::nullopt;
  }
  CaseId id;
  id.operation = name.substr(0, first);
  id.engine = name.substr(first + 1, second - first - 1);
  const std::string_view size = name.substr(second + 1);
  const auto parsed =
      std::from_chars(size.data(), size.data() + size.size(), id.size);
  if (parsed.ec != std::errc{}) {
    return std::nullopt;
  }
  return id;
}

void AddRepetition(const Json& benchmark, BenchResults& results) {
  const std::string name = benchmark.at("run_name");
  const auto id = ParseName(name);
  if (!id || benchmark.value("run_type", "iteration") != "iteration") {
    return;
  }
  if (benchmark.value("error_occurred", false)) {
    results.errors.emplace_back(name, benchmark.value("error_message", ""));
    return;
  }
  const std::string unit_name = benchmark.at("time_unit");
  const auto unit = UnitSeconds(unit_name);
  if (!unit) {
    return;
  }
  CaseResult& result = results.cases[*id];
  result.seconds.push_back(benchmark.at("real_time").get<double>() * *unit);
  if (benchmark.contains("bytes_per_second")) {
    result.bytes_per_second.push_back(benchmark["bytes_per_second"]);
  }
  if (benchmark.contains("items_per_second")) {
    result.items_per_second.push_back(benchmark["items_per_second"]);
  }
}

}  // namespace

const CaseResult* BenchResults::Find(const CaseId& id) const {
  const auto found = cases.find(id);
  return found == cases.end() ? nullptr : &found->second;
}

// The JSON library throws: this is its only adapter here.
Result<BenchResults> ParseBenchResults(std::string_view json) try {
  const Json document = Json::parse(json);
  BenchResults results;
  for (const auto& [key, value] : document.at("context").items()) {
    results.context[key] =
        value.is_string() ? value.get<std::string>() : value.dump();
  }
  for (const Json& benchmark : document.at("benchmarks")) {
    AddRepetition(benchmark, results);
  }
  return results;
} catch (const Json::exception& error) {
  return Fail(Status::ParseError(
      std::string("not the JSON of a benchmark run: ") + error.what()));
}

double Median(std::vector<double> values) {
  const std::size_t middle = values.size() / 2;
  std::sort(values.begin(), values.end());
  return values.size() % 2 == 1 ? values[middle]
                                : (values[middle - 1] + values[middle]) / 2;
}

double RelativeSpread(const std::vector<double>& values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const double median = Median(values);
  return median > 0.0 ? (*most - *least) / 2 / median : 0.0;
}

}  // namespace larder::report
