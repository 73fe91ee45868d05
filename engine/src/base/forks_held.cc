// There is no lock here that a fork could find taken. Of a fork's handlers the
// last to be registered comes first. So ours come twice: at first those wait
// who open a cache while they need what another handler locks, the allocator's
// locks say; nobody is held back yet, as who opens a cache may also have what
// another handler waits for. A fork is under way after all others but those
// that were registered before this was loaded.

#include "base/forks_held.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include <pthread.h>
#include <time.h>

#include "base/check.h"

namespace larder {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kWaitMax{5};
constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 50'000};
constexpr int kUnknown = -1;
constexpr int kBeingRegistered = -2;

// How many hold forks back, or less than 0: so many forks are under way.
constinit std::atomic<std::int64_t> held{0};
// Somebody did not wait any longer for those that are under way: nobody else
// does, either.
constinit std::atomic<bool> given_up{false};
// Of this thread: how many ForksHeld, and whether one of them is counted.
constinit thread_local int held_here = 0;
constinit thread_local bool is_counted = false;
// While it forks: how many forks it is in before and after the handlers of the
// program (one of those may fork), whether one is counted, and when the first
// one goes on.
constinit thread_local int forks_begun_here = 0;
constinit thread_local int forks_here = 0;
constinit thread_local bool fork_is_counted = false;
constinit thread_local SteadyClock::time_point fork_until{};
constinit std::array<std::atomic<const ForkHook*>, 8> hooks{};
// What pthread_atfork said.
constinit std::atomic<int> first_error{kUnknown};
constinit std::atomic<int> last_error{kUnknown};

// False: it did not come true in time.
template <typename Condition>
bool Await(SteadyClock::time_point until, Condition&& condition) noexcept {
  if (condition()) return true;
  while (SteadyClock::now() < until) {
    ::nanosleep(&kPause, nullptr);
    if (condition()) return true;
  }
  return false;
}

// Unless that leads nearer to 0.
bool TryAdd(std::int64_t step) noexcept {
  std::int64_t now = held.load();
  while (now * step >= 0) {
    if (held.compare_exchange_weak(now, now + step)) return true;
  }
  return false;
}

// False: it is not counted, as the fork that is under way takes too long.
bool AwaitForks() noexcept {
  if (TryAdd(1)) return true;
  if (given_up.load()) return false;
  if (Await(SteadyClock::now() + kWaitMax, [] { return TryAdd(1); })) {
    return true;
  }
  given_up.store(true);
  if (held.load() >= 0) given_up.store(false);  // It has just ended.
  return false;
}

// Not below 0: in the child of a fork that came in the midst of making one, in
// a handler of signals, it is not counted.
void TakeBack() noexcept {
  std::int64_t now = held.load();
  while (now > 0 && !held.compare_exchange_weak(now, now - 1)) {
  }
}

SteadyClock::time_point ForkUntil() noexcept {
  if (fork_until == SteadyClock::time_point{}) {
    fork_until = SteadyClock::now() + kWaitMax;
  }
  return fork_until;
}

// A thread does not wait for itself. Its child then has what it had.
void PrepareFirst() noexcept {
  ++forks_begun_here;
  if (held_here != 0 || forks_here != 0) return;
  static_cast<void>(Await(ForkUntil(), [] { return held.load() <= 0; }));
}

void PrepareLast() noexcept {
  forks_begun_here = std::max(forks_begun_here - 1, 0);
  if (forks_here++ == 0) {
    fork_is_counted =
        held_here == 0 && Await(ForkUntil(), [] { return TryAdd(-1); });
  }
  for (const auto& hook : hooks) {
    const ForkHook* const known = hook.load();
    if (known != nullptr && known->before != nullptr) known->before();
  }
}

void EndFork() noexcept {
  if (--forks_here != 0) return;
  fork_is_counted = false;
  if (forks_begun_here == 0) fork_until = {};
}

void InParent() noexcept {
  if (forks_here == 1 && fork_is_counted && held.fetch_add(1) == -1) {
    given_up.store(false);
  }
  EndFork();
}

void InChild() noexcept {
  const bool goes_on = forks_here > 1 && fork_is_counted;
  // Others are not here.
  held.store(goes_on ? -1 : is_counted ? 1 : 0);
  given_up.store(false);
  EndFork();
  for (const auto& hook : hooks) {
    const ForkHook* const known = hook.load();
    if (known != nullptr && known->in_child != nullptr) known->in_child();
  }
}

void Register(void (*prepare)(), void (*parent)(), void (*child)(),
              std::atomic<int>& result) noexcept {
  int before = kUnknown;
  if (!result.compare_exchange_strong(before, kBeingRegistered)) return;
  result.store(::pthread_atfork(prepare, parent, child));
}

[[gnu::constructor(102)]] void RegisterLast() noexcept {
  Register(&PrepareLast, &InParent, &InChild, last_error);
}

}  // namespace

// In the handlers of a fork that the thread itself is in, nobody is waited for.
ForksHeld::ForksHeld() noexcept
    : counted_(held_here == 0 && !fork_is_counted && AwaitForks()) {
  ++held_here;
  is_counted |= counted_;
}

ForksHeld::~ForksHeld() {
  --held_here;
  if (!counted_) return;
  is_counted = false;
  TakeBack();
}

bool ForksHeld::IsHeldHere() noexcept { return held_here != 0; }

void WatchForks(const ForkHook& hook) noexcept {
  for (auto& slot : hooks) {
    const ForkHook* known = nullptr;
    if (slot.compare_exchange_strong(known, &hook) || known == &hook) return;
  }
  LARDER_CHECK(false);
}

Status ForksAreWatched() {
  RegisterLast();  // Before main, others' constructors may come first.
  Register(&PrepareFirst, nullptr, nullptr, first_error);
  const int error = std::max(first_error.load(), last_error.load());
  return error <= 0 ? Status() : Status::FromErrno(error, "pthread_atfork");
}

}  // namespace larder
