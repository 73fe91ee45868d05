#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/policy.h"

#include "engine_run.h"
#include "temporary_directory.h"
#include "trace_files.h"

// The store and the simulator run the same policy code. These tests hold that
// they also tell it the same: what is a hit, a ghost, and of which class.

namespace larder::replay {
namespace {

/// All kinds of reuse, at a size where ghosts come back all the time.
Trace SmallCacheTrace() {
  Trace trace = testing::TraceOfKeys(testing::MixedKeys(5, 2000, 20'000));
  for (TraceRequest& request : trace.requests) {
    request.size_bytes = 50 + request.key * 37 % 400;
    request.time_ms = (&request - trace.requests.data()) * 10ULL;
  }
  trace.has_sizes = true;
  return trace;
}

class EveryPolicy : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryPolicy, MissesAsTheSimulatorDoes) {
  const Trace trace = SmallCacheTrace();
  const RunSpec spec{.policy = GetParam(), .capacity = 20'000};
  const larder::testing::TemporaryDirectory directory;
  const auto simulated = RunInSimulator(trace, spec);
  const auto real =
      RunThroughEngine(trace, spec, {.parent_directory = directory.path()});
  ASSERT_TRUE(simulated) << simulated.error().message();
  ASSERT_TRUE(real) << real.error().message();
  EXPECT_EQ(real->requests, simulated->requests);
  EXPECT_NEAR(real->object_miss_ratio(), simulated->object_miss_ratio(), 0.01);
  EXPECT_NEAR(real->byte_miss_ratio(), simulated->byte_miss_ratio(), 0.01);
  EXPECT_NEAR(real->restamps_per_request(), simulated->restamps_per_request(),
              0.03);
}

INSTANTIATE_TEST_SUITE_P(
    EngineAgreement, EveryPolicy, ::testing::ValuesIn(PolicyNames()),
    [](const ::testing::TestParamInfo<std::string>& tested) {
      std::string name = tested.param;
      std::erase(name, '-');
      return name;
    });

/// First in, first out, in class main; counts the ghosts that come back.
class GhostCounter final : public Policy {
 public:
  struct Counts {
    int ghosts = 0;
    int ghosts_of_main = 0;
  };
  explicit GhostCounter(Counts* counts) : counts_(*counts) {}
  [[nodiscard]] std::string_view name() const noexcept override {
    return "ghost-counter";
  }
  Placement OnInsert(const PolicyItem& item, const PolicyContext&) override {
    if (item.ghost) ++counts_.ghosts;
    if (item.ghost && RankClass(item.rank) == kClassMain) {
      ++counts_.ghosts_of_main;
    }
    return {};
  }
  std::optional<Placement> OnHit(const PolicyItem&,
                                 const PolicyContext&) override {
    return std::nullopt;
  }

 private:
  Counts& counts_;
};

TEST(EngineAgreement, GhostsOfMainAreToldAsSuch) {
  static GhostCounter::Counts counts;  // The registry keeps the factory.
  ASSERT_TRUE(RegisterPolicy("ghost-counter", [] {
                return std::make_unique<GhostCounter>(&counts);
              }).ok());
  const Trace trace = SmallCacheTrace();
  const RunSpec spec{.policy = "ghost-counter", .capacity = 20'000};
  const larder::testing::TemporaryDirectory directory;
  ASSERT_TRUE(RunInSimulator(trace, spec));
  const GhostCounter::Counts simulated = std::exchange(counts, {});
  ASSERT_TRUE(
      RunThroughEngine(trace, spec, {.parent_directory = directory.path()}));
  EXPECT_GT(simulated.ghosts, 1000);
  EXPECT_EQ(simulated.ghosts_of_main, simulated.ghosts);
  EXPECT_EQ(counts.ghosts_of_main, counts.ghosts);
  EXPECT_NEAR(counts.ghosts, simulated.ghosts, 0.01 * simulated.ghosts);
}

/// First in, first out; notes what it is told, in order.
class Diary final : public Policy {
 public:
  explicit Diary(std::string* events) : events_(*events) {}
  [[nodiscard]] std::string_view name() const noexcept override {
    return "diary";
  }
  Placement OnInsert(const PolicyItem&, const PolicyContext&) override {
    events_ += 'i';
    return {};
  }
  std::optional<Placement> OnHit(const PolicyItem&,
                                 const PolicyContext&) override {
    events_ += 'h';
    return std::nullopt;
  }

 private:
  std::string& events_;
};

TEST(EngineAgreement, PolicyIsToldOfAllHitsAndSetsInTheirOrder) {
  static std::string events;
  ASSERT_TRUE(RegisterPolicy("diary", [] {
                return std::make_unique<Diary>(&events);
              }).ok());
  std::vector<std::uint32_t> keys = testing::MixedKeys(6, 300, 3000);
  keys.insert(keys.end(), 2000, keys.back());  // Hits in one row.
  keys.push_back(301);
  const Trace trace = testing::TraceOfKeys(keys);
  const RunSpec spec{.policy = "diary", .capacity = 100};
  const larder::testing::TemporaryDirectory directory;
  ASSERT_TRUE(RunInSimulator(trace, spec));
  const std::string simulated = std::exchange(events, {});
  ASSERT_TRUE(
      RunThroughEngine(trace, spec, {.parent_directory = directory.path()}));
  EXPECT_EQ(simulated.size(), trace.requests.size());
  EXPECT_TRUE(events == simulated);
}

}  // namespace
}  // namespace larder::replay
