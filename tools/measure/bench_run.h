#ifndef LARDER_TOOLS_MEASURE_BENCH_RUN_H_
#define LARDER_TOOLS_MEASURE_BENCH_RUN_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "larder/cache/cache.h"

#include "commands/option_types.h"
#include "measure/latency_histogram.h"

/// The load of `larder bench`: threads, in one process or several, that get,
/// set and delete random keys and time each call.

namespace larder::tools {

inline constexpr std::size_t kBenchOperationCount = 3;
inline constexpr std::array<std::string_view, kBenchOperationCount>
    kBenchOperationNames = {"get", "set", "delete"};

struct BenchOptions {
  std::string directory;
  unsigned processes = 1;
  /// Per process.
  unsigned threads = 1;
  /// Weights of get, set and delete; not all zero.
  std::array<std::uint32_t, kBenchOperationCount> mix = {90, 9, 1};
  std::uint64_t key_count = 100;
  std::string distribution = "uniform";
  /// Sizes of values are uniform in [min, max].
  std::uint64_t value_size_bytes_min = 1;
  std::uint64_t value_size_bytes_max = 500;
  /// Per thread; whichever of the two comes first ends it.
  std::uint64_t operations = 100'000;
  std::chrono::nanoseconds time_max = std::chrono::nanoseconds::max();
  /// Per thread, not measured.
  std::uint64_t warmup_operations = 1'000;
  std::uint64_t seed = 1;
  SettingList settings;
  /// Not 0: the load ends, with kAborted. nullptr: nobody ends it.
  const std::atomic<int>* stopped = nullptr;
};

struct BenchOperation {
  LatencyHistogram times;
  /// get: not found; delete: nothing to delete.
  std::uint64_t misses = 0;
};

/// What one thread, process or run did. It may lie in shared memory.
struct BenchResult {
  std::array<BenchOperation, kBenchOperationCount> operations{};
  /// On the monotonic clock, which all processes share.
  std::int64_t begin_ns = std::numeric_limits<std::int64_t>::max();
  std::int64_t end_ns = std::numeric_limits<std::int64_t>::min();

  void Merge(const BenchResult& other) noexcept;
  [[nodiscard]] double seconds() const noexcept {
    return static_cast<double>(end_ns - begin_ns) / 1e9;
  }
  /// All operations as one.
  [[nodiscard]] BenchOperation Total() const noexcept;
  [[nodiscard]] double operations_per_second() const noexcept;
};
static_assert(std::is_trivially_copyable_v<BenchResult>);

/// What the load is put on: a cache, or something to compare it with.
///
/// Threads: as many as the load has; one for a target that takes only one.
class BenchTarget {
 public:
  virtual ~BenchTarget() = default;
  /// False: a miss.
  [[nodiscard]] virtual Result<bool> Get(std::string_view key) = 0;
  [[nodiscard]] virtual Status Set(std::string_view key,
                                   std::string_view value) = 0;
  /// False: there was nothing to delete.
  [[nodiscard]] virtual Result<bool> Delete(std::string_view key) = 0;
  [[nodiscard]] virtual Status Close() { return Status::Ok(); }
};
using OpenBenchTarget = std::function<Result<std::unique_ptr<BenchTarget>>()>;

/// A target for a cache that outlives it.
std::unique_ptr<BenchTarget> MakeCacheTarget(Cache& cache);
/// Opens the cache at `directory` anew each time.
OpenBenchTarget CacheTargets(std::string directory, CacheOptions options);

/// Runs the threads of one process on its target. `process_index` makes their
/// random numbers differ. After the warm-up, `wait_for_start` is called once,
/// and returns when all processes may begin.
Result<BenchResult> RunBenchProcess(
    BenchTarget& target, const BenchOptions& options, unsigned process_index,
    const std::function<void()>& wait_for_start);

/// Forks `options.processes` children that each open a target and run.
/// REQUIRES: this process has one thread and has not opened the cache.
Result<BenchResult> RunBenchProcesses(const BenchOptions& options,
                                      const OpenBenchTarget& open);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_MEASURE_BENCH_RUN_H_
