#ifndef LARDER_ENGINE_SRC_RANK_SPACE_H_
#define LARDER_ENGINE_SRC_RANK_SPACE_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "larder/engine/policy.h"

namespace larder {

/// Bytes and items of one rank.
struct RankRow {
  std::uint64_t bytes = 0;
  std::uint64_t items = 0;
};

/// The histogram of ranks of a cache: gives out ranks, knows the live bytes
/// and items exactly, and chooses what to evict. Shared by the store and the
/// simulator.
///
/// Invariants:
/// 1. An item is live iff rank >= cutoff(RankClass(rank)); cutoffs only grow.
/// 2. live_bytes() is the sum of all rows at or above their class's cutoff;
///    rows below it do not exist.
///
/// Threads: thread-compatible.
class RankSpace {
 public:
  struct Options {
    std::uint32_t bucket_count = 256;  ///< B of docs/policies.md.
  };
  explicit RankSpace(Options options) : options_(options) {}

  /// The bytes that live items may hold.
  void SetBudget(std::uint64_t bytes) noexcept { budget_bytes_ = bytes; }
  [[nodiscard]] std::uint64_t budget() const noexcept { return budget_bytes_; }

  /// The rank that an item placed at `placement` gets now; always live. Does
  /// not add it.
  [[nodiscard]] Rank Stamp(const Placement& placement);
  /// The new rank of a hit item, or nullopt if moving it is not worth a write:
  /// it moves iff its class changes, or it is dead, or (level' - level) / 256 >
  /// g * v', or level' == level and the sequence distance > gs * B.
  [[nodiscard]] std::optional<Rank> Restamp(Rank rank,
                                            const Placement& placement,
                                            const Policy::Laziness& laziness);

  [[nodiscard]] bool IsLive(Rank rank) const noexcept {
    return rank >= cutoffs_[RankClass(rank)];
  }
  /// Adds to a row (negative: subtracts); ignored for a dead rank.
  void Add(Rank rank, std::int64_t bytes, std::int64_t items);

  [[nodiscard]] std::uint64_t live_bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::uint64_t live_items() const noexcept { return items_; }
  [[nodiscard]] std::uint64_t class_bytes(std::uint8_t c) const noexcept {
    return class_bytes_[c];
  }

  struct Eviction {
    Rank cutoff = 0;  ///< The new cutoff of its class.
    Rank row = 0;     ///< The row that died (with all below it: only it).
    RankRow freed;
  };
  /// Kills the lowest row: of probation if that holds more than
  /// `probation_share` of the budget, else of main (of whichever has any).
  /// nullopt if nothing can be evicted.
  std::optional<Eviction> EvictLowest(double probation_share);
  /// Raises one cutoff to what another process or the disk says; rows below
  /// it die.
  void RaiseCutoff(std::uint8_t class_index, Rank cutoff);
  [[nodiscard]] Rank cutoff(std::uint8_t class_index) const noexcept {
    return cutoffs_[class_index];
  }
  /// Forgets all rows; cutoffs stay.
  void Clear() noexcept;

  [[nodiscard]] const std::map<Rank, RankRow>& rows() const noexcept {
    return rows_;
  }

 private:
  Options options_;
  std::uint64_t budget_bytes_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t items_ = 0;
  std::array<std::uint64_t, kRankClassCount> class_bytes_{};
  std::array<Rank, kRankClassCount> cutoffs_{};
  std::map<Rank, RankRow> rows_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_RANK_SPACE_H_
