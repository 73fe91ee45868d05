#include "base/striped.h"

#include <atomic>
#include <latch>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace larder {
namespace {

TEST(StripedGate, ReadersShareIt) {
  StripedGate gate;
  std::latch inside(3);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      const auto entered = gate.Enter();
      inside.arrive_and_wait();  // Hangs unless all three are in at once.
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(StripedGate, AWriterIsAlone) {
  StripedGate gate;
  std::atomic<int> readers{0};
  std::atomic<int> writers{0};
  std::atomic<int> violations{0};
  int guarded = 0;  // Not atomic on purpose: the gate orders its uses.
  constexpr int kWrites = 2000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int last = 0; last < 2 * kWrites;) {
        const auto entered = gate.Enter();
        ++readers;
        if (writers != 0 || guarded < last) ++violations;
        last = guarded;
        --readers;
      }
    });
  }
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kWrites; ++i) {
        const std::scoped_lock lock(gate);
        if (++writers != 1 || readers != 0) ++violations;
        ++guarded;
        --writers;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(violations, 0);
  EXPECT_EQ(guarded, 2 * kWrites);
}

TEST(StripedGate, AWriterWaitsForEveryReader) {
  StripedGate gate;
  std::atomic<bool> locked{false};
  std::latch entered(2);
  std::latch leave(1);
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      const auto inside = gate.Enter();
      entered.count_down();
      leave.wait();
      EXPECT_FALSE(locked);
    });
  }
  entered.wait();
  std::thread writer([&] {
    gate.lock();
    locked = true;
    gate.unlock();
  });
  leave.count_down();
  for (std::thread& reader : readers) reader.join();
  writer.join();
  EXPECT_TRUE(locked);
}

TEST(StripedCounter, SumsWhatAllThreadsAdd) {
  StripedCounter counter;
  std::vector<std::thread> threads;
  for (std::uint64_t t = 1; t <= 4; ++t) {
    threads.emplace_back([&counter, t] {
      for (int i = 0; i < 10'000; ++i) counter.Add(t);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter.Sum(), 100'000U);
}

TEST(ThreadSlots, DifferBetweenThreadsAndStayInOne) {
  std::mutex mutex;
  std::set<unsigned> slots;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      const unsigned slot = ThreadSlot();
      EXPECT_EQ(ThreadSlot(), slot);
      const std::scoped_lock lock(mutex);
      slots.insert(slot);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(slots.size(), 8U);
}

}  // namespace
}  // namespace larder
