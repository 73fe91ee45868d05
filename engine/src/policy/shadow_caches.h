#ifndef LARDER_ENGINE_SRC_POLICY_SHADOW_CACHES_H_
#define LARDER_ENGINE_SRC_POLICY_SHADOW_CACHES_H_

#include <array>
#include <cstdint>
#include <vector>

#include "policy/adaptive_presets.h"
#include "policy/rank_space.h"

namespace larder {

/// Every preset of the adaptive policy, each as a small cache without values
/// over the same sample of the keys: those whose hash lies below a threshold,
/// chosen so that a cache holds about kSampledItemCount of them. The budget is
/// scaled by the same rate, so their hit ratios estimate those of the presets
/// on the whole workload.
///
/// Threads: thread-compatible. Memory: at most kSlotCountMax slots of 120
/// bytes; mostly a quarter of that.
class ShadowCaches {
 public:
  static constexpr std::uint64_t kSampledItemCount = 1024;
  static constexpr std::size_t kSlotCountMax = 8192;

  struct Request {
    std::uint64_t key_hash = 0;
    std::uint64_t size_bytes = 0;
    double gain = 1.0;           ///< What a hit is worth under the objective.
    double relative_cost = 1.0;  ///< Of a miss; 1 unless costs count.
    Objective objective = Objective::kObjects;
    std::uint32_t estimate = 1;
    std::uint32_t random = 0;
  };
  /// Gains of late: of each preset, and of a cache that holds everything.
  struct Scores {
    std::array<double, kPresetCount> presets{};
    double all = 0.0;
  };

  ShadowCaches();

  /// Follows the size of the real cache: budget and sampling rate.
  void Follow(const PolicyContext& real);
  /// Whether Run would do anything for this key.
  [[nodiscard]] bool IsSampled(std::uint64_t key_hash) const noexcept;
  /// Runs one request through every preset and adds to its score.
  void Run(const Request& request);

  [[nodiscard]] const Scores& scores() const noexcept { return scores_; }
  void SetScores(const Scores& scores) noexcept { scores_ = scores; }
  void DecayScores(double factor) noexcept;

  [[nodiscard]] std::size_t slot_count() const noexcept {
    return slots_.size();
  }
  [[nodiscard]] double sampling_rate() const noexcept { return rate_; }

 private:
  struct Slot {
    std::uint64_t key_hash = 0;
    bool used = false;
    std::array<std::uint8_t, kPresetCount> frequencies{};
    std::array<Rank, kPresetCount> ranks{};  // 0: not in this cache.
    std::array<std::uint32_t, kPresetCount> sizes{};
  };

  Slot& FindSlot(std::uint64_t key_hash);
  void RunPreset(std::size_t preset, Slot& slot, const Request& request);
  void SetRate(double rate);
  void Rehash();
  [[nodiscard]] bool IsUseful(const Slot& slot) const noexcept;

  double rate_ = 1.0;
  std::uint64_t threshold_ = ~std::uint64_t{0};
  std::uint64_t real_budget_ = 0;
  std::vector<RankSpace> spaces_;
  Scores scores_;
  std::vector<Slot> slots_;  // Open addressing, linear probing.
  std::size_t used_ = 0;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_POLICY_SHADOW_CACHES_H_
