#include <atomic>
#include <thread>

#include "engine/conformance/conformance_suite.h"
#include "test_values.h"

namespace larder::testing {
namespace {

TEST_P(EngineConformance, BatchOfNothingIsOk) {
  EXPECT_EQ(engine_->Execute({}, {}, {}).ToString(), "kOk");
}

TEST_P(EngineConformance, BatchAnswersEachCommandInOrder) {
  const auto replies = RunAll(
      {SetCommand{.key = "a", .value = "1"}, GetCommand{.key = "nobody"},
       IncrCommand{.key = "n", .delta = 3}, DeleteCommand{.key = "nobody"},
       TouchCommand{.key = "a", .ttl = seconds(5)}});
  EXPECT_TRUE(replies[0].applied);
  EXPECT_FALSE(replies[1].applied);
  EXPECT_EQ(replies[2].integer, 3);
  EXPECT_FALSE(replies[3].applied);
  EXPECT_TRUE(replies[4].applied);
  EXPECT_EQ(Inspect("a").info.expires_at, clock_.Now() + seconds(5));
}

TEST_P(EngineConformance, WhatAReplyHeldBeforeIsNoAnswer) {
  for (const Command& command : std::vector<Command>{
           GetCommand{.key = "nobody"}, DeleteCommand{.key = "nobody"},
           TouchCommand{.key = "nobody"}, ExpireCommand{}}) {
    std::vector<Reply> replies(1);
    replies[0].status = Status::IoError("of an earlier call");
    replies[0].applied = true;
    replies[0].value = ValueHandle::FromString("old");
    replies[0].info.version = 7;
    replies[0].count = 3;
    ASSERT_TRUE(engine_->Execute({&command, 1}, replies, {}).ok());
    EXPECT_TRUE(replies[0].status.ok());
    EXPECT_EQ(replies[0].value.size() + replies[0].info.version, 0U);
    EXPECT_EQ(replies[0].count, 0U);
    EXPECT_EQ(replies[0].applied,
              std::holds_alternative<ExpireCommand>(command));
  }
}

TEST_P(EngineConformance, BatchGetSeesTheSetBeforeIt) {
  for (const std::size_t size : {0U, 100U, 5000U, 100000U, 3U << 20}) {
    const std::string value = MakeValue(size, size);
    const auto replies = RunAll(
        {SetCommand{.key = "key", .value = value}, GetCommand{.key = "key"},
         DeleteCommand{.key = "key"}, GetCommand{.key = "key"}});
    EXPECT_TRUE(replies[1].value.bytes() == value) << size;
    EXPECT_TRUE(replies[2].applied);
    EXPECT_FALSE(replies[3].applied);
  }
}

TEST_P(EngineConformance, BatchPopReturnsWhatTheBatchSet) {
  const auto replies =
      RunAll({SetCommand{.key = "key", .value = "new"},
              DeleteCommand{.key = "key", .with_value = true}});
  EXPECT_EQ(replies[1].value.bytes(), "new");
  EXPECT_FALSE(IsLive("key"));
}

TEST_P(EngineConformance, BatchReadsTheValueOfAnItemThatItTouched) {
  for (const std::size_t size : {8U, 500U, 5000U, 100000U, 3U << 20}) {
    const std::string value = MakeValue(size, size);
    ASSERT_TRUE(Set("key", value).applied);
    const auto replies =
        RunAll({TouchCommand{.key = "key", .ttl = seconds(5)},
                GetCommand{.key = "key"},
                DeleteCommand{.key = "key", .with_value = true}});
    EXPECT_TRUE(replies[1].value.bytes() == value) << size;
    EXPECT_TRUE(replies[2].value.bytes() == value) << size;
  }
}

TEST_P(EngineConformance, BatchLastSetOfAKeyWins) {
  RunAll({SetCommand{.key = "key", .value = "1", .tag = "red"},
          SetCommand{.key = "key", .value = "2"}, DeleteCommand{.key = "key"},
          SetCommand{.key = "key", .value = "3"}});
  EXPECT_EQ(ValueOf("key"), "3");
  EXPECT_EQ(Count(), 1U);
  EXPECT_EQ(EvictTag("red").count, 0U);
}

TEST_P(EngineConformance, BatchIncrsOfOneKeyAddUp) {
  const auto replies = RunAll({IncrCommand{.key = "n", .delta = 1},
                               IncrCommand{.key = "n", .delta = 10},
                               IncrCommand{.key = "n", .delta = 100}});
  EXPECT_EQ(replies[0].integer, 1);
  EXPECT_EQ(replies[1].integer, 11);
  EXPECT_EQ(replies[2].integer, 111);
  EXPECT_EQ(Incr("n", 0).integer, 111);
}

TEST_P(EngineConformance, BatchConditionsSeeTheCommandsBefore) {
  const auto replies = RunAll(
      {SetCommand{.key = "key", .value = "1"},
       SetCommand{
           .key = "key", .value = "2", .condition = SetCondition::kIfAbsent},
       DeleteCommand{.key = "key"},
       SetCommand{.key = "key",
                  .value = "3",
                  .condition = SetCondition::kIfVersion,
                  .version_expected = 0}});
  EXPECT_FALSE(replies[1].applied);
  EXPECT_EQ(replies[1].info.version, replies[0].info.version);
  EXPECT_TRUE(replies[3].applied);
  EXPECT_EQ(ValueOf("key"), "3");
}

TEST_P(EngineConformance, BatchFailedCommandDoesNotStopTheOthers) {
  ASSERT_TRUE(Set("text", "not a number").applied);
  const std::string key_too_large(kKeySizeBytesMax + 1, 'k');
  const auto replies =
      RunAll({SetCommand{.key = "a", .value = "1"}, IncrCommand{.key = "text"},
              SetCommand{.key = key_too_large, .value = "2"},
              SetCommand{.key = "b", .value = "3"}});
  EXPECT_EQ(replies[1].status.code(), StatusCode::kTypeMismatch);
  EXPECT_EQ(replies[2].status.code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(ValueOf("a"), "1");
  EXPECT_EQ(ValueOf("b"), "3");
  EXPECT_EQ(ValueOf("text"), "not a number");
}

TEST_P(EngineConformance, AllOrNothingBatchIsUndoneByAFailedCommand) {
  ASSERT_TRUE(Set("text", "not a number").applied);
  ASSERT_TRUE(SetWithTag("gone", "still here", "red").applied);
  const std::string large = MakeValue(1, 100000);
  const std::vector<Command> commands = {
      SetCommand{.key = "a", .value = large}, DeleteCommand{.key = "gone"},
      IncrCommand{.key = "n"}, IncrCommand{.key = "text"},
      SetCommand{.key = "b", .value = "3"}};
  std::vector<Reply> replies(commands.size());
  const Status status =
      engine_->Execute(commands, replies, {.all_or_nothing = true});
  EXPECT_EQ(status.code(), StatusCode::kTypeMismatch);
  EXPECT_FALSE(IsLive("a"));
  EXPECT_FALSE(IsLive("b"));
  EXPECT_FALSE(IsLive("n"));
  EXPECT_EQ(ValueOf("gone"), "still here");
  EXPECT_EQ(Count(), 2U);
  EXPECT_EQ(EvictTag("red").count, 1U);
}

TEST_P(EngineConformance, AllOrNothingBatchGoesOnAfterAnUnmetCondition) {
  ASSERT_TRUE(Set("key", "old").applied);
  const std::vector<Command> commands = {
      SetCommand{
          .key = "key", .value = "x", .condition = SetCondition::kIfAbsent},
      DeleteCommand{.key = "nobody"}, SetCommand{.key = "b", .value = "2"}};
  std::vector<Reply> replies(commands.size());
  EXPECT_EQ(
      engine_->Execute(commands, replies, {.all_or_nothing = true}).ToString(),
      "kOk");
  EXPECT_EQ(ValueOf("key"), "old");
  EXPECT_EQ(ValueOf("b"), "2");
}

TEST_P(EngineConformance, CommandsOnTheWholeCacheMustBeAlone) {
  ASSERT_TRUE(SetWithTag("key", "v", "red").applied);
  const Command set = SetCommand{.key = "other", .value = "v"};
  const std::vector<Command> lone = {EvictTagCommand{"red"}, ClearCommand{},
                                     ExpireCommand{}, CullCommand{}};
  for (const Command& command : lone) {
    const std::vector<Command> commands = {set, command};
    std::vector<Reply> replies(2);
    EXPECT_EQ(engine_->Execute(commands, replies, {}).code(),
              StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(IsLive("key"));
  EXPECT_FALSE(IsLive("other"));
}

TEST_P(EngineConformance, BatchAboveItsLargestSizeIsInvalid) {
  const std::vector<Command> commands(kBatchCommandCountMax + 1,
                                      SetCommand{.key = "key", .value = "v"});
  std::vector<Reply> replies(commands.size());
  EXPECT_EQ(engine_->Execute(commands, replies, {}).code(),
            StatusCode::kInvalidArgument);
  EXPECT_FALSE(IsLive("key"));
}

TEST_P(EngineConformance, BatchOfManyItemsOfAllSizesIsStored) {
  std::vector<std::string> keys;
  std::vector<std::string> values;
  for (std::size_t i = 0; i < 500; ++i) {
    keys.push_back("key" + std::to_string(i));
    values.push_back(MakeValue(i, i * i / 4));  // 0 to 62,250 bytes.
  }
  std::vector<Command> commands;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    commands.emplace_back(SetCommand{.key = keys[i], .value = values[i]});
  }
  RunAll(commands);
  EXPECT_EQ(Count(), 500U);
  Reopen();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    ASSERT_TRUE(Get(keys[i]).value.bytes() == values[i]) << i;
  }
}

TEST_P(EngineConformance, EveryDurabilityStores) {
  for (const Durability durability :
       {Durability::kNone, Durability::kProcess, Durability::kPower}) {
    const Command command = SetCommand{.key = "key", .value = "v"};
    Reply reply;
    EXPECT_EQ(
        engine_->Execute({&command, 1}, {&reply, 1}, {.durability = durability})
            .ToString(),
        "kOk");
    EXPECT_TRUE(Delete("key").applied);
  }
}

// A writer sets "a" and "b" to the same number in one batch, growing. Whoever
// read one of them must find at least that number in the other.
TEST_P(EngineConformance, BatchIsNeverSeenByHalf) {
  std::atomic<bool> stop = false;
  const auto write = [&](int i) {
    const std::string value = std::to_string(1000000 + i);
    const std::vector<Command> commands = {
        SetCommand{.key = "a", .value = value},
        SetCommand{.key = "b", .value = value}};
    std::vector<Reply> replies(2);
    return engine_->Execute(commands, replies, {});
  };
  ASSERT_TRUE(write(0).ok());
  std::thread writer([&] {
    for (int i = 1; i <= 2000; ++i) EXPECT_TRUE(write(i).ok());
    stop = true;
  });
  int reads = 0;
  while (!stop || reads < 100) {
    const bool a_first = reads++ % 2 == 0;
    const std::string first = ValueOf(a_first ? "a" : "b");
    const std::string second = ValueOf(a_first ? "b" : "a");
    ASSERT_EQ(first.size(), 7U) << first;
    ASSERT_GE(second, first);
  }
  writer.join();
}

TEST_P(EngineConformance, ConcurrentIncrsAreAllCounted) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        EXPECT_TRUE(Incr("n", 1).status.ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Incr("n", 0).integer, 2000);
}

TEST_P(EngineConformance, OfConcurrentAddsOneIsApplied) {
  std::atomic<int> applied = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string key = "key" + std::to_string(i);
        applied += Add(key, std::to_string(t)).applied ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(applied, 200);
  EXPECT_EQ(Count(), 200U);
}

}  // namespace
}  // namespace larder::testing
