#include "index/key_filter_tender.h"

#include <algorithm>
#include <utility>

#include <rocksdb/db.h>

#include "base/check.h"
#include "index/store_keys.h"

namespace larder {
namespace {

// Lookups in vain that are not worth a filter; besides, one for so many items.
constexpr std::uint64_t kAbsentMin = 4096;
constexpr std::uint64_t kItemsPerAbsent = 8;
constexpr std::uint64_t kKeyCountMin = std::uint64_t{1} << 16;
// Room for new keys: until as many again have come so often, about, it serves.
constexpr std::uint64_t kRoomFactor = 4;
// Of the memory budget.
constexpr std::uint64_t kMemoryShare = 8;
// Of one call to Tend, whose thread has other things to do.
constexpr int kStepsMax = 16;
constexpr int kKeysPerStep = 4096;

// `property` of the column family of entries.
std::uint64_t EntryFigure(Rocks& rocks, const std::string& property,
                          std::uint64_t otherwise) {
  std::uint64_t figure = otherwise;
  rocks.db().GetIntProperty(rocks.access(), property, &figure);
  return figure;
}

}  // namespace

void KeyFilterTender::Start(Rocks& rocks) {
  rocksdb::ColumnFamilyMetaData meta;
  rocks.db().GetColumnFamilyMetaData(rocks.access(), &meta);
  using Properties = rocksdb::DB::Properties;
  if (meta.file_count == 0 &&
      EntryFigure(rocks, Properties::kNumEntriesActiveMemTable, 1) == 0 &&
      EntryFigure(rocks, Properties::kNumEntriesImmMemTables, 1) == 0) {
    filter_ = std::make_unique<KeyFilter>(kKeyCountMin);
  }
}

void KeyFilterTender::Drop() noexcept {
  filter_.reset();
  next_.reset();
}

void KeyFilterTender::Tend(Rocks& rocks, std::uint64_t item_count,
                           const std::function<bool()>& is_hurried) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  if (!next_ && !Begin(rocks, item_count)) return;
  for (int step = 0; step < kStepsMax && !is_hurried(); ++step) {
    bool is_whole = false;
    const bool is_read = Fill(rocks, is_whole);
    if (is_read && !is_whole) continue;
    writers_.lock();
    if (is_read) filter_ = std::move(next_);
    next_.reset();
    writers_.unlock();
    absent_judged_ = absent_.Sum();
    return;
  }
}

bool KeyFilterTender::Begin(Rocks& rocks, std::uint64_t item_count) {
  const std::uint64_t absent = absent_.Sum();
  LARDER_ASSERT(absent >= absent_judged_);
  if (absent - absent_judged_ <
      std::max(kAbsentMin, item_count / kItemsPerAbsent)) {
    return false;
  }
  absent_judged_ = absent;
  const std::uint64_t entries =
      std::max(EntryFigure(rocks, rocksdb::DB::Properties::kEstimateNumKeys, 0),
               item_count);
  const std::uint64_t most =
      KeyFilter::KeyCountOf(rocks.sizes().memory_budget / kMemoryShare);
  const std::uint64_t key_count =
      std::min(std::max(kRoomFactor * entries, kKeyCountMin), most);
  if (key_count < entries) return false;
  auto next = std::make_unique<KeyFilter>(key_count);
  cursor_.assign(1, kEntrySpace);
  // With all writers out: from now on each adds its keys.
  writers_.lock();
  next_ = std::move(next);
  writers_.unlock();
  return true;
}

bool KeyFilterTender::Fill(Rocks& rocks, bool& is_whole) {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks.db().NewIterator(options, rocks.access()));
  it->Seek(cursor_);
  int count = 0;
  for (; it->Valid() && it->key()[0] == kEntrySpace && count < kKeysPerStep;
       it->Next(), ++count) {
    next_->Add(it->key().ToStringView().substr(1));
  }
  is_whole = !it->Valid() || it->key()[0] != kEntrySpace;
  if (!is_whole) cursor_ = it->key().ToString();
  return it->status().ok();
}

}  // namespace larder
