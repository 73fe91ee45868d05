// One table for all presets: a sampled request is one lookup, and a key that
// none of them holds is forgotten at the next rehash. The rate falls while the
// real cache fills up (keys above the new threshold leave) and rises again
// only when the real cache holds much fewer items.

#include "policy/shadow_caches.h"

#include <algorithm>
#include <utility>

namespace larder {
namespace {

constexpr std::uint32_t kShadowBucketCount = 64;
constexpr std::size_t kShadowSlotCountMin = 256;

// Not the hash of the sketch nor of any table: the sample must be fair there.
std::uint64_t SampleHash(std::uint64_t key_hash) noexcept {
  key_hash ^= key_hash >> 30;
  key_hash *= 0xBF58476D1CE4E5B9ULL;
  key_hash ^= key_hash >> 27;
  key_hash *= 0x94D049BB133111EBULL;
  return key_hash ^ (key_hash >> 31);
}

}  // namespace

ShadowCaches::ShadowCaches()
    : spaces_(kPresetCount, RankSpace({.bucket_count = kShadowBucketCount,
                                       .ghost_share = 0.0})),
      slots_(kShadowSlotCountMin) {}

bool ShadowCaches::IsSampled(std::uint64_t key_hash) const noexcept {
  return SampleHash(key_hash) <= threshold_;
}

void ShadowCaches::Follow(const PolicyContext& real) {
  if (real.budget_bytes != real_budget_) {
    real_budget_ = real.budget_bytes;
    SetRate(rate_);
  }
  const double items = static_cast<double>(real.live_items);
  const double wanted = std::min(
      1.0, static_cast<double>(kSampledItemCount) / std::max(1.0, items));
  if (wanted < 0.9 * rate_ || wanted > 2.0 * rate_) SetRate(wanted);
}

void ShadowCaches::SetRate(double rate) {
  const bool fewer = rate < rate_;
  rate_ = rate;
  threshold_ = rate >= 1.0
                   ? ~std::uint64_t{0}
                   : static_cast<std::uint64_t>(rate * 18446744073709549568.0);
  for (RankSpace& space : spaces_) {
    space.SetBudget(
        static_cast<std::uint64_t>(rate * static_cast<double>(real_budget_)));
  }
  if (!fewer) return;
  for (Slot& slot : slots_) {
    if (!slot.used || IsSampled(slot.key_hash)) continue;
    for (std::size_t p = 0; p < kPresetCount; ++p) {
      if (slot.ranks[p] != 0) {
        spaces_[p].Add(slot.ranks[p], -std::int64_t{slot.sizes[p]}, -1);
      }
      slot.ranks[p] = 0;
    }
  }
}

void ShadowCaches::Run(const Request& request) {
  scores_.all += request.gain;
  Slot& slot = FindSlot(request.key_hash);
  for (std::size_t p = 0; p < kPresetCount; ++p) RunPreset(p, slot, request);
}

void ShadowCaches::RunPreset(std::size_t preset, Slot& slot,
                             const Request& request) {
  RankSpace& space = spaces_[preset];
  const AdaptivePreset& rules = kAdaptivePresets[preset];
  Rank& rank = slot.ranks[preset];
  const bool hit = rank != 0 && space.IsLive(rank);
  const std::uint32_t size =
      hit ? slot.sizes[preset]
          : static_cast<std::uint32_t>(
                std::min<std::uint64_t>(request.size_bytes, 0xFFFFFFFF));
  if (hit) {
    scores_.presets[preset] += request.gain;
  } else {
    if (size > space.budget()) {
      rank = 0;
      return;
    }
    while (space.live_bytes() + size > space.budget()) {
      if (!space.EvictLowest(rules.probation_share)) break;
    }
  }
  const PresetItem item{
      .density = space.context().average_size() / std::max(1U, size),
      .relative_cost = request.relative_cost,
      .objective = request.objective,
      .estimate = request.estimate,
      .frequency = slot.frequencies[preset],
      .hit = hit,
      .random = request.random};
  const Placement placement = PlaceItem(rules, item);
  if (!hit) {
    rank = space.Stamp(placement);
    slot.sizes[preset] = size;
  } else {
    const auto moved = space.Restamp(rank, placement, Policy::Laziness{});
    if (!moved) return;
    space.Add(rank, -std::int64_t{size}, -1);
    rank = *moved;
  }
  space.Add(rank, size, 1);
  slot.frequencies[preset] = placement.frequency;
}

void ShadowCaches::DecayScores(double factor) noexcept {
  for (double& score : scores_.presets) score *= factor;
  scores_.all *= factor;
}

bool ShadowCaches::IsUseful(const Slot& slot) const noexcept {
  if (!slot.used) return false;
  for (std::size_t p = 0; p < kPresetCount; ++p) {
    if (slot.ranks[p] != 0 && spaces_[p].IsLive(slot.ranks[p])) return true;
  }
  return false;
}

ShadowCaches::Slot& ShadowCaches::FindSlot(std::uint64_t key_hash) {
  if (4 * (used_ + 1) > 3 * slots_.size()) Rehash();
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = (SampleHash(key_hash) * 0x9E3779B97F4A7C15ULL >> 32) & mask;
  while (slots_[i].used && slots_[i].key_hash != key_hash) i = (i + 1) & mask;
  Slot& slot = slots_[i];
  if (!slot.used) {
    slot = {};
    slot.used = true;
    slot.key_hash = key_hash;
    ++used_;
  }
  return slot;
}

// Drops what no preset holds. If the table is full of useful keys (a sample
// much larger than planned: tiny items after large ones), halves the sample.
void ShadowCaches::Rehash() {
  std::vector<Slot> old = std::move(slots_);
  const auto count_useful = [&] {
    return static_cast<std::size_t>(
        std::count_if(old.begin(), old.end(),
                      [&](const Slot& slot) { return IsUseful(slot); }));
  };
  std::size_t useful = count_useful();
  while (2 * useful > kSlotCountMax) {
    slots_ = std::move(old);
    SetRate(rate_ / 2);
    old = std::move(slots_);
    useful = count_useful();
  }
  std::size_t size = kShadowSlotCountMin;
  while (size < 2 * useful + 2) size *= 2;
  slots_.assign(size, {});
  used_ = 0;
  for (const Slot& slot : old) {
    if (IsUseful(slot)) FindSlot(slot.key_hash) = slot;
  }
}

}  // namespace larder
