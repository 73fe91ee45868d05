// Some functions of RocksDB's are called by the names that they have in the
// library, as its headers do not tell of them. They are weak: where there are
// none, nothing is called. What was rejected: periods of 0 in the options (they
// stop the other tasks, not this one), a clock of our own (the timer takes the
// default one), and leaving the child by _exit from a handler, which would skip
// what the program wants done at its exit.

#include "index/rocks_forks.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <new>

#include <pthread.h>

extern "C++" {
[[gnu::weak]] void* RocksTasksOf(const rocksdb::DB* db) __asm__(
    "_ZNK7rocksdb6DBImpl29TEST_GetPeriodicTaskSchedulerEv");
[[gnu::weak]] rocksdb::Status
RocksCancelTask(void* tasks, std::uint8_t type) __asm__(
    "_ZN7rocksdb21PeriodicTaskScheduler10UnregisterENS_16Per"
    "iodicTaskTypeE");
[[gnu::weak]] void* RocksThreadsMutex() __asm__(
    "_ZN7rocksdb14ThreadLocalPtr10StaticMeta5MutexEv");
[[gnu::weak]] bool RocksTryLock(void* mutex) __asm__(
    "_ZN7rocksdb4port5Mutex7TryLockEv");
[[gnu::weak]] void RocksUnlock(void* mutex) __asm__(
    "_ZN7rocksdb4port5Mutex6UnlockEv");
}

namespace larder {
namespace {

// As in RocksDB 7.7 to 9.
constexpr std::uint8_t kFlushInfoLogTask = 2;

// In a child: the thread that had it is not there. What it did to the list, if
// it was in the midst of that, was four stores; a flush only reads it.
// Rejected: that forks wait for it. Two copies of this library in a process
// would each take it, and who has it may wait for a lock that the program holds
// at forks.
void FreeThreadsMutex() noexcept {
  if (&RocksThreadsMutex == nullptr || &RocksTryLock == nullptr ||
      &RocksUnlock == nullptr) {
    return;
  }
  void* const mutex = RocksThreadsMutex();
  static_cast<void>(RocksTryLock(mutex));
  RocksUnlock(mutex);
}

// Recursive, as who opens may be called back and fork there.
std::recursive_mutex& OpeningMutex() noexcept {
  // Never destroyed, as a handler of forks cannot be taken back.
  alignas(std::recursive_mutex) static std::byte
      memory[sizeof(std::recursive_mutex)];
  static std::recursive_mutex* const mutex = [] {
    auto* const made = new (memory) std::recursive_mutex;
    ::pthread_atfork([] { OpeningMutex().lock(); },
                     [] { OpeningMutex().unlock(); },
                     [] {
                       FreeThreadsMutex();
                       // The child's thread is another one to the mutex.
                       new (memory) std::recursive_mutex;
                     });
    return made;
  }();
  return *mutex;
}

}  // namespace

bool StopInfoLogTimer(rocksdb::DB& db) noexcept {
  if (&RocksTasksOf == nullptr || &RocksCancelTask == nullptr) return false;
  return RocksCancelTask(RocksTasksOf(&db), kFlushInfoLogTask).ok();
}

ForksHeld::ForksHeld() noexcept { OpeningMutex().lock(); }
ForksHeld::~ForksHeld() { OpeningMutex().unlock(); }

}  // namespace larder
