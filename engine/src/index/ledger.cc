#include "index/ledger.h"

#include <algorithm>

namespace larder {

void Ledger::Apply(const LedgerDelta& delta) {
  if (delta.reset) {
    space_.Clear();
    rows_.clear();
    places_.clear();
  }
  scalars_.version_max = std::max(scalars_.version_max, delta.version_max);
  scalars_.segment_max = std::max(scalars_.segment_max, delta.segment_max);
  scalars_.epoch_max = std::max(scalars_.epoch_max, delta.epoch_max);
  for (std::size_t i = 0; i < kTotalCount; ++i) {
    scalars_.totals[i] += delta.totals[i];
  }
  for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
    if (delta.cutoffs[c] > space_.cutoff(c)) RaiseCutoff(c, delta.cutoffs[c]);
  }
  for (const LedgerCell& cell : delta.cells) AddCell(cell);
  AddToSpace(delta.cells);
}

void Ledger::AddToSpace(const std::vector<LedgerCell>& cells) {
  // Row by row: an item in several places has a cell for each, of which one
  // counts the item, and a row knows no bytes without items.
  sorted_ = cells;
  std::sort(
      sorted_.begin(), sorted_.end(),
      [](const LedgerCell& a, const LedgerCell& b) { return a.rank < b.rank; });
  for (std::size_t i = 0; i < sorted_.size();) {
    LedgerCell row = sorted_[i];
    for (++i; i < sorted_.size() && sorted_[i].rank == row.rank; ++i) {
      row.bytes += sorted_[i].bytes;
      row.items += sorted_[i].items;
    }
    space_.Add(row.rank, row.bytes, row.items);
  }
}

void Ledger::AddCell(const LedgerCell& cell) {
  if (!space_.IsLive(cell.rank)) return;
  auto& row = rows_[cell.rank];
  PlaceUse& in_row = row[cell.place];
  in_row.bytes += cell.bytes;
  in_row.items += cell.items;
  if (in_row.bytes == 0 && in_row.items == 0) {
    row.erase(cell.place);
    if (row.empty()) rows_.erase(cell.rank);
  }
  PlaceUse& use = places_[cell.place];
  use.bytes += cell.bytes;
  use.items += cell.items;
  if (use.bytes == 0 && use.items == 0) places_.erase(cell.place);
}

std::optional<RankSpace::Eviction> Ledger::Evict(double probation_share) {
  const std::optional<RankSpace::Eviction> eviction =
      space_.EvictLowest(probation_share);
  if (!eviction) return std::nullopt;
  DropRow(eviction->row);
  scalars_.totals[static_cast<std::size_t>(Total::kEvictions)] +=
      static_cast<std::int64_t>(eviction->freed.items);
  return eviction;
}

void Ledger::RaiseCutoff(std::uint8_t class_index, Rank cutoff) {
  space_.RaiseCutoff(class_index, cutoff);
  std::vector<Rank> dead;
  for (const auto& [rank, row] : rows_) {
    if (!space_.IsLive(rank)) dead.push_back(rank);
  }
  for (const Rank rank : dead) DropRow(rank);
}

void Ledger::DropRow(Rank rank) {
  const auto row = rows_.find(rank);
  if (row == rows_.end()) return;
  for (const auto& [place, dead] : row->second) {
    PlaceUse& use = places_[place];
    use.bytes -= dead.bytes;
    use.items -= dead.items;
    if (use.bytes == 0 && use.items == 0) places_.erase(place);
  }
  rows_.erase(row);
}

LedgerDelta Ledger::Snapshot() const {
  LedgerSum sum;
  sum.Apply(scalars_);
  LedgerDelta delta;
  for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
    delta.cutoffs[c] = space_.cutoff(c);
  }
  for (const auto& [rank, row] : rows_) {
    for (const auto& [place, use] : row) {
      delta.Add(rank, place, use.bytes, use.items);
    }
  }
  sum.Apply(delta);
  return sum.ToDelta();
}

}  // namespace larder
