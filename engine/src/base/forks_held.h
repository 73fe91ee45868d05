#ifndef LARDER_ENGINE_SRC_BASE_FORK_HELD_MUTEX_H_
#define LARDER_ENGINE_SRC_BASE_FORK_HELD_MUTEX_H_

#include <mutex>

#include <pthread.h>

namespace larder {

/// A mutex of the whole process, one for each Tag. Forks wait for it, so that a
/// child finds it free. It is a leaf of the lock order: nothing is locked under
/// it, and who holds it does not fork.
///
/// Threads: thread-safe, also in static destructors.
template <typename Tag>
std::mutex& ForkHeldMutex() noexcept {
  // Never destroyed, as a handler of forks cannot be taken back.
  static std::mutex* const mutex = [] {
    auto* const made = new std::mutex;
    ::pthread_atfork([] { ForkHeldMutex<Tag>().lock(); },
                     [] { ForkHeldMutex<Tag>().unlock(); },
                     [] { ForkHeldMutex<Tag>().unlock(); });
    return made;
  }();
  return *mutex;
}

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_FORK_HELD_MUTEX_H_
