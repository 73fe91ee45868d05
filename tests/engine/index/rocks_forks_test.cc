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
#include <sys/wait.h>
#include <unistd.h>

#include "larder/engine/engine.h"
#include "larder/engine/policy.h"

#include "base/fork_held_mutex.h"
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

constexpr int kChildCode = 7;
constexpr unsigned kChildSeconds = 20;

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

TEST_F(RocksForksTest, FindsAMutexOfTheWholeProcessFree) {
  struct Tag {};
  EXPECT_EQ(ForkWhileLocked(
                [] { ForkHeldMutex<Tag>().lock(); },
                [] { ForkHeldMutex<Tag>().unlock(); },
                [] { const std::scoped_lock lock(ForkHeldMutex<Tag>()); }),
            kChildCode);
}

}  // namespace
}  // namespace larder::testing
