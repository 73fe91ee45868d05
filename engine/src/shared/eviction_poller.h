#ifndef LARDER_ENGINE_SRC_SHARED_EVICTION_POLLER_H_
#define LARDER_ENGINE_SRC_SHARED_EVICTION_POLLER_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "larder/engine/engine.h"

#include "messages/eviction_board.h"

namespace larder {

/// Tells a client's callback of items that left, on a thread of its own, which
/// asks the process that has the store: every 20 ms while items leave, once a
/// second while none do, and not at all while that is this one. What leaves
/// between the death of that process and the first question to its successor is
/// not told.
///
/// Threads: thread-compatible.
class EvictionPoller {
 public:
  /// What has left since the last call; nullopt: this process has the store now
  /// and is told by it, so nothing is asked before Wake. May fail, then it is
  /// asked again.
  using Ask = std::function<std::optional<Result<EvictionNotices>>(
      std::uint64_t subscriber)>;

  /// From now on items that leave are told, if `ask` works. The callback does
  /// not throw (UserCallbacks). Errors: those of StartThread.
  static Result<std::unique_ptr<EvictionPoller>> Start(
      EvictionCallback callback, Ask ask) noexcept;
  /// What was not told yet is not told any more.
  ~EvictionPoller();
  EvictionPoller(const EvictionPoller&) = delete;
  EvictionPoller& operator=(const EvictionPoller&) = delete;

  /// Another process has the store now: asks at once. Threads: thread-safe.
  void Wake() noexcept;

 private:
  EvictionPoller(EvictionCallback callback, Ask ask) noexcept;
  void Run() noexcept;
  // False: the process has the store. `any`: something was told.
  bool Poll(bool& any) noexcept;

  const EvictionCallback callback_;
  const Ask ask_;
  const std::uint64_t subscriber_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;  // Guarded by mutex_.
  bool woken_ = false;     // The same.
  std::thread thread_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SHARED_EVICTION_POLLER_H_
