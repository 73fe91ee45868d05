#ifndef LARDER_ENGINE_SRC_POLICY_POLICY_VALUE_H_
#define LARDER_ENGINE_SRC_POLICY_POLICY_VALUE_H_

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "larder/engine/policy.h"

namespace larder {

/// Of the state that a policy of ours leaves in the directory.
inline constexpr std::size_t kPolicyStateBytesMax = 1 << 20;

/// The mean cost of requests: values are relative to an average item, and
/// costs come in any unit.
class MeanCost {
 public:
  void Add(double cost) noexcept {
    if (!(cost >= 0.0) || std::isinf(cost)) return;  // A caller's number.
    count_ = std::min(count_ + 1.0, 4096.0);
    mean_ += (cost - mean_) / count_;
  }
  /// `cost` in units of the mean.
  [[nodiscard]] double Relative(double cost) const noexcept {
    return mean_ > 0.0 && cost >= 0.0 ? cost / mean_ : 1.0;
  }

 private:
  double mean_ = 0.0;
  double count_ = 0.0;
};

/// density^(quarters / 4) for 0..12 quarters, without libm's pow.
inline double PowerOfQuarters(double density, int quarters) noexcept {
  if (density == 1.0 || quarters == 0) return 1.0;
  double power = 1.0;
  for (int i = 4; i <= quarters; i += 4) power *= density;
  const double root = std::sqrt(density);
  if ((quarters & 2) != 0) power *= root;
  if ((quarters & 1) != 0) power *= std::sqrt(root);
  return power;
}

/// What one expected hit of `item` is worth per byte it occupies, 1 for an
/// average item. Objective bytes: a hit saves the item's size, which cancels
/// out.
inline double ValueOfOne(const PolicyItem& item, const PolicyContext& context,
                         const MeanCost& costs) noexcept {
  if (context.objective == Objective::kBytes) return 1.0;
  const double density =
      context.average_size() /
      static_cast<double>(std::max<std::uint64_t>(1, item.size_bytes));
  return context.objective == Objective::kCost
             ? density * costs.Relative(item.cost)
             : density;
}

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_POLICY_POLICY_VALUE_H_
