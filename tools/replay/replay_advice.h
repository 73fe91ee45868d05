#ifndef LARDER_TOOLS_REPLAY_REPLAY_ADVICE_H_
#define LARDER_TOOLS_REPLAY_REPLAY_ADVICE_H_

#include <string>
#include <vector>

#include "replay_report.h"

namespace larder::replay {

/// A larger size must save this share of the requests per doubling, or it is
/// not advised.
inline constexpr double kWorthPerDoubling = 0.01;

/// "Which policy, which size" for one trace and objective.
struct ReplayAdvice {
  std::string trace;
  Objective objective = Objective::kObjects;
  std::string policy;
  std::string size_text;
  std::uint64_t capacity = 0;
  bool counts_bytes = true;
  /// Of the objective.
  double miss_ratio = 0;
  /// Of the largest size that was tried.
  double miss_ratio_largest = 0;
};

/// The advised size is the smallest from which no larger one saves
/// kWorthPerDoubling; the policy is the one that misses least there. Only
/// policies of larder count, as the others cannot be had.
[[nodiscard]] std::vector<ReplayAdvice> AdviceFrom(
    const std::vector<ReplayRow>& rows);
/// One line for people.
[[nodiscard]] std::string AdviceText(const ReplayAdvice& advice);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_REPLAY_ADVICE_H_
