#ifndef LARDER_ENGINE_SRC_BASE_ROLE_GATE_H_
#define LARDER_ENGINE_SRC_BASE_ROLE_GATE_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>

#include "base/striped.h"

namespace larder {

/// Between a process's calls in the store that it has and giving that store
/// away. Other than StripedGate, which waits as long as the longest call, it is
/// shut only if all calls end soon, and a call that comes meanwhile waits no
/// longer than that.
///
/// Threads: thread-safe.
/// Cost:    to enter and to leave, a few ns each.
class RoleGate {
 public:
  /// A call that is inside.
  class Pass {
   public:
    explicit Pass(std::atomic<std::uint32_t>& inside) noexcept
        : inside_(&inside) {}
    Pass(Pass&& other) noexcept
        : inside_(std::exchange(other.inside_, nullptr)) {}
    Pass& operator=(Pass&&) = delete;
    // Release pairs with TryShut: what the call did is visible.
    ~Pass() {
      if (inside_ != nullptr) inside_->fetch_sub(1, std::memory_order_release);
    }

   private:
    std::atomic<std::uint32_t>* inside_;
  };

  /// Waits while it is shut.
  [[nodiscard]] Pass Enter() noexcept {
    std::atomic<std::uint32_t>& inside =
        stripes_[ThreadSlot() % kStripes].inside;
    for (;;) {
      // seq_cst: first it counts, then it looks. Who shuts does the opposite,
      // so one of them sees the other.
      inside.fetch_add(1, std::memory_order_seq_cst);
      if (!shut_.load(std::memory_order_seq_cst)) [[likely]]
        return Pass(inside);
      inside.fetch_sub(1, std::memory_order_release);
      shut_.wait(true);
    }
  }
  /// True: nobody is inside, nor comes in before Open. False: somebody still
  /// was after `time_max`, and it is open. REQUIRES: one thread at a time.
  [[nodiscard]] bool TryShut(std::chrono::milliseconds time_max) noexcept {
    const auto until = std::chrono::steady_clock::now() + time_max;
    shut_.store(true, std::memory_order_seq_cst);
    for (Stripe& stripe : stripes_) {
      while (stripe.inside.load(std::memory_order_seq_cst) != 0) {
        if (std::chrono::steady_clock::now() >= until) {
          Open();
          return false;
        }
        std::this_thread::sleep_for(kLookPause);
      }
    }
    return true;
  }
  /// Returns once nobody is inside; it is open then. Waits as long as the
  /// longest call. REQUIRES: as TryShut.
  void AwaitLeaving() noexcept {
    while (!TryShut(std::chrono::seconds(1))) {
    }
    Open();
  }
  void Open() noexcept {
    shut_.store(false, std::memory_order_seq_cst);
    shut_.notify_all();
  }

 private:
  static constexpr std::size_t kStripes = 64;  // 4 KiB.
  static constexpr std::chrono::microseconds kLookPause{50};
  struct alignas(kCacheLineBytes) Stripe {
    std::atomic<std::uint32_t> inside{0};
  };
  std::array<Stripe, kStripes> stripes_;
  std::atomic<bool> shut_{false};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_ROLE_GATE_H_
