#ifndef LARDER_ENGINE_SRC_OS_FUTEX_H_
#define LARDER_ENGINE_SRC_OS_FUTEX_H_

#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/// Waiting on words of shared memory.

namespace larder {

/// All deadlines between processes are on CLOCK_MONOTONIC, which they share.
using SteadyTime = std::chrono::steady_clock::time_point;

/// Longest single sleep of a client, after which it looks whether the one it
/// waits for is still there.
inline constexpr std::chrono::milliseconds kWaitSlice{50};

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

/// Sleeps while `word` holds `expected`, at most `timeout`. May return early
/// for no reason.
inline void FutexWait(const std::atomic<std::uint32_t>& word,
                      std::uint32_t expected,
                      std::chrono::nanoseconds timeout) noexcept {
  if (timeout.count() <= 0) return;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
  timespec relative{};
  relative.tv_sec = static_cast<time_t>(seconds.count());
  relative.tv_nsec = static_cast<long>((timeout - seconds).count());
  // Not FUTEX_PRIVATE_FLAG: the word is shared between processes.
  ::syscall(SYS_futex, &word, FUTEX_WAIT, expected, &relative, nullptr, 0);
}

inline void FutexWake(const std::atomic<std::uint32_t>& word,
                      int count = INT_MAX) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
}

inline void CpuPause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waits actively, but never for long: pauses a little, then yields the CPU
/// up to 300 us, the time of a few common commits. Pausing alone would starve
/// the very process one waits for when both share a CPU; there even a short
/// pause is wasted, so it is left out while it does not help.
///
/// Threads: thread-compatible; one object per waiting thread.
class AdaptiveSpin {
 public:
  static constexpr std::chrono::nanoseconds kPauseShort{1'500};
  /// For the one that others wait for, which a yield would put behind them.
  static constexpr std::chrono::nanoseconds kPauseLong{8'000};

  explicit AdaptiveSpin(
      std::chrono::nanoseconds pause_max = kPauseShort) noexcept
      : pause_max_(pause_max) {}

  /// True as soon as `ready()`, false if that takes too long.
  template <typename Ready>
  bool Until(Ready&& ready) noexcept {
    if (ready()) return true;
    const SteadyTime start = std::chrono::steady_clock::now();
    if (failures_ < kFailuresMax || ++skipped_ % kProbeEvery == 0) {
      while (std::chrono::steady_clock::now() - start < pause_max_) {
        for (int i = 0; i < 4; ++i) CpuPause();
        if (ready()) {
          failures_ = 0;
          return true;
        }
      }
      if (failures_ < kFailuresMax) ++failures_;
    }
    do {
      ::sched_yield();
      if (ready()) return true;
    } while (std::chrono::steady_clock::now() - start < kYieldMax);
    return false;
  }

 private:
  static constexpr std::chrono::nanoseconds kYieldMax{300'000};
  static constexpr std::uint32_t kFailuresMax = 4;
  static constexpr std::uint32_t kProbeEvery = 16;
  const std::chrono::nanoseconds pause_max_;
  std::uint32_t failures_ = 0;  // Pauses in a row that were in vain.
  std::uint32_t skipped_ = 0;
};

/// A sleeping flag that is also the futex word: 1 while its one owner sleeps
/// or is about to. The owner sets it and then looks again for work; the other
/// side makes work visible and then looks at the flag. Both with seq_cst, so
/// one of them sees the other and no wake-up is lost. The work itself (a ring's
/// tail, a dirty bit) must be written and read with seq_cst, too.
class SleepFlag {
 public:
  /// For the owner: sleeps until woken or `timeout`, unless `ready()`.
  template <typename Ready>
  void SleepUnless(Ready&& ready, std::chrono::nanoseconds timeout) noexcept {
    word_.store(1, std::memory_order_seq_cst);
    if (!ready()) FutexWait(word_, 1, timeout);
    word_.store(0, std::memory_order_relaxed);  // Only spares a wake-up call.
  }
  /// For the other side, after the work is visible.
  void WakeIfAsleep() noexcept {
    if (word_.load(std::memory_order_seq_cst) == 0) return;
    if (word_.exchange(0, std::memory_order_seq_cst) != 0) FutexWake(word_, 1);
  }
  [[nodiscard]] bool asleep() const noexcept {
    return word_.load(std::memory_order_seq_cst) != 0;
  }

 private:
  std::atomic<std::uint32_t> word_{0};
};
static_assert(sizeof(SleepFlag) == 4);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_FUTEX_H_
