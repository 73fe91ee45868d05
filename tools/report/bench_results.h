#ifndef LARDER_TOOLS_REPORT_BENCH_RESULTS_H_
#define LARDER_TOOLS_REPORT_BENCH_RESULTS_H_

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "larder/engine/status.h"

/// The JSON of the benchmark library, as far as a report needs it.

namespace larder::report {

/// "BM_Get/rocksdb/1024/...": what was measured.
struct CaseId {
  std::string operation;
  std::string engine;
  std::uint64_t size = 0;  ///< Of the values; of the store for Open, Recover.
  friend auto operator<=>(const CaseId&, const CaseId&) = default;
};

/// The repetitions of one case.
struct CaseResult {
  /// Of one call: of one batch, where a call is a batch.
  std::vector<double> seconds;
  /// One per repetition, or none.
  std::vector<double> bytes_per_second;
  std::vector<double> items_per_second;
};

struct BenchResults {
  std::map<CaseId, CaseResult> cases;
  /// Cases that failed, with what they said.
  std::vector<std::pair<std::string, std::string>> errors;
  /// In the order of the file: machine, options and so on.
  std::map<std::string, std::string> context;

  [[nodiscard]] const CaseResult* Find(const CaseId& id) const;
};

/// Errors: kParseError (not such a JSON; says where).
Result<BenchResults> ParseBenchResults(std::string_view json);

/// REQUIRES: not empty.
double Median(std::vector<double> values);
/// Half of the distance between the extremes, relative to the median: the "x"
/// of "median +- x".
double RelativeSpread(const std::vector<double>& values);

}  // namespace larder::report

#endif  // LARDER_TOOLS_REPORT_BENCH_RESULTS_H_
