#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include <stdlib.h>

#include "engine_run.h"

// The cache directory of one run: made, opened with a logical capacity and
// with physical room to spare, and deleted again.

namespace larder::replay {
namespace {

/// Deletes a directory when it goes out of scope.
class ScratchDirectory {
 public:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  ~ScratchDirectory() {
    std::error_code ignored;  // What cannot be deleted is left behind.
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

Result<std::string> MakeDirectory(std::string parent) {
  if (parent.empty()) {
    const char* variable = std::getenv("TMPDIR");
    parent = variable == nullptr || *variable == '\0' ? "/tmp" : variable;
  }
  std::string path = parent + "/larder-replay-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    return Fail(Status::FromErrno(errno, path));
  }
  return path;
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
  Result<std::string> path = MakeDirectory(options.parent_directory);
  if (!path) return Fail(std::move(path.error()));
  const ScratchDirectory directory(std::move(*path));
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
      OpenEngine(directory.path() + "/cache", std::move(engine_options));
  if (!engine) return Fail(std::move(engine.error()));
  Result<RunResult> result = RunOnEngine(trace, spec, **engine, clock);
  const Status closed = (*engine)->Close();
  if (result && !closed.ok()) return Fail(closed);
  return result;
}

}  // namespace larder::replay
