#include "index/key_filter.h"

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "engine/store_fixture.h"
#include "test_values.h"

namespace larder::testing {
namespace {

std::string KeyOf(std::uint64_t number) {
  return "key" + std::to_string(number);
}

TEST(KeyFilterTest, WhatWasAddedIsThereAndLittleElse) {
  constexpr std::uint64_t kCount = 100'000;
  KeyFilter filter(kCount);
  for (std::uint64_t i = 0; i < kCount; ++i) filter.Add(KeyOf(i));
  for (std::uint64_t i = 0; i < kCount; ++i) {
    ASSERT_TRUE(filter.MayContain(KeyOf(i))) << i;
  }
  std::uint64_t seeming = 0;
  for (std::uint64_t i = kCount; i < 2 * kCount; ++i) {
    seeming += filter.MayContain(KeyOf(i)) ? 1 : 0;
  }
  EXPECT_LT(seeming, kCount / 100);
}

TEST(KeyFilterTest, TheSmallestOneWorks) {
  KeyFilter filter(0);
  EXPECT_FALSE(filter.MayContain(""));
  filter.Add("");
  EXPECT_TRUE(filter.MayContain(""));
}

TEST(KeyFilterTest, ManyAddAtOnce) {
  constexpr std::uint64_t kEach = 20'000;
  KeyFilter filter(1'000);  // Too small, so that they meet.
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&filter, t] {
      for (std::uint64_t i = t * kEach; i < (t + 1) * kEach; ++i) {
        filter.Add(KeyOf(i));
        EXPECT_TRUE(filter.MayContain(KeyOf(i)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::uint64_t i = 0; i < 4 * kEach; ++i) {
    ASSERT_TRUE(filter.MayContain(KeyOf(i))) << i;
  }
}

// A key that a filter does not know would be counted twice when it is set
// again: the figures would differ from a recount.
class KeyFilterStoreTest : public StoreFixture {
 protected:
  // More than are looked up in vain before a filter is made.
  static constexpr std::uint64_t kEnough = 6'000;

  void SetAll(std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t i = begin; i < end; ++i) {
      ASSERT_EQ(Set(KeyOf(i), "value").ToString(), "kOk");
    }
  }
  void DeleteAll(std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t i = begin; i < end; ++i) {
      ASSERT_TRUE(Run(DeleteCommand{.key = KeyOf(i)}).applied) << i;
    }
  }
};

TEST_F(KeyFilterStoreTest, AnEmptyCacheKnowsEachKeyThatComes) {
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_NO_FATAL_FAILURE(SetAll(0, 3'000));
  ASSERT_NO_FATAL_FAILURE(SetAll(1'000, 4'000));
  EXPECT_EQ(Stats().count, 4'000);
  ASSERT_NO_FATAL_FAILURE(DeleteAll(500, 2'000));
  ASSERT_NO_FATAL_FAILURE(SetAll(0, 3'000));
  EXPECT_EQ(Stats().count, 4'000);
  ExpectSound();
}

TEST_F(KeyFilterStoreTest, OneThatIsMadeLaterKnowsThoseThatWereThere) {
  constexpr std::uint64_t kOld = 9'000;  // Not all in one step.
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_NO_FATAL_FAILURE(SetAll(0, kOld));
  ASSERT_NO_FATAL_FAILURE(Reopen());
  ASSERT_NO_FATAL_FAILURE(SetAll(kOld, kOld + kEnough));
  ASSERT_NO_FATAL_FAILURE(SetAll(0, kOld + kEnough));
  EXPECT_EQ(Stats().count, kOld + kEnough);
  ExpectSound();
  ASSERT_NO_FATAL_FAILURE(DeleteAll(0, kOld + kEnough));
  EXPECT_EQ(Stats().count, 0);
  ExpectSound();
}

TEST_F(KeyFilterStoreTest, KeysThatComeAndGoWhileItIsMadeAreKnown) {
  constexpr std::uint64_t kOld = 40'000;
  constexpr int kThreads = 3;
  background_ = true;
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_NO_FATAL_FAILURE(SetAll(0, kOld));
  for (int round = 0; round < 3; ++round) {
    ASSERT_NO_FATAL_FAILURE(Reopen());
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, round] {
        Random random(t + 10 * static_cast<std::uint64_t>(round));
        for (std::uint64_t i = 0; i < 3 * kEnough; ++i) {
          // Old ones, new ones, and each soon again.
          const std::uint64_t number =
              random.Below(kOld) * kThreads + t + (i % 3 == 0 ? kOld : 0);
          const std::string key = KeyOf(number);
          if (random.OneIn(3)) {
            Run(DeleteCommand{.key = key});
          } else {
            EXPECT_EQ(Set(key, "value").ToString(), "kOk");
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ExpectSound();
  }
}

}  // namespace
}  // namespace larder::testing
