// Processes that share a cache with the real store: forks, kills on the way to
// the seat and from it, mounts of other containers, signals, exec.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "base/test_point.h"
#include "forked_process.h"
#include "seat/seat.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

using namespace std::chrono_literals;

std::string Set(Engine& engine, std::string_view key, std::string_view value) {
  SetCommand set;
  set.key = key;
  set.value = value;
  const Command command = set;
  Reply reply;
  const Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
  return status.ok() ? reply.status.ToString() : status.ToString();
}

std::string Get(Engine& engine, std::string_view key) {
  const Command command = GetCommand{.key = key};
  Reply reply;
  const Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
  if (!status.ok() || !reply.status.ok()) {
    return (status.ok() ? reply.status : status).ToString();
  }
  return reply.applied ? reply.value.ToString() : "(miss)";
}

std::int64_t Incr(Engine& engine, std::string_view key) {
  IncrCommand incr;
  incr.key = key;
  const Command command = incr;
  Reply reply;
  const Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
  return status.ok() && reply.status.ok() ? reply.integer : -1;
}

class OpenEngineProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
  }
  std::filesystem::path cache() const { return directory_.path() / "cache"; }
  EngineOptions Options() const {
    EngineOptions options;
    options.region_directory = regions_.path();
    options.hot_tier_bytes = 4U << 20;
    return options;
  }
  Result<std::unique_ptr<Engine>> TryOpen() {
    return OpenEngine(cache(), Options());
  }
  std::unique_ptr<Engine> Open() {
    auto engine = TryOpen();
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }
  static void ExpectSound(Engine& engine) {
    const auto report = engine.Check(false);
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_TRUE(report->ok());
    EXPECT_EQ(report->count_ledger, report->count_recount);
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
};

// The next holder has published its log by then, to which clients write.
TEST_F(OpenEngineProcessTest, WhatAClosedCacheLeavesIsTheNextHolders) {
  auto first = Open();
  const auto second = Open();
  ASSERT_TRUE(first->Close().ok());
  while (!second->capabilities().holds_store) ::sched_yield();
  const auto seat = Seat::Attach(
      {.directory = cache(), .region_directory = regions_.path(), .id = {}});
  ASSERT_TRUE(seat.has_value());
  const std::uint64_t published = (*seat)->main().log_generation;
  EXPECT_NE(published, 0U);
  first.reset();
  EXPECT_EQ((*seat)->main().log_generation, published);
}

// Random bytes in all that clients can write to: the holder takes nothing of it
// for granted, and what is on the disk stays whole.
TEST_F(OpenEngineProcessTest, ScribbledRegionsEndNoHolder) {
  const auto use = [this](const ForkedProcess::Pipe& pipe) {
    EngineOptions options = Options();
    options.timeout = 100ms;
    const auto engine = OpenEngine(cache(), options);
    if (!engine) return 1;
    for (std::uint64_t n = 0;; ++n) {
      const std::string key = "k" + std::to_string(n % 500);
      Set(**engine, key, std::string(n % 50 == 0 ? 40'000 : 100, 'v'));
      Get(**engine, key);
      if (n % 50 == 0) pipe.Send(n + 1);
    }
  };
  ForkedProcess holder(use);
  ASSERT_EQ(holder.Receive(), 1U);
  ForkedProcess client(use);
  ASSERT_EQ(client.Receive(), 1U);
  std::minstd_rand random(11);
  const auto until = std::chrono::steady_clock::now() + 1s;
  while (std::chrono::steady_clock::now() < until) {
    for (const auto& file :
         std::filesystem::directory_iterator(regions_.path())) {
      const std::string name = file.path().filename();
      if (name.find("-hot-") != std::string::npos) continue;  // The holder's.
      std::error_code gone;
      const std::uint64_t size = file.file_size(gone);
      if (gone || size == 0) continue;  // Being made, or let go.
      const int fd = ::open(file.path().c_str(), O_WRONLY | O_CLOEXEC);
      if (fd < 0) continue;
      const std::uint64_t bytes = random() * std::uint64_t{random()};
      ::pwrite(fd, &bytes, sizeof(bytes), static_cast<off_t>(random() % size));
      ::close(fd);
    }
  }
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(holder.Receive().has_value());
  for (ForkedProcess* process : {&holder, &client}) {
    process->Kill(SIGKILL);
    EXPECT_EQ(process->Wait(), -SIGKILL);
  }
  ExpectSound(*Open());
}

// A prefork server: the parent opens, then forks 200 workers, which use what
// they inherited. Each is a client of its own; the parent keeps the store.
TEST_F(OpenEngineProcessTest, AForkStormOfAHolderWorks) {
  const auto engine = Open();
  ASSERT_EQ(Set(*engine, "k", "v"), "kOk");
  constexpr int kForks = 200;
  constexpr int kAtOnce = 8;
  for (int first = 0; first < kForks; first += kAtOnce) {
    std::vector<std::unique_ptr<ForkedProcess>> children;
    for (int c = first; c < first + kAtOnce; ++c) {
      children.push_back(std::make_unique<ForkedProcess>(
          [&engine, c](const ForkedProcess::Pipe&) {
            if (Get(*engine, "k") != "v") return 1;
            if (Set(*engine, "own" + std::to_string(c), "x") != "kOk") return 2;
            if (Incr(*engine, "n") <= 0) return 3;
            return engine->capabilities().holds_store ? 4 : 0;
          }));
    }
    for (const auto& child : children) ASSERT_EQ(child->Wait(), 0);
  }
  EXPECT_TRUE(engine->capabilities().holds_store);
  EXPECT_EQ(Incr(*engine, "n"), kForks + 1);
  EXPECT_EQ(engine->Count().value(), kForks + 2U);
  ExpectSound(*engine);
}

TEST_F(OpenEngineProcessTest, AForkedWorkerTakesOverWhenItsParentIsKilled) {
  ForkedProcess parent([this](const ForkedProcess::Pipe& pipe) -> int {
    const auto engine = Open();
    if (Incr(*engine, "n") != 1) return 1;
    const pid_t worker = ::fork();
    if (worker != 0) {
      for (;;) ::pause();
    }
    if (Incr(*engine, "n") != 2) ::_exit(1);
    pipe.Send(static_cast<std::uint64_t>(::getpid()));
    while (!engine->capabilities().holds_store) ::usleep(1000);
    pipe.Send(static_cast<std::uint64_t>(Incr(*engine, "n")));
    pipe.Send(engine->Close().ok() ? 1 : 0);
    ::_exit(0);
  });
  ASSERT_TRUE(parent.Receive().has_value());
  parent.Kill(SIGKILL);
  EXPECT_EQ(parent.Receive(), 3U);
  EXPECT_EQ(parent.Receive(), 1U);
  const auto engine = Open();
  EXPECT_EQ(Incr(*engine, "n"), 4);
  ExpectSound(*engine);
}

TEST_F(OpenEngineProcessTest, AnExecutedProgramInheritsNothing) {
  const auto engine = Open();
  ASSERT_EQ(Set(*engine, "k", std::string(100'000, 'v')), "kOk");
  const std::string listing = directory_.path() / "descriptors";
  const std::string command = "ls -l /proc/self/fd > '" + listing + "'";
  ASSERT_EQ(std::system(command.c_str()), 0);
  std::ifstream file(listing);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str().find(cache().string() + "/"), std::string::npos)
      << text.str();
  EXPECT_EQ(text.str().find(regions_.path().string() + "/"), std::string::npos)
      << text.str();
}

TEST_F(OpenEngineProcessTest, WhatTheHolderRecordsIsToldToItsClients) {
  EngineOptions options;
  options.record.file = (directory_.path() / "holder.csv").string();
  const auto holder = OpenEngine(cache(), options);
  ASSERT_TRUE(holder) << holder.error().ToString();
  ASSERT_EQ(Set(**holder, "a", "1"), "kOk");
  ASSERT_EQ(Set(**holder, "b", "1"), "kOk");
  options.record.file.clear();
  const auto client = OpenEngine(cache(), options);
  ASSERT_TRUE(client) << client.error().ToString();
  EXPECT_FALSE((*client)->capabilities().holds_store);
  const auto told = (*client)->Stats();
  ASSERT_TRUE(told) << told.error().ToString();
  EXPECT_EQ(told->rows_recorded, 2U);

  // Who records as well has its own rows, too; each is counted once.
  options.record.file = (directory_.path() / "other.csv").string();
  const auto other = OpenEngine(cache(), options);
  ASSERT_TRUE(other) << other.error().ToString();
  ASSERT_EQ(Set(**other, "c", "1"), "kOk");
  const auto both = (*other)->Stats();
  ASSERT_TRUE(both) << both.error().ToString();
  EXPECT_EQ(both->rows_recorded, 3U);
  const auto own = (*holder)->Stats();
  ASSERT_TRUE(own) << own.error().ToString();
  EXPECT_EQ(own->rows_recorded, 2U);
}

// Handlers without SA_RESTART interrupt every sleep, once a millisecond.
TEST_F(OpenEngineProcessTest, SignalsInterruptNothing) {
  const auto holder = std::make_unique<ForkedProcess>(
      [this](const ForkedProcess::Pipe& pipe) -> int {
        const auto engine = Open();
        pipe.Send(1);
        for (;;) ::pause();
      });
  ASSERT_EQ(holder->Receive(), 1U);
  ForkedProcess client([this](const ForkedProcess::Pipe&) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr);
    const itimerval often{.it_interval = {.tv_sec = 0, .tv_usec = 1000},
                          .it_value = {.tv_sec = 0, .tv_usec = 1000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    for (int round = 0; round < 5; ++round) {
      const auto engine = Open();
      if (engine == nullptr) return 1;
      for (int i = 0; i < 300; ++i) {
        if (Set(*engine, "k" + std::to_string(i), "v") != "kOk") return 2;
        if (Incr(*engine, "n") != round * 300 + i + 1) return 3;
      }
      if (!engine->Close().ok()) return 4;
    }
    return 0;
  });
  EXPECT_EQ(client.Wait(), 0);
}

// The name of the point where the child kills itself.
const char* deadly_point = nullptr;

void DieAtPoint(const char* name) {
  if (std::strcmp(name, deadly_point) == 0) ::kill(::getpid(), SIGKILL);
}

class MemberPointTest : public OpenEngineProcessTest,
                        public ::testing::WithParamInterface<const char*> {};

// Opens, writes and closes, and is killed on the way; 20 times. Then another
// process, which waits for the seat every other time, finds what was
// acknowledged and nothing else.
TEST_P(MemberPointTest, AKillThereLosesNothing) {
  deadly_point = GetParam();
  std::int64_t count = 0;
  int killed = 0;
  for (int round = 0; round < 20; ++round) {
    std::unique_ptr<ForkedProcess> heir;
    ForkedProcess victim([this](const ForkedProcess::Pipe& pipe) {
      test_point_hook = &DieAtPoint;
      const auto engine = TryOpen();
      if (!engine) return 1;
      pipe.Send(static_cast<std::uint64_t>(Incr(**engine, "n")));
      return (*engine)->Close().ok() ? 0 : 2;
    });
    if (round % 2 == 0) {
      heir = std::make_unique<ForkedProcess>(
          [this](const ForkedProcess::Pipe& pipe) {
            const auto engine = TryOpen();
            if (!engine) return 1;
            while (!(*engine)->capabilities().holds_store) ::usleep(500);
            pipe.Send(1);
            return (*engine)->Close().ok() ? 0 : 2;
          });
    }
    const auto acknowledged = victim.Receive();
    if (acknowledged) {
      ASSERT_EQ(*acknowledged, static_cast<std::uint64_t>(count) + 1);
      ++count;
    }
    const int code = victim.Wait();
    ASSERT_TRUE(code == -SIGKILL || code == 0) << code;
    if (code != 0) ++killed;
    if (heir != nullptr) {
      ASSERT_EQ(heir->Receive(), 1U) << round;
      ASSERT_EQ(heir->Wait(), 0);
    }
    const auto engine = Open();
    ASSERT_NE(engine, nullptr);
    const std::int64_t found = Incr(*engine, "n");
    // A count whose answer was never heard may have been made.
    const bool in_doubt = !acknowledged && code != 0;
    ASSERT_TRUE(found == count + 1 || (in_doubt && found == count + 2))
        << round << ": " << found << " after " << count;
    count = found;
    ASSERT_TRUE(engine->Close().ok());
  }
  EXPECT_GE(killed, 10);  // Else it was a client, with the heir as holder.
  ExpectSound(*Open());
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, MemberPointTest,
                         ::testing::Values("member.seated", "member.opened",
                                           "member.serving", "member.stopped",
                                           "member.closed",
                                           "release.announced"),
                         [](const auto& point) {
                           std::string name = point.param;
                           std::replace(name.begin(), name.end(), '.', '0');
                           return name;
                         });

// Another container --------------------------------------------------------

class ContainerTest : public OpenEngineProcessTest {
 protected:
  // This process gets mounts of its own; it is a child of the test.
  static bool Unshare() {
    return ::unshare(CLONE_NEWNS) == 0 &&
           ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }
  static bool MountTmpfs(const std::filesystem::path& at, const char* options) {
    return ::mount("larder-test", at.c_str(), "tmpfs", MS_NOSUID | MS_NODEV,
                   options) == 0;
  }
  // Takes all the room there is.
  static void FillUp(const std::filesystem::path& directory) {
    const std::string ballast = directory / "ballast";
    const int fd =
        ::open(ballast.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    for (off_t at = 0; ::posix_fallocate(fd, at, 4096) == 0;) at += 4096;
    ::close(fd);
  }
  /// Opens the cache, says what "n" is then, and stays.
  int UseAndStay(const ForkedProcess::Pipe& pipe) {
    const auto engine = TryOpen();
    pipe.Send(engine ? static_cast<std::uint64_t>(Incr(**engine, "n")) : 0);
    for (;;) ::pause();
    return 0;
  }
  [[nodiscard]] std::size_t RegionsInCache() const {
    std::error_code none;
    return static_cast<std::size_t>(std::distance(
        std::filesystem::directory_iterator(cache() / "regions", none), {}));
  }
  static constexpr int kSkipped = 77;
};

TEST_F(ContainerTest, WhoCannotSeeTheSharedMemoryIsToldWhoHasIt) {
  const auto engine = Open();
  ASSERT_EQ(Set(*engine, "k", "v"), "kOk");
  const pid_t holder = ::getpid();
  ForkedProcess other([this, holder](const ForkedProcess::Pipe&) {
    if (!Unshare() || !MountTmpfs(regions_.path(), "size=8m,mode=0700")) {
      return kSkipped;
    }
    EngineOptions options = Options();
    options.attach_timeout = 300ms;
    const auto opened = OpenEngine(cache(), options);
    if (opened) return 1;
    const std::string message = opened.error().ToString();
    std::fprintf(stderr, "%s\n", message.c_str());
    if (opened.error().code() != StatusCode::kSeatUnavailable) return 2;
    if (message.find(std::to_string(holder)) == std::string::npos) return 3;
    if (message.find(regions_.path().string()) == std::string::npos) return 4;
    return 0;
  });
  const int code = other.Wait();
  if (code == kSkipped) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(code, 0);
  EXPECT_EQ(Get(*engine, "k"), "v");  // Nobody was disturbed.
}

// Its files could not be told from those of another one in its place.
TEST_F(ContainerTest, WithoutProcACacheIsRefused) {
  ForkedProcess other([this](const ForkedProcess::Pipe&) {
    if (!Unshare() || !MountTmpfs("/proc", "size=64k")) return kSkipped;
    const auto opened = TryOpen();
    if (opened) return 1;
    const Status& error = opened.error();
    if (error.code() != StatusCode::kUnsupportedFileSystem) return 2;
    if (error.message().find("/proc") == std::string::npos) return 3;
    return std::filesystem::exists(cache()) ? 4 : 0;
  });
  const int code = other.Wait();
  if (code == kSkipped) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(code, 0);
}

// Each has a /dev/shm of its own, and both a directory on the volume.
TEST_F(ContainerTest, ARegionDirectoryThatBothSeeIsEnough) {
  const auto engine = Open();
  ASSERT_EQ(Set(*engine, "k", "v"), "kOk");
  ForkedProcess other([this](const ForkedProcess::Pipe&) {
    // Its default is not where the regions are; seat.ctl says where.
    EngineOptions options = Options();
    options.region_directory = "/nonexistent";
    const auto opened = OpenEngine(cache(), options);
    if (!opened) return 1;
    if (Get(**opened, "k") != "v") return 2;
    if (Incr(**opened, "n") != 1) return 3;
    return (*opened)->capabilities().holds_store ? 4 : 0;
  });
  EXPECT_EQ(other.Wait(), 0);
  EXPECT_EQ(Incr(*engine, "n"), 2);
}

// 64 KiB of shared memory: not even the main region and one client's fit.
TEST_F(ContainerTest, WithAFullRegionDirectoryEverythingWorks) {
  ForkedProcess all([this](const ForkedProcess::Pipe&) {
    if (!Unshare() || !MountTmpfs(regions_.path(), "size=64k,mode=0700")) {
      return kSkipped;
    }
    const std::string ballast = regions_.path() / "ballast";
    const int fd =
        ::open(ballast.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (::posix_fallocate(fd, 0, 60 * 1024) != 0) return 1;
    ::close(fd);
    const auto engine = TryOpen();
    if (!engine) return 2;
    ForkedProcess client([&engine](const ForkedProcess::Pipe&) {
      for (int i = 1; i <= 100; ++i) {
        if (Incr(**engine, "n") != i) return 1;
        if (Get(**engine, "absent") != "(miss)") return 2;
      }
      return 0;
    });
    if (client.Wait() != 0) return 3;
    return Incr(**engine, "n") == 101 ? 0 : 4;
  });
  const int code = all.Wait();
  if (code == kSkipped) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(code, 0);
}

// The holder is there, and then there is no room for a client's region: not for
// those that come, nor for who serves after it.
TEST_F(ContainerTest, ARegionDirectoryThatFillsUpLaterKeepsNoClientOut) {
  ForkedProcess all([this](const ForkedProcess::Pipe&) {
    if (!Unshare() || !MountTmpfs(regions_.path(), "size=8m,mode=0700")) {
      return kSkipped;
    }
    const auto use = [this](const ForkedProcess::Pipe& pipe) {
      return UseAndStay(pipe);
    };
    ForkedProcess holder(use);
    if (holder.Receive() != 1U) return 1;
    FillUp(regions_.path());
    const auto engine = TryOpen();
    if (!engine) return 2;
    for (int i = 2; i <= 100; ++i) {
      if (Incr(**engine, "n") != i) return 3;
      if (Get(**engine, "absent") != "(miss)") return 4;
    }
    if (RegionsInCache() != 1) return 5;
    holder.Kill(SIGKILL);
    if (Incr(**engine, "n") != 101) return 6;
    ForkedProcess client(use);
    if (client.Receive() != 102U || RegionsInCache() != 1) return 7;
    // Who serves sees within seconds that a client has died.
    client.Kill(SIGKILL);
    for (int i = 0; RegionsInCache() != 0; ++i) {
      if (i == 2000) return 8;
      ::usleep(10'000);
    }
    return Incr(**engine, "n") == 103 ? 0 : 9;
  });
  const int code = all.Wait();
  if (code == kSkipped) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(code, 0);
}

// All die, and the next one to open the cache clears up.
TEST_F(ContainerTest, RegionsInTheCacheDoNotOutliveAnEpoch) {
  ForkedProcess all([this](const ForkedProcess::Pipe&) {
    if (!Unshare() || !MountTmpfs(regions_.path(), "size=8m,mode=0700")) {
      return kSkipped;
    }
    const auto use = [this](const ForkedProcess::Pipe& pipe) {
      return UseAndStay(pipe);
    };
    ForkedProcess holder(use);
    if (holder.Receive() != 1U) return 1;
    FillUp(regions_.path());
    ForkedProcess client(use);
    if (client.Receive() != 2U || RegionsInCache() != 1) return 2;
    // The client first, or it would become the holder.
    client.Kill(SIGKILL);
    holder.Kill(SIGKILL);
    if (client.Wait() != -SIGKILL || holder.Wait() != -SIGKILL) return 3;
    if (RegionsInCache() != 1) return 4;
    const auto engine = TryOpen();
    return engine && RegionsInCache() == 0 ? 0 : 5;
  });
  const int code = all.Wait();
  if (code == kSkipped) GTEST_SKIP() << "needs the right to mount";
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace larder::testing
