#ifndef LARDER_ENGINE_SRC_POLICY_FREQUENCY_SKETCH_H_
#define LARDER_ENGINE_SRC_POLICY_FREQUENCY_SKETCH_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace larder {

/// How often keys were seen lately, in a few bits each: a Count-Min sketch of
/// four rows of 4-bit counters behind a Bloom filter (the doorkeeper) that
/// takes the first sighting. Every `age_factor` x items sightings the counters
/// are halved and the filter is cleared.
///
/// Both parts are cut into 64-byte blocks: a key touches one block of each.
/// The block count is a power of two, and doubling copies: estimates stay.
///
/// Threads: thread-compatible. Memory: 8 to 16 bytes per item (4 + 4, rounded
/// up to powers of two), at least 8 KiB.
class FrequencySketch {
 public:
  struct Options {
    double age_factor = 10.0;
    /// Sketch of 4 bytes and doorkeeper of 4 << door_log2 bytes per item.
    int door_log2 = 0;
  };
  explicit FrequencySketch(Options options);

  /// Tells how many items the cache holds; the sketch grows with it and never
  /// shrinks.
  void SetItemCount(std::uint64_t items) {
    item_count_ = std::max(items, kItemCountMin);
    if (item_count_ > capacity_) GrowTo(item_count_);
  }
  /// One more sighting of a key.
  void Increment(std::uint64_t key_hash) noexcept;
  /// Sightings of late, 0..16; never too low but for the halving.
  [[nodiscard]] std::uint32_t Estimate(std::uint64_t key_hash) const noexcept;

  [[nodiscard]] std::uint64_t size_bytes() const noexcept {
    return (counters_.size() + door_.size()) * sizeof(Block);
  }

  /// A copy that fits `size_bytes_max`, folded by halves until it does: folded
  /// counters are the larger of two, so estimates only grow.
  [[nodiscard]] std::string Save(std::size_t size_bytes_max) const;
  /// Takes what Save gave. False, and unchanged, for anything else.
  [[nodiscard]] bool Load(std::string_view state);

 private:
  using Block = std::array<std::uint64_t, 8>;
  static constexpr std::uint64_t kItemsPerBlock = 16;
  // The least that aging counts with, and that the tables are made for: small
  // tables are cheap and collide much.
  static constexpr std::uint64_t kItemCountMin = 128;
  static constexpr std::uint64_t kCapacityMin = 1024;
  static constexpr std::size_t kBlockCountMax = std::size_t{1} << 24;

  struct Place;  // Where a key lies.
  [[nodiscard]] Place PlaceOf(std::uint64_t key_hash) const noexcept;
  void GrowTo(std::uint64_t items);
  void Age() noexcept;

  Options options_;
  std::uint64_t item_count_ = kItemCountMin;
  std::uint64_t capacity_ = 0;        // Items that the tables are made for.
  std::uint64_t sighting_count_ = 0;  // Since the last Age.
  std::vector<Block> counters_;
  std::vector<Block> door_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_POLICY_FREQUENCY_SKETCH_H_
