#ifndef LARDER_ENGINE_SRC_OS_LANE_QUEUE_H_
#define LARDER_ENGINE_SRC_OS_LANE_QUEUE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "os/futex.h"

/// Who has a place at the holder, and who waits for one.

namespace larder {

/// What a word in shared memory says of the lane that it names. A lane's uid is
/// itself marked kReady.
enum class LaneMark : std::uint64_t {
  kReady = 1,
  kBegun = 2,    ///< A place: its region is not there yet. An entry: nor it.
  kGranted = 3,  ///< An entry of the queue: it has a place.
};
inline constexpr std::uint64_t kLaneMarkBits = 3;

[[nodiscard]] constexpr std::uint64_t Marked(std::uint64_t uid,
                                             LaneMark mark) noexcept {
  return (uid & ~kLaneMarkBits) | static_cast<std::uint64_t>(mark);
}
[[nodiscard]] constexpr bool IsMarked(std::uint64_t word,
                                      LaneMark mark) noexcept {
  return (word & kLaneMarkBits) == static_cast<std::uint64_t>(mark);
}

/// More wait to enter.
inline constexpr std::size_t kLaneWaiterCountMax = 2048;

/// One who waits for a place. Taken by a change of `uid` from 0 to the waiter's
/// with kBegun; kReady says that the rest is there.
struct LaneWaiter {
  std::atomic<std::uint64_t> uid;
  std::atomic<std::uint64_t> ticket;  ///< The lowest is served first.
  std::atomic<std::int64_t> deadline_ns;
  std::atomic<std::uint32_t> calls;  ///< Futex: grows when `uid` changes.
  std::uint32_t reserved;
};
static_assert(sizeof(LaneWaiter) == 32);

/// Lanes that wait for a place, in the order in which they came. Lies in shared
/// memory; all zero is an empty queue.
///
/// Every step is one change of `uid` of an entry, so whoever dies or is stopped
/// between two of them holds up nobody: an entry whose lane is dead, or whose
/// deadline has passed, is free.
///
/// Threads:   thread-safe.
/// Processes: any number wait, the holder grants.
class LaneQueue {
 public:
  /// A waiter as the holder has seen it.
  struct Seen {
    std::size_t entry = 0;
    std::uint64_t uid = 0;
    std::uint64_t ticket = 0;
    SteadyTime deadline;
  };

  /// Somebody waits, or did a moment ago. Cost: a load of a line that is
  /// written only while there are too few places.
  [[nodiscard]] bool wanted() const noexcept {
    return wanted_.load(std::memory_order_relaxed) != 0;
  }

  /// For a lane: waits from now on; then the holder is to be nudged. nullptr:
  /// there are kLaneWaiterCountMax others.
  LaneWaiter* Enter(std::uint64_t uid, SteadyTime deadline) noexcept {
    for (LaneWaiter& entry : waiters_) {
      std::uint64_t free = 0;
      if (entry.uid.load(std::memory_order_relaxed) != 0 ||
          !entry.uid.compare_exchange_strong(free,
                                             Marked(uid, LaneMark::kBegun))) {
        continue;
      }
      entry.deadline_ns.store(
          std::chrono::duration_cast<std::chrono::nanoseconds>(
              deadline.time_since_epoch())
              .count(),
          std::memory_order_relaxed);
      // Relaxed: nothing but the order of the numbers counts.
      entry.ticket.store(next_ticket_.fetch_add(1, std::memory_order_relaxed),
                         std::memory_order_relaxed);
      // seq_cst: after the rest, and before the flag.
      entry.uid.store(uid, std::memory_order_seq_cst);
      Want();
      return &entry;
    }
    return nullptr;
  }
  /// Somebody waits, or may: a holder that died may have said otherwise.
  void Want() noexcept { wanted_.store(1, std::memory_order_seq_cst); }
  /// For a lane: sleeps until its entry has changed, or Wake, at most
  /// `timeout`. False: it has changed.
  static bool Sleep(const LaneWaiter& entry, std::uint64_t uid,
                    std::chrono::nanoseconds timeout) noexcept {
    const std::uint32_t calls = entry.calls.load(std::memory_order_seq_cst);
    if (entry.uid.load(std::memory_order_seq_cst) != uid) return false;
    FutexWait(entry.calls, calls, timeout);
    return entry.uid.load(std::memory_order_seq_cst) == uid;
  }
  /// For the owner of the entry: ends one Sleep.
  static void Wake(LaneWaiter& entry) noexcept {
    entry.calls.fetch_add(1, std::memory_order_seq_cst);
    FutexWake(entry.calls);
  }
  /// For a lane: waits no more. True: it was not granted a place, and will not
  /// be; false: look for it among the places.
  static bool Leave(LaneWaiter& entry, std::uint64_t uid) noexcept {
    std::uint64_t expected = uid;
    if (entry.uid.compare_exchange_strong(expected, 0)) return true;
    expected = Marked(uid, LaneMark::kGranted);
    entry.uid.compare_exchange_strong(expected, 0);
    return false;
  }

  /// For the holder: all that wait, the first one first.
  [[nodiscard]] std::vector<Seen> Waiting() const {
    std::vector<Seen> waiting;
    for (std::size_t i = 0; i < waiters_.size(); ++i) {
      // seq_cst: pairs with Enter, and comes after the flag in Settle.
      const std::uint64_t uid = waiters_[i].uid.load(std::memory_order_seq_cst);
      if (uid == 0 || !IsMarked(uid, LaneMark::kReady)) continue;
      waiting.push_back(
          {.entry = i,
           .uid = uid,
           .ticket = waiters_[i].ticket.load(std::memory_order_relaxed),
           .deadline = SteadyTime(std::chrono::nanoseconds(
               waiters_[i].deadline_ns.load(std::memory_order_relaxed)))});
    }
    std::sort(waiting.begin(), waiting.end(),
              [](const Seen& a, const Seen& b) { return a.ticket < b.ticket; });
    return waiting;
  }
  /// For the holder, if it believes that nobody waits any more. Whoever comes
  /// after the look says so again.
  void Settle() {
    wanted_.store(0, std::memory_order_seq_cst);
    if (!Waiting().empty()) Want();
  }
  /// For the holder: tells it that it has a place. False: it has left.
  bool Grant(const Seen& seen) noexcept {
    return Change(seen.entry, seen.uid, Marked(seen.uid, LaneMark::kGranted));
  }
  /// For the holder: it is dead, or waits no more.
  void Drop(const Seen& seen) noexcept { Change(seen.entry, seen.uid, 0); }
  /// For the holder: frees the entries of the dead, and of those that wait no
  /// more. `is_alive(uid)`.
  template <typename IsAlive>
  void DropDead(SteadyTime now, IsAlive&& is_alive) noexcept {
    const auto now_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                            now.time_since_epoch())
                            .count();
    for (std::size_t i = 0; i < waiters_.size(); ++i) {
      // Acquire pairs with Enter: the deadline is that of this one.
      const std::uint64_t uid = waiters_[i].uid.load(std::memory_order_acquire);
      if (uid == 0) continue;
      const bool is_over =
          IsMarked(uid, LaneMark::kReady) &&
          waiters_[i].deadline_ns.load(std::memory_order_relaxed) <= now_ns;
      if (is_over || !is_alive(uid)) Change(i, uid, 0);
    }
  }

 private:
  bool Change(std::size_t entry, std::uint64_t from,
              std::uint64_t to) noexcept {
    LaneWaiter& waiter = waiters_[entry];
    if (!waiter.uid.compare_exchange_strong(from, to)) return false;
    Wake(waiter);
    return true;
  }

  alignas(64) std::atomic<std::uint32_t> wanted_{0};
  alignas(64) std::atomic<std::uint64_t> next_ticket_{0};
  alignas(64) std::array<LaneWaiter, kLaneWaiterCountMax> waiters_{};
};
static_assert(std::is_standard_layout_v<LaneQueue>);
static_assert(sizeof(LaneQueue) == 128 + 32 * kLaneWaiterCountMax);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_LANE_QUEUE_H_
