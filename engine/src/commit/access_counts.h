#ifndef LARDER_ENGINE_SRC_COMMIT_ACCESS_COUNTS_H_
#define LARDER_ENGINE_SRC_COMMIT_ACCESS_COUNTS_H_

#include <atomic>
#include <cstdint>

#include "base/striped.h"
#include "hot/hot_writer.h"

namespace larder {

/// Reads of values, since the store was opened.
struct Accesses {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;

  Accesses& operator+=(const Accesses& other) noexcept {
    hits += other.hits;
    misses += other.misses;
    return *this;
  }
  friend Accesses operator-(const Accesses& a, const Accesses& b) noexcept {
    return {.hits = a.hits - b.hits, .misses = a.misses - b.misses};
  }
};

/// Counts them, with those that the hot tiers answered while they were the
/// store's; a tier counts what it answers, and may be older than the store.
///
/// Threads: thread-safe but for ChangeTier, which must not run beside Total.
class AccessCounts {
 public:
  void Add(bool is_hit) noexcept { (is_hit ? hits_ : misses_).Add(); }
  /// `old` is the store's no longer, `next` is from now on: what they count
  /// now, nullptr where there is none.
  void ChangeTier(const HotTierFigures* old,
                  const HotTierFigures* next) noexcept;
  /// `tier`: what that of the store counts now, if it has one.
  [[nodiscard]] Accesses Total(const HotTierFigures* tier) const noexcept;

  /// How much of Total the ledger on disk has.
  [[nodiscard]] Accesses saved() const noexcept {
    return {.hits = hits_saved_, .misses = misses_saved_};
  }
  void SetSaved(const Accesses& total) noexcept {
    hits_saved_ = total.hits;
    misses_saved_ = total.misses;
  }

 private:
  StripedCounter hits_;
  StripedCounter misses_;
  Accesses tiers_done_;  // Of those that were the store's.
  Accesses tier_base_;   // What the present one had counted when it came.
  std::atomic<std::uint64_t> hits_saved_{0};
  std::atomic<std::uint64_t> misses_saved_{0};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_COMMIT_ACCESS_COUNTS_H_
