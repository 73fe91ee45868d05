#ifndef LARDER_TOOLS_TORTURE_STORM_RUN_H_
#define LARDER_TOOLS_TORTURE_STORM_RUN_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "larder/cache/cache.h"
#include "larder/engine/status.h"

#include "torture/storm_board.h"
#include "torture/storm_worker.h"

namespace larder::tools {

/// A round of `larder torture --full`: a cache of its own, of which nothing is
/// evicted in every other round, and all that may happen to its processes.
struct StormOptions {
  std::string directory;  ///< Of the cache; made by the round.
  std::string work;       ///< Exists, empty.
  unsigned processes = 4;
  double seconds = 30;
  std::chrono::milliseconds kill_every{300};  ///< 0: nobody is disturbed.
  std::chrono::milliseconds hang_after{30'000};
  bool fill_disk = false;  ///< Fill the file system now and then.
  std::uint64_t seed = 1;  ///< Even: nothing is evicted.
  /// Not 0: time is up, and what was found is not looked at. nullptr: nobody
  /// ends it.
  const std::atomic<int>* stopped = nullptr;
  std::string program = "/proc/self/exe";
};

/// What was done, what was found.
struct StormReport {
  std::uint64_t rounds = 0;
  std::uint64_t holders_killed = 0;
  std::uint64_t clients_killed = 0;
  std::uint64_t stops = 0;
  std::uint64_t long_stops = 0;  ///< Of more than 10 s.
  std::uint64_t write_faults = 0;
  std::uint64_t full_disks = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t reads = 0;
  std::uint64_t bytes_compared = 0;
  std::uint64_t handles_held = 0;
  std::uint64_t streams = 0;
  std::uint64_t clears = 0;
  std::uint64_t forks = 0;
  std::uint64_t refused = 0;
  std::uint64_t in_doubt = 0;
  std::array<std::uint64_t, kStormFaultCount> faults{};
  std::uint64_t damaged = 0;  ///< By Check, or counted as corruption.
  std::uint64_t evicted = 0;  ///< Although nothing may be.
  std::uint64_t hung = 0;
  std::uint64_t died = 0;
  std::uint64_t size_samples = 0;
  std::uint64_t over_limit = 0;  ///< Of those, over the limit and its slack.
  double size_max = 0;           ///< In parts of the limit.
  double seconds = 0;
  std::vector<std::string> problems;  ///< The first ones, for people.

  [[nodiscard]] bool ok() const noexcept;
  void Add(const StormReport& round);
};

/// Errors: what keeps the round from being run.
Result<StormReport> RunStorm(const StormOptions& options);

/// What the cache of a round is opened with.
[[nodiscard]] CacheOptions StormCacheOptions(std::uint64_t seed);

/// Sets what the seed of its round says of a process.
void SetUpStormWorker(StormWorkerOptions& options);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_STORM_RUN_H_
