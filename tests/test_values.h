#ifndef LARDER_TESTS_TEST_VALUES_H_
#define LARDER_TESTS_TEST_VALUES_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace larder::testing {

/// A small, fast generator (SplitMix64): the same sequence on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t Next() noexcept {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, bound); `bound` is at least 1.
  std::uint64_t Below(std::uint64_t bound) noexcept { return Next() % bound; }
  /// True once in `n` times.
  bool OneIn(std::uint64_t n) noexcept { return Below(n) == 0; }

 private:
  std::uint64_t state_;
};

/// `size` bytes that depend on `seed` only and do not compress.
inline std::string MakeValue(std::uint64_t seed, std::size_t size) {
  std::string bytes(size, '\0');
  Random random(seed * 2654435761U + size);
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = random.Next();
    std::memcpy(bytes.data() + i, &word, size - i < 8 ? size - i : 8);
  }
  return bytes;
}

/// The seed of a random test: LARDER_SEED, or `fallback`.
inline std::uint64_t SeedFromEnvironment(std::uint64_t fallback) {
  const char* text = std::getenv("LARDER_SEED");
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 0)
                                          : fallback;
}

}  // namespace larder::testing

#endif  // LARDER_TESTS_TEST_VALUES_H_
