#include "commit/access_counts.h"

namespace larder {
namespace {

Accesses Of(const HotTierFigures& tier) noexcept {
  return {.hits = tier.hits, .misses = tier.misses};
}

}  // namespace

void AccessCounts::ChangeTier(const HotTierFigures* old,
                              const HotTierFigures* next) noexcept {
  if (old != nullptr) tiers_done_ += Of(*old) - tier_base_;
  if (next != nullptr) tier_base_ = Of(*next);
}

Accesses AccessCounts::Total(const HotTierFigures* tier) const noexcept {
  Accesses total{.hits = hits_.Sum(), .misses = misses_.Sum()};
  total += tiers_done_;
  if (tier != nullptr) total += Of(*tier) - tier_base_;
  return total;
}

}  // namespace larder
