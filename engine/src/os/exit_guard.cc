#include "os/exit_guard.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <utility>

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#include "base/forks_held.h"
#include "base/grow_only_list.h"
#include "os/end_process.h"
#include "os/fork_guard.h"
#include "os/user_callbacks.h"

// Nothing here has a lock that a forked child would find taken.

namespace larder {

namespace internal {

/// What is open, or was: entries are used again.
struct ExitEntry {
  enum class State : std::uint64_t {
    kFree,
    kTaken,    // Of one that is being made.
    kBusy,     // `by` opens, closes or destroys it.
    kOpen,     // To be closed by exit.
    kClosing,  // By exit, in `by`.
    kClosed,
    kLeft,     // Destroyed by whoever closes it.
    kDropped,  // What was open is still being closed.
  };
  struct Word {
    std::uint64_t number : 61;  // In the order of their making; each once.
    State state : 3;
  };
  static_assert(std::atomic<Word>::is_always_lock_free);
  std::atomic<Word> word{Word{.number = 0, .state = State::kTaken}};
  // Cleared before the state ends: another thread never finds itself there.
  std::atomic<pthread_t> by{};
  const std::function<void()>* close = nullptr;  // Of one that is open.
};

}  // namespace internal

namespace {

using Entry = internal::ExitEntry;
using State = Entry::State;
using Entries = GrowOnlyList<Entry>;
using Handler = void (*)(int status, void* argument);

constexpr std::chrono::milliseconds kOthersTimeMax{5000};
constexpr std::chrono::milliseconds kOthersTimeMaxInCallback{500};
constexpr std::chrono::milliseconds kOthersPause{1};

constinit Entries entries;
constinit std::atomic<std::uint64_t> last_made{0};
constinit std::atomic<bool> exit_has_closed{false};
// Of the exit that closes: its thread, the first that came, and its status.
constinit std::atomic<pthread_t> exit_thread{};
constinit std::atomic<int> exit_status{0};
// How many ExitHeld there are, and how many of this thread.
constinit std::atomic<int> exit_held{0};
constinit thread_local int exit_held_here = 0;
// Of this thread: how many ExitEndsAtOnce there are.
constinit thread_local int ends_at_once = 0;

// Without memory those of before have to do.
void Register(Handler handler, std::uint64_t argument = 0) noexcept {
  static_assert(sizeof(std::uintptr_t) == sizeof(std::uint64_t));
  const ForksHeld held;  // on_exit has a lock.
  // As atexit, but told the status.
  static_cast<void>(
      ::on_exit(handler, reinterpret_cast<void*>(std::uintptr_t{argument})));
}

// Entries ---------------------------------------------------------------------

bool Move(Entry& entry, std::uint64_t number, State from, State to) noexcept {
  Entry::Word word{.number = number, .state = from};
  const Entry::Word next{.number = number, .state = to};
  return entry.word.compare_exchange_strong(word, next);
}

// By this thread, which has it.
bool EndBy(Entry& entry, std::uint64_t number, State from, State to) noexcept {
  entry.by.store({});
  return Move(entry, number, from, to);
}

Entries::Node* TakeEntry() {
  for (auto* node = entries.first(); node != nullptr; node = node->next) {
    const std::uint64_t number = node->value.word.load().number;
    if (Move(node->value, number, State::kFree, State::kTaken)) return node;
  }
  auto* const node = new Entries::Node;
  entries.Add(node);
  return node;
}

// The last one that was made.
std::uint64_t LastOpen(Entry*& last) noexcept {
  std::uint64_t number = 0;
  for (auto* node = entries.first(); node != nullptr; node = node->next) {
    const Entry::Word word = node->value.word.load();
    if (word.state != State::kOpen || word.number < number) continue;
    last = &node->value;
    number = word.number;
  }
  return number;
}

void CloseIfOpen(Entry& entry, std::uint64_t number) noexcept {
  if (!Move(entry, number, State::kOpen, State::kClosing)) return;
  entry.by.store(::pthread_self());
  (*entry.close)();
  if (!EndBy(entry, number, State::kClosing, State::kClosed)) {
    Move(entry, number, State::kLeft, State::kFree);
  }
}

void CloseOpen() noexcept {
  Entry* entry = nullptr;
  while (const std::uint64_t number = LastOpen(entry)) {
    CloseIfOpen(*entry, number);
  }
}

bool IsOthers(const Entry& entry) noexcept {
  switch (entry.word.load().state) {
    case State::kBusy:
    case State::kClosing:
      return entry.by.load() != ::pthread_self();
    case State::kDropped:
      return true;
    default:
      return false;
  }
}

bool OthersAreBusy() noexcept {
  for (auto* node = entries.first(); node != nullptr; node = node->next) {
    if (IsOthers(node->value)) return true;
  }
  return false;
}

// Exit ------------------------------------------------------------------------

void EndIfAtOnce(int status, void* /*argument*/) {
  if (ends_at_once != 0) EndProcess(status);
}

auto OthersDeadline() noexcept {
  return std::chrono::steady_clock::now() +
         (UserCallbacks::IsInOne() ? kOthersTimeMaxInCallback : kOthersTimeMax);
}

template <typename Condition>
void WaitWhile(int status, Condition&& condition) noexcept {
  const auto until = OthersDeadline();
  while (condition()) {
    if (std::chrono::steady_clock::now() > until) EndProcess(status);
    std::this_thread::sleep_for(kOthersPause);
  }
}

bool IsExitThread() noexcept {
  pthread_t thread{};
  return exit_thread.compare_exchange_strong(thread, ::pthread_self()) ||
         thread == ::pthread_self();
}

// What exits, too, stays here until the process ends, as from glibc 2.41 on it
// does anyway: two at once would destroy what each other's handlers wait for.
// The other one may wait for a callback.
[[noreturn]] void Stay(int status) noexcept {
  const bool is_in_callback = UserCallbacks::IsInOne();
  for (;;) {
    std::this_thread::sleep_for(kOthersTimeMaxInCallback);
    if (is_in_callback) EndProcess(status);
  }
}

// A handler is called by one thread alone, whichever comes next: whoever stays
// leaves it for the one that goes on. That one starts over at the last handler,
// as something was registered, so it does not matter to it that others have
// taken some (glibc frees what is empty).
void KeepOthers(int status, void* /*argument*/) {
  EndIfAtOnce(status, nullptr);
  if (IsExitThread()) return;
  Register(&KeepOthers);
  Stay(status);
}

void BeginHandler(int status, Handler handler,
                  std::uint64_t argument) noexcept {
  EndIfAtOnce(status, nullptr);
  if (!IsExitThread()) {
    Register(handler, argument);
    Stay(status);
  }
  Register(&KeepOthers);
  exit_status.store(status);
}

// `argument` is the number of one.
void CloseOne(int status, void* argument) {
  const auto number = reinterpret_cast<std::uintptr_t>(argument);
  BeginHandler(status, &CloseOne, number);
  for (auto* node = entries.first(); node != nullptr; node = node->next) {
    Entry& entry = node->value;
    WaitWhile(status, [&] {
      CloseIfOpen(entry, number);
      return entry.word.load().number == number && IsOthers(entry);
    });
  }
}

void CloseAll(int status, void* /*argument*/) {
  BeginHandler(status, &CloseAll, 0);
  CloseOpen();
  exit_has_closed.store(true);
  CloseOpen();  // What was opened meanwhile, and could not see that.
  WaitWhile(status, [] {
    return OthersAreBusy() || exit_held.load() > exit_held_here;
  });
}

// Whoever was busy is not here, unless it is this thread: what the child may
// open yet is closed by its own exit.
void LeaveOthers() noexcept {
  for (auto* node = entries.first(); node != nullptr; node = node->next) {
    Entry& entry = node->value;
    const std::uint64_t number = entry.word.load().number;
    if (entry.by.load() != ::pthread_self()) {
      Move(entry, number, State::kClosing, State::kOpen);
      Move(entry, number, State::kBusy, State::kOpen);
    }
    Move(entry, number, State::kDropped, State::kFree);
  }
  exit_held.store(exit_held_here);
  if (exit_thread.load() != ::pthread_self()) exit_thread.store({});
}

constexpr ForkHook kExitForkHook{.before = nullptr, .in_child = &LeaveOthers};

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
    : close_(std::move(close)),
      entry_(TakeEntry()->value),
      number_(++last_made) {
  WatchForks(kExitForkHook);
  entry_.close = &close_;
  entry_.by.store(::pthread_self());
  entry_.word.store(Entry::Word{.number = number_, .state = State::kBusy});
  Register(&CloseOne, number_);
}

void ClosedAtExit::SetOpen() noexcept {
  EndBy(entry_, number_, State::kBusy, State::kOpen);
  Register(&CloseOne, number_);
}

void ClosedAtExit::BeginDestruction() noexcept {
  for (;;) {
    const Entry::Word word = entry_.word.load();
    if (word.state == State::kClosing) {
      if (entry_.by.load() == ::pthread_self()) return;
      std::this_thread::sleep_for(kOthersPause);
    } else if (Move(entry_, number_, word.state, State::kBusy)) {
      entry_.by.store(::pthread_self());
      return;
    }
  }
}

void ClosedAtExit::Drop() noexcept {
  for (;;) {
    const Entry::Word word = entry_.word.load();
    if (word.state == State::kClosing) {
      if (entry_.by.load() == ::pthread_self()) return;
      EndProcess(exit_status.load());
    }
    if (Move(entry_, number_, word.state, State::kDropped)) return;
  }
}

ClosedAtExit::~ClosedAtExit() {
  BeginDestruction();
  if (EndBy(entry_, number_, State::kBusy, State::kFree)) return;
  Move(entry_, number_, State::kClosing, State::kLeft);
}

ClosedAtExit::Busy::Busy(const ClosedAtExit& of) noexcept
    : entry_(of.entry_), number_(of.number_) {
  if (!Move(entry_, number_, State::kOpen, State::kBusy)) return;
  is_mine_ = true;
  entry_.by.store(::pthread_self());
}

ClosedAtExit::Busy::~Busy() {
  if (is_mine_) EndBy(entry_, number_, State::kBusy, State::kClosed);
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
  Register(&CloseAll);
}

void CloseBeforeStaticsOfProgram() noexcept {
  const char* const name = NameOfThis();
  if (name != nullptr && *name == '\0') CloseBeforeStaticsOfNow();
}

void ExitEndsAtOnce::Prepare() noexcept {
  StayLoaded();
  // One at least, should there be no memory later.
  static constinit std::atomic<bool> registered{false};
  if (!registered.exchange(true)) Register(&EndIfAtOnce);
}

// Exit must come to EndIfAtOnce before it destroys anything of RocksDB's: what
// CloseBeforeStaticsOfNow registers comes after what was made since. And before
// anything else that was made since, which may wait for what this thread has
// locked: so there is one each time, as nobody knows when a static object is
// made. They take 32 bytes and are never given back; a cache logs seldom.
ExitEndsAtOnce::ExitEndsAtOnce() noexcept {
  ++ends_at_once;
  Register(&EndIfAtOnce);
}

ExitEndsAtOnce::~ExitEndsAtOnce() { --ends_at_once; }

bool ExitHasClosed() noexcept { return exit_has_closed.load(); }

Status ExitHasClosedStatus() {
  return Status::Closed(
      "the process is ending: exit has closed what was open, and nothing opens "
      "any more");
}

}  // namespace larder
