// A policy of the user's own, in processes some of which have not registered
// it. This process is one of those: a child would inherit what it registers.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/engine/engine.h"
#include "larder/engine/policy.h"

#include "base/test_point.h"
#include "forked_process.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

using namespace std::chrono_literals;

constexpr int kItems = 100;
constexpr std::size_t kSmall = 2'000;
constexpr std::size_t kLarge = 20'000;

/// Keeps what is large, the opposite of what `adaptive` does.
class LargeFirst final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "large-first";
  }
  Placement OnInsert(const PolicyItem& item, const PolicyContext&) override {
    return {.class_index = kClassMain,
            .value = item.size_bytes > 10'000 ? 1000.0 : 1.0};
  }
  std::optional<Placement> OnHit(const PolicyItem&,
                                 const PolicyContext&) override {
    return std::nullopt;
  }
};

bool RegisterOwn() {
  return RegisterPolicy("own", [] { return std::make_unique<LargeFirst>(); })
      .ok();
}

Reply Do(Engine& engine, const Command& command) {
  Reply reply;
  const Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
  if (!status.ok()) reply.status = status;
  return reply;
}
bool Set(Engine& engine, const std::string& key, std::size_t size) {
  const std::string value(size, 'v');
  return Do(engine, SetCommand{.key = key, .value = value}).status.ok();
}
std::int64_t Incr(Engine& engine, std::string_view key) {
  const Reply reply = Do(engine, IncrCommand{.key = key});
  EXPECT_TRUE(reply.status.ok()) << reply.status.ToString();
  return reply.status.ok() ? reply.integer : -1;
}
bool IsLive(Engine& engine, const std::string& key) {
  return Do(engine, GetCommand{.key = key, .with_value = false}).applied;
}
std::string LargeKey(int i) { return "large" + std::to_string(i); }
std::string SmallKey(int i) { return "small" + std::to_string(i); }

// First all that the policy keeps, then what it does not.
bool Fill(Engine& engine) {
  bool ok = true;
  for (int i = 0; i < kItems; ++i) ok &= Set(engine, LargeKey(i), kLarge);
  for (int i = 0; i < kItems; ++i) ok &= Set(engine, SmallKey(i), kSmall);
  return ok;
}
int CountLive(Engine& engine, std::string (*key)(int)) {
  int count = 0;
  for (int i = 0; i < kItems; ++i) count += IsLive(engine, key(i)) ? 1 : 0;
  return count;
}

/// The setting and the policy that runs, as the holder says.
std::string PoliciesOf(Engine& engine) {
  const auto stats = engine.Stats();
  if (!stats) return stats.error().ToString();
  return stats->policy + "/" + stats->policy_running;
}

class OwnPolicyProcess : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
    ASSERT_FALSE(MakePolicy("own").has_value());
  }
  Result<std::unique_ptr<Engine>> TryOpen(
      std::vector<std::pair<std::string, std::string>> settings = {},
      OpenMode mode = OpenMode::kCreate) {
    EngineOptions options;
    options.region_directory = regions_.path();
    options.hot_tier_bytes = 2U << 20;
    options.mode = mode;
    options.serve_evicted = false;
    options.on_eviction = on_eviction_;
    options.settings = std::move(settings);
    options.timeout = 60s;
    options.attach_timeout = 60s;
    options.log = [this](std::string_view line) {
      const std::scoped_lock lock(log_mutex_);
      log_.emplace_back(line);
    };
    return OpenEngine(directory_.path() / "cache", std::move(options));
  }
  std::unique_ptr<Engine> Open(
      std::vector<std::pair<std::string, std::string>> settings = {},
      OpenMode mode = OpenMode::kCreate) {
    auto engine = TryOpen(std::move(settings), mode);
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }
  // Lines that warn of the policy.
  int Warnings() {
    const std::scoped_lock lock(log_mutex_);
    int count = 0;
    for (const std::string& line : log_) {
      count += line.find("policy \"own\" is set, but not registered") !=
                       std::string::npos
                   ? 1
                   : 0;
    }
    return count;
  }
  // A process that has registered the policy, sets it, fills the cache, and
  // stays.
  ForkedProcess Owner() {
    return ForkedProcess([this](const ForkedProcess::Pipe& pipe) -> int {
      if (!RegisterOwn()) return 1;
      const auto engine = TryOpen({{"policy", "own"}});
      if (!engine || !Fill(**engine)) return 2;
      if (PoliciesOf(**engine) != "own/own") return 3;
      pipe.Send(1);
      for (;;) ::pause();
    });
  }
  // The cache as an owner leaves it that is killed.
  void MakeOwned() {
    ForkedProcess owner = Owner();
    ASSERT_EQ(owner.Receive(), 1U);
    owner.Kill(SIGKILL);
    ASSERT_EQ(owner.Wait(), -SIGKILL);
  }
  // A process that waits for SIGCONT, then registers the policy, opens, sends 1
  // as soon as that runs, and stays. To be made before this one has threads.
  ForkedProcess StoppedOwner(
      std::vector<std::pair<std::string, std::string>> settings = {}) {
    ForkedProcess owner(
        [this, settings](const ForkedProcess::Pipe& pipe) -> int {
          ::raise(SIGSTOP);
          if (!RegisterOwn()) return 1;
          const auto engine = TryOpen(settings);
          if (!engine) return 2;
          pipe.Send(0);
          for (std::string seen; seen != "own/own";) {
            seen = PoliciesOf(**engine);
            if (!seen.starts_with("own/")) return 3;
          }
          // It answers itself a moment before it says so.
          while (!(*engine)->capabilities().holds_store) ::sched_yield();
          pipe.Send(1);
          for (;;) ::pause();
        });
    AwaitStop(owner);
    return owner;
  }
  static void AwaitStop(const ForkedProcess& process) {
    int status = 0;
    ASSERT_EQ(::waitpid(process.pid(), &status, WUNTRACED), process.pid());
    ASSERT_TRUE(WIFSTOPPED(status)) << status;
  }
  // Runs in a process that has registered the policy; its exit code.
  int InOwner(const std::function<int()>& run) {
    ForkedProcess process([&run](const ForkedProcess::Pipe&) {
      return RegisterOwn() ? run() : 100;
    });
    return process.Wait();
  }
  static void ExpectSound(Engine& engine) {
    const auto report = engine.Check(false);
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_TRUE(report->ok());
  }
  // Evicts half of what is there: none of what the owner's policy keeps.
  static void ExpectOwnOrder(Engine& engine) {
    const auto stats = engine.Stats();
    ASSERT_TRUE(stats.has_value());
    const Reply culled =
        Do(engine, CullCommand{.live_bytes_target =
                                   stats->live_bytes - kItems / 2 * kSmall});
    ASSERT_TRUE(culled.status.ok()) << culled.status.ToString();
    EXPECT_GT(culled.count, 0U);
    EXPECT_EQ(CountLive(engine, LargeKey), kItems);
    EXPECT_LT(CountLive(engine, SmallKey), kItems);
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
  EvictionCallback on_eviction_;
  std::mutex log_mutex_;
  std::vector<std::string> log_;
};

TEST_F(OwnPolicyProcess, WhoLacksItKeepsTheNameAndSaysSo) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  for (int opening = 1; opening <= 2; ++opening) {
    const auto engine = Open();
    ASSERT_NE(engine, nullptr);
    EXPECT_EQ(engine->CurrentSettings().policy, "own");
    EXPECT_EQ(PoliciesOf(*engine), "own/adaptive");
    EXPECT_EQ(Warnings(), opening);
    // Another setting leaves it alone, and warns no more.
    EXPECT_TRUE(engine->Reset("default_ttl", "1h").ok());
    EXPECT_EQ(Warnings(), opening);
    ASSERT_TRUE(engine->Close().ok());
  }
  EXPECT_EQ(InOwner([this] {
              const auto engine = TryOpen();
              return engine && PoliciesOf(**engine) == "own/own" ? 0 : 1;
            }),
            0);
}

TEST_F(OwnPolicyProcess, WhoLacksItKeepsTheRanks) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  const auto engine = Open();
  ASSERT_NE(engine, nullptr);
  ASSERT_NO_FATAL_FAILURE(ExpectOwnOrder(*engine));
  ExpectSound(*engine);
}

TEST_F(OwnPolicyProcess, WhoLacksItEvictsAndTheOwnerGoesOn) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  {
    const auto engine = Open({{"size_limit", "16MiB"}});
    ASSERT_NE(engine, nullptr);
    for (int i = 0; i < 2'000; ++i) {
      ASSERT_TRUE(Set(*engine, "new" + std::to_string(i), kLarge));
      const std::string hit = LargeKey(i % kItems);
      ASSERT_TRUE(Do(*engine, GetCommand{.key = hit}).status.ok());
    }
    const auto stats = engine->Stats();
    ASSERT_TRUE(stats.has_value());
    EXPECT_GT(stats->evictions, 0U);
    ExpectSound(*engine);
  }
  EXPECT_EQ(InOwner([this] {
              // Opening with the name that is set, or with none, is the same.
              const auto engine = TryOpen({{"policy", "own"}});
              if (!engine) return 1;
              if (PoliciesOf(**engine) != "own/own") return 2;
              for (int i = 0; i < 1'000; ++i) {
                if (!Set(**engine, "more" + std::to_string(i), kLarge)) {
                  return 3;
                }
              }
              const auto report = (*engine)->Check(false);
              return report && report->ok() ? 0 : 4;
            }),
            0);
}

TEST_F(OwnPolicyProcess, AClientThatLacksItTakesTheStoreOver) {
  ForkedProcess owner = Owner();
  ASSERT_EQ(owner.Receive(), 1U);
  const auto engine = Open();
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(engine->CurrentSettings().policy, "own");
  EXPECT_EQ(PoliciesOf(*engine), "own/own");
  EXPECT_EQ(Warnings(), 0);
  owner.Kill(SIGKILL);
  owner.Wait();
  EXPECT_TRUE(Set(*engine, "after", kSmall));
  EXPECT_EQ(engine->CurrentSettings().policy, "own");
  EXPECT_EQ(PoliciesOf(*engine), "own/adaptive");
  EXPECT_EQ(Warnings(), 1);
  ASSERT_NO_FATAL_FAILURE(ExpectOwnOrder(*engine));
}

TEST_F(OwnPolicyProcess, WhoLacksItCannotSetItAndNothingChanges) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  const auto engine = Open();
  ASSERT_NE(engine, nullptr);
  for (const char* name : {"own", "others", ""}) {
    EXPECT_EQ(engine->Reset("policy", name).code(),
              StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_EQ(TryOpen({{"policy", "own"}}).error().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(PoliciesOf(*engine), "own/adaptive");
  // What is there is set on purpose.
  EXPECT_TRUE(engine->Reset("policy", "clock").ok());
  EXPECT_EQ(PoliciesOf(*engine), "clock/clock");
  EXPECT_EQ(CountLive(*engine, SmallKey), kItems);
}

TEST_F(OwnPolicyProcess, ReadOnlyShowsTheNameAndRunsNone) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  const auto engine = Open({}, OpenMode::kReadOnly);
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(engine->CurrentSettings().policy, "own");
  EXPECT_EQ(PoliciesOf(*engine), "own/");
  EXPECT_EQ(Warnings(), 0);
  EXPECT_EQ(CountLive(*engine, LargeKey), kItems);
}

TEST_F(OwnPolicyProcess, AFactoryThatFailsChangesNothing) {
  EXPECT_EQ(InOwner([this] {
              const auto failing = []() -> std::unique_ptr<Policy> {
                return nullptr;
              };
              if (!RegisterPolicy("failing", failing).ok()) return 1;
              {
                const auto engine = TryOpen({{"policy", "own"}});
                if (!engine) return 2;
                const Status status = (*engine)->Reset("policy", "failing");
                if (status.code() != StatusCode::kAborted) return 3;
                if (PoliciesOf(**engine) != "own/own") return 4;
              }
              if (TryOpen({{"policy", "failing"}})) return 5;
              const auto engine = TryOpen();
              return engine && PoliciesOf(**engine) == "own/own" ? 0 : 6;
            }),
            0);
}

TEST_F(OwnPolicyProcess, ResettingTheCacheForgetsTheName) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  EngineOptions options;
  options.region_directory = regions_.path();
  ASSERT_TRUE(ResetCache(directory_.path() / "cache", options).ok());
  const auto engine = Open();
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(PoliciesOf(*engine), "adaptive/adaptive");
  EXPECT_EQ(Warnings(), 0);
}

// Every call of the process that gives the store away, and of one that only
// asks, is made once.
TEST_F(OwnPolicyProcess, AHolderThatLacksItGivesTheStoreToWhoHasIt) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  ForkedProcess owner = StoppedOwner();
  ForkedProcess client([this](const ForkedProcess::Pipe& pipe) -> int {
    ::raise(SIGSTOP);
    const auto engine = TryOpen();
    if (!engine) return 1;
    for (std::int64_t n = 1;; ++n) {
      if (Incr(**engine, "theirs") != n) return 2;
      if (n % 64 == 0) pipe.Send(static_cast<std::uint64_t>(n));
    }
  });
  AwaitStop(client);
  std::atomic<Engine*> called{nullptr};
  on_eviction_ = [&called](std::string_view, std::uint64_t, EvictionReason) {
    if (Engine* const engine = called) IsLive(*engine, "any");
  };
  const auto engine = Open({{"size_limit", "16MiB"}});
  ASSERT_NE(engine, nullptr);
  called = engine.get();
  client.Kill(SIGCONT);
  ASSERT_TRUE(client.Receive().has_value());
  std::atomic<bool> ends{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      const std::string mine = "mine" + std::to_string(t);
      for (std::int64_t n = 1; !ends; ++n) {
        EXPECT_EQ(Incr(*engine, mine), n);
        const std::string key = "k" + std::to_string(n % 700);
        EXPECT_TRUE(Set(*engine, key, kLarge));
        EXPECT_TRUE(Do(*engine, GetCommand{.key = key}).status.ok());
        EXPECT_TRUE(engine->Count().has_value());
        EXPECT_TRUE(Do(*engine, GetCommand{.key = "k1"}).status.ok());
        if (::testing::Test::HasFailure()) break;
      }
    });
  }
  owner.Kill(SIGCONT);
  EXPECT_EQ(owner.Receive(), 0U);
  EXPECT_EQ(owner.Receive(), 1U);
  EXPECT_FALSE(engine->capabilities().holds_store);
  EXPECT_EQ(PoliciesOf(*engine), "own/own");
  // And back, as it dies.
  owner.Kill(SIGKILL);
  owner.Wait();
  const std::int64_t before = Incr(*engine, "here");
  EXPECT_EQ(before, 1);
  ends = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(client.Receive().has_value());
  ExpectSound(*engine);
  called = nullptr;
}

TEST_F(OwnPolicyProcess, WhatIsOpenIsNotLostByGivingTheStoreAway) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  ForkedProcess owner = StoppedOwner();
  const auto engine = Open();
  ASSERT_NE(engine, nullptr);
  auto scan = engine->OpenScan({});
  ASSERT_TRUE(scan.has_value());
  SetCommand set;
  set.key = "stream";
  auto writer = engine->OpenWriter(set, 0, {});
  ASSERT_TRUE(writer.has_value());
  owner.Kill(SIGCONT);
  ASSERT_EQ(owner.Receive(), 0U);
  // Time for several attempts.
  std::size_t seen = 0;
  for (int i = 0; i < 15; ++i) {
    std::this_thread::sleep_for(100ms);
    ASSERT_TRUE((*writer)->Append("piece").ok());
    const auto page = (*scan)->Next(10);
    ASSERT_TRUE(page.has_value()) << page.error().ToString();
    seen += page->size();
  }
  EXPECT_EQ(seen, 150U);
  EXPECT_TRUE(engine->capabilities().holds_store);
  EXPECT_TRUE((*writer)->Commit().status.ok());
  writer->reset();
  scan->reset();
  EXPECT_EQ(owner.Receive(), 1U);
  const Reply reply = Do(*engine, GetCommand{.key = "stream"});
  EXPECT_EQ(reply.value.bytes().size(), 75U);
}

// The policy is set by a process that the holder is not.
TEST_F(OwnPolicyProcess, WhoHasItSetsItThoughTheHolderLacksIt) {
  ForkedProcess owner = StoppedOwner({{"policy", "own"}});
  const auto engine = Open();
  ASSERT_NE(engine, nullptr);
  ASSERT_TRUE(Fill(*engine));
  EXPECT_EQ(PoliciesOf(*engine), "adaptive/adaptive");
  owner.Kill(SIGCONT);
  EXPECT_EQ(owner.Receive(), 0U);
  EXPECT_EQ(engine->CurrentSettings().policy, "own");
  EXPECT_EQ(owner.Receive(), 1U);
  EXPECT_EQ(CountLive(*engine, SmallKey), kItems);
  EXPECT_EQ(CountLive(*engine, LargeKey), kItems);
  ExpectSound(*engine);
}

// Of those that wait for the seat, the others leave it to whom it is given.
TEST_F(OwnPolicyProcess, AmongManyItGoesToWhoHasIt) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  ForkedProcess owner = StoppedOwner();
  const auto engine = Open();
  std::vector<std::unique_ptr<Engine>> others;
  for (int i = 0; i < 5; ++i) others.push_back(Open());
  owner.Kill(SIGCONT);
  EXPECT_EQ(owner.Receive(), 0U);
  EXPECT_EQ(owner.Receive(), 1U);
  for (const auto& other : others) {
    EXPECT_EQ(PoliciesOf(*other), "own/own");
    EXPECT_FALSE(other->capabilities().holds_store);
  }
  EXPECT_EQ(Warnings(), 1);
}

// Whom the store is given to is killed or stopped at that moment: somebody else
// serves.
pid_t g_taker = 0;
std::atomic<int> g_signal{0};
void SignalTaker(const char* name) {
  if (std::string_view(name) != "hand_over.closed" || g_signal == 0) return;
  const int signal = g_signal.exchange(0);
  ::kill(g_taker, signal);
  // Else it might get the seat just before it stops, and keeps it as any
  // stopped holder does. WNOWAIT: whoever made it waits for its end.
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(g_taker), &info,
           WEXITED | WSTOPPED | WNOWAIT);
}

TEST_F(OwnPolicyProcess, ATakerThatDiesOrStopsKeepsNobodyWaiting) {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    ASSERT_NO_FATAL_FAILURE(MakeOwned());
    ForkedProcess owner = StoppedOwner();
    g_taker = owner.pid();
    g_signal = signal;
    test_point_hook = &SignalTaker;
    const auto engine = Open();
    ASSERT_NE(engine, nullptr);
    owner.Kill(SIGCONT);
    EXPECT_EQ(owner.Receive(), 0U);
    for (std::int64_t n = 1; g_signal != 0 || Warnings() < 2; ++n) {
      ASSERT_EQ(Incr(*engine, "n"), n);
    }
    EXPECT_EQ(PoliciesOf(*engine), "own/adaptive");
    ExpectSound(*engine);
    test_point_hook = nullptr;
    Do(*engine, ClearCommand{});
    const std::scoped_lock lock(log_mutex_);
    log_.clear();
  }
}

// The holder is killed while it gives the store away.
TEST_F(OwnPolicyProcess, AHolderKilledWhileGivingItAwayLosesNothing) {
  for (const char* point : {"hand_over.shut", "hand_over.stopped",
                            "hand_over.closed", "hand_over.released"}) {
    ASSERT_NO_FATAL_FAILURE(MakeOwned());
    ForkedProcess owner = StoppedOwner();
    static const char* die_at = nullptr;
    die_at = point;
    ForkedProcess holder([this](const ForkedProcess::Pipe& pipe) -> int {
      test_point_hook = [](const char* name) {
        if (std::string_view(name) == die_at) ::raise(SIGKILL);
      };
      const auto engine = TryOpen();
      if (!engine) return 1;
      for (;;) pipe.Send(static_cast<std::uint64_t>(Incr(**engine, "n")));
    });
    std::uint64_t last = 0;
    if (const auto first = holder.Receive()) last = *first;
    owner.Kill(SIGCONT);
    while (const auto next = holder.Receive()) last = *next;
    EXPECT_EQ(holder.Wait(), -SIGKILL);
    EXPECT_EQ(owner.Receive(), 0U);
    EXPECT_EQ(owner.Receive(), 1U);
    const auto engine = Open();
    ASSERT_NE(engine, nullptr);
    const auto now = static_cast<std::uint64_t>(Incr(*engine, "n"));
    // The last one may have been made and not been told.
    EXPECT_TRUE(now == last + 1 || now == last + 2) << now << " " << last;
    ExpectSound(*engine);
    owner.Kill(SIGKILL);
    owner.Wait();
    Do(*engine, ClearCommand{});
  }
}

// What is registered late runs without an opening.
TEST_F(OwnPolicyProcess, WhatIsRegisteredLateRunsThen) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  EXPECT_EQ(ForkedProcess([this](const ForkedProcess::Pipe&) {
              const auto engine = TryOpen();
              if (!engine || PoliciesOf(**engine) != "own/adaptive") return 1;
              if (!RegisterOwn()) return 2;
              while (PoliciesOf(**engine) != "own/own") {
                std::this_thread::sleep_for(10ms);
              }
              return 0;
            }).Wait(),
            0);
}

// By the setting that is there: nothing is written, and a failure is said once.
TEST_F(OwnPolicyProcess, WhatIsRegisteredLateMayFail) {
  ASSERT_NO_FATAL_FAILURE(MakeOwned());
  EXPECT_EQ(ForkedProcess([this](const ForkedProcess::Pipe&) {
              const auto engine = TryOpen();
              if (!engine) return 1;
              std::atomic<int> calls{0};
              const auto make = [&calls]() -> std::unique_ptr<Policy> {
                if (++calls <= 2) return nullptr;
                return std::make_unique<LargeFirst>();
              };
              const std::uint64_t version = (*engine)->settings_version();
              if (!RegisterPolicy("own", make).ok()) return 2;
              while (PoliciesOf(**engine) != "own/own") {
                std::this_thread::sleep_for(10ms);
              }
              if ((*engine)->settings_version() != version) return 3;
              const std::scoped_lock lock(log_mutex_);
              return std::count_if(
                         log_.begin(), log_.end(),
                         [](const std::string& line) {
                           return line.starts_with("cannot run policy \"own\"");
                         }) == 1
                         ? 0
                         : 4;
            }).Wait(),
            0);
}

// As a client, as the holder, and as a client again.
TEST_F(OwnPolicyProcess, WhoTookItOverAndGaveItAwayIsToldOfEvictions) {
  ForkedProcess next = StoppedOwner();
  ForkedProcess owner = Owner();
  ASSERT_EQ(owner.Receive(), 1U);
  std::atomic<int> told{0};
  on_eviction_ = [&told](std::string_view, std::uint64_t, EvictionReason) {
    ++told;
  };
  const auto engine = Open();
  ASSERT_NE(engine, nullptr);
  owner.Kill(SIGKILL);
  owner.Wait();
  ASSERT_TRUE(Set(*engine, "after", kSmall));
  // It answers itself a moment before it says so.
  while (!engine->capabilities().holds_store) ::sched_yield();
  // Long enough for the poller to see that.
  std::this_thread::sleep_for(1'200ms);
  next.Kill(SIGCONT);
  ASSERT_EQ(next.Receive(), 0U);
  ASSERT_EQ(next.Receive(), 1U);
  ASSERT_FALSE(engine->capabilities().holds_store);
  told = 0;
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (told == 0 && std::chrono::steady_clock::now() < until) {
    ASSERT_TRUE(Set(*engine, "evicted", kLarge));
    ASSERT_TRUE(
        Do(*engine, CullCommand{.live_bytes_target = kLarge}).status.ok());
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_GT(told, 0);
}

}  // namespace
}  // namespace larder::testing
