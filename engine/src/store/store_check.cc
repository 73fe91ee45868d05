#include "store/store_check.h"

#include <algorithm>
#include <chrono>

#include <rocksdb/iterator.h>

#include "base/coding.h"
#include "base/test_point.h"
#include "index/store_keys.h"
#include "index/store_pin.h"
#include "store/store_locks.h"

// Check: takes one state of index, values and ledger, and goes through it while
// the others go on. At that moment nobody writes (write_gate_), and nobody
// evicts, frees or cleans (space_mutex_): else the ledger would be of before an
// eviction and the cutoffs of after it, or a value would have gone whose entry
// still counts. What it finds wrong it mends by key, where the item is still
// the same and still wrong.
//
// A view cannot keep out another process that writes, and has no hold on what
// that frees. But bytes never come back to their place: an entry is damaged if
// it is still the same and counts in a view that was opened after its value was
// not found. If it is another one by now, that one is looked at in its turn.

namespace larder {
namespace {

// For whoever writes to leave an item alone as long as it takes to look at it.
constexpr auto kConfirmTimeMax = std::chrono::seconds(5);

void Sum(const LedgerDelta& delta, std::uint64_t& count, std::uint64_t& bytes) {
  for (const LedgerCell& cell : delta.cells) {
    count += static_cast<std::uint64_t>(cell.items);
    bytes += static_cast<std::uint64_t>(cell.bytes);
  }
}

}  // namespace

Result<CheckReport> StoreChecker::Run(bool repair) noexcept {
  LARDER_FAIL_IF_ERROR(Begin());
  TestPoint("check.begun");
  for (entries_->Seek(rocksdb::Slice(&kEntrySpace, 1));
       entries_->Valid() && entries_->key()[0] == kEntrySpace;
       entries_->Next()) {
    if (pace_.IsDue()) ReadAhead();
    CheckEntry();
  }
  NoteUnreadable(entries_->status());
  if (store_.read_only_) LARDER_FAIL_IF_ERROR(Confirm());
  for (const Broken& broken : broken_) {
    ++(broken.is_missing ? report_.values_missing : report_.values_damaged);
    Problem(broken.problem);
  }
  CheckLines();
  CheckCounters();
  CompareLedger();
  if (repair) {
    LARDER_FAIL_IF_ERROR(unreadable_);
    LARDER_FAIL_IF_ERROR(Repair());
  }
  return std::move(report_);
}

void StoreChecker::NoteUnreadable(const rocksdb::Status& status) noexcept {
  if (status.ok() || !unreadable_.ok()) return;
  unreadable_ =
      Status::Corruption("the database cannot be read: " + status.ToString());
  Problem(unreadable_.message());
  ++report_.values_damaged;
}

void StoreChecker::CheckCounters() noexcept {
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  Rocks& rocks = *store_.rocks_;
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks.db().NewIterator(read, rocks.counters()));
  it->SeekToFirst();
  while (it->Valid()) it->Next();
  NoteUnreadable(it->status());
}

Status StoreChecker::Begin() noexcept {
  Rocks& rocks = *store_.rocks_;
  std::vector<rocksdb::Iterator*> iterators;
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  const std::scoped_lock space(store_.space_mutex_);
  store_.write_gate_.lock();
  view_.epoch = store_.epoch_;
  for (int c = 0; c < kRankClassCount; ++c) {
    view_.cutoffs[c] = store_.cutoffs_[c];
  }
  {
    const std::scoped_lock lock(store_.ledger_mutex_);
    ledger_ = store_.ledger_.Snapshot();
  }
  segments_ = store_.log_->Snapshot();
  const rocksdb::Status stored = rocks.db().Get(
      read, rocks.counters(), rocksdb::Slice(kLedgerKey), &stored_ledger_);
  const rocksdb::Status opened = rocks.db().NewIterators(
      read, {rocks.access(), rocks.access(), rocks.values()}, &iterators);
  store_.write_gate_.unlock();
  LARDER_RETURN_IF_ERROR(FromRocks(opened, "opening a check"));
  // Before all else: RocksDB aborts when it is closed with one that is leaked.
  entries_.reset(iterators[0]);
  lines_.reset(iterators[1]);
  values_.reset(iterators[2]);
  if (stored.IsNotFound()) return Status::Ok();
  return FromRocks(stored, "reading the ledger");
}

// They are in order of keys, their values are not.
void StoreChecker::ReadAhead() noexcept {
  const std::string here = entries_->key().ToString();
  std::vector<WantedRecord> wanted;
  std::uint64_t bytes = 0;
  std::size_t items = 0;
  for (; entries_->Valid() && entries_->key()[0] == kEntrySpace &&
         items < ReadAheadPace::kItemsMax && bytes < ReadAheadPace::kBytesMax;
       entries_->Next(), ++items) {
    Entry entry;
    if (!DecodeEntry(entries_->value().ToStringView(), entry).ok() ||
        !view_.IsCounted(entry)) {
      continue;
    }
    Store::AddWanted(entries_->key().size() - 1, entry, wanted);
    bytes += entry.value_size;
  }
  NoteUnreadable(entries_->status());
  entries_->Seek(here);
  pace_.Asked(items, store_.log_->ReadAhead(wanted));
}

void StoreChecker::CheckEntry() noexcept {
  const std::string key(entries_->key().ToStringView().substr(1));
  Entry entry;
  const std::string bytes = entries_->value().ToString();
  const Status decoded = DecodeEntry(bytes, entry);
  if (!decoded.ok()) {
    broken_.push_back({key, 0, bytes, decoded.message()});
    return;
  }
  if (entry.expires_at != kNeverExpires) ++lines_expected_;
  if (!entry.tag.empty()) ++lines_expected_;
  if (!view_.IsCounted(entry)) return;
  ++report_.items_checked;
  report_.bytes_checked += entry.value_size;
  LedgerDelta cells;
  store_.AddCells(key, entry, 1, cells);
  recount_.Apply(cells);
  const Result<std::optional<ValueHandle>> value = Value(key, entry);
  if (value && value->has_value()) return;
  if (!value && value.error().code() == StatusCode::kTooLarge) return;
  const std::string what =
      "item of version " + std::to_string(entry.version) + ": ";
  broken_.push_back(
      {key, entry.version, bytes,
       what + (value ? "its value is missing" : value.error().message()),
       /*is_missing=*/value.has_value()});
}

Status StoreChecker::Confirm() noexcept {
  const auto until = std::chrono::steady_clock::now() + kConfirmTimeMax;
  std::vector<Broken> confirmed;
  while (!broken_.empty()) {
    TestPoint("check.confirm");
    const auto now = Store::Open(store_.directory_->anchor(), store_.options_);
    if (!now) return now.error();
    auto left = StillBroken(**now, std::move(broken_), confirmed);
    if (!left) return left.error();
    broken_ = *std::move(left);
    if (!broken_.empty() && std::chrono::steady_clock::now() >= until) {
      return {StatusCode::kAborted,
              store_.directory().string() +
                  " is written to so fast that it cannot be checked read-only: "
                  "try again, or check it as its owner"};
    }
  }
  broken_ = std::move(confirmed);
  return Status::Ok();
}

Result<std::vector<StoreChecker::Broken>> StoreChecker::StillBroken(
    Store& now, std::vector<Broken> broken,
    std::vector<Broken>& confirmed) noexcept {
  std::vector<Broken> left;
  StoreChecker checker(now);
  LARDER_FAIL_IF_ERROR(checker.Begin());
  for (Broken& one : broken) {
    const EntryKey key(one.key);
    checker.entries_->Seek(ToSlice(key.bytes()));
    LARDER_FAIL_IF_ERROR(
        FromRocks(checker.entries_->status(), "looking again"));
    if (!checker.entries_->Valid() ||
        checker.entries_->key() != ToSlice(key.bytes())) {
      continue;
    }
    checker.CheckEntry();  // Notes it if it counts and is broken.
    if (checker.broken_.empty()) continue;
    const bool is_same = checker.broken_.back().entry == one.entry;
    (is_same ? confirmed : left).push_back(std::move(checker.broken_.back()));
    checker.broken_.clear();
  }
  return left;
}

Result<std::optional<ValueHandle>> StoreChecker::Value(
    const std::string& key, const Entry& entry) noexcept {
  if (entry.kind == EntryKind::kSegments) return Pieces(key, entry);
  if (entry.kind == EntryKind::kInline) {
    std::unique_ptr<EntryPin> pin;
    return store_.ReadValue(key, entry, pin);
  }
  const PositionKey position(entry.version);
  values_->Seek(position.slice());
  if (!values_->status().ok()) {
    NoteUnreadable(values_->status());
    return Fail(FromRocks(values_->status(), "reading a value"));
  }
  if (!values_->Valid() || values_->key() != position.slice()) {
    return std::optional<ValueHandle>();
  }
  Result<ValueRecord> record =
      DecodeValueRecord(values_->value().ToStringView(), entry.version);
  if (!record) return Fail(record.error());
  if (record->key != key) {
    return Fail(Status::Corruption("value record: of another item"));
  }
  return std::optional<ValueHandle>(ValueHandle());
}

Result<std::optional<ValueHandle>> StoreChecker::Pieces(
    const std::string& key, const Entry& entry) noexcept {
  for (const SegmentPlace& place : entry.extents) {
    Result<ValueHandle> piece = store_.log_->Read(place, key, entry.version);
    if (piece) continue;
    if (piece.error().code() == StatusCode::kNotFound) {
      return std::optional<ValueHandle>();
    }
    return Fail(piece.error());
  }
  return std::optional<ValueHandle>(ValueHandle());
}

void StoreChecker::CheckLines() noexcept {
  std::uint64_t good = 0;
  for (lines_->Seek(rocksdb::Slice(&kTagSpace, 1)); lines_->Valid();
       lines_->Next()) {
    if (LineMatches(lines_->key().ToStringView())) {
      ++good;
    } else {
      ++report_.index_entries_stale;
    }
  }
  NoteUnreadable(lines_->status());
  if (good == lines_expected_) return;
  report_.counters_match = false;
  Problem("tag and expiry index: " + std::to_string(lines_expected_ - good) +
          " lines are missing");
}

bool StoreChecker::LineMatches(std::string_view line) noexcept {
  const std::optional<TagIndexParts> tag = ParseTagIndexKey(line);
  const std::optional<ExpiryIndexParts> expiry = ParseExpiryIndexKey(line);
  if (!tag && !expiry) return false;
  const EntryKey key(tag ? tag->key : expiry->key);
  const rocksdb::Slice wanted = ToSlice(key.bytes());
  // After a deletion of many, a search goes over all of their tombstones: what
  // the last one went over need not be searched again.
  const bool is_passed =
      sought_ && sought_->compare(key.bytes()) <= 0 &&
      (!entries_->Valid() || wanted.compare(entries_->key()) <= 0);
  if (!is_passed) {
    entries_->Seek(wanted);
    sought_.reset();
    if (entries_->status().ok()) sought_ = key.bytes();
  }
  Entry entry;
  if (!entries_->Valid() || entries_->key() != wanted ||
      !DecodeEntry(entries_->value().ToStringView(), entry).ok()) {
    return false;
  }
  return tag ? entry.tag == tag->tag : entry.expires_at == expiry->expires_at;
}

void StoreChecker::CompareLedger() noexcept {
  LedgerDelta stored;
  if (!stored_ledger_.empty() &&
      !LedgerDelta::Decode(stored_ledger_, stored).ok()) {
    Problem("the stored ledger is malformed");
    report_.counters_match = false;
  }
  const LedgerDelta recount = recount_.ToDelta();
  Sum(ledger_, report_.count_ledger, report_.bytes_ledger);
  Sum(recount, report_.count_recount, report_.bytes_recount);
  CompareCells(ledger_, recount, "the ledger in memory");
  // Cutoffs that wait to be saved are the only difference there may be.
  stored.cutoffs = ledger_.cutoffs;
  LedgerSum clipped;
  clipped.Apply(stored);
  CompareCells(clipped.ToDelta(), recount, "the stored ledger");
}

void StoreChecker::CompareCells(const LedgerDelta& have,
                                const LedgerDelta& want,
                                const std::string& what) noexcept {
  const bool equal = std::equal(
      have.cells.begin(), have.cells.end(), want.cells.begin(),
      want.cells.end(), [](const LedgerCell& a, const LedgerCell& b) {
        return a.rank == b.rank && a.place == b.place && a.bytes == b.bytes &&
               a.items == b.items;
      });
  if (equal) return;
  report_.counters_match = false;
  Problem(what + " differs from a recount");
}

Status StoreChecker::Repair() noexcept {
  TestPoint("check.repair");
  if (store_.read_only_) return ReadOnlyStatus();
  LARDER_RETURN_IF_ERROR(store_.CheckWritable());
  for (const Broken& broken : broken_) {
    LARDER_RETURN_IF_ERROR(RepairOne(broken));
  }
  if (report_.counters_match && broken_.empty()) return Status::Ok();
  ++report_.repaired;
  store_.ForgetRecent();
  return store_.RepairLedger();
}

Status StoreChecker::RepairOne(const Broken& broken) noexcept {
  if (broken.version == 0) return DropEntry(broken.key);
  const std::string keys[] = {broken.key};
  std::uint64_t count = 0;
  LARDER_RETURN_IF_ERROR(store_.DeleteKeys(
      keys, Total::kCorruptions,
      [&](std::string_view, const Entry& entry) {
        return entry.version == broken.version && !IsWhole(broken.key, entry);
      },
      count));
  report_.repaired += count;
  return Status::Ok();
}

// It could not be decoded, so it is in no ledger: it is just dropped, unless
// somebody has written over it.
Status StoreChecker::DropEntry(const std::string& name) noexcept {
  const auto writing = store_.write_gate_.Enter();
  Store::StripeLocks locks(store_);
  locks.LockOne(name);
  const EntryKey key(name);
  rocksdb::PinnableSlice slice;
  const rocksdb::Status read =
      store_.rocks_->db().Get(rocksdb::ReadOptions(), store_.rocks_->access(),
                              ToSlice(key.bytes()), &slice);
  Entry entry;
  if (read.IsNotFound() ||
      (read.ok() && DecodeEntry(slice.ToStringView(), entry).ok())) {
    return Status::Ok();
  }
  ++report_.repaired;
  return FromRocks(
      store_.rocks_->db().Delete(rocksdb::WriteOptions(),
                                 store_.rocks_->access(), ToSlice(key.bytes())),
      "dropping a damaged entry");
}

bool StoreChecker::IsWhole(const std::string& key,
                           const Entry& entry) noexcept {
  std::unique_ptr<EntryPin> no_pin;
  const Result<std::optional<ValueHandle>> value =
      entry.kind == EntryKind::kSegments ? Pieces(key, entry)
                                         : store_.ReadValue(key, entry, no_pin);
  return value && value->has_value();
}

void StoreChecker::Problem(std::string text) noexcept {
  if (report_.problems.size() < kProblemCountMax) {
    report_.problems.push_back(std::move(text));
  }
}

Result<CheckReport> Store::CheckOnce(bool repair) noexcept {
  const auto gate = store_gate_.Enter();
  LARDER_FAIL_IF_ERROR(CheckOpen());
  if (!read_only_ && !faults_.any()) LARDER_FAIL_IF_ERROR(SaveCutoffs());
  return StoreChecker(*this).Run(repair);
}

Result<CheckReport> Store::Check(bool repair) noexcept {
  LARDER_FAIL_IF_ERROR(CheckCaller());
  Result<CheckReport> report = CheckOnce(repair);
  const bool unreadable =
      !report && report.error().code() == StatusCode::kCorruption;
  if (!repair || !unreadable || read_only_) return report;
  // More than items: a new database is made of what can be read, and what has
  // no value then is dropped.
  const Status damage = report.error();
  LARDER_FAIL_IF_ERROR(RepairInPlace(damage));
  Result<CheckReport> after = CheckOnce(/*repair=*/true);
  if (!after) return after;
  ++after->repaired;
  after->problems.insert(after->problems.begin(), damage.message());
  return after;
}

Status Store::RepairLedger() noexcept {
  const std::scoped_lock space(space_mutex_);  // Cutoffs stay as they are.
  write_gate_.lock();
  Status status = RestoreIndexLines();
  if (status.ok()) status = RebuildLedger();
  write_gate_.unlock();
  return status;
}

Status Store::RestoreIndexLines() noexcept {
  constexpr std::size_t kLineCountMax = 4096;
  rocksdb::WriteBatch batch;
  const auto flush = [&] {
    const rocksdb::Status written =
        rocks_->db().Write(rocksdb::WriteOptions(), &batch);
    batch.Clear();
    return written.ok() ? Status::Ok() : HandleWriteFailure(written);
  };
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->access()));
  for (it->Seek(rocksdb::Slice(&kEntrySpace, 1));
       it->Valid() && it->key()[0] == kEntrySpace; it->Next()) {
    const std::string_view key = it->key().ToStringView().substr(1);
    Entry entry;
    if (!DecodeEntry(it->value().ToStringView(), entry).ok()) continue;
    // A Put to a batch fails only over its size limit, which we do not set.
    if (entry.expires_at != kNeverExpires) {
      batch.Put(rocks_->access(), ExpiryIndexKey(entry.expires_at, key), "")
          .PermitUncheckedError();
    }
    if (!entry.tag.empty()) {
      batch.Put(rocks_->access(), TagIndexKey(entry.tag, key), "")
          .PermitUncheckedError();
    }
    if (batch.Count() >= kLineCountMax) LARDER_RETURN_IF_ERROR(flush());
  }
  if (batch.Count() != 0) LARDER_RETURN_IF_ERROR(flush());
  next_expiry_ = std::numeric_limits<Duration::rep>::min();
  return FromRocks(it->status(), "restoring index lines");
}

}  // namespace larder
