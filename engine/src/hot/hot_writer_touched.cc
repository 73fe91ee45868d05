// What readers of the hot tier tell its writer.

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "hot/hot_writer.h"

namespace larder {

std::vector<HotTouched> HotWriter::TakeTouched(std::size_t count_max) noexcept {
  const std::lock_guard lock(mutex_);
  // An idle cache is asked often: without hits there is nothing to find.
  std::uint64_t total = 0;
  for (const HotStripe& stripe : regions_.touch->stripes) {
    total += stripe.hits.load(std::memory_order_relaxed);
  }
  if (total == touched_total_ && !touched_left_) return {};
  touched_total_ = total;
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
      if (!IsOurs(place) || !HasBlock(place.kind)) continue;
      char* const block = regions_.blocks + std::uint64_t{place.block} * 8;
      HotBlock about;
      LoadShared(&about, block, sizeof(about));
      HotTouched item;
      item.key.assign(block + sizeof(about), place.key_size);
      item.version = about.version;
      item.rank = about.rank;
      item.entry = static_cast<std::uint32_t>(i);
      const auto counted = hits.find(item.entry);
      if (counted != hits.end()) item.hits = counted->second;
      items.push_back(std::move(item));
    }
  }
  touched_left_ = items.size() >= count_max;
  return items;
}

void HotWriter::SetRank(const HotTouched& item, Rank rank) noexcept {
  const std::lock_guard lock(mutex_);
  const HotKey key(item.key);
  if (item.entry >= regions_.entry_count() || !Holds(item.entry, key)) return;
  const HotPlace place = PlaceOf(item.entry);
  if (!HasBlock(place.kind)) return;
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
