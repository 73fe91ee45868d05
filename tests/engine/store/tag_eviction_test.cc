// An eviction of a tag, looked at while it is under way: readers see all of it
// gone at one moment, writers go on between its steps, and a crash leaves all
// or nothing. The cases cite invariants of store_tag.cc.

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "base/test_point.h"
#include "engine/store_fixture.h"
#include "forked_process.h"

namespace larder::testing {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kItems = 200;
// What an eviction may delete before it lets others write.
constexpr std::uint64_t kStepCountMax = 32;

// Called at the first step of an eviction, in the thread that evicts.
std::function<void()> at_first_step;
std::atomic<std::uint64_t> steps{0};

std::string KeyOf(std::uint64_t i) {
  const std::string number = std::to_string(i);
  return "k" + std::string(4 - number.size(), '0') + number;
}

class TagEviction : public StoreFixture {
 protected:
  void TearDown() override {
    test_point_hook = nullptr;
    at_first_step = nullptr;
  }
  Reply SetTagged(std::string_view key, std::string_view value = "v") {
    return Run(SetCommand{.key = key, .value = value, .tag = "red"});
  }
  void SetAll() {
    for (std::uint64_t i = 0; i < kItems; ++i) {
      ASSERT_TRUE(SetTagged(KeyOf(i)).applied);
    }
    ASSERT_EQ(Set("other", "o").ToString(), "kOk");
  }
  Reply Evict() { return Run(EvictTagCommand{.tag = "red"}); }
  /// Evicts the tag and calls `look` when something of it, not all, is deleted.
  Reply EvictAnd(std::function<void()> look) {
    steps = 0;
    at_first_step = std::move(look);
    test_point_hook = [](const char* name) {
      if (std::string_view(name) == "tag.step" && ++steps == 1) at_first_step();
    };
    Reply reply = Evict();
    test_point_hook = nullptr;
    EXPECT_GE(steps, 1U);
    return reply;
  }
  std::set<std::string> Scanned(std::string_view tag) {
    std::set<std::string> keys;
    auto scan = engine_->OpenScan({.tag = std::string(tag)});
    EXPECT_TRUE(scan.has_value());
    for (;;) {
      auto page = (*scan)->Next(kScanPageCountMax);
      EXPECT_TRUE(page.has_value());
      if (!page || page->empty()) return keys;
      for (const ScanItem& item : *page) keys.insert(item.key);
    }
  }
  std::uint64_t Hits() {
    std::vector<std::string> keys;
    std::vector<Command> commands;
    for (std::uint64_t i = 0; i < kItems; ++i) keys.push_back(KeyOf(i));
    for (const std::string& key : keys) commands.push_back(GetCommand{key});
    std::vector<Reply> replies(commands.size());
    EXPECT_TRUE(engine_->Execute(commands, replies, {}).ok());
    std::uint64_t hits = 0;
    for (const Reply& reply : replies) hits += reply.applied ? 1 : 0;
    return hits;
  }
};

TEST_F(TagEviction, AllOfItIsGoneForReadersBeforeItIsDeleted) {
  Open();
  ASSERT_NO_FATAL_FAILURE(SetAll());
  const Reply reply = EvictAnd([this] {
    EXPECT_EQ(Hits(), 0U);
    EXPECT_EQ(Get(KeyOf(0)), std::nullopt);
    EXPECT_EQ(Get(KeyOf(kItems - 1)), std::nullopt);
    EXPECT_FALSE(IsLive(KeyOf(kItems - 1)));
    EXPECT_EQ(Scanned("red"), std::set<std::string>());
    EXPECT_EQ(Scanned(""), std::set<std::string>({"other"}));
    EXPECT_EQ(Get("other"), "o");
  });
  EXPECT_EQ(reply.count, kItems);
  EXPECT_EQ(Stats().count, 1U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(TagEviction, NoStepDeletesMoreThanItsShare) {
  Open();
  ASSERT_NO_FATAL_FAILURE(SetAll());
  EXPECT_EQ(EvictAnd([] {}).count, kItems);
  EXPECT_GE(steps, kItems / kStepCountMax);
}

// Every stripe of keys is free between two steps, and so is the write gate.
TEST_F(TagEviction, OthersWriteBetweenItsSteps) {
  Open();
  ASSERT_NO_FATAL_FAILURE(SetAll());
  const Reply reply = EvictAnd([this] {
    std::thread writer([this] {
      for (std::uint64_t i = 0; i < kItems; ++i) {
        EXPECT_EQ(Set("w" + KeyOf(i), "w").ToString(), "kOk");
      }
    });
    writer.join();
  });
  EXPECT_EQ(reply.count, kItems);
  EXPECT_EQ(Stats().count, kItems + 1);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(TagEviction, WhatIsWrittenMeanwhileStaysAndIsCountedOnce) {
  Open();
  ASSERT_NO_FATAL_FAILURE(SetAll());
  const Reply reply = EvictAnd([this] {
    // Deleted already, about to be deleted, and new.
    for (const std::uint64_t i : {0U, 150U, 1000U}) {
      EXPECT_TRUE(SetTagged(KeyOf(i), "new").applied);
    }
    EXPECT_TRUE(Run(SetCommand{.key = KeyOf(151),
                               .value = "added",
                               .condition = SetCondition::kIfAbsent})
                    .applied);
  });
  EXPECT_EQ(reply.count, kItems);
  EXPECT_EQ(Scanned("red"),
            std::set<std::string>({KeyOf(0), KeyOf(150), KeyOf(1000)}));
  EXPECT_EQ(Get(KeyOf(151)), "added");
  EXPECT_EQ(Stats().count, 5U);
  EXPECT_EQ(Stats().expirations, 0U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(TagEviction, CommandsFindNothingOfIt) {
  Open();
  ASSERT_NO_FATAL_FAILURE(SetAll());
  const Reply reply = EvictAnd([this] {
    EXPECT_FALSE(Run(TouchCommand{.key = KeyOf(150)}).applied);
    EXPECT_FALSE(Run(DeleteCommand{.key = KeyOf(151)}).applied);
    const Reply sum = Run(IncrCommand{.key = KeyOf(152), .delta = 3});
    EXPECT_EQ(sum.status.ToString(), "kOk");
    EXPECT_EQ(sum.integer, 3);
  });
  EXPECT_EQ(reply.count, kItems);
  EXPECT_EQ(Stats().count, 2U);
  EXPECT_EQ(Stats().deletes, 0U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(TagEviction, WhoeverCountsMeanwhileWaitsForIt) {
  Open();
  ASSERT_NO_FATAL_FAILURE(SetAll());
  std::thread counter;
  std::uint64_t count = 0;
  EvictAnd([&] {
    counter = std::thread([&] {
      const auto counted = engine_->Count();
      ASSERT_TRUE(counted.has_value());
      count = *counted;
    });
  });
  counter.join();
  EXPECT_EQ(count, 1U);
}

// Invariant 2.
TEST_F(TagEviction, TwoAtOnceCountEachItemOnce) {
  Open();
  ASSERT_NO_FATAL_FAILURE(SetAll());
  std::thread other;
  std::uint64_t others = 0;
  const Reply reply = EvictAnd([&] {
    EXPECT_TRUE(SetTagged("late").applied);
    other = std::thread([&] { others = Evict().count; });
  });
  other.join();
  EXPECT_EQ(reply.count, kItems);
  EXPECT_EQ(others, 1U);
  EXPECT_EQ(Stats().count, 1U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(TagEviction, ClearCountsNothingOfItAgain) {
  Open();
  ASSERT_NO_FATAL_FAILURE(SetAll());
  std::thread other;
  std::uint64_t cleared = 0;
  const Reply reply = EvictAnd([&] {
    other = std::thread([&] { cleared = Run(ClearCommand{}).count; });
  });
  other.join();
  EXPECT_EQ(reply.count, kItems);
  EXPECT_EQ(cleared, 1U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(TagEviction, WhatExpiresMeanwhileCountsAsEvicted) {
  Open();
  for (std::uint64_t i = 0; i < kItems; ++i) {
    ASSERT_TRUE(Run(SetCommand{.key = KeyOf(i),
                               .value = "v",
                               .ttl = seconds(10),
                               .tag = "red"})
                    .applied);
  }
  const Reply reply = EvictAnd([this] {
    clock_.Advance(seconds(20));
    EXPECT_EQ(Run(ExpireCommand{}).count, 0U);
  });
  EXPECT_EQ(reply.count, kItems);
  EXPECT_EQ(Stats().expirations, 0U);
  EXPECT_EQ(Stats().count, 0U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// Invariant 1.
TEST_F(TagEviction, AStreamThatEndsMeanwhileIsSpared) {
  Open();
  ASSERT_NO_FATAL_FAILURE(SetAll());
  const std::string value(100'000, 's');
  auto writer = engine_->OpenWriter(SetCommand{.key = "stream", .tag = "red"},
                                    value.size(), {});
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE((*writer)->Append(value).ok());
  const Reply reply = EvictAnd([&] {
    const Reply committed = (*writer)->Commit();
    EXPECT_TRUE(committed.applied) << committed.status.ToString();
    EXPECT_EQ(Get("stream"), value);
  });
  EXPECT_EQ(reply.count, kItems);
  EXPECT_EQ(Get("stream"), value);
  ASSERT_NO_FATAL_FAILURE(Reopen());
  EXPECT_EQ(Get("stream"), value);
  EXPECT_EQ(Evict().count, 1U);
  EXPECT_EQ(Get("stream"), std::nullopt);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

const char* end_at = "";
std::uint64_t end_at_step = 0;

/// A process that evicts the tag and ends as by kill -9.
class CutOffEviction : public TagEviction {
 protected:
  void EvictAndDie(const char* point, std::uint64_t step) {
    engine_.reset();
    ForkedProcess child([&](const ForkedProcess::Pipe&) {
      Open();
      SetAll();
      end_at = point;
      end_at_step = step;
      steps = 0;
      test_point_hook = [](const char* name) {
        if (std::string_view(name) == end_at && ++steps == end_at_step) {
          ::kill(::getpid(), SIGKILL);
        }
      };
      Evict();
      return 1;
    });
    ASSERT_EQ(child.Wait(), -SIGKILL);
  }
};

TEST_F(CutOffEviction, BeforeItsCommitNothingIsGone) {
  ASSERT_NO_FATAL_FAILURE(EvictAndDie("tag.begun", 1));
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(Hits(), kItems);
  EXPECT_EQ(Stats().count, kItems + 1);
  EXPECT_EQ(Evict().count, kItems);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(CutOffEviction, AfterItsCommitAllIsGone) {
  for (const std::uint64_t step : {1U, 3U, 7U}) {
    ASSERT_NO_FATAL_FAILURE(EvictAndDie("tag.step", step));
    ASSERT_NO_FATAL_FAILURE(Open());
    EXPECT_EQ(Hits(), 0U);
    EXPECT_EQ(Scanned("").size(), 1U);
    EXPECT_EQ(Stats().count, 1U);
    ASSERT_NO_FATAL_FAILURE(ExpectSound());
    EXPECT_EQ(Evict().count, 0U);
  }
}

TEST_F(CutOffEviction, AnAcknowledgedWriteAfterItStays) {
  ASSERT_NO_FATAL_FAILURE(EvictAndDie("tag.step", 2));
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_TRUE(SetTagged(KeyOf(199), "new").applied);
  EXPECT_EQ(Scanned("red"), std::set<std::string>({KeyOf(199)}));
  EXPECT_EQ(Stats().count, 2U);  // All of it is deleted then.
  EXPECT_EQ(Evict().count, 1U);
  EXPECT_EQ(Stats().count, 1U);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// What they replaced was gone by the cutoff, which is not there any more.
TEST_F(CutOffEviction, LostUnloggedWritesBringNothingBack) {
  engine_.reset();
  ForkedProcess child([&](const ForkedProcess::Pipe&) {
    Open();
    SetAll();
    EvictAnd([this] {
      for (std::uint64_t i = 0; i < kItems; ++i) {
        const std::string key = KeyOf(i);
        const std::string_view tag = i % 3 == 0 ? "red" : "blue";
        Command command = SetCommand{.key = key, .value = "new", .tag = tag};
        if (i % 3 == 2) command = DeleteCommand{.key = key};
        Reply reply;
        static_cast<void>(engine_->Execute({&command, 1}, {&reply, 1},
                                           {.durability = Durability::kNone}));
      }
    });
    ::kill(::getpid(), SIGKILL);
    return 1;
  });
  ASSERT_EQ(child.Wait(), -SIGKILL);
  ASSERT_NO_FATAL_FAILURE(Open());
  for (std::uint64_t i = 0; i < kItems; ++i) {
    EXPECT_NE(Get(KeyOf(i)), "v") << i;
  }
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(CutOffEviction, IsSettledInTheBackground) {
  ASSERT_NO_FATAL_FAILURE(EvictAndDie("tag.step", 1));
  ASSERT_NO_FATAL_FAILURE(Open());
  std::uint64_t counted = 0;
  for (int tries = 0; counted != 2 && tries < 100; ++tries) {
    // Without a thread, each change does a part.
    EXPECT_TRUE(Set("next", "n").ok());
    const Result<CheckReport> report = engine_->Check(false);
    ASSERT_TRUE(report.has_value());
    EXPECT_TRUE(report->ok());
    counted = report->count_recount;
  }
  EXPECT_EQ(counted, 2U);
}

TEST_F(CutOffEviction, ReadOnlyItIsGoneAndNotCounted) {
  ASSERT_NO_FATAL_FAILURE(EvictAndDie("tag.step", 1));
  EngineOptions options;
  options.clock = &clock_;
  options.mode = OpenMode::kReadOnly;
  auto engine = OpenEngine(path_, options);
  ASSERT_TRUE(engine.has_value()) << engine.error().ToString();
  engine_ = *std::move(engine);
  EXPECT_EQ(Hits(), 0U);
  EXPECT_EQ(*engine_->Count(), 1U);
  EXPECT_EQ(Stats().count, 1U);
}

}  // namespace
}  // namespace larder::testing
