#ifndef LARDER_ENGINE_POLICY_H_
#define LARDER_ENGINE_POLICY_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/settings.h"
#include "larder/engine/status.h"

/// Eviction policies as ranks. Every item has a rank, a number that its policy
/// gives it when it is stored and perhaps again when it is hit. Eviction
/// raises a cutoff: all items ranked below it are dead at once.

namespace larder {

/// class (2 bits) | level (42 bits) | sequence in level (20 bits).
using Rank = std::uint64_t;

inline constexpr int kRankClassCount = 4;
inline constexpr std::uint8_t kClassProbation = 0;
inline constexpr std::uint8_t kClassMain = 1;
/// Items that are never evicted.
inline constexpr std::uint8_t kClassPinned = 3;

constexpr std::uint8_t RankClass(Rank rank) noexcept {
  return static_cast<std::uint8_t>(rank >> 62);
}
constexpr std::uint64_t RankLevel(Rank rank) noexcept {
  return (rank >> 20) & ((std::uint64_t{1} << 42) - 1);
}
constexpr std::uint32_t RankSequence(Rank rank) noexcept {
  return static_cast<std::uint32_t>(rank & 0xFFFFF);
}

/// What a policy is told of the item in question.
struct PolicyItem {
  std::uint64_t key_hash = 0;
  /// What the item costs in the cache's budget.
  std::uint64_t size_bytes = 0;
  double cost = 1.0;
  /// Its rank now; 0 for an item that is not in the cache. That of a ghost is
  /// the one that it died with: its class tells where from.
  Rank rank = 0;
  /// What the policy left in Placement::frequency at the last stamp.
  std::uint8_t frequency = 0;
  /// It was evicted, and its entry is still known: a ghost.
  bool ghost = false;
};

/// Where a policy wants an item: value `v` in one class. Values are relative:
/// 1 = an average item seen once; more is kept longer. Capped at 4096.
struct Placement {
  std::uint8_t class_index = kClassMain;
  double value = 1.0;
  std::uint8_t frequency = 0;
};

/// What a policy may know of the cache it works for.
struct PolicyContext {
  std::uint64_t budget_bytes = 0;
  std::uint64_t live_bytes = 0;
  std::uint64_t live_items = 0;
  /// Live bytes of each class, and the rank below which it is dead.
  std::array<std::uint64_t, kRankClassCount> class_bytes{};
  std::array<Rank, kRankClassCount> cutoffs{0, Rank{1} << 62, Rank{2} << 62,
                                            Rank{3} << 62};
  Objective objective = Objective::kObjects;
  std::uint64_t random_seed = 1;
  /// live_bytes / live_items, at least 1.
  [[nodiscard]] double average_size() const noexcept {
    return live_items == 0 ? 1.0
                           : static_cast<double>(live_bytes) /
                                 static_cast<double>(live_items);
  }
  /// What a live `rank` is still worth: its Placement::value when it was
  /// given, less all that its class has been cut since.
  [[nodiscard]] double value_left(Rank rank) const noexcept {
    return (static_cast<double>(RankLevel(rank)) -
            static_cast<double>(RankLevel(cutoffs[RankClass(rank)]))) /
           256.0;
  }
};

/// An eviction policy. A class of one's own derives from this and is given to
/// RegisterPolicy.
///
/// Threads: thread-compatible: the cache calls it under a lock. It must not
///          call the cache, block or throw.
class Policy {
 public:
  virtual ~Policy() = default;
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;

  /// Every request of the workload, before its OnInsert or OnHit; for
  /// sketches and shadow caches. A miss alone is none: its size is unknown;
  /// the store of the value that fills it is the request.
  virtual void OnAccess(const PolicyItem& item, const PolicyContext& context) {
    static_cast<void>(item), static_cast<void>(context);
  }
  /// An item is stored (new, or overwriting: `item.rank` is then the old one).
  virtual Placement OnInsert(const PolicyItem& item,
                             const PolicyContext& context) = 0;
  /// An item was hit. nullopt: its rank stays.
  virtual std::optional<Placement> OnHit(const PolicyItem& item,
                                         const PolicyContext& context) = 0;
  /// Share of the budget that class `kClassProbation` may fill before it is
  /// evicted from; 0 = one class only.
  [[nodiscard]] virtual double probation_share() const noexcept { return 0.0; }
  /// False: nothing is ever evicted (policy `none`).
  [[nodiscard]] virtual bool evicts() const noexcept { return true; }
  /// Laziness of re-stamps: see RankSpace::Restamp.
  struct Laziness {
    double value_gain = 0.5;      ///< g
    double sequence_gain = 0.25;  ///< gs
  };
  [[nodiscard]] virtual Laziness laziness() const noexcept { return {}; }

  /// State that should survive a restart, at most 1 MiB; may be empty.
  [[nodiscard]] virtual std::string SaveState() const { return {}; }
  /// Takes what SaveState gave, perhaps of another version: ignore what does
  /// not fit.
  virtual void LoadState(std::string_view state) { static_cast<void>(state); }
};

using PolicyFactory = std::function<std::unique_ptr<Policy>()>;

/// Makes `factory`'s policy available under `name`, best before a cache is
/// opened that has it set. Threads: thread-safe.
/// Processes: each registers its own. In one that has not, `adaptive` runs in
///            the place of `name`, until the store is given to one that has.
/// Errors: kInvalidArgument (name in use or empty).
Status RegisterPolicy(std::string name, PolicyFactory factory);
/// Errors: kInvalidArgument, which lists the names there are.
Result<std::unique_ptr<Policy>> MakePolicy(std::string_view name);
/// All names, built-in ones first.
[[nodiscard]] std::vector<std::string> PolicyNames();

}  // namespace larder

#endif  // LARDER_ENGINE_POLICY_H_
