#ifndef LARDER_TESTS_ENGINE_CONFORMANCE_CONFORMANCE_SUITE_H_
#define LARDER_TESTS_ENGINE_CONFORMANCE_CONFORMANCE_SUITE_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "engine_places.h"

/// What every implementation of Engine must do, as tests. An implementation
/// joins with one line in conformance_test.cc:
///   INSTANTIATE_TEST_SUITE_P(Mine, EngineConformance, Values(MyFactory()));

namespace larder::testing {

/// One engine on a fresh place, with a clock of its own, and shorthand for
/// commands that come alone.
class EngineConformance : public ::testing::TestWithParam<EngineFactory> {
 protected:
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  void SetUp() override {
    place_ = GetParam().make_place();
    Reopen();
  }

  /// Closes the engine, if it is open, and opens it again.
  void Reopen(Pairs settings = {}) {
    if (engine_ != nullptr) {
      ASSERT_EQ(engine_->Close().ToString(), "kOk");
      engine_.reset();
    }
    EngineOptions options;
    options.clock = &clock_;
    options.background = false;
    options.random_seed = 7;
    options.serve_evicted = false;
    options.settings = std::move(settings);
    Result<std::unique_ptr<Engine>> engine = place_->Open(options);
    ASSERT_TRUE(engine.has_value()) << engine.error().ToString();
    engine_ = *std::move(engine);
  }

  /// Executes one command; a status of the call as a whole is put into the
  /// reply.
  Reply Run(const Command& command) {
    Reply reply;
    Status status = engine_->Execute({&command, 1}, {&reply, 1}, {});
    if (!status.ok()) reply.status = std::move(status);
    return reply;
  }
  std::vector<Reply> RunAll(const std::vector<Command>& commands) {
    std::vector<Reply> replies(commands.size());
    EXPECT_EQ(engine_->Execute(commands, replies, {}).ToString(), "kOk");
    return replies;
  }
  Reply Set(std::string_view key, std::string_view value) {
    return Run(SetCommand{.key = key, .value = value});
  }
  Reply SetWithTtl(std::string_view key, std::string_view value,
                   std::optional<Duration> ttl) {
    return Run(SetCommand{.key = key, .value = value, .ttl = ttl});
  }
  Reply SetWithTag(std::string_view key, std::string_view value,
                   std::string_view tag) {
    return Run(SetCommand{.key = key, .value = value, .tag = tag});
  }
  Reply Add(std::string_view key, std::string_view value) {
    return Run(SetCommand{
        .key = key, .value = value, .condition = SetCondition::kIfAbsent});
  }
  Reply CompareAndSet(std::string_view key, std::uint64_t version,
                      std::string_view value) {
    return Run(SetCommand{.key = key,
                          .value = value,
                          .condition = SetCondition::kIfVersion,
                          .version_expected = version});
  }
  Reply Get(std::string_view key) { return Run(GetCommand{.key = key}); }
  Reply Inspect(std::string_view key) {
    return Run(GetCommand{.key = key, .with_value = false});
  }
  Reply Incr(std::string_view key, std::int64_t delta,
             std::int64_t initial = 0) {
    return Run(IncrCommand{.key = key, .delta = delta, .initial = initial});
  }
  Reply Touch(std::string_view key, std::optional<Duration> ttl) {
    return Run(TouchCommand{.key = key, .ttl = ttl});
  }
  Reply Delete(std::string_view key) { return Run(DeleteCommand{.key = key}); }
  Reply Pop(std::string_view key) {
    return Run(DeleteCommand{.key = key, .with_value = true});
  }
  Reply EvictTag(std::string_view tag) { return Run(EvictTagCommand{tag}); }

  /// The value of `key`; "(miss)" or the status in place of one.
  std::string ValueOf(std::string_view key) {
    const Reply reply = Get(key);
    if (!reply.status.ok()) return reply.status.ToString();
    return reply.applied ? reply.value.ToString() : "(miss)";
  }
  bool IsLive(std::string_view key) {
    const Reply reply = Inspect(key);
    EXPECT_EQ(reply.status.ToString(), "kOk");
    return reply.applied;
  }
  std::uint64_t Count() {
    const Result<std::uint64_t> count = engine_->Count();
    EXPECT_TRUE(count.has_value()) << count.error().ToString();
    return count.value_or(~std::uint64_t{0});
  }
  EngineStats Stats() {
    Result<EngineStats> stats = engine_->Stats();
    EXPECT_TRUE(stats.has_value()) << stats.error().ToString();
    return std::move(stats).value_or(EngineStats());
  }

  ManualClock clock_{TimePoint(std::chrono::hours(24 * 365 * 50))};
  std::unique_ptr<EnginePlace> place_;
  std::unique_ptr<Engine> engine_;
};

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::seconds;

}  // namespace larder::testing

#endif  // LARDER_TESTS_ENGINE_CONFORMANCE_CONFORMANCE_SUITE_H_
