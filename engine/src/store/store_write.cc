#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include <xxhash.h>

#include "base/check.h"
#include "base/coding.h"
#include "base/process_limits.h"
#include "base/test_point.h"
#include "base/thread_scratch.h"
#include "index/store_keys.h"
#include "index/store_pin.h"
#include "messages/reply_offer.h"
#include "store/store.h"
#include "store/store_command.h"
#include "store/store_locks.h"

// Writing. A group of commands takes the stripes of its keys, reads the old
// entries, builds one batch with one ledger operand, and commits it. Nothing in
// memory changes before the commit has succeeded, but for positions and
// segment bytes, which are then garbage that cleaning drops.
//
// Rejected: blind writes that leave the old entry to compaction. They would
// save 1-3 us of a small Set and cost the exact ledger.

namespace larder {
namespace {

constexpr std::size_t kInt64Size = sizeof(std::int64_t);

bool IsWhole(const Command& command) noexcept {
  return std::holds_alternative<EvictTagCommand>(command) ||
         std::holds_alternative<ClearCommand>(command) ||
         std::holds_alternative<ExpireCommand>(command) ||
         std::holds_alternative<CullCommand>(command);
}

bool IsPop(const Command& command) noexcept {
  const auto* pop = std::get_if<DeleteCommand>(&command);
  return pop != nullptr && pop->with_value;
}

}  // namespace

bool FreesSpace(std::span<const Command> commands) noexcept {
  return std::all_of(commands.begin(), commands.end(),
                     [](const Command& command) {
                       return std::holds_alternative<DeleteCommand>(command) ||
                              IsWhole(command);
                     });
}

PendingBatch& ThreadBatch() noexcept {
  PendingBatch& pending = ThreadScratch<PendingBatch>::Get();
  pending.Clear();
  return pending;
}

bool IsMutation(const Command& command) noexcept {
  return !std::holds_alternative<GetCommand>(command);
}

Status Store::Execute(std::span<const Command> commands,
                      std::span<Reply> replies,
                      const ExecuteOptions& options) noexcept {
  LARDER_RETURN_IF_ERROR(CheckCaller());
  return ExecuteFor(Caller(), commands, replies, options);
}

Status Store::ExecuteFor(const Caller& caller,
                         std::span<const Command> commands,
                         std::span<Reply> replies,
                         const ExecuteOptions& options) noexcept {
  LARDER_CHECK(replies.size() == commands.size());
  if (commands.size() > kBatchCommandCountMax) {
    return Status::InvalidArgument(
        "batch of " + std::to_string(commands.size()) + " commands: at most " +
        std::to_string(kBatchCommandCountMax) + ", split it");
  }
  ReplyOffer::Clear(replies);
  const std::uint64_t failures = faults_.count();
  Status status = TryExecute(caller, commands, replies, options);
  if (!FreesSpace(commands)) return status;
  const auto ran_out = [&] {
    // Somebody else may have healed the store since then.
    return (faults_.any() || faults_.count() != failures) &&
           (status.code() == StatusCode::kNoSpace ||
            (!replies.empty() &&
             replies[0].status.code() == StatusCode::kNoSpace));
  };
  // The disk is full: the reserve is given back for just this. What a command
  // on the whole cache has done is done, and it goes on as long as it does
  // more, since what it deletes needs space before it gives any.
  constexpr int kRoundsMax = 64;
  // What the reserve was spent on gives room only once it has ended.
  constexpr int kVainRoundsMax = 5;
  constexpr auto kVainPause = std::chrono::milliseconds(100);
  int vain = 0;
  for (int round = 0; ran_out() && round < kRoundsMax && vain < kVainRoundsMax;
       ++round) {
    if (vain != 0) std::this_thread::sleep_for(kVainPause);
    const std::uint64_t done = replies.empty() ? 0 : replies[0].count;
    ReplyOffer::Clear(replies);
    if (caller.placed != nullptr) caller.placed->found.clear();
    if (done != 0) replies[0].count = done;
    status = TryExecute(caller, commands, replies, options);
    const bool more = !replies.empty() && replies[0].count > done;
    vain = more ? 0 : vain + 1;
  }
  return status;
}

Status Store::TryExecute(const Caller& caller,
                         std::span<const Command> commands,
                         std::span<Reply> replies,
                         const ExecuteOptions& options) noexcept {
  const UncountedScope uncounted;
  const bool reads_only =
      std::none_of(commands.begin(), commands.end(), IsMutation);
  if (!reads_only) {
    HealIfFaulted(FreesSpace(commands) ? Reserve::kSpend : Reserve::kKeep);
    RecountIfWrong();
  }
  const auto gate = store_gate_.Enter();
  LARDER_RETURN_IF_ERROR(CheckOpen());
  if (reads_only) {
    if (commands.size() == 1) {
      Get(std::get<GetCommand>(commands[0]), replies[0], caller);
    } else if (!commands.empty()) {
      MultiGet(commands, replies, caller);
    }
    // A replayed trace: the policy is to see hits and sets in their order.
    if (options_.logical_capacity != 0 && !background_ && !read_only_ &&
        !faults_.any()) {
      RestampTouched().IgnoreError();  // The next write reports it.
    }
    return Status::Ok();
  }
  if (read_only_) return ReadOnlyStatus();
  if (std::any_of(commands.begin(), commands.end(), IsWhole)) {
    if (commands.size() != 1) {
      return Status::InvalidArgument(
          "evict-tag, clear, expire and cull must be alone in their batch");
    }
    ExecuteWhole(commands[0], replies[0]);
    if (caller.session != nullptr) SaveRecord(*caller.session, replies);
    return Status::Ok();
  }
  Status status = Mutate(caller, commands, replies, options);
  if (!background_ && !faults_.any()) Housekeep();
  return status;
}

Status Store::ValidateCommand(const Command& command) const noexcept {
  const std::string_view key = KeyOf(command);
  if (key.size() > kKeySizeBytesMax) {
    return {StatusCode::kKeyTooLarge, "key of " + std::to_string(key.size()) +
                                          " bytes: at most " +
                                          std::to_string(kKeySizeBytesMax)};
  }
  std::string_view tag;
  std::uint64_t size = 0;
  if (const auto* set = std::get_if<SetCommand>(&command)) {
    tag = set->tag;
    size = set->value.size();
    // A rank is made of it: what is no number would be below none.
    if (!(set->cost >= 0.0F) || std::isinf(set->cost)) {
      return Status::InvalidArgument("cost " + std::to_string(set->cost) +
                                     ": expected a number from 0");
    }
  } else if (const auto* incr = std::get_if<IncrCommand>(&command)) {
    tag = incr->tag;
  }
  if (tag.size() > kTagSizeBytesMax) {
    return Status::InvalidArgument("tag of " + std::to_string(tag.size()) +
                                   " bytes: at most " +
                                   std::to_string(kTagSizeBytesMax));
  }
  return CheckValueSize(size);
}

Status Store::CheckValueSize(std::uint64_t size) const noexcept {
  const std::uint64_t limit = settings_.item_size_limit();
  if (limit != 0 && size > limit) {
    return Status::TooLarge("value of " + std::to_string(size) +
                            " bytes: item_size_limit is " +
                            std::to_string(limit));
  }
  if (size > ItemBytesMax()) {
    return Status::TooLarge(
        "value of " + std::to_string(size) + " bytes can never fit: at most " +
        std::to_string(ItemBytesMax()) + " under a size_limit of " +
        std::to_string(CurrentSettings().size_limit) + "; raise size_limit");
  }
  return Status::Ok();
}

void Store::AddIncoming(const Command& command, Incoming& incoming) noexcept {
  const bool logical = options_.logical_capacity != 0;
  if (const auto* set = std::get_if<SetCommand>(&command)) {
    const std::uint64_t size = set->value.size();
    if (size >= settings_.large_value_min()) {
      incoming.log_bytes +=
          LogBytesFor(set->key.size(), size, incoming.log_values++);
    } else {
      incoming.database_bytes += size;
    }
    if (!logical) {
      incoming.database_bytes +=
          AdditionBytes(set->key.size(), set->tag.size(), set->ttl.has_value());
    }
  } else if (const auto* incr = std::get_if<IncrCommand>(&command)) {
    incoming.database_bytes +=
        logical ? sizeof(std::int64_t)
                : AdditionBytes(incr->key.size(), incr->tag.size(),
                                incr->ttl.has_value());
  } else if (const auto* touch = std::get_if<TouchCommand>(&command)) {
    if (logical) return;
    incoming.replacing_bytes += AdditionBytes(touch->key.size(), 0, true) +
                                settings_.inline_value_max();
    return;
  } else if (const auto* erase = std::get_if<DeleteCommand>(&command)) {
    if (!logical)
      incoming.replacing_bytes += DeletionBytes(erase->key.size(), 0);
    return;
  } else {
    return;
  }
  incoming.items += MayAddItem(KeyOf(command)) ? 1 : 0;
}

bool Store::MayAddItem(std::string_view key) noexcept {
  if (settings_.item_count_limit() == 0)
    return false;  // Nobody asks: save the lookup.
  OldItem old;
  return !LookupInIndex(key, old).ok() || !old.counted;
}

bool Store::OverwritesWithoutMore(std::span<const Command> commands) noexcept {
  return std::all_of(
      commands.begin(), commands.end(), [this](const Command& command) {
        std::uint64_t size = sizeof(std::int64_t);
        std::string_view tag;
        if (const auto* set = std::get_if<SetCommand>(&command)) {
          size = set->value.size();
          tag = set->tag;
        } else if (const auto* incr = std::get_if<IncrCommand>(&command)) {
          tag = incr->tag;
        } else {
          return FreesSpace({&command, 1});
        }
        OldItem old;
        return size <= settings_.inline_value_max() &&
               LookupInIndex(KeyOf(command), old).ok() && old.counted &&
               old.entry.value_size >= size && old.entry.tag == tag;
      });
}

Status Store::Mutate(const Caller& caller, std::span<const Command> commands,
                     std::span<Reply> replies,
                     const ExecuteOptions& options) noexcept {
  const FileSizeSignalHeld held;  // Once, for all that is written.
  LARDER_RETURN_IF_ERROR(CheckWritable());
  if (caller.stored != nullptr) {
    // The log may have been opened anew since it accepted the value.
    LARDER_RETURN_IF_ERROR(CheckStored(*caller.stored));
  }
  Incoming incoming;
  RoomClaim claim;
  Status first_failure;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    replies[i].status = ValidateCommand(commands[i]);
    if (!replies[i].status.ok()) {  // It needs no room.
      if (first_failure.ok()) first_failure = replies[i].status;
      continue;
    }
    AddIncoming(commands[i], incoming);
  }
  if (options.all_or_nothing) LARDER_RETURN_IF_ERROR(first_failure);
  if (caller.session != nullptr && commands.size() > 1) {
    AddRecorded(commands, incoming);
  } else if (caller.session != nullptr && IsPop(commands[0])) {
    incoming.replacing_bytes += kRecordedValueSizeMax;
  }
  if (Status room = ClaimToChange(commands, incoming, claim); !room.ok()) {
    return FailMutations(commands, replies, room);
  }
  PendingBatch& pending = ThreadBatch();
  const BatchScope scope(pending);
  const auto writing = write_gate_.Enter();
  StartBatch(pending);
  StripeLocks locks(*this);
  if (commands.size() == 1) {
    locks.LockOne(KeyOf(commands[0]));
    if (replies[0].status.ok() && caller.stored != nullptr) {
      ApplySet(std::get<SetCommand>(commands[0]), caller.stored, pending,
               replies[0]);
    } else if (replies[0].status.ok()) {
      Apply(commands[0],
            caller.session != nullptr ? &caller.placed->found : nullptr,
            pending, replies[0]);
    }
    first_failure = replies[0].status;
  } else {
    pending.keep_overlay = true;
    for (const Command& command : commands) locks.Add(KeyOf(command));
    locks.LockAdded();
    for (std::size_t i = 0; i < commands.size(); ++i) {
      if (replies[i].status.ok()) {
        Apply(commands[i], nullptr, pending, replies[i]);
      }
      if (!replies[i].status.ok() && first_failure.ok()) {
        first_failure = replies[i].status;
      }
    }
  }
  claim.ReleaseLog();
  pending.claim = &claim;
  if (options.all_or_nothing) LARDER_RETURN_IF_ERROR(first_failure);
  if (pending.empty()) return Status::Ok();
  if (caller.session != nullptr) {
    if (Status fits = CheckRecordable(replies, incoming); !fits.ok()) {
      return FailMutations(commands, replies, fits);
    }
    AddRecord(*caller.session, Status::Ok(), replies, pending);
  }
  const Status committed =
      Commit(pending, options.durability.value_or(settings_.durability()));
  if (!committed.ok()) return FailMutations(commands, replies, committed);
  sessions_.Keep(pending.records);
  return Status::Ok();
}

Status Store::FailMutations(std::span<const Command> commands,
                            std::span<Reply> replies,
                            const Status& status) noexcept {
  for (std::size_t i = 0; i < commands.size(); ++i) {
    if (!IsMutation(commands[i])) continue;
    replies[i] = Reply();
    replies[i].status = status;
  }
  return status;
}

void Store::Apply(const Command& command, std::vector<PlacedValue>* left,
                  PendingBatch& pending, Reply& reply) noexcept {
  if (const auto* set = std::get_if<SetCommand>(&command)) {
    ApplySet(*set, nullptr, pending, reply);
  } else if (const auto* get = std::get_if<GetCommand>(&command)) {
    ApplyGet(*get, pending, reply);
  } else if (const auto* incr = std::get_if<IncrCommand>(&command)) {
    ApplyIncr(*incr, pending, reply);
  } else if (const auto* touch = std::get_if<TouchCommand>(&command)) {
    ApplyTouch(*touch, pending, reply);
  } else {
    ApplyDelete(std::get<DeleteCommand>(command), left, pending, reply);
  }
}

Status Store::Lookup(std::string_view key, const PendingBatch& pending,
                     OldItem& old) noexcept {
  if (pending.keep_overlay) {
    const auto found = pending.overlay.find(std::string(key));
    if (found != pending.overlay.end()) {
      if (!found->second.entry) return Status::Ok();
      old.pending = true;
      old.bytes = *found->second.entry;
      old.pending_value = found->second.run_value;
      Understand(old.bytes, old);
      return Status::Ok();
    }
  }
  if (LookupRecent(key, old)) return Status::Ok();
  if (!key_filter_.MayHave(key)) return Status::Ok();
  LARDER_RETURN_IF_ERROR(LookupInIndex(key, old));
  if (!old.present) key_filter_.NoteAbsent();
  return Status::Ok();
}

Status Store::LookupInIndex(std::string_view key, OldItem& old) noexcept {
  const EntryKey entry_key(key);
  const rocksdb::Status read = rocks_->db().Get(
      read_options_, rocks_->access(), ToSlice(entry_key.bytes()), &old.pin);
  if (read.IsNotFound()) return Status::Ok();
  if (!read.ok()) return FromRocks(read, "reading the index");
  Understand(old.pin.ToStringView(), old);
  return Status::Ok();
}

void Store::Understand(std::string_view bytes, OldItem& old) const noexcept {
  // An entry that makes no sense counts nowhere: writing over it heals it, and
  // a recount leaves it out.
  if (!DecodeEntry(bytes, old.entry).ok()) return;
  old.present = true;
  old.counted = IsCounted(old.entry);
  old.gone_by.reset();
  if (tag_cutoffs_.any()) [[unlikely]] {
    old.gone_by = tag_cutoffs_.View().Find(old.entry);
  }
  old.live = old.counted && old.gone_by == nullptr &&
             old.entry.expires_at > clock_.Now();
}

bool Store::LookupRecent(std::string_view key, OldItem& old) const noexcept {
  const std::uint64_t hash = HashOf(key);
  const std::optional<RecentEntries::Known> known =
      stripes_[hash % kStripeCount].recent.Find(key, hash);
  if (!known) return false;
  if (!known->present) return true;
  old.bytes.assign(known->bytes);
  Understand(old.bytes, old);
  // One that does not count may have been dropped by a compaction.
  if (!old.counted) old.present = false;
  return old.counted;
}

void Store::NoteRecent(std::string_view key, bool was_present,
                       const std::string* bytes,
                       PendingBatch& pending) noexcept {
  const std::uint64_t hash = HashOf(key);
  const bool is_kept = stripes_[hash % kStripeCount].recent.Doubt(key, hash);
  // What is written once is not worth the copy; but what this batch noted of
  // the key before is no longer true.
  const bool is_noted =
      pending.keep_overlay && pending.overlay.contains(std::string(key));
  if (!is_kept && !is_noted && (bytes == nullptr || !was_present)) return;
  const std::string_view kept = bytes != nullptr ? *bytes : std::string_view();
  pending.recent.push_back({key, hash, bytes != nullptr, kept.size()});
  pending.recent_bytes.append(kept);
}

void Store::KeepRecent(const PendingBatch& pending) noexcept {
  std::string_view rest = pending.recent_bytes;
  for (const PendingBatch::RecentChange& change : pending.recent) {
    stripes_[change.hash % kStripeCount].recent.Put(
        change.key, change.hash, {change.present, rest.substr(0, change.size)});
    rest.remove_prefix(change.size);
  }
}

void Store::StartRecent() noexcept {
  // A share of the memory budget, within bounds for each stripe.
  constexpr std::uint64_t kMemoryShare = 8;
  constexpr std::uint64_t kStripeBytesMin = 256;
  constexpr std::uint64_t kStripeBytesMax = 4096;
  const std::uint64_t bytes =
      std::clamp(rocks_->sizes().memory_budget / kMemoryShare / kStripeCount,
                 kStripeBytesMin, kStripeBytesMax);
  for (KeyStripe& stripe : stripes_) {
    const std::scoped_lock lock(stripe.mutex);
    stripe.recent.SetCapacity(bytes);
  }
}

void Store::ForgetRecent() noexcept {
  for (KeyStripe& stripe : stripes_) {
    const std::scoped_lock lock(stripe.mutex);
    stripe.recent.Clear();
  }
}

TimePoint Store::ExpiryOf(const std::optional<Duration>& ttl,
                          TimePoint now) const noexcept {
  Duration wanted;
  if (ttl) {
    wanted = *ttl;
  } else {
    wanted = settings_.default_ttl();
    if (wanted == Duration(0)) return kNeverExpires;
  }
  Duration::rep micros = 0;
  if (__builtin_add_overflow(now.time_since_epoch().count(), wanted.count(),
                             &micros)) {
    return wanted > Duration(0) ? kNeverExpires : TimePoint::min();
  }
  return TimePoint(Duration(micros));
}

void Store::ApplySet(const SetCommand& command, const StoredValue* stored,
                     PendingBatch& pending, Reply& reply) noexcept {
  if (pending.keep_hot) PrefetchHot(command.key);
  OldItem old;
  reply.status = Lookup(command.key, pending, old);
  if (!reply.status.ok()) return;
  const std::uint64_t live_version = old.live ? old.entry.version : 0;
  reply.info.version = live_version;
  if (command.condition == SetCondition::kIfAbsent && old.live) return;
  if (command.condition == SetCondition::kIfVersion &&
      live_version != command.version_expected) {
    return;
  }
  Entry entry;
  entry.codec = command.codec;
  entry.pinned = command.pinned;
  entry.cost = command.cost;
  entry.tag = command.tag;
  entry.stored_at = clock_.Now();
  entry.expires_at = ExpiryOf(command.ttl, entry.stored_at);
  entry.epoch = epoch_.load(std::memory_order_relaxed);
  reply.status = PlaceValue(command, stored, old, entry, pending);
  if (reply.status.ok()) reply.status = StampEntry(command.key, old, entry);
  if (!reply.status.ok()) return;
  NoteIndexCost(command.key.size(), entry);
  TellIfDead(command.key, old);
  CountIfGone(old, pending);
  PutEntry(command.key, old, entry, pending,
           stored == nullptr ? &command.value : nullptr);
  if (entry.kind == EntryKind::kRun && pending.keep_overlay) {
    pending.overlay[std::string(command.key)].run_value = command.value;
  }
  pending.delta.Count(Total::kSets);
  pending.user_bytes += entry.value_size;
  reply.applied = true;
  reply.info.version = entry.version;
}

LogStream Store::StreamOfSize(std::uint64_t value_size) const noexcept {
  return value_size >= settings_.segment_size() ? LogStream::kLarge
                                                : LogStream::kNew;
}

LogStream Store::StreamOf(std::uint64_t age, LogStream young, LogStream middle,
                          LogStream old) const noexcept {
  // In turnovers of the cache; what the bounds are exactly matters little.
  constexpr std::uint64_t kYoungShare = 4;
  // Relaxed: an estimate.
  const std::uint64_t turnover = live_items_.load(std::memory_order_relaxed);
  if (age < turnover / kYoungShare) return young;
  return age < turnover ? middle : old;
}

Status Store::PlaceValue(const SetCommand& command, const StoredValue* stored,
                         const OldItem& old, Entry& entry,
                         PendingBatch& pending) noexcept {
  if (stored != nullptr) {
    entry.kind = EntryKind::kSegments;
    entry.version = stored->version;
    entry.value_size = stored->size;
    entry.extents = stored->extents;
    if (tag_cutoffs_.View().Covers(entry)) [[unlikely]] {
      // It was begun before the eviction of its tag and comes after it.
      tag_cutoffs_.Spare(entry.tag, entry.version);
      return FromRocks(
          pending.batch.Put(rocks_->counters(), TagSparedKey(entry.version),
                            ToSlice(entry.tag)),
          "building a batch");
    }
    return Status::Ok();
  }
  const std::string_view value = command.value;
  entry.value_size = value.size();
  if (value.size() <= settings_.inline_value_max()) {
    entry.kind = EntryKind::kInline;
    entry.version = runs_.NextVersion();
    entry.inline_value = value;
    entry.checksum = XXH3_64bits(value.data(), value.size());
    return Status::Ok();
  }
  if (value.size() < settings_.large_value_min()) {
    entry.kind = EntryKind::kRun;
    const ValueRecord record{command.key, value, command.codec};
    const RunTable::Position position =
        runs_.NextPosition(CostOf(command.key.size(), entry));
    entry.version = position.version;
    entry.run = position.run;
    CarryRun(position, pending);
    pending.head.clear();
    EncodeValueRecordHead(record, position.version, pending.head);
    const PositionKey key(position.version);
    const rocksdb::Slice key_part = key.slice();
    const rocksdb::Slice parts[] = {pending.head, ToSlice(value)};
    pending.run_bytes += key_part.size() + pending.head.size() + value.size() +
                         kIncomingLineBytes;
    return FromRocks(
        pending.batch.Put(rocks_->values(), rocksdb::SliceParts(&key_part, 1),
                          rocksdb::SliceParts(parts, 2)),
        "building a batch");
  }
  entry.kind = EntryKind::kSegments;
  entry.version = runs_.NextVersion();
  // It will live about as long as what it replaces.
  LogStream stream = StreamOfSize(value.size());
  if (old.counted && stream == LogStream::kNew) {
    stream = StreamOf(entry.version - old.entry.version, LogStream::kHot,
                      LogStream::kWarm, LogStream::kNew);
  }
  return AppendToLog(command.key, command.codec, entry.version, value.size(), 0,
                     value, entry.extents, pending.grants, stream);
}

void Store::CarryRun(const RunTable::Position& position,
                     PendingBatch& pending) noexcept {
  if (position.run <= run_saved_ || position.run == pending.run_carried) return;
  char first[sizeof(std::uint64_t)];
  StoreBigEndian64(first, position.run_first);
  LARDER_CHECK(pending.batch
                   .Put(rocks_->counters(), RunKey(position.run),
                        rocksdb::Slice(first, sizeof(first)))
                   .ok());
  pending.run_carried = position.run;
}

Status Store::AppendToLog(std::string_view key, CodecId codec,
                          std::uint64_t version, std::uint64_t value_size,
                          std::uint64_t value_offset, std::string_view bytes,
                          Extents& extents, std::vector<SegmentGrant>& grants,
                          LogStream stream) noexcept {
  std::uint64_t done = 0;
  while (done < bytes.size()) {
    const std::size_t wanted =
        std::min<std::uint64_t>(bytes.size() - done, kChunkSizeBytesMax);
    const std::uint64_t before = log_->disk_bytes();
    Result<SegmentGrant> grant = log_->Reserve(key.size(), wanted, stream);
    if (!grant) return SegmentFailure(grant.error());
    KeepWithinLimit(before);
    SegmentRecord record;
    record.key = key;
    record.payload = bytes.substr(done, grant->payload_size);
    record.version = version;
    record.value_size = value_size;
    record.value_offset = value_offset + done;
    record.codec = codec;
    Result<SegmentPlace> place = log_->Write(*grant, record);
    if (!place) return SegmentFailure(place.error());
    extents.push_back(*place);
    grants.push_back(std::move(*grant));
    done += record.payload.size();
  }
  return Status::Ok();
}

Status Store::SegmentFailure(const Status& status) noexcept {
  // The log of large values failed; the database is sound.
  if (status.code() == StatusCode::kNoSpace) {
    log_->DropSpares();  // For what frees more.
    if (faults_.NoteDiskFull())
      Log("disk full: " + NameDescriptors(status).message());
  }
  return NoteIfGone() ? CheckOpen() : NameDescriptors(status);
}

Status Store::StampEntry(std::string_view key, const OldItem& old,
                         Entry& entry) noexcept {
  PolicyItem item;
  item.key_hash = XXH3_64bits(key.data(), key.size());
  item.size_bytes = CostOf(key.size(), entry);
  item.cost = entry.cost;
  const bool known = old.present && old.entry.epoch == entry.epoch;
  const std::scoped_lock lock(ledger_mutex_);
  RankSpace& space = ledger_.space();
  item.ghost = known && !old.counted && space.IsGhost(old.entry.rank);
  if (known) {
    item.rank = old.counted || item.ghost ? old.entry.rank : 0;
    item.frequency = old.entry.frequency;
  }
  policy_->OnAccess(item, space.context());
  Placement placement = policy_->OnInsert(item, space.context());
  if (entry.pinned) {
    placement.class_index = kClassPinned;
    std::uint64_t pinned = space.class_bytes(kClassPinned) + item.size_bytes;
    if (old.counted && old.entry.pinned && !old.pending) {
      pinned -= std::min(pinned, CostOf(key.size(), old.entry));
    }
    std::uint64_t capacity = space.budget();
    // Not of one that is being lowered: they would stay.
    if (options_.logical_capacity == 0) {
      capacity = std::min<std::uint64_t>(capacity, effective_limit_);
    }
    if (pinned > capacity / 2) {
      return Status::NoSpace(
          "pinned items would hold " + std::to_string(pinned) +
          " bytes, over half of the cache; unpin some or raise size_limit");
    }
  }
  entry.rank = space.Stamp(placement);
  entry.frequency = placement.frequency;
  return Status::Ok();
}

std::uint64_t Store::CostOf(std::size_t key_size,
                            const Entry& entry) const noexcept {
  if (options_.logical_capacity != 0) return entry.value_size;
  constexpr std::uint64_t kFixedEntry = 32;
  std::uint64_t cost = 1 + key_size + kFixedEntry + kPairOverheadBytes;
  if (entry.expires_at != kNeverExpires) {
    cost += 8 + 9 + key_size + kPairOverheadBytes;
  }
  if (!entry.tag.empty()) {
    cost += 2 + entry.tag.size() + 3 + entry.tag.size() + key_size +
            kPairOverheadBytes;
  }
  switch (entry.kind) {
    case EntryKind::kInline:
      return cost + 8 + entry.value_size;
    case EntryKind::kRun:
      return cost + 8 + sizeof(std::uint64_t) + kPairOverheadBytes +
             kValueRecordHeadSize + key_size + entry.value_size;
    case EntryKind::kSegments:
      break;
  }
  for (const SegmentPlace& place : entry.extents) {
    cost += 12 + SegmentLog::RecordSize(key_size, place.payload_size);
  }
  return cost;
}

void Store::NoteIndexCost(std::size_t key_size, const Entry& entry) noexcept {
  std::uint64_t in_log = 0;
  if (entry.kind == EntryKind::kRun) {
    in_log = sizeof(std::uint64_t) + kPairOverheadBytes + kValueRecordHeadSize +
             key_size + entry.value_size;
  }
  for (const SegmentPlace& place : entry.extents) {
    in_log += SegmentLog::RecordSize(key_size, place.payload_size);
  }
  const std::uint64_t all = CostOf(key_size, entry);
  const std::uint64_t cost = all - std::min(all, in_log);
  // Relaxed, and racy on purpose: an average needs no exact sum.
  const std::uint64_t average = index_item_bytes_;
  index_item_bytes_.store((63 * average + cost + 63) / 64,
                          std::memory_order_relaxed);
}

void Store::AddCells(std::string_view key, const Entry& entry, int sign,
                     LedgerDelta& delta) const noexcept {
  const auto total = static_cast<std::int64_t>(CostOf(key.size(), entry));
  if (entry.kind == EntryKind::kInline) {
    delta.Add(entry.rank, kPlaceInline, sign * total, sign);
    return;
  }
  if (entry.kind == EntryKind::kRun) {
    delta.Add(entry.rank, PlaceOfRun(entry.run), sign * total, sign);
    return;
  }
  // The first segment carries the item and what the index costs; the others
  // their records.
  std::int64_t rest = total;
  const bool logical = options_.logical_capacity != 0;
  for (std::size_t i = 1; i < entry.extents.size(); ++i) {
    const SegmentPlace& place = entry.extents[i];
    const auto bytes = static_cast<std::int64_t>(
        logical ? place.payload_size
                : SegmentLog::RecordSize(key.size(), place.payload_size));
    delta.Add(entry.rank, PlaceOfSegment(place.segment), sign * bytes, 0);
    rest -= bytes;
  }
  delta.Add(entry.rank, PlaceOfSegment(entry.extents.front().segment),
            sign * rest, sign);
}

void Store::PutEntry(std::string_view key, const OldItem& old,
                     const Entry& entry, PendingBatch& pending,
                     const std::string_view* value) noexcept {
  HoldReplaced(old, pending);
  if (pending.keep_hot && tag_cutoffs_.View().Covers(entry)) [[unlikely]] {
    pending.AddHot(key, PendingBatch::HotChange::Kind::kAbsent);  // Only moved.
  } else if (pending.keep_hot) {
    NoteHotPut(key, entry, value, pending);
  }
  key_filter_.Add(key, old.present);
  if (old.counted) AddCells(key, old.entry, -1, pending.delta);
  AddCells(key, entry, 1, pending.delta);
  pending.delta.version_max =
      std::max(pending.delta.version_max, entry.version);
  for (const SegmentPlace& place : entry.extents) {
    pending.delta.segment_max =
        std::max(pending.delta.segment_max, place.segment);
    pending.segments.push_back(place.segment);
  }
  rocksdb::WriteBatch& batch = pending.batch;
  pending.scratch.clear();
  EncodeEntry(entry, pending.scratch);
  const EntryKey entry_key(key);
  // A Put to a batch fails only over its size limit, which we do not set.
  LARDER_CHECK(
      batch.Put(rocks_->access(), ToSlice(entry_key.bytes()), pending.scratch)
          .ok());
  // Index lines of an entry that does not count may be on their way out.
  const bool same_expiry =
      old.counted && old.entry.expires_at == entry.expires_at;
  if (old.present && !same_expiry) RemoveExpiryKey(key, old.entry, batch);
  if (!same_expiry && entry.expires_at != kNeverExpires) {
    LARDER_CHECK(
        batch.Put(rocks_->access(), ExpiryIndexKey(entry.expires_at, key), "")
            .ok());
  }
  pending.earliest_expiry = std::min(pending.earliest_expiry, entry.expires_at);
  const bool same_tag = old.counted && old.entry.tag == entry.tag;
  if (old.present && !same_tag) RemoveTagKey(key, old.entry, batch);
  if (!same_tag && !entry.tag.empty()) {
    LARDER_CHECK(
        batch.Put(rocks_->access(), TagIndexKey(entry.tag, key), "").ok());
  }
  NoteRecent(key, old.present, &pending.scratch, pending);
  if (pending.keep_overlay) {
    PendingBatch::Overlay& overlay = pending.overlay[std::string(key)];
    overlay.entry = pending.scratch;
  }
}

void Store::RemoveExpiryKey(std::string_view key, const Entry& entry,
                            rocksdb::WriteBatch& batch) noexcept {
  if (entry.expires_at == kNeverExpires) return;
  LARDER_CHECK(
      batch.Delete(rocks_->access(), ExpiryIndexKey(entry.expires_at, key))
          .ok());
}

void Store::RemoveTagKey(std::string_view key, const Entry& entry,
                         rocksdb::WriteBatch& batch) noexcept {
  if (entry.tag.empty()) return;
  LARDER_CHECK(
      batch.Delete(rocks_->access(), TagIndexKey(entry.tag, key)).ok());
}

void Store::RemoveEntry(std::string_view key, const OldItem& old,
                        PendingBatch& pending) noexcept {
  HoldReplaced(old, pending);
  if (pending.keep_hot) {
    pending.AddHot(key, PendingBatch::HotChange::Kind::kAbsent);
  }
  if (old.counted) AddCells(key, old.entry, -1, pending.delta);
  const EntryKey entry_key(key);
  LARDER_CHECK(
      pending.batch.Delete(rocks_->access(), ToSlice(entry_key.bytes())).ok());
  RemoveExpiryKey(key, old.entry, pending.batch);
  RemoveTagKey(key, old.entry, pending.batch);
  NoteRecent(key, old.present, nullptr, pending);
  if (pending.keep_overlay) {
    pending.overlay[std::string(key)] = PendingBatch::Overlay();
  }
}

bool Store::IsListenedTo() const noexcept {
  return notifier_ != nullptr || board_.any();
}

void Store::Tell(std::string_view key, std::uint64_t size_bytes,
                 EvictionReason reason) noexcept {
  if (notifier_) notifier_->Add(key, size_bytes, reason);
  if (board_.any()) board_.Add(key, size_bytes, reason);
}

void Store::TellOnce(std::string_view key, const Entry& entry,
                     EvictionReason reason) noexcept {
  if (IsListenedTo() && told_.Claim(key, entry.version)) {
    Tell(key, entry.value_size, reason);
  }
}

void Store::TellIfDead(std::string_view key, const OldItem& old) noexcept {
  if (old.present && old.gone_by != nullptr) {
    TellOnce(key, old.entry, EvictionReason::kCleared);
  } else if (old.present && !old.counted) {
    TellOnce(key, old.entry, ReasonOf(old.entry));
  }
}

bool Store::HoldReplaced(const OldItem& old, PendingBatch& pending) noexcept {
  // Compactions see nothing of what the batch itself has.
  if (!IsListenedTo() || !old.present || old.pending) return true;
  return told_.Hold(old.entry.version, pending.replaced);
}

bool Store::IsInIndex(std::string_view key, std::uint64_t version) noexcept {
  OldItem found;
  if (!LookupInIndex(key, found).ok()) return true;
  return found.present && found.entry.version == version;
}

void Store::CountIfGone(const OldItem& old, PendingBatch& pending) noexcept {
  if (!old.counted || old.live) return;
  if (old.gone_by != nullptr) {
    pending.settled.push_back(old.gone_by);
  } else {
    pending.delta.Count(Total::kExpirations);
  }
}

EvictionReason Store::ReasonOf(const Entry& entry) const noexcept {
  return entry.epoch == epoch_ ? EvictionReason::kEvicted
                               : EvictionReason::kCleared;
}

EvictionNotices Store::TakeEvictions(std::uint64_t subscriber) noexcept {
  return board_.Take(subscriber, kEvictionsSizeMax,
                     std::chrono::steady_clock::now());
}

Status Store::ReadOldValue(std::string_view key, OldItem& old,
                           Reply& reply) noexcept {
  if (old.entry.kind == EntryKind::kInline) {
    reply.value = ValueHandle::FromString(std::string(old.entry.inline_value));
  } else if (old.entry.kind == EntryKind::kRun && !old.pending_value.empty()) {
    // Written by this batch. Else it is on disk, whatever the batch did to the
    // entry: a run has no empty values.
    reply.value = ValueHandle::FromString(std::string(old.pending_value));
  } else {
    TestPoint("store.read_old_value");
    std::unique_ptr<EntryPin> no_pin;
    Result<std::optional<ValueHandle>> value =
        ReadValue(key, old.entry, no_pin);
    if (!value) return value.error();
    if (!value->has_value()) {
      // Nobody moves it, as this has its stripe. If it was evicted since it was
      // looked up, its file may have been freed at once.
      old.counted = IsCounted(old.entry);
      old.live &= old.counted;
      return old.counted ? Status::Corruption("the value of an item is gone" +
                                              NamePlaces(old.entry))
                         : Status::NotFound("it was evicted");
    }
    reply.value = std::move(**value);
  }
  reply.info = InfoOf(old.entry);
  return Status::Ok();
}

void Store::ApplyGet(const GetCommand& command, PendingBatch& pending,
                     Reply& reply) noexcept {
  OldItem old;
  reply.status = Lookup(command.key, pending, old);
  if (!reply.status.ok()) return;
  if (!old.live) {
    if (command.with_value) accesses_.Add(/*is_hit=*/false);
    return;
  }
  if (!command.with_value) {
    reply.info = InfoOf(old.entry);
    reply.applied = true;
    return;
  }
  const Status read = ReadOldValue(command.key, old, reply);
  if (read.code() == StatusCode::kCorruption) NoteDamage(read);
  reply.applied = read.ok();
  if (read.ok()) {
    accesses_.Add(/*is_hit=*/true);
  } else if (!old.live || read.code() == StatusCode::kCorruption) {
    accesses_.Add(/*is_hit=*/false);  // As is a damaged item.
  } else {
    reply.status = read;
  }
}

void Store::ApplyIncr(const IncrCommand& command, PendingBatch& pending,
                      Reply& reply) noexcept {
  OldItem old;
  reply.status = Lookup(command.key, pending, old);
  if (!reply.status.ok()) return;
  std::int64_t base = command.initial;
  if (old.live) {
    if (old.entry.codec != kCodecInt64) {
      reply.status = Status::TypeMismatch(
          "Incr of a value with codec " + std::to_string(old.entry.codec) +
          ": it needs an integer, codec " + std::to_string(kCodecInt64));
      return;
    }
    Reply current;
    const Status read = ReadOldValue(command.key, old, current);
    if (read.code() == StatusCode::kCorruption) NoteDamage(read);
    if (!read.ok() && old.live) {
      reply.status = read;
      return;
    }
    if (read.ok() && current.value.size() != kInt64Size) {
      reply.status = Status::TypeMismatch(
          "Incr of a value of " + std::to_string(current.value.size()) +
          " bytes: an integer has " + std::to_string(kInt64Size));
      return;
    }
    if (read.ok()) {
      base = LoadFixed<std::int64_t>(current.value.bytes().data());
    }
  }
  std::int64_t sum = 0;
  if (__builtin_add_overflow(base, command.delta, &sum)) {
    reply.status = Status::OutOfRange(std::to_string(base) + " + " +
                                      std::to_string(command.delta) +
                                      " does not fit into 64 bits");
    return;
  }
  char bytes[kInt64Size];
  std::memcpy(bytes, &sum, kInt64Size);
  Entry entry;
  entry.kind = EntryKind::kInline;
  entry.codec = kCodecInt64;
  entry.version = runs_.NextVersion();
  entry.value_size = kInt64Size;
  entry.inline_value = std::string_view(bytes, kInt64Size);
  entry.checksum = XXH3_64bits(bytes, kInt64Size);
  entry.stored_at = clock_.Now();
  entry.epoch = epoch_.load(std::memory_order_relaxed);
  if (old.live) {
    entry.expires_at = old.entry.expires_at;
    entry.tag = old.entry.tag;
    entry.pinned = old.entry.pinned;
    entry.cost = old.entry.cost;
  } else {
    entry.expires_at = ExpiryOf(command.ttl, entry.stored_at);
    entry.tag = command.tag;
  }
  reply.status = StampEntry(command.key, old, entry);
  if (!reply.status.ok()) return;
  TellIfDead(command.key, old);
  CountIfGone(old, pending);
  PutEntry(command.key, old, entry, pending);
  pending.delta.Count(Total::kSets);
  pending.user_bytes += kInt64Size;
  reply.applied = true;
  reply.integer = sum;
  reply.info.version = entry.version;
}

void Store::ApplyTouch(const TouchCommand& command, PendingBatch& pending,
                       Reply& reply) noexcept {
  OldItem old;
  reply.status = Lookup(command.key, pending, old);
  if (!reply.status.ok() || !old.live) return;
  Entry entry = old.entry;
  entry.expires_at =
      command.ttl ? ExpiryOf(command.ttl, clock_.Now()) : kNeverExpires;
  const std::string_view run_value = old.pending_value;
  PutEntry(command.key, old, entry, pending);
  if (pending.keep_overlay) {
    pending.overlay[std::string(command.key)].run_value = run_value;
  }
  reply.applied = true;
  reply.info.version = entry.version;
}

void Store::ApplyDelete(const DeleteCommand& command,
                        std::vector<PlacedValue>* left, PendingBatch& pending,
                        Reply& reply) noexcept {
  OldItem old;
  reply.status = Lookup(command.key, pending, old);
  if (!reply.status.ok()) return;
  if (!old.present) {
    // If an unlogged write has deleted it the log has it still.
    if (unlogged_marked_) {
      const EntryKey key(command.key);
      LARDER_CHECK(
          pending.batch.Delete(rocks_->access(), ToSlice(key.bytes())).ok());
    }
    return;
  }
  if (command.version_expected != 0 &&
      (!old.live || old.entry.version != command.version_expected)) {
    reply.info.version = old.live ? old.entry.version : 0;
    return;
  }
  bool found = old.live;
  if (old.live && command.with_value && left != nullptr &&
      old.entry.value_size > kRecordedValueSizeMax) {
    reply.info = InfoOf(old.entry);
    left->push_back(
        {.value_size = old.entry.value_size,
         .version = old.entry.version,
         .chunks = {old.entry.extents.begin(), old.entry.extents.end()}});
    return;
  }
  if (old.live && command.with_value) {
    const Status read = ReadOldValue(command.key, old, reply);
    found = read.ok();
    if (read.code() == StatusCode::kCorruption) {
      NoteDamage(read);  // Dropped, and absent to the caller.
    } else if (!found && old.live) {
      reply.status = read;
      return;
    }
  }
  TellIfDead(command.key, old);
  RemoveEntry(command.key, old, pending);
  if (old.live) pending.delta.Count(Total::kDeletes);
  CountIfGone(old, pending);
  reply.applied = found;
}

Status Store::Commit(PendingBatch& pending, Durability durability) noexcept {
  LedgerDelta& delta = pending.delta;
  // Invariant 3: the batch may rely on a cutoff that is not on disk yet.
  const std::uint64_t raised = cutoffs_raised_;
  const bool carries_cutoffs = raised != cutoffs_saved_;
  if (carries_cutoffs) {
    for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
      delta.cutoffs[c] = cutoffs_[c];
    }
  }
  pending.scratch.clear();
  delta.Encode(pending.scratch);
  LARDER_CHECK(pending.batch
                   .Merge(rocks_->counters(), rocksdb::Slice(kLedgerKey),
                          pending.scratch)
                   .ok());
  rocksdb::WriteOptions write;
  write.sync = durability == Durability::kPower;
  write.disableWAL = durability == Durability::kNone;
  if (write.disableWAL) LARDER_RETURN_IF_ERROR(BeginUnlogged(delta));
  if (write.sync) LARDER_RETURN_IF_ERROR(MarkPower());
  if (write.sync && !pending.segments.empty()) {
    Status synced = log_->SyncSegments(pending.segments);
    if (!synced.ok()) return SegmentFailure(synced);
  }
  LARDER_RETURN_IF_ERROR(CheckLogSynced());
  HotCommit hot(hot_.load(std::memory_order_relaxed), pending, has_clients_);
  if (pending.run_bytes != 0) rocks_->NoteValues(pending.run_bytes);
  const rocksdb::Status written = rocks_->db().Write(write, &pending.batch);
  if ((write.sync || !written.ok()) && rocks_->files().log_sync_failed()) {
    return UnknownOutcome();
  }
  if (!written.ok()) return HandleWriteFailure(written);
  if (pending.run_carried != 0 && !write.disableWAL) {
    RaiseTo(run_saved_, pending.run_carried);
  }
  if (pending.earliest_expiry != kNeverExpires) {
    LowerTo(next_expiry_, pending.earliest_expiry.time_since_epoch().count());
  }
  user_bytes_.Add(pending.user_bytes);
  for (const auto& cutoff : pending.settled) ++cutoff->settled;
  {
    const std::scoped_lock lock(ledger_mutex_);
    ApplyToLedger(delta);
    if (write.sync) NotePower(delta);
    MirrorUse();
  }
  if (pending.claim != nullptr) pending.claim->Release();
  hot.Show();
  KeepRecent(pending);
  return Status::Ok();
}

}  // namespace larder
