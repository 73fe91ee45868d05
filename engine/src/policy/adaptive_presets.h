#ifndef LARDER_ENGINE_SRC_POLICY_ADAPTIVE_PRESETS_H_
#define LARDER_ENGINE_SRC_POLICY_ADAPTIVE_PRESETS_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "larder/engine/policy.h"

namespace larder {

/// What stands for the frequency of an item.
enum class PresetFrequency : std::uint8_t {
  kEstimate,  ///< Requests of late, by the sketch.
  kOne,       ///< Nothing: recency only.
  kStamps,    ///< Stamps of the item, counted in its entry.
};

/// One parameter set of the adaptive policy:
///
///   v = frequency * cost * (average size / size)^a
///
/// A newcomer (a key that is stored and was seen less than
/// `known_estimate_min` times) is kept apart: on probation if the preset has
/// that class, else with a lower value.
struct AdaptivePreset {
  std::string_view name;
  PresetFrequency frequency;
  /// Four times the exponent a for the objectives objects and cost. For bytes
  /// a is less by one, as a hit is worth the size that it saves.
  int size_exponent_quarters;
  /// Share of the budget for newcomers; 0 = one class.
  double probation_share;
  std::uint32_t known_estimate_min;
  /// Takes the place of the frequency for a newcomer.
  double newcomer_factor;
  /// Of so many newcomers one is taken for known at random; 0 = none.
  std::uint32_t lucky_one_in;
};

inline constexpr std::size_t kPresetCount = 8;
inline constexpr std::uint32_t kAlwaysNewcomer = 99;
inline constexpr std::array<AdaptivePreset, kPresetCount> kAdaptivePresets{{
    {"two-class", PresetFrequency::kEstimate, 6, 0.10, 2, 1.0, 0},
    {"recency", PresetFrequency::kOne, 7, 0.0, 0, 1.0, 0},
    {"frequency", PresetFrequency::kEstimate, 6, 0.02, 3, 1.0, 0},
    {"stamps", PresetFrequency::kStamps, 6, 0.0, 0, 1.0, 0},
    {"two-class-by-count", PresetFrequency::kEstimate, 0, 0.10, 2, 1.0, 0},
    {"loop", PresetFrequency::kOne, 8, 0.02, kAlwaysNewcomer, 1.0, 64},
    {"frequency-by-size", PresetFrequency::kEstimate, 4, 0.02, 3, 1.0, 0},
    {"history", PresetFrequency::kEstimate, 7, 0.0, 0, 1.0, 0},
}};
/// Without a past, `history` is the best of them alone.
inline constexpr std::size_t kFirstPreset = 7;

/// An item as a preset sees it.
struct PresetItem {
  double density = 1.0;        ///< Average size / size.
  double relative_cost = 1.0;  ///< Of a miss; 1 unless the objective is cost.
  Objective objective = Objective::kObjects;
  std::uint32_t estimate = 1;  ///< Of the sketch, this request included.
  std::uint8_t frequency = 0;  ///< Stamps so far.
  bool hit = false;
  std::uint32_t random = 0;  ///< Uniform; the same for all presets.
};

/// Where `preset` puts an item that is stored or hit.
[[nodiscard]] Placement PlaceItem(const AdaptivePreset& preset,
                                  const PresetItem& item) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_POLICY_ADAPTIVE_PRESETS_H_
