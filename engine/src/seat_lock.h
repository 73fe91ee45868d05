#ifndef LARDER_ENGINE_SRC_SEAT_LOCK_H_
#define LARDER_ENGINE_SRC_SEAT_LOCK_H_

#include <string>

#include <sys/types.h>

#include "larder/engine/status.h"

#include "unique_fd.h"

namespace larder {

/// The right to change a cache directory: byte 0 of its file seat.lock, locked
/// exclusively. The file also names the holder, for messages only.
///
/// Threads:   thread-compatible.
/// Processes: one holder at a time, of all processes and of all SeatLocks in
///            one process. The kernel frees it when the holder dies. A forked
///            child shares it and keeps it alive: see CloseInChild.
class SeatLock {
 public:
  /// Tries once, without waiting; makes the file if there is none.
  /// `directory` is for messages. Errors: kSeatUnavailable (names the holder),
  /// kPermissionDenied, kNoSpace, kIoError.
  static Result<SeatLock> Acquire(int directory_fd,
                                  const std::string& directory) noexcept;

  SeatLock() noexcept = default;
  SeatLock(SeatLock&&) noexcept = default;
  SeatLock& operator=(SeatLock&&) = delete;
  ~SeatLock() { Release(); }

  /// Frees it for others, even if a child of a fork has it open; in such a
  /// child only lets go of the descriptor.
  void Release() noexcept;
  /// For a child after fork: closes the descriptor, which the parent's lock
  /// survives. Async-signal-safe.
  void CloseInChild() noexcept { fd_.Reset(); }
  /// Acquire made the file.
  [[nodiscard]] bool created() const noexcept { return created_; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  UniqueFd fd_;
  pid_t owner_ = 0;
  bool created_ = false;
};

inline constexpr const char* kSeatLockName = "seat.lock";

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEAT_LOCK_H_
