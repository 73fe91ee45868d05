#include <algorithm>

#include <rocksdb/snapshot.h>

#include "index/store_keys.h"
#include "store/store.h"

// What must be on disk before what, for writes of different durability to live
// in one directory.
//
// 1. Bytes are freed only after what killed the items in them is as safe as
//    these were: a logged item that an unlogged write replaced is needed by the
//    log until that write is in a table, and one that was to survive a power
//    cut until the log is synced.
// 2. What is moved is where it goes before the index says so, for items that
//    are to survive a power cut: any later sync of the log makes the move
//    durable, and the source may be gone by then.
// 3. Nothing is built upon a log that was found at Open before that is synced
//    (Rocks::Open), and nothing upon a log or a segment whose sync has failed
//    (Reopen, LeaveDoubtfulSegments), as long as this process has the cache.
// 4. After a crash the items are counted before anything is unlinked.
//
// Which items are which is known by place, and rather too often than too
// rarely: all places there are when Sync is called, or when a directory that
// has ever promised to survive a power cut is opened, may hold such items.
//
// Rejected: syncing all segments before the log is synced, whoever wrote them:
// a small write would wait for all that others have written since.

namespace larder {

Status Store::BeginUnlogged(const LedgerDelta& delta) noexcept {
  LARDER_RETURN_IF_ERROR(MarkUnlogged());
  // Before the write: who sees what it changed sees this, too.
  const std::scoped_lock lock(ledger_mutex_);
  for (const LedgerCell& cell : delta.cells) {
    if (cell.bytes < 0 && cell.place != kPlaceInline) {
      unlogged_kills_[cell.place] = unlogged_round_;
    }
  }
  return Status::Ok();
}

Status Store::MarkUnlogged() noexcept {
  if (unlogged_marked_) return Status::Ok();
  const rocksdb::Status written =
      rocks_->db().Put(rocksdb::WriteOptions(), rocks_->counters(),
                       rocksdb::Slice(kUnloggedKey), "1");
  if (!written.ok()) return HandleWriteFailure(written);
  unlogged_marked_ = true;
  return Status::Ok();
}

Status Store::SettleKills(std::span<const PlaceId> places) noexcept {
  bool unlogged = false;
  bool power = false;
  std::uint64_t round = 0;
  {
    const std::scoped_lock lock(ledger_mutex_);
    for (const PlaceId place : places) {
      unlogged |= unlogged_kills_.contains(place);
      power |= power_places_.contains(place);
    }
    if (unlogged) round = unlogged_round_++;
  }
  if (unlogged) {
    // Who noted a kill in this round has written it then.
    write_gate_.AwaitLeaving();
    LARDER_RETURN_IF_ERROR(rocks_->FlushAll());
    const std::scoped_lock lock(ledger_mutex_);
    std::erase_if(unlogged_kills_,
                  [round](const auto& kill) { return kill.second <= round; });
  }
  return power ? SyncLog() : Status::Ok();
}

// A write rather than SyncWAL, which aborts in Debian's build if a write has
// just failed. It syncs the logs before the current one, too.
Status Store::SyncLog() noexcept {
  LARDER_RETURN_IF_ERROR(CheckLogSynced());
  rocksdb::WriteOptions options;
  options.sync = true;
  const rocksdb::Status written = rocks_->db().Put(
      options, rocks_->counters(), rocksdb::Slice(kPowerKey), "1");
  if (!written.ok()) return HandleWriteFailure(written);
  power_marked_ = true;
  return CheckLogSynced();
}

Status Store::CheckLogSynced() noexcept {
  if (!rocks_->files().log_sync_failed()) return Status::Ok();
  return HandleWriteFailure(
      rocksdb::Status::IOError("the write-ahead log could not be synced"));
}

Status Store::UnknownOutcome() noexcept {
  Status failure = CheckLogSynced();
  if (failure.code() == StatusCode::kGone) return failure;
  return Status::OutcomeUnknown(failure.message() +
                                "; outcome unknown: the change is in it");
}

bool Store::IsPowerPlace(PlaceId place) const noexcept {
  const std::scoped_lock lock(ledger_mutex_);
  return power_places_.contains(place);
}

Status Store::MarkPower() noexcept {
  if (power_marked_) return Status::Ok();
  const rocksdb::Status written =
      rocks_->db().Put(rocksdb::WriteOptions(), rocks_->counters(),
                       rocksdb::Slice(kPowerKey), "1");
  if (!written.ok()) return HandleWriteFailure(written);
  power_marked_ = true;
  return Status::Ok();
}

void Store::NotePower(const LedgerDelta& delta) noexcept {
  for (const LedgerCell& cell : delta.cells) {
    if (cell.bytes > 0 && cell.place != kPlaceInline) {
      power_places_.insert(cell.place);
    }
  }
}

void Store::NoteAllPower() noexcept {
  const std::scoped_lock lock(ledger_mutex_);
  for (const auto& [place, use] : ledger_.places()) {
    if (place != kPlaceInline) power_places_.insert(place);
  }
}

Status Store::Sync() noexcept {
  if (read_only_) return Status::Ok();
  const auto gate = store_gate_.Enter();
  LARDER_RETURN_IF_ERROR(CheckOpen());
  LARDER_RETURN_IF_ERROR(CheckWritable());
  // Who is moving records now and took them for others' has committed then,
  // and where they went is synced here.
  NoteAllPower();
  write_gate_.AwaitLeaving();
  NoteAllPower();
  LARDER_RETURN_IF_ERROR(LeaveDoubtfulSegments());
  LARDER_RETURN_IF_ERROR(log_->SyncAll());
  if (unlogged_marked_) LARDER_RETURN_IF_ERROR(rocks_->FlushAll());
  return SyncLog();
}

// What cannot be written again where it is, is written elsewhere, from memory
// as long as it is there.
Status Store::LeaveDoubtfulSegments() noexcept {
  const std::vector<std::uint32_t> doubtful = log_->DoubtfulSegments();
  if (doubtful.empty()) return Status::Ok();
  LARDER_RETURN_IF_ERROR(log_->SealOpen());
  for (const std::uint32_t id : doubtful) {
    PlaceUse use;
    bool pinned = false;
    {
      const std::scoped_lock lock(ledger_mutex_);
      use = ledger_.use(PlaceOfSegment(id));
      pinned = stream_pins_.contains(PlaceOfSegment(id));
    }
    if (pinned && use.bytes == 0) continue;  // It stays until the stream ends.
    RoomClaim claim;
    LARDER_RETURN_IF_ERROR(MakeRoom(
        {.log_bytes = BytesToMove(PlaceOfSegment(id),
                                  static_cast<std::uint64_t>(use.bytes))},
        claim));
    const std::scoped_lock space(space_mutex_);
    // Room may have been made of it, and whoever has a grant in it still has
    // not committed.
    const std::vector<SegmentInfo> segments = log_->Segments();
    const bool is_sealed = std::any_of(
        segments.begin(), segments.end(), [id](const SegmentInfo& segment) {
          return segment.id == id && segment.sealed;
        });
    if (is_sealed) LARDER_RETURN_IF_ERROR(CleanSegment(id));
  }
  return Status::Ok();
}

Status Store::LoadMarkers() noexcept {
  const auto is_marked = [this](std::string_view key) -> Result<bool> {
    std::string marker;
    const rocksdb::Status read = rocks_->db().Get(
        rocksdb::ReadOptions(), rocks_->counters(), ToSlice(key), &marker);
    if (read.IsNotFound()) return false;
    if (!read.ok()) return Fail(FromRocks(read, "reading a marker"));
    return true;
  };
  const Result<bool> unlogged = is_marked(kUnloggedKey);
  if (!unlogged) return unlogged.error();
  const Result<bool> power = is_marked(kPowerKey);
  if (!power) return power.error();
  recover_unlogged_ = *unlogged;
  unlogged_marked_ = false;
  power_marked_ = *power;
  {
    const std::scoped_lock lock(ledger_mutex_);
    unlogged_kills_.clear();
    power_places_.clear();
  }
  return Status::Ok();
}

// Of what was written without a log any part may have reached the tables, of
// each column family another one; of what was logged, all, but where the log is
// damaged. So the entries are what counts, as far as their values are there.
Status Store::RecoverUnlogged() noexcept {
  if (!recover_unlogged_) return Status::Ok();
  if (rocks_->read_only()) return RebuildLedger();
  Log("not all changes are there: counting " + directory().string() + " anew");
  LARDER_RETURN_IF_ERROR(DropBrokenEntries());
  LARDER_RETURN_IF_ERROR(RestoreIndexLines());
  LARDER_RETURN_IF_ERROR(RebuildLedger());
  const rocksdb::Status written =
      rocks_->db().Delete(rocksdb::WriteOptions(), rocks_->counters(),
                          rocksdb::Slice(kUnloggedKey));
  if (!written.ok()) return HandleWriteFailure(written);
  recover_unlogged_ = false;
  std::uint64_t version_max = 0;
  {
    const std::scoped_lock lock(ledger_mutex_);
    version_max = ledger_.version_max();
  }
  StartVersions(version_max);
  return Status::Ok();
}

Status Store::ReadIndex() noexcept {
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(read, rocks_->access()));
  for (it->SeekToFirst(); it->Valid();) it->Next();
  return FromRocks(it->status(), "counting anew");
}

Status Store::DropBrokenEntries() noexcept {
  constexpr std::uint32_t kEntryCountMax = 4096;
  rocksdb::WriteBatch batch;
  const auto write = [&] {
    const rocksdb::Status written =
        rocks_->db().Write(rocksdb::WriteOptions(), &batch);
    batch.Clear();
    return written.ok() ? Status::Ok() : HandleWriteFailure(written);
  };
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->access()));
  for (it->Seek(rocksdb::Slice(&kEntrySpace, 1));
       it->Valid() && it->key()[0] == kEntrySpace; it->Next()) {
    Entry entry;
    if (!DecodeEntry(it->value().ToStringView(), entry).ok() ||
        !IsCounted(entry) || HasBytes(entry)) {
      continue;
    }
    const std::string_view key = it->key().ToStringView().substr(1);
    // A Delete from a batch fails only over its size limit: there is none.
    batch.Delete(rocks_->access(), it->key()).PermitUncheckedError();
    RemoveExpiryKey(key, entry, batch);
    RemoveTagKey(key, entry, batch);
    if (batch.Count() >= kEntryCountMax) LARDER_RETURN_IF_ERROR(write());
  }
  LARDER_RETURN_IF_ERROR(FromRocks(it->status(), "counting anew"));
  return batch.Count() == 0 ? Status::Ok() : write();
}

bool Store::HasBytes(const Entry& entry) noexcept {
  switch (entry.kind) {
    case EntryKind::kInline:
      return true;
    case EntryKind::kRun: {
      const PositionKey position(entry.version);
      rocksdb::PinnableSlice value;
      return runs_.Contains(entry.run) &&
             !rocks_->db()
                  .Get(rocksdb::ReadOptions(), rocks_->values(),
                       position.slice(), &value)
                  .IsNotFound();
    }
    case EntryKind::kSegments:
      break;
  }
  return std::all_of(entry.extents.begin(), entry.extents.end(),
                     [this](const SegmentPlace& extent) {
                       return log_->Contains(extent.segment);
                     });
}

}  // namespace larder
