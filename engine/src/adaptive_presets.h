#ifndef LARDER_ENGINE_SRC_ADAPTIVE_PRESETS_H_
#define LARDER_ENGINE_SRC_ADAPTIVE_PRESETS_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "larder/engine/policy.h"

namespace larder {

/// How a preset of the adaptive policy values an item.
enum class PresetKind : std::uint8_t {
  kTwoClass,   ///< Newcomers on probation; est * v in main.
  kRecency,    ///< One class; v, a newcomer's is halved.
  kFrequency,  ///< One class; stamps of the item * v.
  kHistory,    ///< One class; est * v.
};

/// One parameter set of the adaptive policy.
struct AdaptivePreset {
  std::string_view name;
  PresetKind kind;
  double probation_share;
  /// A newcomer with this estimate goes straight to main.
  std::uint32_t main_estimate_min;
  bool uses_size;
};

inline constexpr std::size_t kPresetCount = 8;
inline constexpr std::array<AdaptivePreset, kPresetCount> kAdaptivePresets{{
    {"s3-gdsf", PresetKind::kTwoClass, 0.10, 2, true},
    {"recency", PresetKind::kRecency, 0.0, 0, true},
    {"frequency", PresetKind::kTwoClass, 0.02, 3, true},
    {"gdsf", PresetKind::kFrequency, 0.0, 0, true},
    {"s3-gdsf-no-size", PresetKind::kTwoClass, 0.10, 2, false},
    {"recency-no-size", PresetKind::kRecency, 0.0, 0, false},
    {"frequency-no-size", PresetKind::kTwoClass, 0.02, 3, false},
    {"gdsf-history", PresetKind::kHistory, 0.0, 0, true},
}};

/// An item as a preset sees it.
struct PresetItem {
  double value_of_one = 1.0;   ///< Worth of one hit, by size and cost.
  double relative_cost = 1.0;  ///< The same without the size.
  std::uint32_t estimate = 1;  ///< Of the sketch, this request included.
  std::uint8_t frequency = 0;  ///< Stamps so far.
  bool hit = false;
};

/// Where `preset` puts an item that is stored or hit.
Placement Place(const AdaptivePreset& preset, const PresetItem& item) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_ADAPTIVE_PRESETS_H_
