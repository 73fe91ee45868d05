#include <algorithm>
#include <utility>

#include <xxhash.h>

#include "base/check.h"
#include "base/test_point.h"
#include "index/store_keys.h"
#include "index/store_pin.h"
#include "messages/reply_offer.h"
#include "segments/read_ahead_pace.h"
#include "store/store.h"
#include "store/store_command.h"
#include "store/store_locks.h"

// Reading. No lock of ours is held but the gate that keeps the database open:
// an entry is immutable once read, and a value is found by a place that is used
// once. If cleaning was faster than the reader, the place is empty, and the
// entry is read again: it has moved, or it was evicted.

namespace larder {
namespace {

// Without the key's stripe; one more with it.
constexpr int kReadAttemptsMax = 3;

Result<std::optional<ValueHandle>> Gone() {
  return std::optional<ValueHandle>();
}

}  // namespace

/// Where a value was looked for in vain.
struct Store::Tried {
  std::uint64_t version = 0;
  Extents extents;
  [[nodiscard]] bool Is(const Entry& entry) const noexcept {
    return version == entry.version && extents == entry.extents;
  }
};

bool Store::IsCounted(const Entry& entry) const noexcept {
  // Relaxed: a reader that races with a clear or an eviction may see either.
  // Writers, for whom it matters, hold the gate or repeat the check.
  return entry.epoch == epoch_.load(std::memory_order_relaxed) &&
         entry.rank >=
             cutoffs_[RankClass(entry.rank)].load(std::memory_order_relaxed);
}

bool Store::IsServed(const Entry& entry, TimePoint now,
                     const TagCutoffView& tags) const noexcept {
  if (entry.epoch != epoch_.load(std::memory_order_acquire)) return false;
  if (entry.expires_at <= now || tags.Covers(entry)) return false;
  return options_.serve_evicted || IsCounted(entry);
}

void Store::Get(const GetCommand& command, Reply& reply,
                const Caller& caller) noexcept {
  reply.status = ValidateCommand(command);
  if (!reply.status.ok()) return;
  // Acquire pairs with SetHotTier.
  HotFill fill(hot_.load(std::memory_order_acquire), hot_door_, command.key,
               HotValueSizeFor(caller));
  const TimePoint now = clock_.Now();
  const EntryKey key(command.key);
  Tried tried;
  std::optional<StripeLocks> stripe;
  for (int attempt = 0; attempt <= kReadAttemptsMax; ++attempt) {
    if (attempt == kReadAttemptsMax) stripe.emplace(*this).LockOne(command.key);
    auto pin = std::make_unique<EntryPin>();
    const std::uint64_t tag_changes = tag_cutoffs_.changes();
    const rocksdb::Status read =
        rocks_->db().Get(rocksdb::ReadOptions(), rocks_->access(),
                         ToSlice(key.bytes()), &pin->slice);
    if (read.IsNotFound()) {
      fill.Absent();
      break;
    }
    if (!read.ok()) {
      reply.status = FromRocks(read, "reading the index");
      if (reply.status.code() != StatusCode::kCorruption) return;
      NoteDamage(reply.status);
      reply.status = Status::Ok();  // A damaged item is a miss.
      break;
    }
    Entry entry;
    const Status decoded = DecodeEntry(pin->slice.ToStringView(), entry);
    if (!decoded.ok()) {
      NoteDamage(decoded);
      break;
    }
    const TagCutoffView tags = tag_cutoffs_.View();
    if (tag_changes != tag_cutoffs_.changes()) [[unlikely]] {
      --attempt;  // Its tag may have been evicted in between.
      continue;
    }
    if (!command.with_value) {
      reply.applied = IsLive(entry, now, tags);
      if (reply.applied) reply.info = InfoOf(entry);
      return;
    }
    if (!IsServed(entry, now, tags)) {
      fill.Absent();
      break;
    }
    ItemInfo info = InfoOf(entry);
    const Rank rank = entry.rank;
    const SegmentPlace place = PlaceForTier(entry);
    if (attempt == 0) NoteHit(command.key, entry);
    if (LeaveInPlace(command.key, entry, caller, fill, reply)) return;
    Result<std::optional<ValueHandle>> value =
        ReadValue(command.key, entry, pin);
    if (!value) {
      if (value.error().code() != StatusCode::kCorruption) {
        reply.status = value.error();
        return;
      }
      stripe.reset();
      NoteDamage(value.error());
      DropUnreadable(command.key, entry, Unreadable::kDamaged);
      break;
    }
    if (value->has_value()) {
      accesses_.Add(/*is_hit=*/true);
      reply.applied = true;
      reply.value = std::move(**value);
      reply.info = std::move(info);
      if (place.segment != 0) {
        fill.Placed(rank, reply.info, place);
      } else {
        fill.Present(rank, reply.info, reply.value.bytes());
      }
      return;
    }
    // The same place without the value twice: it was not moved but freed.
    if (stripe || tried.Is(entry)) {
      stripe.reset();
      DropUnreadable(command.key, entry, Unreadable::kGone);
      break;
    }
    tried = {entry.version, entry.extents};
    TestPoint("get.moved");
  }
  if (command.with_value) accesses_.Add(/*is_hit=*/false);
}

std::size_t Store::HotValueSizeFor(const Caller& caller) noexcept {
  // Larger values of the process itself are mapped from their segment, which
  // costs it less than a copy out of the hot tier.
  constexpr std::size_t kOwnMax = 4096;
  return caller.session != nullptr ? kHotValueSizeMax : kOwnMax;
}

bool Store::LeaveInPlace(std::string_view key, const Entry& entry,
                         const Caller& caller, HotFill& fill,
                         Reply& reply) noexcept {
  if (caller.placed == nullptr || !caller.placed->wanted ||
      entry.kind != EntryKind::kSegments ||
      entry.value_size < kPlacedValueSizeMin ||
      entry.value_size > kValueInMemoryBytesMax) {
    return false;
  }
  ItemInfo info = InfoOf(entry);
  const SegmentPlace place = PlaceForTier(entry);
  if (place.segment != 0) fill.Placed(entry.rank, info, place);
  // A copy for the tier is made now and then: what is read often gets in, and
  // a scan of what does not fit costs little.
  constexpr std::uint64_t kReadsPerFill = 8;
  thread_local std::uint64_t reads = 0;
  if (place.segment == 0 && fill.Wants(entry.value_size) &&
      ++reads % kReadsPerFill == 0) {
    const auto value = ReadSegments(key, entry);
    if (!value || !value->has_value()) return false;  // Moved or damaged.
    fill.Present(entry.rank, info, (*value)->bytes());
  }
  caller.placed->found.push_back(
      {.value_size = entry.value_size,
       .version = entry.version,
       .chunks = {entry.extents.begin(), entry.extents.end()}});
  accesses_.Add(/*is_hit=*/true);
  reply.applied = true;
  reply.info = std::move(info);
  return true;
}

/// Several keys that are read as of one moment.
struct Store::MultiRead {
  struct Lost {
    std::size_t index = 0;
    Tried where;
    Unreadable why = Unreadable::kDamaged;
  };
  std::span<const Command> commands;
  std::span<Reply> replies;
  std::size_t hot_value_size_max = 0;
  std::vector<std::string> keys = {};  ///< As in `access`.
  std::vector<rocksdb::Slice> key_slices = {};
  /// Of each value that was not there at the last attempt.
  std::vector<Tried> tried = {};
  std::vector<Lost> lost = {};
  bool stripes_held = false;
  TagCutoffView tags = {};  ///< Of the moment in which the index was read.
};

void Store::AddWanted(std::size_t key_size, const Entry& entry,
                      std::vector<WantedRecord>& wanted) {
  if (entry.kind != EntryKind::kSegments ||
      entry.value_size > kValueInMemoryBytesMax) {
    return;
  }
  for (const SegmentPlace& place : entry.extents) {
    wanted.push_back({place, key_size});
  }
}

void Store::ReadAhead(const MultiRead& read, std::size_t first,
                      std::span<const rocksdb::PinnableSlice> entries,
                      ReadAheadPace& pace) noexcept {
  const TimePoint now = clock_.Now();
  std::vector<WantedRecord> wanted;
  std::uint64_t bytes = 0;
  std::size_t i = first;
  for (; i < entries.size() && i - first < ReadAheadPace::kItemsMax &&
         bytes < ReadAheadPace::kBytesMax;
       ++i) {
    const auto& command = std::get<GetCommand>(read.commands[i]);
    Entry entry;
    if (!command.with_value ||
        !DecodeEntry(entries[i].ToStringView(), entry).ok() ||
        !IsServed(entry, now, read.tags)) {
      continue;
    }
    AddWanted(command.key.size(), entry, wanted);
    bytes += entry.value_size;
  }
  pace.Asked(i - first, log_->ReadAhead(wanted));
}

void Store::MultiGet(std::span<const Command> commands,
                     std::span<Reply> replies, const Caller& caller) noexcept {
  // One MultiGet of the index sees one state of it; a value belongs to its
  // version for ever. So the answer is one state of the cache. If a value has
  // left its place meanwhile, all keys are looked up again: what its key has
  // now may have come together with what others have now.
  MultiRead read{.commands = commands,
                 .replies = replies,
                 .hot_value_size_max = HotValueSizeFor(caller)};
  read.tried.resize(commands.size());
  for (const Command& command : commands) {
    read.keys.emplace_back(1, kEntrySpace).append(KeyOf(command));
  }
  read.key_slices.assign(read.keys.begin(), read.keys.end());
  bool done = false;
  for (int i = 0; !done && i < kReadAttemptsMax; ++i) done = TryMultiGet(read);
  if (!done) {  // Whoever moves or overwrites them waits.
    StripeLocks locks(*this);
    for (const Command& command : commands) locks.Add(KeyOf(command));
    locks.LockAdded();
    read.stripes_held = true;
    LARDER_CHECK(TryMultiGet(read));
  }
  for (std::size_t i = 0; i < commands.size(); ++i) {
    if (!std::get<GetCommand>(commands[i]).with_value) continue;
    accesses_.Add(replies[i].applied);
  }
  for (const MultiRead::Lost& item : read.lost) {
    Entry entry;
    entry.version = item.where.version;
    entry.extents = item.where.extents;
    DropUnreadable(KeyOf(commands[item.index]), entry, item.why);
  }
}

bool Store::TryMultiGet(MultiRead& read) noexcept {
  const TimePoint now = clock_.Now();
  const std::size_t count = read.commands.size();
  std::vector<rocksdb::PinnableSlice> slices(count);
  std::vector<rocksdb::Status> statuses(count);
  std::vector<HotFill> fills;
  HotWriter* const hot = hot_.load(std::memory_order_acquire);
  if (hot != nullptr) {
    fills.reserve(count);
    for (const std::string& key : read.keys) {
      fills.emplace_back(hot, hot_door_, std::string_view(key).substr(1),
                         read.hot_value_size_max);
    }
  }
  for (bool is_one_moment = false; !is_one_moment;) {
    for (rocksdb::PinnableSlice& slice : slices) slice.Reset();
    const std::uint64_t tag_changes = tag_cutoffs_.changes();
    rocks_->db().MultiGet(rocksdb::ReadOptions(), rocks_->access(), count,
                          read.key_slices.data(), slices.data(),
                          statuses.data());
    read.tags = tag_cutoffs_.View();
    is_one_moment = tag_changes == tag_cutoffs_.changes();
  }
  TestPoint("store.multiget");
  read.lost.clear();
  ReplyOffer offer(read.replies);
  bool again = false;
  // The last batch of the thread was: then this one's first value is not waited
  // for, either.
  thread_local bool is_cold = false;
  ReadAheadPace pace(is_cold);
  for (std::size_t i = 0; i < count; ++i) {
    const auto& command = std::get<GetCommand>(read.commands[i]);
    Reply& reply = offer[i];
    if (pace.IsDue()) ReadAhead(read, i, slices, pace);
    if (statuses[i].IsNotFound()) {
      if (hot != nullptr) fills[i].Absent();
      continue;
    }
    auto pin = std::make_unique<EntryPin>();
    pin->slice = std::move(slices[i]);
    Entry entry;
    Status status = FromRocks(statuses[i], "reading the index");
    if (status.ok()) status = DecodeEntry(pin->slice.ToStringView(), entry);
    if (!status.ok()) {
      if (status.code() == StatusCode::kCorruption) {
        NoteDamage(status);
      } else {
        reply.status = std::move(status);
      }
      continue;
    }
    if (!command.with_value) {
      reply.applied = IsLive(entry, now, read.tags);
      if (reply.applied) reply.info = InfoOf(entry);
      continue;
    }
    if (!IsServed(entry, now, read.tags)) continue;
    ItemInfo info = InfoOf(entry);
    const Rank rank = entry.rank;
    const SegmentPlace place = PlaceForTier(entry);
    Result<std::optional<ValueHandle>> value =
        ReadValue(command.key, entry, pin);
    if (value && !value->has_value()) {
      // The same place without the value twice: it was not moved but freed.
      const bool freed = read.stripes_held || read.tried[i].Is(entry);
      read.tried[i] = {entry.version, entry.extents};
      if (freed) read.lost.push_back({i, read.tried[i], Unreadable::kGone});
      again |= !freed;
      continue;
    }
    if (!value && value.error().code() == StatusCode::kCorruption) {
      NoteDamage(value.error());
      read.lost.push_back(
          {.index = i, .where = {entry.version, entry.extents}});
      continue;
    }
    if (!value) {
      reply.status = std::move(value.error());
      continue;
    }
    NoteHit(command.key, entry);
    reply.applied = true;
    reply.value = std::move(**value);
    reply.info = std::move(info);
    if (hot == nullptr) continue;
    if (place.segment != 0) {
      fills[i].Placed(rank, reply.info, place);
    } else {
      fills[i].Present(rank, reply.info, reply.value.bytes());
    }
  }
  is_cold = pace.is_cold();
  if (again) return false;
  offer.Accept();
  return true;
}

Result<std::optional<ValueHandle>> Store::ReadValue(
    std::string_view key, const Entry& entry,
    std::unique_ptr<EntryPin>& pin) noexcept {
  switch (entry.kind) {
    case EntryKind::kRun:
      return ReadRunValue(key, entry);
    case EntryKind::kSegments:
      return ReadSegments(key, entry);
    case EntryKind::kInline:
      break;
  }
  const std::string_view value = entry.inline_value;
  if (XXH3_64bits(value.data(), value.size()) != entry.checksum) {
    return Fail(Status::Corruption("inline value: checksum mismatch"));
  }
  return std::optional<ValueHandle>(std::in_place, value,
                                    std::unique_ptr<ValuePin>(std::move(pin)));
}

Result<std::optional<ValueHandle>> Store::ReadRunValue(
    std::string_view key, const Entry& entry) noexcept {
  auto pin = std::make_unique<EntryPin>();
  const PositionKey position(entry.version);
  const rocksdb::Status read = rocks_->db().Get(
      rocksdb::ReadOptions(), rocks_->values(), position.slice(), &pin->slice);
  if (read.IsNotFound()) return Gone();
  if (!read.ok()) return Fail(FromRocks(read, "reading a value"));
  Result<ValueRecord> record =
      DecodeValueRecord(pin->slice.ToStringView(), entry.version);
  if (!record) return Fail(record.error());
  if (record->key != key || record->value.size() != entry.value_size) {
    return Fail(Status::Corruption("value record: belongs to another item"));
  }
  return std::optional<ValueHandle>(std::in_place, record->value,
                                    std::move(pin));
}

Result<ValueHandle> Store::ReadPlaced(std::string_view key,
                                      std::uint64_t version,
                                      const SegmentPlace& place) noexcept {
  const auto gate = store_gate_.Enter();
  LARDER_FAIL_IF_ERROR(CheckOpen());
  return log_->Read(place, key, version, settings_.verify_reads());
}

std::size_t Store::ReadAheadPlaced(std::span<WantedRecord> wanted) noexcept {
  const auto gate = store_gate_.Enter();
  return CheckOpen().ok() ? log_->ReadAhead(wanted) : 0;
}

Result<std::optional<ValueHandle>> Store::ReadSegments(
    std::string_view key, const Entry& entry) noexcept {
  const VerifyReads verify = settings_.verify_reads();
  if (entry.extents.size() == 1) {
    Result<ValueHandle> value =
        log_->Read(entry.extents.front(), key, entry.version, verify);
    if (value) return std::optional<ValueHandle>(std::move(*value));
    if (value.error().code() == StatusCode::kNotFound) return Gone();
    return Fail(value.error());
  }
  if (entry.value_size > kValueInMemoryBytesMax) {
    return Fail(Status::TooLarge(
        "value of " + std::to_string(entry.value_size) +
        " bytes: read it with OpenReader, which needs little memory"));
  }
  std::string bytes;
  bytes.reserve(entry.value_size);
  for (const SegmentPlace& place : entry.extents) {
    Result<ValueHandle> piece = log_->Read(place, key, entry.version, verify);
    if (!piece) {
      if (piece.error().code() == StatusCode::kNotFound) return Gone();
      return Fail(piece.error());
    }
    bytes.append(piece->bytes());
  }
  return std::optional<ValueHandle>(ValueHandle::FromString(std::move(bytes)));
}

void Store::DropUnreadable(std::string_view key, const Entry& read,
                           Unreadable why) noexcept {
  if (read_only_ || faults_.any()) return;
  const std::string keys[] = {std::string(key)};
  std::uint64_t count = 0;
  // The read was answered; a failure here shows at the next write. What has
  // been moved or written since is another matter.
  DeleteKeys(
      keys,
      why == Unreadable::kGone ? std::optional(Total::kCorruptions)
                               : std::nullopt,
      [&read](std::string_view, const Entry& entry) {
        return entry.version == read.version && entry.extents == read.extents;
      },
      count)
      .IgnoreError();
  // An evicted item loses its bytes some time, and counts no more.
  if (why == Unreadable::kGone && count != 0) {
    Log("dropping version " + std::to_string(read.version) +
        " of an item, whose value is gone" + NamePlaces(read));
  }
}

std::string Store::NamePlaces(const Entry& entry) {
  std::string places;
  for (const SegmentPlace& place : entry.extents) {
    places += places.empty() ? " from " : ", ";
    places += "segment " + std::to_string(place.segment) + " at " +
              std::to_string(place.offset);
  }
  return places;
}

void Store::NoteDamage(const Status& what) noexcept {
  corruptions_unsaved_.fetch_add(1, std::memory_order_relaxed);
  Log("a damaged item: " + what.message());
}

void Store::NoteHit(std::string_view key, const Entry& entry) noexcept {
  // Relaxed: a figure that the next hit may see.
  if (policy_tracks_hits_.load(std::memory_order_relaxed)) {
    touches_.Add(key, entry.version);
  }
}

}  // namespace larder
