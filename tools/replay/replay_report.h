#ifndef LARDER_TOOLS_REPLAY_REPLAY_REPORT_H_
#define LARDER_TOOLS_REPLAY_REPLAY_REPORT_H_

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "larder/engine/settings.h"
#include "larder/engine/status.h"

#include "replay.h"
#include "replay_run.h"

namespace larder::replay {

/// One line of a report: a run and what it was run on.
struct ReplayRow {
  std::string trace;
  std::string policy;
  Objective objective = Objective::kObjects;
  ReplayVia via = ReplayVia::kSimulator;
  /// The size as it was asked for, and what that is.
  std::string size_text;
  std::uint64_t capacity = 0;
  /// Whether `capacity` is bytes or items.
  bool counts_bytes = true;
  RunResult run;
};

/// What was read of one trace.
struct TraceSummary {
  std::string name;
  std::string path;
  TraceContent content;
  /// Rows that are requests, and those that delete.
  std::uint64_t gets = 0;
  std::uint64_t sets = 0;
  std::uint64_t deletes = 0;
  std::uint64_t keys = 0;
  std::uint64_t footprint_bytes = 0;
  std::uint64_t skipped_rows = 0;
  std::uint64_t left_out_rows = 0;
};

[[nodiscard]] std::string_view ObjectiveName(Objective objective) noexcept;
/// Errors: kInvalidArgument lists the names.
[[nodiscard]] Result<Objective> ParseObjective(std::string_view name);
[[nodiscard]] std::string_view ReplayViaName(ReplayVia via) noexcept;

/// One line: what the file was taken for, and what is in it.
[[nodiscard]] std::string SummaryText(const TraceSummary& trace);

/// Aligned columns for people; a column that no row fills is left out.
void WriteTable(const std::vector<ReplayRow>& rows, std::ostream& out);
/// {"results": [...], "traces": [...]}; what is not known is null.
void WriteJson(const std::vector<ReplayRow>& rows,
               const std::vector<TraceSummary>& traces, std::ostream& out);
/// One header line, then one line a row.
void WriteCsv(const std::vector<ReplayRow>& rows, std::ostream& out);

/// Compares with a file that WriteJson made, by trace, policy, objective and
/// size; the ways (simulator, engine) may differ, so that one can be held
/// against the other. Prints each deviation on `out`, and how many pairs were
/// compared. True if no miss ratio differs by more than `tolerance`.
/// Errors: those of open(2), kParseError, kNotFound (nothing in common).
[[nodiscard]] Result<bool> CompareWithBaseline(
    const std::vector<ReplayRow>& rows, const std::string& path,
    double tolerance, std::ostream& out);

/// Draws miss ratios against size, a panel a trace, as SVG by means of
/// gnuplot. Errors: kNotFound (no gnuplot), kIoError.
[[nodiscard]] Status DrawMissRatioCurves(const std::vector<ReplayRow>& rows,
                                         const std::string& path);
/// Draws miss ratio over the course of each trace at the largest size.
[[nodiscard]] Status DrawMissRatioOverTime(const std::vector<ReplayRow>& rows,
                                           const std::string& path);
/// Errors: kNotFound, and what to do about it.
[[nodiscard]] Status CheckGnuplot();

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_REPLAY_REPORT_H_
