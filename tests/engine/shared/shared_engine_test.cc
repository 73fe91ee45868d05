#include "shared/shared_engine.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include "forked_process.h"
#include "session_model.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

using namespace std::chrono_literals;

class SharedEngineTest : public ::testing::Test {
 protected:
  // Cleans up after members that were killed.
  ~SharedEngineTest() override { Observe(); }
  SharedEngine::Options Options() {
    SharedEngine::Options options;
    options.seat.directory = directory_.path();
    options.seat.region_directory = regions_.path();
    options.hot_tier_bytes = 4U << 20;
    options.hot_tier_delay = {};
    options.open_store = [this](const SharedEngine::StoreOpening& opening) {
      last_opening_by_open_ = opening.by_open;
      return SessionModel::Open(disk_, {});
    };
    return options;
  }
  std::unique_ptr<Engine> Open() { return Open(Options()); }
  static std::unique_ptr<Engine> Open(SharedEngine::Options options) {
    auto engine = SharedEngine::Open(std::move(options));
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }
  // A member that cannot take the seat: its process does not have the disk.
  SharedEngine::Options ClientOptions() {
    SharedEngine::Options options = Options();
    options.open_store = [](const SharedEngine::StoreOpening&) {
      return Result<std::unique_ptr<SessionStore>>(
          Fail(Status::Internal("this process does not have the disk")));
    };
    return options;
  }
  static Reply Run(Engine& engine, const Command& command) {
    Reply reply;
    Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
    if (!status.ok()) reply.status = std::move(status);
    return reply;
  }
  static std::string Set(Engine& engine, std::string_view key,
                         std::string_view value) {
    SetCommand set;
    set.key = key;
    set.value = value;
    return Run(engine, set).status.ToString();
  }
  static std::string Get(Engine& engine, std::string_view key) {
    GetCommand get;
    get.key = key;
    const Reply reply = Run(engine, get);
    if (!reply.status.ok()) return reply.status.ToString();
    return reply.applied ? reply.value.ToString() : "(miss)";
  }
  static std::int64_t Incr(Engine& engine, std::string_view key) {
    IncrCommand incr;
    incr.key = key;
    const Reply reply = Run(engine, incr);
    EXPECT_EQ(reply.status.ToString(), "kOk");
    return reply.status.ok() ? reply.integer : -1;
  }
  // Somebody who can look into the main region.
  std::unique_ptr<Seat> Observe() {
    return std::move(*Seat::Attach(Options().seat));
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
  const std::shared_ptr<SessionDisk> disk_ = std::make_shared<SessionDisk>();
  bool last_opening_by_open_ = false;
};

TEST_F(SharedEngineTest, TheFirstHasTheStoreAndTheSecondAsksIt) {
  const auto first = Open();
  const auto second = Open();
  EXPECT_TRUE(first->capabilities().holds_store);
  EXPECT_FALSE(second->capabilities().holds_store);
  EXPECT_EQ(Set(*second, "k", "v"), "kOk");
  EXPECT_EQ(Get(*first, "k"), "v");
  EXPECT_EQ(Set(*first, "k", "w"), "kOk");
  EXPECT_EQ(Get(*second, "k"), "w");
}

TEST_F(SharedEngineTest, TheSecondTakesOverWhenTheFirstCloses) {
  const auto first = Open();
  const auto second = Open();
  ASSERT_EQ(Set(*second, "k", "v"), "kOk");
  ASSERT_TRUE(first->Close().ok());
  EXPECT_EQ(Set(*first, "k", "w").substr(0, 7), "kClosed");
  EXPECT_EQ(Get(*second, "k"), "v");
  EXPECT_EQ(Set(*second, "k", "w"), "kOk");
  // A call may have been executed here just before that is so.
  while (!second->capabilities().holds_store) std::this_thread::yield();
  const auto third = Open();
  EXPECT_EQ(Get(*third, "k"), "w");
}

// Threads of a client count while holders come and go: each count is made
// exactly once, also those that were under way at a handoff, and also when the
// client itself becomes the holder.
TEST_F(SharedEngineTest, CountsAreExactThroughHandoffs) {
  auto holder = Open();
  auto client = Open();
  std::atomic<bool> stop{false};
  std::atomic<std::int64_t> counted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      const std::string key = "count" + std::to_string(t);
      for (std::int64_t n = 1; !stop; ++n) {
        ASSERT_EQ(Incr(*client, key), n);
        ++counted;
      }
    });
  }
  for (int i = 0; i < 30; ++i) {
    const std::int64_t before = counted;
    while (counted < before + 20) std::this_thread::yield();
    ASSERT_TRUE(holder->Close().ok());
    holder = Open();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_F(SharedEngineTest, ClosingEndsCallsThatAreUnderWay) {
  auto holder = Open();
  auto client = Open(ClientOptions());
  std::atomic<std::int64_t> counted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 12; ++t) {  // More than there are lanes.
    threads.emplace_back([&] {
      for (;;) {
        IncrCommand incr;
        incr.key = "n";
        const Reply reply = Run(*client, incr);
        if (reply.status.code() == StatusCode::kClosed) return;
        // The one that was with the holder when its client was closed.
        if (reply.status.code() == StatusCode::kOutcomeUnknown) continue;
        ASSERT_EQ(reply.status.ToString(), "kOk");
        ++counted;
      }
    });
  }
  while (counted < 500) std::this_thread::yield();
  EXPECT_TRUE(client->Close().ok());
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(Incr(*holder, "n"), counted + 1);
}

// The store goes from member to member, as each lacks the policy that is set
// next, while threads of all of them count.
TEST_F(SharedEngineTest, CountsAreExactWhileTheStoreIsGivenAway) {
  constexpr int kMembers = 5;
  disk_->policy = "policy0";
  std::vector<std::unique_ptr<Engine>> members;
  for (int i = 0; i < kMembers; ++i) {
    SharedEngine::Options options = Options();
    options.timeout = std::chrono::minutes(1);
    const std::vector<std::string> names = {"policy" + std::to_string(i)};
    options.policy_names = [names] { return names; };
    options.open_store = [this, names](const SharedEngine::StoreOpening&) {
      auto store = SessionModel::Open(disk_, {});
      if (store) static_cast<SessionModel&>(**store).SetPolicies(names);
      return store;
    };
    members.push_back(Open(std::move(options)));
  }
  std::atomic<bool> ends{false};
  std::atomic<std::int64_t> shared{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2 * kMembers; ++i) {
    threads.emplace_back([&, i] {
      Engine& engine = *members[static_cast<std::size_t>(i / 2)];
      const std::string mine = "n" + std::to_string(i);
      for (std::int64_t n = 1; !ends && !HasFailure(); ++n) {
        EXPECT_EQ(Incr(engine, mine), n);
        Incr(engine, "shared");
        ++shared;
        EXPECT_EQ(Get(engine, "absent"), "(miss)");
        EXPECT_TRUE(engine.Count().has_value());
      }
    });
  }
  for (int i = 0; i < kMembers; ++i) {
    {
      const std::lock_guard lock(disk_->mutex);
      disk_->policy = "policy" + std::to_string(i);
    }
    // Tells all that something was set.
    EXPECT_TRUE(members[0]->Reset("default_ttl", std::to_string(i) + "h").ok());
    while (!HasFailure() &&
           !members[static_cast<std::size_t>(i)]->capabilities().holds_store) {
      std::this_thread::sleep_for(1ms);
    }
  }
  ends = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Incr(*members[0], "shared"), shared + 1);
}

TEST_F(SharedEngineTest, AStoreThatHasFailedIsNotGivenAway) {
  disk_->policy = "own";
  SessionModel* failed = nullptr;
  SharedEngine::Options lacks = Options();
  lacks.policy_names = [] { return std::vector<std::string>(); };
  lacks.open_store = [&](const SharedEngine::StoreOpening&) {
    auto store = SessionModel::Open(disk_, {});
    if (store) {
      failed = static_cast<SessionModel*>(store->get());
      failed->SetMayBeGivenAway(false);
    }
    return store;
  };
  const auto holder = Open(std::move(lacks));
  ASSERT_NE(failed, nullptr);
  SharedEngine::Options has = Options();
  has.policy_names = [] { return std::vector<std::string>{"own"}; };
  const auto taker = Open(std::move(has));
  std::this_thread::sleep_for(1'500ms);
  ASSERT_TRUE(holder->capabilities().holds_store);
  EXPECT_EQ(Incr(*taker, "n"), 1);
  failed->SetMayBeGivenAway(true);
  while (!taker->capabilities().holds_store) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(Incr(*holder, "n"), 2);
}

TEST_F(SharedEngineTest, HotReadsSendNoMessage) {
  const auto holder = Open();
  const auto client = Open();
  const auto observer = Observe();
  ASSERT_EQ(Set(*client, "k", "v"), "kOk");
  ASSERT_EQ(Get(*client, "k"), "v");
  ASSERT_EQ(Get(*client, "absent"), "(miss)");
  const std::uint64_t requests = observer->main().figures.requests.load();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(Get(*client, "k"), "v");
    EXPECT_EQ(Get(*client, "absent"), "(miss)");
  }
  EXPECT_EQ(observer->main().figures.requests.load(), requests);
  EXPECT_EQ(holder->Stats()->hits, 101U);
}

TEST_F(SharedEngineTest, TheHotTierSurvivesACleanHandoff) {
  auto holder = Open();
  const auto client = Open();
  const auto observer = Observe();
  ASSERT_EQ(Set(*client, "k", "v"), "kOk");
  const std::uint64_t number = observer->main().hot_number.load();
  ASSERT_NE(number, 0U);
  ASSERT_TRUE(holder->Close().ok());
  ASSERT_EQ(Incr(*client, "n"), 1);  // By now the next one serves.
  EXPECT_EQ(observer->main().hot_number.load(), number);
  EXPECT_EQ(Get(*client, "k"), "v");
}

TEST_F(SharedEngineTest, WithoutSpaceForAHotTierEverythingWorks) {
  if (::geteuid() != 0 || ::mount("tmpfs", regions_.path().c_str(), "tmpfs",
                                  MS_NOSUID, "size=2m,mode=0700") != 0) {
    GTEST_SKIP() << "needs the right to mount a tmpfs";
  }
  std::vector<std::string> lines;
  {
    SharedEngine::Options options = Options();
    options.log = [&lines](std::string_view line) { lines.emplace_back(line); };
    const auto holder = Open(std::move(options));
    const auto client = Open(ClientOptions());
    EXPECT_EQ(Set(*client, "k", "v"), "kOk");
    EXPECT_EQ(Get(*client, "k"), "v");
  }
  ::umount2(regions_.path().c_str(), MNT_DETACH);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].substr(0, 11), "no hot tier");
}

// Of a tmpfs as small as that of a container, for the length of a test.
class SmallMemoryTest : public SharedEngineTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::mount("tmpfs", regions_.path().c_str(), "tmpfs",
                                    MS_NOSUID, "size=32m,mode=0700") != 0) {
      GTEST_SKIP() << "needs the right to mount a tmpfs";
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (!mounted_) return;
    Observe();
    ::umount2(regions_.path().c_str(), MNT_DETACH);
  }
  std::unique_ptr<Engine> OpenWith(std::uint64_t hot_tier_bytes) {
    SharedEngine::Options options = Options();
    options.hot_tier_bytes = hot_tier_bytes;
    return Open(std::move(options));
  }
  // So much that the tier is full.
  static void Fill(Engine& engine) {
    const std::string value(3000, 'v');
    for (int i = 0; i < 5000; ++i) {
      ASSERT_EQ(Set(engine, "k" + std::to_string(i), value), "kOk");
    }
  }
  std::uint64_t Free() const { return FreeSpaceBytes(regions_.path()); }

  bool mounted_ = false;
};

// A quarter of what is free is less each time. What there is is good enough.
TEST_F(SmallMemoryTest, TakeoversKeepTheHotTier) {
  auto holder = OpenWith(64U << 20);
  const auto client = Open(ClientOptions());
  const auto observer = Observe();
  const std::uint64_t number = observer->main().hot_number.load();
  ASSERT_NE(number, 0U);
  Fill(*client);
  const std::uint64_t free = Free();
  for (int i = 0; i < 6; ++i) {
    auto next = OpenWith(64U << 20);
    ASSERT_TRUE(holder->Close().ok());
    holder = std::move(next);
    ASSERT_EQ(Set(*client, "k", "v"), "kOk");  // By now it serves.
    EXPECT_EQ(Get(*client, "k"), "v");
    EXPECT_EQ(observer->main().hot_number.load(), number) << i;
    EXPECT_GE(Free() + (1U << 20), free) << i;
  }
}

// A tier that is not kept is not paid for, though a client that has read from
// it does not call any more.
TEST_F(SmallMemoryTest, AnOldHotTierIsLetGo) {
  auto holder = OpenWith(8U << 20);
  const auto client = Open(ClientOptions());
  Fill(*client);
  ASSERT_EQ(Get(*client, "k4999"), std::string(3000, 'v'));
  ASSERT_LT(Free(), 26U << 20);
  const auto next = OpenWith(2U << 20);
  holder.reset();
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (Free() < 28U << 20 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_GE(Free(), 28U << 20);
  EXPECT_EQ(Get(*client, "k4999"), std::string(3000, 'v'));
  EXPECT_EQ(Set(*client, "k4999", "w"), "kOk");
  EXPECT_EQ(Get(*client, "k4999"), "w");
}

TEST_F(SharedEngineTest, AStoreThatDoesNotOpenFailsOpen) {
  const auto engine = SharedEngine::Open(ClientOptions());
  ASSERT_FALSE(engine.has_value());
  EXPECT_EQ(engine.error().code(), StatusCode::kInternal);
  EXPECT_NE(Open(), nullptr);  // The seat is free again.
}

TEST_F(SharedEngineTest, ASettingChangedByOneIsInForceForAll) {
  const auto holder = Open();
  const auto client = Open();
  const auto other = Open();
  const std::uint64_t version = other->settings_version();
  ASSERT_TRUE(client->Reset("default_ttl", "1h").ok());
  EXPECT_NE(other->settings_version(), version);
  EXPECT_EQ(holder->settings_version(), other->settings_version());
  for (const auto* engine : {&holder, &client, &other}) {
    EXPECT_EQ((*engine)->CurrentSettings().default_ttl, std::chrono::hours(1));
  }
  EXPECT_EQ(client->Reset("no_such_setting", "1").code(),
            StatusCode::kInvalidArgument);
}

TEST_F(SharedEngineTest, AScanIsLostWithItsHolder) {
  auto holder = Open();
  const auto client = Open();
  ASSERT_EQ(Set(*client, "a", "1"), "kOk");
  auto scan = client->OpenScan({});
  ASSERT_TRUE(scan.has_value());
  ASSERT_TRUE(holder->Close().ok());
  EXPECT_EQ((*scan)->Next(10).error().code(), StatusCode::kGone);
}

TEST_F(SharedEngineTest, AStreamThatLostItsHolderIsNotCommitted) {
  auto holder = Open();
  const auto client = Open();
  SetCommand set;
  set.key = "k";
  auto writer = client->OpenWriter(set, 0, {});
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE((*writer)->Append("part").ok());
  ASSERT_TRUE(holder->Close().ok());
  EXPECT_FALSE((*writer)->Commit().status.ok());
  EXPECT_EQ(Get(*client, "k"), "(miss)");
}

TEST_F(SharedEngineTest, ALargeValueGoesThroughInPieces) {
  const auto holder = Open();
  const auto client = Open();
  const std::string value((9U << 20) + 1000, 'L');
  EXPECT_EQ(Set(*client, "large", value), "kOk");
  EXPECT_EQ(Get(*client, "large"), value);
}

// Children that start threads although their parent had some.
class SharedEngineProcessTest : public SharedEngineTest {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
  }
};

TEST_F(SharedEngineProcessTest, ManyProcessesShareOneCache) {
  const auto holder = Open();
  std::vector<std::unique_ptr<ForkedProcess>> clients;
  for (int c = 0; c < 4; ++c) {
    clients.push_back(
        std::make_unique<ForkedProcess>([this, c](const ForkedProcess::Pipe&) {
          const auto engine = Open(ClientOptions());
          const std::string own = "own" + std::to_string(c);
          for (int i = 0; i < 500; ++i) {
            const std::string value = std::to_string(i);
            if (Set(*engine, own, value) != "kOk") return 1;
            if (Get(*engine, own) != value) return 2;
            if (Incr(*engine, "shared") <= 0) return 3;
          }
          return engine->Close().ok() ? 0 : 4;
        }));
  }
  for (const auto& client : clients) EXPECT_EQ(client->Wait(), 0);
  EXPECT_EQ(Incr(*holder, "shared"), 2001);
}

// A prefork server: the parent opens, its children use what they inherited.
// 200 of them; each becomes a client of its own, and the parent goes on.
TEST_F(SharedEngineProcessTest, ForkedChildrenOfTheHolderBecomeClients) {
  const auto engine = Open();
  ASSERT_EQ(Set(*engine, "k", "v"), "kOk");
  for (int round = 0; round < 50; ++round) {
    std::vector<std::unique_ptr<ForkedProcess>> children;
    for (int c = 0; c < 4; ++c) {
      children.push_back(std::make_unique<ForkedProcess>(
          [&engine](const ForkedProcess::Pipe&) {
            if (Get(*engine, "k") != "v") return 1;
            if (Incr(*engine, "n") <= 0) return 2;
            return engine->capabilities().holds_store ? 3 : 0;
          }));
    }
    for (const auto& child : children) ASSERT_EQ(child->Wait(), 0);
  }
  EXPECT_EQ(Incr(*engine, "n"), 201);
  EXPECT_TRUE(engine->capabilities().holds_store);
}

TEST_F(SharedEngineProcessTest, AForkedChildOfAClientBecomesAnotherClient) {
  const auto holder = Open();
  auto client = Open();
  ASSERT_EQ(Incr(*client, "n"), 1);
  ForkedProcess child([&client](const ForkedProcess::Pipe&) {
    if (Incr(*client, "n") != 2) return 1;
    client.reset();  // Its own membership ends, not the parent's.
    return 0;
  });
  EXPECT_EQ(child.Wait(), 0);
  EXPECT_EQ(Incr(*client, "n"), 3);
}

TEST_F(SharedEngineProcessTest, AChildThatNeverUsesItDisturbsNobody) {
  auto engine = Open();
  ASSERT_EQ(Incr(*engine, "n"), 1);
  ForkedProcess child([&engine](const ForkedProcess::Pipe&) {
    engine.reset();
    return 0;
  });
  EXPECT_EQ(child.Wait(), 0);
  EXPECT_EQ(Incr(*engine, "n"), 2);
}

TEST_F(SharedEngineProcessTest, AChildTakesOverAfterItsParent) {
  ForkedProcess parent([this](const ForkedProcess::Pipe& pipe) -> int {
    const auto engine = Open();
    if (Incr(*engine, "n") != 1) return 1;
    const pid_t child = ::fork();
    if (child == 0) {
      // A client first; then its parent dies and it has the seat.
      if (Incr(*engine, "n") != 2) ::_exit(1);
      pipe.Send(static_cast<std::uint64_t>(::getpid()));
      while (!engine->capabilities().holds_store) ::usleep(1000);
      // A model's items die with its process; that it serves is the point.
      pipe.Send(Incr(*engine, "m") == 1 && !last_opening_by_open_ ? 7 : 8);
      ::pause();
    }
    for (;;) ::pause();
  });
  const auto child = parent.Receive();
  ASSERT_TRUE(child.has_value());
  parent.Kill(SIGKILL);
  EXPECT_EQ(parent.Receive(), 7U);
  ::kill(static_cast<pid_t>(*child), SIGKILL);
}

TEST_F(SharedEngineProcessTest, AStoppedHolderIsNamed) {
  ForkedProcess holder([this](const ForkedProcess::Pipe& pipe) -> int {
    const auto engine = Open();
    pipe.Send(1);
    for (;;) ::pause();
  });
  ASSERT_EQ(holder.Receive(), 1U);
  SharedEngine::Options options = ClientOptions();
  options.timeout = 100ms;
  const auto client = Open(std::move(options));
  ASSERT_EQ(Set(*client, "k", "v"), "kOk");
  holder.Kill(SIGSTOP);
  int status = 0;
  ASSERT_EQ(::waitpid(holder.pid(), &status, WUNTRACED), holder.pid());
  EXPECT_EQ(Get(*client, "k"), "v");  // Hot reads go on.
  const std::string answer = Set(*client, "k", "w");
  EXPECT_EQ(answer.substr(0, 20), "kHolderNotResponding");
  EXPECT_NE(answer.find(std::to_string(holder.pid())), std::string::npos);
  EXPECT_NE(answer.find("not applied"), std::string::npos);
  holder.Kill(SIGCONT);
  EXPECT_EQ(Set(*client, "k", "x"), "kOk");
}

}  // namespace
}  // namespace larder::testing
