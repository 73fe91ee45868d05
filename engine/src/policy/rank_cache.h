#ifndef LARDER_ENGINE_SRC_POLICY_RANK_CACHE_H_
#define LARDER_ENGINE_SRC_POLICY_RANK_CACHE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "larder/engine/policy.h"
#include "larder/engine/status.h"

#include "policy/rank_space.h"

namespace larder {

/// A cache without values: what a policy, the rank space and a table of items
/// make of a stream of requests. It is the policy code of the store alone, for
/// replaying traces at millions of requests a second.
///
/// Differences from the store: an evicted item is a miss at once (the store
/// serves it until its bytes are cleaned away), and times are milliseconds.
///
/// Threads: thread-compatible. Memory: 32 bytes times at most 4 per item that
/// is live or a ghost (RankSpace::IsGhost); other dead items are forgotten.
class RankCache {
 public:
  struct Options {
    std::uint64_t budget_bytes = 0;
    std::uint32_t bucket_count = 256;
    Objective objective = Objective::kObjects;
    std::uint64_t random_seed = 1;
  };
  /// One request of a trace: get, and on a miss fill with `size_bytes` and
  /// `ttl_ms`. A hit keeps size and expiry of its fill.
  struct Access {
    std::uint64_t key_hash = 0;
    std::uint64_t size_bytes = 1;
    std::int64_t now_ms = 0;  ///< Never less than that of the request before.
    std::int64_t ttl_ms = 0;  ///< 0 = never expires.
    double cost = 1.0;
  };
  struct Counters {
    std::uint64_t requests = 0;
    std::uint64_t request_bytes = 0;
    std::uint64_t hits = 0;
    std::uint64_t hit_bytes = 0;
    double request_cost = 0;
    double hit_cost = 0;
    std::uint64_t restamps = 0;  ///< Hits that would write metadata.
    std::uint64_t insertions = 0;
    std::uint64_t inserted_bytes = 0;
    std::uint64_t rejections = 0;  ///< Larger than the budget, or full.
    std::uint64_t evicted_items = 0;
    std::uint64_t evicted_bytes = 0;
    std::uint64_t expired_items = 0;
    [[nodiscard]] double object_miss_ratio() const noexcept;
    [[nodiscard]] double byte_miss_ratio() const noexcept;
    [[nodiscard]] double cost_miss_ratio() const noexcept;
    [[nodiscard]] double restamps_per_request() const noexcept;
  };

  /// Errors: kInvalidArgument (unknown policy, budget 0).
  static Result<std::unique_ptr<RankCache>> Open(std::string_view policy_name,
                                                 const Options& options);
  /// REQUIRES: `policy` is not null.
  RankCache(std::unique_ptr<Policy> policy, const Options& options);

  /// True for a hit.
  bool Request(const Access& access);
  /// Whether a request would hit now.
  [[nodiscard]] bool Contains(std::uint64_t key_hash,
                              std::int64_t now_ms) const noexcept;
  /// False if there was none.
  bool Delete(std::uint64_t key_hash);

  /// Changes the policy of the living cache: items keep their ranks.
  /// REQUIRES: `policy` is not null.
  void SetPolicy(std::unique_ptr<Policy> policy) noexcept;
  /// Evicts what is over.
  void SetBudget(std::uint64_t bytes);

  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  /// After a warm-up.
  void ResetCounters() noexcept { counters_ = {}; }
  [[nodiscard]] const RankSpace& space() const noexcept { return space_; }
  [[nodiscard]] Policy& policy() noexcept { return *policy_; }
  /// Slots of the table: what bounds its memory.
  [[nodiscard]] std::size_t slot_count() const noexcept {
    return slots_.size();
  }

 private:
  struct Slot {
    std::uint64_t key_hash = 0;
    Rank rank = 0;  // 0: free. kDeletedRank: not in the cache.
    std::uint64_t size : 48 = 0;
    std::uint64_t frequency : 8 = 0;
    std::uint64_t column_log2 : 8 = 0;  // Width of its expiry column.
    std::int64_t expiry_ms = 0;
  };
  static_assert(sizeof(Slot) == 32);
  // Bytes and items by rank, of the items that expire at one time.
  using ExpiryColumn = std::unordered_map<Rank, RankRow>;

  Slot& FindSlot(std::uint64_t key_hash);
  [[nodiscard]] const Slot* Find(std::uint64_t key_hash) const noexcept;
  [[nodiscard]] bool IsPresent(const Slot& slot,
                               std::int64_t now_ms) const noexcept;
  void Hit(Slot& slot, const Access& access);
  bool Fill(Slot& slot, const Access& access);
  bool MakeRoom(std::uint64_t size_bytes);
  void Count(const Slot& slot, std::int64_t items);
  void ExpireColumns();
  void Rehash();

  std::unique_ptr<Policy> policy_;
  Policy::Laziness laziness_;
  RankSpace space_;
  Counters counters_;
  std::vector<Slot> slots_;  // Open addressing, linear probing; power of two.
  std::size_t used_ = 0;     // Slots that are not free.
  std::int64_t now_ms_ = 0;
  std::map<std::int64_t, ExpiryColumn> columns_;  // By their end.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_POLICY_RANK_CACHE_H_
