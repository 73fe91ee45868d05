#ifndef LARDER_ENGINE_SRC_OS_START_THREAD_H_
#define LARDER_ENGINE_SRC_OS_START_THREAD_H_

#include <atomic>
#include <concepts>
#include <system_error>
#include <thread>
#include <utility>

#include "larder/engine/status.h"

#include "base/process_limits.h"
#include "os/signal_mask.h"

namespace larder {

/// False as if the system had no thread to give. nullptr outside of tests.
using ThreadGrant = bool (*)() noexcept;
inline constinit std::atomic<ThreadGrant> thread_grant{nullptr};

inline Status NoThread(const std::system_error& error) {
  return Status::FromErrno(
      error.code().value(),
      "cannot start a thread (see 'ulimit -u' and the pids limit)");
}

/// Throws if a test wants it.
inline void AskForThread() {
  const ThreadGrant grant = thread_grant.load(std::memory_order_relaxed);
  if (grant != nullptr && !grant()) {
    throw std::system_error(
        std::make_error_code(std::errc::resource_unavailable_try_again));
  }
}

/// Starts a thread of ours: all are started here, but the seat's, which is
/// cancelled, and RocksDB's. Signals of the
/// application are for its own threads. Errors: kIoError (the system has no
/// more threads); who asks goes on without one, or says so to its caller.
template <std::invocable Fn>
[[nodiscard]] Result<std::thread> StartThread(Fn&& run) noexcept {
  const SignalsBlocked blocked;
  try {
    AskForThread();
    return std::thread([run = std::forward<Fn>(run)]() mutable {
      FileSizeSignalHeld::HoldForEver();
      run();
    });
  } catch (const std::system_error& e) {
    return Fail(NoThread(e));
  }
}

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_START_THREAD_H_
