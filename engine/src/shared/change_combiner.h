#ifndef LARDER_ENGINE_SRC_SHARED_CHANGE_COMBINER_H_
#define LARDER_ENGINE_SRC_SHARED_CHANGE_COMBINER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "messages/session_store.h"
#include "os/futex.h"

namespace larder {

/// Lets the threads of the holder and its clients commit together: whoever has
/// the turn commits what the others have queued meanwhile, too (flat combining:
/// Hendler, Incze, Shavit, Tzafrir, SPAA 2010). Threads that commit side by
/// side wait for each other in RocksDB's write queue at several times the cost
/// of the change itself. While one thread collects changes all the time, the
/// others leave theirs to it: what it does is one commit for them and clients.
///
/// Threads: thread-safe.
/// Cost:    two exchanges of a word for a thread that is alone.
class ChangeCombiner {
 public:
  /// The store must outlive it.
  explicit ChangeCombiner(SessionStore& store) noexcept : store_(store) {}

  /// Executes one change of this process (session.uid 0).
  void Execute(ClientChange& change) noexcept;
  /// Executes changes of clients, and with them what has been queued.
  void Execute(std::vector<ClientChange>& changes) noexcept;

  /// For the one thread that collects: from now on it calls Execute or Poll
  /// every few microseconds; or not any more.
  void SetCollecting(bool collecting) noexcept;
  /// Executes what has been queued.
  void Poll() noexcept;

 private:
  // kAwaited: taken, and a group waits for it asleep.
  enum Turn : std::uint32_t { kFree, kTaken, kAwaited };
  // On the stack of its thread, which may leave as soon as it is done.
  struct Waiting {
    enum State : std::uint32_t { kWaiting, kAsleep, kDone };
    ClientChange* change;
    std::atomic<std::uint32_t> state{kWaiting};
  };

  [[nodiscard]] bool turn_is_free() const noexcept {
    return turn_.load(std::memory_order_seq_cst) == kFree;
  }
  [[nodiscard]] bool TryTurn() noexcept {
    // An exchange that fails would take the cache line from whoever has it.
    std::uint32_t turn = kFree;
    return turn_is_free() && turn_.compare_exchange_strong(
                                 turn, kTaken, std::memory_order_seq_cst);
  }
  void AwaitTurn() noexcept;
  // And sees to it that what is queued is executed.
  void GiveTurn() noexcept;
  // With the turn: executes `changes` and what is queued.
  void Combine(std::vector<ClientChange>& changes) noexcept;
  [[nodiscard]] bool AnyQueued() const noexcept {
    return queued_.load(std::memory_order_seq_cst) != 0;
  }

  SessionStore& store_;
  [[nodiscard]] bool collecting() const noexcept {
    return collecting_.load(std::memory_order_seq_cst);
  }

  std::atomic<std::uint32_t> turn_{kFree};
  std::atomic<bool> collecting_{false};
  std::atomic<std::size_t> queued_{0};  // Size of queue_.
  std::mutex mutex_;
  std::vector<Waiting*> queue_;  // Guarded by mutex_.
  // Of whoever has the turn.
  std::vector<Waiting*> taken_;
  std::vector<ClientChange> group_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SHARED_CHANGE_COMBINER_H_
