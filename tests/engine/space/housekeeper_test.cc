#include "space/housekeeper.h"

#include <atomic>
#include <chrono>
#include <latch>
#include <thread>

#include <gtest/gtest.h>

#include "os/start_thread.h"

namespace larder::testing {
namespace {

using std::chrono::milliseconds;

constexpr Housekeeper::Intervals kOften{.busy = milliseconds(1),
                                        .idle_max = milliseconds(8)};
// Longer than any test.
constexpr Housekeeper::Intervals kSeldom{.busy = std::chrono::hours(1),
                                         .idle_max = std::chrono::hours(1)};

Housekeeper::Work Nothing() {
  return {.when_asked = [] { return true; },
          .is_idle = [] { return false; },
          .round = [](bool) {}};
}

TEST(Housekeeper, WorksInRoundsWhileThereIsSomethingToDo) {
  constexpr int kRounds = 5;
  std::latch rounds(kRounds);
  std::atomic<int> done{0};
  std::atomic<int> idle_rounds{0};
  Housekeeper keeper(kOften);
  Housekeeper::Work work = Nothing();
  work.round = [&](bool is_idle) {
    if (is_idle) ++idle_rounds;
    if (++done <= kRounds) rounds.count_down();
  };
  ASSERT_TRUE(keeper.Start(work).ok());
  rounds.wait();
  keeper.Stop();
  EXPECT_EQ(idle_rounds, 0);
}

TEST(Housekeeper, OfTheIdleRoundsOnlyTheLongestWork) {
  // 2, 4, 8: the third has come to idle_max, and so has each from then on.
  constexpr int kRounds = 3;
  std::latch rounds(kRounds);
  std::atomic<int> done{0};
  std::atomic<int> looks{0};
  std::atomic<int> looks_before_work{0};
  Housekeeper keeper(kOften);
  Housekeeper::Work work = Nothing();
  work.is_idle = [&] { return ++looks > 0; };
  work.round = [&](bool is_idle) {
    EXPECT_TRUE(is_idle);
    int none = 0;
    looks_before_work.compare_exchange_strong(none, looks);
    if (++done <= kRounds) rounds.count_down();
  };
  ASSERT_TRUE(keeper.Start(work).ok());
  rounds.wait();
  keeper.Stop();
  EXPECT_EQ(looks_before_work, 3);
}

TEST(Housekeeper, DoesWhatItIsAskedForBetweenRounds) {
  std::latch asked(1);
  std::atomic<int> rounds{0};
  Housekeeper keeper(kSeldom);
  Housekeeper::Work work = Nothing();
  work.when_asked = [&] {
    asked.count_down();
    return true;
  };
  work.round = [&](bool) { ++rounds; };
  ASSERT_TRUE(keeper.Start(work).ok());
  EXPECT_FALSE(keeper.is_asked());
  keeper.Ask();
  asked.wait();
  while (keeper.is_asked()) std::this_thread::yield();
  keeper.Stop();
  EXPECT_EQ(rounds, 0);
}

TEST(Housekeeper, WhatCannotBeDoneIsNotTriedAgainBeforeTheNextRound) {
  std::latch tried(1);
  std::atomic<int> tries{0};
  Housekeeper keeper(kSeldom);
  Housekeeper::Work work = Nothing();
  work.when_asked = [&] {
    if (++tries == 1) tried.count_down();
    return false;
  };
  ASSERT_TRUE(keeper.Start(work).ok());
  keeper.Ask();
  tried.wait();
  for (int i = 0; i < 100; ++i) {
    keeper.Ask();
    std::this_thread::yield();
  }
  EXPECT_TRUE(keeper.is_asked());
  keeper.Stop();
  EXPECT_EQ(tries, 1);
}

TEST(Housekeeper, WithoutAThreadItSaysSoAndDoesNothing) {
  std::atomic<int> rounds{0};
  Housekeeper keeper(kOften);
  Housekeeper::Work work = Nothing();
  work.round = [&](bool) { ++rounds; };
  thread_grant = +[]() noexcept { return false; };
  const Status started = keeper.Start(work);
  thread_grant = nullptr;
  EXPECT_FALSE(started.ok());
  keeper.Ask();
  std::this_thread::sleep_for(10 * kOften.busy);
  keeper.Stop();
  EXPECT_EQ(rounds, 0);
}

}  // namespace
}  // namespace larder::testing
