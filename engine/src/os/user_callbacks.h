#ifndef LARDER_ENGINE_SRC_OS_USER_CALLBACKS_H_
#define LARDER_ENGINE_SRC_OS_USER_CALLBACKS_H_

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string_view>

#include "larder/engine/engine.h"

namespace larder {

/// The callbacks of one engine's options, which are the user's code. What they
/// throw ends here: it is counted, and logged at the first time and whenever
/// there is twice as much of it. And it is known which threads are in one of
/// them, since some calls would wait for that very thread.
///
/// Threads:  thread-safe. Lifetime: shared by all who may call one.
/// Cost:     some stores a call; to ask costs one load of the thread's own.
class UserCallbacks {
 public:
  /// Puts guarded callbacks in the place of those in `options`.
  static std::shared_ptr<UserCallbacks> Guard(EngineOptions& options);

  /// OK, or kDeadlock in a callback of this engine: for what ends threads.
  [[nodiscard]] Status CheckMayClose() const noexcept;
  /// OK, or kDeadlock in the log callback, which is called under locks: for
  /// what takes some.
  [[nodiscard]] Status CheckMayCall() const noexcept {
    return innermost_ == nullptr ? Status() : CheckMayCallIn();
  }
  /// Whether this thread is in a callback, of any engine.
  [[nodiscard]] static bool IsInOne() noexcept { return innermost_ != nullptr; }
  /// From now on they are not called any more, but where they run just now.
  /// Whoever does so answers for what ends threads, and may close.
  void Silence() noexcept { silent_.store(true, std::memory_order_relaxed); }
  /// Calls that threw.
  [[nodiscard]] std::uint64_t failed() const noexcept {
    return failed_.load(std::memory_order_relaxed);
  }

 private:
  enum class Kind : std::uint8_t { kEviction, kLog };
  // A callback that runs on this thread; one may lead to the next.
  struct Frame {
    const UserCallbacks* callbacks;
    Kind kind;
    const Frame* outer;
  };
  static constinit thread_local const Frame* innermost_;

  // Calls it, one thread at a time.
  void Tell(std::string_view key, std::uint64_t size_bytes,
            EvictionReason reason) noexcept;
  [[nodiscard]] bool IsTelling() const noexcept;
  template <typename Call>
  void Run(Kind kind, Call&& call) noexcept;
  void NoteFailure(Kind kind, std::string_view what) noexcept;
  [[nodiscard]] Status CheckMayCallIn() const noexcept;

  EvictionCallback on_eviction_;
  LogCallback log_;
  std::atomic<std::uint64_t> failed_{0};
  std::atomic<bool> silent_{false};
  // ForkNumber of the process that tells of an eviction, else 0: an engine that
  // gives its store away has several threads for it for a while.
  std::atomic<std::uint64_t> telling_{0};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_USER_CALLBACKS_H_
