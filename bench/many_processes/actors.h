#ifndef LARDER_BENCH_MANY_PROCESSES_ACTORS_H_
#define LARDER_BENCH_MANY_PROCESSES_ACTORS_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <string>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/cache/cache.h"

#include "forked_process.h"
#include "os/futex.h"

namespace larder::bench {

/// What an actor has found out; a negative value: it failed.
struct ActorAnswer {
  double value = 0;
  double second = 0;
};

/// A child process with the cache open that does something when it is asked,
/// and sleeps otherwise. It closes the cache and ends with the object.
///
/// Threads: thread-compatible; make it while this process has one thread.
class Actor {
 public:
  /// What it does: `turn` says for the how-many-th time, from 1. The answer is
  /// for the parent.
  using Act = std::function<ActorAnswer(Cache& cache, std::uint32_t turn)>;

  /// Returns when the cache is open.
  Actor(const std::string& directory, const Act& act)
      : page_(MapPage()),
        process_(
            [this, &directory, &act](const testing::ForkedProcess::Pipe& pipe) {
              return Play(directory, act, pipe);
            }) {
    opened_ = process_.Receive().has_value();
  }
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;
  ~Actor() {
    page_->asked.store(kQuit);
    FutexWake(page_->asked);
    process_.Wait();
    ::munmap(page_, sizeof(Page));
  }

  [[nodiscard]] bool opened() const { return opened_; }
  [[nodiscard]] const testing::ForkedProcess& process() const {
    return process_;
  }
  /// Begins a turn; several actors may be in theirs at the same time.
  void Begin() {
    page_->asked.fetch_add(1);
    FutexWake(page_->asked);
  }
  /// Waits for its answer.
  ActorAnswer End() {
    while (page_->done.load() != page_->asked.load()) {
      if (!IsAlive()) return {.value = -1};
      ::usleep(1000);
    }
    return page_->answer;
  }
  ActorAnswer Turn() {
    Begin();
    return End();
  }

 private:
  static constexpr std::uint32_t kQuit = ~std::uint32_t{0};
  struct Page {
    std::atomic<std::uint32_t> asked{0};
    std::atomic<std::uint32_t> done{0};
    ActorAnswer answer;  // Published by done.
  };
  static Page* MapPage() {
    void* const address = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) std::abort();
    return new (address) Page;
  }
  [[nodiscard]] bool IsAlive() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(process_.pid()), &info,
                    WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
  }
  int Play(const std::string& directory, const Act& act,
           const testing::ForkedProcess::Pipe& pipe) {
    auto cache = Cache::Open(directory);
    if (!cache) {
      std::fprintf(stderr, "%s\n", cache.error().ToString().c_str());
      return 1;
    }
    pipe.Send(1);
    for (;;) {
      const std::uint32_t done = page_->done.load();
      while (page_->asked.load() == done) {
        FutexWait(page_->asked, done, std::chrono::hours(1));
      }
      if (page_->asked.load() == kQuit) return (*cache)->Close().ok() ? 0 : 1;
      page_->answer = act(**cache, done + 1);
      page_->done.store(done + 1);
    }
  }

  Page* const page_;
  testing::ForkedProcess process_;
  bool opened_ = false;
};

}  // namespace larder::bench

#endif  // LARDER_BENCH_MANY_PROCESSES_ACTORS_H_
