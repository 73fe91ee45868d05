#ifndef LARDER_ENGINE_SRC_BASE_STRIPED_H_
#define LARDER_ENGINE_SRC_BASE_STRIPED_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <shared_mutex>

namespace larder {

inline constexpr std::size_t kCacheLineBytes = 64;

/// A small number that differs between threads as far as it can, to spread
/// them over stripes.
[[nodiscard]] inline unsigned ThreadSlot() noexcept {
  static std::atomic<unsigned> next{0};
  // Relaxed: only the number counts.
  thread_local const unsigned slot =
      next.fetch_add(1, std::memory_order_relaxed);
  return slot;
}

/// A readers-writer lock whose readers do not share a cache line. Entering
/// costs a reader about 15 ns; the rare writer takes every stripe, in order.
///
/// Threads: thread-safe; a thread must not enter it twice.
class StripedGate {
 public:
  void lock() noexcept {
    for (Stripe& stripe : stripes_) stripe.mutex.lock();
  }
  void unlock() noexcept {
    for (Stripe& stripe : stripes_) stripe.mutex.unlock();
  }
  /// Returns once all who are inside now have left, and keeps nobody out.
  void AwaitLeaving() noexcept {
    for (Stripe& stripe : stripes_) {
      stripe.mutex.lock();
      stripe.mutex.unlock();
    }
  }
  [[nodiscard]] std::shared_lock<std::shared_mutex> Enter() noexcept {
    return std::shared_lock(stripes_[ThreadSlot() % kStripes].mutex);
  }

 private:
  static constexpr std::size_t kStripes = 16;
  struct alignas(kCacheLineBytes) Stripe {
    std::shared_mutex mutex;
  };
  std::array<Stripe, kStripes> stripes_;
};

/// A counter that many threads add to.
class StripedCounter {
 public:
  void Add(std::uint64_t by = 1) noexcept {
    // Relaxed: a figure, which orders nothing.
    stripes_[ThreadSlot() % kStripes].value.fetch_add(
        by, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t Sum() const noexcept {
    std::uint64_t sum = 0;
    for (const Stripe& stripe : stripes_) {
      sum += stripe.value.load(std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  static constexpr std::size_t kStripes = 16;
  struct alignas(kCacheLineBytes) Stripe {
    std::atomic<std::uint64_t> value{0};
  };
  std::array<Stripe, kStripes> stripes_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_STRIPED_H_
