#ifndef LARDER_ENGINE_SRC_POLICY_RANK_SPACE_H_
#define LARDER_ENGINE_SRC_POLICY_RANK_SPACE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "larder/engine/policy.h"

#include "policy/rank_rows.h"

namespace larder {

/// The histogram of ranks of a cache: gives out ranks, knows the live bytes
/// and items exactly, and chooses what to evict. Shared by the store and the
/// simulator.
///
/// Invariants:
/// 1. An item is live iff rank >= cutoff(RankClass(rank)); cutoffs only grow.
/// 2. live_bytes() is the sum of all rows at or above their class's cutoff;
///    rows below it do not exist, nor do rows without items.
/// 3. Stamp never returns a rank below a live one of the same level: a level
///    is first in, first out.
///
/// What persists: the cutoffs; the rows are sums over the items. Nothing else
/// is needed to go on after a restart: see rank_space.cc.
///
/// Threads: thread-compatible.
class RankSpace {
 public:
  struct Options {
    std::uint32_t bucket_count = 256;  ///< B of docs/policies.md.
    /// An evicted item stays a ghost until its class has evicted this many
    /// budgets of bytes more.
    double ghost_share = 1.0;
  };
  explicit RankSpace(Options options) : options_(options) {}

  /// The bytes that live items may hold.
  void SetBudget(std::uint64_t bytes) noexcept;
  [[nodiscard]] std::uint64_t budget() const noexcept {
    return context_.budget_bytes;
  }
  void SetObjective(Objective objective) noexcept {
    context_.objective = objective;
  }
  void SetRandomSeed(std::uint64_t seed) noexcept {
    context_.random_seed = seed;
  }
  /// What policies are told; always up to date, valid as long as this.
  [[nodiscard]] const PolicyContext& context() const noexcept {
    return context_;
  }

  /// The rank that an item placed at `placement` gets now; always live. Does
  /// not add it.
  [[nodiscard]] Rank Stamp(const Placement& placement);
  /// The new rank of a hit item, or nullopt if moving it is not worth a write:
  /// it moves iff its class changes, or it is dead, or (level' - level) / 256 >
  /// g * v', or level' == level and the sequence distance > gs * min(B, live
  /// items).
  [[nodiscard]] std::optional<Rank> Restamp(Rank rank,
                                            const Placement& placement,
                                            const Policy::Laziness& laziness);

  [[nodiscard]] bool IsLive(Rank rank) const noexcept {
    return rank >= context_.cutoffs[RankClass(rank)];
  }
  /// Evicted, and not long ago (PolicyItem::ghost). Forgotten by a restart.
  [[nodiscard]] bool IsGhost(Rank rank) const noexcept {
    return !IsLive(rank) && rank >= ghost_cutoffs_[RankClass(rank)];
  }
  /// Adds to a row (negative: subtracts); ignored for a dead rank.
  void Add(Rank rank, std::int64_t bytes, std::int64_t items);

  [[nodiscard]] std::uint64_t live_bytes() const noexcept {
    return context_.live_bytes;
  }
  [[nodiscard]] std::uint64_t live_items() const noexcept {
    return context_.live_items;
  }
  [[nodiscard]] std::uint64_t class_bytes(std::uint8_t c) const noexcept {
    return context_.class_bytes[c];
  }

  struct Eviction {
    Rank cutoff = 0;  ///< The new cutoff of its class.
    Rank row = 0;     ///< The row that died (with all below it: only it).
    RankRow freed;
  };
  /// Kills the lowest row: of probation if that holds more than
  /// `probation_share` of the budget, else of main (of whichever has any).
  /// Pinned items are never evicted. nullopt if nothing can be evicted.
  std::optional<Eviction> EvictLowest(double probation_share);
  /// Raises one cutoff to what another process or the disk says; rows below
  /// it die. A lower one than the present is ignored.
  void RaiseCutoff(std::uint8_t class_index, Rank cutoff);
  [[nodiscard]] Rank cutoff(std::uint8_t class_index) const noexcept {
    return context_.cutoffs[class_index];
  }
  /// False once more was taken from a row than it had: what is on the disk had
  /// not been the sum of what is there. True again after Clear.
  [[nodiscard]] bool adds_up() const noexcept { return adds_up_; }
  /// Forgets all rows; cutoffs stay.
  void Clear() noexcept;

  [[nodiscard]] std::size_t row_count() const noexcept;
  /// Calls visit(Rank, const RankRow&) for every row in ascending order.
  template <typename Visit>
  void ForEachRow(Visit&& visit) const {
    for (const ClassRows& c : classes_) {
      for (std::size_t i = 0; i < c.rows.size(); ++i) {
        visit(c.rows.rank(i), c.rows.row(i));
      }
    }
  }

 private:
  // The cutoff as it was when its class had evicted `evicted_bytes`.
  struct Death {
    Rank cutoff = 0;
    std::uint64_t evicted_bytes = 0;
  };
  struct ClassRows {
    RankRows rows;
    std::size_t hint = 0;  // Index of the row that was used last.
    std::deque<Death> deaths;
    std::uint64_t evicted_bytes = 0;
  };

  // The newest row of `level`, or rows.size().
  std::size_t NewestOfLevel(ClassRows& c, std::uint8_t class_index,
                            std::uint64_t level) const;
  Rank StampAtLevel(std::uint8_t class_index, std::uint64_t level);
  void DropRow(std::uint8_t class_index);
  void RememberDeath(std::uint8_t class_index, std::uint64_t freed_bytes);

  Options options_;
  std::uint64_t bucket_bytes_ = 1;  // budget / B, at least 1.
  PolicyContext context_;
  bool adds_up_ = true;
  std::array<ClassRows, kRankClassCount> classes_;
  std::array<Rank, kRankClassCount> ghost_cutoffs_ = ClassBases();

  static constexpr std::array<Rank, kRankClassCount> ClassBases() noexcept {
    // Level 1: Stamp gives nothing below it, so an entry of rank 0 is no ghost.
    return {Rank{1} << 20, Rank{1} << 62, Rank{2} << 62, Rank{3} << 62};
  }
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_POLICY_RANK_SPACE_H_
