#include "store/touch_buffer.h"

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace larder {
namespace {

TEST(TouchBuffer, GivesBackWhatWasAddedInOrder) {
  TouchBuffer buffer;
  buffer.Add("a", 1);
  buffer.Add(std::string_view("b\0c", 3), 2);
  buffer.Add("", 3);
  std::vector<TouchBuffer::Touch> touches;
  buffer.Take(touches);
  ASSERT_EQ(touches.size(), 3U);
  EXPECT_EQ(touches[0].key, "a");
  EXPECT_EQ(touches[1].key, std::string("b\0c", 3));
  EXPECT_EQ(touches[2].key, "");
  EXPECT_EQ(touches[1].version, 2U);
}

TEST(TouchBuffer, TakingEmptiesIt) {
  TouchBuffer buffer;
  buffer.Add("a longer key than a short string holds by itself", 1);
  std::vector<TouchBuffer::Touch> touches;
  buffer.Take(touches);
  buffer.Add("b", 2);  // Reuses the memory of the one before.
  touches.clear();
  buffer.Take(touches);
  ASSERT_EQ(touches.size(), 1U);
  EXPECT_EQ(touches[0].key, "b");
  buffer.Take(touches);
  EXPECT_EQ(touches.size(), 1U);
}

TEST(TouchBuffer, ForgetsWhatDoesNotFit) {
  TouchBuffer buffer;
  for (std::size_t i = 0; i < TouchBuffer::kTouchCountMax + 100; ++i) {
    buffer.Add("key", i);
  }
  std::vector<TouchBuffer::Touch> touches;
  buffer.Take(touches);
  ASSERT_EQ(touches.size(), TouchBuffer::kTouchCountMax);
  EXPECT_EQ(touches.back().version, TouchBuffer::kTouchCountMax - 1);
}

TEST(TouchBuffer, ThreadsAddWhileOneTakes) {
  TouchBuffer buffer;
  std::atomic<int> running{3};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&buffer, &running, t] {
      for (std::uint64_t i = 0; i < 20'000; ++i) {
        const std::uint64_t version = t * 1'000'000 + i;
        buffer.Add(std::to_string(version), version);
      }
      --running;
    });
  }
  std::set<std::uint64_t> seen;
  std::vector<TouchBuffer::Touch> touches;
  for (bool last = false; !last;) {
    last = running == 0;
    touches.clear();
    buffer.Take(touches);
    for (const TouchBuffer::Touch& touch : touches) {
      ASSERT_EQ(touch.key, std::to_string(touch.version));
      ASSERT_TRUE(seen.insert(touch.version).second);  // Never twice.
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(seen.empty());
}

}  // namespace
}  // namespace larder
