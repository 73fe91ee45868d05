#include "os/user_callbacks.h"

#include <bit>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "os/exit_guard.h"
#include "os/fork_guard.h"

namespace larder {
namespace {

// Rare: two threads tell only after a store was given away.
constexpr std::chrono::milliseconds kTurnPause{1};

}  // namespace

constinit thread_local const UserCallbacks::Frame* UserCallbacks::innermost_ =
    nullptr;

std::shared_ptr<UserCallbacks> UserCallbacks::Guard(EngineOptions& options) {
  auto callbacks = std::make_shared<UserCallbacks>();
  callbacks->on_eviction_ = std::move(options.on_eviction);
  callbacks->log_ = std::move(options.log);
  options.on_eviction = nullptr;
  options.log = nullptr;
  if (callbacks->on_eviction_) {
    options.on_eviction = [callbacks](std::string_view key, std::uint64_t size,
                                      EvictionReason reason) {
      callbacks->Tell(key, size, reason);
    };
  }
  if (callbacks->log_) {
    ExitEndsAtOnce::Prepare();
    options.log = [callbacks](std::string_view line) {
      callbacks->Run(Kind::kLog, [&] { callbacks->log_(line); });
    };
  }
  return callbacks;
}

// Whether this thread does, in a call that led here.
bool UserCallbacks::IsTelling() const noexcept {
  for (const Frame* frame = innermost_; frame != nullptr;
       frame = frame->outer) {
    if (frame->callbacks == this && frame->kind == Kind::kEviction) return true;
  }
  return false;
}

// No mutex: who waits must give up as soon as the callback that runs closes the
// engine, which waits for it; and in a forked child nobody has one.
void UserCallbacks::Tell(std::string_view key, std::uint64_t size_bytes,
                         EvictionReason reason) noexcept {
  const auto tell = [&] {
    Run(Kind::kEviction, [&] { on_eviction_(key, size_bytes, reason); });
  };
  if (IsTelling()) return tell();
  const std::uint64_t self = ForkNumber();
  std::uint64_t teller = 0;
  // Acquire and release: each callback sees what the one before has done.
  while (!telling_.compare_exchange_weak(teller, self,
                                         std::memory_order_acquire)) {
    // The parent's thread is not here.
    if (teller != 0 && teller != self) continue;
    if (silent_.load(std::memory_order_relaxed)) return;
    if (teller != 0) std::this_thread::sleep_for(kTurnPause);
    teller = 0;
  }
  tell();
  // Unless this is a child by now, where another thread may be telling.
  teller = self;
  telling_.compare_exchange_strong(teller, 0, std::memory_order_release);
}

template <typename Call>
void UserCallbacks::Run(Kind kind, Call&& call) noexcept {
  if (silent_.load(std::memory_order_relaxed)) return;
  const Frame frame{.callbacks = this, .kind = kind, .outer = innermost_};
  innermost_ = &frame;
  // An eviction callback has no locks: what it calls exit with is closed.
  std::optional<ExitEndsAtOnce> at_once;
  if (kind == Kind::kLog) at_once.emplace();
  try {
    call();
  } catch (const std::exception& e) {
    NoteFailure(kind, e.what());
  } catch (...) {
    NoteFailure(kind, "something that is no std::exception");
  }
  innermost_ = frame.outer;
}

void UserCallbacks::NoteFailure(Kind kind, std::string_view what) noexcept {
  const std::uint64_t count = failed_.fetch_add(1) + 1;
  // A log callback that throws is not told of itself.
  if (kind == Kind::kLog || !log_ || !std::has_single_bit(count)) return;
  const std::string line = "the eviction callback threw: " + std::string(what) +
                           " (" + std::to_string(count) + " so far)";
  Run(Kind::kLog, [&] { log_(line); });
}

Status UserCallbacks::CheckMayClose() const noexcept {
  if (silent_.load(std::memory_order_relaxed)) return {};
  for (const Frame* frame = innermost_; frame != nullptr;
       frame = frame->outer) {
    if (frame->callbacks != this) continue;
    return {StatusCode::kDeadlock,
            "a callback of a cache cannot close it, as that waits for the "
            "callback to end: close it from another thread"};
  }
  return {};
}

Status UserCallbacks::CheckMayCallIn() const noexcept {
  for (const Frame* frame = innermost_; frame != nullptr;
       frame = frame->outer) {
    if (frame->callbacks != this || frame->kind != Kind::kLog) continue;
    return {StatusCode::kDeadlock,
            "the log callback of a cache cannot call it, as it is called in "
            "the middle of things: call it from another thread"};
  }
  return {};
}

}  // namespace larder
