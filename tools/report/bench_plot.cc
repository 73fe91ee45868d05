#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "bench_text.h"
#include "gnuplot.h"

namespace larder::report {

namespace {

struct Series {
  const char* engine;
  const char* color;
};

constexpr std::array<Series, 4> kSeries{{{"larder", "#c0392b"},
                                         {"rocksdb", "#2c6fbb"},
                                         {"lmdb", "#3a8f4a"},
                                         {"sqlite", "#7f7f7f"}}};
constexpr std::array<const char*, 6> kPlottedOperations{
    "Set", "Get", "Delete", "MultiGet", "SetMany", "Incr"};

std::string BlockName(const char* operation, const char* engine) {
  return fmt::format("${}_{}", operation, engine);
}

/// Times per item: a batch is divided by what it holds, which the two rates
/// tell.
double ItemsPerCall(const CaseResult& result) {
  if (result.items_per_second.empty()) {
    return 1.0;
  }
  return Median(result.items_per_second) * Median(result.seconds);
}

/// Lines "size median least most" in microseconds; empty if not measured.
std::string Block(const BenchResults& results, const char* operation,
                  const char* engine) {
  std::string lines;
  for (const auto& [id, result] : results.cases) {
    if (id.operation != operation || id.engine != engine) {
      continue;
    }
    const double scale = 1e6 / ItemsPerCall(result);
    const auto [least, most] =
        std::minmax_element(result.seconds.begin(), result.seconds.end());
    lines += fmt::format("{} {:.6g} {:.6g} {:.6g}\n", id.size,
                         Median(result.seconds) * scale, *least * scale,
                         *most * scale);
  }
  return lines;
}

}  // namespace

std::string RenderPlotScript(const BenchResults& results,
                             std::string_view path) {
  std::string script = fmt::format(
      "set terminal svg size 1100,640 background '#ffffff' font 'sans,11'\n"
      "set output {}\n",
      // A name, and no command: gnuplot runs "|...".
      QuoteForGnuplot(path.starts_with('/') ? path : "./" + std::string(path)));
  std::string panels;
  for (const char* operation : kPlottedOperations) {
    std::string lines;
    for (const Series& series : kSeries) {
      const std::string block = Block(results, operation, series.engine);
      if (block.empty()) {
        continue;
      }
      const std::string name = BlockName(operation, series.engine);
      script += fmt::format("{} << EOD\n{}EOD\n", name, block);
      lines += fmt::format(
          "{}{} using 1:2:3:4 with yerrorlines lc rgb '{}' lw 1.6 pt 7 ps 0.5 "
          "title {}",
          lines.empty() ? "" : ", ", name, series.color,
          QuoteForGnuplot(series.engine));
    }
    if (!lines.empty()) {
      panels += fmt::format("set title '{}'\nplot {}\n", operation, lines);
    }
  }
  script +=
      "set multiplot layout 2,3 title 'Time per item in microseconds, by size "
      "of the value'\n"
      "set logscale xy\nset grid lc rgb '#dddddd'\nset key top left\n"
      "set xrange [70:1500000]\n"
      "set xtics ('100' 100, '1K' 1024, '16K' 16384, '64K' 65536, "
      "'1M' 1048576)\n";
  return script + panels + "unset multiplot\n";
}

}  // namespace larder::report
