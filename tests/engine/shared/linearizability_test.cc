// Three processes call a few keys at the same time, and each key's history is
// checked to be that of one key: every call took effect at one moment between
// its begin and its end, whichever process had the store, through the rings or
// the hot tier, and also when the holder is killed under way.

#include "linearizability.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "larder/engine/engine.h"

#include "forked_process.h"
#include "session_model.h"
#include "shared/shared_engine.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

// The checker itself ----------------------------------------------------------

KeyCall Call(KeyOp op, std::int64_t begin, std::int64_t end,
             std::uint64_t argument, std::uint64_t answer = 0) {
  return {.op = op,
          .argument = argument,
          .answer = answer,
          .begin_ns = begin,
          .end_ns = end,
          .caller = 0};
}

TEST(Linearizability, AnEmptyHistoryIs) { EXPECT_TRUE(IsLinearizable({})); }

TEST(Linearizability, CallsOneAfterTheOtherAre) {
  EXPECT_TRUE(IsLinearizable(
      {Call(KeyOp::kGet, 0, 1, 0, 0), Call(KeyOp::kSet, 2, 3, 7),
       Call(KeyOp::kGet, 4, 5, 0, 7), Call(KeyOp::kAdd, 6, 7, 8, 0),
       Call(KeyOp::kPop, 8, 9, 0, 7), Call(KeyOp::kDelete, 10, 11, 0, 0),
       Call(KeyOp::kIncr, 12, 13, 1, 1), Call(KeyOp::kIncr, 14, 15, 1, 2)}));
}

TEST(Linearizability, OverlappingCallsMayGoEitherWay) {
  EXPECT_TRUE(IsLinearizable({Call(KeyOp::kSet, 0, 10, 7),
                              Call(KeyOp::kGet, 1, 2, 0, 0),
                              Call(KeyOp::kGet, 3, 4, 0, 7)}));
}

TEST(Linearizability, AStaleReadIsNot) {
  const std::vector<KeyCall> calls = {Call(KeyOp::kSet, 0, 1, 7),
                                      Call(KeyOp::kSet, 2, 3, 8),
                                      Call(KeyOp::kGet, 4, 5, 0, 7)};
  EXPECT_FALSE(IsLinearizable(calls));
  EXPECT_NE(DescribeConflict(calls).find("get 0 -> 7"), std::string::npos);
}

TEST(Linearizability, ReadingTheNewThenTheOldIsNot) {
  EXPECT_FALSE(IsLinearizable(
      {Call(KeyOp::kSet, 0, 1, 7), Call(KeyOp::kSet, 2, 20, 8),
       Call(KeyOp::kGet, 3, 4, 0, 8), Call(KeyOp::kGet, 5, 6, 0, 7)}));
}

TEST(Linearizability, ALostUpdateIsNot) {
  EXPECT_FALSE(IsLinearizable(
      {Call(KeyOp::kIncr, 0, 10, 1, 1), Call(KeyOp::kIncr, 5, 15, 1, 1)}));
}

TEST(Linearizability, TwoWhoBothAddAreNot) {
  EXPECT_FALSE(IsLinearizable(
      {Call(KeyOp::kAdd, 0, 10, 7, 1), Call(KeyOp::kAdd, 5, 15, 8, 1)}));
}

TEST(Linearizability, TwoWhoPopTheSameAreNot) {
  EXPECT_FALSE(IsLinearizable({Call(KeyOp::kSet, 0, 1, 7),
                               Call(KeyOp::kPop, 2, 10, 0, 7),
                               Call(KeyOp::kPop, 5, 15, 0, 7)}));
}

TEST(Linearizability, ACallWithoutEndMayHappenLateOrNever) {
  const KeyCall open = Call(KeyOp::kSet, 2, kNoEnd, 8);
  const KeyCall set = Call(KeyOp::kSet, 0, 1, 7);
  EXPECT_TRUE(IsLinearizable({set, open, Call(KeyOp::kGet, 3, 4, 0, 7)}));
  EXPECT_TRUE(IsLinearizable({set, open, Call(KeyOp::kGet, 3, 4, 0, 7),
                              Call(KeyOp::kGet, 5, 6, 0, 8)}));
  EXPECT_FALSE(IsLinearizable({set, open, Call(KeyOp::kGet, 3, 4, 0, 8),
                               Call(KeyOp::kGet, 5, 6, 0, 7)}));
  EXPECT_FALSE(IsLinearizable({Call(KeyOp::kGet, 0, 1, 0, 8), open}));
}

// Histories of processes ------------------------------------------------------

constexpr int kProcesses = 3;
constexpr std::size_t kKeys = 2;        // Of values; one more is a counter.
constexpr std::size_t kCallsMax = 100;  // Of a process in a round.

struct RecordedCall {
  std::size_t key;
  KeyCall call;
};

// What one process does in a round; in memory shared with the test.
struct Participant {
  std::atomic<std::uint32_t> round_done{0};
  std::atomic<std::uint32_t> holds_store{0};
  std::atomic<std::size_t> begun{0};  // Calls; the last one may be open.
  std::array<RecordedCall, kCallsMax> calls{};
};

struct Arena {
  std::atomic<std::uint32_t> round{0};
  std::array<Participant, kProcesses> participants;
};

std::int64_t Now() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

std::string KeyOf(std::uint32_t round, std::size_t key) {
  return std::to_string(round) + "/" + std::to_string(key);
}

// Makes the call and fills in its answer and end. False: it failed.
bool Perform(Engine& engine, const std::string& key, KeyCall& call) {
  const std::string value = std::to_string(call.argument);
  Command command;
  switch (call.op) {
    case KeyOp::kSet:
    case KeyOp::kAdd: {
      SetCommand set;
      set.key = key;
      set.value = value;
      if (call.op == KeyOp::kAdd) set.condition = SetCondition::kIfAbsent;
      command = set;
      break;
    }
    case KeyOp::kGet:
      command = GetCommand{.key = key};
      break;
    case KeyOp::kDelete:
    case KeyOp::kPop:
      command = DeleteCommand{.key = key, .with_value = call.op == KeyOp::kPop};
      break;
    case KeyOp::kIncr: {
      IncrCommand incr;
      incr.key = key;
      command = incr;
      break;
    }
  }
  Reply reply;
  const Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
  if (!status.ok() || !reply.status.ok()) return false;
  switch (call.op) {
    case KeyOp::kGet:
    case KeyOp::kPop:
      call.answer =
          reply.applied ? std::stoull(std::string(reply.value.bytes())) : 0;
      break;
    case KeyOp::kIncr:
      call.answer = static_cast<std::uint64_t>(reply.integer);
      break;
    default:
      call.answer = reply.applied ? 1 : 0;
      break;
  }
  call.end_ns = Now();
  return true;
}

using OpenFunction = std::function<std::unique_ptr<Engine>()>;

// Plays rounds until it is killed.
int Participate(Arena& arena, int self, const OpenFunction& open) {
  const auto engine = open();
  if (engine == nullptr) return 1;
  Participant& me = arena.participants[static_cast<std::size_t>(self)];
  std::mt19937 random(static_cast<unsigned>(Now()));
  std::uint32_t round = me.round_done.load();
  for (;;) {
    me.holds_store.store(engine->capabilities().holds_store ? 1 : 0);
    while (arena.round.load() == round) ::sched_yield();
    round = arena.round.load();
    for (std::size_t i = 0; i < kCallsMax; ++i) {
      RecordedCall& recorded = me.calls[i];
      recorded.key = random() % (kKeys + 1);
      KeyCall& call = recorded.call;
      call.op = recorded.key == kKeys
                    ? KeyOp::kIncr
                    : static_cast<KeyOp>(std::min(random() % 8, 4UL));
      if (recorded.key != kKeys && random() % 2 == 0) call.op = KeyOp::kGet;
      call.argument = recorded.key == kKeys
                          ? 1
                          : (static_cast<std::uint64_t>(self) + 1) * 1000 + i;
      call.caller = self;
      call.end_ns = kNoEnd;
      call.begin_ns = Now();
      me.begun.store(i + 1);
      if (!Perform(*engine, KeyOf(round, recorded.key), call)) return 2;
    }
    me.round_done.store(round);
  }
}

class LinearizabilityTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
  }
  LinearizabilityTest() {
    void* const address = ::mmap(nullptr, sizeof(Arena), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    arena_ = address == MAP_FAILED ? nullptr : new (address) Arena;
  }
  ~LinearizabilityTest() override {
    for (auto& process : processes_) process.reset();
    if (open_) open_();  // Cleans up after those that were killed.
    ::munmap(arena_, sizeof(Arena));
  }

  void Start(int participant, const OpenFunction& open) {
    open_ = open;
    auto& process = processes_[static_cast<std::size_t>(participant)];
    process.reset();
    process = std::make_unique<ForkedProcess>(
        [this, participant, open](const ForkedProcess::Pipe&) {
          return Participate(*arena_, participant, open);
        });
  }

  // One round; the process `killed` (-1: none) is killed in the midst of it.
  void Play(int killed) {
    for (Participant& participant : arena_->participants) {
      participant.begun.store(0);
    }
    const std::uint32_t round = arena_->round.fetch_add(1) + 1;
    if (killed >= 0) {
      Participant& victim =
          arena_->participants[static_cast<std::size_t>(killed)];
      while (victim.begun.load() < kCallsMax / 3) ::sched_yield();
      auto& process = *processes_[static_cast<std::size_t>(killed)];
      process.Kill(SIGKILL);
      process.Wait();
      // As if it had played, so that its next life waits for the next round.
      victim.round_done.store(round);
    }
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (const Participant& participant : arena_->participants) {
      while (participant.round_done.load() != round) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "hangs";
        ::sched_yield();
      }
    }
    Check();
  }

  void Check() {
    std::array<std::vector<KeyCall>, kKeys + 1> histories;
    for (const Participant& participant : arena_->participants) {
      for (std::size_t i = 0; i < participant.begun.load(); ++i) {
        const RecordedCall& recorded = participant.calls[i];
        histories[recorded.key].push_back(recorded.call);
      }
    }
    for (std::vector<KeyCall>& history : histories) {
      ASSERT_TRUE(IsLinearizable(history)) << DescribeConflict(history);
      calls_checked_ += history.size();
      CountOverlaps(history);
    }
  }

  // Calls that began before another one of the same key had ended.
  void CountOverlaps(std::vector<KeyCall> history) {
    std::sort(history.begin(), history.end(), [](const auto& a, const auto& b) {
      return a.begin_ns < b.begin_ns;
    });
    std::int64_t end = 0;
    for (const KeyCall& call : history) {
      if (call.begin_ns < end) ++overlaps_;
      end = std::max(end, call.end_ns);
    }
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
  Arena* arena_ = nullptr;
  OpenFunction open_;
  std::array<std::unique_ptr<ForkedProcess>, kProcesses> processes_;
  std::size_t calls_checked_ = 0;
  std::size_t overlaps_ = 0;
};

TEST_F(LinearizabilityTest, KeysOfThreeProcesses) {
  const auto disk = std::make_shared<SessionDisk>();
  const OpenFunction open = [this, disk]() -> std::unique_ptr<Engine> {
    SharedEngine::Options options;
    options.seat.directory = directory_.path();
    options.seat.region_directory = regions_.path();
    options.hot_tier_bytes = 4U << 20;
    options.hot_tier_delay = std::chrono::milliseconds(0);
    options.open_store = [disk](const SharedEngine::StoreOpening&) {
      return SessionModel::Open(disk, {});
    };
    auto engine = SharedEngine::Open(std::move(options));
    return engine ? std::move(*engine) : nullptr;
  };
  for (int i = 0; i < kProcesses; ++i) Start(i, open);
  for (int round = 0; round < 200 && !HasFatalFailure(); ++round) Play(-1);
  EXPECT_EQ(calls_checked_, 200 * kProcesses * kCallsMax);
  EXPECT_GT(overlaps_, 1000U);
}

// With the real store; in each round after the first few somebody is killed in
// the midst of it, the holder as a rule, and another process takes its place.
TEST_F(LinearizabilityTest, KeysOfProcessesThatAreKilled) {
  const OpenFunction open = [this]() -> std::unique_ptr<Engine> {
    EngineOptions options;
    options.region_directory = regions_.path();
    options.hot_tier_bytes = 4U << 20;
    auto engine = OpenEngine(directory_.path() / "cache", options);
    if (!engine)
      std::fprintf(stderr, "%s\n", engine.error().ToString().c_str());
    return engine ? std::move(*engine) : nullptr;
  };
  for (int i = 0; i < kProcesses; ++i) Start(i, open);
  constexpr int kRounds = 25;
  for (int round = 0; round < kRounds && !HasFatalFailure(); ++round) {
    int victim = round % kProcesses;
    for (int i = 0; i < kProcesses && round % 4 != 0; ++i) {
      const auto& participant =
          arena_->participants[static_cast<std::size_t>(i)];
      if (participant.holds_store.load() != 0) victim = i;
    }
    if (round < 3) victim = -1;
    Play(victim);
    if (victim < 0) continue;
    arena_->participants[static_cast<std::size_t>(victim)].holds_store.store(0);
    Start(victim, open);
  }
  EXPECT_GT(calls_checked_, 3 * kProcesses * kCallsMax);
  EXPECT_GT(overlaps_, 100U);
}

}  // namespace
}  // namespace larder::testing
