#ifndef LARDER_TOOLS_TORTURE_TORTURE_RUN_H_
#define LARDER_TOOLS_TORTURE_TORTURE_RUN_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "larder/engine/status.h"

namespace larder::tools {

/// Problems that are told one by one.
inline constexpr std::size_t kTortureProblemsMax = 20;

struct TortureOptions {
  std::string directory;
  std::string work;  ///< Exists, empty: journals, states, what writers say.
  std::uint64_t run = 0;
  unsigned processes = 4;
  double seconds = 10;
  std::chrono::milliseconds kill_every{200};  ///< 0: nobody is killed.
  bool stop = false;          ///< Stop and continue processes, too.
  bool holders_only = false;  ///< Kill nobody but the holder.
  std::chrono::milliseconds hang_after{20'000};
  std::uint64_t seed = 1;
  /// Not 0: time is up. nullptr: nobody ends it.
  const std::atomic<int>* stopped = nullptr;
  /// The larder command, which writers are.
  std::string program = "/proc/self/exe";
};

/// A kill of the process that held the seat.
struct TortureKill {
  std::int64_t sent_ns = 0;
  std::int64_t dead_ns = 0;  ///< It had been waited for by then.
  /// When a process was stopped next; a takeover that was not over by then
  /// says nothing.
  std::int64_t stopped_ns = std::numeric_limits<std::int64_t>::max();
};

/// What was done to the writers, and how they bore it.
struct TortureEvents {
  std::vector<unsigned> lives;  ///< Of each writer.
  std::vector<TortureKill> holder_kills;
  std::uint64_t clients_killed = 0;
  std::uint64_t stops = 0;
  std::uint64_t hung = 0;  ///< Made no progress for `hang_after`.
  std::uint64_t died = 0;  ///< Ended in a way that nobody asked for.
  std::vector<std::string> problems;
  double seconds = 0;
};

/// Starts the writers, kills them at random and starts them again until time
/// is up, then lets them close. The cache must exist; nothing is verified.
/// Errors: what keeps a process from being started.
Result<TortureEvents> RunTorture(const TortureOptions& options);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_TORTURE_RUN_H_
