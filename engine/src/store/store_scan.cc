#include "store/store_scan.h"

#include <algorithm>

#include "index/store_keys.h"

namespace larder {
namespace {

// The smallest string above all that start with `prefix`; empty = none.
std::string PrefixEnd(std::string prefix) {
  while (!prefix.empty()) {
    if (static_cast<std::uint8_t>(prefix.back()) != 0xFF) {
      ++prefix.back();
      return prefix;
    }
    prefix.pop_back();
  }
  return prefix;
}

}  // namespace

Result<std::unique_ptr<Scan>> Store::OpenScan(
    const ScanOptions& options) noexcept {
  LARDER_FAIL_IF_ERROR(CheckCaller());
  const auto gate = store_gate_.Enter();
  LARDER_FAIL_IF_ERROR(CheckOpen());
  if (options.tag.size() > kTagSizeBytesMax) {
    return Fail(Status::InvalidArgument("scan: tag too long"));
  }
  return StoreScan::Open(*this, options);
}

Result<std::unique_ptr<Scan>> StoreScan::Open(Store& store,
                                              const ScanOptions& options) {
  std::unique_ptr<StoreScan> scan(new StoreScan(store, options));
  scan->SetBounds();
  Rocks& rocks = *store.rocks_;
  std::vector<rocksdb::ColumnFamilyHandle*> families = {rocks.access()};
  if (!options.tag.empty()) families.push_back(rocks.access());
  if (options.with_values) families.push_back(rocks.values());
  std::vector<rocksdb::Iterator*> iterators;
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  {
    const auto writing = store.write_gate_.Enter();
    scan->view_.epoch = store.epoch_;
    for (int c = 0; c < kRankClassCount; ++c) {
      scan->view_.cutoffs[c] = store.cutoffs_[c];
    }
    scan->view_.now = store.clock_.Now();
    if (options.with_values) scan->segments_ = store.log_->Snapshot();
    const rocksdb::Status status =
        rocks.db().NewIterators(read, families, &iterators);
    if (!status.ok()) return Fail(FromRocks(status, "opening a scan"));
    if (options.with_values) scan->segments_->End();
    // After: an item that is spared by its commit is so in the view.
    scan->view_.tags = store.tag_cutoffs_.View();
  }
  std::size_t next = 0;
  scan->lines_.reset(iterators[next++]);
  if (!options.tag.empty()) scan->entries_.reset(iterators[next++]);
  if (options.with_values) scan->values_.reset(iterators[next]);
  scan->membership_.emplace(store.scans_, static_cast<HoldingScan&>(*scan));
  return scan;
}

StoreScan::StoreScan(Store& store, const ScanOptions& options)
    : store_(store), options_(options), holds_segments_(options.with_values) {}

StoreScan::~StoreScan() {
  Invalidate();
  membership_.reset();
  store_.unpinnings_.fetch_add(1);
}

void StoreScan::SetBounds() {
  const std::string space = options_.tag.empty() ? std::string(1, kEntrySpace)
                                                 : TagIndexPrefix(options_.tag);
  prefix_size_ = space.size();
  lower_ = space + options_.prefix;
  upper_ = PrefixEnd(lower_);
  if (options_.begin) lower_ = std::max(lower_, space + *options_.begin);
  if (options_.end) upper_ = std::min(upper_, space + *options_.end);
}

void StoreScan::SeekFirst() {
  started_ = true;
  if (!options_.reverse) {
    lines_->Seek(lower_);
    return;
  }
  lines_->SeekForPrev(upper_);
  if (lines_->Valid() && lines_->key() == rocksdb::Slice(upper_)) {
    lines_->Prev();
  }
}

void StoreScan::Advance() {
  if (options_.reverse) {
    lines_->Prev();
  } else {
    lines_->Next();
  }
}

bool StoreScan::AtEnd() const {
  if (!lines_->Valid()) return true;
  const std::string_view line = lines_->key().ToStringView();
  return options_.reverse ? line < lower_ : line >= upper_;
}

Result<std::vector<ScanItem>> StoreScan::Next(std::size_t count_max) noexcept {
  if (count_max == 0 || count_max > kScanPageCountMax) {
    return Fail(Status::InvalidArgument(
        "scan page of " + std::to_string(count_max) + " items: 1 to " +
        std::to_string(kScanPageCountMax)));
  }
  const auto gate = store_.store_gate_.Enter();
  const std::scoped_lock lock(mutex_);
  LARDER_FAIL_IF_ERROR(CheckGoesOn());
  // A page of large values is cut short: memory stays bounded.
  constexpr std::uint64_t kPageBytesMax = 64 << 20;
  std::vector<ScanItem> page;
  std::uint64_t bytes = 0;
  if (!started_) {
    SeekFirst();
  }
  for (; !AtEnd() && page.size() < count_max && bytes < kPageBytesMax;
       Advance()) {
    LARDER_FAIL_IF_ERROR(CheckGoesOn());
    if (options_.with_values && pace_.IsDue()) ReadAhead();
    ScanItem item;
    if (!Visit(item)) continue;
    bytes += item.value.size();
    page.push_back(std::move(item));
  }
  Status status = FromRocks(lines_->status(), "scanning");
  if (!status.ok()) return Fail(std::move(status));
  return page;
}

// They are in order of keys, their values are not.
void StoreScan::ReadAhead() {
  const std::string here = lines_->key().ToString();
  std::vector<WantedRecord> wanted;
  std::uint64_t bytes = 0;
  std::size_t items = 0;
  for (; !AtEnd() && items < ReadAheadPace::kItemsMax &&
         bytes < ReadAheadPace::kBytesMax;
       Advance(), ++items) {
    const std::string key(lines_->key().ToStringView().substr(prefix_size_));
    Entry entry;
    if (!EntryOf(key, entry)) continue;
    Store::AddWanted(key.size(), entry, wanted);
    bytes += entry.value_size;
  }
  if (options_.reverse) {
    lines_->SeekForPrev(here);
  } else {
    lines_->Seek(here);
  }
  pace_.Asked(items, store_.log_->ReadAhead(wanted));
}

bool StoreScan::EntryOf(std::string_view key, Entry& entry) {
  std::string_view bytes = lines_->value().ToStringView();
  if (entries_) {
    const EntryKey entry_key(key);
    entries_->Seek(ToSlice(entry_key.bytes()));
    if (!entries_->Valid() || entries_->key() != ToSlice(entry_key.bytes())) {
      return false;
    }
    bytes = entries_->value().ToStringView();
  }
  return DecodeEntry(bytes, entry).ok() && view_.IsLive(entry) &&
         (!entries_ || entry.tag == options_.tag);
}

bool StoreScan::Visit(ScanItem& item) {
  item.key = std::string(lines_->key().ToStringView().substr(prefix_size_));
  Entry entry;
  if (!EntryOf(item.key, entry)) return false;
  item.info = InfoOf(entry);
  return !options_.with_values || ReadValue(entry, item);
}

bool StoreScan::ReadValue(const Entry& entry, ScanItem& item) {
  if (entry.kind == EntryKind::kRun) {
    const PositionKey position(entry.version);
    values_->Seek(position.slice());
    if (!values_->Valid() || values_->key() != position.slice()) return false;
    Result<ValueRecord> record =
        DecodeValueRecord(values_->value().ToStringView(), entry.version);
    if (!record || record->key != item.key) return false;
    item.value = ValueHandle::FromString(std::string(record->value));
    return true;
  }
  if (entry.kind == EntryKind::kInline) {
    item.value = ValueHandle::FromString(std::string(entry.inline_value));
    return true;
  }
  Result<std::optional<ValueHandle>> value =
      store_.ReadSegments(item.key, entry);
  if (!value || !value->has_value()) return false;
  item.value = std::move(**value);
  return true;
}

Status StoreScan::CheckGoesOn() noexcept {
  if (holding_ended_) {
    GiveBack();
    return {StatusCode::kAborted,
            "open scans held more than scan_hold_max of what was removed since "
            "they began, and this was the oldest; read faster, or less, or "
            "raise it"};
  }
  if (!invalid_) return Status::Ok();
  LARDER_RETURN_IF_ERROR(store_.CheckOpen());
  return {StatusCode::kAborted,
          "the database was reopened after a failed write; start the scan "
          "again"};
}

void StoreScan::EndHolding() noexcept {
  if (!holds_segments_) return;
  holding_ended_ = true;
  // Else Next sees it.
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (lock) GiveBack();
}

void StoreScan::Invalidate() noexcept {
  const std::scoped_lock lock(mutex_);
  GiveBack();
}

void StoreScan::GiveBack() noexcept {
  invalid_ = true;
  lines_.reset();
  entries_.reset();
  values_.reset();
  segments_.reset();
}

}  // namespace larder
