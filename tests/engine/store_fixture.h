#ifndef LARDER_TESTS_ENGINE_STORE_FIXTURE_H_
#define LARDER_TESTS_ENGINE_STORE_FIXTURE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "directory/directory.h"
#include "temporary_directory.h"

namespace larder::testing {

/// A store in a fresh directory, without background work unless asked for, on a
/// clock that stands still.
class StoreFixture : public ::testing::Test {
 protected:
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  static constexpr std::uint64_t kMiB = 1 << 20;

  void Open(Pairs settings = {}) {
    EngineOptions options;
    options.clock = &clock_;
    options.background = background_;
    options.random_seed = 7;
    options.serve_evicted = serve_evicted_;
    options.settings = std::move(settings);
    Result<std::unique_ptr<Engine>> engine = OpenEngine(path_, options);
    ASSERT_TRUE(engine.has_value()) << engine.error().ToString();
    engine_ = *std::move(engine);
  }
  /// As somebody whose cache is damaged does; it is sound afterwards.
  void OpenRepaired() {
    EngineOptions options;
    options.clock = &clock_;
    options.background = false;
    options.when_damaged = WhenDamaged::kRepair;
    Result<std::unique_ptr<Engine>> engine = OpenEngine(path_, options);
    ASSERT_TRUE(engine.has_value()) << engine.error().ToString();
    engine_ = *std::move(engine);
    const Result<CheckReport> report = engine_->Check(/*repair=*/true);
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    ExpectSound();
  }
  void Reopen() {
    ASSERT_EQ(engine_->Close().ToString(), "kOk");
    engine_.reset();
    ASSERT_NO_FATAL_FAILURE(Open());
  }

  Reply Run(const Command& command) {
    Reply reply;
    Status status = engine_->Execute({&command, 1}, {&reply, 1}, {});
    if (!status.ok()) reply.status = std::move(status);
    return reply;
  }
  Status Set(std::string_view key, std::string_view value) {
    return Run(SetCommand{.key = key, .value = value}).status;
  }
  /// The value, or nothing on a miss; a failure is one of the test.
  std::optional<std::string> Get(std::string_view key) {
    const Reply reply = Run(GetCommand{.key = key});
    EXPECT_EQ(reply.status.ToString(), "kOk") << key;
    if (!reply.applied) return std::nullopt;
    return reply.value.ToString();
  }
  bool IsLive(std::string_view key) {
    return Run(GetCommand{.key = key, .with_value = false}).applied;
  }
  EngineStats Stats() {
    Result<EngineStats> stats = engine_->Stats();
    EXPECT_TRUE(stats.has_value()) << stats.error().ToString();
    return std::move(stats).value_or(EngineStats());
  }
  std::uint64_t DirectoryBytes() const {
    const Result<std::uint64_t> bytes = CacheDirectory::DiskBytes(path_);
    EXPECT_TRUE(bytes.has_value()) << bytes.error().ToString();
    return bytes.value_or(~std::uint64_t{0});
  }
  /// Values, indexes and ledger agree, and the figures are those of a recount.
  void ExpectSound() {
    // The background may evict between the two looks: they are compared once
    // it let the cache alone for as long as a check takes.
    EngineStats before = Stats();
    for (int tries = 0; tries < 100; ++tries) {
      const Result<CheckReport> report = engine_->Check(false);
      ASSERT_TRUE(report.has_value()) << report.error().ToString();
      EXPECT_TRUE(report->ok());
      for (const std::string& problem : report->problems) {
        ADD_FAILURE() << problem;
      }
      const EngineStats after = Stats();
      if (after.count == before.count &&
          after.live_bytes == before.live_bytes) {
        EXPECT_EQ(report->count_recount, after.count);
        EXPECT_EQ(report->bytes_recount, after.live_bytes);
        return;
      }
      before = after;
    }
    ADD_FAILURE() << "the cache changes all the time";
  }

  ManualClock clock_{TimePoint(std::chrono::hours(24 * 365 * 50))};
  bool serve_evicted_ = false;
  bool background_ = false;
  const TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "cache";
  std::unique_ptr<Engine> engine_;
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_ENGINE_STORE_FIXTURE_H_
