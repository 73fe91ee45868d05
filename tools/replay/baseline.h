#ifndef LARDER_TOOLS_REPLAY_BASELINE_H_
#define LARDER_TOOLS_REPLAY_BASELINE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/status.h"

#include "trace.h"

/// Well-known eviction algorithms, exact and per item, to measure larder's own
/// policies against. None of them is part of the cache.

namespace larder::replay {

/// One access, as a baseline sees it.
struct BaselineAccess {
  std::uint32_t key = 0;
  /// Of the request in its trace; grows.
  std::uint32_t index = 0;
  /// At least 1.
  std::uint64_t size_bytes = 1;
  /// Index of the next access that the item as it is now can serve, or
  /// kNeverAgain; only for algorithms that know the future.
  std::uint32_t next_if_hit = kNeverAgain;
  /// The same if this access fills the item anew (another expiry).
  std::uint32_t next_if_filled = kNeverAgain;
};

struct BaselineOptions {
  std::uint64_t capacity_bytes = 1;
  /// Keys are 0 .. key_count - 1; memory is 16 to 40 bytes for each.
  std::uint32_t key_count = 0;
  /// To size frequency sketches; at least 1.
  double average_size_bytes = 1;
  std::uint64_t random_seed = 1;
};

/// A cache that is asked for each object in turn. An object that is larger than
/// the capacity is not kept. An object keeps the size of its fill while it is
/// cached.
///
/// Threads: thread-compatible.
class Baseline {
 public:
  virtual ~Baseline() = default;
  /// True if the item was there; else it is now, if the algorithm wants it.
  /// REQUIRES: access.key < key_count.
  [[nodiscard]] virtual bool Access(const BaselineAccess& access) = 0;
  [[nodiscard]] virtual bool Contains(std::uint32_t key) const noexcept = 0;
  /// Drops an item, if it is there.
  virtual void Erase(std::uint32_t key) = 0;
  /// Bytes of the items that are there; never more than the capacity.
  [[nodiscard]] virtual std::uint64_t used_bytes() const noexcept = 0;
  /// Items dropped to make room.
  [[nodiscard]] virtual std::uint64_t evictions() const noexcept = 0;
  /// Access reads `next_if_...`.
  [[nodiscard]] virtual bool needs_future() const noexcept { return false; }
};

/// Names that MakeBaseline knows: lru, fifo, sieve, s3fifo, arc, lirs,
/// wtinylfu, wtinylfu-climber, belady, belady-size, belady-bypass,
/// belady-size-bypass.
[[nodiscard]] const std::vector<std::string>& BaselineNames();
/// nullptr if `name` is none of them.
[[nodiscard]] std::unique_ptr<Baseline> MakeBaseline(
    std::string_view name, const BaselineOptions& options);

// Each in a file of its own.
[[nodiscard]] std::unique_ptr<Baseline> MakeLru(const BaselineOptions& options);
[[nodiscard]] std::unique_ptr<Baseline> MakeFifo(
    const BaselineOptions& options);
[[nodiscard]] std::unique_ptr<Baseline> MakeSieve(
    const BaselineOptions& options);
[[nodiscard]] std::unique_ptr<Baseline> MakeS3Fifo(
    const BaselineOptions& options);
[[nodiscard]] std::unique_ptr<Baseline> MakeArc(const BaselineOptions& options);
[[nodiscard]] std::unique_ptr<Baseline> MakeLirs(
    const BaselineOptions& options);
enum class WindowSizing : std::uint8_t { kFixed, kHillClimbing };
[[nodiscard]] std::unique_ptr<Baseline> MakeWTinyLfu(
    const BaselineOptions& options, WindowSizing sizing);
enum class BeladyAdmission : std::uint8_t { kMustAdmit, kMayBypass };
enum class BeladyVictim : std::uint8_t { kFarthest, kFarthestTimesSize };
[[nodiscard]] std::unique_ptr<Baseline> MakeBelady(
    const BaselineOptions& options, BeladyVictim victim,
    BeladyAdmission admission);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_BASELINE_H_
