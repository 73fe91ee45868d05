#include "fair_mutex.h"

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace larder::testing {
namespace {

TEST(FairMutexTest, OneAtATime) {
  FairMutex mutex;
  int count = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        const std::scoped_lock lock(mutex);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 40'000);
}

// With std::mutex the second one nearly never gets it.
TEST(FairMutexTest, WhoWaitsComesBeforeWhoHadIt) {
  FairMutex mutex;
  std::atomic<int> turns{0};
  std::atomic<bool> stop{false};
  std::thread greedy([&] {
    while (!stop) {
      const std::scoped_lock lock(mutex);
      ++turns;
      std::this_thread::yield();
    }
  });
  while (turns == 0) std::this_thread::yield();
  for (int i = 0; i < 100; ++i) {
    const std::scoped_lock lock(mutex);
    const int before = turns;
    std::this_thread::yield();
    EXPECT_EQ(turns, before);
  }
  stop = true;
  greedy.join();
}

TEST(FairMutexTest, InTheOrderOfArrival) {
  FairMutex mutex;
  std::vector<int> order;
  std::vector<std::thread> threads;
  mutex.lock();
  for (int t = 0; t < 5; ++t) {
    std::atomic<bool> started{false};
    threads.emplace_back([&, t] {
      started = true;
      const std::scoped_lock lock(mutex);
      order.push_back(t);
    });
    while (!started) std::this_thread::yield();
    // It has only a few instructions to go.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  mutex.unlock();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace larder::testing
