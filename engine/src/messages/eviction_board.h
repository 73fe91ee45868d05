#ifndef LARDER_ENGINE_SRC_MESSAGES_EVICTION_BOARD_H_
#define LARDER_ENGINE_SRC_MESSAGES_EVICTION_BOARD_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/engine.h"

namespace larder {

/// An item that left.
struct EvictionNotice {
  std::string key;
  std::uint64_t size_bytes = 0;
  EvictionReason reason = EvictionReason::kEvicted;
  friend bool operator==(const EvictionNotice&,
                         const EvictionNotice&) = default;
};

/// Notices for one subscriber, in order.
struct EvictionNotices {
  std::vector<EvictionNotice> notices;
  /// Left out since the last time, as too many waited.
  std::uint64_t dropped = 0;
};

/// Keeps notices of items that left for processes that ask for them now and
/// then. Each subscriber has a bounded queue: what does not fit is dropped and
/// counted. One that does not come any more is forgotten.
///
/// Threads: thread-safe.
class EvictionBoard {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;
  /// Notices that may wait for one subscriber.
  static constexpr std::size_t kNoticeCountMax = 16 * 1024;
  static constexpr std::size_t kSubscriberCountMax = 256;
  static constexpr auto kForgottenAfter = std::chrono::seconds(30);

  /// Somebody wants to be told. Cost: one load.
  [[nodiscard]] bool any() const noexcept {
    return any_.load(std::memory_order_relaxed);
  }
  void Add(std::string_view key, std::uint64_t size_bytes,
           EvictionReason reason) noexcept;
  /// Takes what waits for the subscriber, up to about `bytes_max`. Who comes
  /// for the first time is told from now on.
  [[nodiscard]] EvictionNotices Take(std::uint64_t subscriber,
                                     std::size_t bytes_max,
                                     SteadyTime now) noexcept;
  /// Of all subscribers there were.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  struct Subscriber {
    std::deque<EvictionNotice> queue;
    std::uint64_t dropped = 0;
    SteadyTime last_seen{};
  };
  std::atomic<bool> any_{false};
  std::atomic<std::uint64_t> dropped_{0};
  std::mutex mutex_;
  std::map<std::uint64_t, Subscriber> subscribers_;  // Guarded by mutex_.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_MESSAGES_EVICTION_BOARD_H_
