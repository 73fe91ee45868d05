// adaptive: eight presets in one rank space. Which of them stamps is decided by
// mini-simulation: all eight run as shadow caches over a sample of the keys,
// and the one with the most hits (or hit bytes, or hit cost: the objective) of
// late takes over. Switching moves nothing: it changes how later stamps are
// computed, and the old ones age away.
//
// A switch costs something, as the items of the old preset are ranked by other
// rules. So it needs a lead over the present preset: 1 % of its hits or 2 % of
// its misses, whichever is less (a lead of 1 % of the hits is out of reach
// where nearly all hit). Hits before the first eviction count for all alike
// and make the first switch wait for a clear lead.
//
// Rejected: scoring the real cache itself (one preset at a time, drowned by
// the drift of the workload); deciding more often than once per turn of the
// cache (noise moves it).
//
// Saved state, little-endian: magic u32, preset u8, reserved 3 bytes, the sum
// of all gains and eight scores as IEEE doubles, then the sketch.

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/coding.h"
#include "policy/builtin_policies.h"
#include "policy/frequency_sketch.h"
#include "policy/policy_value.h"
#include "policy/shadow_caches.h"

namespace larder {
namespace {

constexpr std::uint32_t kAdaptiveMagic = 0x3150414C;  // "LAP1"
constexpr std::size_t kAdaptiveHeaderSize = 16 + 8 * kPresetCount;
constexpr double kScoreDecay = 0.9;
constexpr double kHitLead = 0.01;
constexpr double kMissLead = 0.02;
constexpr std::uint64_t kPeriodMin = 64;  // Requests between decisions.
constexpr std::uint64_t kIdleDecisions = 64;
constexpr std::uint64_t kIdleShare = 1024;

class AdaptivePolicy final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "adaptive";
  }
  void OnAccess(const PolicyItem& item, const PolicyContext& context) override {
    random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
    sketch_.SetItemCount(context.live_items);
    sketch_.Increment(item.key_hash);
    costs_.Add(item.cost);
    shadows_.Follow(context);
    if (!IsIdle(context) && shadows_.IsSampled(item.key_hash)) {
      RunShadows(item, context);
    }
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
  [[nodiscard]] double RelativeCost(
      const PolicyItem& item, const PolicyContext& context) const noexcept {
    return context.objective == Objective::kCost ? costs_.Relative(item.cost)
                                                 : 1.0;
  }
  // The same few items in a nearly empty cache, over and over: the shadows hold
  // them all, and will as long as that goes on.
  [[nodiscard]] bool IsIdle(const PolicyContext& context) const noexcept {
    return decisions_ >= kIdleDecisions &&
           context.live_bytes < context.budget_bytes / kIdleShare;
  }
  [[nodiscard]] std::uint32_t Random() const noexcept {
    return static_cast<std::uint32_t>(random_ >> 33);
  }
  void RunShadows(const PolicyItem& item, const PolicyContext& context);
  [[nodiscard]] Placement PlaceReal(const PolicyItem& item,
                                    const PolicyContext& context,
                                    bool hit) const noexcept;
  void Decide() noexcept;

  std::size_t preset_ = kFirstPreset;
  std::uint64_t requests_ = 0;  // Since the last decision.
  std::uint64_t decisions_ = 0;
  std::uint64_t random_ = 1;  // Of this request.
  FrequencySketch sketch_{{.age_factor = 10.0, .door_log2 = 0}};
  ShadowCaches shadows_;
  MeanCost costs_;
};

void AdaptivePolicy::RunShadows(const PolicyItem& item,
                                const PolicyContext& context) {
  ShadowCaches::Request request;
  request.key_hash = item.key_hash;
  request.size_bytes = item.size_bytes;
  request.relative_cost = RelativeCost(item, context);
  request.objective = context.objective;
  request.estimate = sketch_.Estimate(item.key_hash);
  request.random = Random();
  request.gain = context.objective == Objective::kBytes
                     ? static_cast<double>(item.size_bytes)
                     : request.relative_cost;
  shadows_.Run(request);
}

Placement AdaptivePolicy::PlaceReal(const PolicyItem& item,
                                    const PolicyContext& context,
                                    bool hit) const noexcept {
  PresetItem seen;
  seen.density =
      context.average_size() /
      static_cast<double>(std::max<std::uint64_t>(1, item.size_bytes));
  seen.relative_cost = RelativeCost(item, context);
  seen.objective = context.objective;
  seen.estimate = sketch_.Estimate(item.key_hash);
  seen.frequency = item.frequency;
  seen.hit = hit;
  seen.random = Random();
  return PlaceItem(kAdaptivePresets[preset_], seen);
}

void AdaptivePolicy::Decide() noexcept {
  requests_ = 0;
  ++decisions_;
  const ShadowCaches::Scores& scores = shadows_.scores();
  const auto best = static_cast<std::size_t>(
      std::max_element(scores.presets.begin(), scores.presets.end()) -
      scores.presets.begin());
  const double now = scores.presets[preset_];
  const double lead = std::min(kHitLead * now, kMissLead * (scores.all - now));
  if (scores.presets[best] > now + lead) preset_ = best;
  shadows_.DecayScores(kScoreDecay);
}

std::string AdaptivePolicy::SaveState() const {
  const ShadowCaches::Scores& scores = shadows_.scores();
  std::string state;
  PutSized(state, kAdaptiveMagic, 4);
  PutSized(state, preset_, 4);
  PutSized(state, std::bit_cast<std::uint64_t>(scores.all), 8);
  for (const double score : scores.presets) {
    PutSized(state, std::bit_cast<std::uint64_t>(score), 8);
  }
  return state + sketch_.Save(kPolicyStateBytesMax - kAdaptiveHeaderSize);
}

void AdaptivePolicy::LoadState(std::string_view state) {
  if (state.size() < kAdaptiveHeaderSize ||
      GetSized(state, 0, 4) != kAdaptiveMagic)
    return;
  const std::uint64_t preset = GetSized(state, 4, 4);
  if (preset >= kPresetCount) return;
  ShadowCaches::Scores scores;
  scores.all = std::bit_cast<double>(GetSized(state, 8, 8));
  if (!std::isfinite(scores.all)) return;
  for (std::size_t p = 0; p < kPresetCount; ++p) {
    scores.presets[p] = std::bit_cast<double>(GetSized(state, 16 + 8 * p, 8));
    if (!(scores.presets[p] >= 0.0 && scores.presets[p] <= scores.all)) return;
  }
  if (!sketch_.Load(state.substr(kAdaptiveHeaderSize))) return;
  preset_ = static_cast<std::size_t>(preset);
  shadows_.SetScores(scores);
}

}  // namespace

std::unique_ptr<Policy> MakeAdaptivePolicy() {
  return std::make_unique<AdaptivePolicy>();
}

}  // namespace larder
