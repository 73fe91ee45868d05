#include "policies/policy_cells.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <utility>

#include <fmt/format.h>

namespace larder::bench {
namespace {

constexpr std::size_t kFieldCount = 9;

std::vector<std::string> SplitCsv(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      fields.emplace_back();
    } else if (c != '\r') {
      fields.back() += c;
    }
  }
  return fields;
}

template <typename T>
std::optional<T> Number(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

PolicyCell& CellOf(std::vector<PolicyCell>& cells, PolicyCell cell) {
  const auto found = std::ranges::find_if(cells, [&](const PolicyCell& other) {
    return other.trace == cell.trace && other.ignore_size == cell.ignore_size &&
           other.capacity == cell.capacity;
  });
  if (found != cells.end()) return *found;
  cells.push_back(std::move(cell));
  return cells.back();
}

}  // namespace

std::string PolicyCell::SizeLabel() const {
  return fmt::format("{:g}%", fraction * 100);
}

std::optional<double> PolicyCell::Published(const std::string& id) const {
  const auto found = published.find(id);
  if (found == published.end()) return std::nullopt;
  return found->second;
}

Result<std::vector<PolicyCell>> ReadPolicyCells(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Fail(Status::FromErrno(errno, path));
  std::vector<PolicyCell> cells;
  std::string line;
  for (std::uint64_t number = 1; std::getline(file, line); ++number) {
    if (number == 1) continue;
    const std::vector<std::string> fields = SplitCsv(line);
    const auto bad = [&](std::string_view what) {
      return Fail(Status::ParseError(
          fmt::format("{}:{}: expected {}", path, number, what)));
    };
    if (fields.size() != kFieldCount) return bad("9 fields");
    const auto fraction = Number<double>(fields[4]);
    const auto capacity = Number<std::uint64_t>(fields[5]);
    const auto miss_ratio = Number<double>(fields[6]);
    if (!fraction || !capacity || !miss_ratio) {
      return bad("numbers in fraction, capacity and miss_ratio");
    }
    PolicyCell& cell = CellOf(cells, {.trace = fields[0],
                                      .ignore_size = fields[1] == "1",
                                      .fraction = *fraction,
                                      .capacity = *capacity,
                                      .published = {},
                                      .runs = {}});
    cell.published[fields[3] + "/" + fields[2]] = *miss_ratio;
  }
  return cells;
}

PolicyGain GainOf(const std::string& policy,
                  const std::vector<PolicyCell>& cells) {
  PolicyGain gain{.policy = policy, .worst_gain = 1};
  double requests = 0;
  double seconds = 0;
  double hits = 0;
  double restamps = 0;
  for (const PolicyCell& cell : cells) {
    const replay::RunResult& run = cell.runs.at(policy);
    const double lru = cell.MissRatio("lru");
    const double share = (lru - run.object_miss_ratio()) / lru;
    gain.mean_gain += share;
    gain.restamps_per_request += run.restamps_per_request();
    if (share < gain.worst_gain) {
      gain.worst_gain = share;
      gain.worst_cell = cell.TraceLabel() + " " + cell.SizeLabel();
    }
    ++gain.cells;
    requests += static_cast<double>(run.requests);
    seconds += run.seconds;
    hits += static_cast<double>(run.hits);
    restamps += static_cast<double>(run.restamps);
  }
  const auto count = static_cast<double>(std::max<std::size_t>(gain.cells, 1));
  gain.mean_gain /= count;
  gain.restamps_per_request /= count;
  gain.restamps_per_hit = hits > 0 ? restamps / hits : 0;
  gain.requests_per_second = seconds > 0 ? requests / seconds : 0;
  return gain;
}

}  // namespace larder::bench
