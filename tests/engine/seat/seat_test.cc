#include "seat/seat.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/test_point.h"
#include "directory/directory_create.h"
#include "forked_process.h"
#include "seat/orphan_regions.h"
#include "temporary_directory.h"

namespace larder {
namespace {

using testing::ForkedProcess;
using testing::TemporaryDirectory;
using namespace std::chrono_literals;

class SeatTest : public ::testing::Test {
 protected:
  // Of a directory that is no cache the last one takes everything away.
  void SetUp() override {
    std::ofstream(directory_.path() / kStampName) << "s";
  }
  // Cleans up after members that were killed.
  ~SeatTest() override { Attach(); }
  SeatOptions Options() const {
    return {.directory = directory_.path(),
            .region_directory = regions_.path(),
            .id = {},
            .attach_timeout = 20s};
  }
  std::unique_ptr<Seat> Attach() const {
    auto seat = Seat::Attach(Options());
    EXPECT_TRUE(seat.has_value()) << seat.error().ToString();
    return seat ? std::move(*seat) : nullptr;
  }
  SeatControl Control() const {
    return ReadSeatControl(directory_.path() / "seat.ctl").value().value();
  }
  std::size_t RegionCount() const {
    return static_cast<std::size_t>(std::distance(
        std::filesystem::directory_iterator(regions_.path()), {}));
  }
  // Of the semaphore under the seat's named mutex; -1 = there is none.
  int MutexCount() const {
    const SeatControl control = Control();
    const std::string name = "/larder-" + control.id.ToString() + "-" +
                             std::to_string(control.epoch) + "-seat";
    sem_t* semaphore = ::sem_open(name.c_str(), 0);
    if (semaphore == SEM_FAILED) return -1;
    int value = -1;
    ::sem_getvalue(semaphore, &value);
    ::sem_close(semaphore);
    return value;
  }

  TemporaryDirectory directory_;
  TemporaryDirectory regions_;
};

TEST_F(SeatTest, TheFirstFoundsTheRegionAndTheSecondJoins) {
  const auto first = Attach();
  const auto second = Attach();
  EXPECT_EQ(first->id(), second->id());
  EXPECT_EQ(first->epoch(), second->epoch());
  first->main().totals[3].store(42);
  EXPECT_EQ(second->main().totals[3].load(), 42U);
  EXPECT_EQ(RegionCount(), 1U);
}

TEST_F(SeatTest, TheLastToLeaveRemovesTheRegions) {
  auto first = Attach();
  auto second = Attach();
  ASSERT_NE(MutexCount(), -1);
  first.reset();
  EXPECT_EQ(RegionCount(), 1U);
  second.reset();
  EXPECT_EQ(RegionCount(), 0U);
  EXPECT_EQ(MutexCount(), -1);
}

TEST_F(SeatTest, ANewEpochFollowsAnOldOneOfTheSameCache) {
  const CacheId id = Attach()->id();
  const auto again = Attach();
  EXPECT_EQ(again->id(), id);
  EXPECT_EQ(again->epoch(), 2U);
}

TEST_F(SeatTest, OnlyOneHoldsTheSeat) {
  const auto first = Attach();
  const auto second = Attach();
  EXPECT_TRUE(first->TryTake().value());
  EXPECT_FALSE(second->TryTake().value());
  EXPECT_EQ(MutexCount(), 0);
  ASSERT_TRUE(first->Release().ok());
  EXPECT_EQ(MutexCount(), 1);
  EXPECT_TRUE(second->TryTake().value());
}

// The kernel's locks alone decide then: one after another has the seat.
TEST_F(SeatTest, AScribbledMutexEndsNobody) {
  auto first = Attach();
  const auto second = Attach();
  ASSERT_TRUE(first->TryTake().value());
  const SeatControl control = Control();
  const std::string file =
      "/dev/shm/sem." + EpochMutexName(control.id, control.epoch, "seat");
  std::ofstream(file, std::ios::binary) << std::string(32, '\xff');
  EXPECT_FALSE(second->TryTake().value());
  ASSERT_TRUE(first->Release().ok());
  EXPECT_TRUE(second->TryTake().value());
  EXPECT_FALSE(first->TryTake().value());
  ASSERT_TRUE(second->Release().ok());
}

TEST_F(SeatTest, TheGenerationTellsHoldersApart) {
  const auto first = Attach();
  const auto second = Attach();
  const Generation& generation = first->main().generation;
  EXPECT_FALSE(Generation::IsServing(generation.Load()));
  ASSERT_TRUE(first->TryTake().value());
  EXPECT_FALSE(Generation::IsServing(generation.Load()));
  first->Serve();
  const std::uint32_t served = generation.Load();
  EXPECT_TRUE(Generation::IsServing(served));
  ASSERT_TRUE(first->Release().ok());
  EXPECT_FALSE(Generation::IsServing(generation.Load()));
  ASSERT_TRUE(second->TryTake().value());
  second->Serve();
  EXPECT_TRUE(Generation::IsServing(generation.Load()));
  EXPECT_NE(generation.Load(), served);
}

TEST_F(SeatTest, TheMonitorGetsTheSeatAtACleanHandoff) {
  const auto holder = Attach();
  const auto heir = Attach();
  ASSERT_TRUE(holder->TryTake().value());
  std::atomic<bool> won{false};
  ASSERT_TRUE(heir->StartMonitor([&won] {
                    won = true;
                    return true;
                  })
                  .ok());
  EXPECT_FALSE(heir->held());
  ASSERT_TRUE(holder->Release().ok());
  while (!won) std::this_thread::yield();
  EXPECT_TRUE(heir->held());
  heir->StopMonitor();
  EXPECT_TRUE(heir->held());
}

TEST_F(SeatTest, WhoMayNotTakeItChangesNothing) {
  const auto seat = Attach();
  const std::uint32_t generation = seat->main().generation.Load();
  std::atomic<bool> may_take{false};
  std::atomic<int> asked{0};
  std::atomic<bool> won{false};
  seat->SetMayTake([&] {
    ++asked;
    return may_take.load();
  });
  EXPECT_FALSE(seat->TryTake().value());
  EXPECT_EQ(asked, 1);
  ASSERT_TRUE(seat->StartMonitor([&won] {
                    won = true;
                    return true;
                  })
                  .ok());
  while (asked < 3) std::this_thread::yield();
  EXPECT_EQ(seat->main().generation.Load(), generation);
  EXPECT_EQ(seat->main().holder().pid, 0U);
  may_take = true;
  while (!won) std::this_thread::yield();
  EXPECT_NE(seat->main().generation.Load(), generation);
}

TEST_F(SeatTest, AMonitorStopsAlthoughTheSeatIsTaken) {
  const auto holder = Attach();
  ASSERT_TRUE(holder->TryTake().value());
  for (int i = 0; i < 50; ++i) {
    const auto heir = Attach();
    ASSERT_TRUE(heir->StartMonitor([] { return true; }).ok());
    heir->StopMonitor();
    EXPECT_FALSE(heir->held());
  }
  ASSERT_TRUE(holder->Release().ok());
  const auto next = Attach();
  EXPECT_TRUE(next->TryTake().value());
}

TEST_F(SeatTest, AHolderThatCannotServeGivesTheSeatToTheNext) {
  const auto holder = Attach();
  const auto broken = Attach();
  const auto heir = Attach();
  ASSERT_TRUE(holder->TryTake().value());
  std::atomic<int> refusals{0};
  std::atomic<bool> won{false};
  ASSERT_TRUE(broken
                  ->StartMonitor([&] {
                    ++refusals;
                    return false;
                  })
                  .ok());
  ASSERT_TRUE(holder->Release().ok());
  while (refusals == 0) std::this_thread::yield();
  ASSERT_TRUE(heir->StartMonitor([&] {
                    won = true;
                    return true;
                  })
                  .ok());
  while (!won) std::this_thread::yield();
  EXPECT_TRUE(heir->held());
  EXPECT_FALSE(broken->held());
}

TEST_F(SeatTest, AStoppedHolderIsNamedAndNotDeposed) {
  ForkedProcess holder([this](const ForkedProcess::Pipe& pipe) {
    const auto seat = Attach();
    pipe.Send(seat->TryTake().value() ? 1 : 0);
    seat->Serve();
    pipe.Send(2);
    ::pause();
    return 0;
  });
  ASSERT_EQ(holder.Receive(), 1U);
  ASSERT_EQ(holder.Receive(), 2U);
  const auto client = Attach();
  EXPECT_EQ(client->DescribeTimeout("not applied").code(),
            StatusCode::kTimedOut);
  holder.Kill(SIGSTOP);
  int status = 0;
  ASSERT_EQ(::waitpid(holder.pid(), &status, WUNTRACED), holder.pid());
  const Status described = client->DescribeTimeout("outcome unknown");
  EXPECT_EQ(described.code(), StatusCode::kHolderNotResponding);
  EXPECT_NE(described.message().find(std::to_string(holder.pid())),
            std::string::npos);
  EXPECT_NE(described.message().find("stopped"), std::string::npos);
  EXPECT_NE(described.message().find("outcome unknown"), std::string::npos);
  EXPECT_FALSE(client->TryTake().value());
}

TEST_F(SeatTest, AChildOfTheHolderDoesNotKeepTheSeat) {
  ForkedProcess holder([this](const ForkedProcess::Pipe& pipe) {
    const auto seat = Attach();
    if (!seat->TryTake().value()) return 1;
    const pid_t child = ::fork();
    if (child == 0) {
      const bool closed =
          seat->TryTake().error().code() == StatusCode::kClosed &&
          seat->Release().code() == StatusCode::kClosed;
      pipe.Send(closed ? 7 : 8);
      ::pause();
      ::_exit(0);
    }
    pipe.Send(static_cast<std::uint64_t>(child));
    ::pause();
    return 0;
  });
  const auto heir = Attach();
  std::uint64_t sum = 0;
  for (int i = 0; i < 2; ++i) sum += holder.Receive().value_or(0);
  const auto grandchild = static_cast<pid_t>(sum - 7);
  EXPECT_FALSE(heir->TryTake().value());
  holder.Kill(SIGKILL);
  holder.Wait();
  EXPECT_TRUE(heir->TryTake().value());
  EXPECT_EQ(::kill(grandchild, SIGKILL), 0);  // It lived all the time.
}

TEST_F(SeatTest, ADestructorInAChildLeavesTheParentAlone) {
  auto seat = Attach();
  ASSERT_TRUE(seat->TryTake().value());
  seat->Serve();
  const std::uint32_t generation = seat->main().generation.Load();
  ForkedProcess child([&seat](const ForkedProcess::Pipe&) {
    seat.reset();
    return 0;
  });
  EXPECT_EQ(child.Wait(), 0);
  EXPECT_TRUE(seat->held());
  EXPECT_EQ(seat->main().generation.Load(), generation);
  const auto other = Attach();
  EXPECT_FALSE(other->TryTake().value());
}

TEST_F(SeatTest, InvisibleRegionsOfALivingMemberAreAnError) {
  const auto member = Attach();
  std::filesystem::remove(member->Address(RegionKind::kMain, 0).Path());
  SeatOptions options = Options();
  options.attach_timeout = 50ms;
  const auto other = Seat::Attach(options);
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().code(), StatusCode::kSeatUnavailable);
}

TEST_F(SeatTest, AFullRegionDirectoryIsReplacedByOneInTheCache) {
  if (::geteuid() != 0 || ::mount("tmpfs", regions_.path().c_str(), "tmpfs",
                                  MS_NOSUID, "size=4k,mode=0700") != 0) {
    GTEST_SKIP() << "needs the right to mount a tmpfs";
  }
  const auto first = Attach();
  const auto second = Attach();
  ::umount2(regions_.path().c_str(), MNT_DETACH);
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(first->Address(RegionKind::kMain, 0).directory,
            directory_.path() / "regions");
  EXPECT_TRUE(first->TryTake().value());
  EXPECT_FALSE(second->TryTake().value());
}

TEST_F(SeatTest, ALockFileThatWentAwayMeanwhileIsOpenedAgain) {
  static std::filesystem::path lock_file;
  lock_file = directory_.path() / "seat.lock";
  test_point_hook = [](const char* name) {
    if (std::strcmp(name, "attach.founded") != 0) return;
    std::filesystem::remove(lock_file);
    test_point_hook = nullptr;
  };
  const auto first = Attach();
  ASSERT_TRUE(first->TryTake().value());
  EXPECT_FALSE(Attach()->TryTake().value());
}

TEST_F(SeatTest, RegionsThatNobodyHoldsAreRemovedByTheNextFounder) {
  ForkedProcess victim([this](const ForkedProcess::Pipe& pipe) {
    const auto seat = Attach();
    const auto hot =
        SharedRegion::Create(seat->Address(RegionKind::kHot, 7), 4096, 4096);
    pipe.Send(hot.has_value() ? 1 : 0);
    ::pause();
    return 0;
  });
  ASSERT_EQ(victim.Receive(), 1U);
  const TemporaryDirectory other;
  SeatOptions options = Options();
  options.directory = other.path();
  { ASSERT_TRUE(Seat::Attach(options).has_value()); }
  EXPECT_EQ(RegionCount(), 2U);  // It lives.
  victim.Kill(SIGKILL);
  victim.Wait();
  EXPECT_EQ(RegionCount(), 2U);
  ASSERT_NE(MutexCount(), -1);
  { ASSERT_TRUE(Seat::Attach(options).has_value()); }
  EXPECT_EQ(RegionCount(), 0U);
  EXPECT_EQ(MutexCount(), -1);
}

// Killed in the middle of the removal, or by somebody who cleaned up: what is
// left has no main region that says whether anybody lives.
TEST_F(SeatTest, RegionsWithoutAMainRegionAreRemovedUnlessSomebodyHasThem) {
  const TemporaryDirectory memory(TemporaryDirectory::Place::kMemory);
  for (const auto& regions : {regions_.path(), memory.path()}) {
    SeatOptions options = Options();
    options.region_directory = regions;
    const auto count = [&regions] {
      return std::distance(std::filesystem::directory_iterator(regions), {});
    };
    ForkedProcess member([&](const ForkedProcess::Pipe& pipe) {
      const auto seat = Seat::Attach(options);
      const auto hot = SharedRegion::Create(
          (*seat)->Address(RegionKind::kHot, 7), 4096, 4096);
      const auto client = (*seat)->CreateClientRegion(9);
      std::filesystem::remove((*seat)->Address(RegionKind::kMain, 0).Path());
      pipe.Send(hot && client ? 1 : 0);
      ::pause();
      return 0;
    });
    ASSERT_EQ(member.Receive(), 1U);
    const TemporaryDirectory other;
    SeatOptions founder = options;
    founder.directory = other.path();
    { ASSERT_TRUE(Seat::Attach(founder).has_value()); }
    EXPECT_EQ(count(), 2) << regions;  // It lives.
    EXPECT_NE(MutexCount(), -1);
    member.Kill(SIGKILL);
    member.Wait();
    { ASSERT_TRUE(Seat::Attach(founder).has_value()); }
    EXPECT_EQ(count(), 0) << regions;
    EXPECT_EQ(MutexCount(), -1);
    ASSERT_TRUE(Seat::Attach(options).has_value());
  }
}

// While its cache lives, a mutex stays, wherever the regions are.
TEST_F(SeatTest, TheMutexesOfOthersAreNotTaken) {
  const auto seat = Attach();
  RemoveOrphanMutexes();
  RemoveOrphanRegions(regions_.path());
  EXPECT_EQ(RegionCount(), 1U);
  EXPECT_NE(MutexCount(), -1);
}

TEST(SeatControlFile, OneDamagedCopyDoesNotMatter) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "seat.ctl";
  const SeatControl control{.serial = 9,
                            .id = {.high = 1, .low = 2},
                            .epoch = 3,
                            .boot_id = "boot",
                            .region_directory = "/dev/shm",
                            .holder = ProcessIdentity::Self()};
  ASSERT_TRUE(WriteSeatControl(file, control).ok());
  EXPECT_EQ(std::filesystem::file_size(file), kSeatControlSize);
  for (const std::streamoff at : {100, 3000}) {
    ASSERT_EQ(ReadSeatControl(file).value(), control);
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(at).put('!');
  }
  EXPECT_EQ(ReadSeatControl(file).value(), std::nullopt);
}

TEST(SeatControlFile, NoFileIsNoControl) {
  EXPECT_EQ(ReadSeatControl("/nonexistent/seat.ctl").value(), std::nullopt);
}

// A member that reports its pid whenever it gets the seat.
int RunMember(const SeatOptions& options, const ForkedProcess::Pipe& pipe) {
  const auto seat = Seat::Attach(options);
  if (!seat) return 1;
  if (!(*seat)
           ->StartMonitor([&] {
             (*seat)->Serve();
             pipe.Send(static_cast<std::uint64_t>(::getpid()));
             return true;
           })
           .ok()) {
    return 2;
  }
  for (;;) ::pause();
}

using SeatCrashTest = SeatTest;

TEST_F(SeatCrashTest, TheSeatIsTakenOverAfterEachOf200Kills) {
  std::list<ForkedProcess> members;
  const auto spawn = [&] {
    members.emplace_back([this](const ForkedProcess::Pipe& pipe) {
      return RunMember(Options(), pipe);
    });
  };
  for (int i = 0; i < 4; ++i) spawn();
  std::vector<double> milliseconds;
  const auto observer = Attach();
  for (int kill = 0; kill <= 200; ++kill) {
    const auto start = std::chrono::steady_clock::now();
    auto holder = members.end();
    while (holder == members.end()) {
      ASSERT_LT(std::chrono::steady_clock::now() - start, 20s) << kill;
      for (auto it = members.begin(); it != members.end(); ++it) {
        if (!it->Receive(1ms)) continue;
        ASSERT_EQ(holder, members.end()) << "two holders";
        holder = it;
      }
    }
    milliseconds.push_back(std::chrono::duration<double, std::milli>(
                               std::chrono::steady_clock::now() - start)
                               .count());
    EXPECT_EQ(observer->main().holder().pid,
              static_cast<std::uint64_t>(holder->pid()));
    EXPECT_EQ(MutexCount(), 0);
    EXPECT_FALSE(observer->TryTake().value());
    holder->Kill(SIGKILL);
    members.erase(holder);  // Waits for it.
    spawn();
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  RecordProperty("median_ms", std::to_string(milliseconds[100]));
  RecordProperty("max_ms", std::to_string(milliseconds.back()));
}

// The name of the point where the child kills itself.
const char* deadly_point = nullptr;

void DieAtPoint(const char* name) {
  if (std::strcmp(name, deadly_point) == 0) ::kill(::getpid(), SIGKILL);
}

class SeatPointTest : public SeatTest,
                      public ::testing::WithParamInterface<const char*> {};

// Goes through attach, take, release and detach, and is killed
// on the way; then everything must work for the others.
TEST_P(SeatPointTest, AnotherProcessTakesOver) {
  deadly_point = GetParam();
  int killed = 0;
  for (int round = 0; round < 20; ++round) {
    // Half the time somebody else is attached and nothing is left over.
    std::unique_ptr<Seat> witness = round % 2 == 0 ? nullptr : Attach();
    if (witness == nullptr) Attach();  // An old epoch to clean up.
    ForkedProcess victim([this](const ForkedProcess::Pipe&) {
      test_point_hook = &DieAtPoint;
      auto seat = Seat::Attach(Options());
      if (!seat) return 1;
      if (!(*seat)->TryTake().value()) return 2;
      (*seat)->Serve();
      (*seat)->Release().IgnoreError();
      (*seat).reset();
      return 0;
    });
    const int code = victim.Wait();
    ASSERT_TRUE(code == -SIGKILL || code == 0) << code;
    if (code != 0) ++killed;
    const auto heir = Attach();
    ASSERT_NE(heir, nullptr);
    ASSERT_TRUE(heir->TryTake().value());
    heir->Serve();
    EXPECT_TRUE(Generation::IsServing(heir->main().generation.Load()));
    EXPECT_EQ(MutexCount(), 0);
    if (witness != nullptr) {
      EXPECT_EQ(witness->epoch(), heir->epoch());
      EXPECT_FALSE(witness->TryTake().value());
    }
  }
  EXPECT_GE(killed, 10);  // Some points lie on the way of every other round.
  EXPECT_EQ(RegionCount(), 0U);
}

INSTANTIATE_TEST_SUITE_P(EveryPoint, SeatPointTest,
                         ::testing::Values("attach.alone", "attach.old_removed",
                                           "attach.regions_created",
                                           "attach.founded", "attach.shared",
                                           "take.locked", "take.adopted",
                                           "take.told", "release.announced",
                                           "release.unlocked",
                                           "detach.upgraded", "detach.removed"),
                         [](const auto& point) {
                           std::string name = point.param;
                           std::replace(name.begin(), name.end(), '.', '0');
                           std::replace(name.begin(), name.end(), '_', '1');
                           return name;
                         });

}  // namespace
}  // namespace larder
