// Changes of many threads at once, by themselves and in groups of clients.

#include "shared/change_combiner.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "session_model.h"
#include "store/store.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

constexpr int kThreads = 6;
constexpr int kClients = 5;
constexpr int kRounds = 500;

Command Increment(std::string_view key, std::int64_t delta = 1) {
  return IncrCommand{.key = key, .delta = delta};
}

// Of the process itself.
ClientChange OwnChange(const Command& command, Reply& reply) {
  return {.session = {},
          .command = &command,
          .reply = &reply,
          .options = {},
          .status = Status::Internal("not executed")};
}

enum class Collects : bool { kNever, kAtTimes };

// Threads of the holder add to counters one by one, another one adds for
// several clients at a time; all add to a common one, too.
void AddFromAllSides(SessionStore& store, Collects collects) {
  ChangeCombiner combiner(store);
  std::atomic<int> failures{0};
  const auto expect_done = [&failures](const ClientChange& change) {
    if (change.status.ok() && change.reply->status.ok()) return;
    if (++failures > 1) return;  // One says enough.
    ADD_FAILURE() << change.status.ToString() << "; "
                  << change.reply->status.ToString();
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&combiner, &expect_done, t] {
      const std::string own = "own" + std::to_string(t);
      for (int i = 0; i < kRounds; ++i) {
        const Command command =
            Increment(i % 2 == 0 ? std::string_view("common") : own);
        Reply reply;
        ClientChange change = OwnChange(command, reply);
        combiner.Execute(change);
        expect_done(change);
      }
    });
  }
  threads.emplace_back([&combiner, &expect_done, collects] {
    for (int i = 0; i < kRounds; ++i) {
      if (collects == Collects::kAtTimes) {
        // As a server does: awake for some rounds, then asleep for a while.
        combiner.SetCollecting(i % 8 < 6);
        combiner.Poll();
        if (i % 8 == 6) std::this_thread::yield();
      }
      std::vector<std::string> keys;
      for (int c = 0; c < kClients; ++c) {
        keys.push_back(c % 2 == 0 ? "common" : "client" + std::to_string(c));
      }
      std::vector<Command> commands;
      for (const std::string& key : keys) commands.push_back(Increment(key));
      std::vector<Reply> replies(kClients);
      std::vector<ClientChange> changes;
      for (std::size_t c = 0; c < kClients; ++c) {
        changes.push_back(
            {.session = {c + 1, static_cast<std::uint64_t>(i) + 1},
             .command = &commands[c],
             .reply = &replies[c],
             .options = {},
             .status = Status::Internal("not executed")});
      }
      combiner.Execute(changes);
      ASSERT_EQ(changes.size(), static_cast<std::size_t>(kClients));
      for (const ClientChange& change : changes) expect_done(change);
    }
    combiner.SetCollecting(false);
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

std::int64_t ValueOf(SessionStore& store, const std::string& key) {
  const Command command = Increment(key, 0);
  Reply reply;
  EXPECT_TRUE(store.Execute({&command, 1}, {&reply, 1}, {}).ok());
  return reply.integer;
}

void ExpectExactCounts(SessionStore& store) {
  EXPECT_EQ(ValueOf(store, "common"),
            kThreads * kRounds / 2 + (kClients + 1) / 2 * kRounds);
  for (int t = 0; t < kThreads; ++t) {
    EXPECT_EQ(ValueOf(store, "own" + std::to_string(t)), kRounds / 2);
  }
  for (int c = 1; c < kClients; c += 2) {
    EXPECT_EQ(ValueOf(store, "client" + std::to_string(c)), kRounds);
  }
  for (std::uint64_t c = 1; c <= kClients; ++c) {
    EXPECT_TRUE(store.FindReply({c, kRounds}).has_value()) << c;
  }
  // The process itself needs no record.
  EXPECT_FALSE(store.FindReply({0, 0}).has_value());
}

class ChangeCombinerCollectsTest : public ::testing::TestWithParam<Collects> {};

TEST_P(ChangeCombinerCollectsTest, EveryChangeIsMadeOnce) {
  auto store = SessionModel::Open(std::make_shared<SessionDisk>(), {});
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  AddFromAllSides(**store, GetParam());
  ExpectExactCounts(**store);
}

TEST_P(ChangeCombinerCollectsTest, EveryChangeIsMadeOnceByTheStore) {
  const TemporaryDirectory directory;
  auto store = Store::Open(directory.path() / "cache", {});
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  AddFromAllSides(**store, GetParam());
  ExpectExactCounts(**store);
  const auto report = (*store)->Check(/*repair=*/false);
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->ok());
  EXPECT_TRUE((*store)->Close().ok());
}

INSTANTIATE_TEST_SUITE_P(All, ChangeCombinerCollectsTest,
                         ::testing::Values(Collects::kNever,
                                           Collects::kAtTimes),
                         [](const auto& its) {
                           return its.param == Collects::kNever ? "Never"
                                                                : "AtTimes";
                         });

// A thread leaves its change to whoever collects, but not for long: that may be
// at something else, or stopped.
TEST(ChangeCombinerTest, WhoCollectsAndDoesNotComeIsNotWaitedFor) {
  auto store = SessionModel::Open(std::make_shared<SessionDisk>(), {});
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  ChangeCombiner combiner(**store);
  combiner.SetCollecting(true);
  std::atomic<bool> done{false};
  const Command own = Increment("own");
  std::thread thread([&] {
    Reply reply;
    ClientChange change = OwnChange(own, reply);
    combiner.Execute(change);
    EXPECT_TRUE(change.status.ok()) << change.status.ToString();
    EXPECT_EQ(reply.integer, 1);
    done = true;
  });
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(done);
  combiner.SetCollecting(false);  // Else the thread might never end.
  thread.join();
  EXPECT_EQ(ValueOf(**store, "own"), 1);
}

TEST(ChangeCombinerTest, FailureOfOneIsNotThatOfOthers) {
  auto store = SessionModel::Open(std::make_shared<SessionDisk>(), {});
  ASSERT_TRUE(store.has_value()) << store.error().ToString();
  ChangeCombiner combiner(**store);
  SetCommand text;
  text.key = "text";
  text.value = "abc";
  const std::vector<Command> commands = {text, Increment("text"),
                                         Increment("number")};
  std::vector<Status> statuses;
  for (const Command& command : commands) {
    Reply reply;
    ClientChange change{.session = {},
                        .command = &command,
                        .reply = &reply,
                        .options = {},
                        .status = {}};
    combiner.Execute(change);
    EXPECT_TRUE(change.status.ok());
    statuses.push_back(reply.status);
  }
  EXPECT_TRUE(statuses[0].ok());
  EXPECT_EQ(statuses[1].code(), StatusCode::kTypeMismatch);
  EXPECT_TRUE(statuses[2].ok());
}

}  // namespace
}  // namespace larder::testing
