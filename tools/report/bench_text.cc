#include "bench_text.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>

#include <fmt/format.h>

#include "bench_bars.h"

namespace larder::report {

namespace {

constexpr std::array<const char*, 3> kPeers{"rocksdb", "lmdb", "sqlite"};
constexpr std::array<const char*, 8> kOperations{
    "Set", "Get", "Delete", "MultiGet", "SetMany", "Incr", "Open", "Recover"};
constexpr std::string_view kSectionBegin = "<!-- bench -->";
constexpr std::string_view kSectionEnd = "<!-- /bench -->";

bool IsOpening(std::string_view operation) {
  return operation == "Open" || operation == "Recover";
}

std::set<std::uint64_t> SizesOf(const BenchResults& results,
                                std::string_view operation) {
  std::set<std::uint64_t> sizes;
  for (const auto& [id, result] : results.cases) {
    if (id.operation == operation) {
      sizes.insert(id.size);
    }
  }
  return sizes;
}

std::string TimeCell(const CaseResult* result) {
  if (result == nullptr) {
    return "-";
  }
  return fmt::format("{} +-{:.0f} %", FormatSeconds(Median(result->seconds)),
                     100 * RelativeSpread(result->seconds));
}

std::string ThroughputCell(const CaseResult* result) {
  if (result == nullptr || result->bytes_per_second.empty()) {
    return "-";
  }
  return fmt::format("{:.0f}", Median(result->bytes_per_second) / 1e6);
}

std::string RatioCell(const CaseResult* larder, const CaseResult* peer) {
  if (larder == nullptr || peer == nullptr) {
    return "-";
  }
  return fmt::format("{:.2f}", Median(larder->seconds) / Median(peer->seconds));
}

std::string Row(const BenchResults& results, const char* operation,
                std::uint64_t size) {
  const CaseResult* larder = results.Find({operation, "larder", size});
  std::string row = fmt::format(
      "| {} | {} | {} | {} |", operation,
      IsOpening(operation) ? fmt::format("{} items", size) : FormatSize(size),
      TimeCell(larder), ThroughputCell(larder));
  for (const char* peer : kPeers) {
    row += fmt::format(
        " {} |", RatioCell(larder, results.Find({operation, peer, size})));
  }
  for (const char* peer : kPeers) {
    row +=
        fmt::format(" {} |", TimeCell(results.Find({operation, peer, size})));
  }
  return row + "\n";
}

std::size_t RepetitionCount(const BenchResults& results) {
  std::size_t count = 0;
  for (const auto& [id, result] : results.cases) {
    count = std::max(count, result.seconds.size());
  }
  return count;
}

/// The first of the three load averages of the file; 0 if there are none.
double LoadAverage(const BenchResults& results) {
  const auto found = results.context.find("load_avg");
  if (found == results.context.end() || found->second.size() < 2) {
    return 0;
  }
  return std::atof(found->second.c_str() + 1);  // After the bracket.
}

std::string LoadWarning(const BenchResults& results) {
  constexpr double kLoadMax = 0.5;
  const double load = LoadAverage(results);
  if (load <= kLoadMax) {
    return {};
  }
  return fmt::format(
      "**The machine was busy with other things (load average {:.1f} at the "
      "start): these figures are not to be relied on.**\n",
      load);
}

std::string ContextLine(const BenchResults& results) {
  const auto get = [&](const char* key) {
    const auto found = results.context.find(key);
    return found == results.context.end() ? std::string("?") : found->second;
  };
  return fmt::format(
      "{} on {}, {} CPUs, Linux {}, {}; medians of {} repetitions in random "
      "order, +- half of the distance between the extremes.\n",
      get("date").substr(0, 10), get("processor"), get("num_cpus"),
      get("kernel"), get("file_system"), RepetitionCount(results));
}

}  // namespace

std::string FormatSize(std::uint64_t bytes) {
  constexpr std::uint64_t kKiB = 1024;
  constexpr std::uint64_t kMiB = kKiB * kKiB;
  if (bytes >= kMiB && bytes % kMiB == 0) {
    return fmt::format("{} MiB", bytes / kMiB);
  }
  if (bytes >= kKiB && bytes % kKiB == 0) {
    return fmt::format("{} KiB", bytes / kKiB);
  }
  return fmt::format("{} B", bytes);
}

std::string FormatSeconds(double seconds) {
  const bool is_long = seconds >= 1e-3;
  const double value = seconds * (is_long ? 1e3 : 1e6);
  const int decimals = value < 10 ? 2 : value < 100 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, decimals, is_long ? "ms" : "us");
}

std::string RenderMarkdown(const BenchResults& results) {
  std::string text = ContextLine(results) + LoadWarning(results);
  text +=
      "Ratios are larder's time divided by the other's: below 1, larder is "
      "faster. MultiGet and SetMany are times of a whole batch.\n\n"
      "| operation | value | larder | MB/s | / rocksdb | / lmdb | / sqlite "
      "| rocksdb | lmdb | sqlite |\n"
      "|---|---|---|---|---|---|---|---|---|---|\n";
  for (const char* operation : kOperations) {
    for (const std::uint64_t size : SizesOf(results, operation)) {
      text += Row(results, operation, size);
    }
  }
  text += "\n";
  for (const BarResult& result : CheckBars(results)) {
    text += fmt::format("- {}\n", result.Describe());
  }
  for (const auto& [name, message] : results.errors) {
    text += fmt::format("- FAILED: {}: {}\n", name, message);
  }
  return text;
}

Result<std::string> ReplaceSection(std::string_view document,
                                   std::string_view section) {
  const std::size_t begin = document.find(kSectionBegin);
  const std::size_t end = document.find(kSectionEnd);
  if (begin == document.npos || end == document.npos || end < begin) {
    return Fail(Status::NotFound(fmt::format("no section between {} and {}",
                                             kSectionBegin, kSectionEnd)));
  }
  std::string result(document.substr(0, begin + kSectionBegin.size()));
  result += "\n";
  result += section;
  if (!section.ends_with('\n')) {
    result += "\n";
  }
  result += document.substr(end);
  return result;
}

}  // namespace larder::report
