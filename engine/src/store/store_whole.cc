#include <algorithm>

#include "base/check.h"
#include "base/coding.h"
#include "base/test_point.h"
#include "index/store_keys.h"
#include "store/store.h"
#include "store/store_locks.h"

// Commands that concern the cache as a whole: clear, evict by tag, expire,
// cull, and the figures.

namespace larder {
namespace {

// Lines of the expiry index that are read at a time.
constexpr std::size_t kDeleteCountMax = 4096;
constexpr std::size_t kDeleteBytesMax = 64 * 1024;
// Deletions of one commit: they bound what a writer of one of their stripes
// waits for, and how many of the stripes are taken.
constexpr std::size_t kStepCountMax = 32;
// Evictions of tags that come while somebody waits for their figures.
constexpr int kSettleRoundsMax = 8;

}  // namespace

void Store::ExecuteWhole(const Command& command, Reply& reply) noexcept {
  reply.status = CheckWritable();
  if (!reply.status.ok()) return;
  if (const auto* evict = std::get_if<EvictTagCommand>(&command)) {
    reply.status = evict->tag.size() > kTagSizeBytesMax
                       ? Status::InvalidArgument("tag too long")
                       : EvictTag(evict->tag, reply.count);
  } else if (std::holds_alternative<ClearCommand>(command)) {
    reply.status = Clear(reply.count);
  } else if (const auto* expire = std::get_if<ExpireCommand>(&command)) {
    reply.status = Expire(expire->now.value_or(clock_.Now()), reply.count);
  } else {
    reply.status =
        Cull(std::get<CullCommand>(command).live_bytes_target, reply.count);
  }
  reply.applied = reply.status.ok();
}

Status Store::DeleteKeys(std::span<const std::string> keys,
                         std::optional<Total> total,
                         const EntryCondition& condition,
                         std::uint64_t& count) noexcept {
  const auto writing = write_gate_.Enter();
  PendingBatch pending;
  StartBatch(pending);
  StripeLocks locks(*this);
  for (const std::string& key : keys) locks.Add(key);
  locks.LockAdded();
  std::uint64_t deleted = 0;
  for (const std::string& key : keys) {
    OldItem old;
    LARDER_RETURN_IF_ERROR(Lookup(key, pending, old));
    if (!old.present || !condition(key, old.entry)) continue;
    RemoveEntry(key, old, pending);
    if (old.counted) ++deleted;
    if (old.counted && old.gone_by) pending.settled.push_back(old.gone_by);
  }
  if (pending.empty()) return Status::Ok();
  if (total) {
    pending.delta.Count(*total, static_cast<std::int64_t>(deleted));
  }
  LARDER_RETURN_IF_ERROR(Commit(pending, Durability::kProcess));
  count += deleted;
  return Status::Ok();
}

Status Store::Clear(std::uint64_t& count) noexcept {
  LARDER_RETURN_IF_ERROR(SettleAll(clock_.Now()));
  write_gate_.lock();
  // What has gone with a tag is not to be counted again.
  while (tag_cutoffs_.any()) {
    write_gate_.unlock();
    LARDER_RETURN_IF_ERROR(
        SettleTags(std::chrono::steady_clock::time_point::max()));
    write_gate_.lock();
  }
  std::uint64_t items = 0;
  PendingBatch pending;
  {
    const std::scoped_lock lock(ledger_mutex_);
    items = ledger_.space().live_items();
  }
  pending.delta.reset = true;
  pending.delta.epoch_max = epoch_ + 1;
  HotWriter* const hot = hot_.load(std::memory_order_relaxed);
  if (hot != nullptr) hot->BeginClear();
  // Epochs are the measure of the index, and never go back.
  const Status status =
      Commit(pending, std::max(settings_.durability(), Durability::kProcess));
  if (status.ok()) {
    count += items;
    const std::scoped_lock lock(ledger_mutex_);
    MirrorLedger();
  }
  if (hot != nullptr) hot->EndInvalidation();
  write_gate_.unlock();
  LARDER_RETURN_IF_ERROR(status);
  {
    const std::scoped_lock space(space_mutex_);
    runs_.Seal();
    LARDER_RETURN_IF_ERROR(log_->SealOpen());
  }
  return FreeAllDead();
}

Status Store::FreeAllDead() noexcept {
  for (std::size_t freed = 1; freed != 0;) {
    LetWaitersIn();
    const std::scoped_lock space(space_mutex_);
    LARDER_RETURN_IF_ERROR(FreeDeadPlaces(freed));
    log_->DropSpares();
    TestPoint("free.step");
  }
  return Status::Ok();
}

Status Store::Cull(std::optional<std::uint64_t> live_bytes_target,
                   std::uint64_t& count) noexcept {
  LARDER_RETURN_IF_ERROR(SettleAll(clock_.Now()));
  // A hit of before must not bring back what is evicted here.
  LARDER_RETURN_IF_ERROR(RestampTouched());
  LARDER_RETURN_IF_ERROR(RestampHot());
  const std::int64_t before = EvictionTotal();
  {
    const std::scoped_lock space(space_mutex_);
    while (live_bytes_target && live_bytes_ > *live_bytes_target) {
      bool evicted = false;
      LARDER_RETURN_IF_ERROR(EvictRow(EvictionCause::kCull, evicted));
      if (!evicted) break;
    }
  }
  LARDER_RETURN_IF_ERROR(FreeAllDead());
  RoomClaim nothing;
  LARDER_RETURN_IF_ERROR(MakeRoom({}, nothing));
  count += static_cast<std::uint64_t>(EvictionTotal() - before);
  return Status::Ok();
}

std::int64_t Store::EvictionTotal() const noexcept {
  const std::scoped_lock lock(ledger_mutex_);
  return ledger_.total(Total::kEvictions);
}

// Who settled them does not matter, so what counts is the total that all add
// to, and what it was when it was last told.
Status Store::Expire(TimePoint now, std::uint64_t& count) noexcept {
  const Status settled = SettleAllExpired(now);
  const std::scoped_lock lock(expire_mutex_);
  std::uint64_t total = 0;
  {
    const std::scoped_lock ledger_lock(ledger_mutex_);
    total = static_cast<std::uint64_t>(ledger_.total(Total::kExpirations));
  }
  count = total - std::min(total, expirations_told_);
  LARDER_RETURN_IF_ERROR(settled);
  if (count == 0) return Status::Ok();
  char bytes[sizeof(total)];
  StoreBigEndian64(bytes, total);
  const rocksdb::Status written = rocks_->db().Put(
      rocksdb::WriteOptions(), rocks_->counters(),
      rocksdb::Slice(kExpirationsToldKey), {bytes, sizeof(bytes)});
  if (!written.ok()) return HandleWriteFailure(written);
  expirations_told_ = total;
  return Status::Ok();
}

Status Store::LoadExpirationsTold() noexcept {
  std::string bytes;
  const rocksdb::Status read =
      rocks_->db().Get(rocksdb::ReadOptions(), rocks_->counters(),
                       rocksdb::Slice(kExpirationsToldKey), &bytes);
  expirations_told_ = 0;
  if (read.IsNotFound()) return Status::Ok();
  if (!read.ok()) return FromRocks(read, "reading how many expired");
  if (bytes.size() == sizeof(std::uint64_t)) {
    expirations_told_ = LoadBigEndian64(bytes.data());
  }
  return Status::Ok();
}

Status Store::SettleAll(TimePoint now) noexcept {
  LARDER_RETURN_IF_ERROR(SettleAllExpired(now));
  return SettleTags(std::chrono::steady_clock::time_point::max());
}

Status Store::SettleAllExpired(TimePoint now) noexcept {
  for (bool more = true; more;) {
    std::uint64_t settled = 0;
    LARDER_RETURN_IF_ERROR(SettleExpired(now, kDeleteCountMax, settled, more));
  }
  return Status::Ok();
}

bool Store::CountsAtOnce() noexcept {
  return !tag_cutoffs_.any() && settle_round_ % 2 == 0 &&
         clock_.Now().time_since_epoch().count() < next_expiry_;
}

Status Store::SettleExpired(TimePoint now, std::uint64_t count_max,
                            std::uint64_t& count, bool& more) noexcept {
  more = false;
  const auto expires_later = [&] {
    return now.time_since_epoch().count() < next_expiry_;
  };
  // Odd: somebody is at it, has taken the hint away, and is waited for.
  const std::uint32_t round = settle_round_;
  if (round % 2 == 0 && expires_later() && settle_round_ == round) {
    return Status::Ok();
  }
  const std::scoped_lock lock(settle_mutex_);
  if (expires_later()) return Status::Ok();
  ++settle_round_;
  // Nothing expires before `start`. An item that is stored from here on lowers
  // the hint again, after its commit.
  const Duration::rep start =
      next_expiry_.exchange(std::numeric_limits<Duration::rep>::max());
  Duration::rep next = std::numeric_limits<Duration::rep>::max();
  TestPoint("settle.begun");
  std::vector<std::string> lines;
  std::size_t bytes = 0;
  std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->access()));
  for (it->Seek(ExpiryIndexKey(TimePoint(Duration(start)), {})); it->Valid();
       it->Next()) {
    const std::optional<ExpiryIndexParts> parts =
        ParseExpiryIndexKey(it->key().ToStringView());
    if (!parts) break;
    if (parts->expires_at > now || lines.size() == count_max ||
        bytes >= kDeleteBytesMax) {
      next = parts->expires_at.time_since_epoch().count();
      more = parts->expires_at <= now;
      break;
    }
    lines.emplace_back(it->key().ToStringView());
    bytes += lines.back().size();
  }
  Status status = FromRocks(it->status(), "reading the expiry index");
  it.reset();  // What it sees stays on disk as long as it lives.
  const std::span<const std::string> all(lines);
  for (std::size_t i = 0; i < all.size() && status.ok(); i += kStepCountMax) {
    status = DeleteExpired(
        all.subspan(i, std::min(kStepCountMax, all.size() - i)), count);
    TestPoint("settle.step");
    if (status.ok()) LetIndexCatchUp();
  }
  LowerTo(next_expiry_, status.ok() ? next : start);
  ++settle_round_;
  return status;
}

Status Store::LookupAndLock(std::span<const std::string_view> keys,
                            StripeLocks& locks,
                            std::span<OldItem> items) noexcept {
  std::vector<std::uint32_t> changes;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    locks.Add(keys[i]);
    // Before the lookup: a change after it shows.
    changes.push_back(StripeLocks::ChangesNow(*this, keys[i]));
    LARDER_RETURN_IF_ERROR(LookupInIndex(keys[i], items[i]));
  }
  locks.LockAdded();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    OldItem& item = items[i];
    if (changes[i] != locks.ChangesOf(keys[i])) {
      item = OldItem();
      LARDER_RETURN_IF_ERROR(LookupInIndex(keys[i], item));
    }
    item.counted = item.present && IsCounted(item.entry);  // Perhaps evicted.
  }
  return Status::Ok();
}

Status Store::DeleteExpired(std::span<const std::string> lines,
                            std::uint64_t& count) noexcept {
  if (lines.empty()) return Status::Ok();
  PendingBatch pending;
  RoomClaim claim;
  ClaimToDelete(lines, 0, claim);
  pending.claim = &claim;
  const auto writing = write_gate_.Enter();
  StartBatch(pending);
  StripeLocks locks(*this);
  std::vector<std::string_view> keys;
  for (const std::string& line : lines) {
    keys.push_back(ParseExpiryIndexKey(line)->key);
  }
  std::vector<OldItem> items(keys.size());
  LARDER_RETURN_IF_ERROR(LookupAndLock(keys, locks, items));
  std::uint64_t expired = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    const ExpiryIndexParts parts = *ParseExpiryIndexKey(line);
    const OldItem& old = items[i];
    if (old.present && old.entry.expires_at == parts.expires_at) {
      RemoveEntry(parts.key, old, pending);
      const bool is_gone = old.gone_by != nullptr;
      if (old.counted && is_gone) pending.settled.push_back(old.gone_by);
      if (old.counted && !is_gone) ++expired;
      TellOnce(parts.key, old.entry,
               is_gone ? EvictionReason::kCleared : EvictionReason::kExpired);
    } else {  // Left over: the entry has gone or has another expiry.
      LARDER_CHECK(pending.batch.Delete(rocks_->access(), line).ok());
    }
  }
  pending.delta.Count(Total::kExpirations, static_cast<std::int64_t>(expired));
  LARDER_RETURN_IF_ERROR(Commit(pending, Durability::kProcess));
  count += expired;
  return Status::Ok();
}

Status Store::SaveTotals() noexcept {
  LedgerDelta delta;
  const Accesses accesses = AccessesHere();
  const Accesses unsaved = accesses - accesses_.saved();
  delta.Count(Total::kHits, static_cast<std::int64_t>(unsaved.hits));
  delta.Count(Total::kMisses, static_cast<std::int64_t>(unsaved.misses));
  const std::int64_t corruptions = corruptions_unsaved_.exchange(0);
  delta.Count(Total::kCorruptions, corruptions);
  const bool changed =
      std::any_of(delta.totals.begin(), delta.totals.end(),
                  [](std::int64_t total) { return total != 0; });
  if (!changed) return SaveCutoffs();
  std::string operand;
  delta.Encode(operand);
  const rocksdb::Status written =
      rocks_->db().Merge(rocksdb::WriteOptions(), rocks_->counters(),
                         rocksdb::Slice(kLedgerKey), operand);
  if (!written.ok()) {
    corruptions_unsaved_.fetch_add(corruptions);
    return HandleWriteFailure(written);
  }
  {
    const std::scoped_lock lock(ledger_mutex_);
    accesses_.SetSaved(accesses);  // Stats sees both or neither.
    ApplyToLedger(delta);
  }
  return SaveCutoffs();
}

Result<std::uint64_t> Store::Count() noexcept {
  LARDER_FAIL_IF_ERROR(CheckCaller());
  const auto gate = store_gate_.Enter();
  LARDER_FAIL_IF_ERROR(CheckOpen());
  if (!read_only_ && !faults_.any()) {
    // Another tag may be evicted meanwhile; then what was seen is half of it.
    for (int i = 0;; ++i) {
      const std::uint64_t changes = tag_cutoffs_.changes();
      LARDER_FAIL_IF_ERROR(SettleAll(clock_.Now()));
      const std::uint64_t items = live_items_;
      const bool is_one_moment =
          !tag_cutoffs_.any() && changes == tag_cutoffs_.changes();
      if (is_one_moment || i == kSettleRoundsMax) return items;
    }
  }
  const TimePoint now = clock_.Now();
  return live_items_.load() - CountExpiredUnsettled(now) -
         CountGoneUnsettled(now);
}

std::uint64_t Store::CountExpiredUnsettled(TimePoint now) noexcept {
  std::uint64_t count = 0;
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->access()));
  for (it->Seek(rocksdb::Slice(&kExpirySpace, 1)); it->Valid(); it->Next()) {
    const std::optional<ExpiryIndexParts> parts =
        ParseExpiryIndexKey(it->key().ToStringView());
    if (!parts || parts->expires_at > now) break;
    const EntryKey key(parts->key);
    rocksdb::PinnableSlice slice;
    Entry entry;
    if (rocks_->db()
            .Get(rocksdb::ReadOptions(), rocks_->access(), ToSlice(key.bytes()),
                 &slice)
            .ok() &&
        DecodeEntry(slice.ToStringView(), entry).ok() &&
        entry.expires_at == parts->expires_at && IsCounted(entry)) {
      ++count;
    }
  }
  return count;
}

void Store::CloseIdleFiles() noexcept {
  const auto gate = store_gate_.Enter();
  if (!CheckOpen().ok()) return;
  rocks_->CloseIdleFiles();
  log_->CloseIdleFiles();
}

Result<EngineStats> Store::Stats() noexcept {
  LARDER_FAIL_IF_ERROR(CheckCaller());
  const auto gate = store_gate_.Enter();
  LARDER_FAIL_IF_ERROR(CheckOpen());
  const TimePoint now = clock_.Now();
  if (read_only_ || faults_.any()) {
    EngineStats stats = ReadStats();
    stats.count -= std::min(
        stats.count, CountExpiredUnsettled(now) + CountGoneUnsettled(now));
    return stats;
  }
  for (int i = 0;; ++i) {  // As in Count.
    const std::uint64_t changes = tag_cutoffs_.changes();
    LARDER_FAIL_IF_ERROR(SettleAll(now));
    EngineStats stats = ReadStats();
    const bool is_one_moment =
        !tag_cutoffs_.any() && changes == tag_cutoffs_.changes();
    if (is_one_moment || i == kSettleRoundsMax) return stats;
  }
}

EngineStats Store::ReadStats() noexcept {
  EngineStats stats;
  stats.size_limit = CurrentSettings().size_limit;
  stats.disk_bytes = UsedBytes();
  stats.restamps = restamps_.Sum();
  stats.bytes_written_user = user_bytes_.Sum();
  stats.bytes_written_disk =
      log_->bytes_written() + rocks_->files().bytes_written();
  stats.segments = log_->Segments().size();
  stats.segments_cleaned = segments_cleaned_;
  stats.bytes_moved = bytes_moved_;
  stats.log_bytes = log_->disk_bytes();
  for (const RunTable::Run& run : runs_.Runs()) stats.log_bytes += run.bytes;
  stats.held_bytes = log_->unlinked_bytes();
  stats.eviction_events_dropped =
      board_.dropped() + (notifier_ ? notifier_->dropped() : 0);
  if (more_figures_) more_figures_(stats);
  PolicyInForce in_force = policy();
  stats.policy = std::move(in_force.set);
  if (!read_only_) stats.policy_running = std::move(in_force.running);
  const Accesses accesses = AccessesHere();
  const std::scoped_lock lock(ledger_mutex_);
  const Accesses unsaved_accesses = accesses - accesses_.saved();
  const auto total = [this](Total which, std::uint64_t unsaved) {
    return static_cast<std::uint64_t>(ledger_.total(which)) + unsaved;
  };
  stats.count = ledger_.space().live_items();
  stats.live_bytes = ledger_.space().live_bytes();
  stats.pinned_bytes = ledger_.space().class_bytes(kClassPinned);
  stats.hits = total(Total::kHits, unsaved_accesses.hits);
  stats.misses = total(Total::kMisses, unsaved_accesses.misses);
  stats.sets = total(Total::kSets, 0);
  stats.deletes = total(Total::kDeletes, 0);
  stats.evictions = total(Total::kEvictions, 0);
  stats.expirations = total(Total::kExpirations, 0);
  stats.corruptions =
      total(Total::kCorruptions,
            static_cast<std::uint64_t>(corruptions_unsaved_.load()));
  for (const auto& [place, use] : ledger_.places()) {
    if (place != kPlaceInline && use.bytes > 0) {
      stats.log_live_bytes += static_cast<std::uint64_t>(use.bytes);
    }
  }
  return stats;
}

}  // namespace larder
