#ifndef LARDER_TOOLS_MEASURE_LATENCY_HISTOGRAM_H_
#define LARDER_TOOLS_MEASURE_LATENCY_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace larder::tools {

/// Times of many calls: exact below 128 ns, to 1/64 above, up to 18 minutes.
/// It may lie in memory that processes share.
///
/// Threads: thread-compatible.
class LatencyHistogram {
 public:
  void Add(std::chrono::nanoseconds time) noexcept {
    const auto ns = static_cast<std::uint64_t>(
        std::clamp<std::int64_t>(time.count(), 0, kNanosecondsMax));
    ++buckets_[BucketOf(ns)];
    ++count_;
    max_ns_ = std::max(max_ns_, ns);
  }

  void Merge(const LatencyHistogram& other) noexcept {
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      buckets_[i] += other.buckets_[i];
    }
    count_ += other.count_;
    max_ns_ = std::max(max_ns_, other.max_ns_);
  }

  /// The time that `fraction` of the calls did not pass; 0 without calls.
  [[nodiscard]] double QuantileMicroseconds(double fraction) const noexcept {
    const auto rank = static_cast<std::uint64_t>(
        fraction * static_cast<double>(count_) + 0.5);
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      below += buckets_[i];
      if (below >= std::max<std::uint64_t>(rank, 1)) {
        return std::min(MiddleOf(i), static_cast<double>(max_ns_)) / 1e3;
      }
    }
    return 0.0;
  }
  [[nodiscard]] double max_microseconds() const noexcept {
    return static_cast<double>(max_ns_) / 1e3;
  }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

 private:
  static constexpr int kExactBits = 7;
  static constexpr int kBitsMax = 40;
  static constexpr std::int64_t kNanosecondsMax =
      (std::int64_t{1} << kBitsMax) - 1;
  static constexpr std::size_t kExactCount = std::size_t{1} << kExactBits;
  static constexpr std::size_t kPerExponent = kExactCount / 2;
  static constexpr std::size_t kBucketCount =
      kExactCount + kPerExponent * (kBitsMax - kExactBits);

  static constexpr std::size_t BucketOf(std::uint64_t ns) noexcept {
    if (ns < kExactCount) {
      return ns;
    }
    const int shift = std::bit_width(ns) - kExactBits;  // At least 1.
    return kExactCount + static_cast<std::size_t>(shift - 1) * kPerExponent +
           (ns >> shift) - kPerExponent;
  }
  static constexpr double MiddleOf(std::size_t bucket) noexcept {
    if (bucket < kExactCount) {
      return static_cast<double>(bucket);
    }
    const std::size_t above = bucket - kExactCount;
    const auto shift = static_cast<int>(above / kPerExponent) + 1;
    const std::uint64_t low = (above % kPerExponent + kPerExponent) << shift;
    return static_cast<double>(low) +
           static_cast<double>(std::uint64_t{1} << shift) / 2.0;
  }

  std::array<std::uint64_t, kBucketCount> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ns_ = 0;
};
static_assert(std::is_trivially_copyable_v<LatencyHistogram>);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_MEASURE_LATENCY_HISTOGRAM_H_
