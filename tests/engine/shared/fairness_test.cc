// The process with the store serves others and itself: neither side waits for
// what the other one has it do for long. The long work is held up where it is,
// until the other side is done.

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/test_point.h"
#include "engine/store_fixture.h"
#include "forked_process.h"

namespace larder::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kPatience = seconds(20);

std::atomic<const char*> held_at{nullptr};
std::atomic<bool> is_held{false};
std::atomic<bool> is_released{false};
std::atomic<bool> was_released{false};

/// Holds whoever comes to a test point until it is released.
void HoldAt(const char* point) {
  is_held = false;
  is_released = false;
  was_released = false;
  held_at = point;
  test_point_hook = [](const char* name) {
    if (std::string_view(name) != held_at.load() || is_held.exchange(true)) {
      return;
    }
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!is_released && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    was_released = is_released.load();
  };
}
void AwaitHeld() {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!is_held && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  ASSERT_TRUE(is_held);
}

class Fairness : public StoreFixture {
 protected:
  Fairness() { background_ = true; }
  void TearDown() override { test_point_hook = nullptr; }

  /// An engine that shares the directory.
  static std::unique_ptr<Engine> Attach(const std::filesystem::path& path) {
    EngineOptions options;
    options.hot_tier_bytes = 0;  // All reads are the store's.
    auto engine = OpenEngine(path, options);
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? *std::move(engine) : nullptr;
  }
  static Reply RunOn(Engine& engine, const Command& command) {
    Reply reply;
    Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
    if (!status.ok()) reply.status = std::move(status);
    return reply;
  }
};

TEST_F(Fairness, OwnChangesDoNotWaitForReadsOfClients) {
  ForkedProcess reader([this](const ForkedProcess::Pipe& pipe) {
    while (!std::filesystem::exists(directory_.path() / "go")) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    const auto engine = Attach(path_);
    if (engine == nullptr) return 1;
    RunOn(*engine, SetCommand{.key = "client", .value = "c"});
    pipe.Send(1);
    const Command commands[] = {GetCommand{"own"}, GetCommand{"client"}};
    Reply replies[2];
    const Status status = engine->Execute(commands, replies, {});
    pipe.Send(status.ok() && replies[1].applied ? 2 : 3);
    return 0;
  });
  engine_ = Attach(path_);
  ASSERT_NE(engine_, nullptr);
  HoldAt("store.multiget");
  std::ofstream(directory_.path() / "go") << "go";
  ASSERT_EQ(reader.Receive(), 1U);
  ASSERT_NO_FATAL_FAILURE(AwaitHeld());
  // The thread that serves clients is in the middle of a read.
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(Set("own", std::to_string(i)).ToString(), "kOk");
  }
  is_released = true;
  EXPECT_EQ(reader.Receive(), 2U);
  EXPECT_TRUE(was_released);
  EXPECT_EQ(reader.Wait(), 0);
}

// Who counts has all of it settled first, on a thread that serves nobody else.
TEST_F(Fairness, ClientsAreServedWhileOthersCount) {
  constexpr int kClients = 2;
  std::vector<ForkedProcess> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([this, c](const ForkedProcess::Pipe& pipe) {
      while (!std::filesystem::exists(directory_.path() /
                                      ("go" + std::to_string(c)))) {
        std::this_thread::sleep_for(milliseconds(1));
      }
      const auto engine = Attach(path_);
      if (engine == nullptr) return 1;
      if (c == 0) {
        const auto count = engine->Count();
        pipe.Send(count ? *count : 99);
        return 0;
      }
      for (int i = 0; i < 20; ++i) {
        const std::string key = "client" + std::to_string(i);
        if (!RunOn(*engine, SetCommand{.key = key, .value = "c"}).applied) {
          return 2;
        }
      }
      pipe.Send(20);
      return 0;
    });
  }
  engine_ = Attach(path_);
  ASSERT_NE(engine_, nullptr);
  for (int i = 0; i < 100; ++i) {
    const std::string key = "k" + std::to_string(i);
    ASSERT_TRUE(
        Run(SetCommand{.key = key, .value = "v", .tag = "red"}).applied);
  }
  HoldAt("tag.step");
  std::thread evicts(
      [this] { EXPECT_EQ(Run(EvictTagCommand{.tag = "red"}).count, 100U); });
  ASSERT_NO_FATAL_FAILURE(AwaitHeld());
  std::ofstream(directory_.path() / "go0") << "go";
  EXPECT_EQ(clients[0].Receive(milliseconds(300)), std::nullopt);
  std::ofstream(directory_.path() / "go1") << "go";
  EXPECT_EQ(clients[1].Receive(kPatience / 2), 20U);
  is_released = true;
  evicts.join();
  EXPECT_TRUE(was_released);
  EXPECT_EQ(clients[0].Receive(), 20U);
  for (ForkedProcess& client : clients) EXPECT_EQ(client.Wait(), 0);
}

const char* step_point = "";
std::function<void()> at_first_step;
std::atomic<std::uint64_t> steps{0};

/// Long work of one thread, in steps.
class FairSteps : public Fairness {
 protected:
  void TearDown() override {
    Fairness::TearDown();
    at_first_step = nullptr;
  }
  /// From now on `look` is called at the first `point` that anybody comes to.
  static void LookAt(const char* point, std::function<void()> look) {
    step_point = point;
    steps = 0;
    at_first_step = std::move(look);
    test_point_hook = [](const char* name) {
      if (std::string_view(name) == step_point && ++steps == 1) at_first_step();
    };
  }
  /// Another thread sets a hundred keys, which is waited for.
  void SetByAnother() {
    std::thread other([this] {
      for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(Set("other" + std::to_string(i), "o").ToString(), "kOk");
      }
    });
    other.join();
  }
};

TEST_F(FairSteps, OthersWriteWhileALowerLimitIsReached) {
  Open({{"size_limit", "64MiB"}});
  const std::string value(100, 'v');
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_EQ(Set("k" + std::to_string(i), value).ToString(), "kOk");
  }
  LookAt("shrink.step", [this] { SetByAnother(); });
  EXPECT_EQ(engine_->Reset("size_limit", "16MiB").ToString(), "kOk");
  EXPECT_GE(steps, 1U);
  test_point_hook = nullptr;
  EXPECT_LE(DirectoryBytes(), 16 * kMiB);
  EXPECT_EQ(Get("other99"), "o");
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// They would be there still when it is reached.
TEST_F(FairSteps, PinsFitTheLimitThatIsToBeReached) {
  Open({{"size_limit", "64MiB"}});
  const std::string value(65536, 'v');
  for (int i = 0; i < 1200; ++i) {
    ASSERT_EQ(Set("k" + std::to_string(i), value).ToString(), "kOk");
  }
  int pinned = 0;
  Status refused;
  LookAt("shrink.step", [&] {
    std::thread other([&] {
      while (refused.ok() && pinned < 400) {
        const std::string key = "pin" + std::to_string(pinned++);
        refused =
            Run(SetCommand{.key = key, .value = value, .pinned = true}).status;
      }
    });
    other.join();
  });
  EXPECT_EQ(engine_->Reset("size_limit", "16MiB").ToString(), "kOk");
  test_point_hook = nullptr;
  EXPECT_EQ(refused.code(), StatusCode::kNoSpace) << refused.ToString();
  EXPECT_GT(pinned, 100);
  EXPECT_LE(pinned, 128);  // Half of 16 MiB.
  EXPECT_LE(DirectoryBytes(), 16 * kMiB);
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

TEST_F(FairSteps, OthersWriteWhileExpiredItemsAreDeleted) {
  Open();
  constexpr std::uint64_t kItems = 320;
  constexpr std::uint64_t kStepCountMax = 32;
  for (std::uint64_t i = 0; i < kItems; ++i) {
    const std::string key = "k" + std::to_string(i);
    ASSERT_TRUE(
        Run(SetCommand{.key = key, .value = "v", .ttl = seconds(10)}).applied);
  }
  LookAt("settle.step", [this] { SetByAnother(); });
  clock_.Advance(seconds(20));
  EXPECT_EQ(*engine_->Count(), 100U);
  EXPECT_GE(steps, kItems / kStepCountMax);
}

TEST_F(FairSteps, WhatAClearKillsIsFreedInSteps) {
  Open({{"size_limit", "64MiB"}});
  const std::string value(1 << 18, 'v');
  for (int i = 0; i < 160; ++i) {
    ASSERT_EQ(Set("k" + std::to_string(i), value).ToString(), "kOk");
  }
  const std::uint64_t segments = Stats().segments;
  constexpr std::uint64_t kFreedCountMax = 16;
  ASSERT_GT(segments, 2 * kFreedCountMax);
  LookAt("free.step", [] {});
  EXPECT_EQ(Run(ClearCommand{}).count, 160U);
  EXPECT_GE(steps, segments / kFreedCountMax);
  EXPECT_LE(Stats().segments, 1U);
}

}  // namespace
}  // namespace larder::testing
