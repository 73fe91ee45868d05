#ifndef LARDER_TOOLS_REPORT_BENCH_BARS_H_
#define LARDER_TOOLS_REPORT_BENCH_BARS_H_

#include <optional>
#include <string>
#include <vector>

#include "bench_results.h"

/// The figures that larder promises, each a ratio of medians of one run or,
/// for opening, a time.

namespace larder::report {

enum class BarKind {
  /// larder's time of a call is at most `bound` times the peer's.
  kTimeRatioMax,
  /// larder's bytes per second are at least `bound` times the peer's.
  kThroughputRatioMin,
  /// larder's time is at most `bound` milliseconds.
  kMillisecondsMax,
};

struct Bar {
  BarKind kind;
  CaseId larder;
  /// Ignored for kMillisecondsMax.
  CaseId peer;
  double bound;
};

struct BarResult {
  Bar bar;
  /// nullopt: the run has not got what is needed.
  std::optional<double> measured;
  [[nodiscard]] bool met() const noexcept;
  /// One line: what, measured, bound, verdict.
  [[nodiscard]] std::string Describe() const;
};

const std::vector<Bar>& AllBars();

std::vector<BarResult> CheckBars(const BenchResults& results);

}  // namespace larder::report

#endif  // LARDER_TOOLS_REPORT_BENCH_BARS_H_
