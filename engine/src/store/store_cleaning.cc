#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "index/store_keys.h"
#include "index/store_pin.h"
#include "segments/segment_format.h"
#include "store/store.h"
#include "store/store_command.h"
#include "store/store_locks.h"

// Cleaning of a segment: what lives in it is appended again, a group of records
// at a time, and their entries are moved in one commit.
//
// Writers of other keys go on meanwhile, and those of the same keys nearly so:
// their stripes are held for the commit alone. What lives is found out and
// appended before; an entry is looked up again only if somebody has had its
// stripe since. What died in between is garbage where it was appended.

namespace larder {
namespace {

// Of one commit, which others have to wait for.
constexpr std::size_t kMoveCountMax = 128;

}  // namespace

/// A record of a segment that cleaning may have to keep.
struct Store::MovedRecord {
  std::string key;  ///< As in `access`.
  SegmentPlace place;
  SegmentRecord record;  ///< Lies in the scan's memory.
  // What is found out of it:
  OldItem old;
  bool lives = false;
  std::uint32_t stripe_changes = 0;  ///< Before the lookup.
  Extents moved;

  /// Becomes another record, in the same memory.
  void Reset(const PlacedRecord& found) {
    key.assign(1, kEntrySpace);
    key.append(found.record.key);
    place = found.place;
    record = found.record;
    old.present = false;
    old.counted = false;
    lives = false;
    moved.clear();
  }
  [[nodiscard]] std::string_view user_key() const {
    return std::string_view(key).substr(1);
  }
};

Status Store::CleanSegment(std::uint32_t id) noexcept {
  const PlaceId place = PlaceOfSegment(id);
  MarkClosing({&place, 1});
  Status moved;
  std::uint64_t damaged = 0;
  std::uint64_t damaged_payloads = 0;
  std::vector<MovedRecord> records(kMoveCountMax);
  const Status read = log_->ForEachGroup(
      id, kMoveCountMax,
      [&](std::span<const PlacedRecord> group) {
        for (std::size_t i = 0; i < group.size(); ++i) {
          records[i].Reset(group[i]);
        }
        moved = MoveRecords({records.data(), group.size()}, damaged_payloads);
        return moved.ok();
      },
      &damaged);
  damaged += damaged_payloads;
  {
    const std::scoped_lock lock(ledger_mutex_);
    closing_.erase(place);
  }
  LARDER_RETURN_IF_ERROR(read);
  LARDER_RETURN_IF_ERROR(moved);
  segments_cleaned_.fetch_add(1);
  if (damaged != 0) {
    LARDER_RETURN_IF_ERROR(DropLostItems(place));
  }
  std::size_t freed = 0;
  return FreeIfDead({place}, freed);
}

Status Store::MoveRecords(std::span<MovedRecord> records,
                          std::uint64_t& damaged_bytes) noexcept {
  const auto writing = write_gate_.Enter();
  // Values of the index, which the records look into.
  std::vector<rocksdb::PinnableSlice> slices(records.size());
  LARDER_RETURN_IF_ERROR(FindLiving(records, slices));
  for (MovedRecord& moved : records) {
    const SegmentRecord& record = moved.record;
    if (!moved.lives ||
        PayloadChecksum(record.payload) == record.payload_checksum) {
      continue;
    }
    moved.lives = false;
    damaged_bytes += record.payload.size();
  }
  // Until the commit, as those of any batch.
  std::vector<SegmentGrant> grants;
  LARDER_RETURN_IF_ERROR(AppendLiving(records, grants));
  // Any sync of the log makes the move durable, so the copies are that before.
  const PlaceId source = PlaceOfSegment(records.front().place.segment);
  const bool power = IsPowerPlace(source);
  const auto sync_copies = [&] {
    std::vector<std::uint32_t> ids;
    for (const MovedRecord& moved : records) {
      for (const SegmentPlace& at : moved.moved) ids.push_back(at.segment);
    }
    const Status synced = log_->SyncSegments(ids);
    return synced.ok() ? synced : SegmentFailure(synced);
  };
  if (power) LARDER_RETURN_IF_ERROR(sync_copies());
  PendingBatch& pending = ThreadBatch();
  const BatchScope scope(pending);
  StripeLocks locks(*this);
  for (const MovedRecord& record : records) {
    if (!record.lives) continue;
    locks.Add(record.user_key());
    // Two records may be of one item.
    pending.keep_overlay |= record.old.entry.extents.size() > 1;
  }
  locks.LockAdded();
  for (MovedRecord& record : records) {
    if (!record.lives) continue;
    const std::string_view key = record.user_key();
    OldItem again;
    OldItem* old = &record.old;
    old->counted = IsCounted(old->entry);  // It may have been evicted.
    if (record.stripe_changes != locks.ChangesOf(key) || pending.keep_overlay) {
      LARDER_RETURN_IF_ERROR(Lookup(key, pending, again));
      old = &again;
    }
    if (!old->IsAt(record.record.version, record.place)) continue;
    Entry entry = old->entry;
    const auto at =
        std::find(entry.extents.begin(), entry.extents.end(), record.place);
    const auto next = entry.extents.erase(at);
    entry.extents.insert(next, record.moved.begin(), record.moved.end());
    PutEntry(key, *old, entry, pending);
  }
  if (pending.empty()) return Status::Ok();
  if (IsPowerPlace(source)) {
    // Somebody may have seen to it meanwhile that it must survive.
    if (!power) LARDER_RETURN_IF_ERROR(sync_copies());
    const std::scoped_lock lock(ledger_mutex_);
    NotePower(pending.delta);
  }
  return Commit(pending, Durability::kProcess);
}

Status Store::FindLiving(std::span<MovedRecord> records,
                         std::span<rocksdb::PinnableSlice> slices) noexcept {
  std::vector<rocksdb::Slice> keys;
  std::vector<MovedRecord*> unknown;
  for (MovedRecord& record : records) {
    const std::string_view key = record.user_key();
    // Before the lookup: a change after it shows.
    record.stripe_changes = StripeLocks::ChangesNow(*this, key);
    // Who has the stripe is about to change something in it.
    const std::unique_lock lock(stripes_[StripeOf(key)].mutex,
                                std::try_to_lock);
    if (lock.owns_lock() && LookupRecent(key, record.old)) continue;
    keys.emplace_back(record.key);
    unknown.push_back(&record);
  }
  std::vector<rocksdb::Status> statuses(keys.size());
  if (!keys.empty()) {
    rocks_->db().MultiGet(read_options_, rocks_->access(), keys.size(),
                          keys.data(), slices.data(), statuses.data());
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (statuses[i].IsNotFound()) continue;
    LARDER_RETURN_IF_ERROR(FromRocks(statuses[i], "reading the index"));
    Understand(slices[i].ToStringView(), unknown[i]->old);
  }
  for (MovedRecord& record : records) {
    record.lives = record.old.IsAt(record.record.version, record.place);
  }
  return Status::Ok();
}

Status Store::AppendLiving(std::span<MovedRecord> records,
                           std::vector<SegmentGrant>& grants) noexcept {
  std::vector<SegmentRecord> pieces;
  std::vector<MovedRecord*> owners;
  const std::uint64_t now = runs_.next_version();
  for (MovedRecord& moved : records) {
    if (!moved.lives) continue;
    const SegmentRecord& record = moved.record;
    // Longer than it has lived already: not hot, then, even if it is young.
    const LogStream stream = StreamOf(now - record.version, LogStream::kWarm,
                                      LogStream::kNew, LogStream::kMoved);
    for (std::size_t done = 0; done < record.payload.size();) {
      const std::uint64_t before = log_->disk_bytes();
      Result<SegmentGrant> grant = log_->Reserve(
          record.key.size(), record.payload.size() - done, stream);
      if (!grant) return SegmentFailure(grant.error());
      if (!evicts_for_room_) KeepWithinLimit(before);
      SegmentRecord& piece = pieces.emplace_back(record);
      piece.payload = record.payload.substr(done, grant->payload_size);
      piece.value_size = moved.old.entry.value_size;
      piece.value_offset += done;
      piece.codec = moved.old.entry.codec;
      if (piece.payload.size() != record.payload.size()) {
        piece.payload_checksum.reset();
      }
      done += piece.payload.size();
      grants.push_back(std::move(*grant));
      owners.push_back(&moved);
    }
    bytes_moved_.fetch_add(record.payload.size());
  }
  std::vector<SegmentPlace> places(grants.size());
  const Status written = log_->WriteAll(grants, pieces, places);
  if (!written.ok()) return SegmentFailure(written);
  for (std::size_t i = 0; i < places.size(); ++i) {
    owners[i]->moved.push_back(places[i]);
  }
  return Status::Ok();
}

Status Store::DropLostItems(PlaceId place) noexcept {
  // Items whose records are damaged were not visited; whoever still points
  // into the segment is lost.
  std::vector<std::string> keys;
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->access()));
  const auto points_here = [place](const Entry& entry) {
    return std::any_of(entry.extents.begin(), entry.extents.end(),
                       [place](const SegmentPlace& extent) {
                         return PlaceOfSegment(extent.segment) == place;
                       });
  };
  for (it->Seek(rocksdb::Slice(&kEntrySpace, 1));
       it->Valid() && it->key()[0] == kEntrySpace; it->Next()) {
    Entry entry;
    if (DecodeEntry(it->value().ToStringView(), entry).ok() &&
        points_here(entry)) {
      keys.emplace_back(it->key().ToStringView().substr(1));
    }
  }
  std::uint64_t count = 0;
  LARDER_RETURN_IF_ERROR(DeleteKeys(
      keys, Total::kCorruptions,
      [&](std::string_view, const Entry& entry) { return points_here(entry); },
      count));
  if (count != 0) {
    Log("dropping " + std::to_string(count) +
        " items whose values cannot be read from segment " +
        std::to_string(PlaceNumber(place)));
  }
  return Status::Ok();
}

}  // namespace larder
