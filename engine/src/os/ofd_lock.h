#ifndef LARDER_ENGINE_SRC_OS_OFD_LOCK_H_
#define LARDER_ENGINE_SRC_OS_OFD_LOCK_H_

#include <cstdint>

#include "larder/engine/status.h"

/// Locks on bytes of a file that belong to an open file description (Linux,
/// F_OFD_SETLK). The kernel releases them when the last descriptor of it is
/// closed, above all when the process dies. Unlike fcntl's classic locks they
/// survive the closing of unrelated descriptors, and two caches in one process
/// exclude each other.

namespace larder {

enum class OfdLock : std::uint8_t { kNone, kShared, kExclusive };

/// Sets the lock on one byte; changing its kind is atomic. False if another
/// description's lock is in the way.
[[nodiscard]] Result<bool> TryOfdLock(int fd, std::uint64_t byte,
                                      OfdLock kind) noexcept;
/// Waits for it; fcntl is a cancellation point of the thread.
/// Not noexcept: cancelling a thread unwinds its stack.
[[nodiscard]] int WaitForExclusiveOfdLock(int fd, std::uint64_t byte);
/// Whether another description holds any lock on the byte.
[[nodiscard]] Result<bool> IsOfdLocked(int fd, std::uint64_t byte) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_OFD_LOCK_H_
