// The entries of the hot tier: how they are found, taken and filled. All of it
// under the writer's mutex.

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "hot/hot_writer.h"

namespace larder {

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
  if (!IsOurs(place) || !HasBlock(place.kind)) return 0;
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
  return HasBlock(place.kind) && place.key_size == key.bytes.size() &&
         EqualsShared(key.bytes, regions_.blocks +
                                     std::uint64_t{place.block} * 8 +
                                     sizeof(HotBlock));
}

// The entry of the key, or -1.
std::int64_t HotWriter::Find(const HotKey& key) const noexcept {
  if (key.bytes.size() > kHotKeySizeMax ||
      !holds_any_.load(std::memory_order_relaxed)) {
    return -1;
  }
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
  const HotPlaced placed{.segment = item.place.segment,
                         .offset = item.place.offset,
                         .payload_size = item.place.payload_size};
  const bool is_placed = placed.segment != 0;
  const void* const value =
      is_placed ? static_cast<const void*>(&placed) : item.value.data();
  const std::size_t value_size = is_placed ? sizeof(placed) : item.value.size();
  const HotBlockLayout layout(key.bytes.size(), value_size, item.tag.size());
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
  StoreShared(at + layout.value_offset, value, value_size);
  StoreShared(at + layout.tag_offset, item.tag.data(), item.tag.size());

  HotEntry& e = regions_.entries[entry];
  const HotPlace place{
      .block = *block,
      .generation = static_cast<std::uint16_t>(
          regions_.header->generation.load(std::memory_order_relaxed)),
      .kind = is_placed ? HotKind::kPlaced : HotKind::kPresent,
      .key_size = static_cast<std::uint16_t>(key.bytes.size())};
  e.words[1].store(place.ToWord(), std::memory_order_release);
  e.words[2].store(std::uint64_t{value_size} << 32 | item.tag.size(),
                   std::memory_order_release);
  e.words[3].store(
      static_cast<std::uint64_t>(item.expires_at.time_since_epoch().count()),
      std::memory_order_release);
  ++items_;
  holds_any_.store(true, std::memory_order_relaxed);
  MakeEven(entry, key.tag());
}

void HotWriter::PutAbsent(std::uint64_t entry, const HotKey& key) noexcept {
  Release(entry);
  HotEntry& e = regions_.entries[entry];
  HotPlace place = PlaceOf(entry);
  place.kind = HotKind::kAbsent;
  e.words[1].store(place.ToWord(), std::memory_order_release);
  e.words[2].store(key.hash.high64, std::memory_order_release);
  holds_any_.store(true, std::memory_order_relaxed);
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

}  // namespace larder
