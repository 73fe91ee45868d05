#ifndef LARDER_ENGINE_SRC_BASE_FORKS_HELD_H_
#define LARDER_ENGINE_SRC_BASE_FORKS_HELD_H_

#include "larder/engine/status.h"

namespace larder {

/// While any lives, other threads that fork wait: for what would leave a lock
/// or a thread of RocksDB's or the C library's behind that the child waits for,
/// when it exits or opens a cache. It is no lock: any number of threads may
/// have some.
///
/// A fork waits for 5 s, goes on then, and its child has that risk: who holds
/// forks back may itself wait for somebody who forks. For the same time at most
/// one that is made waits for a fork that is under way. Nothing of the user's
/// is to be called meanwhile.
///
/// Threads: of the one that makes it. Cost: two atomic additions.
class ForksHeld {
 public:
  ForksHeld() noexcept;
  ~ForksHeld();
  ForksHeld(const ForksHeld&) = delete;
  ForksHeld& operator=(const ForksHeld&) = delete;

  /// Whether this thread has one.
  [[nodiscard]] static bool IsHeldHere() noexcept;

 private:
  bool counted_;
};

/// What is to be run when a process forks; either may be null. Both must be
/// safe in a signal handler: others may be in the middle of anything.
struct ForkHook {
  void (*before)() noexcept;
  void (*in_child)() noexcept;
};

/// From now on `hook` is run, once for each fork. Does nothing if it is known.
/// Lifetime: that of the process.
void WatchForks(const ForkHook& hook) noexcept;

/// OK, or kIoError: there was no memory for what watches forks, and the process
/// can have no cache that a child leaves alone.
[[nodiscard]] Status ForksAreWatched();

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_FORKS_HELD_H_
