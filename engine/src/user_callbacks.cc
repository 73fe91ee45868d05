#include "user_callbacks.h"

#include <bit>
#include <string>
#include <utility>

namespace larder {

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
      callbacks->Run(Kind::kEviction,
                     [&] { callbacks->on_eviction_(key, size, reason); });
    };
  }
  if (callbacks->log_) {
    options.log = [callbacks](std::string_view line) {
      callbacks->Run(Kind::kLog, [&] { callbacks->log_(line); });
    };
  }
  return callbacks;
}

template <typename Call>
void UserCallbacks::Run(Kind kind, Call&& call) noexcept {
  if (silent_.load(std::memory_order_relaxed)) return;
  const Frame frame{.callbacks = this, .kind = kind, .outer = innermost_};
  innermost_ = &frame;
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
