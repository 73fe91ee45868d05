#include "os/exit_guard.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#include "os/start_thread.h"

namespace larder {
namespace {

// Another thread may have the lock of a stream for as long as it likes: one
// that waits for input, say.
constexpr std::chrono::seconds kFlushTimeMax{1};
// Of this thread: how many ExitEndsAtOnce there are.
constinit thread_local int ends_at_once = 0;

// Nothing here is allocated but by the thread: there may be no memory left.
std::binary_semaphore& Flushed() noexcept {
  static std::binary_semaphore flushed{0};
  return flushed;
}

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
  auto flusher = StartThread([] {
    FlushAll();
    Flushed().release();
  });
  if (flusher) {
    static_cast<void>(Flushed().try_acquire_for(kFlushTimeMax));
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

struct ExitRegistry {
  // Never destroyed: it has to outlive every static object.
  static ExitRegistry& Get() noexcept {
    static ExitRegistry* const registry = [] {
      auto* const made = new ExitRegistry;
      // In a child nobody else may hold the mutex.
      ::pthread_atfork([] { Get().mutex.lock(); }, [] { Get().mutex.unlock(); },
                       [] {
                         Get().closing = nullptr;
                         Get().mutex.unlock();
                       });
      return made;
    }();
    return *registry;
  }

  // The last one that was opened.
  ClosedAtExit* Next() const noexcept {
    const auto next = std::ranges::find_if(
        all.rbegin(), all.rend(),
        [](const ClosedAtExit* one) { return !one->begun_; });
    return next == all.rend() ? nullptr : *next;
  }

  void CloseAll() noexcept {
    std::unique_lock lock(mutex);
    while (ClosedAtExit* const one = Next()) {
      one->begun_ = true;
      closing = one;
      closer = std::this_thread::get_id();
      lock.unlock();
      one->close_();
      lock.lock();
      closing = nullptr;
      closed.notify_all();
    }
    done.store(true);
  }

  std::mutex mutex;
  std::condition_variable closed;
  std::vector<ClosedAtExit*> all;         // Guarded by mutex, as are these.
  const ClosedAtExit* closing = nullptr;  // By `closer`.
  std::thread::id closer;
  std::atomic<bool> done{false};
};

ClosedAtExit::ClosedAtExit(std::function<void()> close)
    : close_(std::move(close)) {
  ExitRegistry& registry = ExitRegistry::Get();
  const std::scoped_lock lock(registry.mutex);
  registry.all.push_back(this);
}

ClosedAtExit::~ClosedAtExit() {
  ExitRegistry& registry = ExitRegistry::Get();
  std::unique_lock lock(registry.mutex);
  if (registry.closer != std::this_thread::get_id()) {
    registry.closed.wait(lock, [&] { return registry.closing != this; });
  }
  std::erase(registry.all, this);
}

namespace {

// If dlclose unloaded the library that this is in, it would close what is open
// under the lock of the loader, for which RocksDB's threads wait in their turn.
void StayLoaded() noexcept {
  Dl_info info{};
  void* found = nullptr;
  if (::dladdr1(reinterpret_cast<const void*>(&StayLoaded), &info, &found,
                RTLD_DL_LINKMAP) == 0) {
    return;
  }
  const char* const name = static_cast<const link_map*>(found)->l_name;
  if (*name == '\0') return;  // It is the program.
  // By the name that the loader knows it by: no file is opened.
  static_cast<void>(::dlopen(name, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE));
}

}  // namespace

void CloseBeforeStaticsOfNow() noexcept {
  StayLoaded();
  // As atexit, but told the status.
  static_cast<void>(::on_exit(
      [](int status, void* argument) {
        EndIfAtOnce(status, argument);
        ExitRegistry::Get().CloseAll();
      },
      nullptr));
}

void ExitEndsAtOnce::Prepare() noexcept {
  StayLoaded();
  // One at least, should there be no memory later.
  [[maybe_unused]] static const bool registered =
      ::on_exit(&EndIfAtOnce, nullptr) == 0;
}

// Exit must come to EndIfAtOnce before it destroys anything of RocksDB's: what
// CloseBeforeStaticsOfNow registers is not there before the first database is
// open, and is used up once exit has begun. And before anything else that was
// made since, which may wait for what this thread has locked: so there is one
// each time, as nobody knows when a static object is made. They take 32 bytes
// and are never given back; a cache logs seldom.
ExitEndsAtOnce::ExitEndsAtOnce() noexcept {
  ++ends_at_once;
  // Without memory those of before have to do.
  static_cast<void>(::on_exit(&EndIfAtOnce, nullptr));
}

ExitEndsAtOnce::~ExitEndsAtOnce() { --ends_at_once; }

bool ExitHasClosed() noexcept { return ExitRegistry::Get().done.load(); }

}  // namespace larder
