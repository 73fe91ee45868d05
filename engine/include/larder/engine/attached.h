#ifndef LARDER_ENGINE_ATTACHED_H_
#define LARDER_ENGINE_ATTACHED_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "larder/engine/clock.h"
#include "larder/engine/status.h"

/// Who has a cache directory open, and what they do, as seen from outside: for
/// people, not for decisions.

namespace larder {

enum class AttachedState : std::uint8_t {
  kRunning = 0,
  kStopped,  ///< By a signal or a debugger.
  kBlocked,  ///< In the kernel, by a disk that does not answer.
  kUnknown,  ///< In another container.
};

/// One process that has the cache open.
struct AttachedProcess {
  std::uint64_t pid = 0;
  AttachedState state = AttachedState::kUnknown;
  bool holds_seat = false;  ///< It has the store open and serves the others.
  TimePoint since{};        ///< When it attached.
  /// Its places among the clients, one for each thread that asked the holder
  /// at the same time as others; none if it never did.
  std::vector<std::size_t> slots;
  std::uint64_t requests = 0;  ///< Answered by the holder, of these places.
  std::uint64_t bytes = 0;     ///< Of these requests and answers.
  /// It has registered the policy that is set (AttachedView::policy), as it
  /// says about twice a second; a stopped one said so before.
  bool has_policy = false;
};

/// What the store says about itself, about once a second, and in an idle cache
/// once in four. The counts are since the cache was made.
struct StoreTotals {
  TimePoint published_at{};
  std::uint64_t count = 0;
  std::uint64_t live_bytes = 0;
  std::uint64_t disk_bytes = 0;
  std::uint64_t size_limit = 0;
  std::uint64_t hits = 0;  ///< Those of the hot tier, too.
  std::uint64_t misses = 0;
  std::uint64_t sets = 0;
  std::uint64_t deletes = 0;
  std::uint64_t evictions = 0;
  std::uint64_t expirations = 0;
};

/// Counts since the first of the processes attached.
struct AttachedFigures {
  std::uint64_t requests = 0;   ///< Messages of clients, executed.
  std::uint64_t commands = 0;   ///< In them.
  std::uint64_t groups = 0;     ///< How often the holder went to work for them.
  std::uint64_t cancelled = 0;  ///< Given up by their client in time.
  std::uint64_t clients_evicted = 0;  ///< For malformed requests.
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t takeovers = 0;  ///< Times that a process began to serve.
  /// Bucket i: requests that took [2^i, 2^(i+1)) ns in the holder.
  std::array<std::uint64_t, 40> service_time{};
  std::uint64_t hot_hits = 0;    ///< Reads that needed no message. Since the
  std::uint64_t hot_misses = 0;  ///< tier was made, as these: known absent.
  std::uint64_t hot_size_bytes = 0;  ///< 0: there is no hot tier.
  std::optional<StoreTotals> store;  ///< nullopt: not yet.
};

struct AttachedView {
  /// Nobody, or all that are attached, the holder first, then by pid. At most
  /// 2048 are listed.
  std::vector<AttachedProcess> processes;
  /// Somebody has the store open. False while it is being opened.
  bool serving = false;
  std::filesystem::path region_directory;
  /// The policy that is set, and the one that places items: another one if the
  /// holder has not registered that. The first 64 bytes; empty: nobody has
  /// served yet.
  std::string policy;
  std::string policy_running;
  AttachedFigures figures;
};

/// Looks at the cache directory `path` without attaching to it, so the result
/// is out of date when it returns. Nothing is changed.
///
/// Threads: thread-safe.
/// Errors:  kNotFound, kPermissionDenied (of another user), kCorruption,
///          kUnsupportedFormat (a larder with another layout of shared
///          memory), kIoError.
/// Cost:    a few system calls per attached process.
[[nodiscard]] Result<AttachedView> ReadAttached(
    const std::filesystem::path& path) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_ATTACHED_H_
