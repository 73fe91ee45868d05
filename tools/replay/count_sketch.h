#ifndef LARDER_TOOLS_REPLAY_COUNT_SKETCH_H_
#define LARDER_TOOLS_REPLAY_COUNT_SKETCH_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace larder::replay {

/// The frequency sketch of W-TinyLFU: a Count-Min sketch of four 4-bit
/// counters for each key, halved after ten accesses for each expected item.
/// Written for the baselines alone, apart from the one of larder's policies.
///
/// Threads: thread-compatible.
class CountSketch {
 public:
  explicit CountSketch(std::uint64_t item_count)
      : table_(std::bit_ceil(
            std::clamp<std::uint64_t>(item_count, 8, kWordCountMax))),
        sample_size_(10 * std::max<std::uint64_t>(item_count, 1)) {}

  void Increment(std::uint32_t key) noexcept {
    const std::uint64_t hash = Mix(key);
    bool added = false;
    for (int row = 0; row < kRowCount; ++row) {
      std::uint64_t& word = table_[WordOf(hash, row)];
      const int shift = ShiftOf(hash, row);
      if (((word >> shift) & kCounterMax) == kCounterMax) continue;
      word += std::uint64_t{1} << shift;
      added = true;
    }
    if (added && ++additions_ >= sample_size_) Halve();
  }

  [[nodiscard]] std::uint32_t Estimate(std::uint32_t key) const noexcept {
    const std::uint64_t hash = Mix(key);
    std::uint64_t least = kCounterMax;
    for (int row = 0; row < kRowCount; ++row) {
      least =
          std::min(least, (table_[WordOf(hash, row)] >> ShiftOf(hash, row)) &
                              kCounterMax);
    }
    return static_cast<std::uint32_t>(least);
  }

  [[nodiscard]] std::uint64_t sample_size() const noexcept {
    return sample_size_;
  }

 private:
  static constexpr int kRowCount = 4;
  static constexpr std::uint64_t kCounterMax = 15;
  static constexpr std::uint64_t kWordCountMax = 1ULL << 28;
  static constexpr std::uint64_t kOddNibbles = 0x1111111111111111ULL;
  static constexpr std::array<std::uint64_t, kRowCount> kSeeds = {
      0xC3A5C85C97CB3127ULL, 0xB492B66FBE98F273ULL, 0x9AE16A3B2F90404FULL,
      0xCBF29CE484222325ULL};

  static std::uint64_t Mix(std::uint64_t x) noexcept {
    x = (x + 1) * 0x9E3779B97F4A7C15ULL;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
  }
  [[nodiscard]] std::size_t WordOf(std::uint64_t hash, int row) const noexcept {
    std::uint64_t x = hash * kSeeds[static_cast<std::size_t>(row)];
    x ^= x >> 32;
    return x & (table_.size() - 1);
  }
  /// Each row has four of the sixteen counters of a word.
  static int ShiftOf(std::uint64_t hash, int row) noexcept {
    return (row * 4 + static_cast<int>((hash >> (row * 2)) & 3)) * 4;
  }

  void Halve() noexcept {
    std::uint64_t odd_count = 0;
    for (std::uint64_t& word : table_) {
      odd_count +=
          static_cast<std::uint64_t>(std::popcount(word & kOddNibbles));
      word = (word >> 1) & ~(kOddNibbles << 3);
    }
    additions_ = (additions_ - std::min(additions_, odd_count / 4)) / 2;
  }

  std::vector<std::uint64_t> table_;
  std::uint64_t sample_size_;
  std::uint64_t additions_ = 0;
};

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_COUNT_SKETCH_H_
