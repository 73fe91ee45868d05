#include "os/named_mutex.h"

#include <atomic>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "forked_process.h"

namespace larder {
namespace {

using testing::ForkedProcess;
using namespace std::chrono_literals;

SteadyTime After(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

class NamedMutexTest : public ::testing::Test {
 protected:
  NamedMutexTest()
      : name_("larder-test-" + std::to_string(::getpid()) + "-" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    NamedMutex::Remove(name_);
  }
  ~NamedMutexTest() override { NamedMutex::Remove(name_); }
  std::unique_ptr<NamedMutex> Open() {
    auto mutex = NamedMutex::Open(name_);
    EXPECT_TRUE(mutex.has_value());
    return std::move(*mutex);
  }
  // The count of the semaphore below: 1 free, 0 locked, 2 broken.
  int Count() const {
    sem_t* semaphore = ::sem_open(("/" + name_).c_str(), 0);
    int value = -1;
    ::sem_getvalue(semaphore, &value);
    ::sem_close(semaphore);
    return value;
  }
  [[nodiscard]] std::string File() const { return "/dev/shm/sem." + name_; }
  void Scribble(const std::string& bytes) const {
    std::fstream file(File(), std::ios::binary | std::ios::in | std::ios::out);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.flush().good());
  }
  const std::string name_;
};

TEST_F(NamedMutexTest, ExcludesOtherProcesses) {
  const auto mutex = Open();
  ASSERT_TRUE(mutex->TryLock().value());
  ForkedProcess other([this](const ForkedProcess::Pipe&) {
    return NamedMutex::Open(name_).value()->TryLock().value() ? 1 : 0;
  });
  EXPECT_EQ(other.Wait(), 0);
  ASSERT_TRUE(mutex->Unlock().ok());
  EXPECT_TRUE(mutex->TryLock().value());
}

TEST_F(NamedMutexTest, LockGivesUpAtItsDeadline) {
  const auto mutex = Open();
  ASSERT_TRUE(mutex->TryLock().value());
  EXPECT_EQ(mutex->Lock(After(120ms)).code(), StatusCode::kTimedOut);
}

TEST_F(NamedMutexTest, LockWaitsForTheOwner) {
  const auto mutex = Open();
  ASSERT_TRUE(mutex->TryLock().value());
  std::thread owner([&mutex] { EXPECT_TRUE(mutex->Unlock().ok()); });
  EXPECT_TRUE(mutex->Lock(After(20s)).ok());
  owner.join();
}

TEST_F(NamedMutexTest, ASignalDoesNotEndTheWait) {
  // Without SA_RESTART Boost's lock throws EINTR here.
  struct sigaction action {};
  static std::atomic<int> signals{0};
  action.sa_handler = [](int) { ++signals; };
  struct sigaction old {};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &old), 0);
  const auto mutex = Open();
  ASSERT_TRUE(mutex->TryLock().value());
  std::atomic<bool> done{false};
  std::thread waiter([&] {
    EXPECT_TRUE(mutex->Lock(After(20s)).ok());
    done = true;
  });
  for (int seen = 0; seen < 50; seen = signals) {
    ::pthread_kill(waiter.native_handle(), SIGUSR1);
    while (signals == seen) std::this_thread::yield();
  }
  EXPECT_FALSE(done);
  EXPECT_TRUE(mutex->Unlock().ok());
  waiter.join();
  ::sigaction(SIGUSR1, &old, nullptr);
}

TEST_F(NamedMutexTest, AdoptTakesItFromADeadOwner) {
  ForkedProcess owner([this](const ForkedProcess::Pipe& pipe) {
    const auto mutex = NamedMutex::Open(name_);
    pipe.Send(mutex.value()->TryLock().value() ? 1 : 0);
    ::pause();
    return 0;
  });
  ASSERT_EQ(owner.Receive(), 1U);
  owner.Kill(SIGKILL);
  owner.Wait();
  const auto mutex = Open();
  EXPECT_FALSE(mutex->TryLock().value());
  ASSERT_TRUE(mutex->Adopt().ok());
  ASSERT_TRUE(mutex->Unlock().ok());
  EXPECT_EQ(Count(), 1);
}

TEST_F(NamedMutexTest, AdoptMendsACountOfTwo) {
  const auto mutex = Open();
  ASSERT_TRUE(mutex->Unlock().ok());  // One too many.
  ASSERT_EQ(Count(), 2);
  ASSERT_TRUE(mutex->Adopt().ok());
  EXPECT_EQ(Count(), 0);
  ASSERT_TRUE(mutex->Unlock().ok());
  EXPECT_EQ(Count(), 1);
}

TEST_F(NamedMutexTest, AMutexThatOthersCanUseIsRefused) {
  { Open(); }
  ASSERT_EQ(::chmod(File().c_str(), 0666), 0);
  EXPECT_EQ(NamedMutex::Open(name_).error().code(),
            StatusCode::kPermissionDenied);
}

// Whatever is written into it, nobody dies of it and nobody waits.
TEST_F(NamedMutexTest, AScribbledOneIsCorrupt) {
  std::minstd_rand random(7);
  for (int round = 0; round < 50; ++round) {
    NamedMutex::Remove(name_);
    const auto mutex = Open();
    if (round % 2 == 0) {
      ASSERT_TRUE(mutex->TryLock().value());
    }
    std::string bytes(sizeof(sem_t), '\xff');
    for (char& byte : bytes) {
      if (round != 0) byte = static_cast<char>(random());
    }
    Scribble(bytes);
    EXPECT_EQ(mutex->TryLock().error().code(), StatusCode::kCorruption);
    EXPECT_EQ(mutex->Adopt().code(), StatusCode::kCorruption);
    EXPECT_EQ(mutex->Unlock().code(), StatusCode::kCorruption);
    EXPECT_EQ(mutex->Lock(After(20s)).code(), StatusCode::kCorruption);
    EXPECT_EQ(Open()->Adopt().code(), StatusCode::kCorruption);
  }
}

TEST_F(NamedMutexTest, ACountBeyondReasonIsCorrupt) {
  const auto mutex = Open();
  Scribble(std::string("\xff\xff\xff\x7f", 4));
  EXPECT_EQ(mutex->Adopt().code(), StatusCode::kCorruption);
}

TEST_F(NamedMutexTest, ACutOneIsCorrupt) {
  const auto mutex = Open();
  for (const off_t size : {off_t{8}, off_t{0}}) {
    ASSERT_EQ(::truncate(File().c_str(), size), 0);
    EXPECT_EQ(mutex->TryLock().error().code(), StatusCode::kCorruption);
    EXPECT_EQ(mutex->Unlock().code(), StatusCode::kCorruption);
    EXPECT_EQ(Open()->TryLock().error().code(), StatusCode::kCorruption);
  }
}

// The next one to open it gets another: it excludes nobody any more.
TEST_F(NamedMutexTest, AnUnlinkedOrReplacedOneIsLeftAlone) {
  const auto mutex = Open();
  ASSERT_EQ(::unlink(File().c_str()), 0);
  EXPECT_EQ(mutex->Adopt().code(), StatusCode::kCorruption);
  const auto other = Open();
  EXPECT_TRUE(other->Adopt().ok());
  EXPECT_EQ(mutex->Adopt().code(), StatusCode::kCorruption);
  EXPECT_EQ(mutex->Unlock().code(), StatusCode::kCorruption);
  EXPECT_EQ(Count(), 0);
}

}  // namespace
}  // namespace larder
