#ifndef LARDER_ENGINE_SRC_OS_PER_PROCESS_H_
#define LARDER_ENGINE_SRC_OS_PER_PROCESS_H_

#include <atomic>
#include <cstdint>

#include <sched.h>

#include "larder/engine/status.h"

#include "os/fork_guard.h"

namespace larder {

/// An object that belongs to one process, and is another one in a forked child.
/// The parent's is never destroyed in a child: its threads do not exist there,
/// and its locks may be held by them.
///
/// Threads: thread-safe. T has InChild(), of a ForkGuard made with it.
template <typename T>
class PerProcess {
 public:
  /// The first one. REQUIRES: there is none.
  void Set(T* first) noexcept {
    object_.store(first, std::memory_order_release);
  }
  /// Of this process or, in a child before its first Get, of its parent;
  /// nullptr before Set.
  [[nodiscard]] T* Peek() const noexcept {
    // Acquire pairs with the releases in Set and Renew.
    return object_.load(std::memory_order_acquire);
  }
  /// That of this process; in a child that has none, the first thread to get
  /// here makes it with `make()`, which returns Result<T*>.
  template <typename Make>
  [[nodiscard]] Result<T*> Get(Make&& make) noexcept {
    T* const object = Peek();
    if (!object->InChild()) [[likely]]
      return object;
    return Renew(make);
  }

 private:
  // No mutex: another thread of the parent may have held it at the fork.
  template <typename Make>
  Result<T*> Renew(Make& make) noexcept {
    const std::uint64_t self = ForkNumber();
    for (;;) {
      T* const object = Peek();
      if (!object->InChild()) return object;
      std::uint64_t other = renewing_.load(std::memory_order_acquire);
      if (other == self || !renewing_.compare_exchange_strong(other, self)) {
        ::sched_yield();
        continue;
      }
      const Result<T*> mine = make();
      if (mine) object_.store(*mine, std::memory_order_release);
      renewing_.store(0, std::memory_order_release);
      return mine;
    }
  }

  std::atomic<T*> object_{nullptr};
  // The number of the process that is making one; 0 = none.
  std::atomic<std::uint64_t> renewing_{0};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_PER_PROCESS_H_
