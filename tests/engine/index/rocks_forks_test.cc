// The child of a fork that comes while a thread of its parent holds a lock of
// the whole process.

#include "index/rocks_forks.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "base/forks_held.h"
#include "forked_process.h"
#include "temporary_directory.h"

// As in rocks_forks.cc.
extern "C++" {
[[gnu::weak]] void* RocksThreadsMutex() __asm__(
    "_ZN7rocksdb14ThreadLocalPtr10StaticMeta5MutexEv");
[[gnu::weak]] void RocksLock(void* mutex) __asm__(
    "_ZN7rocksdb4port5Mutex4LockEv");
[[gnu::weak]] void RocksUnlock(void* mutex) __asm__(
    "_ZN7rocksdb4port5Mutex6UnlockEv");
}

namespace larder::testing {
namespace {

// In the process that forks.
std::atomic<bool> forked{false};
constexpr int kChildCode = 7;
constexpr unsigned kChildSeconds = 20;

// What is done in a fork of this thread, when the engine has made ready for it.
thread_local std::function<void()> in_fork;

[[gnu::constructor(101)]] void WatchForksFirst() {
  ::pthread_atfork(
      [] {
        if (in_fork) in_fork();
      },
      nullptr, nullptr);
}

class RocksForksTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
  }

  std::unique_ptr<Engine> Open() const {
    EngineOptions options;
    options.region_directory = directory_.path();
    auto engine = OpenEngine(directory_.path() / "cache", options);
    return engine ? std::move(*engine) : nullptr;
  }

  /// How a child ends that is forked by a thread that has used the store, while
  /// another one is between `lock` and `unlock`: its code, 93 for a signal.
  int ForkWhileLocked(const std::function<void()>& lock,
                      const std::function<void()>& unlock,
                      const std::function<void()>& in_child) const {
    ForkedProcess parent([&](const ForkedProcess::Pipe&) -> int {
      const auto engine = Open();
      if (!engine) return 90;
      const Command set = SetCommand{.key = "k", .value = "v"};
      const Command get = GetCommand{.key = "k"};
      Reply reply;
      if (!engine->Execute({&set, 1}, {&reply, 1}).ok()) return 91;
      if (!engine->Execute({&get, 1}, {&reply, 1}).ok()) return 92;
      std::atomic<bool> locked{false};
      std::thread holder([&] {
        lock();
        locked = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        unlock();
      });
      while (!locked) std::this_thread::yield();
      const pid_t child = ::fork();
      if (child == 0) {
        ::alarm(kChildSeconds);  // Who hangs ends by a signal.
        in_child();
        std::exit(kChildCode);
      }
      forked = true;
      int status = 0;
      const bool ended = ::waitpid(child, &status, 0) == child;
      holder.join();
      return ended && WIFEXITED(status) ? WEXITSTATUS(status) : 93;
    });
    return parent.Wait();
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
};

// Its exit takes its thread off the list.
TEST_F(RocksForksTest, ExitsThoughTheListOfThreadsWasChanged) {
  if (&RocksThreadsMutex == nullptr || &RocksLock == nullptr ||
      &RocksUnlock == nullptr) {
    GTEST_SKIP() << "this RocksDB hides the lock of its list of threads";
  }
  EXPECT_EQ(ForkWhileLocked([] { RocksLock(RocksThreadsMutex()); },
                            [] { RocksUnlock(RocksThreadsMutex()); }, [] {}),
            kChildCode);
}

TEST_F(RocksForksTest, OpensAfterItsParentDidAtTheSameTime) {
  std::unique_ptr<ForksHeld> held;
  EXPECT_EQ(ForkWhileLocked([&] { held = std::make_unique<ForksHeld>(); },
                            [&] { held.reset(); },
                            [&] {
                              TemporaryDirectory own;
                              if (!OpenEngine(own.path() / "c")) std::_Exit(80);
                            }),
            kChildCode);
}

// Who holds forks back may itself wait for the thread that forks.
TEST_F(RocksForksTest, AForkGoesOnIfItIsHeldBackForEver) {
  std::unique_ptr<ForksHeld> held;
  EXPECT_EQ(ForkWhileLocked([&] { held = std::make_unique<ForksHeld>(); },
                            [&] {
                              while (!forked) std::this_thread::yield();
                              held.reset();
                            },
                            [&] {
                              TemporaryDirectory own;
                              if (!OpenEngine(own.path() / "c")) std::_Exit(80);
                            }),
            kChildCode);
}

// A program closes its cache before it forks.
TEST_F(RocksForksTest, CloseInAHandlerOfForks) {
  ForkedProcess parent([&](const ForkedProcess::Pipe&) -> int {
    auto engine = Open();
    if (!engine) return 90;
    in_fork = [&] { engine.reset(); };
    const pid_t child = ::fork();
    in_fork = nullptr;
    if (child == 0) {
      ::alarm(kChildSeconds);
      std::exit(Open() ? kChildCode : 91);
    }
    int status = 0;
    const bool ended = ::waitpid(child, &status, 0) == child;
    return ended && WIFEXITED(status) ? WEXITSTATUS(status) : 93;
  });
  EXPECT_EQ(parent.Wait(), kChildCode);
}

// Whoever opens a cache afterwards holds forks back as before.
TEST_F(RocksForksTest, AForkInAHandlerOfForksLeavesNothingBehind) {
  ForkedProcess parent([](const ForkedProcess::Pipe&) -> int {
    const auto fork_and_wait = [] {
      const pid_t child = ::fork();
      if (child == 0) std::_Exit(0);
      ::waitpid(child, nullptr, 0);
    };
    in_fork = [&] {
      in_fork = nullptr;
      fork_and_wait();
    };
    fork_and_wait();
    std::atomic<bool> locked{false};
    std::atomic<bool> released{false};
    std::thread holder([&] {
      const ForksHeld held;
      locked = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      released = true;
    });
    while (!locked) std::this_thread::yield();
    fork_and_wait();
    const bool waited = released;
    holder.join();
    return waited ? kChildCode : 90;
  });
  EXPECT_EQ(parent.Wait(), kChildCode);
}

// What takes a lock of the whole process holds forks back, and waits for one
// that is under way: a child that found such a lock taken would hang.
class HoldsForksBack : public RocksForksTest {
 protected:
  template <typename Call>
  void ExpectHeld(Call&& call) {
    std::atomic<bool> begun{false};
    std::atomic<bool> over{false};
    std::thread forker([&] {
      in_fork = [&] {
        begun = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        over = true;
      };
      const pid_t child = ::fork();
      if (child == 0) std::_Exit(0);
      in_fork = nullptr;
      ::waitpid(child, nullptr, 0);
    });
    while (!begun) std::this_thread::yield();
    call();
    EXPECT_TRUE(over);
    forker.join();
  }
};

TEST_F(HoldsForksBack, OpenAndClose) {
  std::unique_ptr<Engine> engine;
  ExpectHeld([&] { engine = Open(); });
  ASSERT_NE(engine, nullptr);
  ExpectHeld([&] { EXPECT_TRUE(engine->Close().ok()); });
}

TEST_F(HoldsForksBack, AReaderThatOpensAndCloses) {
  ASSERT_NE(Open(), nullptr);
  EngineOptions options;
  options.mode = OpenMode::kReadOnly;
  std::unique_ptr<Engine> engine;
  ExpectHeld([&] {
    auto opened = OpenEngine(directory_.path() / "cache", options);
    if (opened) engine = std::move(*opened);
  });
  ASSERT_NE(engine, nullptr);
  ExpectHeld([&] { EXPECT_TRUE(engine->Close().ok()); });
}

TEST_F(HoldsForksBack, Reset) {
  const auto engine = Open();
  ASSERT_NE(engine, nullptr);
  ExpectHeld([&] { EXPECT_TRUE(engine->Reset("size_limit", "17MiB").ok()); });
}

}  // namespace
}  // namespace larder::testing
