#ifndef LARDER_TOOLS_MEASURE_RANDOM_KEYS_H_
#define LARDER_TOOLS_MEASURE_RANDOM_KEYS_H_

#include <cstdint>
#include <string>

#include "larder/engine/status.h"

namespace larder::tools {

/// SplitMix64: small, fast, and good enough to choose keys with.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t Next() noexcept {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31U);
  }
  /// In [0, bound). REQUIRES: bound > 0.
  std::uint64_t Below(std::uint64_t bound) noexcept {
    // The high word of a product is unbiased to 2^-64 * bound.
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((Wide{Next()} * bound) >> 64U);
  }
  /// In [0, 1).
  double Unit() noexcept {
    return static_cast<double>(Next() >> 11U) * 0x1.0p-53;
  }

 private:
  std::uint64_t state_;
};

/// Which of `count` keys is asked for next: all alike, or by Zipf's law, where
/// the k-th most popular has a share of 1 / k^exponent.
///
/// Zipf numbers come by rejection-inversion (Hoermann and Derflinger, 1996), so
/// any number of keys costs the same and needs no table.
///
/// Threads: thread-compatible.
class KeyChooser {
 public:
  /// `text`: "uniform" or "zipf:EXPONENT", exponent above 0 and up to 10.
  /// Errors: kParseError.
  static Result<KeyChooser> Parse(const std::string& text, std::uint64_t count);

  /// In [0, count); 0 is the most popular.
  std::uint64_t Next(Random& random) const noexcept;

 private:
  KeyChooser(std::uint64_t count, double exponent) noexcept;
  [[nodiscard]] double Integral(double x) const noexcept;
  [[nodiscard]] double IntegralInverse(double x) const noexcept;
  [[nodiscard]] double Share(double x) const noexcept;

  std::uint64_t count_;
  double exponent_;  // 0: uniform.
  double integral_first_ = 0;
  double integral_last_ = 0;
  double accept_ = 0;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_MEASURE_RANDOM_KEYS_H_
