#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>

#include <rocksdb/convenience.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/coding.h"
#include "index/index_step.h"
#include "index/store_keys.h"
#include "store/store.h"
#include "store/store_command.h"
#include "store/store_locks.h"
#include "store/store_scan.h"

// Keeping the directory under its limit: eviction by cutoff, freeing of dead
// places, cleaning of partly dead ones, and the background thread.
//
// Making room, cheapest first: unlink what is wholly dead; if much of the log
// is dead, clean the place where that pays best; else evict the lowest row.
// With an arrival-order policy rows die in the order of the log, so segments
// die whole and nothing is ever moved; the other policies, and overwrites,
// leave holes, and cleaning keeps them below kDeadShareMax.
//
// The background thread keeps room for the next segments ready. A writer that
// finds none makes its own, a segment at a time, so writers are slowed down in
// proportion to what they write and never stopped for long.
//
// What a dead segment leaves is kept for the next one, and so is neither used
// nor free: it holds records, but nothing of RocksDB's. When the WAL or the
// index grows it is cut, before anything is evicted for them.
//
// A place is freed in three steps: it is marked as closing, so that no writer
// who comes brings an evicted item back to life there; those who may be doing
// so already are waited for, and if it is a run, whose last records may not be
// committed yet, all writers; and if nothing lives in it then, with the cutoffs
// on disk, its bytes go. No writer is kept waiting for this.

namespace larder {
namespace {

// Share of the log that may be dead before cleaning is preferred to evicting.
// Lower keeps more alive and moves more.
constexpr double kDeadShareMax = 0.13;
// Less may be where that leaves less than so much of the limit alive: the
// larger the records, the less it costs to move a byte. For an average record
// of 2 KiB, and of 6 KiB.
constexpr double kLiveShareOfSmall = 0.76;
constexpr double kLiveShareOfLarge = 0.86;
constexpr double kSmallRecordBytes = 2048;
constexpr double kLargeRecordBytes = 6144;
constexpr double kDeadShareMin = 0.05;
// Nor less than so many segments: those that are open cannot be cleaned.
constexpr double kDeadSegmentsMin = 3;
// Nothing fuller than this is cleaned: it would move nearly all to gain little.
constexpr double kVictimLiveShareMax = 0.90;
// The index may hold this share of the limit in dead lines, besides a quarter
// of what lives in it, before it is compacted by us.
constexpr std::uint64_t kIndexSlackShare = 128;
constexpr std::uint64_t kSlackBytes = 128 * 1024;
// How often what is written to the database may be there at a time: in the WAL;
// before that goes, in a table; and in the compaction of that.
constexpr std::int64_t kDatabaseFactor = 3;
constexpr std::uint64_t kSettleCountMax = 1024;
constexpr int kReclaimRoundsMax = 4096;
// Places that are freed while others wait.
constexpr std::size_t kFreedCountMax = 16;
// Compactions of the index that one writer waits for; then it evicts a row
// before each.
constexpr int kIndexStepsMax = 4;
// Of one writer, too.
constexpr int kSqueezesMax = 3;
constexpr auto kTagRoundMax = std::chrono::milliseconds(50);

/// Gives the room that is kept for somebody back.
class KeptRoom {
 public:
  explicit KeptRoom(std::atomic<bool>& is_kept) noexcept : is_kept_(is_kept) {}
  ~KeptRoom() { is_kept_ = false; }
  KeptRoom(const KeptRoom&) = delete;
  KeptRoom& operator=(const KeptRoom&) = delete;

 private:
  std::atomic<bool>& is_kept_;
};

}  // namespace

/// A record of a place that is freed.
struct Store::FreedRecord {
  std::string key;
  std::uint64_t version = 0;
};

std::uint64_t Store::EffectiveLimit() const noexcept {
  return evicts_for_room_.load(std::memory_order_relaxed)
             ? MovingLimit()
             : effective_limit_.load(std::memory_order_relaxed);
}

std::uint64_t Store::MovingLimit() const noexcept {
  return std::max(effective_limit_.load(std::memory_order_relaxed),
                  shrinking_limit_.load(std::memory_order_relaxed));
}

std::uint64_t Store::ItemBytesMax() const noexcept {
  if (options_.logical_capacity != 0) return options_.logical_capacity;
  return settings_.cache_limit() / 8 * 7 - settings_.segment_size();
}

std::uint64_t Store::OverheadBytes() const noexcept {
  // The directory, the stamp, the marks, the seat's lock and control file.
  constexpr std::uint64_t kFixedBytes = 5 * 4096;
  return directory_->reserve_bytes() + kFixedBytes + subdirectory_bytes_;
}

std::uint64_t Store::UsedBytes() const noexcept {
  return log_->disk_bytes() + rocks_->files().disk_bytes() + OverheadBytes();
}

RoomLeft Store::MeasureRoom() const noexcept {
  // Before what is used: what is written meanwhile counts twice, not never.
  const auto to_log = static_cast<std::int64_t>(claimed_.log_bytes.load());
  const auto to_database =
      static_cast<std::int64_t>(claimed_.database_bytes.load());
  if (options_.logical_capacity != 0) {
    const std::int64_t left =
        static_cast<std::int64_t>(options_.logical_capacity - live_bytes_) -
        to_log - to_database;
    return {.for_database = left, .for_both = left, .database_factor = 1};
  }
  // Records that lie in files which are there already make no file longer.
  const auto for_replacing = static_cast<std::int64_t>(ReplacingReserve());
  const std::int64_t for_database =
      static_cast<std::int64_t>(EffectiveLimit() - BytesTaken()) -
      for_replacing - kDatabaseFactor * to_database;
  const auto reusable = static_cast<std::int64_t>(log_->reusable_bytes());
  const auto reserve = static_cast<std::int64_t>(cleaning_reserve_.load());
  return {.for_database = for_database,
          .for_both = for_database + reusable - reserve - to_log,
          .for_replacing = for_replacing,
          .database_factor = kDatabaseFactor};
}

bool Store::HasRoom(const Incoming& incoming) const noexcept {
  return MeasureRoom().Holds(incoming);
}

std::uint64_t Store::ReplacingReserve() const noexcept {
  constexpr std::uint64_t kShareOfLimit = 512;
  constexpr std::uint64_t kBytesMax = 1024 * 1024;
  // Nothing makes room for them then but themselves, once the index is
  // compacted: a larger part of it at a time.
  constexpr std::uint64_t kShareOfFullLimit = 24;
  constexpr std::uint64_t kFullBytesMax = 16 * 1024 * 1024;
  return evicts_for_room_
             ? std::min(EffectiveLimit() / kShareOfLimit, kBytesMax)
             : std::min(EffectiveLimit() / kShareOfFullLimit, kFullBytesMax);
}

std::uint64_t Store::BytesTaken() const noexcept {
  // What RocksDB may write by itself before it deletes something: a flush of
  // the WAL's contents, a compaction of the index.
  std::uint64_t buffered = rocks_->flush_headroom_bytes();
  // Of what was written without a log, that knows nothing.
  if (unlogged_marked_) {
    buffered = std::max(buffered, 2 * rocks_->buffered_bytes());
  }
  return UsedBytes() + buffered + CompactionToCome() +
         rocks_->manifest_headroom_bytes() + kSlackBytes;
}

std::uint64_t Store::CompactionToCome() const noexcept {
  const std::uint64_t whole = rocks_->compaction_headroom_bytes();
  // What it has written already is used. A scan keeps the tables that it reads,
  // so that one compaction after another may leave its input on the disk.
  const std::uint64_t spent =
      scans_.count() == 0 ? std::min(whole, rocks_->files().merging_bytes())
                          : 0;
  return whole - spent;
}

// A limit that was lowered to what may not be evicted leaves no room for what a
// compaction of the index writes before its input goes: to look for room would
// pass it. What is over it already has no other way down. Where enough may be
// evicted there is room, or will be; what min_free_bytes takes comes and goes.
bool Store::CompactionKeepsLimit() const noexcept {
  const std::uint64_t limit =
      std::max<std::uint64_t>(settings_.cache_limit(), shrinking_limit_);
  if (options_.logical_capacity != 0 ||
      (evicts_for_room_ && pinned_bytes_ < limit / 2)) {
    return true;
  }
  // One that is under way gives that back before another begins.
  const std::uint64_t all = UsedBytes();
  const std::uint64_t used =
      all - std::min(all, rocks_->files().merging_bytes());
  const std::uint64_t live = IndexLiveBytes() + IndexLiveBytes() / 4;
  const std::uint64_t output =
      std::min(rocks_->compaction_headroom_bytes(), live + kSlackBytes);
  return used > limit || used + output <= limit;
}

// The table is smaller than the log, which goes with it. A short one is kept:
// RocksDB compacts a few tables by itself, however small they are.
bool Store::FlushKeepsLimit() const noexcept {
  const std::uint64_t limit =
      std::max<std::uint64_t>(settings_.cache_limit(), shrinking_limit_);
  return CompactionKeepsLimit() ||
         (rocks_->files().wal_bytes() >= 2 * kSlackBytes &&
          UsedBytes() + rocks_->flush_headroom_bytes() <= limit);
}

bool Store::HasItemRoom(std::uint64_t incoming_items) const noexcept {
  const std::uint64_t limit = settings_.item_count_limit();
  // As above: the claims first.
  const std::uint64_t to_come = claimed_.items + incoming_items;
  return limit == 0 || live_items_ + to_come <= limit;
}

std::uint64_t Store::LogBytesFor(std::uint64_t key_size,
                                 std::uint64_t value_size,
                                 std::uint64_t values_before) const noexcept {
  constexpr std::uint64_t kBlockBytes = 4096;
  if (options_.logical_capacity != 0) return value_size;
  const std::uint64_t segment_size = settings_.segment_size();
  // The blocks at the ends of a value are shared with those before and after
  // it in its stream, unless one of them ends its segment.
  const bool is_shared = values_before >= kLogStreamCount;
  const std::uint64_t borders = value_size / segment_size;
  const std::uint64_t end_bytes =
      is_shared ? 2 * kBlockBytes * value_size / segment_size + 1
                : 2 * kBlockBytes;
  const std::uint64_t pieces = value_size / kChunkSizeBytesMax + borders + 2;
  return value_size + borders * kBlockBytes + end_bytes +
         pieces * SegmentLog::RecordSize(key_size, 1);
}

void Store::EndScansThatHoldTooMuch(std::uint64_t bytes_to_come) noexcept {
  scans_.EndHoldingWhile([&] {
    const std::uint64_t held = log_->snapshot_bytes();
    return held != 0 && held + bytes_to_come > settings_.scan_hold_max();
  });
}

void Store::MeasureSubdirectories() noexcept {
  // They grow by a block with the names in them.
  constexpr std::uint64_t kBlockBytes = 4096;
  constexpr std::uint64_t kStatBlockBytes = 512;
  std::uint64_t bytes = 0;
  for (const std::filesystem::path& path :
       {directory_->db_path(), directory_->log_path()}) {
    struct stat status {};
    const bool is_known = ::stat(path.c_str(), &status) == 0;
    bytes +=
        kBlockBytes + (is_known ? static_cast<std::uint64_t>(status.st_blocks) *
                                      kStatBlockBytes
                                : 0);
  }
  subdirectory_bytes_ = bytes;
}

void Store::UpdateFreeSpace() noexcept {
  MeasureSubdirectories();
  const std::uint64_t floor = settings_.min_free_bytes();
  std::uint64_t limit = settings_.cache_limit();
  const Result<std::uint64_t> free =
      floor != 0 ? directory_->FreeBytes() : Result<std::uint64_t>(0);
  if (floor != 0 && free) {
    const std::uint64_t usable = UsedBytes() + *free;
    limit = std::min(limit, usable > floor ? usable - floor : 0);
  }
  effective_limit_ = limit;
  // A limit that is being lowered leaves it, too.
  if (limit < settings_.cache_limit()) LowerTo(shrinking_limit_, limit);
}

void Store::UpdateBudget() noexcept {
  std::uint64_t budget = options_.logical_capacity;
  const std::scoped_lock lock(ledger_mutex_);
  if (budget == 0) {
    const std::uint64_t limit = EffectiveLimit();
    const std::uint64_t fixed = OverheadBytes() + rocks_->files().wal_bytes() +
                                rocks_->flush_headroom_bytes() +
                                rocks_->access_table_bytes() +
                                rocks_->compaction_headroom_bytes() +
                                rocks_->manifest_headroom_bytes() + kSlackBytes;
    budget = limit > 2 * fixed ? limit - fixed : limit / 2;
  }
  items_lie_in_index_ = 2 * ledger_.use(kPlaceInline).bytes >
                        static_cast<std::int64_t>(ledger_.space().live_bytes());
  const std::uint64_t items = settings_.item_count_limit();
  if (items != 0 && ledger_.space().live_items() != 0) {
    const std::uint64_t average =
        ledger_.space().live_bytes() / ledger_.space().live_items() + 1;
    budget = std::min(budget, items * average);
  }
  ledger_.space().SetBudget(std::max<std::uint64_t>(budget, 1));
}

std::optional<RoomLeft> Store::TryClaim(const Incoming& incoming,
                                        RoomClaim& claim) noexcept {
  const std::scoped_lock lock(claim_mutex_);
  RoomLeft left = MeasureRoom();
  if (!left.Holds(incoming) || !HasItemRoom(incoming.items)) {
    return std::nullopt;
  }
  claim.Take(claimed_, incoming);
  left.Take(incoming);
  return left;
}

Status Store::MakeRoom(const Incoming& incoming, RoomClaim& claim) noexcept {
  if (!incoming.empty() &&
      (faults_.disk_full() || directory_->reserve_bytes() == 0)) {
    // The disk was full: what is free now is for what frees more.
    if (Status restored = RestoreReserve();
        !restored.ok() && restored.code() != StatusCode::kNoSpace) {
      return restored;  // No want of room: a limit of the process, say.
    }
    if (directory_->reserve_bytes() == 0 || !DiskHasRoom()) {
      return Status::NoSpace("no space left on the device of " +
                             directory().string() +
                             ": free some; deletes still work");
    }
  }
  if (incoming.only_replaces() && !MayEvict(EvictionCause::kRoom) &&
      options_.logical_capacity == 0) {
    return TryClaim(incoming, claim) ||
                   ClaimByPressing(incoming, claim, Pressing::kIfWorthwhile)
               ? Status::Ok()
               : FullStatus();
  }
  // Relaxed: a moment later is early enough.
  if (!room_is_kept_.load(std::memory_order_relaxed)) {
    if (const auto left = TryClaim(incoming, claim)) {
      AskForRoom(*left);
      return Status::Ok();
    }
  }
  return MakeRoomSlowly(incoming, claim);
}

Status Store::ClaimToChange(std::span<const Command> commands,
                            const Incoming& incoming,
                            RoomClaim& claim) noexcept {
  if (!FreesSpace(commands)) {
    if (incoming.empty()) return Status::Ok();
    Status room = MakeRoom(incoming, claim);
    if (room.code() != StatusCode::kNoSpace ||
        !OverwritesWithoutMore(commands)) {
      return room;
    }
    return MakeRoom({.replacing_bytes = incoming.to_database()}, claim);
  }
  // One command is never refused, nor are a few: they take little.
  const bool is_small =
      commands.size() == 1 ||
      kDatabaseFactor * incoming.to_database() <= ReplacingReserve() / 4;
  if (FindRoomToFree(incoming, claim) ||
      (MayEvict(EvictionCause::kRoom) && MakeRoom(incoming, claim).ok())) {
    return Status::Ok();
  }
  if (is_small) {
    ClaimAnyway(incoming, claim);
    return Status::Ok();
  }
  return Status::NoSpace("no room in " + directory().string() + ": " +
                         std::to_string(commands.size()) +
                         " deletions at once take " +
                         std::to_string(incoming.to_database()) +
                         " bytes before they give some: delete less at a time");
}

void Store::ClaimToDelete(std::span<const std::string> keys,
                          std::size_t tag_bytes, RoomClaim& claim) noexcept {
  Incoming incoming;
  for (const std::string& key : keys) {
    incoming.replacing_bytes += DeletionBytes(key.size(), tag_bytes);
  }
  ClaimToFree(incoming, claim);
}

void Store::ClaimToFree(const Incoming& incoming, RoomClaim& claim) noexcept {
  if (!FindRoomToFree(incoming, claim)) ClaimAnyway(incoming, claim);
}

bool Store::FindRoomToFree(const Incoming& incoming,
                           RoomClaim& claim) noexcept {
  return options_.logical_capacity != 0 || TryClaim(incoming, claim) ||
         ClaimByPressing(incoming, claim, Pressing::kAlways);
}

void Store::ClaimAnyway(const Incoming& incoming, RoomClaim& claim) noexcept {
  const std::scoped_lock claiming(claim_mutex_);
  claim.Take(claimed_, incoming);
}

bool Store::ClaimByPressing(const Incoming& incoming, RoomClaim& claim,
                            Pressing pressing) noexcept {
  // What gains less than that, of what was wanted, takes one part of so many of
  // the time: each touch would else compact the index for itself.
  constexpr std::uint64_t kWorthwhileShare = 4;
  constexpr int kTimeShare = 4;
  // More than just enough: what a compaction of the index costs is for as many
  // as it gives room for. Half of what is kept for them.
  Incoming wanted = incoming;
  wanted.replacing_bytes += ReplacingReserve() / (2 * kDatabaseFactor);
  const std::scoped_lock lock(freeing_mutex_);
  if (TryClaim(incoming, claim)) return true;
  const auto begin = std::chrono::steady_clock::now();
  if (pressing == Pressing::kIfWorthwhile && begin < press_not_before_) {
    return false;
  }
  // Where nothing was gained, so much must be written before there may be.
  const std::uint64_t written = rocks_->files().wal_appended();
  if (vain_written_ != 0 && written < vain_written_ + ReplacingReserve() / 8) {
    return false;
  }
  if (!FlushKeepsLimit()) return false;
  // A failure is reported by the change that needs the room.
  if (!rocks_->FlushAll().ok()) return false;
  // Each step takes another table: after so many all have been taken.
  const std::uint64_t steps = rocks_->access_table_count() + 2;
  for (std::uint64_t step = 0; step < steps && !HasRoom(wanted); ++step) {
    PressDeleted();
  }
  wanted.replacing_bytes =
      incoming.replacing_bytes +
      (wanted.replacing_bytes - incoming.replacing_bytes) / kWorthwhileShare;
  if (!HasRoom(wanted)) {
    const auto end = std::chrono::steady_clock::now();
    press_not_before_ = end + kTimeShare * (end - begin);
  }
  if (TryClaim(incoming, claim)) return true;
  vain_written_ = written;
  return false;
}

void Store::AskForRoom(const RoomLeft& left) noexcept {
  // To ask once more or later does no harm.
  if (housekeeper_.is_asked() || !background_ ||
      options_.logical_capacity != 0 ||
      settings_.when_full() != WhenFull::kEvict || left.Holds(RoomAhead())) {
    return;
  }
  housekeeper_.Ask();
}

Incoming Store::RoomAhead() const noexcept {
  const std::uint64_t segment = settings_.segment_size();
  // Cleaning gives little room at a time, and takes long.
  const std::uint64_t bytes = cleaning_reserve_ != 0 ? 2 * segment : segment;
  // The WAL and compactions need some that no segment has. It counts several
  // times (see MeasureRoom); with half as much, uniform sets of 4 KiB are 6 %
  // slower.
  return {.log_bytes = bytes / 4 * 3, .database_bytes = bytes / 6};
}

bool Store::MakeRoomAhead() noexcept {
  constexpr int kRoundsMax = 64;
  for (int i = 0; i < kRoundsMax && !HasRoom(RoomAhead()); ++i) {
    LetWaitersIn();
    // Waits for the disk, now and then for long: nobody waits for this.
    if (IndexHasRoomToGive() && PressIndex()) continue;
    const std::scoped_lock lock(space_mutex_);
    bool progress = false;
    RoomEffort effort{.index_steps = kNoIndexSteps,
                      .squeezes = kSqueezesMax,
                      .may_clean = true};
    // A failure is reported by the next write that needs the room.
    if (!Reclaim(RoomAhead(), effort, progress).ok() || !progress) {
      return false;
    }
  }
  return true;
}

Status Store::MakeRoomSlowly(const Incoming& incoming,
                             RoomClaim& claim) noexcept {
  // From then on nobody else takes the room that is made.
  constexpr int kRoundsBeforeKept = 64;
  constexpr auto kPause = std::chrono::milliseconds(1);
  constexpr int kPausesMax = 20;
  RoomEffort effort{.index_steps = kIndexStepsMax,
                    .squeezes = kSqueezesMax,
                    .may_clean = true};
  if (LeavesIndexToBackground()) {
    effort.index_steps = kNoIndexSteps;
    std::this_thread::sleep_for(IndexDelay());
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto until = begin + options_.timeout;
  // What others have claimed may be let go, or be evicted once it is there.
  const bool evicts_nothing =
      NothingToEvict() && !(MayEvict(EvictionCause::kRoom) && claimed_.any());
  if (evicts_nothing) RestoreSearch();
  if (evicts_nothing &&
      !search_gate_.IsOpen(SearchState(), incoming.log_bytes, begin)) {
    // What has died whole costs nothing to free: it is looked for once.
    const std::uint64_t changes = SearchState().changes;
    if (looked_changes_.exchange(changes) == changes) return FullStatus();
    effort = {.index_steps = kNoIndexSteps, .squeezes = 0, .may_clean = false};
  }
  ++room_waiters_;
  const std::scoped_lock lock(space_mutex_);
  --room_waiters_;
  const KeptRoom kept(room_is_kept_);
  const auto note_search = [&](std::int64_t gained) {
    if (evicts_nothing && effort.may_clean) NoteSearch(begin, gained);
  };
  for (int round = 0; round < kReclaimRoundsMax; ++round) {
    if (const auto left = TryClaim(incoming, claim)) {
      if (effort.squeezes < kSqueezesMax) note_search(left->for_both);
      return Status::Ok();
    }
    if (round == kRoundsBeforeKept) room_is_kept_ = true;
    bool progress = false;
    if (HasRoom(incoming)) {
      if (HasItemRoom(incoming.items)) continue;  // Let go just now.
      // Too many items: only eviction helps.
      const bool may_wait = claimed_.items != 0;
      if (!may_wait || live_items_ >= settings_.item_count_limit()) {
        LARDER_RETURN_IF_ERROR(EvictRow(EvictionCause::kRoom, progress));
      }
      if (progress) continue;
      if (!may_wait || std::chrono::steady_clock::now() >= until) break;
      std::this_thread::sleep_for(kPause);
      --round;  // The time is the bound.
      continue;
    }
    // Before: what they commit meanwhile can be evicted after.
    const bool may_wait = MayEvict(EvictionCause::kRoom) && claimed_.any();
    LARDER_RETURN_IF_ERROR(Reclaim(incoming, effort, progress));
    if (progress) continue;
    if (!may_wait || std::chrono::steady_clock::now() >= until) break;
    room_is_kept_ = true;
    // Looking again costs much where there is nothing.
    for (int i = 0; i < kPausesMax && claimed_.any(); ++i) {
      std::this_thread::sleep_for(kPause);
    }
  }
  // What gave too little to be called progress may have been enough.
  if (TryClaim(incoming, claim)) return Status::Ok();
  note_search(0);
  return FullStatus();
}

Status Store::Reclaim(const Incoming& incoming, RoomEffort& effort,
                      bool& progress) noexcept {
  std::size_t freed = 0;
  if (options_.logical_capacity == 0) {
    // Kept while there was room for it.
    progress = ShrinkReusable(incoming);
    if (progress) return Status::Ok();
    LARDER_RETURN_IF_ERROR(FreeDeadPlaces(freed));
    progress = freed != 0;
    if (progress) return Status::Ok();
    const LogShares shares = MeasureLog();
    cleaning_reserve_ = CleaningReserveFor(shares);
    if (effort.index_steps > 0 && IndexHasRoomToGive()) {
      --effort.index_steps;
      progress = PressIndex();
      if (progress) return Status::Ok();
    }
    if (effort.may_clean && shares.dead > shares.dead_max) {
      LARDER_RETURN_IF_ERROR(CleanOne(progress));
      if (progress) return Status::Ok();
    }
  }
  if (MayEvict(EvictionCause::kRoom)) {
    LARDER_RETURN_IF_ERROR(EvictRow(EvictionCause::kRoom, progress));
    // What died in the index gives no room by itself: another step, or one row
    // after the other would be evicted for nothing.
    if (effort.index_steps != kNoIndexSteps) {
      effort.index_steps = std::max(effort.index_steps, 1);
    }
    if (progress) return Status::Ok();
  }
  if (options_.logical_capacity != 0 || !effort.may_clean) return Status::Ok();
  // Nothing can be evicted: all that is left are dead bytes here and there.
  LARDER_RETURN_IF_ERROR(CleanOne(progress));
  if (progress) return Status::Ok();
  // Each seals what is open, which is then cleaned into what is open: that may
  // go on for long and gain nothing.
  if (effort.squeezes == 0) return Status::Ok();
  --effort.squeezes;
  LARDER_RETURN_IF_ERROR(Squeeze(progress));
  if (progress) return Status::Ok();
  // That ended open segments and the WAL: there may be more to clean, and room
  // to move it to.
  return CleanOne(progress);
}

Status Store::Squeeze(bool& progress) noexcept {
  const std::uint64_t before =
      UsedBytes() + rocks_->access_table_bytes() + rocks_->files().wal_bytes();
  runs_.Seal();
  LARDER_RETURN_IF_ERROR(log_->SealOpen());
  log_->DropSpares();
  if (FlushKeepsLimit()) LARDER_RETURN_IF_ERROR(PackIndex());
  std::size_t freed = 0;
  LARDER_RETURN_IF_ERROR(FreeDeadPlaces(freed));
  const std::uint64_t after =
      UsedBytes() + rocks_->access_table_bytes() + rocks_->files().wal_bytes();
  progress = after + kSlackBytes < before;
  return Status::Ok();
}

Status Store::FullStatus() const noexcept {
  std::string message = "no room in " + directory().string() + ": " +
                        std::to_string(UsedBytes()) + " bytes of " +
                        std::to_string(EffectiveLimit()) + " used, " +
                        std::to_string(live_bytes_.load()) + " of them live";
  message += settings_.when_full() == WhenFull::kFail
                 ? "; when_full is fail: delete items or raise size_limit"
                 : "; nothing more can be evicted: raise size_limit";
  return Status::NoSpace(std::move(message));
}

bool Store::MayEvict(EvictionCause cause) const noexcept {
  return cause == EvictionCause::kCull ||
         settings_.when_full() == WhenFull::kEvict;
}

bool Store::NothingToEvict() const noexcept {
  return options_.logical_capacity == 0 &&
         (!evicts_for_room_ || live_bytes_ <= pinned_bytes_);
}

SearchGate::State Store::SearchState() const noexcept {
  return {.changes = rocks_->db().GetLatestSequenceNumber() + unpinnings_,
          .killed_bytes = killed_bytes_,
          .live_bytes = live_bytes_,
          .limit = EffectiveLimit(),
          .may_compact = CompactionKeepsLimit()};
}

std::uint64_t Store::DeadBytes() const noexcept {
  const std::uint64_t bytes = log_->disk_bytes() + rocks_->files().disk_bytes();
  return bytes - std::min<std::uint64_t>(bytes, live_bytes_);
}

void Store::NoteSearch(std::chrono::steady_clock::time_point begin,
                       std::int64_t gained) noexcept {
  const auto now = std::chrono::steady_clock::now();
  SearchGate::State state = SearchState();
  if (!search_gate_.Note(
          state, begin, now,
          static_cast<std::uint64_t>(std::max<std::int64_t>(gained, 0))) ||
      faults_.any() || gone_) {
    return;
  }
  using std::chrono::duration_cast;
  using std::chrono::microseconds;
  const VainSearch search{
      .limit = EffectiveLimit(),
      .live_bytes = live_bytes_,
      .dead_bytes = DeadBytes(),
      .took_us = static_cast<std::uint64_t>(
          duration_cast<microseconds>(now - begin).count()),
      .ended_us = static_cast<std::uint64_t>(
          duration_cast<microseconds>(
              std::chrono::system_clock::now().time_since_epoch())
              .count())};
  const rocksdb::Status written =
      rocks_->db().Put(rocksdb::WriteOptions(), rocks_->counters(),
                       rocksdb::Slice(kVainSearchKey), search.Encode());
  if (!written.ok()) {
    HandleWriteFailure(written).IgnoreError();  // The next process searches.
    return;
  }
  state.changes += 1;  // That was one.
  search_gate_.Note(state, begin, now, 0);
}

void Store::RestoreSearch() noexcept {
  if (search_restored_) return;
  const std::scoped_lock lock(claim_mutex_);
  if (search_restored_) return;
  std::string bytes;
  const bool is_there = rocks_->db()
                            .Get(rocksdb::ReadOptions(), rocks_->counters(),
                                 rocksdb::Slice(kVainSearchKey), &bytes)
                            .ok();
  const auto search = is_there ? VainSearch::Decode(bytes) : std::nullopt;
  if (search) {
    search_gate_.Restore(
        *search, SearchState(), DeadBytes(), std::chrono::steady_clock::now(),
        std::chrono::duration_cast<std::chrono::microseconds>(
            std::chrono::system_clock::now().time_since_epoch()));
  }
  search_restored_ = true;  // Whoever sees it does not get ahead of Restore.
}

Status Store::SavePolicyState() noexcept {
  // It may be a quarter of a MiB: not for what a command learns.
  constexpr std::int64_t kAccessesMin = 1024;
  if (!policy_ || AccessTotal() - accesses_at_open_ < kAccessesMin) {
    return Status::Ok();
  }
  const std::string state = policy_->SaveState();
  if (state.empty()) return Status::Ok();
  // Where it finds no room it is not worth that anything is evicted. It counts
  // once: what is kept for the flushes of others is free by now.
  RoomClaim claim;
  if (options_.logical_capacity == 0 &&
      !TryClaim({.database_bytes = state.size() / kDatabaseFactor + 1},
                claim)) {
    return Status::Ok();
  }
  return FromRocks(rocks_->db().Put(rocksdb::WriteOptions(), rocks_->counters(),
                                    PolicyStateKey(policy_name_), state),
                   "saving the policy's state");
}

Status Store::EvictRow(EvictionCause cause, bool& evicted) noexcept {
  evicted = false;
  if (!MayEvict(cause)) return Status::Ok();
  {
    const std::scoped_lock lock(ledger_mutex_);
    if (!policy_->evicts()) return Status::Ok();
    const std::uint64_t pinned = ledger_.space().class_bytes(kClassPinned);
    const auto eviction = ledger_.Evict(policy_->probation_share());
    LARDER_CHECK(ledger_.space().class_bytes(kClassPinned) == pinned);
    if (eviction) {
      evicted = true;
      // Before anybody sees the cutoff. Where nothing moved there is nothing to
      // save: a full cache would grow with each set that it refuses.
      cutoffs_raised_.fetch_add(1);
      evictions_unsaved_.fetch_add(
          static_cast<std::int64_t>(eviction->freed.items));
    }
    MirrorLedger();
  }
  return SaveCutoffs();
}

Status Store::SaveCutoffs() noexcept {
  if (cutoffs_raised_ == cutoffs_saved_) return Status::Ok();
  LedgerDelta delta;
  std::uint64_t raised = 0;
  {
    // The number and the cutoffs must belong together, or a cutoff that is
    // being raised would count as saved.
    const std::scoped_lock lock(ledger_mutex_);
    raised = cutoffs_raised_;
    for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
      delta.cutoffs[c] = cutoffs_[c];
    }
  }
  const std::int64_t evictions = evictions_unsaved_.exchange(0);
  delta.Count(Total::kEvictions, evictions);
  std::string operand;
  delta.Encode(operand);
  const rocksdb::Status written =
      rocks_->db().Merge(rocksdb::WriteOptions(), rocks_->counters(),
                         rocksdb::Slice(kLedgerKey), operand);
  if (!written.ok()) {
    evictions_unsaved_.fetch_add(evictions);
    return HandleWriteFailure(written);
  }
  RaiseTo(cutoffs_saved_, raised);
  for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
    RaiseTo(verdicts_.logged[c], delta.cutoffs[c]);
  }
  return Status::Ok();
}

// A compaction drops entries for good, so it may judge them only by what no
// crash takes back: else the ledger would come back without the cutoff, and
// count what has gone.
void Store::BeginJudging() noexcept {
  std::array<Rank, kRankClassCount> logged;
  const std::uint32_t epoch = epoch_;
  bool is_synced = verdicts_.epoch_synced >= epoch;
  for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
    logged[c] = verdicts_.logged[c];
    is_synced = is_synced && verdicts_.synced[c] >= logged[c];
  }
  if (is_synced) return;
  // A failure stops the next write.
  if (!rocks_->db().SyncWAL().ok()) return;
  for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
    RaiseTo(verdicts_.synced[c], logged[c]);
  }
  RaiseTo(verdicts_.epoch_synced, epoch);
}

bool Store::IsDeadForGood(const Entry& entry) const noexcept {
  return entry.epoch < verdicts_.epoch_synced ||
         entry.rank < verdicts_.synced[RankClass(entry.rank)];
}

bool Store::ShrinkReusable(const Incoming& incoming) noexcept {
  const std::uint64_t lacks = MeasureRoom().DatabaseLacks(incoming);
  // More than just enough, or the next write is here again.
  return lacks != 0 &&
         log_->ShrinkReusable(lacks + settings_.segment_size() / 4);
}

void Store::KeepWithinLimit(std::uint64_t log_bytes_before) noexcept {
  if (options_.logical_capacity != 0) return;
  // As nearly always, it lies in blocks that are there.
  if (log_->disk_bytes() <= log_bytes_before) return;
  static_cast<void>(ShrinkReusable({}));
}

std::vector<PlaceId> Store::DeadPlaces() const noexcept {
  std::vector<PlaceId> places;
  const std::uint32_t current = runs_.current();
  for (const SegmentInfo& segment : log_->Segments()) {
    if (segment.sealed) places.push_back(PlaceOfSegment(segment.id));
  }
  for (const RunTable::Run& run : runs_.Runs()) {
    if (run.id != current) places.push_back(PlaceOfRun(run.id));
  }
  const std::scoped_lock lock(ledger_mutex_);
  std::erase_if(places, [this](PlaceId place) { return !IsDead(place); });
  return places;
}

bool Store::IsDead(PlaceId place) const noexcept {
  const PlaceUse use = ledger_.use(place);
  return use.bytes == 0 && use.items == 0 && !stream_pins_.contains(place);
}

Status Store::FreeDeadPlaces(std::size_t& freed) noexcept {
  freed = 0;
  std::vector<PlaceId> dead = DeadPlaces();
  // What is left is for the next time: others may wait for the mutex.
  if (dead.size() > kFreedCountMax) dead.resize(kFreedCountMax);
  return dead.empty() ? Status::Ok() : FreeIfDead(std::move(dead), freed);
}

Status Store::FreeIfDead(std::vector<PlaceId> places,
                         std::size_t& freed) noexcept {
  freed = 0;
  MarkClosing(places);
  std::vector<PlaceId> dead;
  {
    const std::scoped_lock lock(ledger_mutex_);
    std::copy_if(places.begin(), places.end(), std::back_inserter(dead),
                 [this](PlaceId place) { return IsDead(place); });
  }
  const Status status = FreePlaces(dead, freed);
  const std::scoped_lock lock(ledger_mutex_);
  for (const PlaceId place : places) closing_.erase(place);
  return status;
}

void Store::MarkClosing(std::span<const PlaceId> places) noexcept {
  {
    const std::scoped_lock lock(ledger_mutex_);
    closing_.insert(places.begin(), places.end());
  }
  // Whoever might bring an item in one of them back to life, since it was not
  // marked yet, has committed after this.
  rescue_mutex_.lock();
  rescue_mutex_.unlock();
  // What is not committed yet: of a segment that is sealed, nothing.
  if (std::any_of(places.begin(), places.end(), IsRun)) {
    write_gate_.AwaitLeaving();
  }
}

Status Store::FreePlaces(std::span<const PlaceId> dead,
                         std::size_t& freed) noexcept {
  LARDER_RETURN_IF_ERROR(SaveCutoffs());
  LARDER_RETURN_IF_ERROR(SettleKills(dead));
  std::vector<std::uint32_t> dead_runs;
  for (const PlaceId place : dead) {
    if (IsListenedTo()) LARDER_RETURN_IF_ERROR(TellOfPlace(place));
    if (IsRun(place)) {
      dead_runs.push_back(PlaceNumber(place));
      continue;
    }
    EndScansThatHoldTooMuch(settings_.segment_size());
    LARDER_RETURN_IF_ERROR(
        log_->Remove(PlaceNumber(place), SegmentBlocks::kKeep));
    EndScansThatHoldTooMuch(0);  // It was larger, as the limit was.
    // It stays only as far as the directory fits with it.
    static_cast<void>(ShrinkReusable({}));
    ++freed;
  }
  LARDER_RETURN_IF_ERROR(FreeRuns(dead_runs));
  freed += dead_runs.size();
  const std::scoped_lock lock(ledger_mutex_);
  for (const PlaceId place : dead) power_places_.erase(place);
  return Status::Ok();
}

Status Store::TellOfPlace(PlaceId place) noexcept {
  constexpr std::size_t kRecordCountMax = 256;
  std::vector<FreedRecord> records;
  Status status;
  const auto add = [&](std::string_view key, std::uint64_t version) {
    records.push_back({std::string(key), version});
    if (records.size() == kRecordCountMax) {
      status = TellOfRecords(records);
      records.clear();
    }
    return status.ok();
  };
  if (IsRun(place)) {
    const std::vector<RunTable::Run> runs = runs_.Runs();
    const auto run = std::find_if(
        runs.begin(), runs.end(),
        [&](const RunTable::Run& r) { return r.id == PlaceNumber(place); });
    if (run == runs.end()) return Status::Ok();
    const std::unique_ptr<rocksdb::Iterator> it(
        rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->values()));
    for (it->Seek(PositionKey(run->first).slice()); it->Valid(); it->Next()) {
      const std::uint64_t position = LoadBigEndian64(it->key().data());
      const auto key = ValueRecordKey(it->value().ToStringView());
      if (position >= run->end || (key && !add(*key, position))) break;
    }
  } else {
    std::uint64_t damaged = 0;
    const Status read = log_->ForEachRecord(
        PlaceNumber(place),
        [&](const SegmentPlace&, const SegmentRecord& record) {
          return add(record.key, record.version);
        },
        &damaged);
    LARDER_RETURN_IF_ERROR(read);
  }
  LARDER_RETURN_IF_ERROR(status);
  return TellOfRecords(records);
}

Status Store::TellOfRecords(std::span<const FreedRecord> records) noexcept {
  std::vector<std::string> keys;
  std::unordered_map<std::string_view, std::uint64_t> versions;
  for (const FreedRecord& record : records) {
    keys.push_back(record.key);
    versions[record.key] = record.version;
  }
  std::uint64_t count = 0;
  return DeleteKeys(
      keys, std::nullopt,
      [&](std::string_view key, const Entry& entry) {
        if (IsCounted(entry) || entry.version != versions[key] ||
            IsKeptGhost(entry)) {
          return false;
        }
        TellOnce(key, entry, ReasonOf(entry));
        return true;
      },
      count);
}

Status Store::FreeRuns(std::span<const std::uint32_t> dead) noexcept {
  if (dead.empty()) return Status::Ok();
  const std::vector<RunTable::Run> runs = runs_.Runs();
  const std::set<std::uint32_t> dead_ids(dead.begin(), dead.end());
  // Ranges between live runs: tables that straddle two dead runs go as well.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  std::uint64_t live_end = 0;
  bool in_range = false;
  for (const RunTable::Run& run : runs) {
    if (dead_ids.contains(run.id)) {
      if (!in_range) ranges.emplace_back(live_end, run.end);
      ranges.back().second = run.end;
      in_range = true;
    } else {
      live_end = run.end;
      in_range = false;
    }
  }
  for (const auto& [first, end] : ranges) {
    LARDER_RETURN_IF_ERROR(DropPositions(first, end));
  }
  rocksdb::WriteBatch batch;
  for (const std::uint32_t id : dead) {
    LARDER_CHECK(batch.Delete(rocks_->counters(), RunKey(id)).ok());
    runs_.Drop(id);
  }
  const rocksdb::Status written =
      rocks_->db().Write(rocksdb::WriteOptions(), &batch);
  return written.ok() ? Status::Ok() : HandleWriteFailure(written);
}

Status Store::DropPositions(std::uint64_t first, std::uint64_t end) noexcept {
  if (first >= end) return Status::Ok();
  const PositionKey first_key(first);
  const PositionKey last_key(end - 1);
  const rocksdb::Slice first_slice = first_key.slice();
  const rocksdb::Slice last_slice = last_key.slice();
  const rocksdb::RangePtr range(&first_slice, &last_slice);
  return FromRocks(
      rocksdb::DeleteFilesInRanges(&rocks_->db(), rocks_->values(), &range, 1),
      "dropping a dead range");
}

std::uint64_t Store::CleaningReserveFor(
    const LogShares& shares) const noexcept {
  // Where nothing may be evicted only cleaning gives room, so some is kept for
  // it from the beginning.
  const bool is_wanted = shares.dead > shares.dead_max / 2 || !evicts_for_room_;
  return is_wanted && options_.logical_capacity == 0
             ? settings_.segment_size() + BytesToMove(PlaceOfSegment(1), 0)
             : 0;
}

Store::LogShares Store::MeasureLog() const noexcept {
  std::uint64_t total = log_->disk_bytes();
  total -= std::min(total, log_->reusable_bytes());
  for (const RunTable::Run& run : runs_.Runs()) total += run.bytes;
  LogShares shares{.dead = 0, .dead_max = kDeadShareMax};
  if (total == 0) return shares;
  std::int64_t live = 0;
  std::int64_t items = 0;
  {
    const std::scoped_lock lock(ledger_mutex_);
    for (const auto& [place, use] : ledger_.places()) {
      if (place == kPlaceInline) continue;
      live += use.bytes;
      items += use.items;
    }
  }
  const auto log_bytes = static_cast<double>(total);
  shares.dead = std::max(0.0, 1.0 - static_cast<double>(live) / log_bytes);
  const double record = static_cast<double>(live) /
                        static_cast<double>(std::max<std::int64_t>(items, 1));
  const double largeness = std::clamp(
      (record - kSmallRecordBytes) / (kLargeRecordBytes - kSmallRecordBytes),
      0.0, 1.0);
  if (largeness > 0) {
    const double wanted =
        std::lerp(kLiveShareOfSmall, kLiveShareOfLarge, largeness) *
        static_cast<double>(EffectiveLimit());
    const double least =
        std::max(kDeadShareMin,
                 kDeadSegmentsMin *
                     static_cast<double>(settings_.segment_size()) / log_bytes);
    shares.dead_max = std::max(1.0 - wanted / log_bytes, least);
    shares.dead_max = std::min(shares.dead_max, kDeadShareMax);
  }
  return shares;
}

Status Store::CleanOne(bool& cleaned) noexcept {
  cleaned = false;
  struct Victim {
    double score = 0;
    std::uint32_t segment = 0;
    RunTable::Run run = {};
    std::uint64_t bytes_to_move = 0;
  };
  Victim best;
  const std::uint64_t room = RoomToMove();
  const std::vector<SegmentInfo> segments = log_->Segments();
  const std::vector<RunTable::Run> runs = runs_.Runs();
  const std::uint32_t current = runs_.current();
  {
    const std::scoped_lock lock(ledger_mutex_);
    // Cost-benefit (Rosenblum and Ousterhout, 1992): space gained times age,
    // over the cost of moving the rest. Age is the distance in ids, by its
    // root: what was moved once may stay for ever, and would else be moved
    // again and again for the little that is dead in it.
    const auto consider = [&](PlaceId place, std::uint64_t size,
                              std::uint32_t age, const Victim& victim) {
      const auto live_bytes = static_cast<std::uint64_t>(
          std::max<std::int64_t>(ledger_.use(place).bytes, 0));
      const auto live = static_cast<double>(live_bytes);
      const auto all = static_cast<double>(size);
      const std::uint64_t to_move = BytesToMove(place, live_bytes);
      if (size == 0 || live > kVictimLiveShareMax * all || to_move > room) {
        return;
      }
      const double score = (all - live) * std::sqrt(age + 1.0) / (live + all);
      if (score <= best.score) return;
      best = victim;
      best.score = score;
      best.bytes_to_move = to_move;
    };
    for (const SegmentInfo& segment : segments) {
      const PlaceId place = PlaceOfSegment(segment.id);
      if (!segment.sealed || stream_pins_.contains(place)) continue;
      consider(place, segment.size_bytes, log_->next_id() - segment.id,
               {.segment = segment.id});
    }
    for (const RunTable::Run& run : runs) {
      if (run.id == current) continue;
      consider(PlaceOfRun(run.id), run.bytes, runs.back().id - run.id,
               {.run = run});
    }
  }
  if (best.score == 0) return Status::Ok();
  RoomClaim claim;
  if (!evicts_for_room_) {
    // What is lent by compactions is not claimed: writers go on meanwhile.
    const std::scoped_lock lock(claim_mutex_);
    if (RoomToMove() < best.bytes_to_move) return Status::Ok();
    claim.Take(claimed_, {.log_bytes = best.bytes_to_move});
  }
  cleaned = true;
  return best.segment != 0 ? CleanSegment(best.segment) : CleanRun(best.run);
}

// Moving needs room itself, which may be what is kept for it. Where things can
// be evicted it may also be what is left free for a compaction that does not
// run: for a millisecond, after which there is more. Evicting instead lets
// what lives under overwrites fall from .74 of the limit to .53 at times.
std::uint64_t Store::RoomToMove() const noexcept {
  const std::uint64_t claimed =
      claimed_.log_bytes + 2 * claimed_.database_bytes;
  const std::uint64_t there = MovingLimit() + log_->reusable_bytes();
  const std::uint64_t left = there - std::min(BytesTaken() + claimed, there);
  if (!evicts_for_room_) return left;
  const std::uint64_t used = UsedBytes() + rocks_->flush_headroom_bytes();
  const std::uint64_t lent = EffectiveLimit() + log_->spare_bytes();
  return std::max(left, lent - std::min(used, lent));
}

std::uint64_t Store::BytesToMove(PlaceId place,
                                 std::uint64_t live) const noexcept {
  // A run shares the first and the last of its tables with others.
  if (IsRun(place)) return live + 2 * rocks_->sizes().table_file;
  // Records are a little longer than what they cost; each stream has a file.
  constexpr std::uint64_t kBlocksBytes = kLogStreamCount * 4096;
  return live + live / 16 + kBlocksBytes;
}

Status Store::CleanRun(const RunTable::Run& run) noexcept {
  const PlaceId place = PlaceOfRun(run.id);
  MarkClosing({&place, 1});
  // Until then what is dead is dead for good.
  auto view = std::make_shared<rocksdb::ManagedSnapshot>(&rocks_->db());
  if (Status settled = SettleKills({&place, 1}); !settled.ok()) {
    const std::scoped_lock lock(ledger_mutex_);
    closing_.erase(place);
    return settled;
  }
  SetCleaningView(std::move(view));
  cleaning_first_ = run.first;
  cleaning_end_ = run.end;
  const PositionKey first(run.first);
  const PositionKey last(run.end - 1);
  const rocksdb::Slice first_slice = first.slice();
  const rocksdb::Slice last_slice = last.slice();
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.bottommost_level_compaction =
      rocksdb::BottommostLevelCompaction::kForce;
  const Status status =
      FromRocks(rocks_->db().CompactRange(options, rocks_->values(),
                                          &first_slice, &last_slice),
                "cleaning a run");
  cleaning_end_ = 0;
  SetCleaningView(nullptr);
  PlaceUse use;
  {
    const std::scoped_lock lock(ledger_mutex_);
    closing_.erase(place);
    use = ledger_.use(place);
  }
  LARDER_RETURN_IF_ERROR(status);
  segments_cleaned_.fetch_add(1);
  bytes_moved_.fetch_add(static_cast<std::uint64_t>(use.bytes));
  runs_.SetBytes(run.id, static_cast<std::uint64_t>(use.bytes));
  return Status::Ok();
}

void Store::SetCleaningView(
    std::shared_ptr<rocksdb::ManagedSnapshot> view) noexcept {
  const std::scoped_lock lock(cleaning_mutex_);
  cleaning_view_.swap(view);
}

bool Store::IsRecordDead(std::uint64_t position,
                         std::string_view record) noexcept {
  if (position < cleaning_first_ || position >= cleaning_end_) return false;
  std::shared_ptr<rocksdb::ManagedSnapshot> view;
  {
    const std::scoped_lock lock(cleaning_mutex_);
    view = cleaning_view_;
  }
  const std::optional<std::string_view> key = ValueRecordKey(record);
  // Damage is kept for Check to see.
  if (view == nullptr || !key) return false;
  rocksdb::ReadOptions options;
  options.snapshot = view->snapshot();
  rocksdb::PinnableSlice slice;
  const EntryKey entry_key(*key);
  const rocksdb::Status read = rocks_->db().Get(
      options, rocks_->access(), ToSlice(entry_key.bytes()), &slice);
  if (read.IsNotFound()) return true;
  Entry entry;
  if (!read.ok() || !DecodeEntry(slice.ToStringView(), entry).ok()) {
    return false;
  }
  return entry.kind != EntryKind::kRun || entry.version != position ||
         IsDeadForGood(entry);
}

bool Store::IsKeptGhost(const Entry& entry) const noexcept {
  // Of use to the policy only, and only while there is room for it.
  if (entry.epoch != epoch_ || !keeps_ghosts_ || index_pressing_ != 0) {
    return false;
  }
  const std::scoped_lock lock(ledger_mutex_);
  return ledger_.space().IsGhost(entry.rank);
}

bool Store::TellOfLine(std::string_view key, std::string_view line,
                       const Entry& entry) noexcept {
  const std::string_view user_key = key.substr(1);
  const auto verdict = told_.ClaimLine(user_key, entry.version, [&] {
    rocksdb::PinnableSlice slice;
    return rocks_->db()
               .Get(rocksdb::ReadOptions(), rocks_->access(), ToSlice(key),
                    &slice)
               .ok() &&
           slice.ToStringView() == line;
  });
  if (verdict == ToldItems::Verdict::kTell) {
    Tell(user_key, entry.value_size, ReasonOf(entry));
  }
  return verdict != ToldItems::Verdict::kLeave;
}

bool Store::IsIndexPairDead(std::string_view key,
                            std::string_view value) noexcept {
  if (key.empty()) return false;
  Entry entry;
  if (key[0] == kEntrySpace) {
    if (!DecodeEntry(value, entry).ok()) return false;
    if (!IsDeadForGood(entry) || IsKeptGhost(entry)) return false;
    return !IsListenedTo() || TellOfLine(key, value, entry);
  }
  // An index line is dead if no entry has its tag or expiry.
  const std::optional<TagIndexParts> tag = ParseTagIndexKey(key);
  const std::optional<ExpiryIndexParts> expiry = ParseExpiryIndexKey(key);
  if (!tag && !expiry) return false;
  const EntryKey entry_key(tag ? tag->key : expiry->key);
  rocksdb::PinnableSlice slice;
  const rocksdb::Status read =
      rocks_->db().Get(rocksdb::ReadOptions(), rocks_->access(),
                       ToSlice(entry_key.bytes()), &slice);
  if (read.IsNotFound()) return true;
  if (!read.ok() || !DecodeEntry(slice.ToStringView(), entry).ok()) {
    return false;
  }
  return tag ? entry.tag != tag->tag : entry.expires_at != expiry->expires_at;
}

std::uint64_t Store::IndexLiveBytes() const noexcept {
  return live_items_ * index_item_bytes_;
}

std::uint64_t Store::IndexBytesWanted() const noexcept {
  const std::uint64_t live = IndexLiveBytes();
  return live + live / 4 + EffectiveLimit() / kIndexSlackShare;
}

bool Store::IndexHasRoomToGive() const noexcept {
  return rocks_->access_table_bytes() > IndexBytesWanted();
}

bool Store::IndexIsMostlyDead() const noexcept {
  const std::uint64_t ghosts = keeps_ghosts_ ? IndexLiveBytes() : 0;
  return rocks_->access_table_bytes() > IndexBytesWanted() + ghosts;
}

bool Store::LeavesIndexToBackground() const noexcept {
  return background_ && settings_.when_full() == WhenFull::kEvict &&
         !items_lie_in_index_ &&
         rocks_->access_table_bytes() < 2 * IndexBytesWanted();
}

std::chrono::microseconds Store::IndexDelay() const noexcept {
  constexpr double kMicrosecondsMax = 10'000;  // For an index twice as large.
  const auto bytes = static_cast<double>(rocks_->access_table_bytes());
  const double excess = bytes / static_cast<double>(IndexBytesWanted()) - 1;
  return std::chrono::microseconds(
      static_cast<int>(std::clamp(excess, 0.0, 1.0) * kMicrosecondsMax));
}

bool Store::PressIndex() noexcept {
  const std::uint64_t before = rocks_->access_table_bytes();
  ++index_pressing_;
  CompactIndexStep();
  --index_pressing_;
  return rocks_->access_table_bytes() < before;
}

// Where there are no deletions it goes on to the end of the index and no
// further: each deletion would else compact all of it, for nothing. The
// background begins again.
void Store::PressDeleted() noexcept {
  const std::scoped_lock lock(index_mutex_);
  rocksdb::ColumnFamilyMetaData meta;
  rocks_->db().GetColumnFamilyMetaData(rocks_->access(), &meta);
  std::optional<std::string> cursor = CursorBeforeChanges(meta);
  ++index_pressing_;
  CompactIndexBeyond(cursor ? *cursor : index_cursor_);
  --index_pressing_;
}

bool Store::CompactIndexBeyond(std::string& cursor) noexcept {
  if (!CompactionKeepsLimit()) return false;
  rocksdb::ColumnFamilyMetaData meta;
  rocks_->db().GetColumnFamilyMetaData(rocks_->access(), &meta);
  std::optional<IndexStep> step =
      NextIndexStep(meta, cursor, rocks_->index_step_bytes());
  if (!step) return false;
  const rocksdb::Slice begin(step->begin);
  const rocksdb::Slice end(step->end);
  CompactIndex(&begin, &end);
  cursor = std::move(step->cursor);
  return !cursor.empty();
}

void Store::CompactIndexStep() noexcept {
  const std::scoped_lock lock(index_mutex_);
  if (CompactIndexBeyond(index_cursor_) || index_cursor_.empty()) return;
  index_cursor_.clear();
  CompactIndexBeyond(index_cursor_);
}

void Store::CompactIndex(const rocksdb::Slice* begin,
                         const rocksdb::Slice* end) noexcept {
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.bottommost_level_compaction =
      rocksdb::BottommostLevelCompaction::kForceOptimized;
  // A failure shows at the next write; space is then freed later.
  rocks_->db()
      .CompactRange(options, rocks_->access(), begin, end)
      .PermitUncheckedError();
}

Status Store::RestampTouched() noexcept {
  std::vector<TouchBuffer::Touch> touches;
  touches_.Take(touches);
  return RestampAll(touches);
}

Status Store::RestampAll(std::span<TouchBuffer::Touch> touches) noexcept {
  constexpr std::size_t kRestampCountMax = 64;
  for (std::size_t i = 0; i < touches.size(); i += kRestampCountMax) {
    if (faults_.any()) return CheckWritable();
    LARDER_RETURN_IF_ERROR(Restamp(
        touches.subspan(i, std::min(kRestampCountMax, touches.size() - i))));
  }
  return Status::Ok();
}

Status Store::Restamp(std::span<TouchBuffer::Touch> touches) noexcept {
  constexpr std::uint32_t kHitsMax = 16;
  PendingBatch pending;
  pending.keep_overlay = true;
  const auto writing = write_gate_.Enter();
  const std::shared_lock rescuing(rescue_mutex_);
  // The hot tier is told of ranks only: what readers get is the same, unless
  // an evicted item comes back to life.
  HotWriter* const hot = hot_.load(std::memory_order_relaxed);
  StripeLocks locks(*this);
  for (const TouchBuffer::Touch& touch : touches) locks.Add(touch.key);
  locks.LockAdded();
  for (TouchBuffer::Touch& touch : touches) {
    OldItem old;
    LARDER_RETURN_IF_ERROR(Lookup(touch.key, pending, old));
    if (!old.present || old.entry.version != touch.version ||
        old.entry.epoch != epoch_ || old.entry.pinned ||
        old.gone_by != nullptr) {
      continue;
    }
    // Of what is told of as gone nobody would be told again.
    if (!HoldReplaced(old, pending)) continue;
    PolicyItem item;
    item.key_hash = XXH3_64bits(touch.key.data(), touch.key.size());
    item.size_bytes = CostOf(touch.key.size(), old.entry);
    item.cost = old.entry.cost;
    item.rank = old.entry.rank;
    item.frequency = old.entry.frequency;
    Entry entry = old.entry;
    {
      const std::scoped_lock lock(ledger_mutex_);
      if (!old.counted && !CanRescue(entry)) continue;
      RankSpace& space = ledger_.space();
      std::optional<Placement> placement;
      for (std::uint32_t hit = std::min(touch.hits, kHitsMax); hit > 0; --hit) {
        policy_->OnAccess(item, space.context());
        const std::optional<Placement> next =
            policy_->OnHit(item, space.context());
        if (!next) continue;
        placement = next;
        item.frequency = next->frequency;
      }
      if (!placement) continue;
      const std::optional<Rank> rank =
          space.Restamp(entry.rank, *placement, policy_->laziness());
      if (!rank) continue;
      entry.rank = *rank;
      entry.frequency = placement->frequency;
    }
    if (hot != nullptr && !old.counted) {
      pending.AddHot(touch.key, PendingBatch::HotChange::Kind::kUnknown);
    }
    PutEntry(touch.key, old, entry, pending);
    touch.restamped = entry.rank;
    restamps_.Add();
  }
  if (pending.empty()) return Status::Ok();
  RoomClaim claim;
  const Incoming incoming{.replacing_bytes = pending.batch.GetDataSize()};
  if (options_.logical_capacity == 0 && !TryClaim(incoming, claim)) {
    // These hits are lost: room counts for more.
    for (TouchBuffer::Touch& touch : touches) touch.restamped = 0;
    AskForRoom({});
    return Status::Ok();
  }
  pending.claim = &claim;
  return Commit(pending, Durability::kProcess);
}

bool Store::CanRescue(const Entry& entry) const noexcept {
  switch (entry.kind) {
    case EntryKind::kInline:
      return true;
    case EntryKind::kRun:
      return runs_.Contains(entry.run) &&
             !closing_.contains(PlaceOfRun(entry.run));
    case EntryKind::kSegments:
      break;
  }
  return std::all_of(
      entry.extents.begin(), entry.extents.end(),
      [this](const SegmentPlace& extent) {
        return log_->Contains(extent.segment) &&
               !closing_.contains(PlaceOfSegment(extent.segment));
      });
}

void Store::Housekeep() noexcept {
  if (NoteIfGone()) return;
  // What fails here fails again, and is reported, at the next write.
  const TimePoint now = clock_.Now();
  for (bool more = true; more && !closed_ && !faults_.any();) {
    std::uint64_t settled = 0;
    if (!SettleExpired(now, kSettleCountMax, settled, more).ok()) return;
  }
  // Evictions that nobody waits for any more: a part in each round.
  const auto until = std::chrono::steady_clock::now() + kTagRoundMax;
  if (!SettleTags(until).ok()) return;
  if (!RestampTouched().ok() || !RestampHot().ok()) return;
  UpdateFreeSpace();
  UpdateBudget();
  FitBuffers();
  key_filter_.Tend(*rocks_, live_items_, [this] {
    return housekeeper_.is_asked();  // Who waits for room comes first.
  });
  LeaveDoubtfulSegments().IgnoreError();
  EndScansThatHoldTooMuch(0);  // One was in the midst of a page, say.
  // Where nothing may be evicted, whoever writes looks for room: to keep some
  // ready would mean to compact the index again and again.
  const bool is_over = MayEvict(EvictionCause::kRoom)
                           ? !HasRoom({}) || !HasItemRoom(0)
                           : UsedBytes() > EffectiveLimit();
  if (is_over) {
    RoomClaim nothing;
    MakeRoom({}, nothing).IgnoreError();
  }
  TendIndex();
}

void Store::TendIndex() noexcept {
  constexpr int kStepsMax = 16;
  const std::uint64_t table = rocks_->sizes().index_file;
  for (int i = 0; i < kStepsMax && IndexIsMostlyDead(); ++i) {
    if (!CompactionKeepsLimit()) return;
    const std::uint64_t before = rocks_->access_table_bytes();
    // All of it was rewritten, and what is dead is of use to the policy: again
    // when there is more.
    if (index_vain_steps_ > rocks_->access_table_count()) {
      if (before < index_vain_bytes_ + table) return;
      index_vain_steps_ = 0;
    }
    CompactIndexStep();
    if (rocks_->access_table_bytes() < before) {
      index_vain_steps_ = 0;
    } else {
      ++index_vain_steps_;
      index_vain_bytes_ = before;
    }
  }
}

void Store::FitBuffers() noexcept {
  const std::uint64_t index = rocks_->access_table_bytes();
  if (index_fitted_.exchange(index) == index) return;
  const std::uint64_t now = rocks_->sizes().write_buffer;
  const RocksSizes wanted = SizesFor(settings_.cache_limit(), index);
  // Not smaller again before the index is half of what it was.
  if (wanted.write_buffer > now ||
      SizesFor(settings_.cache_limit(), 2 * index).write_buffer < now) {
    rocks_->Resize(wanted);
  }
}

std::uint64_t Store::ReserveWanted() const noexcept {
  constexpr std::uint64_t kReserveBytesMin = 256 * 1024;
  return std::clamp(settings_.cache_limit() / 256, kReserveBytesMin,
                    kReserveBytesMax);
}

Status Store::RestoreReserve() noexcept {
  if (read_only_ || directory_->reserve_bytes() != 0) return Status::Ok();
  return directory_->RestoreReserve(ReserveWanted());
}

bool Store::DiskHasRoom() noexcept {
  if (!faults_.disk_full()) return true;
  const Result<std::uint64_t> free = directory_->FreeBytes();
  if (free && *free < ReserveWanted()) return false;
  faults_.NoteDiskHasRoom();
  return true;
}

bool Store::IsIdle() noexcept {
  std::uint64_t activity = 0;  // Grows with every use of the cache.
  {
    const auto gate = store_gate_.Enter();
    if (rocks_) {
      const Accesses accesses = AccessesHere();
      activity =
          accesses.hits + accesses.misses + rocks_->files().bytes_written();
    }
  }
  return activity == std::exchange(activity_seen_, activity) && !faults_.any();
}

void Store::HousekeepRound(bool is_idle) noexcept {
  constexpr int kRoundsPerSave = 10;
  HealIfFaulted();
  RecountIfWrong();
  const auto gate = store_gate_.Enter();
  if (closed_ || faults_.any() || gone_) return;
  Housekeep();
  if (is_idle || ++rounds_unsaved_ == kRoundsPerSave) {
    rounds_unsaved_ = 0;
    SaveTotals().IgnoreError();      // Repeated in a second.
    RestoreReserve().IgnoreError();  // Likewise: the disk may be full.
  }
}

}  // namespace larder
