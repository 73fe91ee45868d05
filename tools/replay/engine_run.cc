#include "engine_run.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "larder/engine/limits.h"

#include "commands/interruption.h"
#include "engine_value.h"

// One request after another on one thread, so that a run is comparable with
// the simulator's request by request.

namespace larder::replay {
namespace {

using SteadyClock = std::chrono::steady_clock;

class EngineRun {
 public:
  EngineRun(const Trace& trace, const RunSpec& spec, Engine* engine,
            ManualClock* clock)
      : trace_(trace),
        spec_(spec),
        engine_(*engine),
        clock_(*clock),
        fills_(trace.key_hashes.size()) {}

  Result<RunResult> Run() {
    const SteadyClock::time_point start = SteadyClock::now();
    for (std::uint64_t w = 0; w < kRunWindowCount; ++w) {
      const WindowRange range = RangeOfWindow(trace_, w);
      RunWindow window;
      for (std::size_t i = range.begin; i < range.end; ++i) {
        if (IsCancelled()) {
          return Fail(Status(StatusCode::kAborted, "replay was cancelled"));
        }
        const Status done = Request(i, window);
        if (!done.ok()) {
          return Fail(
              Status(done.code(), fmt::format("{}: request {}: {}", trace_.name,
                                              i + 1, done.message())));
        }
      }
      result_.windows.push_back(window);
      if (spec_.progress != nullptr) *spec_.progress += range.end - range.begin;
    }
    LARDER_FAIL_IF_ERROR(engine_.Sync());
    result_.seconds =
        std::chrono::duration<double>(SteadyClock::now() - start).count();
    LARDER_FAIL_IF_ERROR(AddStats());
    return std::move(result_);
  }

 private:
  [[nodiscard]] bool IsCancelled() const {
    return tools::Interruption::signal() != 0 ||
           (spec_.cancelled != nullptr && *spec_.cancelled);
  }

  Status Request(std::size_t index, RunWindow& window) {
    const TraceRequest& request = trace_.requests[index];
    if (request.time_ms > now_ms_) {
      clock_.Advance(std::chrono::milliseconds(request.time_ms - now_ms_));
      now_ms_ = request.time_ms;
    }
    const std::string key = KeyOf(request);
    if (request.op() == TraceOp::kDelete) {
      ++result_.deletes;
      return Execute(DeleteCommand{.key = key}, deletes_).status;
    }
    const Reply got = Execute(GetCommand{.key = key}, gets_);
    LARDER_RETURN_IF_ERROR(got.status);
    if (got.applied) LARDER_RETURN_IF_ERROR(Verify(request, got));
    const double cost =
        trace_.costs.empty() ? 1.0 : static_cast<double>(trace_.costs[index]);
    CountRequest(result_, window, got.applied,
                 spec_.ignore_size ? 1 : request.size_bytes, cost);
    const bool fillable =
        request.size_bytes > 0 || request.op() == TraceOp::kSet;
    if (got.applied || !fillable) return Status::Ok();
    return Fill(request, key, cost);
  }

  Status Fill(const TraceRequest& request, const std::string& key,
              double cost) {
    const std::uint64_t size = SizeOf(request);
    if (size > spec_.capacity) return Status::Ok();  // The simulator's rule.
    if (size > kValueInMemoryBytesMax) {
      return Status::TooLarge(
          fmt::format("{} bytes > {}: too large for --via engine", size,
                      kValueInMemoryBytesMax));
    }
    const std::uint32_t fill = ++fills_[request.key];
    SetCommand set{
        .key = key,
        .value = values_.Make(trace_.key_hashes[request.key], fill, size)};
    if (spec_.use_ttl && request.ttl_s > 0) {
      set.ttl = std::chrono::seconds(request.ttl_s);
    }
    set.cost = static_cast<float>(cost);
    Status stored = Execute(set, sets_).status;
    // A policy that evicts nothing refuses what does not fit, as in the
    // simulator. Whatever finds no room will be missed.
    if (stored.code() == StatusCode::kNoSpace) {
      ++result_.no_room;
      return Status::Ok();
    }
    return stored;
  }

  /// A hit must return what the last fill of the key stored: its first bytes
  /// say how long that was.
  Status Verify(const TraceRequest& request, const Reply& got) {
    const std::string_view expected = values_.Make(
        trace_.key_hashes[request.key], fills_[request.key], got.value.size());
    if (fills_[request.key] > 0 && got.value.bytes() == expected) {
      return Status::Ok();
    }
    return Status::Corruption(
        fmt::format("key {} returned {} bytes that are not those of its fill "
                    "{}",
                    request.key, got.value.size(), fills_[request.key]));
  }

  Reply Execute(const Command& command, LatencyHistogram& latencies) {
    Reply reply;
    const SteadyClock::time_point start = SteadyClock::now();
    const Status status =
        engine_.Execute(std::span(&command, 1), std::span(&reply, 1));
    latencies.Add(SteadyClock::now() - start);
    if (!status.ok()) reply.status = status;
    return reply;
  }

  [[nodiscard]] std::string KeyOf(const TraceRequest& request) const {
    return EngineKeyOf(trace_.key_hashes[request.key]);
  }
  [[nodiscard]] std::uint64_t SizeOf(
      const TraceRequest& request) const noexcept {
    return spec_.ignore_size ? 1
                             : std::max<std::uint64_t>(request.size_bytes, 1);
  }

  Status AddStats() {
    const Result<EngineStats> stats = engine_.Stats();
    if (!stats) return stats.error();
    const auto ratio = [](std::uint64_t part, std::uint64_t whole) {
      return whole == 0
                 ? 0.0
                 : static_cast<double>(part) / static_cast<double>(whole);
    };
    result_.restamps = stats->restamps;
    result_.evictions = stats->evictions;
    result_.write_amplification =
        ratio(stats->bytes_written_disk, stats->bytes_written_user);
    result_.bytes_written_per_request =
        ratio(stats->bytes_written_disk, result_.requests);
    result_.space_amplification = ratio(stats->disk_bytes, stats->live_bytes);
    result_.get_latency = gets_.Summary();
    result_.set_latency = sets_.Summary();
    return Status::Ok();
  }

  const Trace& trace_;
  const RunSpec& spec_;
  Engine& engine_;
  ManualClock& clock_;
  std::uint64_t now_ms_ = 0;
  RunResult result_;
  ValueMaker values_;
  /// How often each key was filled.
  std::vector<std::uint32_t> fills_;
  LatencyHistogram gets_;
  LatencyHistogram sets_;
  LatencyHistogram deletes_;
};

}  // namespace

Result<RunResult> RunOnEngine(const Trace& trace, const RunSpec& spec,
                              Engine& engine, ManualClock& clock) {
  return EngineRun(trace, spec, &engine, &clock).Run();
}

}  // namespace larder::replay
