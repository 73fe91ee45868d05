#include "seat/seat_server.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/test_point.h"
#include "forked_process.h"
#include "seat/client_channel.h"
#include "temporary_directory.h"

namespace larder {
namespace {

using testing::ForkedProcess;
using testing::TemporaryDirectory;
using namespace std::chrono_literals;

SteadyTime After(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

// Stands for a durable store that all holders share: counters of clients and
// the last request of each, changed together under a lock that a dying process
// cannot hold (each change is one store to `count`).
struct FakeStore {
  static constexpr std::size_t kClientsMax = 64;
  struct Record {
    std::atomic<std::uint64_t> uid;
    // sequence << 32 | how often the client's counter was incremented.
    std::atomic<std::uint64_t> state;
  };
  Record records[kClientsMax];

  Record& Of(std::uint64_t uid) {
    for (Record& record : records) {
      std::uint64_t expected = 0;
      if (record.uid.load() == uid ||
          record.uid.compare_exchange_strong(expected, uid) ||
          expected == uid) {
        return record;
      }
    }
    std::abort();
  }
  // Counts the request once, whoever executes it how often; the new count.
  std::uint64_t Increment(std::uint64_t uid, std::uint64_t sequence) {
    Record& record = Of(uid);
    const std::uint64_t old = record.state.load();
    if (old >> 32 == sequence) return old & 0xFFFFFFFF;
    const std::uint64_t count = (old & 0xFFFFFFFF) + 1;
    record.state.store(sequence << 32 | count);
    return count;
  }
};

// Answers "echo:..." with itself, "count" with the client's new count, and
// "size:N" with N bytes.
class FakeHandler : public RequestHandler {
 public:
  explicit FakeHandler(FakeStore* store = nullptr) : store_(store) {}

  static std::string Answer(FakeStore* store, std::string_view message,
                            std::uint64_t uid, std::uint64_t sequence) {
    if (message.starts_with("size:")) {
      return std::string(std::stoul(std::string(message.substr(5))), 's');
    }
    if (message == "count") {
      return std::to_string(store->Increment(uid, sequence));
    }
    return std::string(message);
  }
  void Execute(std::span<ServedRequest> requests) noexcept override {
    ++groups;
    for (ServedRequest& request : requests) {
      if (before_execute) before_execute(request);
      request.reply =
          Answer(store_, request.message, request.uid, request.sequence);
    }
  }
  void ClientGone(std::uint64_t) noexcept override { ++gone; }

  std::function<void(const ServedRequest&)> before_execute;
  std::atomic<int> gone{0};
  std::atomic<int> groups{0};

 private:
  FakeStore* store_;
};

const ClientChannel::RunHere kNotHere = [](std::string_view, std::uint64_t,
                                           std::uint64_t) {
  return std::string("here");
};

class SeatServerTest : public ::testing::Test {
 protected:
  // Cleans up after members that were killed.
  ~SeatServerTest() override { Attach(); }
  std::unique_ptr<Seat> Attach() const {
    auto seat = Seat::Attach({.directory = directory_.path(),
                              .region_directory = regions_.path(),
                              .id = {},
                              .attach_timeout = 20s});
    EXPECT_TRUE(seat.has_value()) << seat.error().ToString();
    return seat ? std::move(*seat) : nullptr;
  }
  static std::unique_ptr<SeatServer> Serve(Seat& seat,
                                           RequestHandler& handler) {
    EXPECT_TRUE(seat.held() || seat.TryTake().value());
    return std::move(*SeatServer::Start(seat, handler));
  }
  static std::unique_ptr<ClientChannel> Connect(Seat& seat) {
    return ClientChannel::Open(seat);
  }
  static std::string Call(ClientChannel& channel, std::string_view message,
                          std::chrono::milliseconds timeout = 20s) {
    const auto reply = channel.Call(message, After(timeout), kNotHere);
    return reply ? *reply : reply.error().ToString();
  }
  std::size_t RegionCount() const {
    return static_cast<std::size_t>(std::distance(
        std::filesystem::directory_iterator(regions_.path()), {}));
  }

  TemporaryDirectory directory_;
  TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
};

TEST_F(SeatServerTest, AnswersAClientInAnotherProcess) {
  const auto seat = Attach();
  FakeHandler handler;
  const auto server = Serve(*seat, handler);
  ForkedProcess client([this](const ForkedProcess::Pipe&) {
    const auto mine = Attach();
    const auto channel = Connect(*mine);
    for (int i = 0; i < 1000; ++i) {
      const std::string message = "echo:" + std::to_string(i);
      if (Call(*channel, message) != message) return 1;
    }
    return 0;
  });
  EXPECT_EQ(client.Wait(), 0);
}

TEST_F(SeatServerTest, MessagesLargerThanTheRingsGoThrough) {
  const auto holder = Attach();
  const auto mine = Attach();
  FakeHandler handler;
  const auto server = Serve(*holder, handler);
  const auto channel = Connect(*mine);
  std::mt19937_64 random(5);
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{65'536}, std::size_t{300'000},
        std::size_t{5'000'000}}) {
    std::string message(size, '\0');
    for (char& byte : message) byte = static_cast<char>(random());
    EXPECT_EQ(Call(*channel, message), message) << size;
  }
  EXPECT_EQ(Call(*channel, "size:10000000").size(), 10'000'000U);
}

TEST_F(SeatServerTest, ThreadsShareTheLanesOfAChannel) {
  const auto holder = Attach();
  const auto mine = Attach();
  FakeHandler handler;
  const auto server = Serve(*holder, handler);
  const auto channel = Connect(*mine);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < ClientChannel::kLaneCountMax + 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string message =
            "echo:" + std::to_string(t) + "/" + std::to_string(i);
        if (Call(*channel, message) != message) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(server->client_count(), ClientChannel::kLaneCountMax);
}

TEST_F(SeatServerTest, ACallWaitsForAHolder) {
  const auto mine = Attach();
  const auto holder = Attach();
  const auto channel = Connect(*mine);
  std::thread caller([&] { EXPECT_EQ(Call(*channel, "echo:1"), "echo:1"); });
  FakeHandler handler;
  const auto server = Serve(*holder, handler);
  caller.join();
}

TEST_F(SeatServerTest, WithoutAHolderTheCallSaysSo) {
  const auto mine = Attach();
  const auto channel = Connect(*mine);
  const auto reply = channel->Call("echo:1", After(30ms), kNotHere);
  EXPECT_EQ(reply.error().code(), StatusCode::kSeatUnavailable);
  EXPECT_NE(reply.error().message().find("not applied"), std::string::npos);
}

// The holder is held up before it looks at the ring: the request is withdrawn.
TEST_F(SeatServerTest, ARequestThatWasNotTakenIsNotApplied) {
  const auto holder = Attach();
  const auto mine = Attach();
  const auto other = Attach();
  FakeHandler handler;
  std::atomic<bool> stuck{false};
  std::atomic<bool> release{false};
  std::atomic<int> executed{0};
  handler.before_execute = [&](const ServedRequest& request) {
    ++executed;
    if (request.message != "echo:stick") return;
    stuck = true;
    while (!release) std::this_thread::yield();
  };
  const auto server = Serve(*holder, handler);
  const auto blocker = Connect(*other);
  std::thread sticker([&] { Call(*blocker, "echo:stick"); });
  while (!stuck) std::this_thread::yield();
  const auto channel = Connect(*mine);
  const auto reply = channel->Call("echo:2", After(30ms), kNotHere);
  EXPECT_EQ(reply.error().code(), StatusCode::kTimedOut);
  EXPECT_NE(reply.error().message().find("not applied"), std::string::npos);
  release = true;
  sticker.join();
  EXPECT_EQ(Call(*channel, "echo:3"), "echo:3");
  EXPECT_EQ(executed, 2);  // "stick" and 3; never 2.
}

TEST_F(SeatServerTest, ARequestThatWasTakenHasAnUnknownOutcome) {
  const auto holder = Attach();
  const auto mine = Attach();
  FakeHandler handler;
  std::atomic<bool> release{false};
  handler.before_execute = [&](const ServedRequest& request) {
    if (request.message != "echo:stick") return;
    while (!release) std::this_thread::yield();
  };
  const auto server = Serve(*holder, handler);
  const auto channel = Connect(*mine);
  const auto reply = channel->Call("echo:stick", After(50ms), kNotHere);
  EXPECT_EQ(reply.error().code(), StatusCode::kOutcomeUnknown);
  EXPECT_NE(reply.error().message().find("outcome unknown"), std::string::npos);
  release = true;
  // The late answer is not taken for another one.
  EXPECT_EQ(Call(*channel, "echo:next"), "echo:next");
}

// Deadlines at the very moment of the claim, many times: what was said to be
// not applied was not, and nothing was applied twice.
TEST_F(SeatServerTest, GivingUpAndClaimingExcludeEachOther) {
  const auto holder = Attach();
  const auto mine = Attach();
  FakeStore store{};
  FakeHandler handler(&store);
  const auto server = Serve(*holder, handler);
  const auto channel = Connect(*mine);
  std::uint64_t applied = 0;
  std::uint64_t not_applied = 0;
  std::uint64_t unknown = 0;
  for (int i = 0; i < 5000; ++i) {
    const auto timeout = std::chrono::microseconds(i % 60);
    const auto reply = channel->Call(
        "count", std::chrono::steady_clock::now() + timeout, kNotHere);
    if (reply) {
      ++applied;
    } else if (reply.error().message().find("not applied") !=
               std::string::npos) {
      ++not_applied;
    } else {
      ++unknown;
    }
  }
  const std::uint64_t last = std::stoul(Call(*channel, "count"));
  EXPECT_GE(last, applied + 1);
  EXPECT_LE(last, applied + unknown + 1);
  EXPECT_GT(applied, 0U);
  EXPECT_GT(not_applied, 0U);
}

TEST_F(SeatServerTest, ACleanHandoffInTheMiddleOfCallsLosesNothing) {
  FakeStore store{};
  const auto first = Attach();
  const auto second = Attach();
  const auto mine = Attach();
  FakeHandler handler(&store);
  auto server = Serve(*first, handler);
  const auto channel = Connect(*mine);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> calls{0};
  std::thread caller([&] {
    while (!stop) {
      ASSERT_EQ(Call(*channel, "count"), std::to_string(calls + 1));
      ++calls;
    }
  });
  for (int i = 0; i < 100; ++i) {
    for (const std::uint64_t seen = calls; calls == seen;) {
      std::this_thread::yield();
    }
    Seat& from = i % 2 == 0 ? *first : *second;
    Seat& to = i % 2 == 0 ? *second : *first;
    server.reset();
    ASSERT_TRUE(from.Release().ok());
    server = Serve(to, handler);
  }
  stop = true;
  caller.join();
}

TEST_F(SeatServerTest, ACallGoesOnHereWhenThisProcessGetsTheSeat) {
  FakeStore store{};
  const auto mine = Attach();
  const auto channel = Connect(*mine);
  std::atomic<bool> called{false};
  std::thread caller([&] {
    const auto reply = channel->Call(
        "count", After(20s),
        [&](std::string_view message, std::uint64_t uid,
            std::uint64_t sequence) {
          called = true;
          return FakeHandler::Answer(&store, message, uid, sequence);
        });
    EXPECT_EQ(reply.value(), "1");
  });
  while (RegionCount() < 2) std::this_thread::yield();
  ASSERT_TRUE(mine->TryTake().value());
  channel->SetSeatIsHere(true);
  FakeHandler handler(&store);
  const auto server = Serve(*mine, handler);
  caller.join();
  EXPECT_TRUE(called);
  EXPECT_EQ(Call(*channel, "anything"), "here");
}

TEST_F(SeatServerTest, ALeavingClientGivesItsPlaceBack) {
  const auto holder = Attach();
  FakeHandler handler;
  const auto server = Serve(*holder, handler);
  const std::size_t before = RegionCount();
  for (int i = 0; i < 300; ++i) {  // More than there are slots.
    const auto mine = Attach();
    const auto channel = Connect(*mine);
    ASSERT_EQ(Call(*channel, "echo:1"), "echo:1");
  }
  while (handler.gone < 300) std::this_thread::yield();
  EXPECT_EQ(server->client_count(), 0U);
  EXPECT_EQ(RegionCount(), before);
}

TEST_F(SeatServerTest, AKilledClientGivesItsPlaceBack) {
  const auto holder = Attach();
  FakeHandler handler;
  const auto server = Serve(*holder, handler);
  const std::size_t before = RegionCount();
  ForkedProcess client([this](const ForkedProcess::Pipe& pipe) {
    const auto mine = Attach();
    const auto channel = Connect(*mine);
    Call(*channel, "echo:1");
    pipe.Send(1);
    ::pause();
    return 0;
  });
  ASSERT_EQ(client.Receive(), 1U);
  EXPECT_EQ(server->client_count(), 1U);
  client.Kill(SIGKILL);
  while (handler.gone < 1) std::this_thread::yield();
  EXPECT_EQ(RegionCount(), before);
}

// Finds the region of the one client.
std::unique_ptr<SharedRegion> RegionOfTheClient(const Seat& seat) {
  for (const ClientSlot& slot : seat.main().slots) {
    if (slot.uid.load() == 0) continue;
    return std::move(
        *SharedRegion::Open(seat.Address(RegionKind::kClient, slot.uid.load()),
                            SharedRegion::Access::kReadWrite));
  }
  return nullptr;
}

// A broken process writes anywhere into its region and the main one's slots;
// the holder and the other clients do not suffer (run under ASan, too).
TEST_F(SeatServerTest, AScribblingClientIsEvictedAndOthersGoOn) {
  const auto holder = Attach();
  FakeHandler handler;
  const auto server = Serve(*holder, handler);
  const auto good = Attach();
  std::mt19937_64 random(20240613);
  for (int round = 0; round < 200; ++round) {
    const auto mine = Attach();
    const auto channel = Connect(*mine);
    ASSERT_EQ(Call(*channel, "echo:1"), "echo:1");
    const auto region = RegionOfTheClient(*mine);
    ASSERT_NE(region, nullptr);
    std::size_t slot = 0;
    while (mine->main().slots[slot].uid.load() == 0) ++slot;
    const auto scribbles = 1 + random() % 3;
    for (unsigned i = 0; i < scribbles; ++i) {
      // Generation, states, positions and the next frame; else anywhere.
      constexpr std::size_t kPlaces[] = {64,  72,  128, 192, 192, 256,
                                         320, 384, 512, 520, 528, 536};
      const std::size_t at = random() % 4 != 0
                                 ? kPlaces[random() % std::size(kPlaces)]
                                 : 64 + random() % (sizeof(ClientRegion) - 64);
      auto* word = region->At<std::atomic<std::uint64_t>>(at & ~7ULL);
      word->store(random() % 3 == 0 ? random() % 100'000 : random());
      mine->main().doorbell.Ring(slot);
    }
    // By its answer the holder has looked at the other client as well.
    const auto other = Connect(*good);
    ASSERT_EQ(Call(*other, "echo:2"), "echo:2");
    Call(*channel, "echo:3", 5ms);
    ASSERT_EQ(Call(*other, "echo:4"), "echo:4");
  }
  EXPECT_GT(holder->main().figures.clients_evicted.load(), 10U);
}

TEST_F(SeatServerTest, AForkedChildCannotUseItsParentsChannel) {
  const auto holder = Attach();
  const auto mine = Attach();
  FakeHandler handler;
  auto channel = Connect(*mine);
  ForkedProcess child([&](const ForkedProcess::Pipe&) {
    const auto reply = channel->Call("echo:1", After(20s), kNotHere);
    const bool closed = reply.error().code() == StatusCode::kClosed;
    channel.reset();  // Must not take the parent's lanes away.
    return closed ? 0 : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
  const auto server = Serve(*holder, handler);
  EXPECT_EQ(Call(*channel, "echo:2"), "echo:2");
}

TEST_F(SeatServerTest, AnIdleHolderUsesNoCpu) {
  const auto holder = Attach();
  const auto mine = Attach();
  FakeHandler handler;
  const auto server = Serve(*holder, handler);
  const auto channel = Connect(*mine);
  ASSERT_EQ(Call(*channel, "echo:1"), "echo:1");
  const auto cpu = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           std::chrono::microseconds(usage.ru_utime.tv_usec +
                                     usage.ru_stime.tv_usec);
  };
  const auto before = cpu();
  ::poll(nullptr, 0, 500);
  // Sanitizers have threads of their own, so this is a loose bound.
  EXPECT_LT(cpu() - before, 50ms);
}

const char* deadly_point = nullptr;
std::uint32_t deadly_after = 0;

void DieAtPoint(const char* name) {
  static std::atomic<std::uint32_t> seen{0};
  if (std::strcmp(name, deadly_point) != 0) return;
  if (seen.fetch_add(1) >= deadly_after) ::kill(::getpid(), SIGKILL);
}

class FailoverTest : public SeatServerTest,
                     public ::testing::WithParamInterface<const char*> {};

// Holders are killed at a named point (or anywhere) while two clients count.
// Each count is exact: no request was lost, none was executed twice.
TEST_P(FailoverTest, EveryRequestIsExecutedExactlyOnce) {
  const auto region = SharedRegion::Create({.directory = regions_.path(),
                                            .id = {.high = 9, .low = 9},
                                            .epoch = 1,
                                            .kind = RegionKind::kMain,
                                            .number = 1},
                                           8192, 8192);
  ASSERT_TRUE(region.has_value());
  auto* store = (*region)->At<FakeStore>(64);
  static_assert(sizeof(FakeStore) < 8000);
  constexpr int kKills = 30;
  const bool at_random = std::strcmp(GetParam(), "random") == 0;
  std::mt19937 random(11);

  std::list<ForkedProcess> holders;
  const auto spawn_holder = [&](std::uint32_t after) {
    holders.emplace_back([&, after](const ForkedProcess::Pipe& pipe) -> int {
      const auto seat = Attach();
      FakeHandler handler(store);
      std::unique_ptr<SeatServer> server;
      const auto monitored = seat->StartMonitor([&] {
        deadly_point = GetParam();
        deadly_after = after;
        server = std::move(*SeatServer::Start(*seat, handler));
        pipe.Send(1);
        if (!at_random) test_point_hook = &DieAtPoint;
        return true;
      });
      if (!monitored.ok()) return 1;
      for (;;) ::pause();
    });
  };
  spawn_holder(random() % 300);
  std::list<ForkedProcess> clients;
  for (int c = 0; c < 2; ++c) {
    clients.emplace_back([&](const ForkedProcess::Pipe& pipe) {
      const auto seat = Attach();
      const auto channel = Connect(*seat);
      std::uint64_t calls = 0;
      // Holders may die before they have served much: the last one stays.
      while (seat->main().totals[0].load() == 0 || calls <= 100) {
        if (Call(*channel, "count") != std::to_string(++calls)) return 1;
      }
      pipe.Send(calls);
      return 0;
    });
  }
  const auto observer = Attach();
  for (int kill = 0; kill < kKills; ++kill) {
    spawn_holder(random() % 300);
    auto holder = holders.end();  // Whoever of them wins.
    for (int tries = 0; holder == holders.end(); ++tries) {
      ASSERT_LT(tries, 10'000) << kill;
      holder = std::find_if(holders.begin(), holders.end(), [](const auto& h) {
        return h.Receive(std::chrono::milliseconds(1)).has_value();
      });
    }
    if (at_random) {
      ::usleep(random() % 3000);
      holder->Kill(SIGKILL);
    }
    EXPECT_EQ(holder->Wait(), -SIGKILL);
    holders.erase(holder);
  }
  observer->main().totals[0].store(1);
  spawn_holder(1'000'000'000);
  for (ForkedProcess& client : clients) {
    EXPECT_GT(client.Receive().value_or(0), 100U);
    EXPECT_EQ(client.Wait(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, FailoverTest,
                         ::testing::Values("server.claimed", "server.executed",
                                           "server.answered", "random"),
                         [](const auto& point) {
                           std::string name = point.param;
                           std::replace(name.begin(), name.end(), '.', '0');
                           return name;
                         });

class LanePointTest : public SeatServerTest,
                      public ::testing::WithParamInterface<const char*> {};

TEST_P(LanePointTest, AKilledClientLeavesNothingBehind) {
  const auto holder = Attach();
  FakeHandler handler;
  const auto server = Serve(*holder, handler);
  deadly_point = GetParam();
  deadly_after = 0;
  for (int round = 0; round < 20; ++round) {
    ForkedProcess victim([this](const ForkedProcess::Pipe&) {
      const auto mine = Attach();
      const auto channel = Connect(*mine);
      test_point_hook = &DieAtPoint;
      Call(*channel, "echo:1");
      return 0;
    });
    ASSERT_EQ(victim.Wait(), -SIGKILL);
    const auto mine = Attach();
    const auto channel = Connect(*mine);
    ASSERT_EQ(Call(*channel, "echo:2"), "echo:2");
  }
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, LanePointTest,
                         ::testing::Values("lane.region_created",
                                           "lane.slot_claimed",
                                           "lane.published"),
                         [](const auto& point) {
                           std::string name = point.param;
                           std::replace(name.begin(), name.end(), '.', '0');
                           std::replace(name.begin(), name.end(), '_', '1');
                           return name;
                         });

}  // namespace
}  // namespace larder
