#ifndef LARDER_ENGINE_SRC_OS_EXIT_GUARD_H_
#define LARDER_ENGINE_SRC_OS_EXIT_GUARD_H_

#include <cstdint>
#include <functional>

#include "larder/engine/status.h"

namespace larder {
namespace internal {

struct ExitEntry;

}  // namespace internal

/// Has exit close what is open while that is still possible. RocksDB cannot be
/// used, nor even closed, after its own static objects are destroyed, and the
/// variable that holds a cache may outlive them: exit destroys what was made
/// last first.
///
/// It is closed before exit destroys a static object that existed when it was
/// made or when it was open, and after those that were made later. While
/// another thread opens, closes or destroys it, exit waits for that there, as
/// ExitHeld says.
///
/// Threads:   thread-safe. The destructor waits while exit closes it.
/// Processes: a forked child has what its parent had; `close` has to know what
///            is whose.
/// Cost:      two handlers of exit, which are never given back (64 bytes).
class ClosedAtExit {
 public:
  /// Of what this thread opens from now on. `close` may be called on any
  /// thread, once, as long as this lives; in a child that was forked meanwhile
  /// also before it is open.
  explicit ClosedAtExit(std::function<void()> close);
  /// REQUIRES: no Busy of another thread.
  ~ClosedAtExit();
  /// From now on exit closes it.
  void SetOpen() noexcept;
  /// This thread destroys what was open: waits while exit closes it, and from
  /// then on exit waits for the destructor of this.
  void BeginDestruction() noexcept;
  /// The same, for a thread that `close` waits for: if exit is closing it just
  /// now, ends the process with exit's status, as ExitEndsAtOnce does. What is
  /// left to close does not need what owns this.
  void Drop() noexcept;

  /// While one lives this thread closes it, unless it is being closed or was.
  class Busy {
   public:
    explicit Busy(const ClosedAtExit& of) noexcept;
    ~Busy();
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    internal::ExitEntry& entry_;
    const std::uint64_t number_;
    bool is_mine_ = false;
  };

  ClosedAtExit(const ClosedAtExit&) = delete;
  ClosedAtExit& operator=(const ClosedAtExit&) = delete;

 private:
  const std::function<void()> close_;
  internal::ExitEntry& entry_;
  const std::uint64_t number_;
};

/// While one lives, an exit by another thread waits before it goes on to
/// RocksDB's static objects: for what may use them and is not open. It waits
/// for 5 s, half a second in a callback (which may be what is waited for), and
/// then ends the process with its status, as ExitEndsAtOnce.
///
/// Threads: to be made and destroyed by one, unless it is Of::kAnyThread.
class ExitHeld {
 public:
  enum class Of { kThisThread, kAnyThread };
  explicit ExitHeld(Of of = Of::kThisThread) noexcept;
  ~ExitHeld();
  ExitHeld(const ExitHeld&) = delete;
  ExitHeld& operator=(const ExitHeld&) = delete;

 private:
  const Of of_;
  const std::uint64_t process_;  // Its ForkNumber.
};

/// From now on everything is closed before exit destroys a static object that
/// exists now; what is made later goes first and may use the cache. To be
/// called once by whoever needs it, as what was made since the last call
/// counts, too. A shared library that this is in is not unloaded any more.
void CloseBeforeStaticsOfNow() noexcept;

/// The same, in a program; in a library it does nothing, which might be
/// unloaded without having been used. For whoever makes static objects before
/// main.
void CloseBeforeStaticsOfProgram() noexcept;

/// While one exists, an exit by this thread closes nothing and ends the process
/// with its status, as kill -9 would but for what stdio has buffered: the
/// thread may have locks that closing waits for, and does not come back to give
/// them up. RocksDB's static objects are left alone, too, as its threads live
/// on.
///
/// Threads: of the one that makes it.
/// Cost:    a handler of exit each, which is never given back (32 bytes).
class ExitEndsAtOnce {
 public:
  ExitEndsAtOnce() noexcept;
  ~ExitEndsAtOnce();
  ExitEndsAtOnce(const ExitEndsAtOnce&) = delete;
  ExitEndsAtOnce& operator=(const ExitEndsAtOnce&) = delete;

  /// To be called before the first one, under no lock. A shared library that
  /// this is in is not unloaded any more.
  static void Prepare() noexcept;
};

/// True once exit has closed everything: nothing can be opened any more. To be
/// asked after an ExitHeld was made, and again after a ClosedAtExit was.
[[nodiscard]] bool ExitHasClosed() noexcept;
/// kClosed, of what would be opened then.
[[nodiscard]] Status ExitHasClosedStatus();

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_EXIT_GUARD_H_
