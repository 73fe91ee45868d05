#include "engine_run.h"

#include "engine_value.h"
#include "model_engine.h"
#include "trace_files.h"

namespace larder::replay {
namespace {

/// The model engine, except that one reply is not what was stored.
class LyingEngine final : public Engine {
 public:
  LyingEngine(std::unique_ptr<Engine> truth, std::uint64_t lie_at)
      : truth_(std::move(truth)), lie_at_(lie_at) {}

  Capabilities capabilities() const noexcept override {
    return truth_->capabilities();
  }
  Status Execute(std::span<const Command> commands, std::span<Reply> replies,
                 const ExecuteOptions& options) noexcept override {
    const Status status = truth_->Execute(commands, replies, options);
    if (!std::holds_alternative<GetCommand>(commands[0]) ||
        !replies[0].applied || ++hits_ != lie_at_) {
      return status;
    }
    std::string bytes = replies[0].value.ToString();
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    replies[0].value = ValueHandle::FromString(std::move(bytes));
    return status;
  }
  Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options) noexcept override {
    return truth_->OpenScan(options);
  }
  Result<std::unique_ptr<ValueWriter>> OpenWriter(
      const SetCommand& command, std::uint64_t size,
      const ExecuteOptions& options) noexcept override {
    return truth_->OpenWriter(command, size, options);
  }
  Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept override {
    return truth_->OpenReader(key);
  }
  Result<std::uint64_t> Count() noexcept override { return truth_->Count(); }
  Result<EngineStats> Stats() noexcept override { return truth_->Stats(); }
  Result<CheckReport> Check(bool repair) noexcept override {
    return truth_->Check(repair);
  }
  Settings CurrentSettings() const noexcept override {
    return truth_->CurrentSettings();
  }
  std::uint64_t settings_version() const noexcept override {
    return truth_->settings_version();
  }
  Status Reset(std::string_view name,
               std::string_view value) noexcept override {
    return truth_->Reset(name, value);
  }
  Status Sync() noexcept override { return truth_->Sync(); }
  Status Close() noexcept override { return truth_->Close(); }
  const std::filesystem::path& directory() const noexcept override {
    return truth_->directory();
  }

 private:
  std::unique_ptr<Engine> truth_;
  std::uint64_t lie_at_;
  std::uint64_t hits_ = 0;
};

Trace SizedTrace() {
  Trace trace = testing::TraceOfKeys(testing::MixedKeys(4, 150, 3000));
  for (TraceRequest& request : trace.requests) {
    request.size_bytes = 1 + request.key * 37 % 300;
    request.time_ms = (&request - trace.requests.data()) * 10ULL;
    request.ttl_s = request.key % 3 == 0 ? 4 : 0;
    if (request.key % 17 == 0) request.op_bits = 2;
  }
  trace.has_sizes = trace.has_ttls = true;
  return trace;
}

TEST(EngineRun, AgreesWithTheSimulatorWhereNothingIsEvicted) {
  const Trace trace = SizedTrace();
  for (const bool use_ttl : {false, true}) {
    const RunSpec spec{
        .policy = "lru", .capacity = 1 << 20, .use_ttl = use_ttl};
    ManualClock clock(TimePoint(std::chrono::hours(1)));
    const auto engine = larder::testing::ModelEngine::Make(&clock);
    const auto real = RunOnEngine(trace, spec, *engine, clock);
    const auto simulated = RunInSimulator(trace, spec);
    ASSERT_TRUE(real && simulated) << real.error().message();
    EXPECT_EQ(real->requests, simulated->requests);
    EXPECT_EQ(real->hits, simulated->hits);
    EXPECT_EQ(real->hit_bytes, simulated->hit_bytes);
    EXPECT_EQ(real->windows.size(), kRunWindowCount);
    ASSERT_TRUE(real->get_latency.has_value());
    EXPECT_GT(real->get_latency->max_us, 0);
  }
}

TEST(EngineRun, WrongByteInAHitIsFound) {
  ManualClock clock(TimePoint(std::chrono::hours(1)));
  LyingEngine engine(larder::testing::ModelEngine::Make(&clock), 100);
  const auto result = RunOnEngine(
      SizedTrace(), {.policy = "lru", .capacity = 1 << 20}, engine, clock);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), StatusCode::kCorruption);
}

TEST(EngineRun, ObjectsLargerThanTheCapacityAreNotStored) {
  ManualClock clock(TimePoint(std::chrono::hours(1)));
  const auto engine = larder::testing::ModelEngine::Make(&clock);
  Trace trace = testing::TraceOfKeys({0, 0, 1, 1});
  trace.requests[0].size_bytes = trace.requests[1].size_bytes = 11;
  const auto result =
      RunOnEngine(trace, {.policy = "lru", .capacity = 10}, *engine, clock);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->hits, 1U);
}

TEST(ValueMaker, BytesFollowFromKeyFillAndSize) {
  ValueMaker maker;
  const std::string value(maker.Make(1, 1, 1000));
  EXPECT_EQ(value.size(), 1000U);
  EXPECT_EQ(maker.Make(1, 1, 1000), value);
  EXPECT_EQ(maker.Make(1, 1, 13), value.substr(0, 13));
  EXPECT_NE(maker.Make(1, 2, 1000), value);
  EXPECT_NE(maker.Make(2, 1, 1000), value);
}

TEST(LatencyHistogram, QuantilesAreWithinASixteenth) {
  LatencyHistogram latencies;
  for (int i = 1; i <= 1000; ++i) latencies.Add(std::chrono::microseconds(i));
  const LatencySummary summary = latencies.Summary();
  EXPECT_NEAR(summary.p50_us, 500, 500.0 / 16);
  EXPECT_NEAR(summary.p99_us, 990, 990.0 / 16);
  EXPECT_EQ(summary.max_us, 1000);
}

}  // namespace
}  // namespace larder::replay
