// How the hot tier begins: made anew, or taken over from another holder.

#include <algorithm>
#include <bit>
#include <filesystem>
#include <utility>

#include "base/check.h"
#include "hot/hot_writer.h"

namespace larder {
namespace {

constexpr std::uint64_t kHotPage = 4096;
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
  g.entries_offset = AlignUp(sizeof(HotHeader), kHotPage);
  g.blocks_offset =
      AlignUp(g.entries_offset + g.bucket_count * kBucketSize, kHotPage);
  g.extent_count = (size - g.blocks_offset) / kHotExtentSize;
  g.hot_size = g.blocks_offset + g.extent_count * kHotExtentSize;
  g.touch_size = AlignUp(
      sizeof(HotTouchHeader) + g.bucket_count * kHotBucketEntries, kHotPage);
  return g;
}

}  // namespace

std::uint64_t HotWriter::FittingSize(const std::filesystem::path& directory,
                                     std::uint64_t wanted) noexcept {
  const std::uint64_t size = std::min(wanted, FreeSpaceBytes(directory) / 4);
  return size < kHotTierSizeMin ? 0 : size;
}

Result<std::unique_ptr<HotWriter>> HotWriter::TakeOver(
    const Options& options) noexcept {
  auto hot = SharedRegion::Open(options.hot, SharedRegion::Access::kReadWrite);
  if (!hot) return Fail(std::move(hot.error()));
  auto touch =
      SharedRegion::Open(options.touch, SharedRegion::Access::kReadWrite);
  if (!touch) return Fail(std::move(touch.error()));
  const HotRegions regions(**hot, **touch);
  if (!regions.Valid()) {
    return Fail(Status::Corruption(options.hot.Path().string() +
                                   " is not a hot tier of this version"));
  }
  const std::uint64_t size = (*hot)->size();
  // Not smaller than wanted: where there is no room for a larger one, each
  // holder would throw away what is there for less.
  const std::uint64_t fitting =
      FittingSize(options.hot.directory, options.size_bytes);
  if (size > options.size_bytes || size < fitting / 2) {
    // Readers of that one must not find anything any more.
    regions.header->generation.fetch_add(1);
    return Fail(Status::InvalidArgument(
        "the hot tier has " + std::to_string(size) + " bytes, wanted are " +
        std::to_string(options.size_bytes)));
  }
  std::unique_ptr<HotWriter> writer(
      new HotWriter(options, std::move(*hot), std::move(*touch)));
  writer->Adopt();
  return writer;
}

Result<std::unique_ptr<HotWriter>> HotWriter::Create(
    const Options& options) noexcept {
  if (options.size_bytes < kHotTierSizeMin) {
    return Fail(Status::InvalidArgument(
        "a hot tier of " + std::to_string(options.size_bytes) +
        " bytes is too small: at least " + std::to_string(kHotTierSizeMin)));
  }
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

void HotWriter::Adopt() noexcept {
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
  holds_any_.store(true, std::memory_order_relaxed);
  for (std::uint64_t i = 0; i < regions_.entry_count(); ++i) {
    const HotPlace place = PlaceOf(i);
    if (!IsOurs(place) || !HasBlock(place.kind)) continue;
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

}  // namespace larder
