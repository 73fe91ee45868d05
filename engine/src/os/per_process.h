#ifndef LARDER_ENGINE_SRC_OS_PER_PROCESS_H_
#define LARDER_ENGINE_SRC_OS_PER_PROCESS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include <sched.h>
#include <sys/types.h>
#include <unistd.h>

#include "larder/engine/status.h"

#include "base/test_point.h"
#include "os/exit_guard.h"
#include "os/fork_guard.h"
#include "os/start_thread.h"
#include "os/user_callbacks.h"

namespace larder {

/// An object that belongs to one process, and is another one in a forked child.
/// The parent's is never destroyed in a child: its threads do not exist there,
/// and its locks may be held by them.
///
/// Who closes it says so first, where `check` of Get finds it, and then closes
/// what Settled returns: so either he sees what a child is just making, or Get
/// sees him.
///
/// Threads: thread-safe. T has InChild(), of a ForkGuard made with it, and
///          Leave(), which closes it for those who have it already and may be
///          called by several, before its destruction.
template <typename T>
class PerProcess {
 public:
  /// The first one. REQUIRES: there is none.
  void Set(T* first) noexcept { object_.store(first); }
  /// Of this process or, in a child before its first Get, of its parent;
  /// nullptr before Set.
  [[nodiscard]] T* Peek() const noexcept { return object_.load(); }
  /// The same, once no other thread of a child is making its own: that one may
  /// be the parent's, too, then. Does not wait in a callback.
  [[nodiscard]] T* Settled() const noexcept {
    const std::uint64_t self = ForkNumber();
    while (renewing_.load() == self && !MustNotWait()) {
      TestPoint("per_process.settles");
      ::sched_yield();
    }
    return Peek();
  }
  /// That of this process; in a child that has none, the first thread to get
  /// here makes it with `make()`, which returns Result<T*>, unless exit has
  /// closed everything or `check()`, a Status, forbids it. Both are asked
  /// before and once others see it; what is forbidden by then is left.
  /// Errors: kClosed (exit), those of both, and kDeadlock within `make`, and in
  /// a callback on any thread while another one is in it.
  template <typename Make, typename Check>
  [[nodiscard]] Result<T*> Get(Make&& make, Check&& check) noexcept {
    T* const object = Peek();
    if (!object->InChild()) [[likely]]
      return object;
    return Renew(make, check);
  }

 private:
  // Who makes it may wait for what runs a callback.
  bool MustNotWait() const noexcept {
    return renewer_.load() == ::gettid() || UserCallbacks::IsInOne();
  }
  // No mutex: another thread of the parent may have held it at the fork.
  template <typename Make, typename Check>
  Result<T*> Renew(Make& make, Check& check) noexcept {
    const std::uint64_t self = ForkNumber();
    for (;;) {
      T* const object = Peek();
      if (!object->InChild()) return object;
      std::uint64_t other = renewing_.load(std::memory_order_acquire);
      if (other == self && MustNotWait()) {
        return Fail(Status(StatusCode::kDeadlock,
                           "a callback cannot call a cache that is just being "
                           "opened in a forked child: call it from another "
                           "thread"));
      }
      if (other == self || !renewing_.compare_exchange_strong(other, self)) {
        ::sched_yield();
        continue;
      }
      return MakeAndLook(make, check);
    }
  }
  template <typename Make, typename Check>
  Result<T*> MakeAndLook(Make& make, Check& check) noexcept {
    const auto may_open = [&check] {
      return ExitHasClosed() ? ExitHasClosedStatus() : check();
    };
    const ExitHeld held;
    renewer_.store(::gettid());
    Status status = may_open();
    const Result<T*> mine =
        status.ok() ? make() : Result<T*>(Fail(std::move(status)));
    TestPoint("per_process.made");
    if (mine) object_.store(*mine);
    renewer_.store(0);
    renewing_.store(0, std::memory_order_release);
    if (!mine) return mine;
    // Whoever said so since the last look has seen the parent's.
    status = may_open();
    if (status.ok()) return mine;
    (*mine)->Leave().IgnoreError();  // Nobody is left to be told.
    return Fail(std::move(status));
  }

  // Its stores and loads are in one order with those of `check`.
  std::atomic<T*> object_{nullptr};
  // The number of the process that is making one; 0 = none.
  std::atomic<std::uint64_t> renewing_{0};
  std::atomic<pid_t> renewer_{0};  // Its thread that does; 0: none yet.
};

/// In the destructor of what owns `objects`: closes and destroys that of this
/// process, if it has one. In a callback another thread does, as whoever closes
/// it waits for the callback, which is the last one. T has Drop(), which
/// destroys it once nobody uses it. Exit waits for it.
template <typename T>
void DropMine(const PerProcess<T>& objects,
              std::unique_ptr<ClosedAtExit>& at_exit,
              UserCallbacks& callbacks) noexcept {
  const ExitHeld held;
  const bool is_in_callback = !callbacks.CheckMayClose().ok();
  // It may be closing this, and waiting for the callback that this is in.
  is_in_callback ? at_exit->Drop() : at_exit->BeginDestruction();
  T* const object = objects.Settled();
  // In a child that never used it, it is the parent's: leave it alone.
  if (object == nullptr || object->InChild()) return;
  if (!is_in_callback) return object->Drop();
  callbacks.Silence();
  auto* const closing = new ExitHeld(ExitHeld::Of::kAnyThread);
  auto closer = StartThread([object, closing, at_exit = at_exit.release()] {
    object->Drop();
    delete at_exit;
    delete closing;
  });
  if (closer) closer->detach();  // Else all are leaked.
}

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_PER_PROCESS_H_
