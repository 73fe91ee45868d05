#ifndef LARDER_BENCH_POLICIES_POLICY_CELLS_H_
#define LARDER_BENCH_POLICIES_POLICY_CELLS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "larder/engine/status.h"

#include "replay_run.h"

namespace larder::bench {

/// One trace at one size: what others published for it, and what we got.
struct PolicyCell {
  std::string trace;
  bool ignore_size = false;
  double fraction = 0;
  std::uint64_t capacity = 0;
  /// Published object miss ratios by "source/policy".
  std::map<std::string, double> published;
  /// Our runs by policy.
  std::map<std::string, replay::RunResult> runs;

  /// "web_nasa", "web_nasa(n)" if sizes are ignored.
  [[nodiscard]] std::string TraceLabel() const {
    return ignore_size ? trace + "(n)" : trace;
  }
  /// "0.1%".
  [[nodiscard]] std::string SizeLabel() const;
  [[nodiscard]] std::optional<double> Published(const std::string& id) const;
  [[nodiscard]] double MissRatio(const std::string& policy) const {
    return runs.at(policy).object_miss_ratio();
  }
};

/// Reads "trace,ignore_size,policy,source,fraction,capacity,miss_ratio,
/// byte_miss_ratio,restamps_per_request" with its header; a field may be in
/// double quotes. Errors: those of open(2), kParseError (FILE:LINE).
[[nodiscard]] Result<std::vector<PolicyCell>> ReadPolicyCells(
    const std::string& path);

/// What one policy gains over LRU, (LRU - x) / LRU, over many cells.
struct PolicyGain {
  std::string policy;
  std::size_t cells = 0;
  double mean_gain = 0;
  double worst_gain = 0;
  std::string worst_cell{};
  double restamps_per_request = 0;
  double restamps_per_hit = 0;
  double requests_per_second = 0;
};
[[nodiscard]] PolicyGain GainOf(const std::string& policy,
                                const std::vector<PolicyCell>& cells);

}  // namespace larder::bench

#endif  // LARDER_BENCH_POLICIES_POLICY_CELLS_H_
