#include "index/key_filter.h"

#include <algorithm>

#include <xxhash.h>

namespace larder {
namespace {

constexpr int kBitsPerChoice = 6;

constexpr std::uint64_t BitOf(std::uint64_t bits, std::size_t word) noexcept {
  return std::uint64_t{1} << (bits >> (kBitsPerChoice * word) & 63);
}

}  // namespace

KeyFilter::KeyFilter(std::uint64_t key_count)
    : blocks_(std::max<std::uint64_t>(
          1, key_count * kBitsPerKey / (8 * sizeof(Block)))) {}

KeyFilter::Place KeyFilter::PlaceOf(std::string_view key) const noexcept {
  const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  // A multiplication instead of a division (Lemire, 2019): of 32 bits, since
  // there are fewer blocks.
  const std::size_t block = (hash.high64 >> 32) * blocks_.size() >> 32;
  return {block, hash.low64};
}

// Relaxed: whatever orders adding before asking orders the bits.
void KeyFilter::Add(std::string_view key) noexcept {
  const Place place = PlaceOf(key);
  Block& block = blocks_[place.block];
  for (std::size_t i = 0; i < kWordCount; ++i) {
    const std::uint64_t bit = BitOf(place.bits, i);
    if ((block.words[i].load(std::memory_order_relaxed) & bit) == 0) {
      block.words[i].fetch_or(bit, std::memory_order_relaxed);
    }
  }
}

bool KeyFilter::MayContain(std::string_view key) const noexcept {
  const Place place = PlaceOf(key);
  const Block& block = blocks_[place.block];
  for (std::size_t i = 0; i < kWordCount; ++i) {
    if ((block.words[i].load(std::memory_order_relaxed) &
         BitOf(place.bits, i)) == 0) {
      return false;
    }
  }
  return true;
}

}  // namespace larder
