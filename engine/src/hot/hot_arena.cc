// A log of extents with reuse. Rejected: size classes with free lists, since
// memory that one class has got hardly ever comes back when sizes change, and
// every class needs an eviction of its own; here sizes mix, eviction is one
// clock over everything, and blocks that are overwritten all the time circulate
// in a few extents that stay in the CPU's cache.

#include "hot/hot_arena.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace larder {
namespace {

// Most of an extent that may survive its emptying: progress is certain.
constexpr std::uint64_t kSurvivorsMax = kHotExtentSize / 2;

std::uint32_t ExtentOf(std::uint32_t block) noexcept {
  return static_cast<std::uint32_t>(std::uint64_t{block} * 8 / kHotExtentSize);
}

}  // namespace

HotArena::HotArena(std::uint64_t extent_count, Callbacks callbacks)
    : extents_(extent_count), callbacks_(std::move(callbacks)) {
  LARDER_ASSERT(extent_count >= 3);
}

std::uint32_t HotArena::Cut(std::uint32_t extent, std::uint64_t size,
                            std::uint32_t entry) {
  Extent& e = extents_[extent];
  LARDER_ASSERT(e.used + size <= kHotExtentSize);
  const auto block =
      static_cast<std::uint32_t>((extent * kHotExtentSize + e.used) / 8);
  e.used += size;
  e.live += size;
  live_ += size;
  e.blocks.push_back({entry, block});
  return block;
}

// Gets memory for extents until one can be taken and one is left.
void HotArena::Refill() {
  while (idle_.size() < 2 && !exhausted_) {
    if (allocated_ < extents_.size() && callbacks_.allocate(allocated_ + 1)) {
      idle_.push_back(static_cast<std::uint32_t>(allocated_++));
    } else {
      exhausted_ = true;
    }
  }
}

std::uint32_t HotArena::TakeIdle() {
  const std::uint32_t extent = idle_.back();
  idle_.pop_back();
  extents_[extent].idle = false;
  return extent;
}

void HotArena::GoIdle(std::uint32_t extent) {
  Extent& e = extents_[extent];
  LARDER_ASSERT(e.live == 0 && !e.idle);
  e.used = 0;
  e.idle = true;
  e.blocks.clear();
  idle_.push_back(extent);
}

std::optional<std::uint32_t> HotArena::Allocate(std::uint64_t size,
                                                std::uint32_t entry) {
  LARDER_ASSERT(size % 8 == 0 && size <= kHotExtentSize / 2);
  while (current_ == kNone || extents_[current_].used + size > kHotExtentSize) {
    if (current_ != kNone) Retire(std::exchange(current_, kNone));
    Refill();
    if (idle_.size() >= 2 || (order_.empty() && !idle_.empty())) {
      current_ = TakeIdle();
    } else if (!idle_.empty()) {
      EmptyOldest();  // Leaves current_ with room for any block.
    } else if (!order_.empty()) {
      EvictAll();  // Too little memory for a spare extent.
    } else {
      return std::nullopt;
    }
  }
  return Cut(current_, size, entry);
}

void HotArena::Retire(std::uint32_t extent) {
  if (extents_[extent].live == 0) {
    GoIdle(extent);
  } else {
    order_.push_back(extent);
  }
}

void HotArena::EmptyOldest() {
  const std::uint32_t oldest = order_.front();
  order_.pop_front();
  current_ = TakeIdle();
  std::uint64_t moved = 0;
  // By value: moving and evicting frees blocks, which ends the extent.
  for (const Block& block : std::exchange(extents_[oldest].blocks, {})) {
    const std::uint64_t size = callbacks_.size(block.entry, block.block);
    if (size == 0) continue;
    if (moved + size <= kSurvivorsMax && callbacks_.keep(block.entry)) {
      moved += size;
      callbacks_.move(block.entry, Cut(current_, size, block.entry));
    } else {
      ++evictions_;
      callbacks_.evict(block.entry);
    }
  }
  LARDER_ASSERT(extents_[oldest].live == 0);
}

void HotArena::EvictAll() {
  for (const std::uint32_t extent : std::exchange(order_, {})) {
    for (const Block& block : std::exchange(extents_[extent].blocks, {})) {
      if (callbacks_.size(block.entry, block.block) == 0) continue;
      ++evictions_;
      callbacks_.evict(block.entry);
    }
    LARDER_ASSERT(extents_[extent].live == 0);
  }
}

void HotArena::Free(std::uint32_t block, std::uint64_t size) {
  const std::uint32_t extent = ExtentOf(block);
  Extent& e = extents_[extent];
  LARDER_ASSERT(e.live >= size && !e.idle);
  e.live -= size;
  live_ -= size;
  if (e.live != 0 || extent == current_) return;
  std::erase(order_, extent);
  GoIdle(extent);
}

void HotArena::Adopt(std::uint32_t block, std::uint64_t size,
                     std::uint32_t entry) {
  const std::uint32_t extent = ExtentOf(block);
  Extent& e = extents_[extent];
  e.idle = false;
  e.used = kHotExtentSize;
  e.live += size;
  live_ += size;
  e.blocks.push_back({entry, block});
}

void HotArena::FinishAdoption() {
  for (std::uint32_t i = 0; i < extents_.size(); ++i) {
    if (extents_[i].live == 0) continue;
    order_.push_back(i);
    allocated_ = i + 1;
  }
  if (allocated_ > 0 && !callbacks_.allocate(allocated_)) exhausted_ = true;
  for (std::uint32_t i = 0; i < allocated_; ++i) {
    if (extents_[i].live == 0) idle_.push_back(i);
  }
}

void HotArena::Clear() {
  for (std::uint32_t i = 0; i < extents_.size(); ++i) extents_[i] = Extent();
  idle_.clear();
  order_.clear();
  current_ = kNone;
  live_ = 0;
  for (std::uint32_t i = 0; i < allocated_; ++i) idle_.push_back(i);
}

}  // namespace larder
