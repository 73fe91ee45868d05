#include "os/per_process.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "forked_process.h"
#include "os/fork_guard.h"
#include "os/user_callbacks.h"

namespace larder::testing {
namespace {

constexpr unsigned kChildSeconds = 20;

struct Thing {
  [[nodiscard]] bool InChild() const { return guard.InChild(); }
  Status Leave() {
    ++times_left;
    return {};
  }
  int times_left = 0;
  const ForkGuard guard;
};

Result<Thing*> MakeThing() { return new Thing; }
Status Allow() { return {}; }

// In a child that has its parent's.
class PerProcessTest : public ::testing::Test {
 protected:
  PerProcessTest() { things_.Set(&parents_); }

  Thing parents_;
  PerProcess<Thing> things_;
};

TEST_F(PerProcessTest, AChildMakesItsOwnOnce) {
  ForkedProcess child([this](const ForkedProcess::Pipe&) {
    int made = 0;
    const auto make = [&]() -> Result<Thing*> {
      ++made;
      return new Thing;
    };
    const auto first = things_.Get(make, Allow);
    const auto second = things_.Get(make, Allow);
    const bool same = first && second && *first == *second;
    return same && *first != &parents_ && made == 1 ? 0 : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
}

TEST_F(PerProcessTest, WhoMakesItCannotGetItMeanwhile) {
  ForkedProcess child([this](const ForkedProcess::Pipe&) {
    ::alarm(kChildSeconds);
    std::optional<StatusCode> inner;
    const auto make = [&]() -> Result<Thing*> {
      const auto again = things_.Get(MakeThing, Allow);
      if (!again) inner = again.error().code();
      return new Thing;
    };
    const bool made = things_.Get(make, Allow).has_value();
    const auto afterwards = things_.Get(make, Allow);
    return made && afterwards && inner == StatusCode::kDeadlock ? 0 : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
}

TEST_F(PerProcessTest, AfterAFailureItsThreadMayTryAgain) {
  ForkedProcess child([this](const ForkedProcess::Pipe&) {
    ::alarm(kChildSeconds);
    const auto failed = things_.Get(
        []() -> Result<Thing*> { return Fail(Status::IoError("not now")); },
        Allow);
    const auto made = things_.Get(MakeThing, Allow);
    return !failed && failed.error().code() == StatusCode::kIoError && made ? 0
                                                                            : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
}

TEST_F(PerProcessTest, AnotherThreadWaitsForIt) {
  ForkedProcess child([this](const ForkedProcess::Pipe&) {
    ::alarm(kChildSeconds);
    std::thread other;
    std::atomic<bool> asks{false};
    Thing* others = nullptr;
    const auto make = [&]() -> Result<Thing*> {
      other = std::thread([&] {
        asks = true;
        others = things_.Get(MakeThing, Allow).value_or(nullptr);
      });
      while (!asks) std::this_thread::yield();
      return new Thing;
    };
    const auto mine = things_.Get(make, Allow);
    other.join();
    return mine && *mine == others ? 0 : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
}

// Whoever makes it may wait for the callback.
TEST_F(PerProcessTest, ACallbackOfAnotherThreadDoesNotWaitForIt) {
  ForkedProcess child([this](const ForkedProcess::Pipe&) {
    ::alarm(kChildSeconds);
    std::optional<StatusCode> inner;
    EngineOptions options;
    options.on_eviction = [&](std::string_view, std::uint64_t, EvictionReason) {
      const auto none = things_.Get(MakeThing, Allow);
      if (!none) inner = none.error().code();
    };
    const auto callbacks = UserCallbacks::Guard(options);
    const auto make = [&]() -> Result<Thing*> {
      std::thread([&] {
        options.on_eviction("key", 1, EvictionReason::kEvicted);
      }).join();
      return new Thing;
    };
    const bool made = things_.Get(make, Allow).has_value();
    return made && inner == StatusCode::kDeadlock ? 0 : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
}

TEST_F(PerProcessTest, NothingIsMadeOfWhatIsClosed) {
  ForkedProcess child([this](const ForkedProcess::Pipe&) {
    bool made = false;
    const auto make = [&]() -> Result<Thing*> {
      made = true;
      return new Thing;
    };
    const auto none = things_.Get(make, [] { return Status::Closed("it"); });
    return !none && !made && things_.Peek() == &parents_ ? 0 : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
}

// Who closes it looks for what there is after he said so: he may have found the
// parent's until the new one could be seen.
TEST_F(PerProcessTest, WhatIsClosedUntilOthersSeeItIsLeft) {
  ForkedProcess child([this](const ForkedProcess::Pipe&) {
    const auto check = [this] {
      return things_.Peek() == &parents_ ? Status() : Status::Closed("it");
    };
    const auto none = things_.Get(MakeThing, check);
    if (none || none.error().code() != StatusCode::kClosed) return 1;
    return things_.Peek()->times_left == 1 ? 0 : 2;
  });
  EXPECT_EQ(child.Wait(), 0);
}

}  // namespace
}  // namespace larder::testing
