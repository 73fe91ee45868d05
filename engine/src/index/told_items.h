#ifndef LARDER_ENGINE_SRC_INDEX_TOLD_ITEMS_H_
#define LARDER_ENGINE_SRC_INDEX_TOLD_ITEMS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace larder {

/// Sees to it that the eviction callbacks are told of an item (a key's version)
/// once, and only if it did not leave by being overwritten or deleted.
///
/// Two may find a dead item in the index: a writer that holds its key's stripe,
/// and a compaction, whose verdict on a line takes effect only when it is
/// installed. The line may also be an old one that a newer line or a tombstone
/// in another level has replaced. So:
/// 1. Who tells of an item claims its version before, and only the first one
///    gets it.
/// 2. A compaction claims only what the index has of the key just then: no one
///    else does, so what was replaced is never told by a compaction.
/// 3. A version is forgotten only once the index has it no more, which is for
///    ever, since versions are unique: from then on no writer finds it, and by
///    2 no compaction claims it, whatever lines it still reads. What 2 and 3
///    look at in the index they do under the mutex that claims are made under.
/// 4. A writer holds the version that it replaces until its commit, or until it
///    gives up: it has seen whether that lives, and a compaction, which might
///    see it dying meanwhile, leaves the line for the next one.
///
/// A compaction that fails leaves its versions here, as does a writer whose
/// commit fails, so what they told of is not told again. Only a process that
/// dies between the telling and the commit, or the installing, leaves an item
/// that the next one tells of again.
///
/// Bounds:    twice as many as have been told of and are still in the index
///            (lines that running compactions drop), and some more.
/// Lock order: mutexes are leaves but for reads of the index. A compaction must
///            not wait for a stripe: its holder may be waiting for RocksDB.
/// Threads:   thread-safe.
class ToldItems {
 public:
  /// True if the index has this version of `key`, or that cannot be told.
  using IsInIndex =
      std::function<bool(std::string_view key, std::uint64_t version)>;

  explicit ToldItems(IsInIndex is_in_index)
      : is_in_index_(std::move(is_in_index)) {}

  /// Versions that a writer replaces, or keeps in a changed entry. Lets them go
  /// when it goes itself.
  /// Threads: one thread.
  class Holds {
   public:
    Holds() = default;
    ~Holds() { Release(); }
    Holds(const Holds&) = delete;
    Holds& operator=(const Holds&) = delete;
    void Release() noexcept;

   private:
    friend class ToldItems;
    ToldItems* owner_ = nullptr;
    std::vector<std::uint64_t> versions_;
  };

  /// Before a writer replaces it. False: it has been told of, and holding it
  /// would mean nothing. REQUIRES: the stripe of its key is held.
  bool Hold(std::uint64_t version, Holds& holds) noexcept;

  /// True: the caller is to tell of it. REQUIRES: it is in the index, or not
  /// committed, and the stripe of `key` is held.
  [[nodiscard]] bool Claim(std::string_view key,
                           std::uint64_t version) noexcept;

  enum class Verdict : std::uint8_t {
    kTell,   ///< The caller is to tell of it.
    kDrop,   ///< Somebody else did, or it did not leave by itself.
    kLeave,  ///< A writer is at it.
  };
  /// Of a dead line that a compaction is about to drop. `is_current`: the line
  /// is what the index has of `key`.
  [[nodiscard]] Verdict ClaimLine(
      std::string_view key, std::uint64_t version,
      const std::function<bool()>& is_current) noexcept;

  /// Versions that are remembered.
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  struct Shard {
    mutable std::mutex mutex;
    // The rest is guarded by it.
    std::unordered_map<std::uint64_t, std::string> keys;  // By version.
    std::deque<std::uint64_t> queue;  // The same, longest unseen first.
    // How often: whoever has the stripe next may hold a version that is kept.
    std::unordered_map<std::uint64_t, std::uint32_t> held;
  };
  static constexpr std::size_t kShardCount = 64;
  /// So many of a shard are not looked at.
  static constexpr std::size_t kUnseenCountMax = 16;

  [[nodiscard]] Shard& ShardOf(std::uint64_t version) noexcept {
    return shards_[version % kShardCount];
  }
  /// Under the shard's mutex. Forgets some others.
  void Add(Shard& shard, std::string_view key, std::uint64_t version) noexcept;

  const IsInIndex is_in_index_;
  std::array<Shard, kShardCount> shards_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_TOLD_ITEMS_H_
