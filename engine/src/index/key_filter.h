#ifndef LARDER_ENGINE_SRC_INDEX_KEY_FILTER_H_
#define LARDER_ENGINE_SRC_INDEX_KEY_FILTER_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace larder {

/// Tells which keys were surely never added: a Bloom filter (1970) in blocks of
/// a cache line, so that a question costs one miss of the CPU's cache (Putze,
/// Sanders and Singler, "Cache-, hash- and space-efficient Bloom filters",
/// 2007); each of a block's eight words has one bit of a key.
///
/// Threads: thread-safe; who sees that a key was added, by whatever orders the
///          two, is told so by the filter.
/// Bounds:  12 bits a key; of 1,000 keys that were not added about 6 seem to
///          have been, once it is full.
class KeyFilter {
 public:
  /// `key_count` it is full of; more make it answer true more often.
  explicit KeyFilter(std::uint64_t key_count);

  void Add(std::string_view key) noexcept;
  [[nodiscard]] bool MayContain(std::string_view key) const noexcept;

  /// How many keys fill a filter of so many bytes.
  [[nodiscard]] static constexpr std::uint64_t KeyCountOf(
      std::uint64_t bytes) noexcept {
    return bytes * 8 / kBitsPerKey;
  }

 private:
  static constexpr std::uint64_t kBitsPerKey = 12;
  static constexpr std::size_t kWordCount = 8;
  struct alignas(64) Block {
    std::array<std::atomic<std::uint64_t>, kWordCount> words{};
  };
  struct Place {
    std::size_t block;
    std::uint64_t bits;  ///< Six for each word: which bit of it.
  };
  [[nodiscard]] Place PlaceOf(std::string_view key) const noexcept;

  std::vector<Block> blocks_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_KEY_FILTER_H_
