#ifndef LARDER_ENGINE_SRC_EVICTION_NOTIFIER_H_
#define LARDER_ENGINE_SRC_EVICTION_NOTIFIER_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string_view>
#include <thread>

#include "larder/engine/engine.h"

#include "eviction_board.h"

namespace larder {

/// Tells the user's callback of items that left, on a thread of its own. The
/// queue is bounded: when the callback is slower than eviction, notices are
/// dropped and counted, and nobody waits.
///
/// Threads: thread-safe.
class EvictionNotifier {
 public:
  /// Notices that may wait.
  static constexpr std::size_t kNoticeCountMax = 64 * 1024;

  explicit EvictionNotifier(EvictionCallback callback);
  /// Delivers what waits, then ends.
  ~EvictionNotifier();
  EvictionNotifier(const EvictionNotifier&) = delete;
  EvictionNotifier& operator=(const EvictionNotifier&) = delete;

  void Add(std::string_view key, std::uint64_t size_bytes,
           EvictionReason reason) noexcept;
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }
  /// Calls of the callback that threw.
  [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }

 private:
  void Run() noexcept;
  void Deliver(const EvictionNotice& notice) noexcept;

  const EvictionCallback callback_;
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> failed_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<EvictionNotice> queue_;  // Guarded by mutex_.
  bool stopping_ = false;             // Guarded by mutex_.
  std::thread thread_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_EVICTION_NOTIFIER_H_
