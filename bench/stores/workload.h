#ifndef LARDER_BENCH_STORES_WORKLOAD_H_
#define LARDER_BENCH_STORES_WORKLOAD_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// What is written and read: the same keys and bytes for every engine, all a
/// function of a seed.

namespace larder::bench {

/// A well-mixed function of `x`: splitmix64.
constexpr std::uint64_t Mix(std::uint64_t x) noexcept {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

/// A small fast generator: a counter through Mix.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(Mix(seed)) {}
  std::uint64_t Next() noexcept { return Mix(state_++); }
  /// Uniform in [0, bound), but for a bias of bound / 2^64.
  /// REQUIRES: bound > 0.
  std::uint64_t Below(std::uint64_t bound) noexcept { return Next() % bound; }
  /// Uniform in [0, 1).
  double Unit() noexcept {
    return static_cast<double>(Next() >> 11) * 0x1.0p-53;
  }

 private:
  std::uint64_t state_;
};

/// The key of item `index`: 16 hex digits that are unique to it and in no
/// order, then up to 8 characters; 16 to 24 bytes.
std::string KeyOf(std::uint64_t index, std::uint64_t seed);

/// All keys of [0, count).
std::vector<std::string> MakeKeys(std::uint64_t count, std::uint64_t seed);

/// Incompressible values: each is a window of one pool of random bytes, at a
/// place that depends on its index, so that making one costs nothing.
///
/// Threads: thread-safe once made.
class ValuePool {
 public:
  ValuePool(std::size_t size_bytes_max, std::uint64_t seed);
  /// REQUIRES: size <= size_bytes_max.
  [[nodiscard]] std::string_view Of(std::uint64_t index,
                                    std::size_t size) const noexcept;

 private:
  std::vector<char> bytes_;
  std::uint64_t window_count_;
  std::uint64_t seed_;
};

/// The exclusive or of all 64-bit words of `bytes` (the last one padded) and
/// its size. It reads every byte, at memory speed, as somebody who asked for
/// a value does.
std::uint64_t Fold(std::string_view bytes) noexcept;

/// Zipf-distributed ranks in [0, count): rank r has weight 1 / (r + 1)^theta.
/// By rejection-inversion (Hormann and Derflinger 1996): no table, any count.
class Zipf {
 public:
  /// REQUIRES: count >= 1, theta > 0, theta != 1.
  Zipf(std::uint64_t count, double theta) noexcept;
  std::uint64_t Draw(Random& random) const noexcept;

 private:
  [[nodiscard]] double Integral(double x) const noexcept;
  [[nodiscard]] double IntegralInverse(double x) const noexcept;

  std::uint64_t count_;
  double theta_;
  double integral_first_;
  double integral_last_;
  double accept_;
};

/// A bijection of [0, count) in no order: index -> (index * stride) mod count.
class Shuffle {
 public:
  /// REQUIRES: count < 2^32.
  Shuffle(std::uint64_t count, std::uint64_t seed) noexcept;
  /// REQUIRES: index < count.
  [[nodiscard]] std::uint64_t At(std::uint64_t index) const noexcept {
    return index * stride_ % count_;
  }

 private:
  std::uint64_t count_;
  std::uint64_t stride_;
};

}  // namespace larder::bench

#endif  // LARDER_BENCH_STORES_WORKLOAD_H_
