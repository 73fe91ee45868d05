#ifndef LARDER_ENGINE_SRC_COMMIT_EVICTION_NOTIFIER_H_
#define LARDER_ENGINE_SRC_COMMIT_EVICTION_NOTIFIER_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "larder/engine/engine.h"

#include "messages/eviction_board.h"

namespace larder {

/// Tells the user's callback, which does not throw (UserCallbacks), of items
/// that left, on a thread of its own. The queue is bounded: when the callback
/// is slower than eviction, notices are dropped and counted, and nobody waits.
///
/// Threads: thread-safe.
class EvictionNotifier {
 public:
  /// Notices that may wait.
  static constexpr std::size_t kNoticeCountMax = 64 * 1024;

  /// Errors: those of StartThread.
  static Result<std::unique_ptr<EvictionNotifier>> Start(
      EvictionCallback callback) noexcept;
  /// Delivers what waits, then ends.
  ~EvictionNotifier();
  EvictionNotifier(const EvictionNotifier&) = delete;
  EvictionNotifier& operator=(const EvictionNotifier&) = delete;

  /// Nothing more is added: what waits is told, then the thread ends.
  void Finish() noexcept;
  /// It has, so destruction does not wait.
  [[nodiscard]] bool ended() const noexcept { return ended_.load(); }

  void Add(std::string_view key, std::uint64_t size_bytes,
           EvictionReason reason) noexcept;
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  explicit EvictionNotifier(EvictionCallback callback) noexcept
      : callback_(std::move(callback)) {}
  void Run() noexcept;

  const EvictionCallback callback_;
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<EvictionNotice> queue_;  // Guarded by mutex_.
  bool stopping_ = false;             // Guarded by mutex_.
  std::thread thread_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_COMMIT_EVICTION_NOTIFIER_H_
