// What the store keeps of clients' changes, and changes of several at once.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "messages/command_codec.h"
#include "store/store.h"
#include "temporary_directory.h"
#include "test_values.h"

namespace larder::testing {
namespace {

class SessionStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    store_.reset();
    auto store = Store::Open(path_, {.background = false});
    ASSERT_TRUE(store.has_value()) << store.error().ToString();
    store_ = *std::move(store);
  }
  Reply RunAs(const Session& session, const Command& command) {
    Reply reply;
    PlacedValues placed;
    const Status status =
        store_->ExecuteAs(session, {&command, 1}, {&reply, 1}, {}, placed);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return reply;
  }
  // What the store would answer to the same request once more.
  std::optional<Reply> Recorded(const Session& session) {
    const auto record = store_->FindReply(session);
    if (!record) return std::nullopt;
    const auto bytes = std::make_shared<const std::string>(*record);
    Reply reply;
    const auto decoded = DecodeReplies(bytes, *bytes, {&reply, 1});
    EXPECT_TRUE(decoded.has_value());
    return reply;
  }
  // Executes `commands[i]` for client i + 1, as one group.
  std::vector<Reply> RunGroup(const std::vector<Command>& commands,
                              std::uint64_t sequence = 1) {
    std::vector<Reply> replies(commands.size());
    std::vector<ClientChange> changes;
    for (std::size_t i = 0; i < commands.size(); ++i) {
      changes.push_back({.session = {i + 1, sequence},
                         .command = &commands[i],
                         .reply = &replies[i],
                         .options = {},
                         .status = {}});
    }
    store_->ExecuteGroup(changes);
    for (const ClientChange& change : changes) {
      EXPECT_TRUE(change.status.ok()) << change.status.ToString();
    }
    return replies;
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "cache";
  std::unique_ptr<Store> store_;
};

TEST_F(SessionStoreTest, AnswerIsRecordedWithTheChange) {
  const Session session{.uid = 5, .sequence = 9};
  EXPECT_EQ(RunAs(session, IncrCommand{.key = "n", .delta = 3}).integer, 3);
  Open();  // As after a crash: nothing but what was committed.
  const auto recorded = Recorded(session);
  ASSERT_TRUE(recorded.has_value());
  EXPECT_TRUE(recorded->applied);
  EXPECT_EQ(recorded->integer, 3);
  EXPECT_FALSE(Recorded({.uid = 5, .sequence = 10}).has_value());
  EXPECT_FALSE(Recorded({.uid = 6, .sequence = 9}).has_value());
}

TEST_F(SessionStoreTest, ClearIsRecorded) {
  RunAs({1, 1}, SetCommand{.key = "a", .value = "1"});
  EXPECT_EQ(RunAs({1, 2}, ClearCommand{}).count, 1U);
  Open();
  const auto recorded = Recorded({1, 2});
  ASSERT_TRUE(recorded.has_value());
  EXPECT_EQ(recorded->count, 1U);
}

TEST_F(SessionStoreTest, RecordsOfTheDeadGo) {
  for (const std::uint64_t uid : {1U, 2U, 3U}) {
    RunAs({uid, 1}, SetCommand{.key = "k", .value = "v"});
  }
  store_->ForgetClient(2);
  Open();
  EXPECT_TRUE(Recorded({1, 1}).has_value());
  EXPECT_FALSE(Recorded({2, 1}).has_value());
  const std::uint64_t living[] = {1, 7};
  store_->RetainClients(living);
  Open();
  EXPECT_TRUE(Recorded({1, 1}).has_value());
  EXPECT_FALSE(Recorded({3, 1}).has_value());
}

TEST_F(SessionStoreTest, GroupIsAsIfOneCameAfterTheOther) {
  const std::vector<Reply> replies = RunGroup({
      IncrCommand{.key = "n", .delta = 1},
      SetCommand{
          .key = "new", .value = "first", .condition = SetCondition::kIfAbsent},
      IncrCommand{.key = "n", .delta = 1},
      SetCommand{.key = "new",
                 .value = "second",
                 .condition = SetCondition::kIfAbsent},
      IncrCommand{.key = "n", .delta = 1},
  });
  EXPECT_EQ(replies[0].integer, 1);
  EXPECT_EQ(replies[2].integer, 2);
  EXPECT_EQ(replies[4].integer, 3);
  EXPECT_TRUE(replies[1].applied);
  EXPECT_FALSE(replies[3].applied);
  Open();
  EXPECT_EQ(Recorded({3, 1})->integer, 2);
  EXPECT_EQ(Recorded({5, 1})->integer, 3);
  EXPECT_TRUE(Recorded({2, 1})->applied);
  // Nothing was changed for it, so asking again is no harm.
  EXPECT_FALSE(Recorded({4, 1}).has_value());
  EXPECT_EQ(RunAs({9, 1}, GetCommand{.key = "new"}).value.ToString(), "first");
  EXPECT_EQ(*store_->Count(), 2U);
  EXPECT_TRUE(store_->Check(false)->ok());
}

TEST_F(SessionStoreTest, RecordsOfGroupsSurviveLaterOnes) {
  const Command add = IncrCommand{.key = "n", .delta = 1};
  const std::vector<Command> of_twenty(20, add);  // More than share a row.
  RunGroup(of_twenty);
  EXPECT_EQ(RunAs({2, 2}, add).integer, 21);  // Alone.
  Open();
  for (std::uint64_t uid = 1; uid <= 20; ++uid) {
    const Session last{uid, uid == 2 ? 2U : 1U};
    ASSERT_TRUE(Recorded(last).has_value()) << uid;
    EXPECT_EQ(Recorded(last)->integer, uid == 2 ? 21 : uid);
  }
  // The rows of the next holder have the others' records, too.
  RunGroup({add, add, add}, 3);
  Open();
  EXPECT_EQ(Recorded({1, 3})->integer, 22);
  EXPECT_EQ(Recorded({2, 3})->integer, 23);
  for (std::uint64_t uid = 4; uid <= 20; ++uid) {
    EXPECT_EQ(Recorded({uid, 1})->integer, uid) << uid;
  }
  const std::uint64_t living[] = {3, 19};
  store_->RetainClients(living);
  Open();
  store_->RetainClients(living);
  EXPECT_EQ(Recorded({3, 3})->integer, 24);
  EXPECT_EQ(Recorded({19, 1})->integer, 19);
  EXPECT_FALSE(Recorded({4, 1}).has_value());
}

TEST_F(SessionStoreTest, LongRecordInAGroup) {
  const std::string text(2'000, 'x');
  RunAs({9, 1}, SetCommand{.key = "text", .value = text});
  RunGroup({SetCommand{.key = "a", .value = "1"},
            DeleteCommand{.key = "text", .with_value = true},
            SetCommand{.key = "b", .value = "1"}},
           1);
  RunGroup({SetCommand{.key = "a", .value = "2"},
            SetCommand{.key = "b", .value = "2"}},
           2);
  Open();
  EXPECT_TRUE(Recorded({1, 2})->applied);
  EXPECT_TRUE(Recorded({2, 2})->applied);
  EXPECT_TRUE(Recorded({3, 1})->applied);
  RunAs({9, 2}, SetCommand{.key = "text", .value = text});
  RunGroup({SetCommand{.key = "a", .value = "3"},
            DeleteCommand{.key = "text", .with_value = true}},
           3);
  Open();
  EXPECT_TRUE(Recorded({1, 3})->applied);
  EXPECT_TRUE(Recorded({2, 3})->value.ToString() == text);
}

// A record is written with its change and stays until the client's next one.
// With values in it, those of a few clients take more than the cache may have.
TEST_F(SessionStoreTest, ALargeValueIsNotPoppedIntoARecord) {
  const std::string large = MakeValue(1, kRecordedValueSizeMax + 1);
  RunAs({9, 1}, SetCommand{.key = "large", .value = large});
  const Command pop = DeleteCommand{.key = "large", .with_value = true};
  PlacedValues placed;
  Reply reply;
  ASSERT_TRUE(
      store_->ExecuteAs({1, 1}, {&pop, 1}, {&reply, 1}, {}, placed).ok());
  EXPECT_FALSE(reply.applied);
  ASSERT_EQ(placed.found.size(), 1U);
  EXPECT_EQ(placed.found[0].version, reply.info.version);
  EXPECT_EQ(placed.found[0].value_size, large.size());
  EXPECT_FALSE(placed.found[0].chunks.empty());
  EXPECT_FALSE(Recorded({1, 1}).has_value());
  // In a group.
  const Command other = SetCommand{.key = "other", .value = "1"};
  Reply replies[2];
  std::vector<ClientChange> changes(2);
  changes[0].session = {2, 1};
  changes[0].command = &pop;
  changes[0].reply = &replies[0];
  changes[1].session = {3, 1};
  changes[1].command = &other;
  changes[1].reply = &replies[1];
  store_->ExecuteGroup(changes);
  EXPECT_FALSE(replies[0].applied);
  EXPECT_TRUE(changes[0].found == placed.found);
  EXPECT_TRUE(replies[1].applied);
  EXPECT_TRUE(RunAs({4, 1}, GetCommand{.key = "large"}).value.ToString() ==
              large);
  // The one that it was told of, and no other.
  const std::uint64_t version = placed.found[0].version;
  EXPECT_FALSE(RunAs({1, 2}, DeleteCommand{.key = "large",
                                           .version_expected = version + 1})
                   .applied);
  EXPECT_TRUE(
      RunAs({1, 3}, DeleteCommand{.key = "large", .version_expected = version})
          .applied);
  Open();
  EXPECT_TRUE(Recorded({1, 3})->applied);
}

TEST_F(SessionStoreTest, WhatABatchReturnsIsRecordedAndNeedsRoom) {
  const std::string large = MakeValue(1, 8 * kRecordedValueSizeMax);
  const std::vector<std::string> keys = {"a", "b"};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    RunAs({9, i + 1}, SetCommand{.key = keys[i], .value = large});
  }
  const Command commands[] = {DeleteCommand{.key = keys[0], .with_value = true},
                              GetCommand{.key = keys[1]}};
  const auto run = [&](std::uint64_t sequence) {
    Reply replies[2];
    PlacedValues placed;
    return store_->ExecuteAs({1, sequence}, commands, replies, {}, placed);
  };
  ASSERT_TRUE(store_->Reset("when_full", "fail").ok());
  std::uint64_t filled = 0;
  ASSERT_TRUE(store_->Reset("size_limit", "16MiB").ok());
  for (const Command set = SetCommand{.key = "fill", .value = large};;
       ++filled) {
    const std::string key = std::to_string(filled);
    SetCommand fill = std::get<SetCommand>(set);
    fill.key = key;
    const Command command = fill;
    Reply reply;
    if (!store_->Execute({&command, 1}, {&reply, 1}, {}).ok() ||
        !reply.status.ok()) {
      break;
    }
  }
  EXPECT_EQ(run(1).code(), StatusCode::kNoSpace);
  EXPECT_EQ(*store_->Count(), filled + 2);
  ASSERT_TRUE(store_->Reset("size_limit", "64MiB").ok());
  EXPECT_TRUE(run(2).ok());
  EXPECT_GT(store_->FindReply({1, 2})->size(), 2 * large.size());
}

// Its record came later than one of a request after it.
TEST_F(SessionStoreTest, AnOlderRecordNeverReplacesANewerOne) {
  RunAs({1, 8}, IncrCommand{.key = "n", .delta = 1});
  RunAs({1, 7}, IncrCommand{.key = "n", .delta = 1});
  EXPECT_EQ(Recorded({1, 8})->integer, 1);
  EXPECT_FALSE(Recorded({1, 7}).has_value());
}

TEST_F(SessionStoreTest, FailureOfOneIsNotOneOfTheOthers) {
  RunAs({9, 1}, SetCommand{.key = "text", .value = "no number"});
  const std::string long_key(kKeySizeBytesMax + 1, 'k');
  const std::vector<Reply> replies = RunGroup({
      IncrCommand{.key = "text", .delta = 1},
      SetCommand{.key = "a", .value = "1"},
      DeleteCommand{.key = "absent"},
      SetCommand{.key = long_key, .value = "1"},
      DeleteCommand{.key = "text", .with_value = true},
  });
  EXPECT_EQ(replies[0].status.code(), StatusCode::kTypeMismatch);
  EXPECT_TRUE(replies[1].applied);
  EXPECT_FALSE(replies[2].applied);
  EXPECT_EQ(replies[3].status.code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(replies[4].value.ToString(), "no number");
  EXPECT_EQ(Recorded({5, 1})->value.ToString(), "no number");
  EXPECT_EQ(*store_->Count(), 1U);
  EXPECT_TRUE(store_->Check(false)->ok());
}

}  // namespace
}  // namespace larder::testing
