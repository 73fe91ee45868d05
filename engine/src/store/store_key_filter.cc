#include <algorithm>
#include <memory>
#include <string>

#include <rocksdb/db.h>

#include "index/store_keys.h"
#include "store/store.h"

// A Set looks up what it replaces, and a cache is mostly given keys that it has
// not: a filter in memory over all keys of the index, living or dead, says so
// without asking RocksDB, which takes 2 of 10 us.
//
// It must know every key there is. A cache that is empty begins with an empty
// one. Else it is filled from the index, some keys at a time, as soon as enough
// was looked up in vain; keys that are written meanwhile are added as well, so
// wherever the filling has got to, each key is or will be in it. That goes for
// keys that the index has, too: a compaction may drop the dead entry that was
// found, and the filling pass by, before the new one is there. A filter that
// has become too full lets many lookups through, which make a new one.
//
// Keys never leave a filter but with a new one. What brings them back to the
// index other than by writing, the reopening of the database after a fault,
// drops it.

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
// Of one round of the background thread, which has other things to do.
constexpr int kStepsMax = 16;
constexpr int kKeysPerStep = 4096;

}  // namespace

void Store::StartKeyFilter() noexcept {
  rocksdb::ColumnFamilyMetaData meta;
  rocks_->db().GetColumnFamilyMetaData(rocks_->access(), &meta);
  const auto entries = [this](const std::string& property) {
    std::uint64_t count = 1;
    rocks_->db().GetIntProperty(rocks_->access(), property, &count);
    return count;
  };
  using Properties = rocksdb::DB::Properties;
  if (meta.file_count == 0 &&
      entries(Properties::kNumEntriesActiveMemTable) == 0 &&
      entries(Properties::kNumEntriesImmMemTables) == 0) {
    key_filter_ = std::make_unique<KeyFilter>(kKeyCountMin);
  }
}

void Store::DropKeyFilter() noexcept {
  key_filter_.reset();
  next_key_filter_.reset();
}

void Store::AddToKeyFilter(std::string_view key, bool is_present) noexcept {
  if (key_filter_ && !is_present) key_filter_->Add(key);
  if (next_key_filter_) next_key_filter_->Add(key);
}

void Store::TendKeyFilter() noexcept {
  const std::unique_lock lock(key_filter_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  if (!next_key_filter_ && !BeginKeyFilter()) return;
  // Who waits for room comes first.
  for (int step = 0; step < kStepsMax && !housekeeper_.is_asked(); ++step) {
    bool whole = false;
    const bool read = FillKeyFilter(whole);
    if (read && !whole) continue;
    write_gate_.lock();
    if (read) key_filter_ = std::move(next_key_filter_);
    next_key_filter_.reset();
    write_gate_.unlock();
    absent_judged_ = absent_lookups_.Sum();
    return;
  }
}

bool Store::BeginKeyFilter() noexcept {
  const std::uint64_t items = live_items_;
  const std::uint64_t absent = absent_lookups_.Sum();
  if (absent - absent_judged_ < std::max(kAbsentMin, items / kItemsPerAbsent)) {
    return false;
  }
  absent_judged_ = absent;
  std::uint64_t entries = 0;
  rocks_->db().GetIntProperty(
      rocks_->access(), rocksdb::DB::Properties::kEstimateNumKeys, &entries);
  entries = std::max(entries, items);
  const std::uint64_t most =
      KeyFilter::KeyCountOf(rocks_->sizes().memory_budget / kMemoryShare);
  const std::uint64_t key_count =
      std::min(std::max(kRoomFactor * entries, kKeyCountMin), most);
  if (key_count < entries) return false;
  auto next = std::make_unique<KeyFilter>(key_count);
  key_filter_cursor_.assign(1, kEntrySpace);
  // With all writers out: from now on each adds its keys.
  write_gate_.lock();
  next_key_filter_ = std::move(next);
  write_gate_.unlock();
  return true;
}

bool Store::FillKeyFilter(bool& whole) noexcept {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(options, rocks_->access()));
  it->Seek(key_filter_cursor_);
  int count = 0;
  for (; it->Valid() && it->key()[0] == kEntrySpace && count < kKeysPerStep;
       it->Next(), ++count) {
    next_key_filter_->Add(it->key().ToStringView().substr(1));
  }
  whole = !it->Valid() || it->key()[0] != kEntrySpace;
  if (!whole) key_filter_cursor_ = it->key().ToString();
  return it->status().ok();
}

}  // namespace larder
