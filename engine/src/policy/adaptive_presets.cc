// Why these: exponents above 1 win on every trace with sizes, as an item that
// is large is also the one that many small ones have to make room for; the two
// classes shield main from newcomers; `loop` keeps a random part of a cycle
// that is larger than the cache, where all others keep nothing (bimodal
// insertion: Qureshi et al., ISCA 2007); a one-class preset uses main, so that
// switching to it leaves main in place.
//
// `loop` lets few newcomers into main: that main is renewed slowly is what
// keeps the part of the cycle, and what a wrong switch to it costs. On the
// traces of bench/policies one in 48 or 64 is safe; with one in 24 to 40 some
// random streams miss .07 more in one cell (cloudphysics_io 10 %).

#include "policy/adaptive_presets.h"

#include <algorithm>

#include "policy/policy_value.h"

namespace larder {

Placement PlaceItem(const AdaptivePreset& preset,
                    const PresetItem& item) noexcept {
  const int shift = item.objective == Objective::kBytes ? 4 : 0;
  const double one =
      item.relative_cost *
      PowerOfQuarters(item.density,
                      std::max(0, preset.size_exponent_quarters - shift));
  const int stamps = item.hit ? std::min(255, item.frequency + 1) : 1;
  Placement placement{kClassMain, one, static_cast<std::uint8_t>(stamps)};
  const bool lucky =
      preset.lucky_one_in != 0 && item.random % preset.lucky_one_in == 0;
  if (!item.hit && item.estimate < preset.known_estimate_min && !lucky) {
    placement.value *= preset.newcomer_factor;
    if (preset.probation_share > 0) placement.class_index = kClassProbation;
    return placement;
  }
  switch (preset.frequency) {
    case PresetFrequency::kEstimate:
      placement.value *= std::max(1U, item.estimate);
      break;
    case PresetFrequency::kOne:
      break;
    case PresetFrequency::kStamps:
      placement.value *= stamps;
      break;
  }
  return placement;
}

}  // namespace larder
