#ifndef LARDER_ENGINE_SRC_INDEX_LEDGER_H_
#define LARDER_ENGINE_SRC_INDEX_LEDGER_H_

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "larder/engine/policy.h"

#include "index/ledger_delta.h"
#include "policy/rank_space.h"

namespace larder {

/// Live bytes and items of one place of the value log.
struct PlaceUse {
  std::int64_t bytes = 0;
  std::int64_t items = 0;
};

/// The ledger in memory: what lives, how much, of which rank and where, at any
/// moment and without a scan.
///
/// Invariants:
/// 1. It equals the sum of all deltas whose batches were written.
/// 2. The use of a place is the sum of its cells of live ranks.
///
/// Threads: thread-compatible; the store guards it.
class Ledger {
 public:
  explicit Ledger(RankSpace::Options options) : space_(options) {}

  void Apply(const LedgerDelta& delta);

  /// Kills the lowest row at once and counts the evictions. Until the caller
  /// has written the new cutoff, every batch must carry it, since the batch may
  /// rely on it.
  std::optional<RankSpace::Eviction> Evict(double probation_share);

  [[nodiscard]] RankSpace& space() noexcept { return space_; }
  [[nodiscard]] const RankSpace& space() const noexcept { return space_; }
  [[nodiscard]] PlaceUse use(PlaceId place) const {
    const auto found = places_.find(place);
    return found == places_.end() ? PlaceUse{} : found->second;
  }
  [[nodiscard]] const std::unordered_map<PlaceId, PlaceUse>& places()
      const noexcept {
    return places_;
  }
  [[nodiscard]] std::int64_t total(Total which) const noexcept {
    return scalars_.totals[static_cast<std::size_t>(which)];
  }
  [[nodiscard]] std::uint64_t version_max() const noexcept {
    return scalars_.version_max;
  }
  [[nodiscard]] std::uint32_t segment_max() const noexcept {
    return scalars_.segment_max;
  }
  [[nodiscard]] std::uint32_t epoch() const noexcept {
    return scalars_.epoch_max;
  }
  /// All of it as one delta, cells in order; two ledgers are equal iff these
  /// are.
  [[nodiscard]] LedgerDelta Snapshot() const;

 private:
  void AddCell(const LedgerCell& cell);
  void AddToSpace(const std::vector<LedgerCell>& cells);
  void RaiseCutoff(std::uint8_t class_index, Rank cutoff);
  void DropRow(Rank rank);

  RankSpace space_;
  LedgerDelta scalars_;  // Its `cells` stay empty.
  std::unordered_map<Rank, std::unordered_map<PlaceId, PlaceUse>> rows_;
  std::unordered_map<PlaceId, PlaceUse> places_;
  std::vector<LedgerCell> sorted_;  // Scratch of AddToSpace.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_LEDGER_H_
