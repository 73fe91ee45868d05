#include "index/ledger_delta.h"

#include <algorithm>
#include <map>
#include <utility>

#include <rocksdb/merge_operator.h>
#include <rocksdb/slice.h>

#include "base/coding.h"

// One fat operand a batch instead of several small merges: a merge costs about
// 2 us in RocksDB whatever its size. A cell below its class's cutoff can never
// count again, so every sum drops those it meets.

namespace larder {
namespace {

constexpr std::uint8_t kDeltaFormat = 1;
constexpr std::uint8_t kHasReset = 0x01;
constexpr std::uint8_t kHasCutoffs = 0x02;
constexpr std::uint8_t kHasEpoch = 0x04;

bool AnyCutoff(const LedgerDelta& delta) {
  return std::any_of(delta.cutoffs.begin(), delta.cutoffs.end(),
                     [](Rank rank) { return rank != 0; });
}

}  // namespace

bool LedgerDelta::IsState() const {
  std::map<Rank, std::pair<std::int64_t, std::int64_t>> rows;
  for (const LedgerCell& cell : cells) {
    if (cell.rank < cutoffs[RankClass(cell.rank)]) continue;
    auto& [bytes, items] = rows[cell.rank];
    bytes += cell.bytes;
    items += cell.items;
  }
  return std::all_of(rows.begin(), rows.end(), [](const auto& row) {
    return row.second.first >= 0 && row.second.second >= 0;
  });
}

void LedgerDelta::Clear() {
  reset = false;
  version_max = 0;
  segment_max = 0;
  epoch_max = 0;
  cutoffs.fill(0);
  totals.fill(0);
  cells.clear();
}

void LedgerDelta::Encode(std::string& out) const {
  std::uint8_t flags = 0;
  if (reset) flags |= kHasReset;
  if (AnyCutoff(*this)) flags |= kHasCutoffs;
  if (epoch_max != 0) flags |= kHasEpoch;
  out.push_back(static_cast<char>(kDeltaFormat));
  out.push_back(static_cast<char>(flags));
  PutVarint(out, version_max);
  PutVarint(out, segment_max);
  if ((flags & kHasCutoffs) != 0) {
    for (const Rank rank : cutoffs) PutFixed(out, rank);
  }
  if ((flags & kHasEpoch) != 0) PutVarint(out, epoch_max);
  std::uint64_t used = 0;
  for (std::size_t i = 0; i < kTotalCount; ++i) {
    if (totals[i] != 0) used |= std::uint64_t{1} << i;
  }
  PutVarint(out, used);
  for (const std::int64_t total : totals) {
    if (total != 0) PutVarint(out, ZigZag(total));
  }
  PutVarint(out, cells.size());
  for (const LedgerCell& cell : cells) {
    PutFixed(out, cell.rank);
    PutVarint(out, cell.place);
    PutVarint(out, ZigZag(cell.bytes));
    PutVarint(out, ZigZag(cell.items));
  }
}

Status LedgerDelta::Decode(std::string_view bytes, LedgerDelta& delta) {
  delta.Clear();
  ByteReader reader(bytes);
  const auto format = reader.Fixed<std::uint8_t>();
  const auto flags = reader.Fixed<std::uint8_t>();
  delta.reset = (flags & kHasReset) != 0;
  delta.version_max = reader.Varint();
  delta.segment_max = static_cast<std::uint32_t>(reader.Varint());
  if ((flags & kHasCutoffs) != 0) {
    for (Rank& rank : delta.cutoffs) rank = reader.Fixed<std::uint64_t>();
  }
  if ((flags & kHasEpoch) != 0) {
    delta.epoch_max = static_cast<std::uint32_t>(reader.Varint());
  }
  const std::uint64_t used = reader.Varint();
  for (std::size_t i = 0; i < kTotalCount; ++i) {
    if ((used >> i & 1) != 0) delta.totals[i] = UnZigZag(reader.Varint());
  }
  const std::uint64_t count = reader.Varint();
  constexpr std::size_t kCellSizeMin = 11;
  if (!reader.ok() || format != kDeltaFormat || (used >> kTotalCount) != 0 ||
      count > reader.rest().size() / kCellSizeMin) {
    return Status::Corruption("ledger: malformed header");
  }
  delta.cells.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    LedgerCell cell;
    cell.rank = reader.Fixed<std::uint64_t>();
    cell.place = reader.Varint();
    cell.bytes = UnZigZag(reader.Varint());
    cell.items = UnZigZag(reader.Varint());
    delta.cells.push_back(cell);
  }
  return reader.ok() && reader.rest().empty()
             ? Status::Ok()
             : Status::Corruption("ledger: malformed cells");
}

void LedgerSum::Apply(const LedgerDelta& delta) {
  if (delta.reset) {
    cells_.clear();
    scalars_.reset = true;
  }
  scalars_.version_max = std::max(scalars_.version_max, delta.version_max);
  scalars_.segment_max = std::max(scalars_.segment_max, delta.segment_max);
  scalars_.epoch_max = std::max(scalars_.epoch_max, delta.epoch_max);
  for (int i = 0; i < kRankClassCount; ++i) {
    scalars_.cutoffs[i] = std::max(scalars_.cutoffs[i], delta.cutoffs[i]);
  }
  for (std::size_t i = 0; i < kTotalCount; ++i) {
    scalars_.totals[i] += delta.totals[i];
  }
  for (const LedgerCell& cell : delta.cells) {
    CellSum& sum = cells_[{cell.rank, cell.place}];
    sum.bytes += cell.bytes;
    sum.items += cell.items;
    if (sum.bytes == 0 && sum.items == 0) cells_.erase({cell.rank, cell.place});
  }
}

LedgerDelta LedgerSum::ToDelta() const {
  LedgerDelta delta = scalars_;
  for (const auto& [key, sum] : cells_) {
    if (key.rank < delta.cutoffs[RankClass(key.rank)]) continue;
    delta.Add(key.rank, key.place, sum.bytes, sum.items);
  }
  std::sort(delta.cells.begin(), delta.cells.end(),
            [](const LedgerCell& a, const LedgerCell& b) {
              return a.rank != b.rank ? a.rank < b.rank : a.place < b.place;
            });
  return delta;
}

namespace {

class LedgerMergeOperator final : public rocksdb::MergeOperator {
 public:
  [[nodiscard]] const char* Name() const override { return "larder.ledger.1"; }

  bool FullMergeV2(const MergeOperationInput& in,
                   MergeOperationOutput* out) const override {
    LedgerSum sum;
    LedgerDelta delta;
    if (in.existing_value != nullptr && !Add(*in.existing_value, delta, sum)) {
      return false;
    }
    for (const rocksdb::Slice& operand : in.operand_list) {
      if (!Add(operand, delta, sum)) return false;
    }
    sum.ToDelta().Encode(out->new_value);
    return true;
  }

  bool PartialMergeMulti(const rocksdb::Slice& /*key*/,
                         const std::deque<rocksdb::Slice>& operands,
                         std::string* new_value,
                         rocksdb::Logger* /*logger*/) const override {
    LedgerSum sum;
    LedgerDelta delta;
    for (const rocksdb::Slice& operand : operands) {
      if (!Add(operand, delta, sum)) return false;
    }
    sum.ToDelta().Encode(*new_value);
    return true;
  }

 private:
  static bool Add(const rocksdb::Slice& bytes, LedgerDelta& delta,
                  LedgerSum& sum) {
    if (!LedgerDelta::Decode(bytes.ToStringView(), delta).ok()) return false;
    sum.Apply(delta);
    return true;
  }
};

}  // namespace

std::shared_ptr<rocksdb::MergeOperator> NewLedgerMergeOperator() {
  return std::make_shared<LedgerMergeOperator>();
}

}  // namespace larder
