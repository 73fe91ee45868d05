#ifndef LARDER_ENGINE_SRC_INDEX_RUN_TABLE_H_
#define LARDER_ENGINE_SRC_INDEX_RUN_TABLE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace larder {

/// Gives out versions, which are also the positions of small values, and
/// groups consecutive positions into runs of about a segment's size: the unit
/// in which the log of small values is freed.
///
/// Invariants:
/// 1. A version is given once, also over restarts and whatever is thrown away
///    (see HighWater; the ledger keeps the largest one written, too).
/// 2. No run begins above the version that is given next.
/// 3. Run r holds the positions [first(r), first(r')) where r' is the next run
///    that exists or existed.
///
/// Threads: thread-safe.
class RunTable {
 public:
  struct Position {
    std::uint64_t version = 0;
    std::uint32_t run = 0;
    std::uint64_t run_first = 0;
  };
  struct Run {
    std::uint32_t id = 0;
    std::uint64_t first = 0;
    std::uint64_t end = 0;    ///< First position after it.
    std::uint64_t bytes = 0;  ///< Written to it; what is left after cleaning.
  };

  /// The runs are to be loaded, again perhaps.
  void Clear() {
    const std::scoped_lock lock(mutex_);
    runs_.clear();
    sealed_ = true;
  }
  /// What was given in this process before is not given again. `reserve`:
  /// called before a version from `end` on is given, under the lock of this
  /// table, once in a million versions. May be empty.
  using Reserve = std::function<void(std::uint64_t end)>;
  void Start(std::uint64_t next_version, Reserve reserve = {}) {
    const std::scoped_lock lock(mutex_);
    next_version_ = std::max(next_version_, next_version);
    reserved_end_ = next_version_;
    reserve_ = std::move(reserve);
  }
  void SetRunSize(std::uint64_t bytes) {
    const std::scoped_lock lock(mutex_);
    run_size_ = bytes;
  }
  /// A run found on disk.
  void Load(std::uint32_t id, std::uint64_t first, std::uint64_t bytes) {
    const std::scoped_lock lock(mutex_);
    runs_[id] = {first, bytes};
    last_id_ = std::max(last_id_, id);
  }

  std::uint64_t NextVersion() {
    const std::scoped_lock lock(mutex_);
    return TakeVersion();
  }
  /// The one that is given next.
  [[nodiscard]] std::uint64_t next_version() const {
    const std::scoped_lock lock(mutex_);
    return next_version_;
  }
  /// A version for a small value of `bytes`, with the run it goes to.
  Position NextPosition(std::uint64_t bytes) {
    const std::scoped_lock lock(mutex_);
    if (runs_.empty() || sealed_ || runs_.rbegin()->second.bytes >= run_size_) {
      runs_[++last_id_] = {next_version_, 0};
      sealed_ = false;
    }
    auto& [id, run] = *runs_.rbegin();
    run.bytes += bytes;
    return {TakeVersion(), id, run.first};
  }
  /// The next small value starts a new run (none goes on in one from before a
  /// restart, so its size is known).
  void Seal() {
    const std::scoped_lock lock(mutex_);
    sealed_ = true;
  }
  /// Ids up to `id` were given before.
  void SetLastId(std::uint32_t id) {
    const std::scoped_lock lock(mutex_);
    last_id_ = std::max(last_id_, id);
  }
  void SetBytes(std::uint32_t id, std::uint64_t bytes) {
    const std::scoped_lock lock(mutex_);
    const auto run = runs_.find(id);
    if (run != runs_.end()) run->second.bytes = bytes;
  }
  void Drop(std::uint32_t id) {
    const std::scoped_lock lock(mutex_);
    runs_.erase(id);
  }
  /// True if it exists.
  [[nodiscard]] bool Contains(std::uint32_t id) const {
    const std::scoped_lock lock(mutex_);
    return runs_.contains(id);
  }
  /// The one that is written to; 0 = none.
  [[nodiscard]] std::uint32_t current() const {
    const std::scoped_lock lock(mutex_);
    return runs_.empty() || sealed_ ? 0 : runs_.rbegin()->first;
  }
  [[nodiscard]] std::vector<Run> Runs() const {
    const std::scoped_lock lock(mutex_);
    std::vector<Run> runs;
    runs.reserve(runs_.size());
    for (const auto& [id, run] : runs_) {
      if (!runs.empty()) runs.back().end = run.first;
      runs.push_back({id, run.first, next_version_, run.bytes});
    }
    return runs;
  }

 private:
  struct State {
    std::uint64_t first = 0;
    std::uint64_t bytes = 0;
  };
  static constexpr std::uint64_t kReservedAtOnce = 1 << 20;
  // Under mutex_.
  std::uint64_t TakeVersion() {
    if (next_version_ >= reserved_end_) [[unlikely]] {
      reserved_end_ = next_version_ + kReservedAtOnce;
      if (reserve_) reserve_(reserved_end_);
    }
    return next_version_++;
  }

  mutable std::mutex mutex_;  // A leaf but for what reserve_ locks.
  std::uint64_t next_version_ = 1;
  std::uint64_t reserved_end_ = 0;
  Reserve reserve_;
  std::uint64_t run_size_ = 8 << 20;
  std::uint32_t last_id_ = 0;
  bool sealed_ = true;
  std::map<std::uint32_t, State> runs_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_RUN_TABLE_H_
