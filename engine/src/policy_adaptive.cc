// adaptive: eight presets in one rank space. Which of them stamps is decided by
// mini-simulation: all eight run as shadow caches over a sample of the keys,
// and the one with most hits (or hit bytes, or hit cost: the objective) of
// late takes over. Switching moves nothing: it changes how later stamps are
// computed, and the old ones age away.
//
// Saved state, little-endian: magic u32, preset u8, reserved 3 bytes, eight
// scores as IEEE doubles, then the sketch.

#include <bit>
#include <cmath>
#include <cstring>

#include "builtin_policies.h"
#include "frequency_sketch.h"
#include "policy_value.h"
#include "shadow_caches.h"

namespace larder {
namespace {

constexpr std::uint32_t kMagic = 0x3150414C;  // "LAP1"
constexpr std::size_t kHeaderSize = 8 + 8 * kPresetCount;
constexpr std::size_t kStateBytesMax = 1 << 20;
constexpr double kScoreDecay = 0.9;
constexpr double kSwitchGain = 1.01;
constexpr std::uint64_t kPeriodMin = 64;  // Requests between decisions.

class AdaptivePolicy final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "adaptive";
  }
  void OnAccess(const PolicyItem& item, const PolicyContext& context) override {
    sketch_.SetItemCount(context.live_items);
    sketch_.Increment(item.key_hash);
    costs_.Add(item.cost);
    shadows_.Follow(context);
    if (shadows_.IsSampled(item.key_hash)) RunShadows(item, context);
    if (++requests_ >= std::max(kPeriodMin, context.live_items)) Decide();
  }
  Placement OnInsert(const PolicyItem& item,
                     const PolicyContext& context) override {
    return PlaceReal(item, context, false);
  }
  std::optional<Placement> OnHit(const PolicyItem& item,
                                 const PolicyContext& context) override {
    return PlaceReal(item, context, true);
  }
  [[nodiscard]] double probation_share() const noexcept override {
    return kAdaptivePresets[preset_].probation_share;
  }

  [[nodiscard]] std::string SaveState() const override;
  void LoadState(std::string_view state) override;

 private:
  double RelativeCost(const PolicyItem& item,
                      const PolicyContext& context) const noexcept {
    return context.objective == Objective::kCost ? costs_.Relative(item.cost)
                                                 : 1.0;
  }
  void RunShadows(const PolicyItem& item, const PolicyContext& context) {
    ShadowCaches::Request request;
    request.key_hash = item.key_hash;
    request.size_bytes = item.size_bytes;
    request.relative_cost = RelativeCost(item, context);
    request.estimate = sketch_.Estimate(item.key_hash);
    switch (context.objective) {
      case Objective::kObjects:
        request.gain = 1.0;
        break;
      case Objective::kBytes:
        request.gain = static_cast<double>(item.size_bytes);
        break;
      case Objective::kCost:
        request.gain = request.relative_cost;
        break;
    }
    shadows_.Run(request);
  }
  Placement PlaceReal(const PolicyItem& item, const PolicyContext& context,
                      bool hit) const noexcept {
    const double cost = RelativeCost(item, context);
    const double density =
        context.average_size() /
        static_cast<double>(std::max<std::uint64_t>(1, item.size_bytes));
    return Place(kAdaptivePresets[preset_],
                 {.value_of_one = cost * density,
                  .relative_cost = cost,
                  .estimate = sketch_.Estimate(item.key_hash),
                  .frequency = item.frequency,
                  .hit = hit});
  }
  void Decide() noexcept {
    requests_ = 0;
    const auto& scores = shadows_.scores();
    std::size_t best = preset_;
    for (std::size_t p = 0; p < kPresetCount; ++p) {
      if (scores[p] > scores[best]) best = p;
    }
    if (scores[best] > kSwitchGain * scores[preset_]) preset_ = best;
    shadows_.DecayScores(kScoreDecay);
  }

  std::size_t preset_ = 0;
  std::uint64_t requests_ = 0;  // Since the last decision.
  FrequencySketch sketch_{{.age_factor = 10.0, .door_log2 = 0}};
  ShadowCaches shadows_;
  MeanCost costs_;
};

std::string AdaptivePolicy::SaveState() const {
  std::string state(kHeaderSize, '\0');
  for (std::size_t i = 0; i < 4; ++i) {
    state[i] = static_cast<char>(kMagic >> (8 * i));
  }
  state[4] = static_cast<char>(preset_);
  for (std::size_t p = 0; p < kPresetCount; ++p) {
    const auto bits = std::bit_cast<std::uint64_t>(shadows_.scores()[p]);
    for (std::size_t i = 0; i < 8; ++i) {
      state[8 + 8 * p + i] = static_cast<char>(bits >> (8 * i));
    }
  }
  return state + sketch_.Save(kStateBytesMax - kHeaderSize);
}

void AdaptivePolicy::LoadState(std::string_view state) {
  if (state.size() < kHeaderSize) return;
  const auto byte_at = [&](std::size_t i) {
    return std::uint64_t{static_cast<unsigned char>(state[i])};
  };
  std::uint64_t magic = 0;
  for (std::size_t i = 0; i < 4; ++i) magic |= byte_at(i) << (8 * i);
  if (magic != kMagic || byte_at(4) >= kPresetCount) return;
  std::array<double, kPresetCount> scores{};
  for (std::size_t p = 0; p < kPresetCount; ++p) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      bits |= byte_at(8 + 8 * p + i) << (8 * i);
    }
    scores[p] = std::bit_cast<double>(bits);
    if (!std::isfinite(scores[p]) || scores[p] < 0) return;
  }
  if (!sketch_.Load(state.substr(kHeaderSize))) return;
  preset_ = static_cast<std::size_t>(byte_at(4));
  shadows_.SetScores(scores);
}

}  // namespace

std::unique_ptr<Policy> MakeAdaptivePolicy() {
  return std::make_unique<AdaptivePolicy>();
}

}  // namespace larder
