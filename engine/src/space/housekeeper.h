#ifndef LARDER_ENGINE_SRC_SPACE_HOUSEKEEPER_H_
#define LARDER_ENGINE_SRC_SPACE_HOUSEKEEPER_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "larder/engine/status.h"

namespace larder {

/// A thread that works in rounds, less often while nothing happens, and in
/// between when it is asked to.
///
/// Threads: thread-safe, but for Start and Stop.
class Housekeeper {
 public:
  struct Intervals {
    std::chrono::milliseconds busy{100};
    /// While nothing happens they double up to this.
    std::chrono::milliseconds idle_max{3200};
  };
  /// Of the thread; none may throw.
  struct Work {
    /// What Ask asks for. False: it cannot be done; it is not tried again
    /// before the next round, however often it is asked for.
    std::function<bool()> when_asked;
    /// True: nothing has happened since it was called last.
    std::function<bool()> is_idle;
    /// While nothing happens there is none but the one after `idle_max`.
    std::function<void(bool is_idle)> round;
  };

  Housekeeper() noexcept : Housekeeper(Intervals()) {}
  explicit Housekeeper(Intervals intervals) noexcept : intervals_(intervals) {}
  ~Housekeeper() { Stop(); }
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

  /// Errors: those of StartThread; then nothing is ever done.
  /// REQUIRES: it was not called before.
  Status Start(Work work);
  /// Waits for what is under way; later calls do nothing.
  void Stop() noexcept;

  void Ask() noexcept;
  /// True: what was asked for is still to be done. May lag a little.
  [[nodiscard]] bool is_asked() const noexcept {
    return asked_.load(std::memory_order_relaxed);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void Run() noexcept;
  /// False: it is to stop.
  bool WaitForRound(Clock::time_point until) noexcept;

  const Intervals intervals_;
  Work work_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;           // Guarded by mutex_.
  std::atomic<bool> asked_{false};  // Changed under mutex_.
  std::thread thread_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SPACE_HOUSEKEEPER_H_
