#ifndef LARDER_BENCH_MANY_PROCESSES_PROCESS_FIGURES_H_
#define LARDER_BENCH_MANY_PROCESSES_PROCESS_FIGURES_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

/// What `bench/processes` measures: one figure a line, most beside what it is
/// compared with.

namespace larder::bench {

struct Figure {
  std::string name;
  double value = 0;
  std::string unit;
  std::string peer;  ///< Empty: compared with a bound, not with a peer.
  double peer_value = 0;
  /// What is wanted: of the ratio value / peer_value if there is a peer, else
  /// of the value.
  std::optional<double> at_least = {};
  std::optional<double> at_most = {};

  [[nodiscard]] double compared() const noexcept {
    if (peer.empty()) return value;
    return peer_value != 0 ? value / peer_value : 0;
  }
  [[nodiscard]] bool met() const noexcept {
    return compared() >= at_least.value_or(compared()) &&
           compared() <= at_most.value_or(compared());
  }
};

/// Bars side by side: one quantity of several systems.
struct BarGroup {
  std::string title;
  std::vector<std::pair<std::string, double>> bars;
};

/// All that one run brought.
struct Report {
  std::vector<Figure> figures;
  std::vector<BarGroup> bars;
  std::vector<std::string> left_out;  ///< And why.
};

/// The upper one of two in the middle; 0 of none.
[[nodiscard]] double Median(std::vector<double> values);

/// A table of figures, then the bars.
[[nodiscard]] std::string FormatReport(const Report& report);
/// The same, with stable names.
[[nodiscard]] std::string ReportJson(const Report& report);

/// What one run is given.
struct ProcessBenchOptions {
  std::string directory;  ///< For caches; empty but for what is made there.
  double seconds = 3;     ///< Of each load.
  unsigned rounds = 3;    ///< Of the mix; figures are medians of them.
  unsigned processes = 8;
  double torture_seconds = 20;
};

// Each adds its figures; what cannot be measured is left out, with the reason.
void MeasureMix(const ProcessBenchOptions& options, Report& report);
void MeasureHotReads(const ProcessBenchOptions& options, Report& report);
void MeasureRoundTrips(const ProcessBenchOptions& options, Report& report);
void MeasureLargeValues(const ProcessBenchOptions& options, Report& report);
void MeasureTakeover(const ProcessBenchOptions& options, Report& report);
void MeasureAlone(const ProcessBenchOptions& options, Report& report);
void MeasureIdle(const ProcessBenchOptions& options, Report& report);
void MeasureTorture(const ProcessBenchOptions& options, Report& report);

}  // namespace larder::bench

#endif  // LARDER_BENCH_MANY_PROCESSES_PROCESS_FIGURES_H_
