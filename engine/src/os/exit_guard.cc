#include "os/exit_guard.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <semaphore>
#include <thread>
#include <utility>

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#include "base/forks_held.h"
#include "base/grow_only_list.h"
#include "os/fork_guard.h"
#include "os/start_thread.h"
#include "os/user_callbacks.h"

namespace larder {
namespace {

// Another thread may have the lock of a stream for as long as it likes: one
// that waits for input, say.
constexpr std::chrono::seconds kFlushTimeMax{1};
constexpr std::chrono::milliseconds kOthersTimeMax{5000};
constexpr std::chrono::milliseconds kOthersTimeMaxInCallback{500};
constexpr std::chrono::milliseconds kOthersPause{1};
// Of this thread: how many ExitEndsAtOnce there are.
constinit thread_local int ends_at_once = 0;

// Nothing is allocated here but by the thread: there may be no memory left.
//
// Standard output first, and the streams of C++ where they have buffers of
// their own: what follows waits for any stream that another thread has, or this
// one has locked.
void FlushAll() noexcept {
  std::fflush(stdout);
  for (std::ostream* const stream : {&std::cout, &std::clog}) {
    try {
      stream->flush();
    } catch (...) {  // If the user wants it to throw: there is nobody to tell.
    }
  }
  std::fflush(nullptr);
}

// Without a thread that could wait: what nobody has.
void FlushUnlocked() noexcept {
  for (std::FILE* const stream : {stdout, stderr}) {
    if (::ftrylockfile(stream) != 0) continue;
    std::fflush(stream);
    ::funlockfile(stream);
  }
}

[[noreturn]] void EndProcess(int status) noexcept {
  std::binary_semaphore flushed{0};  // The thread may have it: no return.
  auto flusher = StartThread([&] {
    FlushAll();
    flushed.release();
  });
  if (flusher) {
    static_cast<void>(flushed.try_acquire_for(kFlushTimeMax));
    flusher->detach();
  } else {
    FlushUnlocked();
  }
  std::_Exit(status);
}

void EndIfAtOnce(int status, void* /*argument*/) {
  if (ends_at_once != 0) EndProcess(status);
}

}  // namespace

namespace internal {

/// What is open, or was: entries are used again. Nobody has a lock that a
/// forked child would find taken.
struct ExitEntry {
  enum class State : int {
    kFree,
    kTaken,    // Of one that is being made.
    kOpen,     // To be closed by exit.
    kClosing,  // By `closer`.
    kClosed,
    kLeft,  // Destroyed by whoever closes it.
  };
  std::atomic<State> state{State::kTaken};
  std::atomic<std::uint64_t> number{0};  // In the order of their making.
  std::atomic<pthread_t> closer{};
  const std::function<void()>* close = nullptr;  // Of one that is open.
};

}  // namespace internal

namespace {

using Entries = GrowOnlyList<internal::ExitEntry>;
using State = internal::ExitEntry::State;

constinit Entries entries;
constinit std::atomic<std::uint64_t> last_made{0};
constinit std::atomic<bool> exit_has_closed{false};
constinit std::atomic<int> exit_status{0};  // Of an exit that closes.
// How many ExitHeld there are, and how many of this thread.
constinit std::atomic<int> exit_held{0};
constinit thread_local int exit_held_here = 0;
// This thread has its handler of exit.
constinit thread_local bool is_in_exit = false;

bool Move(internal::ExitEntry& entry, State from, State to) noexcept {
  return entry.state.compare_exchange_strong(from, to);
}

Entries::Node* TakeEntry() {
  for (auto* node = entries.first(); node != nullptr; node = node->next) {
    if (Move(node->value, State::kFree, State::kTaken)) return node;
  }
  auto* const node = new Entries::Node;
  entries.Add(node);
  return node;
}

// The last one that was made.
internal::ExitEntry* LastOpen() noexcept {
  internal::ExitEntry* last = nullptr;
  for (auto* node = entries.first(); node != nullptr; node = node->next) {
    if (node->value.state.load() == State::kOpen &&
        (last == nullptr || node->value.number > last->number)) {
      last = &node->value;
    }
  }
  return last;
}

void CloseIfOpen(internal::ExitEntry& entry) noexcept {
  if (!Move(entry, State::kOpen, State::kClosing)) return;
  entry.closer.store(::pthread_self());
  (*entry.close)();
  if (!Move(entry, State::kClosing, State::kClosed)) {
    entry.state.store(State::kFree);
  }
  entry.state.notify_all();
}

void CloseOpen() noexcept {
  while (internal::ExitEntry* const entry = LastOpen()) CloseIfOpen(*entry);
}

// `argument` is the number of one.
void CloseOne(int status, void* argument) {
  EndIfAtOnce(status, nullptr);
  exit_status.store(status);
  const auto number = reinterpret_cast<std::uintptr_t>(argument);
  for (auto* node = entries.first(); node != nullptr; node = node->next) {
    // An entry is used again under another number.
    if (node->value.number.load() == number) CloseIfOpen(node->value);
  }
}

bool OthersAreClosing() noexcept {
  for (auto* node = entries.first(); node != nullptr; node = node->next) {
    if (node->value.state.load() == State::kClosing &&
        node->value.closer.load() != ::pthread_self()) {
      return true;
    }
  }
  return false;
}

void CloseAll(int status, void* argument);

// Each handler is called by one thread: the next one that calls exit needs its
// own, to wait like the first.
void LeaveOneForTheNext() noexcept {
  if (std::exchange(is_in_exit, true)) return;
  const ForksHeld held;  // on_exit has a lock.
  static_cast<void>(::on_exit(&CloseAll, nullptr));
}

void CloseAll(int status, void* argument) {
  EndIfAtOnce(status, argument);
  LeaveOneForTheNext();
  exit_status.store(status);
  CloseOpen();
  exit_has_closed.store(true);
  CloseOpen();  // What was opened meanwhile, and could not see that.
  const auto until =
      std::chrono::steady_clock::now() +
      (UserCallbacks::IsInOne() ? kOthersTimeMaxInCallback : kOthersTimeMax);
  while (OthersAreClosing() || exit_held.load() > exit_held_here) {
    if (std::chrono::steady_clock::now() > until) EndProcess(status);
    std::this_thread::sleep_for(kOthersPause);
  }
}

// Whoever was closing is not here, unless it is this thread: what the child may
// open yet is closed by its own exit.
void LeaveClosing() noexcept {
  for (auto* node = entries.first(); node != nullptr; node = node->next) {
    if (node->value.closer.load() != ::pthread_self()) {
      Move(node->value, State::kClosing, State::kOpen);
    }
  }
  exit_held.store(exit_held_here);
}

constexpr ForkHook kExitForkHook{.before = nullptr, .in_child = &LeaveClosing};

}  // namespace

ExitHeld::ExitHeld(Of of) noexcept : of_(of), process_(ForkNumber()) {
  WatchForks(kExitForkHook);
  if (of_ == Of::kThisThread) ++exit_held_here;
  ++exit_held;
}

ExitHeld::~ExitHeld() {
  // A child counts those of its own thread alone.
  if (of_ == Of::kAnyThread && process_ != ForkNumber()) return;
  if (of_ == Of::kThisThread) --exit_held_here;
  --exit_held;
}

ClosedAtExit::ClosedAtExit(std::function<void()> close)
    : close_(std::move(close)), entry_(TakeEntry()) {
  WatchForks(kExitForkHook);
  entry_->value.close = &close_;
  entry_->value.closer.store(pthread_t{});
  entry_->value.number.store(++last_made);
  entry_->value.state.store(State::kOpen);
}

void ClosedAtExit::CloseBeforeStaticsOfNow() noexcept {
  static_assert(sizeof(std::uintptr_t) == sizeof(std::uint64_t));
  const std::uint64_t number = entry_->value.number.load();
  const ForksHeld held;  // on_exit has a lock.
  // Without memory it is closed with all others.
  static_cast<void>(
      ::on_exit(&CloseOne, reinterpret_cast<void*>(std::uintptr_t{number})));
}

void ClosedAtExit::LeaveOrEnd() noexcept {
  internal::ExitEntry& entry = entry_->value;
  if (entry.state.load() == State::kClosing &&
      entry.closer.load() == ::pthread_self()) {
    return;  // The destructor does not wait.
  }
  if (!Move(entry, State::kOpen, State::kFree) &&
      !Move(entry, State::kClosed, State::kFree)) {
    EndProcess(exit_status.load());
  }
  entry_ = nullptr;
}

ClosedAtExit::~ClosedAtExit() {
  if (entry_ == nullptr) return;
  internal::ExitEntry& entry = entry_->value;
  if (Move(entry, State::kOpen, State::kFree)) return;
  if (entry.closer.load() == ::pthread_self() &&
      Move(entry, State::kClosing, State::kLeft)) {
    return;
  }
  entry.state.wait(State::kClosing);
  entry.state.store(State::kFree);
}

namespace {

// By which the loader knows what this is in; "": the program.
const char* NameOfThis() noexcept {
  Dl_info info{};
  void* found = nullptr;
  if (::dladdr1(reinterpret_cast<const void*>(&NameOfThis), &info, &found,
                RTLD_DL_LINKMAP) == 0) {
    return nullptr;
  }
  return static_cast<const link_map*>(found)->l_name;
}

// If dlclose unloaded the library that this is in, it would close what is open
// under the lock of the loader, for which RocksDB's threads wait in their turn.
void StayLoaded() noexcept {
  const char* const name = NameOfThis();
  if (name == nullptr || *name == '\0') return;
  // By that name no file is opened.
  static_cast<void>(::dlopen(name, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE));
}

}  // namespace

void CloseBeforeStaticsOfNow() noexcept {
  StayLoaded();
  const ForksHeld held;  // on_exit has a lock.
  // As atexit, but told the status.
  static_cast<void>(::on_exit(&CloseAll, nullptr));
}

void CloseBeforeStaticsOfProgram() noexcept {
  const char* const name = NameOfThis();
  if (name != nullptr && *name == '\0') CloseBeforeStaticsOfNow();
}

void ExitEndsAtOnce::Prepare() noexcept {
  StayLoaded();
  // One at least, should there be no memory later.
  static constinit std::atomic<bool> registered{false};
  if (!registered.exchange(true)) {
    const ForksHeld held;  // As above.
    static_cast<void>(::on_exit(&EndIfAtOnce, nullptr));
  }
}

// Exit must come to EndIfAtOnce before it destroys anything of RocksDB's: what
// CloseBeforeStaticsOfNow registers comes after what was made since. And before
// anything else that was made since, which may wait for what this thread has
// locked: so there is one each time, as nobody knows when a static object is
// made. They take 32 bytes and are never given back; a cache logs seldom.
ExitEndsAtOnce::ExitEndsAtOnce() noexcept {
  ++ends_at_once;
  const ForksHeld held;  // As above.
  // Without memory those of before have to do.
  static_cast<void>(::on_exit(&EndIfAtOnce, nullptr));
}

ExitEndsAtOnce::~ExitEndsAtOnce() { --ends_at_once; }

bool ExitHasClosed() noexcept { return exit_has_closed.load(); }

Status ExitHasClosedStatus() {
  return Status::Closed(
      "the process is ending: exit has closed what was open, and nothing opens "
      "any more");
}

}  // namespace larder
