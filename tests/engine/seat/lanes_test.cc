// More callers than there are places at the holder: idle clients give theirs
// back, busy ones are waited for, whoever dies or is stopped meanwhile.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test_point.h"
#include "forked_process.h"
#include "read_file.h"
#include "seat/client_channel.h"
#include "seat/seat_server.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

using namespace std::chrono_literals;

// More than there are places.
constexpr std::size_t kHandles = kSlotCountMax + 44;

SteadyTime After(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

// Answers with the message; one that begins with "hold" only when told to.
class HoldingHandler : public RequestHandler {
 public:
  void Execute(std::span<ServedRequest> requests) noexcept override {
    for (ServedRequest& request : requests) {
      if (request.message.starts_with("hold")) {
        const std::lock_guard lock(mutex_);
        held_.push_back({request.uid, request.sequence, request.message});
        request.deferred = true;
      } else {
        request.reply = request.message;
      }
    }
  }
  void ClientGone(std::uint64_t) noexcept override { ++gone; }
  void Unwanted(std::uint64_t, std::uint64_t) noexcept override { ++unwanted; }
  bool Tick() noexcept override {
    while (stop_at_tick) {
      stopped = true;
      std::this_thread::yield();
    }
    return true;
  }
  bool NeedsPlace(std::uint64_t, SteadyTime::duration) noexcept override {
    return pinned;
  }

  std::size_t held() {
    const std::lock_guard lock(mutex_);
    return held_.size();
  }
  std::string last_held() {
    const std::lock_guard lock(mutex_);
    return held_.back().message;
  }
  void Release(SeatServer& server, std::size_t count) {
    const std::lock_guard lock(mutex_);
    for (; count != 0 && !held_.empty(); --count) {
      server.Complete(held_.front().uid, held_.front().sequence,
                      held_.front().message);
      held_.pop_front();
    }
  }

  std::atomic<int> gone{0};
  std::atomic<int> unwanted{0};
  std::atomic<bool> pinned{false};
  std::atomic<bool> stop_at_tick{false};
  std::atomic<bool> stopped{false};

 private:
  struct Held {
    std::uint64_t uid;
    std::uint64_t sequence;
    std::string message;
  };
  std::mutex mutex_;
  std::list<Held> held_;  // Guarded by mutex_.
};

// Whether this process has a mapping of the open file.
bool IsMapped(int fd) {
  struct stat about {};
  EXPECT_EQ(::fstat(fd, &about), 0);
  const std::string inode = " " + std::to_string(about.st_ino) + " ";
  return ReadFile("/proc/self/maps").find(inode) != std::string::npos;
}

const ClientChannel::RunHere kNotHere = [](std::string_view, std::uint64_t,
                                           std::uint64_t) {
  return std::string("here");
};

// A client of a process of its own, in the eyes of the others.
struct Client {
  std::unique_ptr<Seat> seat;
  std::unique_ptr<ClientChannel> channel;

  std::string Call(std::string_view message,
                   std::chrono::milliseconds timeout = 60s) const {
    const auto reply = channel->Call(message, After(timeout), kNotHere);
    return reply ? *reply : reply.error().ToString();
  }
};

class LanesTest : public ::testing::Test {
 protected:
  // Cleans up after members that were killed.
  ~LanesTest() override {
    test_point_hook = nullptr;
    Attach();
  }
  std::unique_ptr<Seat> Attach() const {
    auto seat = Seat::Attach({.directory = directory_.path(),
                              .region_directory = regions_.path(),
                              .id = {},
                              .attach_timeout = 60s});
    EXPECT_TRUE(seat.has_value()) << seat.error().ToString();
    return seat ? std::move(*seat) : nullptr;
  }
  Client Connect() const {
    Client client;
    client.seat = Attach();
    client.channel = ClientChannel::Open(*client.seat);
    return client;
  }
  void Serve() {
    seat_ = Attach();
    ASSERT_TRUE(seat_->TryTake().value());
    server_ = std::move(*SeatServer::Start(*seat_, handler_));
  }
  // So many that have called once, and are idle.
  std::vector<Client> Idle(std::size_t count) const {
    std::vector<Client> idle;
    for (std::size_t i = 0; i < count; ++i) {
      idle.push_back(Connect());
      const std::string message = "first" + std::to_string(i);
      EXPECT_EQ(idle.back().Call(message), message);
    }
    return idle;
  }
  std::size_t TakenPlaces() const {
    std::size_t count = 0;
    for (const ClientSlot& slot : seat_->main().slots) {
      if (slot.uid.load() != 0) ++count;
    }
    return count;
  }
  std::size_t Waiting() const {
    return seat_->main().lane_queue.Waiting().size();
  }
  std::size_t RegionCount() const {
    return static_cast<std::size_t>(std::distance(
        std::filesystem::directory_iterator(regions_.path()), {}));
  }
  // Calls of threads that are held, in all places.
  void HoldAllPlaces() {
    constexpr std::size_t kLanes = ClientChannel::kLaneCountMax;
    for (std::size_t i = 0; i < kSlotCountMax; ++i) {
      if (i % kLanes == 0) holders_.push_back(Connect());
      threads_.emplace_back([client = &holders_.back()] {
        EXPECT_EQ(client->Call("hold"), "hold");
      });
    }
    while (handler_.held() < kSlotCountMax) std::this_thread::yield();
  }
  void JoinHolders() {
    while (handler_.held() != 0) handler_.Release(*server_, kSlotCountMax);
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  const TemporaryDirectory directory_;
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
  HoldingHandler handler_;
  std::unique_ptr<Seat> seat_;
  std::unique_ptr<SeatServer> server_;
  std::list<Client> holders_;
  std::vector<std::thread> threads_;
};

TEST_F(LanesTest, IdleClientsLeaveTheirPlacesToOthers) {
  Serve();
  const std::vector<Client> clients = Idle(kHandles);
  for (const char* const round : {"second", "third"}) {
    for (std::size_t i = 0; i < clients.size(); ++i) {
      const std::string message = round + std::to_string(i);
      ASSERT_EQ(clients[i].Call(message), message);
    }
  }
  EXPECT_LE(TakenPlaces(), kSlotCountMax);
  // The regions of the others have gone.
  EXPECT_LE(RegionCount(), kSlotCountMax + 1);
  EXPECT_GE(handler_.gone, 2 * (static_cast<int>(kHandles - kSlotCountMax)));
}

// What a client still has of the region of a place that was taken is one page,
// and that goes when it looks.
TEST_F(LanesTest, APlaceThatWasTakenKeepsNoMemory) {
  Serve();
  const Client first = Connect();
  const std::string large(100'000, 'm');
  ASSERT_EQ(first.Call(large), large);
  int fd = -1;
  for (const auto& file :
       std::filesystem::directory_iterator(regions_.path())) {
    if (file.path().string().find("-client-") == std::string::npos) continue;
    fd = ::open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
  }
  const auto size = [fd] {
    struct stat about {};
    EXPECT_EQ(::fstat(fd, &about), 0);
    return about.st_blocks * 512;
  };
  EXPECT_GT(size(), 256 * 1024);
  HoldAllPlaces();
  EXPECT_EQ(size(), 4096);
  EXPECT_TRUE(IsMapped(fd));
  first.channel->DropTaken();
  EXPECT_FALSE(IsMapped(fd));
  ::close(fd);
  JoinHolders();
  EXPECT_EQ(first.Call(large), large);
}

TEST_F(LanesTest, WhoFindsAllPlacesBusyWaitsInOrder) {
  Serve();
  HoldAllPlaces();
  const Client hasty = Connect();
  const auto refused = hasty.channel->Call("echo", After(30ms), kNotHere);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), StatusCode::kTimedOut);
  EXPECT_NE(refused.error().message().find("not applied"), std::string::npos);
  std::vector<Client> late;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 5; ++i) late.push_back(Connect());
  for (std::size_t i = 0; i < late.size(); ++i) {
    threads.emplace_back([&, i] {
      const std::string message = "hold" + std::to_string(i);
      EXPECT_EQ(late[i].Call(message), message);
    });
    while (Waiting() < i + 1) std::this_thread::yield();
  }
  // One is served for each that ends. The others wait still.
  for (std::size_t i = 0; i < late.size(); ++i) {
    handler_.Release(*server_, 1);
    while (Waiting() > late.size() - i - 1) std::this_thread::yield();
    while (handler_.held() < kSlotCountMax) std::this_thread::yield();
    EXPECT_EQ(handler_.last_held(), "hold" + std::to_string(i));
  }
  JoinHolders();
  for (std::thread& thread : threads) thread.join();
}

TEST_F(LanesTest, MoreThreadsThanPlacesAllComeToTheirTurn) {
  Serve();
  std::list<Client> clients;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (std::size_t i = 0; i < kHandles; ++i) {
    if (i % 4 == 0) clients.push_back(Connect());
    threads.emplace_back([&, i, client = &clients.back()] {
      for (int n = 0; n < 100; ++n) {
        const std::string message =
            std::to_string(i * 1000) + std::to_string(n);
        if (client->Call(message) != message) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(Waiting(), 0U);
}

// What goes with a place that is not in use at the moment.
TEST_F(LanesTest, APlaceThatIsNeededBetweenCallsIsNotLent) {
  Serve();
  handler_.pinned = true;
  const std::vector<Client> clients = Idle(kSlotCountMax);
  const Client late = Connect();
  EXPECT_EQ(late.channel->Call("echo", After(100ms), kNotHere).error().code(),
            StatusCode::kTimedOut);
  handler_.pinned = false;
  EXPECT_EQ(late.Call("echo"), "echo");
  EXPECT_EQ(handler_.gone, 1);
}

// No more busy clients give their places back than others wait.
TEST_F(LanesTest, OneWaiterCostsOneBusyClientItsPlace) {
  Serve();
  HoldAllPlaces();
  std::this_thread::sleep_for(110ms);  // Each has had its turn.
  const Client late = Connect();
  std::thread caller([&] { EXPECT_EQ(late.Call("x"), "x"); });
  while (Waiting() == 0) std::this_thread::yield();
  // All are answered at once.
  handler_.stop_at_tick = true;
  while (!handler_.stopped) std::this_thread::yield();
  handler_.Release(*server_, kSlotCountMax);
  handler_.stop_at_tick = false;
  JoinHolders();
  caller.join();
  EXPECT_GE(handler_.gone, 1);
  EXPECT_LE(handler_.gone, 4);
}

TEST_F(LanesTest, AWaiterTakesALaneOfItsOwnProcess) {
  Serve();
  handler_.pinned = true;
  const Client client = Connect();
  std::thread first([&] { EXPECT_EQ(client.Call("hold"), "hold"); });
  while (handler_.held() == 0) std::this_thread::yield();
  const std::vector<Client> others = Idle(kSlotCountMax - 1);
  std::thread second([&] { EXPECT_EQ(client.Call("x"), "x"); });
  while (Waiting() == 0) std::this_thread::yield();
  handler_.Release(*server_, 1);
  first.join();
  second.join();
  EXPECT_EQ(handler_.gone, 0);
  EXPECT_EQ(Waiting(), 0U);
}

TEST_F(LanesTest, ALeaseKeepsTheLaneOfSeveralCalls) {
  Serve();
  const Client client = Connect();
  ClientChannel::Lease lease;
  for (int i = 0; i < 3; ++i) {
    const auto reply = client.channel->Call(
        "x", After(60s), kNotHere, ClientChannel::Effect::kChange, &lease);
    ASSERT_EQ(reply.value(), "x");
    // Of another lane.
    ASSERT_EQ(client.Call("y"), "y");
    EXPECT_EQ(TakenPlaces(), 2U);
  }
  // The place may be lent all the same; then the next call has another one.
  HoldAllPlaces();
  JoinHolders();
  EXPECT_EQ(client.channel
                ->Call("x", After(60s), kNotHere,
                       ClientChannel::Effect::kChange, &lease)
                .value(),
            "x");
}

// What was opened for a request of which its client knows nothing.
TEST_F(LanesTest, TheHandlerIsToldOfAnswersThatNobodyWaitsFor) {
  Serve();
  const Client client = Connect();
  EXPECT_EQ(client.Call("echo"), "echo");
  EXPECT_EQ(handler_.unwanted, 0);
  EXPECT_FALSE(client.channel->Call("hold", After(50ms), kNotHere).has_value());
  handler_.Release(*server_, 1);
  while (handler_.unwanted == 0) std::this_thread::yield();
  EXPECT_EQ(client.Call("echo"), "echo");
  EXPECT_EQ(handler_.unwanted, 1);
}

TEST(LaneQueueTest, TheDeadAndTheLateAreDropped) {
  const auto queue = std::make_unique<LaneQueue>();
  const std::uint64_t late = Marked(4, LaneMark::kReady);
  const std::uint64_t dead = Marked(8, LaneMark::kReady);
  const std::uint64_t alive = Marked(12, LaneMark::kReady);
  const SteadyTime now = std::chrono::steady_clock::now();
  ASSERT_NE(queue->Enter(late, now - 1ms), nullptr);
  ASSERT_NE(queue->Enter(dead, now + 60s), nullptr);
  ASSERT_NE(queue->Enter(alive, now + 60s), nullptr);
  queue->DropDead(now, [dead](std::uint64_t uid) { return uid != dead; });
  const auto waiting = queue->Waiting();
  ASSERT_EQ(waiting.size(), 1U);
  EXPECT_EQ(waiting[0].uid, alive);
  queue->Drop(waiting[0]);
  queue->Settle();
  EXPECT_FALSE(queue->wanted());
  queue->Want();
  EXPECT_TRUE(queue->wanted());
}

TEST_F(LanesTest, ClosingEndsTheWaitForAPlace) {
  Serve();
  HoldAllPlaces();
  const Client client = Connect();
  std::thread caller([&] {
    const auto reply = client.channel->Call("echo", After(60s), kNotHere);
    EXPECT_EQ(reply.error().code(), StatusCode::kClosed);
  });
  while (Waiting() == 0) std::this_thread::yield();
  client.channel->Close();
  caller.join();
  EXPECT_EQ(Waiting(), 0U);
  JoinHolders();
}

// A process that calls once for each time it is resumed.
class Stopping {
 public:
  Stopping(const std::function<Client()>& connect, int calls)
      : process_([connect, calls](const ForkedProcess::Pipe& pipe) {
          const Client client = connect();
          for (int i = 0; i < calls; ++i) {
            const std::string message =
                "stopping" + std::to_string(::getpid()) + std::to_string(i);
            if (client.Call(message) != message) return 1;
            pipe.Send(1);
            ::raise(SIGSTOP);
          }
          return 0;
        }) {}
  // It has called, and stands still.
  [[nodiscard]] bool HasStopped() const {
    int status = 0;
    return process_.Receive() == 1U &&
           ::waitpid(process_.pid(), &status, WUNTRACED) == process_.pid() &&
           WIFSTOPPED(status);
  }
  void Resume() const { process_.Kill(SIGCONT); }
  int Wait() { return process_.Wait(); }

 private:
  ForkedProcess process_;
};

TEST_F(LanesTest, AStoppedClientLosesItsPlaceAndFindsAnotherOne) {
  std::list<Stopping> stopped;
  constexpr int kCalls = 4;
  // Before there are threads here.
  for (int i = 0; i < 8; ++i) {
    stopped.emplace_back([this] { return Connect(); }, kCalls);
  }
  Serve();
  for (int call = 0; call < kCalls; ++call) {
    for (const Stopping& client : stopped) ASSERT_TRUE(client.HasStopped());
    const int before = handler_.gone;
    const std::vector<Client> others = Idle(kSlotCountMax);
    EXPECT_GE(handler_.gone, before + static_cast<int>(stopped.size()));
    for (const Stopping& client : stopped) client.Resume();
  }
  for (Stopping& client : stopped) EXPECT_EQ(client.Wait(), 0);
}

std::atomic<pid_t> victim{0};
std::atomic<const char*> deadly_point{nullptr};

void KillVictimAtPoint(const char* name) {
  if (std::strcmp(name, deadly_point.load()) != 0) return;
  const pid_t pid = victim.exchange(0);
  if (pid > 0) ::kill(pid, SIGKILL);
}

void DieAtPoint(const char* name) {
  if (std::strcmp(name, deadly_point.load()) == 0) {
    ::kill(::getpid(), SIGKILL);
  }
}

TEST_F(LanesTest, AnIdleClientMayBeKilledWhileItsPlaceIsTaken) {
  for (const char* const point : {"server.place_taken", "server.place_lent"}) {
    ForkedProcess idle([this](const ForkedProcess::Pipe& pipe) {
      const Client client = Connect();
      client.Call("echo");
      pipe.Send(1);
      ::pause();
      return 0;
    });
    deadly_point = point;
    victim = idle.pid();
    Serve();
    ASSERT_EQ(idle.Receive(), 1U);
    test_point_hook = &KillVictimAtPoint;
    const std::vector<Client> others = Idle(kHandles);
    EXPECT_EQ(victim, 0);
    test_point_hook = nullptr;
    EXPECT_EQ(idle.Wait(), -SIGKILL);
    for (const Client& client : others) ASSERT_EQ(client.Call("x"), "x");
    server_.reset();
    seat_.reset();
  }
}

void StopAtPoint(const char* name) {
  if (std::strcmp(name, deadly_point.load()) == 0) ::raise(SIGSTOP);
}

class LanesPointTest : public LanesTest,
                       public ::testing::WithParamInterface<const char*> {
 protected:
  static constexpr int kVictims = 20;
  // All places are those of idle clients; processes call that have the hook.
  void CallWithHook(TestPointHook hook) {
    deadly_point = GetParam();
    int go[2];
    ASSERT_EQ(::pipe(go), 0);
    // Before there are threads here.
    for (int i = 0; i < kVictims; ++i) {
      victims_.emplace_back([&](const ForkedProcess::Pipe&) {
        char byte = 0;
        ::close(go[1]);
        static_cast<void>(::read(go[0], &byte, 1));  // Until it is closed.
        const Client client = Connect();
        test_point_hook = hook;
        const std::string message = std::to_string(::getpid());
        return client.Call(message) == message ? 0 : 1;
      });
    }
    Serve();
    idle_ = Idle(kSlotCountMax);
    ::close(go[1]);
    ::close(go[0]);
  }

  std::list<ForkedProcess> victims_;
  std::vector<Client> idle_;
};

// Those that wait for a place, or have just got one, are stopped.
TEST_P(LanesPointTest, AStoppedClientHoldsUpNobody) {
  CallWithHook(&StopAtPoint);
  for (const ForkedProcess& process : victims_) {
    int status = 0;
    ASSERT_EQ(::waitpid(process.pid(), &status, WUNTRACED), process.pid());
    ASSERT_TRUE(WIFSTOPPED(status)) << status;
  }
  for (const Client& client : idle_) ASSERT_EQ(client.Call("x"), "x");
  for (const ForkedProcess& process : victims_) process.Kill(SIGCONT);
  for (ForkedProcess& process : victims_) EXPECT_EQ(process.Wait(), 0);
}

// They are killed: neither the place nor the others' turn is lost.
TEST_P(LanesPointTest, AKilledClientHoldsUpNobody) {
  CallWithHook(&DieAtPoint);
  for (const Client& client : idle_) ASSERT_EQ(client.Call("x"), "x");
  int killed = 0;
  for (ForkedProcess& process : victims_) {
    const int code = process.Wait();
    // A dead one's place may be free for the next one, who need not wait.
    ASSERT_TRUE(code == -SIGKILL || code == 0) << code;
    if (code != 0) ++killed;
  }
  EXPECT_GT(killed, 0);
  const Client late = Connect();
  EXPECT_EQ(late.Call("echo"), "echo");
  // All places can be had, and what the dead had is no more.
  HoldAllPlaces();
  EXPECT_LE(RegionCount(), kSlotCountMax + 1);
  EXPECT_EQ(Waiting(), 0U);
  JoinHolders();
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, LanesPointTest,
                         ::testing::Values("lane.waiting", "lane.slot_claimed",
                                           "lane.region_created",
                                           "lane.published", "call.begun"),
                         [](const auto& point) {
                           std::string name = point.param;
                           std::erase_if(name, [](char c) {
                             return c == '.' || c == '_';
                           });
                           return name;
                         });

}  // namespace
}  // namespace larder::testing
