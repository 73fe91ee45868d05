// Forms of exit_form.cc: exit beside other threads.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/cache/cache.h"

#include "exit_form.h"

namespace larder::testing {
namespace {

using namespace std::chrono_literals;

// Made before the first Open, so destroyed after RocksDB's static objects: what
// uses these then has a second to show it.
struct Slow {
  bool is_slow = false;
  std::atomic<bool> is_ending{false};
  ~Slow() {
    is_ending = true;
    if (is_slow) std::this_thread::sleep_for(1s);
  }
} slow;

void Fill(Cache& cache) {
  for (int i = 0; i < 2000; ++i) {
    if (!cache.Set(std::to_string(i), std::string(2000, 'x')).ok()) return;
  }
}

int ClosesInAThread(const char* directory) {
  slow.is_slow = true;
  auto* const cache = new auto(Open(directory));
  Fill(**cache);
  std::thread([cache] { (*cache)->Close().IgnoreError(); }).detach();
  std::this_thread::sleep_for(1ms);
  return 0;
}

int DestroysInAThread(const char* directory) {
  slow.is_slow = true;
  auto* const cache = new auto(Open(directory));
  Fill(**cache);
  std::thread([cache] { cache->reset(); }).detach();
  std::this_thread::sleep_for(1ms);
  return 0;
}

int OpensInThreads(const char* directory) {
  slow.is_slow = true;
  Open(directory).reset();
  for (const char* const suffix : {"", ".2"}) {
    std::thread([own = std::string(directory) + suffix] {
      for (;;) {
        auto cache = Cache::Open(own);
        if (cache) (*cache)->Set("main", "v").IgnoreError();
      }
    }).detach();
  }
  std::this_thread::sleep_for(100ms);
  return 0;
}

void OpenInAChild(const char* directory) {
  const pid_t child = ::fork();
  if (child == 0) {
    Open(directory).reset();
    std::_Exit(0);
  }
  ::waitpid(child, nullptr, 0);
}

// The first Open of the process comes when its exit is nearly done.
int OpensFirstAfterExit(const char* directory) {
  OpenInAChild(directory);
  slow.is_slow = true;
  std::thread([directory] {
    while (!slow.is_ending) std::this_thread::yield();
    const auto cache = Cache::Open(directory);
    Require(!cache && cache.error().code() == StatusCode::kClosed,
            "kClosed for the first Open in exit");
    for (;;) ::pause();
  }).detach();
  return 0;
}

// Ends amid the opening of the first database of the process.
int OpensFirstInAThread(const char* directory) {
  OpenInAChild(directory);
  static std::atomic<bool> opens{false};
  slow.is_slow = true;
  std::thread([directory] {
    opens = true;
    auto cache = Cache::Open(directory);
    if (cache) (*cache)->Set("main", "v").IgnoreError();
    for (;;) ::pause();
  }).detach();
  while (!opens) std::this_thread::yield();
  // Where this comes to is a matter of chance.
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  std::this_thread::sleep_for(now % 20ms);
  return 0;
}

// A child opens the store at its first call, and ends meanwhile.
int ChildOpensInAThread(const char* directory) {
  Require(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "prctl");
  const pid_t shell = ::fork();
  if (shell == 0) {
    slow.is_slow = true;
    static std::unique_ptr<Cache>& cache =
        *new std::unique_ptr<Cache>(Open(directory));
    if (::fork() != 0) std::_Exit(0);  // As a daemon's parent does.
    std::thread([] { cache->Set("child", "v").IgnoreError(); }).detach();
    std::this_thread::sleep_for(5ms);
    std::exit(0);
  }
  int status = -1;
  while (::wait(&status) > 0) Require(status == 0, "a child");
  return 0;
}

// Ends while what a callback has destroyed is being closed.
int DestroyedInACallback(const char* directory) {
  slow.is_slow = true;
  static std::unique_ptr<Cache>& cache = *new std::unique_ptr<Cache>;
  static std::atomic<bool> told{false};
  CacheOptions options;
  options.on_eviction = [](std::string_view, std::uint64_t, EvictionReason) {
    cache.reset();
    told = true;
  };
  cache = std::move(*Cache::Open(directory, options));
  Require(cache->Set("main", "v").ok(), "Set");
  Fill(*cache);
  Require(cache->Set("gone", "v", {.tag = "tag"}).ok(), "Set with a tag");
  static_cast<void>(cache->Evict("tag"));
  while (!told) std::this_thread::yield();
  return 0;
}

// What callbacks and clocks use is destroyed after the cache that has them.
class UsedByCallbacks {
 public:
  ~UsedByCallbacks() { is_alive_ = false; }
  void Use() const { Require(is_alive_, "what it uses is gone"); }
  // For a while.
  void UseLong() const {
    for (int i = 0; i < 30; ++i) {
      std::this_thread::sleep_for(10ms);
      Use();
    }
  }

 private:
  std::atomic<bool> is_alive_{true};
};

// Each goes before what was there when it was opened, and its callback may use,
// and after what was made since, and may use it.
int ObjectsBetweenTwoOpens(const char* directory) {
  static Cache& first = *Open(directory).release();
  const std::string own = std::string(directory) + ".2";
  Open(own.c_str());  // The first store closes all, should `first` have none.
  class Counter : public UsedByCallbacks {
   public:
    ~Counter() { Require(first.Set("late", "v").ok(), "Set in a destructor"); }
  };
  static const Counter counter;
  CacheOptions options;
  options.on_eviction = [](std::string_view, std::uint64_t, EvictionReason) {
    std::this_thread::sleep_for(1ms);
    counter.Use();
  };
  Cache& second = *Open(own.c_str(), options).release();
  for (int i = 0; i < 300; ++i) {
    Require(second.Set(std::to_string(i), "v", {.tag = "tag"}).ok(), "Set");
  }
  Require(second.Evict("tag").has_value(), "Evict");
  return 0;
}

// While another thread does `end` to the second one, which waits for a callback
// that uses what was made after the first one.
template <typename End>
int EndAmidACallback(const char* directory, End end) {
  static Cache& first = *Open(directory).release();
  Require(first.Set("main", "v").ok(), "Set");
  static const UsedByCallbacks used;
  static std::atomic<bool> is_told{false};
  CacheOptions options;
  options.on_eviction = [](std::string_view, std::uint64_t, EvictionReason) {
    is_told = true;
    used.UseLong();
  };
  const std::string own = std::string(directory) + ".2";
  Cache* const second = Open(own.c_str(), options).release();
  Require(second->Set("gone", "v", {.tag = "tag"}).ok(), "Set with a tag");
  Require(second->Evict("tag").has_value(), "Evict");
  while (!is_told) std::this_thread::sleep_for(1ms);
  std::thread([second, end] { end(second); }).detach();
  std::this_thread::sleep_for(50ms);
  return 0;
}

int ClosesAmidACallback(const char* directory) {
  return EndAmidACallback(directory,
                          [](Cache* cache) { cache->Close().IgnoreError(); });
}

int DestroysAmidACallback(const char* directory) {
  return EndAmidACallback(directory, [](Cache* cache) { delete cache; });
}

// The same, while another thread opens it.
int OpensAmidAClock(const char* directory) {
  Open(directory).release();
  class SlowClock final : public Clock {
   public:
    TimePoint Now() const noexcept override {
      if (!is_asked.exchange(true)) used_.UseLong();
      return System()->Now();
    }
    mutable std::atomic<bool> is_asked{false};

   private:
    const UsedByCallbacks used_;
  };
  static const SlowClock clock;
  const std::string own = std::string(directory) + ".2";
  Open(own.c_str());
  std::thread([own] {
    CacheOptions options;
    options.clock = &clock;
    const auto cache = Cache::Open(own, options);
    for (;;) ::pause();
  }).detach();
  while (!clock.is_asked) std::this_thread::sleep_for(1ms);
  return 0;
}

// Two threads, while closing takes its time; after many handlers, of which the
// C library frees the list as it goes.
int TwoExits(const char* directory) {
  const std::string own = std::string(directory) + ".2";
  for (int i = 0; i < 8; ++i) {
    Fork([&own] {
      static std::atomic<bool> is_told{false};
      for (int opens = 0; opens < 20; ++opens) Open(own.c_str());
      CacheOptions options;
      options.on_eviction = [](std::string_view, std::uint64_t,
                               EvictionReason) {
        is_told = true;
        std::this_thread::sleep_for(200ms);
      };
      Cache* const cache = Open(own.c_str(), options).release();
      Require(cache->Set("gone", "v", {.tag = "tag"}).ok(), "Set with a tag");
      Require(cache->Evict("tag").has_value(), "Evict");
      while (!is_told) std::this_thread::sleep_for(1ms);
      std::thread([] { std::exit(0); }).detach();
      std::this_thread::sleep_for(50ms);
    });
  }
  Open(directory).release();
  return 0;
}

// The first one waits for the callback that is the other.
int TwoExitsOneInACallback(const char* directory) {
  static std::atomic<bool> is_told{false};
  CacheOptions options;
  options.on_eviction = [](std::string_view, std::uint64_t, EvictionReason) {
    is_told = true;
    std::this_thread::sleep_for(100ms);
    std::exit(0);
  };
  Cache* const cache = Open(directory, options).release();
  Require(cache->Set("gone", "v", {.tag = "tag"}).ok(), "Set with a tag");
  Require(cache->Evict("tag").has_value(), "Evict");
  while (!is_told) std::this_thread::sleep_for(1ms);
  return 0;
}

// While one is held up, calls are under way.
class ClockThatStops final : public Clock {
 public:
  TimePoint Now() const noexcept override {
    if (stops_once.exchange(false)) goes_on.wait(false);
    return System()->Now();
  }
  mutable std::atomic<bool> stops_once{false};
  mutable std::atomic<bool> goes_on{false};
};

// By another thread, while exit waits for a call of the cache: what the child
// opens its own exit has to close.
int ForksAmidExit(const char* directory) {
  static const ClockThatStops clock;
  Open(directory);
  CacheOptions options;
  options.mode = OpenMode::kReadOnly;
  options.clock = &clock;
  static const auto view = std::move(*Cache::Open(directory, options));
  clock.stops_once = true;
  std::thread([] { static_cast<void>(view->Get("main")); }).detach();
  while (clock.stops_once) std::this_thread::sleep_for(1ms);
  std::thread([] {
    std::this_thread::sleep_for(300ms);  // By then main is in exit.
    const pid_t child = ::fork();
    if (child == 0) {
      static_cast<void>(view->Get("main"));
      std::exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    Require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "its child");
    clock.goes_on = true;
    clock.goes_on.notify_all();
  }).detach();
  return 0;
}

constexpr auto kForms = std::to_array<ExitForm>({
    {"closes-in-a-thread", &ClosesInAThread},
    {"destroys-in-a-thread", &DestroysInAThread},
    {"opens-in-threads", &OpensInThreads},
    {"opens-first-in-a-thread", &OpensFirstInAThread},
    {"opens-first-after-exit", &OpensFirstAfterExit},
    {"child-opens-in-a-thread", &ChildOpensInAThread},
    {"destroyed-in-a-callback", &DestroyedInACallback},
    {"objects-between-two-opens", &ObjectsBetweenTwoOpens},
    {"closes-amid-a-callback", &ClosesAmidACallback},
    {"destroys-amid-a-callback", &DestroysAmidACallback},
    {"opens-amid-a-clock", &OpensAmidAClock},
    {"two-exits", &TwoExits},
    {"two-exits-one-in-a-callback", &TwoExitsOneInACallback},
    {"forks-amid-exit", &ForksAmidExit},
});

}  // namespace

std::span<const ExitForm> FormsBesideExit() { return kForms; }

}  // namespace larder::testing
