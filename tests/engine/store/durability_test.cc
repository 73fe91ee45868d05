#include <functional>
#include <string>

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "engine/store_fixture.h"
#include "forked_process.h"
#include "test_values.h"

// What is left of writes of different durability when their process is killed.
// Numbers are those of the rules in store_durability.cc.

namespace larder::testing {
namespace {

class DurabilityTest : public StoreFixture {
 protected:
  /// Opens the cache in a child, which does `work` and is killed.
  void InKilledProcess(const std::function<void()>& work) {
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      Open({{"size_limit", "64MiB"}});
      work();
      if (!HasFailure()) ::kill(::getpid(), SIGKILL);
      return 1;
    });
    ASSERT_EQ(child.Wait(), -SIGKILL);
  }
  void Set(const std::string& key, const std::string& value,
           Durability durability, std::string_view tag = {}) {
    const Command command = SetCommand{.key = key, .value = value, .tag = tag};
    Reply reply;
    const Status status = engine_->Execute({&command, 1}, {&reply, 1},
                                           {.durability = durability});
    EXPECT_EQ(status.ToString(), "kOk");
    EXPECT_EQ(reply.status.ToString(), "kOk");
  }
  void SetMany(std::size_t count, std::size_t size, Durability durability) {
    for (std::size_t i = 0; i < count; ++i) {
      Set(KeyOf(i), MakeValue(i, size), durability);
    }
  }
  void ExpectOldOrNew(std::size_t count, std::size_t size) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto value = Get(KeyOf(i));
      EXPECT_TRUE(value == MakeValue(i, size) || value == "new") << i;
    }
  }
  static std::string KeyOf(std::size_t i) { return "k" + std::to_string(i); }
};

constexpr auto kNone = Durability::kNone;
constexpr auto kProcess = Durability::kProcess;

TEST_F(DurabilityTest, AnUnloggedWriteTakesNoLoggedItemWithIt) {  // 4
  const std::string a = MakeValue(1, 20'000);
  InKilledProcess([&] {
    Set("a", a, kProcess);
    Set("b", MakeValue(2, 20'000), kNone);  // In the same segment.
    Set("b", "small", kProcess);
  });
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_TRUE(Get("a") == a);
  EXPECT_EQ(Get("b"), "small");
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(DurabilityTest, WhatTheLogNeedsIsNotFreedForUnloggedWrites) {  // 1
  InKilledProcess([&] {
    SetMany(40, 60'000, kProcess);
    for (std::size_t i = 0; i < 40; ++i) Set(KeyOf(i), "new", kNone);
    EXPECT_TRUE(Run(CullCommand{}).status.ok());  // Frees what is dead.
  });
  ASSERT_NO_FATAL_FAILURE(Open());
  ExpectOldOrNew(40, 60'000);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(DurabilityTest, NorWhenItIsSmall) {  // 1, for runs
  constexpr std::size_t kCount = 4'000;
  InKilledProcess([&] {
    SetMany(kCount, 400, kProcess);
    for (std::size_t i = 0; i < kCount; ++i) Set(KeyOf(i), "new", kNone);
    EXPECT_TRUE(Run(CullCommand{}).status.ok());
  });
  ASSERT_NO_FATAL_FAILURE(Open());
  ExpectOldOrNew(kCount, 400);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(DurabilityTest, ALoggedItemNeedsNoUnloggedRun) {
  const std::string b = MakeValue(2, 400);
  InKilledProcess([&] {
    Set("a", MakeValue(1, 400), kNone);  // Its batch has the run's line.
    Set("b", b, kProcess);
  });
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_TRUE(Get("b") == b);
  EXPECT_FALSE(Get("a").has_value());
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(DurabilityTest, ADeleteIsLoggedAlsoOfWhatAnUnloggedOneDeleted) {
  InKilledProcess([&] {
    Set("a", "old", kProcess);
    const Command command = DeleteCommand{.key = "a"};
    Reply reply;
    EXPECT_TRUE(
        engine_->Execute({&command, 1}, {&reply, 1}, {.durability = kNone})
            .ok());
    EXPECT_TRUE(Run(command).status.ok());
  });
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_FALSE(Get("a").has_value());
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(DurabilityTest, ATagThatIsBackIsEvictedAgain) {
  InKilledProcess([&] {
    Set("a", "old", kProcess, "tag");
    Set("a", "new", kNone);
    // So that the index has both, and compactions see the new one.
    EXPECT_TRUE(engine_->Reset("policy", "clock").ok());
  });
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(Get("a"), "old");
  EXPECT_EQ(Run(EvictTagCommand{.tag = "tag"}).count, 1U);
  EXPECT_FALSE(Get("a").has_value());
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// Buffers are flushed in between, each column family when it is full: of the
// unlogged writes some are in tables, of each family other ones.
TEST_F(DurabilityTest, AnyMixtureIsCountedAnew) {
  constexpr std::size_t kSizes[] = {20, 400, 3'000, 50'000};
  constexpr std::uint64_t kWrites = 20'000;
  std::uint64_t seed = SeedFromEnvironment(11);
  SCOPED_TRACE("LARDER_SEED=" + std::to_string(seed));
  std::vector<std::uint64_t> logged(500, kWrites);
  Random random(seed);
  const auto step = [&](std::uint64_t i, bool for_real) {
    const std::size_t key = random.Below(logged.size());
    const bool unlogged = random.OneIn(2);
    const std::size_t size = kSizes[random.Below(4)];
    logged[key] = unlogged ? kWrites : i;
    if (!for_real) return;
    Set(KeyOf(key), MakeValue(i, size) + std::to_string(i),
        unlogged ? kNone : kProcess);
  };
  InKilledProcess([&] {
    for (std::uint64_t i = 0; i < kWrites; ++i) step(i, true);
  });
  for (std::uint64_t i = 0; i < kWrites; ++i) step(i, false);
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
  for (std::size_t key = 0; key < logged.size(); ++key) {
    if (logged[key] == kWrites) continue;  // Its last write was not logged.
    const auto value = Get(KeyOf(key));
    EXPECT_TRUE(value && value->ends_with(std::to_string(logged[key]))) << key;
  }
}

TEST_F(DurabilityTest, ItIsCountedOnce) {
  InKilledProcess([&] { Set("a", "1", kNone); });
  ASSERT_NO_FATAL_FAILURE(Open());
  Set("b", "2", kProcess);
  ASSERT_NO_FATAL_FAILURE(Reopen());
  EXPECT_EQ(Get("b"), "2");
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

}  // namespace
}  // namespace larder::testing
