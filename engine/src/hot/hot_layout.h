#ifndef LARDER_ENGINE_SRC_HOT_HOT_LAYOUT_H_
#define LARDER_ENGINE_SRC_HOT_HOT_LAYOUT_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <xxhash.h>

#include "larder/engine/policy.h"

#include "os/shared_region.h"

/// The layout of the two regions of the hot tier: the hot region, which the
/// holder writes and clients map for reading only, and the touch region, into
/// which readers write what they have read.

namespace larder {

/// Longest key, value and tag that the tier takes; others are always asked of
/// the store.
inline constexpr std::size_t kHotKeySizeMax = 1024;
inline constexpr std::size_t kHotValueSizeMax = 64 * 1024;
inline constexpr std::size_t kHotTagSizeMax = 255;
/// Of values from this size on that are one record of a segment file, the tier
/// holds the place: every reader maps the file, and needs no copy.
inline constexpr std::size_t kHotPlacedSizeMin = 32 * 1024;
/// Smallest tier that is worth having.
inline constexpr std::uint64_t kHotTierSizeMin = 2U << 20;
/// Blocks of values are cut from extents of this size, and evicted with them.
inline constexpr std::uint64_t kHotExtentSize = 256 * 1024;
inline constexpr std::size_t kHotBucketEntries = 4;
inline constexpr std::size_t kHotTagEpochs = 4096;
inline constexpr std::size_t kHotStripes = 64;
inline constexpr std::size_t kHotRingSize = 256;

/// A key with its hash, which is computed once per call.
struct HotKey {
  explicit HotKey(std::string_view its_bytes) noexcept
      : bytes(its_bytes),
        hash(XXH3_128bits(its_bytes.data(), its_bytes.size())) {}
  [[nodiscard]] std::uint32_t tag() const noexcept {
    return static_cast<std::uint32_t>(hash.low64 >> 32);
  }
  std::string_view bytes;
  XXH128_hash_t hash;
};

/// A slot of the index. Words, since each is read and written whole:
/// 0: hash tag << 32 | sequence. Odd: being written, ask the store.
/// 1: block << 32 | generation << 16 | kind << 12 | key size. The block is an
///    offset from the blocks in units of 8 bytes.
/// 2: present: value size << 32 | tag size; placed: size of HotPlaced instead
/// of
///    the value's; absent: the hash's high half.
/// 3: present, placed: expiry in us.
struct alignas(32) HotEntry {
  std::array<std::atomic<std::uint64_t>, 4> words;
};
static_assert(sizeof(HotEntry) == 32);

enum class HotKind : std::uint8_t {
  kEmpty = 0,
  kPresent = 1,  ///< The block has the value.
  kAbsent = 2,   ///< There is no such item. No block.
  kPlaced = 3,   ///< The block has a HotPlaced in place of the value.
};

constexpr bool HasBlock(HotKind kind) noexcept {
  return kind == HotKind::kPresent || kind == HotKind::kPlaced;
}

/// Where a large value lies (SegmentPlace).
struct HotPlaced {
  std::uint32_t segment = 0;
  std::uint32_t offset = 0;
  std::uint32_t payload_size = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(HotPlaced) == 16);

/// The second word of an entry, taken apart.
struct HotPlace {
  std::uint32_t block = 0;
  std::uint16_t generation = 0;
  HotKind kind = HotKind::kEmpty;
  std::uint16_t key_size = 0;

  static HotPlace FromWord(std::uint64_t word) noexcept {
    return {.block = static_cast<std::uint32_t>(word >> 32),
            .generation = static_cast<std::uint16_t>(word >> 16),
            .kind = static_cast<HotKind>((word >> 12) & 0xF),
            .key_size = static_cast<std::uint16_t>(word & 0xFFF)};
  }
  [[nodiscard]] std::uint64_t ToWord() const noexcept {
    return std::uint64_t{block} << 32 | std::uint64_t{generation} << 16 |
           static_cast<std::uint64_t>(kind) << 12 | key_size;
  }
};

/// What a block begins with; key, value and tag follow, each from a multiple
/// of 8 bytes.
struct HotBlock {
  std::uint64_t version = 0;
  std::int64_t stored_at_us = 0;
  Rank rank = 0;
  std::uint32_t clear_epoch = 0;
  std::uint32_t tag_epoch = 0;
  std::uint16_t tag_slot = 0;
  std::uint16_t frequency = 0;
  std::uint8_t codec = 0;
  std::uint8_t pinned = 0;
  std::uint16_t reserved = 0;
};
static_assert(sizeof(HotBlock) == 40);
inline constexpr std::size_t kHotRankOffset = offsetof(HotBlock, rank);

constexpr std::uint64_t RoundUp8(std::uint64_t size) noexcept {
  return (size + 7) & ~std::uint64_t{7};
}

/// Where the parts of a block lie.
struct HotBlockLayout {
  std::uint64_t value_offset;
  std::uint64_t tag_offset;
  std::uint64_t size;
  HotBlockLayout(std::uint64_t key_size, std::uint64_t value_size,
                 std::uint64_t tag_size) noexcept
      : value_offset(sizeof(HotBlock) + RoundUp8(key_size)),
        tag_offset(value_offset + RoundUp8(value_size)),
        size(tag_offset + RoundUp8(tag_size)) {}
};

struct HotHeader {
  RegionHeader region;
  std::uint64_t bucket_count;  ///< A power of two.
  std::uint64_t entries_offset;
  std::uint64_t blocks_offset;
  std::uint64_t extent_count;
  std::uint64_t layout_version;
  /// Entries of another generation do not exist. Changes when a holder starts
  /// that cannot trust what it finds.
  alignas(64) std::atomic<std::uint64_t> generation;
  /// 1: the last writer left in good order and nobody has written since.
  std::atomic<std::uint64_t> closed_cleanly;
  /// Even; odd while several keys change together. A reader of several keys
  /// that sees the same even number before and after has seen one state.
  std::atomic<std::uint64_t> batch_sequence;
  /// Entries of another epoch were cleared.
  std::atomic<std::uint64_t> clear_epoch;
  /// Entries ranked below the cutoff of their class were evicted.
  std::array<std::atomic<Rank>, kRankClassCount> cutoffs;
  /// Entries whose tag has another epoch were evicted with it. Tags share
  /// these words by hash: evicting one may hide another's entries.
  alignas(64) std::array<std::atomic<std::uint32_t>, kHotTagEpochs> tag_epochs;
};
inline constexpr std::uint64_t kHotLayoutVersion = 2;

/// What the readers of some threads count; each thread has one of these.
struct alignas(64) HotStripe {
  std::atomic<std::uint64_t> hits;
  /// Answered "absent" by the tier.
  std::atomic<std::uint64_t> misses;
  /// The last hits: entry << 32 | hash tag. Lossy.
  alignas(64) std::array<std::atomic<std::uint64_t>, kHotRingSize> ring;
};

/// Followed by one byte per entry: 1 = read since the holder looked.
struct HotTouchHeader {
  RegionHeader region;
  std::array<HotStripe, kHotStripes> stripes;
};

/// The regions as one thing. Threads: thread-safe.
class HotRegions {
 public:
  HotRegions() noexcept = default;
  HotRegions(const SharedRegion& hot, const SharedRegion& touch) noexcept;
  /// The headers say what the sizes of the regions allow.
  [[nodiscard]] bool Valid() const noexcept;

  HotHeader* header = nullptr;
  HotEntry* entries = nullptr;
  char* blocks = nullptr;
  std::uint64_t blocks_size = 0;
  std::uint64_t bucket_mask = 0;
  HotTouchHeader* touch = nullptr;
  std::atomic<std::uint8_t>* touched = nullptr;

  [[nodiscard]] std::uint64_t entry_count() const noexcept {
    return (bucket_mask + 1) * kHotBucketEntries;
  }
  [[nodiscard]] std::uint64_t BucketOf(const HotKey& key) const noexcept {
    return (key.hash.low64 & bucket_mask) * kHotBucketEntries;
  }

 private:
  std::uint64_t hot_size_ = 0;
  std::uint64_t touch_size_ = 0;
};

// Copies between private memory and a block that others read at the same time:
// word by word through atomics, since anything else would be a data race (and
// would be reported as one). Acquire and release instead of fences around
// relaxed accesses: the same instructions on x86, and ThreadSanitizer
// understands them. A reader that sees any word of a later writer is thereby
// certain to see that the entry's sequence has changed.

inline std::atomic<std::uint64_t>* BlockWord(char* at) noexcept {
  return reinterpret_cast<std::atomic<std::uint64_t>*>(at);
}

/// `from` is a multiple of 8.
inline void LoadShared(void* to, char* from, std::size_t size) noexcept {
  char* out = static_cast<char*>(to);
  std::size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    const std::uint64_t word =
        BlockWord(from + at)->load(std::memory_order_acquire);
    std::memcpy(out + at, &word, 8);
  }
  if (at < size) {
    const std::uint64_t word =
        BlockWord(from + at)->load(std::memory_order_acquire);
    std::memcpy(out + at, &word, size - at);
  }
}

/// `to` is a multiple of 8; the last word is filled with zeros.
inline void StoreShared(char* to, const void* from, std::size_t size) noexcept {
  const char* in = static_cast<const char*>(from);
  for (std::size_t at = 0; at < size; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, in + at, size - at < 8 ? size - at : 8);
    BlockWord(to + at)->store(word, std::memory_order_release);
  }
}

inline bool EqualsShared(std::string_view bytes, char* from) noexcept {
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + at, 8);
    if (word != BlockWord(from + at)->load(std::memory_order_acquire)) {
      return false;
    }
  }
  if (at == bytes.size()) return true;
  const std::uint64_t word =
      BlockWord(from + at)->load(std::memory_order_acquire);
  return std::memcmp(&word, bytes.data() + at, bytes.size() - at) == 0;
}

inline std::uint16_t HotTagSlot(std::string_view tag) noexcept {
  return static_cast<std::uint16_t>(XXH3_64bits(tag.data(), tag.size()) %
                                    kHotTagEpochs);
}

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_HOT_HOT_LAYOUT_H_
