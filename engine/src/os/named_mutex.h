#ifndef LARDER_ENGINE_SRC_OS_NAMED_MUTEX_H_
#define LARDER_ENGINE_SRC_OS_NAMED_MUTEX_H_

#include <memory>
#include <string>

#include "larder/engine/status.h"

#include "os/futex.h"

namespace larder {

/// A mutex that processes share by name: boost::interprocess::named_mutex with
/// its traps covered. It has no owner: if a process dies inside, it stays
/// locked for ever, and an unlock too many would let two in. So it is never
/// used alone: whoever takes it holds a lock of the kernel's first (OfdLock),
/// which says that no other process can be inside, and then Adopts it. Its
/// memory is anybody's of the same user: each call but Open looks whether it is
/// still a semaphore, and is kCorruption if not, or if its name is another
/// file's by now. Who has the kernel's lock goes on without it then. Its file
/// is in use (in_use.h) as long as this lives.
///
/// Threads:   thread-safe, as a mutex is; no thread of this process owns it.
/// Processes: any number of the same user. The name must not be removed while
///            it may be in use: the next to open it would get another mutex.
class NamedMutex {
 public:
  /// Where the C library keeps them, and what it puts before a name.
  static constexpr const char* kDirectory = "/dev/shm";
  static constexpr const char* kFilePrefix = "sem.";

  /// Opens or creates it, readable and writable by this user only.
  /// Errors: kPermissionDenied (somebody else has that name), kNoSpace,
  /// kIoError (no /dev/shm).
  static Result<std::unique_ptr<NamedMutex>> Open(
      const std::string& name) noexcept;
  /// Removes a name that nobody uses.
  static void Remove(const std::string& name) noexcept;

  ~NamedMutex();
  NamedMutex(const NamedMutex&) = delete;
  NamedMutex& operator=(const NamedMutex&) = delete;

  /// Errors: kCorruption.
  [[nodiscard]] Result<bool> TryLock() noexcept;
  /// Waits in slices of 50 ms. Errors: kTimedOut, kCorruption.
  [[nodiscard]] Status Lock(SteadyTime deadline) noexcept;
  /// Locks it whatever its state: free, left locked by a dead process, or
  /// unlocked once too often. REQUIRES: no living process is inside, by the
  /// word of the kernel's lock. Errors: kCorruption.
  [[nodiscard]] Status Adopt() noexcept;
  /// REQUIRES: locked by this process. Errors: kCorruption.
  [[nodiscard]] Status Unlock() noexcept;

 private:
  struct Impl;
  explicit NamedMutex(std::unique_ptr<Impl> impl) noexcept;
  [[nodiscard]] Status CheckSound() const noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_NAMED_MUTEX_H_
