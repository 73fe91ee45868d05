// A sighting goes to the doorkeeper first and to the counters from the second
// on, so the many keys that are seen once do not fill the counters. Inside a
// block each of the four rows has two words (32 counters) and a key has one
// counter in each row; only those that are lowest are raised (conservative
// update), which keeps colliding keys apart.
//
// Saved state, little-endian: magic u32, door_log2 u8, block count log2 u8,
// reserved u16, sightings since the last halving u64, counter blocks,
// doorkeeper blocks.

#include "policy/frequency_sketch.h"

#include <bit>

#include "base/check.h"
#include "base/coding.h"

namespace larder {
namespace {

constexpr std::uint32_t kSketchMagic = 0x314B534C;  // "LSK1"
constexpr std::size_t kSketchHeaderSize = 16;
constexpr std::size_t kSketchBlockSize = 64;
constexpr int kDoorBitCount = 2;

std::uint64_t Mix(std::uint64_t h) noexcept {
  h ^= h >> 32;
  h *= 0xE9846AF9B1A615DULL;
  h ^= h >> 32;
  h *= 0xE9846AF9B1A615DULL;
  return h ^ (h >> 28);
}

// The larger of each pair of nibbles.
std::uint64_t MaxOfNibbles(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t result = 0;
  for (int shift = 0; shift < 64; shift += 4) {
    result |= std::max((a >> shift) & 15, (b >> shift) & 15) << shift;
  }
  return result;
}

}  // namespace

struct FrequencySketch::Place {
  std::size_t counter_block;
  std::size_t door_block;
  std::array<std::uint8_t, 4> words;   // Of the counters, one a row.
  std::array<std::uint8_t, 4> shifts;  // Of the counter in its word.
  std::array<std::uint16_t, kDoorBitCount> door_bits;
};

FrequencySketch::FrequencySketch(Options options) : options_(options) {
  options_.door_log2 = std::clamp(options_.door_log2, 0, 2);
  counters_.resize(1);
  door_.resize(std::size_t{1} << options_.door_log2);
  capacity_ = kItemsPerBlock;
  GrowTo(kCapacityMin);
}

FrequencySketch::Place FrequencySketch::PlaceOf(
    std::uint64_t key_hash) const noexcept {
  const std::uint64_t block_bits = Mix(key_hash);
  std::uint64_t bits = Mix(block_bits + 0x9E3779B97F4A7C15ULL);
  Place place;
  place.counter_block = block_bits & (counters_.size() - 1);
  place.door_block = block_bits & (door_.size() - 1);
  for (std::uint8_t row = 0; row < 4; ++row) {
    place.words[row] = static_cast<std::uint8_t>(2 * row + (bits & 1));
    place.shifts[row] = static_cast<std::uint8_t>((bits >> 1 & 15) << 2);
    bits >>= 5;
  }
  for (std::uint16_t& bit : place.door_bits) {
    bit = static_cast<std::uint16_t>(bits & 511);
    bits >>= 9;
  }
  return place;
}

void FrequencySketch::Increment(std::uint64_t key_hash) noexcept {
  const Place place = PlaceOf(key_hash);
  if (++sighting_count_ >
      static_cast<std::uint64_t>(options_.age_factor *
                                 static_cast<double>(item_count_))) {
    Age();
  }
  bool known = true;
  Block& door = door_[place.door_block];
  for (const std::uint16_t bit : place.door_bits) {
    const std::uint64_t mask = std::uint64_t{1} << (bit & 63);
    known = known && (door[bit >> 6] & mask) != 0;
    door[bit >> 6] |= mask;
  }
  if (!known) return;
  Block& block = counters_[place.counter_block];
  std::uint64_t lowest = 15;
  for (std::size_t row = 0; row < 4; ++row) {
    lowest =
        std::min(lowest, block[place.words[row]] >> place.shifts[row] & 15);
  }
  if (lowest == 15) return;
  for (std::size_t row = 0; row < 4; ++row) {
    std::uint64_t& word = block[place.words[row]];
    if ((word >> place.shifts[row] & 15) == lowest) {
      word += std::uint64_t{1} << place.shifts[row];
    }
  }
}

std::uint32_t FrequencySketch::Estimate(std::uint64_t key_hash) const noexcept {
  const Place place = PlaceOf(key_hash);
  const Block& block = counters_[place.counter_block];
  std::uint64_t lowest = 15;
  for (std::size_t row = 0; row < 4; ++row) {
    lowest =
        std::min(lowest, block[place.words[row]] >> place.shifts[row] & 15);
  }
  bool known = true;
  const Block& door = door_[place.door_block];
  for (const std::uint16_t bit : place.door_bits) {
    known = known && (door[bit >> 6] >> (bit & 63) & 1) != 0;
  }
  return static_cast<std::uint32_t>(lowest) + (known ? 1 : 0);
}

void FrequencySketch::GrowTo(std::uint64_t items) {
  while (capacity_ < items && counters_.size() < kBlockCountMax) {
    const auto twice = [](std::vector<Block>& blocks) {
      const std::size_t size = blocks.size();
      blocks.resize(2 * size);
      std::copy_n(blocks.begin(), size,
                  blocks.begin() + static_cast<std::ptrdiff_t>(size));
    };
    twice(counters_);
    twice(door_);
    capacity_ *= 2;
  }
}

void FrequencySketch::Age() noexcept {
  for (Block& block : counters_) {
    for (std::uint64_t& word : block) {
      word = word >> 1 & 0x7777777777777777ULL;
    }
  }
  std::fill(door_.begin(), door_.end(), Block{});
  sighting_count_ = 0;
}

std::string FrequencySketch::Save(std::size_t size_bytes_max) const {
  std::vector<Block> counters = counters_;
  std::vector<Block> door = door_;
  while (counters.size() > 1 &&
         kSketchHeaderSize +
                 (counters.size() + door.size()) * kSketchBlockSize >
             size_bytes_max) {
    const std::size_t half = counters.size() / 2;
    const std::size_t door_half = door.size() / 2;
    for (std::size_t i = 0; i < half; ++i) {
      for (std::size_t w = 0; w < 8; ++w) {
        counters[i][w] = MaxOfNibbles(counters[i][w], counters[half + i][w]);
      }
    }
    for (std::size_t i = 0; i < door_half; ++i) {
      for (std::size_t w = 0; w < 8; ++w) door[i][w] |= door[door_half + i][w];
    }
    counters.resize(half);
    door.resize(door_half);
  }
  std::string state;
  state.reserve(kSketchHeaderSize +
                (counters.size() + door.size()) * kSketchBlockSize);
  PutSized(state, kSketchMagic, 4);
  PutSized(state, static_cast<std::uint64_t>(options_.door_log2), 1);
  PutSized(state, static_cast<std::uint64_t>(std::countr_zero(counters.size())),
           1);
  PutSized(state, 0, 2);
  PutSized(state, sighting_count_, 8);
  for (const std::vector<Block>* blocks : {&counters, &door}) {
    for (const Block& block : *blocks) {
      for (const std::uint64_t word : block) PutSized(state, word, 8);
    }
  }
  return state;
}

bool FrequencySketch::Load(std::string_view state) {
  if (state.size() < kSketchHeaderSize ||
      GetSized(state, 0, 4) != kSketchMagic ||
      GetSized(state, 4, 1) != static_cast<std::uint64_t>(options_.door_log2)) {
    return false;
  }
  const std::uint64_t block_count_log2 = GetSized(state, 5, 1);
  if (block_count_log2 > 24) return false;
  const std::size_t block_count = std::size_t{1} << block_count_log2;
  const std::size_t door_count = block_count << options_.door_log2;
  if (state.size() !=
      kSketchHeaderSize + (block_count + door_count) * kSketchBlockSize) {
    return false;
  }
  counters_.assign(block_count, {});
  door_.assign(door_count, {});
  capacity_ = block_count * kItemsPerBlock;
  sighting_count_ = GetSized(state, 8, 8);
  std::size_t at = kSketchHeaderSize;
  for (std::vector<Block>* blocks : {&counters_, &door_}) {
    for (Block& block : *blocks) {
      for (std::uint64_t& word : block) {
        word = GetSized(state, at, 8);
        at += 8;
      }
    }
  }
  GrowTo(std::max(item_count_, kCapacityMin));
  return true;
}

}  // namespace larder
