#include "adaptive_presets.h"

#include <algorithm>

namespace larder {

Placement Place(const AdaptivePreset& preset, const PresetItem& item) noexcept {
  const double one = preset.uses_size ? item.value_of_one : item.relative_cost;
  const double seen = std::max(1U, item.estimate);
  switch (preset.kind) {
    case PresetKind::kTwoClass: {
      const std::uint32_t needed = item.hit ? 2 : preset.main_estimate_min;
      if (item.estimate < needed) return {kClassProbation, one, 0};
      return {kClassMain, seen * one, 0};
    }
    case PresetKind::kRecency:
      return {kClassMain, item.hit ? one : 0.5 * one, 0};
    case PresetKind::kFrequency: {
      const int stamps = item.hit ? std::min(255, item.frequency + 1) : 1;
      return {kClassMain, stamps * one, static_cast<std::uint8_t>(stamps)};
    }
    case PresetKind::kHistory:
      return {kClassMain, seen * one, 0};
  }
  return {};
}

}  // namespace larder
