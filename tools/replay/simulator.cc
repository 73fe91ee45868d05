#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <xxhash.h>

#include "baseline.h"
#include "policy/rank_cache.h"
#include "replay_run.h"

// The simulator: one loop over the requests, instantiated for larder's own
// policies (RankCache, the classes that the store uses) and for the baselines.
//
// Invariants:
// 1. Every row that is not a delete is one request: a hit, or a miss that is
//    filled with that row's size and time to live. A get of size 0 that
//    misses is not filled: it stands for a key that the recorded cache never
//    got a value for.
// 2. An item keeps size and expiry of its fill while it lives.
// 3. Time never runs backwards: a row with an earlier time happens at the
//    latest time seen.

namespace larder::replay {
namespace {

constexpr std::uint64_t kForever = ~std::uint64_t{0};

struct Step {
  std::size_t index = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t now_ms = 0;
  double cost = 1.0;
};

/// RankCache as RunLoop wants it.
class RankAdapter {
 public:
  RankAdapter(const Trace& trace, const RunSpec& spec, RankCache* cache)
      : use_ttl_(spec.use_ttl), cache_(*cache) {
    // As the store hashes them: sketches and samples are then the same.
    key_hashes_.reserve(trace.key_hashes.size());
    for (const std::uint64_t hash : trace.key_hashes) {
      const std::string key = EngineKeyOf(hash);
      key_hashes_.push_back(XXH3_64bits(key.data(), key.size()));
    }
  }

  bool Access(const TraceRequest& request, const Step& step) {
    const RankCache::Access access{
        .key_hash = key_hashes_[request.key],
        .size_bytes = step.size_bytes,
        .now_ms = static_cast<std::int64_t>(step.now_ms),
        .ttl_ms = use_ttl_ ? std::int64_t{request.ttl_s} * 1000 : 0,
        .cost = step.cost};
    return cache_.Request(access);
  }
  [[nodiscard]] bool Contains(const TraceRequest& request,
                              const Step& step) const {
    return cache_.Contains(key_hashes_[request.key],
                           static_cast<std::int64_t>(step.now_ms));
  }
  void Delete(const TraceRequest& request) {
    static_cast<void>(cache_.Delete(key_hashes_[request.key]));
  }

 private:
  std::vector<std::uint64_t> key_hashes_;
  bool use_ttl_;
  RankCache& cache_;
};

/// A baseline as RunLoop wants it: expiry is kept here, so that a baseline
/// only sees items vanish.
class BaselineAdapter {
 public:
  BaselineAdapter(const Trace& trace, const RunSpec& spec, Baseline* baseline)
      : trace_(trace),
        use_ttl_(spec.use_ttl && trace.has_ttls),
        next_(baseline->needs_future() ? spec.next_accesses : nullptr),
        baseline_(*baseline) {
    if (use_ttl_) expires_ms_.resize(trace.key_hashes.size(), kForever);
  }

  bool Access(const TraceRequest& request, const Step& step) {
    BaselineAccess access{.key = request.key,
                          .index = static_cast<std::uint32_t>(step.index),
                          .size_bytes = step.size_bytes};
    if (next_ != nullptr) {
      access.next_if_hit = access.next_if_filled = (*next_)[step.index];
    }
    if (!use_ttl_) return baseline_.Access(access);

    const std::uint64_t expiry =
        request.ttl_s == 0 ? kForever
                           : step.now_ms + std::uint64_t{request.ttl_s} * 1000;
    std::uint64_t& current = expires_ms_[request.key];
    if (current <= step.now_ms) baseline_.Erase(request.key);
    access.next_if_hit = Reachable(access.next_if_hit, current);
    access.next_if_filled = Reachable(access.next_if_filled, expiry);
    const bool hit = baseline_.Access(access);
    if (!hit) current = expiry;
    return hit;
  }
  [[nodiscard]] bool Contains(const TraceRequest& request,
                              const Step& step) const {
    return baseline_.Contains(request.key) &&
           (!use_ttl_ || expires_ms_[request.key] > step.now_ms);
  }
  void Delete(const TraceRequest& request) { baseline_.Erase(request.key); }

 private:
  /// `next`, unless the item will have expired by then.
  [[nodiscard]] std::uint32_t Reachable(std::uint32_t next,
                                        std::uint64_t expiry) const noexcept {
    if (next == kNeverAgain) return next;
    return trace_.requests[next].time_ms < expiry ? next : kNeverAgain;
  }

  const Trace& trace_;
  bool use_ttl_;
  const std::vector<std::uint32_t>* next_;
  Baseline& baseline_;
  /// Of each key, as of its last fill.
  std::vector<std::uint64_t> expires_ms_;
};

double CostOf(const Trace& trace, std::size_t index) noexcept {
  return trace.costs.empty() ? 1.0 : static_cast<double>(trace.costs[index]);
}

template <typename Adapter>
Result<RunResult> RunLoop(const Trace& trace, const RunSpec& spec,
                          Adapter& adapter) {
  RunResult result;
  std::uint64_t now_ms = 0;
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t w = 0; w < kRunWindowCount; ++w) {
    const WindowRange range = RangeOfWindow(trace, w);
    RunWindow window;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const TraceRequest& request = trace.requests[i];
      now_ms = std::max(now_ms, request.time_ms);
      if (request.op() == TraceOp::kDelete) {
        adapter.Delete(request);
        ++result.deletes;
        continue;
      }
      const std::uint64_t size = spec.ignore_size ? 1 : request.size_bytes;
      const Step step{.index = i,
                      .size_bytes = std::max<std::uint64_t>(size, 1),
                      .now_ms = now_ms,
                      .cost = CostOf(trace, i)};
      const bool fillable =
          request.size_bytes > 0 || request.op() == TraceOp::kSet;
      const bool hit = (fillable || adapter.Contains(request, step)) &&
                       adapter.Access(request, step);
      CountRequest(result, window, hit, size, step.cost);
    }
    result.windows.push_back(window);
    if (spec.progress != nullptr) *spec.progress += range.end - range.begin;
    if (spec.cancelled != nullptr && *spec.cancelled) {
      return Fail(Status(StatusCode::kAborted, "replay was cancelled"));
    }
  }
  const std::chrono::duration<double> elapsed =
      std::chrono::steady_clock::now() - start;
  result.seconds = elapsed.count();
  return result;
}

Result<RunResult> RunRankCache(const Trace& trace, const RunSpec& spec) {
  const RankCache::Options options{.budget_bytes = spec.capacity,
                                   .bucket_count = spec.bucket_count,
                                   .objective = spec.objective,
                                   .random_seed = spec.random_seed};
  Result<std::unique_ptr<RankCache>> cache =
      RankCache::Open(spec.policy, options);
  if (!cache) return Fail(std::move(cache.error()));
  RankAdapter adapter(trace, spec, cache->get());
  Result<RunResult> result = RunLoop(trace, spec, adapter);
  if (!result) return result;
  result->restamps = (*cache)->counters().restamps;
  result->evictions = (*cache)->counters().evicted_items;
  return result;
}

Result<RunResult> RunBaseline(const Trace& trace, const RunSpec& spec,
                              Baseline& baseline) {
  if (baseline.needs_future() && spec.next_accesses == nullptr) {
    return Fail(Status::Internal(spec.policy + " needs the next accesses"));
  }
  BaselineAdapter adapter(trace, spec, &baseline);
  Result<RunResult> result = RunLoop(trace, spec, adapter);
  if (result) result->evictions = baseline.evictions();
  return result;
}

}  // namespace

std::string EngineKeyOf(std::uint64_t key_hash) {
  return fmt::format("{:016x}", key_hash);
}

std::vector<std::string> SimulatorPolicyNames() {
  std::vector<std::string> names = PolicyNames();
  names.insert(names.end(), BaselineNames().begin(), BaselineNames().end());
  return names;
}

Status CheckPolicyName(std::string_view name,
                       const std::vector<std::string>& names) {
  if (std::ranges::find(names, name) != names.end()) return Status::Ok();
  std::string message = "no policy \"" + std::string(name) + "\"; there are ";
  for (std::size_t i = 0; i < names.size(); ++i) {
    message += (i == 0 ? "" : ", ") + names[i];
  }
  return Status::InvalidArgument(std::move(message));
}

void CountRequest(RunResult& result, RunWindow& window, bool hit,
                  std::uint64_t size_bytes, double cost) noexcept {
  ++result.requests;
  ++window.requests;
  result.request_bytes += size_bytes;
  result.request_cost += cost;
  if (!hit) return;
  ++result.hits;
  ++window.hits;
  result.hit_bytes += size_bytes;
  result.hit_cost += cost;
}

WindowRange RangeOfWindow(const Trace& trace, std::uint64_t index) noexcept {
  const std::uint64_t count = trace.requests.size();
  return {
      .begin = static_cast<std::size_t>(count * index / kRunWindowCount),
      .end = static_cast<std::size_t>(count * (index + 1) / kRunWindowCount)};
}

Result<RunResult> RunInSimulator(const Trace& trace, const RunSpec& spec) {
  if (spec.capacity == 0) {
    return Fail(Status::InvalidArgument("size 0: the minimum is 1"));
  }
  const double footprint =
      static_cast<double>(trace.Footprint(spec.ignore_size));
  const BaselineOptions options{
      .capacity_bytes = spec.capacity,
      .key_count = static_cast<std::uint32_t>(trace.key_hashes.size()),
      .average_size_bytes =
          footprint / static_cast<double>(trace.key_hashes.size()),
      .random_seed = spec.random_seed};
  const std::unique_ptr<Baseline> baseline = MakeBaseline(spec.policy, options);
  if (baseline != nullptr) return RunBaseline(trace, spec, *baseline);
  LARDER_FAIL_IF_ERROR(CheckPolicyName(spec.policy, SimulatorPolicyNames()));
  return RunRankCache(trace, spec);
}

}  // namespace larder::replay
