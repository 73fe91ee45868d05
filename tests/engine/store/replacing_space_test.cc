#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/store_fixture.h"
#include "forked_process.h"
#include "test_values.h"

// What adds nothing that stays takes room before it gives some: touches, hits
// and deletions, of a cache that is full, by several threads. The directory is
// added up while all stand still.

namespace larder::testing {
namespace {

constexpr std::uint64_t kLimit = 16 << 20;
constexpr std::string_view kTag = "tag";
constexpr int kThreads = 2;

using Operation = std::string;
using Parameters = std::tuple<Operation, std::string, std::size_t>;

class ReplacingSpace : public StoreFixture,
                       public ::testing::WithParamInterface<Parameters> {
 protected:
  std::string KeyOf(std::uint64_t i) const {
    std::string key = std::to_string(i);
    key.resize(std::get<2>(GetParam()), '.');
    return key;
  }

  /// The number of keys that were set.
  std::uint64_t Fill() {
    background_ = true;
    Open({{"size_limit", std::to_string(kLimit)},
          {"when_full", std::get<1>(GetParam())},
          {"policy", "least-recently-used"}});
    const bool is_long = std::get<2>(GetParam()) > 100;
    const bool fails = std::get<1>(GetParam()) == "fail";
    // More than fit, if that is what ends it.
    const std::uint64_t count_max =
        fails ? 300'000 : (is_long ? 15'000 : 100'000);
    for (std::uint64_t i = 0; i < count_max; ++i) {
      const std::string key = KeyOf(i);
      const std::string value = MakeValue(i, 100);
      const Status status = Run(SetCommand{.key = key,
                                           .value = value,
                                           .ttl = std::chrono::hours(1),
                                           .tag = kTag})
                                .status;
      if (status.code() == StatusCode::kNoSpace) return i;
      if (!status.ok()) return 0;
    }
    return fails ? 0 : count_max;
  }

  /// The first refusal that is none of these operations'.
  Status Operate(std::uint64_t count) {
    const Operation& operation = std::get<0>(GetParam());
    if (operation == "EvictTag") {
      return Run(EvictTagCommand{.tag = kTag}).status;
    }
    if (operation == "Expire") {
      clock_.Advance(std::chrono::hours(2));
      return Run(ExpireCommand{}).status;
    }
    // Each touch of a cache that may not evict may compact the index first.
    const bool is_slow =
        operation == "Touch" && std::get<1>(GetParam()) == "fail";
    const std::uint64_t end = is_slow ? count / 16 : count;
    std::array<Status, kThreads> statuses;
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t, end] {
        for (std::uint64_t i = t; i < end && statuses[t].ok(); i += kThreads) {
          statuses[t] = OperateOn(operation, i, count);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Status& status : statuses) {
      if (!status.ok()) return status;
    }
    return {};
  }
  Status OperateOn(const Operation& operation, std::uint64_t i,
                   std::uint64_t count) {
    const std::string key = KeyOf(i);
    if (operation == "Delete") return Run(DeleteCommand{.key = key}).status;
    if (operation == "Hit") return Run(GetCommand{.key = key}).status;
    if (operation == "Touch") {
      const Status status =
          Run(TouchCommand{.key = key, .ttl = std::chrono::minutes(90 + i % 9)})
              .status;
      return status.code() == StatusCode::kNoSpace ? Status() : status;
    }
    constexpr std::uint64_t kBatch = 500;
    std::vector<std::string> keys;
    for (std::uint64_t k = 0; k < kBatch && i * kBatch + k < count; ++k) {
      keys.push_back(KeyOf(i * kBatch + k));
    }
    std::vector<Command> commands;
    for (const std::string& each : keys) {
      commands.emplace_back(DeleteCommand{.key = each});
    }
    return Delete(commands);
  }

  /// Less at a time if that is too much for a full cache.
  Status Delete(std::span<const Command> commands) {
    std::vector<Reply> replies(commands.size());
    const Status status = engine_->Execute(commands, replies, {});
    if (status.code() != StatusCode::kNoSpace || commands.size() < 2) {
      return status;
    }
    const std::size_t half = commands.size() / 2;
    const Status first = Delete(commands.first(half));
    return first.ok() ? Delete(commands.subspan(half)) : first;
  }
};

TEST_P(ReplacingSpace, NeverPassesTheLimit) {
  const bool leaves =
      std::get<0>(GetParam()) == "Hit" || std::get<0>(GetParam()) == "Touch";
  const ForkedProcess child([&](const ForkedProcess::Pipe& pipe) -> int {
    const std::uint64_t count = Fill();
    pipe.Send(count);
    Status status;
    // Of a cache that may not evict each takes long.
    const bool fails = std::get<1>(GetParam()) == "fail";
    for (int i = 0; status.ok() && i < (leaves && !fails ? 3 : 1); ++i) {
      status = Operate(count);
    }
    const std::uint64_t left = engine_->Count().value_or(~std::uint64_t{0});
    if (status.ok() && (left != 0) != leaves) {
      status = Status(StatusCode::kInternal, std::to_string(left) + " left");
    }
    // There is room for what comes then.
    if (status.ok() && !leaves) status = Set("new", MakeValue(1, 1000));
    if (!status.ok()) std::cerr << status.ToString() << "\n";
    engine_.reset();
    pipe.Send(status.ok() ? 1 : 0);
    for (;;) ::pause();
  });
  const auto full = child.Receive();
  ASSERT_TRUE(full.has_value());
  ASSERT_GT(*full, 1000U);
  std::atomic<bool> done{false};
  std::optional<std::uint64_t> fine;
  std::thread waiter([&] {
    fine = child.Receive();
    done = true;
  });
  std::uint64_t most = 0;
  while (!done) {
    child.Kill(SIGSTOP);
    int status = 0;
    if (::waitpid(child.pid(), &status, WUNTRACED) != child.pid() ||
        !WIFSTOPPED(status)) {
      break;
    }
    most = std::max(most, DirectoryBytes());
    child.Kill(SIGCONT);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  waiter.join();
  EXPECT_EQ(fine, 1U);
  EXPECT_LE(most, kLimit);
  RecordProperty("most", std::to_string(most));
  ASSERT_NO_FATAL_FAILURE(Open());
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

INSTANTIATE_TEST_SUITE_P(
    Operations, ReplacingSpace,
    ::testing::Combine(::testing::Values("Delete", "DeleteMany", "EvictTag",
                                         "Expire", "Hit", "Touch"),
                       ::testing::Values("evict", "fail"),
                       ::testing::Values(20U, 1000U)),
    [](const auto& parameters) {
      return std::get<0>(parameters.param) + "_" +
             std::get<1>(parameters.param) + "_" +
             std::to_string(std::get<2>(parameters.param));
    });

}  // namespace
}  // namespace larder::testing
