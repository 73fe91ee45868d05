#ifndef LARDER_TOOLS_TORTURE_STORM_WORKER_H_
#define LARDER_TOOLS_TORTURE_STORM_WORKER_H_

#include <cstdint>
#include <string>

#include "larder/cache/cache.h"

namespace larder::tools {

// The sanitizers of gcc 12 cannot: in a child of a process with threads,
// ThreadSanitizer lets no thread start, and AddressSanitizer's allocator may be
// locked for ever, by a thread that the child has not got.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kStormForks = false;
#else
inline constexpr bool kStormForks = true;
#endif

/// One process of `larder torture --full`.
struct StormWorkerOptions {
  std::string directory;  ///< Of the cache.
  std::string work;       ///< Where the board is.
  unsigned process = 0;
  unsigned processes = 1;
  std::uint32_t keys = 1;  ///< Of all processes; batches have keys besides.
  std::uint64_t stream_size_max = 1;
  std::uint64_t seed = 1;
  bool evicts = false;  ///< Misses are no loss; clear, too.
  bool faulty = false;  ///< Writes may fail.
  bool forks = kStormForks;
};

/// Opens the cache and uses it with kStormThreads threads until it is told to
/// stop, or killed; now and then it closes the cache and opens it again. What
/// it finds wrong it reports on the board.
Status RunStormWorker(const StormWorkerOptions& options,
                      CacheOptions cache_options);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_STORM_WORKER_H_
