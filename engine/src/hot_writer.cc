// The one writer of the hot tier.
//
// A change of an entry goes: sequence odd; everything else; sequence even. The
// new value is always written into a block that no visible entry points to, so
// the odd time is a few words long, unless a Begin holds it open on purpose.
// A block that an entry pointed to may be reused at once: a reader that copies
// from it finds the entry's sequence changed afterwards (see hot_layout.h).

#include "hot_writer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <unordered_map>
#include <utility>

#include "check.h"

namespace larder {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kBucketSize = kHotBucketEntries * sizeof(HotEntry);

constexpr std::uint64_t AlignUp(std::uint64_t value, std::uint64_t to) {
  return (value + to - 1) / to * to;
}

struct Geometry {
  std::uint64_t bucket_count = 0;
  std::uint64_t entries_offset = 0;
  std::uint64_t blocks_offset = 0;
  std::uint64_t extent_count = 0;
  std::uint64_t hot_size = 0;
  std::uint64_t touch_size = 0;
};

// An eighth for the index: about one entry for 200 bytes of values.
Geometry GeometryOf(std::uint64_t size) {
  Geometry g;
  g.bucket_count = std::bit_floor(size / 8 / kBucketSize);
  g.entries_offset = AlignUp(sizeof(HotHeader), kPage);
  g.blocks_offset =
      AlignUp(g.entries_offset + g.bucket_count * kBucketSize, kPage);
  g.extent_count = (size - g.blocks_offset) / kHotExtentSize;
  g.hot_size = g.blocks_offset + g.extent_count * kHotExtentSize;
  g.touch_size = AlignUp(
      sizeof(HotTouchHeader) + g.bucket_count * kHotBucketEntries, kPage);
  return g;
}

bool FitsTier(const HotKey& key, const HotItem& item) noexcept {
  return key.bytes.size() <= kHotKeySizeMax &&
         item.value.size() <= kHotValueSizeMax &&
         item.tag.size() <= kHotTagSizeMax;
}

}  // namespace

std::uint64_t HotWriter::FittingSize(const std::filesystem::path& directory,
                                     std::uint64_t wanted) noexcept {
  const std::uint64_t size = std::min(wanted, FreeSpaceBytes(directory) / 4);
  return size < kHotTierSizeMin ? 0 : size;
}

Result<std::unique_ptr<HotWriter>> HotWriter::Open(
    const Options& options) noexcept {
  if (options.size_bytes < kHotTierSizeMin) {
    return Fail(Status::InvalidArgument(
        "a hot tier of " + std::to_string(options.size_bytes) +
        " bytes is too small: at least " + std::to_string(kHotTierSizeMin)));
  }
  const Geometry g = GeometryOf(options.size_bytes);
  auto hot = SharedRegion::Open(options.hot, SharedRegion::Access::kReadWrite);
  auto touch =
      SharedRegion::Open(options.touch, SharedRegion::Access::kReadWrite);
  if (!hot || !touch) return Create(options);
  const HotRegions regions(**hot, **touch);
  if (!regions.Valid() || (*hot)->size() != g.hot_size ||
      (*touch)->size() != g.touch_size ||
      regions.header->bucket_count != g.bucket_count ||
      regions.header->blocks_offset != g.blocks_offset) {
    // Of another size: readers of that one must not find anything any more.
    if (regions.Valid()) regions.header->generation.fetch_add(1);
    return Create(options);
  }
  std::unique_ptr<HotWriter> writer(
      new HotWriter(options, std::move(*hot), std::move(*touch)));
  writer->TakeOver();
  return writer;
}

Result<std::unique_ptr<HotWriter>> HotWriter::Create(
    const Options& options) noexcept {
  const Geometry g = GeometryOf(options.size_bytes);
  auto hot = SharedRegion::Create(options.hot, g.hot_size, g.blocks_offset);
  if (!hot) return Fail(std::move(hot.error()));
  auto touch = SharedRegion::Create(options.touch, g.touch_size, g.touch_size);
  if (!touch) {
    SharedRegion::Unlink(options.hot);
    return Fail(std::move(touch.error()));
  }
  auto* header = (*hot)->At<HotHeader>(0);
  header->bucket_count = g.bucket_count;
  header->entries_offset = g.entries_offset;
  header->blocks_offset = g.blocks_offset;
  header->extent_count = g.extent_count;
  header->layout_version = kHotLayoutVersion;
  // Entries of zeros are of generation 0: not there.
  header->generation.store(1, std::memory_order_release);
  return std::unique_ptr<HotWriter>(
      new HotWriter(options, std::move(*hot), std::move(*touch)));
}

HotWriter::HotWriter(const Options& options, std::unique_ptr<SharedRegion> hot,
                     std::unique_ptr<SharedRegion> touch) noexcept
    : options_(options),
      hot_(std::move(hot)),
      touch_(std::move(touch)),
      regions_(*hot_, *touch_),
      arena_(regions_.header->extent_count, ArenaCallbacks()),
      recent_(regions_.entry_count(), 0) {
  for (std::size_t i = 0; i < kHotStripes; ++i) {
    ring_seen_[i] =
        regions_.touch->stripes[i].hits.load(std::memory_order_relaxed);
  }
}

HotArena::Callbacks HotWriter::ArenaCallbacks() {
  return {
      .allocate =
          [this](std::uint64_t extents) {
            return hot_
                ->Allocate(regions_.header->blocks_offset +
                           extents * kHotExtentSize)
                .ok();
          },
      .size =
          [this](std::uint32_t entry, std::uint32_t block) {
            return PlaceOf(entry).block == block ? BlockSizeOf(entry) : 0;
          },
      .keep =
          [this](std::uint32_t entry) {
            return !IsOdd(entry) && IsRecent(entry);
          },
      .move = [this](std::uint32_t entry,
                     std::uint32_t to) { MoveBlock(entry, to); },
      .evict =
          [this](std::uint32_t entry) {
            // An entry between Begin and its end stays odd, but empty.
            const bool was_odd = IsOdd(entry);
            MakeOdd(entry);
            Release(entry);
            if (!was_odd) MakeEven(entry, 0);
          },
  };
}

void HotWriter::TakeOver() noexcept {
  const std::lock_guard lock(mutex_);
  HotHeader& header = *regions_.header;
  if (header.batch_sequence.load(std::memory_order_relaxed) % 2 != 0) {
    header.batch_sequence.fetch_add(1);
  }
  if (header.closed_cleanly.exchange(0) == 1) {
    RebuildArena();
  } else {
    Reset();
  }
}

// A clean handoff: what the entries say is true.
void HotWriter::RebuildArena() {
  for (std::uint64_t i = 0; i < regions_.entry_count(); ++i) {
    const HotPlace place = PlaceOf(i);
    if (!IsOurs(place) || place.kind != HotKind::kPresent) continue;
    const std::uint64_t offset = std::uint64_t{place.block} * 8;
    const std::uint64_t size = BlockSizeOf(i);
    if (IsOdd(i) || offset > regions_.blocks_size ||
        size > regions_.blocks_size - offset) {
      MakeOdd(i);
      SetEmpty(i);
      MakeEven(i, 0);
      continue;
    }
    arena_.Adopt(place.block, size, static_cast<std::uint32_t>(i));
    ++items_;
  }
  arena_.FinishAdoption();
}

// After a crash: nothing that is there exists any more. Readers that are in
// the middle of a block notice by the generation.
void HotWriter::Reset() noexcept {
  const std::uint64_t generation = regions_.header->generation.fetch_add(1) + 1;
  if (static_cast<std::uint16_t>(generation) != 0) return;
  // The entries know 16 bits of it only: before those repeat, wipe them.
  for (std::uint64_t i = 0; i < regions_.entry_count(); ++i) {
    MakeOdd(i);
    regions_.entries[i].words[1].store(0, std::memory_order_release);
    MakeEven(i, 0);
  }
  regions_.header->generation.fetch_add(1);
}

void HotWriter::CloseCleanly() noexcept {
  const std::lock_guard lock(mutex_);
  regions_.header->closed_cleanly.store(1, std::memory_order_release);
}

// Entries ---------------------------------------------------------------------

HotPlace HotWriter::PlaceOf(std::uint64_t entry) const noexcept {
  return HotPlace::FromWord(
      regions_.entries[entry].words[1].load(std::memory_order_relaxed));
}

bool HotWriter::IsOdd(std::uint64_t entry) const noexcept {
  return regions_.entries[entry].words[0].load(std::memory_order_relaxed) % 2 !=
         0;
}

bool HotWriter::IsOurs(const HotPlace& place) const noexcept {
  return place.generation ==
         static_cast<std::uint16_t>(
             regions_.header->generation.load(std::memory_order_relaxed));
}

// 0 if the entry has no block.
std::uint64_t HotWriter::BlockSizeOf(std::uint64_t entry) const noexcept {
  const HotPlace place = PlaceOf(entry);
  if (!IsOurs(place) || place.kind != HotKind::kPresent) return 0;
  const std::uint64_t sizes =
      regions_.entries[entry].words[2].load(std::memory_order_relaxed);
  return HotBlockLayout(place.key_size, sizes >> 32,
                        static_cast<std::uint32_t>(sizes))
      .size;
}

bool HotWriter::Holds(std::uint64_t entry, const HotKey& key) const noexcept {
  const HotPlace place = PlaceOf(entry);
  if (!IsOurs(place)) return false;
  if (place.kind == HotKind::kAbsent) {
    return regions_.entries[entry].words[2].load(std::memory_order_relaxed) ==
           key.hash.high64;
  }
  return place.kind == HotKind::kPresent &&
         place.key_size == key.bytes.size() &&
         EqualsShared(key.bytes, regions_.blocks +
                                     std::uint64_t{place.block} * 8 +
                                     sizeof(HotBlock));
}

// The entry of the key, or -1.
std::int64_t HotWriter::Find(const HotKey& key) const noexcept {
  if (key.bytes.size() > kHotKeySizeMax) return -1;
  const std::uint64_t bucket = regions_.BucketOf(key);
  for (std::uint64_t i = bucket; i < bucket + kHotBucketEntries; ++i) {
    const std::uint64_t word =
        regions_.entries[i].words[0].load(std::memory_order_relaxed);
    if (static_cast<std::uint32_t>(word >> 32) == key.tag() && Holds(i, key)) {
      return static_cast<std::int64_t>(i);
    }
  }
  return -1;
}

// An entry of the key's bucket that may be taken for it, made odd and empty;
// -1 if all are being changed.
std::int64_t HotWriter::TakeVictim(const HotKey& key) noexcept {
  const std::uint64_t bucket = regions_.BucketOf(key);
  std::int64_t best = -1;
  int best_worth = 4;
  for (std::uint64_t n = 0; n < kHotBucketEntries; ++n) {
    const std::uint64_t i = bucket + (victim_cursor_ + n) % kHotBucketEntries;
    const HotPlace place = PlaceOf(i);
    const bool ours = IsOurs(place);
    // An odd entry of another generation was left by a holder that died.
    if (ours && IsOdd(i)) continue;
    int worth = 0;
    if (ours && place.kind != HotKind::kEmpty) {
      worth = place.kind == HotKind::kAbsent ? 1 : 2;
      if (IsRecent(i)) worth = 3;
    }
    if (worth < best_worth) {
      best = static_cast<std::int64_t>(i);
      best_worth = worth;
    }
  }
  ++victim_cursor_;
  if (best < 0) return -1;
  MakeOdd(static_cast<std::uint64_t>(best));
  Release(static_cast<std::uint64_t>(best));
  return best;
}

void HotWriter::MakeOdd(std::uint64_t entry) noexcept {
  auto& word = regions_.entries[entry].words[0];
  // Relaxed: every store after it is a release.
  word.store(word.load(std::memory_order_relaxed) | 1,
             std::memory_order_relaxed);
}

void HotWriter::MakeEven(std::uint64_t entry, std::uint32_t tag) noexcept {
  auto& word = regions_.entries[entry].words[0];
  const std::uint64_t odd = word.load(std::memory_order_relaxed);
  LARDER_ASSERT(odd % 2 != 0);
  const auto sequence = static_cast<std::uint32_t>(odd + 1);
  // Release pairs with the readers' first look.
  word.store(std::uint64_t{tag} << 32 | sequence, std::memory_order_release);
}

void HotWriter::SetEmpty(std::uint64_t entry) noexcept {
  regions_.entries[entry].words[1].store(0, std::memory_order_release);
}

// Takes the block, if any, from an odd entry, which is empty then. It keeps
// the generation, so that TakeVictim knows it as one of ours.
void HotWriter::Release(std::uint64_t entry) noexcept {
  LARDER_ASSERT(IsOdd(entry));
  const HotPlace place = PlaceOf(entry);
  const std::uint64_t size = BlockSizeOf(entry);
  HotPlace empty;
  empty.generation = static_cast<std::uint16_t>(
      regions_.header->generation.load(std::memory_order_relaxed));
  regions_.entries[entry].words[1].store(empty.ToWord(),
                                         std::memory_order_release);
  if (size == 0) return;
  arena_.Free(place.block, size);
  --items_;
}

// Fills an odd entry that is empty or has the key's old value.
void HotWriter::Put(std::uint64_t entry, const HotKey& key,
                    const HotItem& item) noexcept {
  const HotBlockLayout layout(key.bytes.size(), item.value.size(),
                              item.tag.size());
  const auto block =
      arena_.Allocate(layout.size, static_cast<std::uint32_t>(entry));
  Release(entry);
  if (!block) {
    MakeEven(entry, 0);
    return;
  }
  HotBlock about;
  about.version = item.version;
  about.stored_at_us = item.stored_at.time_since_epoch().count();
  about.rank = item.rank;
  about.clear_epoch = static_cast<std::uint32_t>(
      regions_.header->clear_epoch.load(std::memory_order_relaxed));
  about.tag_slot = HotTagSlot(item.tag);
  about.tag_epoch = regions_.header->tag_epochs[about.tag_slot].load(
      std::memory_order_relaxed);
  about.frequency =
      static_cast<std::uint16_t>(std::min(item.frequency, 0xFFFFU));
  about.codec = item.codec;
  about.pinned = item.pinned ? 1 : 0;
  char* const at = regions_.blocks + std::uint64_t{*block} * 8;
  StoreShared(at, &about, sizeof(about));
  StoreShared(at + sizeof(about), key.bytes.data(), key.bytes.size());
  StoreShared(at + layout.value_offset, item.value.data(), item.value.size());
  StoreShared(at + layout.tag_offset, item.tag.data(), item.tag.size());

  HotEntry& e = regions_.entries[entry];
  const HotPlace place{
      .block = *block,
      .generation = static_cast<std::uint16_t>(
          regions_.header->generation.load(std::memory_order_relaxed)),
      .kind = HotKind::kPresent,
      .key_size = static_cast<std::uint16_t>(key.bytes.size())};
  e.words[1].store(place.ToWord(), std::memory_order_release);
  e.words[2].store(std::uint64_t{item.value.size()} << 32 | item.tag.size(),
                   std::memory_order_release);
  e.words[3].store(
      static_cast<std::uint64_t>(item.expires_at.time_since_epoch().count()),
      std::memory_order_release);
  ++items_;
  MakeEven(entry, key.tag());
}

void HotWriter::PutAbsent(std::uint64_t entry, const HotKey& key) noexcept {
  Release(entry);
  HotEntry& e = regions_.entries[entry];
  HotPlace place = PlaceOf(entry);
  place.kind = HotKind::kAbsent;
  e.words[1].store(place.ToWord(), std::memory_order_release);
  e.words[2].store(key.hash.high64, std::memory_order_release);
  MakeEven(entry, key.tag());
}

void HotWriter::MoveBlock(std::uint32_t entry, std::uint32_t to) noexcept {
  HotEntry& e = regions_.entries[entry];
  HotPlace place = PlaceOf(entry);
  const std::uint64_t size = BlockSizeOf(entry);
  char* const from_at = regions_.blocks + std::uint64_t{place.block} * 8;
  char* const to_at = regions_.blocks + std::uint64_t{to} * 8;
  // Nobody but us writes blocks, so reading this one needs no care.
  StoreShared(to_at, from_at, size);
  const auto tag = static_cast<std::uint32_t>(
      e.words[0].load(std::memory_order_relaxed) >> 32);
  MakeOdd(entry);
  const std::uint32_t old = std::exchange(place.block, to);
  e.words[1].store(place.ToWord(), std::memory_order_release);
  MakeEven(entry, tag);
  arena_.Free(old, size);
}

// Read since the last look; a second chance is used up by that.
bool HotWriter::IsRecent(std::uint64_t entry) noexcept {
  return regions_.touched[entry].load(std::memory_order_relaxed) != 0 ||
         std::exchange(recent_[entry], std::uint8_t{0}) != 0;
}

// Changes
// ----------------------------------------------------------------------

HotWriter::Ticket HotWriter::Begin(const HotKey& key) noexcept {
  const std::lock_guard lock(mutex_);
  KeyStripe& stripe = stripes_[StripeOf(key)];
  ++stripe.pending;
  stripe.version.fetch_add(1, std::memory_order_release);
  Ticket ticket;
  ticket.barrier = barrier_.load(std::memory_order_relaxed);
  if (const std::int64_t entry = Find(key); entry >= 0) {
    ticket.entry = static_cast<std::uint32_t>(entry);
    ticket.has_entry = true;
    LARDER_ASSERT(!IsOdd(ticket.entry));
    MakeOdd(ticket.entry);
  }
  return ticket;
}

void HotWriter::EndChange(const HotKey& key) noexcept {
  KeyStripe& stripe = stripes_[StripeOf(key)];
  LARDER_ASSERT(stripe.pending > 0);
  --stripe.pending;
  stripe.version.fetch_add(1, std::memory_order_release);
}

bool HotWriter::IsCurrent(std::uint64_t barrier) const noexcept {
  return barrier % 2 == 0 &&
         barrier == barrier_.load(std::memory_order_relaxed);
}

void HotWriter::Publish(const Ticket& ticket, const HotKey& key,
                        const HotItem& item) noexcept {
  const std::lock_guard lock(mutex_);
  const bool fits = FitsTier(key, item) && IsCurrent(ticket.barrier) &&
                    item.rank >= regions_.header->cutoffs[RankClass(item.rank)];
  const bool replaces =
      ticket.has_entry && PlaceOf(ticket.entry).kind == HotKind::kPresent;
  const bool admit =
      fits && (replaces || item.value.size() <= options_.admit_on_write_max);
  if (ticket.has_entry && !admit) {
    Release(ticket.entry);
    MakeEven(ticket.entry, 0);
  } else if (admit) {
    const std::int64_t entry =
        ticket.has_entry ? std::int64_t{ticket.entry} : TakeVictim(key);
    if (entry >= 0) Put(static_cast<std::uint64_t>(entry), key, item);
  }
  EndChange(key);
}

void HotWriter::PublishAbsent(const Ticket& ticket,
                              const HotKey& key) noexcept {
  const std::lock_guard lock(mutex_);
  const bool fits = key.bytes.size() <= kHotKeySizeMax;
  if (ticket.has_entry && !IsCurrent(ticket.barrier)) {
    Release(ticket.entry);
    MakeEven(ticket.entry, 0);
  } else if (fits && IsCurrent(ticket.barrier)) {
    const std::int64_t entry =
        ticket.has_entry ? std::int64_t{ticket.entry} : TakeVictim(key);
    if (entry >= 0) PutAbsent(static_cast<std::uint64_t>(entry), key);
  }
  EndChange(key);
}

void HotWriter::Drop(const Ticket& ticket, const HotKey& key) noexcept {
  const std::lock_guard lock(mutex_);
  if (ticket.has_entry) {
    Release(ticket.entry);
    MakeEven(ticket.entry, 0);
  }
  EndChange(key);
}

void HotWriter::BeginBatch() noexcept {
  const std::lock_guard lock(mutex_);
  if (batches_++ == 0) regions_.header->batch_sequence.fetch_add(1);
}

void HotWriter::EndBatch() noexcept {
  const std::lock_guard lock(mutex_);
  LARDER_ASSERT(batches_ > 0);
  if (--batches_ == 0) regions_.header->batch_sequence.fetch_add(1);
}

// Fills
// --------------------------------------------------------------------------

HotWriter::FillToken HotWriter::BeginFill(const HotKey& key) const noexcept {
  // Acquire: the store is read after this.
  return {.version =
              stripes_[StripeOf(key)].version.load(std::memory_order_acquire),
          .barrier = barrier_.load(std::memory_order_acquire)};
}

bool HotWriter::MayFill(const FillToken& token,
                        const HotKey& key) const noexcept {
  const KeyStripe& stripe = stripes_[StripeOf(key)];
  return stripe.pending == 0 &&
         stripe.version.load(std::memory_order_relaxed) == token.version &&
         IsCurrent(token.barrier) && key.bytes.size() <= kHotKeySizeMax;
}

void HotWriter::Fill(const FillToken& token, const HotKey& key,
                     const HotItem& item) noexcept {
  const std::lock_guard lock(mutex_);
  if (!MayFill(token, key) || !FitsTier(key, item) ||
      item.rank < regions_.header->cutoffs[RankClass(item.rank)]) {
    return;
  }
  std::int64_t entry = Find(key);
  if (entry >= 0) {
    MakeOdd(static_cast<std::uint64_t>(entry));
  } else {
    entry = TakeVictim(key);
  }
  if (entry >= 0) Put(static_cast<std::uint64_t>(entry), key, item);
}

void HotWriter::FillAbsent(const FillToken& token, const HotKey& key) noexcept {
  const std::lock_guard lock(mutex_);
  if (!MayFill(token, key)) return;
  std::int64_t entry = Find(key);
  if (entry >= 0) {
    MakeOdd(static_cast<std::uint64_t>(entry));
  } else {
    entry = TakeVictim(key);
  }
  if (entry >= 0) PutAbsent(static_cast<std::uint64_t>(entry), key);
}

// Invalidation
// -------------------------------------------------------------------

void HotWriter::BeginInvalidation() noexcept {
  const std::uint64_t old = barrier_.load(std::memory_order_relaxed);
  barrier_.store(old + (invalidations_++ == 0 ? 1 : 2),
                 std::memory_order_release);
}

void HotWriter::BeginClear() noexcept {
  const std::lock_guard lock(mutex_);
  BeginInvalidation();
  regions_.header->clear_epoch.fetch_add(1);
}

void HotWriter::BeginEvictTag(std::string_view tag) noexcept {
  const std::lock_guard lock(mutex_);
  BeginInvalidation();
  regions_.header->tag_epochs[HotTagSlot(tag)].fetch_add(1);
}

void HotWriter::EndInvalidation() noexcept {
  const std::lock_guard lock(mutex_);
  LARDER_ASSERT(invalidations_ > 0);
  barrier_.fetch_add(--invalidations_ == 0 ? 1 : 2, std::memory_order_release);
}

void HotWriter::SetCutoff(std::uint8_t rank_class, Rank cutoff) noexcept {
  regions_.header->cutoffs[rank_class].store(cutoff, std::memory_order_release);
}

// Readers
// ------------------------------------------------------------------------

std::vector<HotTouched> HotWriter::TakeTouched(std::size_t count_max) noexcept {
  const std::lock_guard lock(mutex_);
  std::unordered_map<std::uint32_t, std::uint32_t> hits;
  for (std::size_t s = 0; s < kHotStripes; ++s) {
    HotStripe& stripe = regions_.touch->stripes[s];
    const std::uint64_t end = stripe.hits.load(std::memory_order_relaxed);
    const std::uint64_t count =
        std::min<std::uint64_t>(end - ring_seen_[s], kHotRingSize);
    for (std::uint64_t i = end - count; i != end; ++i) {
      const std::uint64_t hit =
          stripe.ring[i % kHotRingSize].load(std::memory_order_relaxed);
      ++hits[static_cast<std::uint32_t>(hit >> 32)];
    }
    ring_seen_[s] = end;
  }
  std::vector<HotTouched> items;
  const std::uint64_t entries = regions_.entry_count();
  auto* const words =
      reinterpret_cast<std::atomic<std::uint64_t>*>(regions_.touched);
  for (std::uint64_t n = 0; n < entries && items.size() < count_max; n += 8) {
    const std::uint64_t at = touched_cursor_;
    touched_cursor_ = (touched_cursor_ + 8) % entries;
    if (words[at / 8].load(std::memory_order_relaxed) == 0) continue;
    for (std::uint64_t i = at; i < at + 8; ++i) {
      if (regions_.touched[i].exchange(0, std::memory_order_relaxed) == 0) {
        continue;
      }
      recent_[i] = 1;
      const HotPlace place = PlaceOf(i);
      if (!IsOurs(place) || place.kind != HotKind::kPresent) continue;
      char* const block = regions_.blocks + std::uint64_t{place.block} * 8;
      HotBlock about;
      LoadShared(&about, block, sizeof(about));
      HotTouched item;
      item.key.assign(block + sizeof(about), place.key_size);
      item.key_hash = HotKey(item.key).hash.low64;
      item.version = about.version;
      item.rank = about.rank;
      item.value_size = static_cast<std::uint32_t>(
          regions_.entries[i].words[2].load(std::memory_order_relaxed) >> 32);
      item.entry = static_cast<std::uint32_t>(i);
      const auto counted = hits.find(item.entry);
      if (counted != hits.end()) item.hits = counted->second;
      items.push_back(std::move(item));
    }
  }
  return items;
}

void HotWriter::SetRank(const HotTouched& item, Rank rank) noexcept {
  const std::lock_guard lock(mutex_);
  const HotKey key(item.key);
  if (item.entry >= regions_.entry_count() || !Holds(item.entry, key)) return;
  const HotPlace place = PlaceOf(item.entry);
  if (place.kind != HotKind::kPresent) return;
  char* const block = regions_.blocks + std::uint64_t{place.block} * 8;
  HotBlock about;
  LoadShared(&about, block, sizeof(about));
  if (about.version != item.version) return;
  // One word: a reader sees the old or the new rank.
  BlockWord(block + kHotRankOffset)->store(rank, std::memory_order_release);
}

HotTierFigures HotWriter::Figures() const noexcept {
  HotTierFigures figures;
  for (const HotStripe& stripe : regions_.touch->stripes) {
    figures.hits += stripe.hits.load(std::memory_order_relaxed);
    figures.misses += stripe.misses.load(std::memory_order_relaxed);
  }
  const std::lock_guard lock(mutex_);
  figures.items = items_;
  figures.live_bytes = arena_.live_bytes();
  figures.size_bytes = hot_->size();
  figures.evictions = arena_.evictions();
  return figures;
}

}  // namespace larder
