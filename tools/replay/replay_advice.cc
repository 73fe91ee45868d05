#include "replay_advice.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "larder/engine/policy.h"

namespace larder::replay {
namespace {

double MissRatio(const ReplayRow& row) noexcept {
  if (row.objective == Objective::kBytes) return row.run.byte_miss_ratio();
  return row.objective == Objective::kCost ? row.run.cost_miss_ratio()
                                           : row.run.object_miss_ratio();
}

/// The best row of each size, by size. `rows` are of one trace and objective.
std::vector<const ReplayRow*> BestOfEachSize(
    const std::vector<const ReplayRow*>& rows) {
  std::vector<const ReplayRow*> sorted = rows;
  std::ranges::stable_sort(sorted, [](const auto* a, const auto* b) {
    return a->capacity != b->capacity ? a->capacity < b->capacity
                                      : MissRatio(*a) < MissRatio(*b);
  });
  const auto same_size = [](const auto* a, const auto* b) {
    return a->capacity == b->capacity;
  };
  sorted.erase(std::unique(sorted.begin(), sorted.end(), same_size),
               sorted.end());
  return sorted;
}

bool IsWorthIt(const ReplayRow& from, const ReplayRow& to) {
  const double doublings = std::log2(static_cast<double>(to.capacity) /
                                     static_cast<double>(from.capacity));
  return MissRatio(from) - MissRatio(to) >= kWorthPerDoubling * doublings;
}

ReplayAdvice AdviceOf(const std::vector<const ReplayRow*>& best) {
  const ReplayRow* advised = best.back();
  for (std::size_t i = 0; i < best.size(); ++i) {
    const bool worth_more = std::any_of(
        best.begin() + static_cast<std::ptrdiff_t>(i) + 1, best.end(),
        [&](const ReplayRow* larger) { return IsWorthIt(*best[i], *larger); });
    if (worth_more) continue;
    advised = best[i];
    break;
  }
  return {.trace = advised->trace,
          .objective = advised->objective,
          .policy = advised->policy,
          .size_text = advised->size_text,
          .capacity = advised->capacity,
          .counts_bytes = advised->counts_bytes,
          .miss_ratio = MissRatio(*advised),
          .miss_ratio_largest = MissRatio(*best.back())};
}

}  // namespace

std::vector<ReplayAdvice> AdviceFrom(const std::vector<ReplayRow>& rows) {
  std::vector<const ReplayRow*> left;
  const std::vector<std::string> own = PolicyNames();
  for (const ReplayRow& row : rows) {
    const bool counts = row.capacity > 0 && row.run.requests > 0;
    if (counts && std::ranges::find(own, row.policy) != own.end()) {
      left.push_back(&row);
    }
  }
  std::vector<ReplayAdvice> advice;
  while (!left.empty()) {
    const ReplayRow& first = *left.front();
    const auto others = std::stable_partition(
        left.begin(), left.end(), [&](const ReplayRow* row) {
          return row->trace == first.trace && row->objective == first.objective;
        });
    advice.push_back(AdviceOf(BestOfEachSize({left.begin(), others})));
    left.erase(left.begin(), others);
  }
  return advice;
}

std::string AdviceText(const ReplayAdvice& advice) {
  std::string text = fmt::format("{}: policy {} at {}", advice.trace,
                                 advice.policy, advice.size_text);
  const std::string unit = advice.counts_bytes ? "B" : "items";
  text += fmt::format(" ({} {}) misses {:.1f} %", advice.capacity, unit,
                      100 * advice.miss_ratio);
  if (advice.objective != Objective::kObjects) {
    text += fmt::format(" of the {}", ObjectiveName(advice.objective));
  }
  if (advice.miss_ratio_largest < advice.miss_ratio) {
    text += fmt::format("; the largest size tried would save {:.1f} points",
                        100 * (advice.miss_ratio - advice.miss_ratio_largest));
  }
  return text;
}

}  // namespace larder::replay
