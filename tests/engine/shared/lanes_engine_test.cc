// Whole caches with more handles than there are places at the holder.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "base/test_point.h"
#include "forked_process.h"
#include "messages/command_codec.h"
#include "messages/message_codec.h"
#include "seat/client_channel.h"
#include "seat/seat.h"
#include "session_model.h"
#include "shared/engine_service.h"
#include "shared/remote_engine.h"
#include "shared/shared_engine.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

using namespace std::chrono_literals;

// More than there are places.
constexpr std::size_t kHandles = kSlotCountMax + 44;

// One that never has the store.
struct Remote {
  std::unique_ptr<Seat> seat;
  std::unique_ptr<ClientChannel> channel;
  std::unique_ptr<RemoteEngine> engine;
};

class LanesEngineTest : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> Open() const {
    EngineOptions options;
    options.region_directory = regions_.path();
    options.hot_tier_bytes = 2U << 20;
    options.timeout = 60s;
    options.attach_timeout = 60s;
    auto engine = OpenEngine(directory_.path() / "cache", std::move(options));
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }
  Remote ConnectRemote(std::chrono::milliseconds short_timeout = 60s) const {
    Remote remote;
    auto seat = Seat::Attach({.directory = directory_.path() / "cache",
                              .region_directory = regions_.path(),
                              .id = {},
                              .attach_timeout = 60s});
    if (!seat) return remote;
    remote.seat = std::move(*seat);
    remote.channel = ClientChannel::Open(*remote.seat);
    RemoteCaller::Options options;
    options.timeout = 60s;
    options.short_timeout = short_timeout;
    options.run_here = [](std::string_view, std::uint64_t, std::uint64_t) {
      return std::string();
    };
    remote.engine = std::make_unique<RemoteEngine>(
        *remote.seat, *remote.channel, std::move(options));
    return remote;
  }
  static Status Run(Engine& engine, const Command& command, Reply& reply) {
    Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
    return status.ok() ? reply.status : status;
  }
  static std::int64_t Incr(Engine& engine, const std::string& key,
                           std::int64_t by = 1) {
    Reply reply;
    const Status status =
        Run(engine, IncrCommand{.key = key, .delta = by}, reply);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return status.ok() ? reply.integer : -1;
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
};

// The first one has the store, and closes last: else each has it in its turn.
struct Handles : std::vector<std::unique_ptr<Engine>> {
  Handles() = default;
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;
  ~Handles() {
    while (!empty()) pop_back();
  }
};

TEST_F(LanesEngineTest, ThreeHundredHandlesOfOneProcess) {
  Handles handles;
  for (std::size_t i = 0; i < kHandles; ++i) handles.push_back(Open());
  for (std::int64_t round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < handles.size(); ++i) {
      ASSERT_EQ(Incr(*handles[i], "n"),
                round * static_cast<std::int64_t>(kHandles) +
                    static_cast<std::int64_t>(i) + 1);
    }
  }
}

// Each lane leaves its record when it leaves its place.
TEST_F(LanesEngineTest, NoMoreRecordsThanPlacesAreKept) {
  const auto disk = std::make_shared<SessionDisk>();
  SharedEngine::Options options;
  options.seat.directory = directory_.path();
  options.seat.region_directory = regions_.path();
  options.hot_tier_bytes = 0;
  options.hot_tier_delay = {};
  options.open_store = [&disk](const SharedEngine::StoreOpening&) {
    return SessionModel::Open(disk, {});
  };
  Handles handles;
  for (std::size_t i = 0; i < kHandles; ++i) {
    auto handle = SharedEngine::Open(options);
    ASSERT_TRUE(handle.has_value()) << handle.error().ToString();
    handles.push_back(std::move(*handle));
  }
  for (std::int64_t n = 0; n < 900; ++n) {
    ASSERT_EQ(Incr(*handles[static_cast<std::size_t>(n) % kHandles], "n"),
              n + 1);
  }
  const std::lock_guard lock(disk->mutex);
  EXPECT_LE(disk->records.size(), kSlotCountMax);
  EXPECT_GE(disk->records.size(), kSlotCountMax / 2);
}

// A scan lives with the place of the handle that opened it.
TEST_F(LanesEngineTest, AnOpenScanKeepsItsPlace) {
  Handles handles;
  for (std::size_t i = 0; i < 2; ++i) handles.push_back(Open());
  for (int i = 0; i < 100; ++i) Incr(*handles[0], "k" + std::to_string(i));
  auto scan = handles[1]->OpenScan({});
  ASSERT_TRUE(scan.has_value());
  while (handles.size() < kHandles) handles.push_back(Open());
  for (const auto& handle : handles) ASSERT_GT(Incr(*handle, "n"), 0);
  std::size_t count = 0;
  for (;;) {
    const auto items = (*scan)->Next(7);
    ASSERT_TRUE(items.has_value()) << items.error().ToString();
    if (items->empty()) break;
    count += items->size();
  }
  EXPECT_EQ(count, 100U);
}

// Clients that were granted space, and then stand still.
TEST_F(LanesEngineTest, SpaceThatIsNotUsedKeepsNoPlace) {
  const auto holder = Open();
  constexpr std::size_t kValueSize = 20'000;
  struct Granted {
    std::unique_ptr<Seat> seat;
    std::unique_ptr<ClientChannel> channel;
    std::unique_ptr<ClientChannel::Lease> lease;
    Grant grant;
  };
  const auto connect = [this] {
    Granted client;
    auto seat = Seat::Attach({.directory = directory_.path() / "cache",
                              .region_directory = regions_.path(),
                              .id = {},
                              .attach_timeout = 60s});
    EXPECT_TRUE(seat.has_value()) << seat.error().ToString();
    client.seat = std::move(*seat);
    client.channel = ClientChannel::Open(*client.seat);
    client.lease = std::make_unique<ClientChannel::Lease>();
    return client;
  };
  const auto call = [](Granted& client, MessageKind kind,
                       std::string_view body) {
    std::string message;
    PutMessageHead(message, kind);
    message += body;
    return client.channel
        ->Call(message, std::chrono::steady_clock::now() + 60s, {},
               ClientChannel::Effect::kChange, client.lease.get())
        .value();
  };
  std::vector<Granted> clients;
  std::string wanted;
  EncodeGrantRequest(wanted, std::vector<GrantRequest>{
                                 {.key_size = 1, .value_size = kValueSize}});
  for (std::size_t i = 0; i < kSlotCountMax; ++i) {
    Granted& client = clients.emplace_back(connect());
    const std::string reply = call(client, MessageKind::kGrant, wanted);
    const auto grants = DecodeGrants(DecodeOutcome(reply).value());
    ASSERT_TRUE(grants.has_value()) << grants.error().ToString();
    client.grant = grants->at(0);
  }
  const auto began = std::chrono::steady_clock::now();
  const auto late = Open();
  EXPECT_GT(Incr(*late, "n"), 0);
  EXPECT_GT(std::chrono::steady_clock::now() - began, 1s);
  // One of them has lost its place: it is told to send the value instead.
  std::size_t lost = 0;
  const Command command = SetCommand{.key = "k"};
  for (Granted& client : clients) {
    const PlacedValue placed[] = {{.value_size = kValueSize,
                                   .version = client.grant.version,
                                   .chunks = client.grant.chunks}};
    std::string body;
    ASSERT_TRUE(EncodeCommands(body, {&command, 1}, placed, {}).ok());
    const std::string bytes = call(client, MessageKind::kExecute, body);
    Reply reply;
    const auto decoded =
        DecodeReplies(std::make_shared<const std::string>(bytes),
                      DecodeOutcome(bytes).value(), {&reply, 1});
    ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
    if (decoded->status.code() == StatusCode::kGone) ++lost;
    client.lease->End();
  }
  EXPECT_GE(lost, 1U);
  EXPECT_LE(lost, 20U);
}

// Space that one lane was granted is no other one's.
TEST_F(LanesEngineTest, ValuesOfManyThreadsGoIntoTheFiles) {
  const auto holder = Open();
  const Remote remote = ConnectRemote();
  ASSERT_NE(remote.engine, nullptr);
  const std::string value(20'000, 'v');
  constexpr std::uint64_t kSets = 200;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < ClientChannel::kLaneCountMax; ++i) {
    threads.emplace_back([&, i] {
      const std::string key = "k" + std::to_string(i);
      for (std::uint64_t n = 0; n < kSets; ++n) {
        Reply reply;
        EXPECT_TRUE(
            Run(*remote.engine, SetCommand{.key = key, .value = value}, reply)
                .ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Not through the rings.
  EXPECT_LT(remote.seat->main().figures.bytes_in.load(),
            threads.size() * kSets * 100);
}

// The holder stands still when they are closed. Else the client could open no
// more.
TEST_F(LanesEngineTest, ScansThatCouldNotBeClosedAreClosedLater) {
  const ForkedProcess holder([this](const ForkedProcess::Pipe& pipe) {
    const auto engine = Open();
    pipe.Send(1);
    ::pause();  // Until it is killed.
    return 0;
  });
  ASSERT_EQ(holder.Receive(), 1U);
  const Remote remote = ConnectRemote(10ms);
  ASSERT_NE(remote.engine, nullptr);
  std::vector<std::unique_ptr<Scan>> scans;
  for (std::size_t i = 0; i < kHandlesPerClientMax; ++i) {
    auto scan = remote.engine->OpenScan({});
    ASSERT_TRUE(scan.has_value()) << scan.error().ToString();
    scans.push_back(std::move(*scan));
  }
  holder.Kill(SIGSTOP);
  scans.clear();
  remote.engine->CloseLeft();
  holder.Kill(SIGCONT);
  // As many as there may be again.
  const auto until = std::chrono::steady_clock::now() + 30s;
  while (scans.size() < kHandlesPerClientMax &&
         std::chrono::steady_clock::now() < until) {
    remote.engine->CloseLeft();
    if (auto scan = remote.engine->OpenScan({})) {
      scans.push_back(std::move(*scan));
    }
  }
  EXPECT_EQ(scans.size(), kHandlesPerClientMax);
  holder.Kill(SIGKILL);
}

std::atomic<const char*> deadly_point{nullptr};
std::atomic<int> deadly_after{0};

void DieAtPointLater(const char* name) {
  if (std::strcmp(name, deadly_point.load()) == 0 && deadly_after-- <= 0) {
    ::kill(::getpid(), SIGKILL);
  }
}

class LanesFailoverTest : public LanesEngineTest,
                          public ::testing::WithParamInterface<const char*> {};

// Processes with more handles than there are places count, each by itself, and
// each answer is the next number; holders are killed while places change hands.
TEST_P(LanesFailoverTest, EveryCountIsMadeExactlyOnce) {
  constexpr int kClients = 2;
  constexpr int kKills = 6;
  void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* const stop = static_cast<std::atomic<bool>*>(memory);
  const bool at_random = std::strcmp(GetParam(), "random") == 0;
  const auto spawn_holder = [&](int after) {
    return std::make_unique<ForkedProcess>(
        [this, at_random, after](const ForkedProcess::Pipe& pipe) {
          deadly_point = GetParam();
          deadly_after = after;
          const auto engine = Open();
          if (engine == nullptr || !engine->capabilities().holds_store) {
            return 1;
          }
          if (!at_random) test_point_hook = &DieAtPointLater;
          pipe.Send(1);
          ::pause();
          return 0;
        });
  };
  auto holder = spawn_holder(0);
  ASSERT_EQ(holder->Receive(), 1U);
  std::list<ForkedProcess> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([this, c, stop](const ForkedProcess::Pipe& pipe) {
      const std::string key = "n" + std::to_string(c);
      std::vector<Remote> handles;
      for (std::size_t i = 0; i < kHandles / kClients; ++i) {
        handles.push_back(ConnectRemote());
        if (handles.back().engine == nullptr) return 1;
      }
      std::int64_t counted = 0;
      for (std::size_t i = 0; !*stop; ++i) {
        Reply reply;
        const Status status = Run(*handles[i * 7 % handles.size()].engine,
                                  IncrCommand{.key = key}, reply);
        if (!status.ok() || reply.integer != ++counted) {
          std::fprintf(stderr, "%s: %s, %lld not %lld\n", key.c_str(),
                       status.ToString().c_str(),
                       static_cast<long long>(reply.integer),
                       static_cast<long long>(counted));
          return 2;
        }
      }
      pipe.Send(static_cast<std::uint64_t>(counted));
      return 0;
    });
  }
  for (int kill = 0; kill < kKills; ++kill) {
    if (at_random) {
      ::usleep(static_cast<useconds_t>(50'000 + kill * 31'000));
      holder->Kill(SIGKILL);
    }
    ASSERT_EQ(holder->Wait(), -SIGKILL);
    holder = spawn_holder(kill + 1 == kKills ? 1'000'000'000 : 17 * kill);
    ASSERT_EQ(holder->Receive(), 1U);
  }
  *stop = true;
  for (ForkedProcess& client : clients) {
    EXPECT_GT(client.Receive().value_or(0), 0U);
    EXPECT_EQ(client.Wait(), 0);
  }
  ::munmap(memory, 4096);
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, LanesFailoverTest,
                         ::testing::Values("server.place_taken",
                                           "server.place_lent", "random"),
                         [](const auto& point) {
                           std::string name = point.param;
                           std::erase_if(name, [](char c) {
                             return c == '.' || c == '_';
                           });
                           return name;
                         });

TEST_F(LanesEngineTest, ThreeHundredProcesses) {
  std::list<ForkedProcess> processes;
  int rounds[2];
  ASSERT_EQ(::pipe(rounds), 0);
  for (std::size_t i = 0; i < kHandles; ++i) {
    processes.emplace_back([&](const ForkedProcess::Pipe& pipe) {
      const auto engine = Open();
      if (engine == nullptr || Incr(*engine, "n") <= 0) return 1;
      pipe.Send(1);
      char byte = 0;
      static_cast<void>(::read(rounds[0], &byte, 1));
      if (Incr(*engine, "n") <= 0) return 2;
      pipe.Send(2);
      ::pause();  // Until it is killed.
      return 0;
    });
  }
  for (const ForkedProcess& process : processes) {
    ASSERT_EQ(process.Receive(), 1U);
  }
  const std::string go(processes.size(), 'g');
  ASSERT_EQ(::write(rounds[1], go.data(), go.size()),
            static_cast<ssize_t>(go.size()));
  for (const ForkedProcess& process : processes) {
    ASSERT_EQ(process.Receive(), 2U);
  }
  ::close(rounds[0]);
  ::close(rounds[1]);
  const auto engine = Open();
  EXPECT_EQ(Incr(*engine, "n", 0), 2 * static_cast<std::int64_t>(kHandles));
  for (ForkedProcess& process : processes) process.Kill(SIGKILL);
  for (ForkedProcess& process : processes) process.Wait();
}

}  // namespace
}  // namespace larder::testing
