#include <atomic>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "baseline.h"
#include "replay_run.h"
#include "replay_size.h"
#include "run_pool.h"
#include "trace_files.h"

namespace larder::replay {
namespace {

RunResult Simulate(const Trace& trace, const RunSpec& spec) {
  const Result<RunResult> result = RunInSimulator(trace, spec);
  EXPECT_TRUE(result) << result.error().message();
  return result.value_or(RunResult{});
}

/// Every policy that the simulator knows and that ever evicts.
std::vector<std::string> EvictingPolicies() {
  std::vector<std::string> names = SimulatorPolicyNames();
  std::erase(names, "none");
  return names;
}

TEST(Simulator, EveryPolicyHitsAllButFirstAccessesInACacheThatHoldsAll) {
  const std::vector<std::uint32_t> keys = testing::MixedKeys(1, 200, 5000);
  const Trace trace = testing::TraceOfKeys(keys);
  const std::vector<std::uint32_t> next = NextAccesses(trace);
  const std::uint64_t distinct =
      std::set<std::uint32_t>(keys.begin(), keys.end()).size();
  for (const std::string& policy : SimulatorPolicyNames()) {
    // S3-FIFO's small queue and LIRS's queue are shares of the capacity, and
    // hold one item at least: ten times the items is enough for all.
    const RunResult result = Simulate(
        trace, {.policy = policy, .capacity = 2000, .next_accesses = &next});
    EXPECT_EQ(result.requests, 5000U) << policy;
    EXPECT_EQ(result.hits, 5000U - distinct) << policy;
    EXPECT_EQ(result.evictions, 0U) << policy;
  }
}

TEST(Simulator, OwnLruIsCloseToTheExactOne) {
  const Trace trace = testing::TraceOfKeys(testing::MixedKeys(2, 4000, 60'000));
  const RunResult own = Simulate(
      trace,
      {.policy = "least-recently-used", .capacity = 500, .bucket_count = 256});
  const RunResult exact = Simulate(trace, {.policy = "lru", .capacity = 500});
  EXPECT_NEAR(own.object_miss_ratio(), exact.object_miss_ratio(), 0.01);
  EXPECT_GT(own.restamps, 0U);
  EXPECT_EQ(exact.restamps, 0U);
}

TEST(Simulator, BytesAreCountedByRequestAndSizesAreThoseOfTheFill) {
  Trace trace = testing::TraceOfKeys({0, 1, 0});
  trace.requests[0].size_bytes = 10;
  trace.requests[1].size_bytes = 80;
  trace.requests[2].size_bytes = 30;  // Still held as 10 bytes.
  trace.has_sizes = true;
  const RunResult result = Simulate(trace, {.policy = "lru", .capacity = 90});
  EXPECT_EQ(result.hits, 1U);
  EXPECT_EQ(result.request_bytes, 120U);
  EXPECT_EQ(result.hit_bytes, 30U);
  EXPECT_DOUBLE_EQ(result.byte_miss_ratio(), 0.75);
}

TEST(Simulator, CostsWeighMisses) {
  Trace trace = testing::TraceOfKeys({0, 1, 0});
  trace.costs = {1.0F, 2.0F, 5.0F};
  const RunResult result = Simulate(trace, {.policy = "lru", .capacity = 2});
  EXPECT_DOUBLE_EQ(result.cost_miss_ratio(), 3.0 / 8.0);
}

TEST(Simulator, TimesToLiveCountOnlyWhenAskedFor) {
  Trace trace = testing::TraceOfKeys({0, 0, 0});
  trace.requests[0].ttl_s = 1;
  trace.requests[1].time_ms = 999;
  trace.requests[2].time_ms = 1000;
  trace.has_ttls = true;
  const std::vector<std::uint32_t> next = NextAccesses(trace);
  for (const std::string& policy : EvictingPolicies()) {
    RunSpec spec{.policy = policy, .capacity = 100, .next_accesses = &next};
    EXPECT_EQ(Simulate(trace, spec).hits, 2U) << policy;
    spec.use_ttl = true;
    EXPECT_EQ(Simulate(trace, spec).hits, 1U) << policy;
  }
}

TEST(Simulator, HitDoesNotProlongALife) {
  Trace trace = testing::TraceOfKeys({0, 0, 0});
  for (TraceRequest& request : trace.requests) request.ttl_s = 1;
  trace.requests[1].time_ms = 600;
  trace.requests[2].time_ms = 1200;
  trace.has_ttls = true;
  for (const char* policy : {"lru", "least-recently-used"}) {
    EXPECT_EQ(
        Simulate(trace, {.policy = policy, .capacity = 9, .use_ttl = true})
            .hits,
        1U)
        << policy;
  }
}

TEST(Simulator, DeletedItemIsAMissAndTheRowIsNoRequest) {
  Trace trace = testing::TraceOfKeys({0, 0, 0, 0});
  trace.requests[2].op_bits = 2;
  const std::vector<std::uint32_t> next = NextAccesses(trace);
  for (const std::string& policy : EvictingPolicies()) {
    const RunResult result = Simulate(
        trace, {.policy = policy, .capacity = 100, .next_accesses = &next});
    EXPECT_EQ(result.requests, 3U) << policy;
    EXPECT_EQ(result.hits, 1U) << policy;
  }
}

TEST(Simulator, GetOfSizeZeroIsNeverFilled) {
  Trace trace = testing::TraceOfKeys({0, 0, 0, 0});
  for (TraceRequest& request : trace.requests) request.size_bytes = 0;
  trace.requests[2].size_bytes = 5;
  const std::vector<std::uint32_t> next = NextAccesses(trace);
  for (const std::string& policy : EvictingPolicies()) {
    const RunResult result = Simulate(
        trace, {.policy = policy, .capacity = 1000, .next_accesses = &next});
    EXPECT_EQ(result.requests, 4U) << policy;
    EXPECT_EQ(result.hits, 1U) << policy;
  }
}

TEST(Simulator, IgnoredSizesCountOneEach) {
  Trace trace = testing::TraceOfKeys({0, 1, 0, 1});
  for (TraceRequest& request : trace.requests) request.size_bytes = 50;
  RunSpec spec{.policy = "lru", .capacity = 2};
  EXPECT_EQ(Simulate(trace, spec).hits, 0U);
  spec.ignore_size = true;
  EXPECT_EQ(Simulate(trace, spec).hits, 2U);
  EXPECT_EQ(Simulate(trace, spec).request_bytes, 4U);
}

TEST(Simulator, WindowsAddUpToTheWhole) {
  const Trace trace = testing::TraceOfKeys(testing::MixedKeys(3, 300, 7777));
  const RunResult result = Simulate(trace, {.policy = "fifo", .capacity = 50});
  std::uint64_t requests = 0;
  std::uint64_t hits = 0;
  for (const RunWindow& window : result.windows) {
    requests += window.requests;
    hits += window.hits;
  }
  EXPECT_EQ(result.windows.size(), kRunWindowCount);
  EXPECT_EQ(requests, 7777U);
  EXPECT_EQ(hits, result.hits);
}

TEST(Simulator, UnknownPolicyIsRefusedWithTheNamesThereAre) {
  const Trace trace = testing::TraceOfKeys({0});
  const auto result = RunInSimulator(trace, {.policy = "lfu", .capacity = 1});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), StatusCode::kInvalidArgument);
  for (const std::string& name : SimulatorPolicyNames()) {
    EXPECT_NE(result.error().message().find(name), std::string::npos) << name;
  }
}

TEST(Simulator, CancelledRunEnds) {
  const std::atomic<bool> cancelled{true};
  const Trace trace = testing::TraceOfKeys({0, 1});
  const auto result = RunInSimulator(
      trace, {.policy = "lru", .capacity = 1, .cancelled = &cancelled});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), StatusCode::kAborted);
}

TEST(ReplaySize, BytesItemsAndSharesAreUnderstood) {
  Trace trace = testing::TraceOfKeys({0});
  trace.footprint_bytes = 2029769728;
  trace.has_sizes = true;
  const auto capacity = [&trace](std::string_view text) {
    const Result<ReplaySize> size = ParseReplaySize(text);
    EXPECT_TRUE(size) << text;
    return CapacityOf(*size, trace, false).value_or(0);
  };
  EXPECT_EQ(capacity("5000"), 5000U);
  EXPECT_EQ(capacity("64MiB"), 64U << 20);
  EXPECT_EQ(capacity("0.1%"), 2029769U);
  EXPECT_EQ(capacity("100%"), 2029769728U);
}

TEST(ReplaySize, NonsenseIsRefused) {
  for (const char* text :
       {"", "0", "x", "%", "0%", "-1%", "101%", "nan%", "5%%", "1e400%"}) {
    EXPECT_FALSE(ParseReplaySize(text)) << text;
  }
}

TEST(ReplaySize, ShareOfLessThanOneItemTellsTheMinimum) {
  const Trace trace = testing::TraceOfKeys(testing::MixedKeys(1, 500, 9000));
  const auto capacity = CapacityOf(*ParseReplaySize("0.1%"), trace, false);
  ASSERT_FALSE(capacity);
  EXPECT_EQ(capacity.error().message(),
            "size 0.1% of trace keys is less than one item; the minimum is "
            "0.2% or 1");
}

TEST(ReplaySize, AShareOfNothingIsRefused) {
  Trace trace = testing::TraceOfKeys({0, 1, 0});
  trace.footprint_bytes = 0;
  const auto capacity = CapacityOf(*ParseReplaySize("10%"), trace, false);
  ASSERT_FALSE(capacity);
  EXPECT_EQ(capacity.error().message(),
            "size 10%: trace keys has a footprint of 0; the minimum is 1");
}

TEST(RunPool, EveryTaskRunsOnce) {
  for (const unsigned threads : {0U, 1U, 3U, 50U}) {
    std::vector<std::atomic<int>> counts(20);
    RunInParallel(counts.size(), threads, [&](std::size_t i) { ++counts[i]; });
    for (const std::atomic<int>& count : counts) EXPECT_EQ(count, 1);
  }
  RunInParallel(0, 4, [](std::size_t) { FAIL(); });
}

}  // namespace
}  // namespace larder::replay
