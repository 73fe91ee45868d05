#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "engine_run.h"
#include "measure/scratch_directory.h"

// The cache directory of one run: made, opened with a logical capacity and
// with physical room to spare, and deleted again.

namespace larder::replay {
namespace {

std::string ParentOf(const EngineRunOptions& options) {
  if (!options.parent_directory.empty()) return options.parent_directory;
  const char* variable = std::getenv("TMPDIR");
  return variable == nullptr || *variable == '\0' ? "/tmp" : variable;
}

/// Enough physical room that the logical capacity is what limits the cache:
/// live values, as much again for cleaning, and the index.
std::uint64_t SizeLimitFor(const Trace& trace, const RunSpec& spec) {
  constexpr std::uint64_t kRoomForAll = 128ULL << 20;
  constexpr std::uint64_t kRoomForItem = 1024;
  const std::uint64_t used =
      std::min(spec.capacity, trace.Footprint(spec.ignore_size));
  const std::uint64_t items =
      std::min<std::uint64_t>(used, trace.key_hashes.size());
  return kRoomForAll + 3 * used + kRoomForItem * items;
}

std::string_view NameOf(Objective objective) noexcept {
  if (objective == Objective::kBytes) return "bytes";
  return objective == Objective::kCost ? "cost" : "objects";
}

}  // namespace

Result<RunResult> RunThroughEngine(const Trace& trace, const RunSpec& spec,
                                   const EngineRunOptions& options) {
  if (spec.capacity == 0) {
    return Fail(Status::InvalidArgument("size 0: the minimum is 1"));
  }
  const auto scratch =
      tools::ScratchDirectory::Create(ParentOf(options), "replay");
  if (!scratch) return Fail(scratch.error());
  // Any time will do; far from 0, so that no expiry is before the epoch.
  ManualClock clock(TimePoint(std::chrono::hours(24 * 365 * 50)));
  EngineOptions engine_options;
  engine_options.settings = {
      {"size_limit", std::to_string(SizeLimitFor(trace, spec))},
      {"policy", spec.policy},
      {"objective", std::string(NameOf(spec.objective))}};
  engine_options.clock = &clock;
  engine_options.random_seed = spec.random_seed;
  // Housekeeping in the calls: the same requests give the same result.
  engine_options.background = false;
  engine_options.serve_evicted = options.serve_evicted;
  engine_options.logical_capacity = spec.capacity;
  Result<std::unique_ptr<Engine>> engine =
      OpenEngine(scratch->path() / "cache", std::move(engine_options));
  if (!engine) return Fail(std::move(engine.error()));
  Result<RunResult> result = RunOnEngine(trace, spec, **engine, clock);
  const Status closed = (*engine)->Close();
  if (result && !closed.ok()) return Fail(closed);
  return result;
}

}  // namespace larder::replay
