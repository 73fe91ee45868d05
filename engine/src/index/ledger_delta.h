#ifndef LARDER_ENGINE_SRC_INDEX_LEDGER_DELTA_H_
#define LARDER_ENGINE_SRC_INDEX_LEDGER_DELTA_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "larder/engine/policy.h"
#include "larder/engine/status.h"

#include "index/entry.h"

namespace rocksdb {
class MergeOperator;
}

namespace larder {

/// Bytes and items of one rank in one place.
struct LedgerCell {
  Rank rank = 0;
  PlaceId place = kPlaceInline;
  std::int64_t bytes = 0;
  std::int64_t items = 0;
};

/// What is counted since the cache was created.
enum class Total : std::uint8_t {
  kHits,
  kMisses,
  kSets,
  kDeletes,
  kEvictions,
  kExpirations,
  kCorruptions,
};
inline constexpr std::size_t kTotalCount = 7;

/// A change of the ledger: one goes into every WriteBatch, as the one operand
/// of a merge. Numbers that only grow (cutoffs, epoch, version, segment)
/// are merged by taking the larger one, all others by adding; so the order in
/// which concurrent batches are written does not matter, but for `reset`.
struct LedgerDelta {
  /// Forget all cells of before.
  bool reset = false;
  std::uint64_t version_max = 0;
  /// Largest id of a segment file that an item was written to.
  std::uint32_t segment_max = 0;
  std::uint32_t epoch_max = 0;
  std::array<Rank, kRankClassCount> cutoffs{};
  std::array<std::int64_t, kTotalCount> totals{};
  std::vector<LedgerCell> cells;

  void Add(Rank rank, PlaceId place, std::int64_t bytes, std::int64_t items) {
    cells.push_back({rank, place, bytes, items});
  }
  void Count(Total total, std::int64_t by = 1) {
    totals[static_cast<std::size_t>(total)] += by;
  }
  /// Whether it can be the sum of all changes: no row of live items is less
  /// than nothing.
  [[nodiscard]] bool IsState() const;
  /// Makes it a change of nothing, keeping its memory.
  void Clear();
  void Encode(std::string& out) const;
  /// Errors: kCorruption.
  [[nodiscard]] static Status Decode(std::string_view bytes,
                                     LedgerDelta& delta);
};

/// The sum of any number of deltas.
class LedgerSum {
 public:
  void Apply(const LedgerDelta& delta);
  /// Everything as one delta that, applied to nothing, gives this sum. Cells
  /// in order of rank and place.
  [[nodiscard]] LedgerDelta ToDelta() const;

 private:
  struct CellKey {
    Rank rank;
    PlaceId place;
    bool operator==(const CellKey&) const = default;
  };
  struct CellKeyHash {
    std::size_t operator()(const CellKey& key) const noexcept {
      return (key.rank ^ (key.place << 40)) * 0x9E3779B97F4A7C15ULL;
    }
  };
  struct CellSum {
    std::int64_t bytes = 0;
    std::int64_t items = 0;
  };
  LedgerDelta scalars_;  // Its `cells` stay empty.
  std::unordered_map<CellKey, CellSum, CellKeyHash> cells_;
};

/// The merge operator of `counters`, for the one key that holds the ledger.
std::shared_ptr<rocksdb::MergeOperator> NewLedgerMergeOperator();

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_LEDGER_DELTA_H_
