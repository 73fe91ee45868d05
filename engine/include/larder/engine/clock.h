#ifndef LARDER_ENGINE_CLOCK_H_
#define LARDER_ENGINE_CLOCK_H_

#include <atomic>
#include <chrono>

namespace larder {

/// Wall-clock time since the Unix epoch. Expiry has to mean the same in every
/// process and after a restart, so it is wall time and not a steady clock.
using TimePoint = std::chrono::sys_time<std::chrono::microseconds>;
using Duration = std::chrono::microseconds;

/// The expiry of an item that never expires.
inline constexpr TimePoint kNeverExpires = TimePoint::max();

/// Where the engine takes the time from.
///
/// Threads: thread-safe; it is asked under locks, and must not call the cache.
/// Lifetime: outlives every engine opened with it.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual TimePoint Now() const noexcept = 0;

  /// The clock of the machine; never destroyed.
  static const Clock* System() noexcept;
};

/// A clock that moves only when told to, for tests.
///
/// Threads: thread-safe.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(TimePoint start) noexcept
      : now_(start.time_since_epoch().count()) {}
  [[nodiscard]] TimePoint Now() const noexcept override {
    return TimePoint(Duration(now_.load(std::memory_order_relaxed)));
  }
  void Advance(Duration by) noexcept {
    now_.fetch_add(by.count(), std::memory_order_relaxed);
  }

 private:
  // Relaxed: a test that needs an order between time and data makes its own.
  std::atomic<Duration::rep> now_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_CLOCK_H_
