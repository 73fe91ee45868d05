#ifndef LARDER_TOOLS_REPLAY_REPLAY_RUN_H_
#define LARDER_TOOLS_REPLAY_REPLAY_RUN_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/policy.h"
#include "larder/engine/settings.h"
#include "larder/engine/status.h"

#include "trace.h"

/// One policy at one size over one trace: what is to be run, and what came of
/// it. RunInSimulator and RunThroughEngine take and give the same.

namespace larder::replay {

/// What one run needs besides the trace.
struct RunSpec {
  /// A policy of larder, or a baseline (BaselineNames).
  std::string policy;
  Objective objective = Objective::kObjects;
  /// Bytes, or items if sizes do not count; at least 1.
  std::uint64_t capacity = 0;
  /// Every object counts 1.
  bool ignore_size = false;
  /// Times to live of the trace are in force; else nothing expires.
  bool use_ttl = false;
  std::uint32_t bucket_count = 256;
  std::uint64_t random_seed = 1;
  /// For baselines that know the future; else nullptr.
  const std::vector<std::uint32_t>* next_accesses = nullptr;
  /// Counts requests done, now and then, if not nullptr.
  std::atomic<std::uint64_t>* progress = nullptr;
  /// Set by another thread to end the run early, if not nullptr (kAborted).
  const std::atomic<bool>* cancelled = nullptr;
};

/// Requests and hits of one hundredth of a trace.
struct RunWindow {
  std::uint64_t requests = 0;
  std::uint64_t hits = 0;
};
inline constexpr std::uint64_t kRunWindowCount = 100;

/// Times of one kind of call to the engine, in microseconds.
struct LatencySummary {
  double p50_us = 0;
  double p99_us = 0;
  double max_us = 0;
};

/// What one run found. Rows that delete are not requests.
struct RunResult {
  std::uint64_t requests = 0;
  std::uint64_t deletes = 0;
  std::uint64_t hits = 0;
  std::uint64_t request_bytes = 0;
  std::uint64_t hit_bytes = 0;
  double request_cost = 0;
  double hit_cost = 0;
  /// Hits that write metadata (larder's policies).
  std::uint64_t restamps = 0;
  std::uint64_t evictions = 0;
  double seconds = 0;
  std::vector<RunWindow> windows;

  // Through the engine only.
  std::uint64_t no_room = 0;  ///< Sets that were refused for want of room.
  std::optional<double> write_amplification;
  std::optional<double> bytes_written_per_request;
  std::optional<double> space_amplification;
  std::optional<LatencySummary> get_latency;
  std::optional<LatencySummary> set_latency;

  [[nodiscard]] double object_miss_ratio() const noexcept {
    return Missing(static_cast<double>(hits), static_cast<double>(requests));
  }
  [[nodiscard]] double byte_miss_ratio() const noexcept {
    return Missing(static_cast<double>(hit_bytes),
                   static_cast<double>(request_bytes));
  }
  [[nodiscard]] double cost_miss_ratio() const noexcept {
    return Missing(hit_cost, request_cost);
  }
  [[nodiscard]] double restamps_per_request() const noexcept {
    return requests == 0
               ? 0.0
               : static_cast<double>(restamps) / static_cast<double>(requests);
  }

 private:
  static double Missing(double hit, double all) noexcept {
    return all <= 0 ? 0.0 : 1.0 - hit / all;
  }
};

/// All policies that RunInSimulator knows: larder's, then the baselines.
[[nodiscard]] std::vector<std::string> SimulatorPolicyNames();
/// Errors: kInvalidArgument, listing the names there are.
[[nodiscard]] Status CheckPolicyName(std::string_view name,
                                     const std::vector<std::string>& names);

/// Runs the policy code alone, without a disk.
/// Errors: kInvalidArgument (policy, capacity 0), kAborted.
[[nodiscard]] Result<RunResult> RunInSimulator(const Trace& trace,
                                               const RunSpec& spec);

/// The key under which a run through the engine stores what the trace knows by
/// `key_hash`.
[[nodiscard]] std::string EngineKeyOf(std::uint64_t key_hash);

/// Sorts one request of a run into its result; shared by both kinds of run.
void CountRequest(RunResult& result, RunWindow& window, bool hit,
                  std::uint64_t size_bytes, double cost) noexcept;
/// The requests [begin, end) of window `index` of a trace.
struct WindowRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};
[[nodiscard]] WindowRange RangeOfWindow(const Trace& trace,
                                        std::uint64_t index) noexcept;

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_REPLAY_RUN_H_
