#ifndef LARDER_ENGINE_SRC_HOT_HOT_WRITER_H_
#define LARDER_ENGINE_SRC_HOT_HOT_WRITER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/clock.h"
#include "larder/engine/command.h"
#include "larder/engine/policy.h"
#include "larder/engine/status.h"

#include "hot/hot_arena.h"
#include "hot/hot_layout.h"
#include "os/shared_region.h"
#include "segments/segment_log.h"

namespace larder {

/// A value for the hot tier, with all that Get answers. Borrowed.
struct HotItem {
  std::string_view value;
  /// Where the value is, in place of it; segment 0: it is `value`.
  SegmentPlace place;
  std::string_view tag;
  std::uint64_t version = 0;
  TimePoint stored_at{};
  TimePoint expires_at = kNeverExpires;
  Rank rank = 0;
  std::uint32_t frequency = 0;
  CodecId codec = 0;
  bool pinned = false;
};

/// An item that was read since the holder last looked.
struct HotTouched {
  std::string key;
  std::uint64_t version = 0;
  Rank rank = 0;
  std::uint32_t hits = 1;  ///< A lower bound.
  std::uint32_t entry = 0;
};

struct HotTierFigures {
  std::uint64_t hits = 0;    ///< Since the tier was made.
  std::uint64_t misses = 0;  ///< Answered "absent" by the tier.
  std::uint64_t items = 0;
  std::uint64_t live_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t evictions = 0;
};

/// Writes the hot tier. The order that makes readers linearizable, for every
/// change of a key: Begin (readers must ask the store), commit to the store,
/// Publish, PublishAbsent or Drop (readers see the new state), acknowledge.
///
/// Invariants:
/// 1. An entry that readers may use holds what the store has. If the process
///    dies, entries between Begin and their end stay hidden.
/// 2. There is at most one entry per key.
/// 3. Fill and FillAbsent take effect only if no change of the key began or
///    ended since the FillToken was made.
///
/// Threads:   thread-safe. Two threads must not have the same key between
///            Begin and its end (the store's key locks see to that).
/// Processes: one, the holder of the seat.
/// Cost:      0.1-0.3 us and a copy of the value.
class HotWriter {
 public:
  struct Options {
    RegionAddress hot;    ///< Kind kHot.
    RegionAddress touch;  ///< Kind kTouch, same number.
    std::uint64_t size_bytes = 64U << 20;
    /// Larger values get in when they are read, not when they are written.
    std::size_t admit_on_write_max = 4096;
  };

  /// Takes over the regions of another holder. The content is kept if that one
  /// closed in good order. Errors: kNotFound, kCorruption, kInvalidArgument (it
  /// is larger than `size_bytes`, or there is room for one of more than twice
  /// its size); then nobody finds anything in it any more, and a new one with
  /// another number is to be made.
  static Result<std::unique_ptr<HotWriter>> TakeOver(
      const Options& options) noexcept;
  /// Makes new regions. Errors: kNoSpace, kInvalidArgument (size), those of
  /// SharedRegion.
  static Result<std::unique_ptr<HotWriter>> Create(
      const Options& options) noexcept;
  /// The size to ask for: `wanted`, but at most a quarter of what is free in
  /// the region directory; 0 if that is not worth it.
  [[nodiscard]] static std::uint64_t FittingSize(
      const std::filesystem::path& directory, std::uint64_t wanted) noexcept;
  /// Declares the content good for the next holder. REQUIRES: no Begin is
  /// without its end, and the store is closed or about to be, unchanged.
  void CloseCleanly() noexcept;
  HotWriter(const HotWriter&) = delete;
  HotWriter& operator=(const HotWriter&) = delete;

  [[nodiscard]] const HotRegions& regions() const noexcept { return regions_; }

  // Changes of a key
  /// Says that a key is being changed. Must be ended by exactly one of the
  /// three calls below.
  struct Ticket {
    std::uint32_t entry = 0;
    bool has_entry = false;
    std::uint64_t barrier = 0;
  };
  [[nodiscard]] Ticket Begin(const HotKey& key) noexcept;
  /// Brings near what a Begin soon after will look at, which it would else
  /// wait for: few of the entries are in the processor's caches.
  void Prefetch(const HotKey& key) const noexcept {
    __builtin_prefetch(&stripes_[StripeOf(key)], 1);
    if (!holds_any_.load(std::memory_order_relaxed)) return;
    const HotEntry* const bucket = regions_.entries + regions_.BucketOf(key);
    for (std::size_t i = 0; i < kHotBucketEntries; ++i) {
      __builtin_prefetch(bucket + i, 1);
    }
  }
  void Publish(const Ticket& ticket, const HotKey& key,
               const HotItem& item) noexcept;
  void PublishAbsent(const Ticket& ticket, const HotKey& key) noexcept;
  /// The tier knows nothing of the key: after a failed commit, or a value that
  /// is not for it.
  void Drop(const Ticket& ticket, const HotKey& key) noexcept;
  /// Around several keys that change together; nests.
  void BeginBatch() noexcept;
  void EndBatch() noexcept;

  // What was read from the store
  /// To be made before the store is read.
  struct FillToken {
    std::uint32_t version = 0;
    std::uint64_t barrier = 0;
  };
  [[nodiscard]] FillToken BeginFill(const HotKey& key) const noexcept;
  void Fill(const FillToken& token, const HotKey& key,
            const HotItem& item) noexcept;
  void FillAbsent(const FillToken& token, const HotKey& key) noexcept;

  // Changes of many keys at once
  /// Clear and EvictTag: Begin hides everything concerned from readers, then
  /// the store commits, then End. In between nothing gets in.
  void BeginClear() noexcept;
  void BeginEvictTag(std::string_view tag) noexcept;
  void EndInvalidation() noexcept;
  /// Entries of the class ranked below are not shown any more.
  void SetCutoff(std::uint8_t rank_class, Rank cutoff) noexcept;

  // What readers did
  /// Up to about `count_max` items that were read since they were last
  /// returned, from where the last call ended.
  [[nodiscard]] std::vector<HotTouched> TakeTouched(
      std::size_t count_max) noexcept;
  /// The item got another rank in the store; ignored if it has changed since.
  void SetRank(const HotTouched& item, Rank rank) noexcept;
  [[nodiscard]] HotTierFigures Figures() const noexcept;

 private:
  HotWriter(const Options& options, std::unique_ptr<SharedRegion> hot,
            std::unique_ptr<SharedRegion> touch) noexcept;
  void Adopt() noexcept;
  void RebuildArena();
  void Reset() noexcept;
  HotArena::Callbacks ArenaCallbacks();

  // Of one stripe of keys: how many changes are under way, and a number that
  // changes with each of them.
  struct KeyStripe {
    std::atomic<std::uint32_t> version{0};
    std::uint32_t pending = 0;  // Guarded by mutex_.
  };
  static constexpr std::size_t kKeyStripes = 4096;
  [[nodiscard]] static std::size_t StripeOf(const HotKey& key) noexcept {
    return (key.hash.low64 >> 16) % kKeyStripes;
  }

  // All below: REQUIRES mutex_.
  [[nodiscard]] HotPlace PlaceOf(std::uint64_t entry) const noexcept;
  [[nodiscard]] bool IsOdd(std::uint64_t entry) const noexcept;
  [[nodiscard]] bool IsOurs(const HotPlace& place) const noexcept;
  [[nodiscard]] std::uint64_t BlockSizeOf(std::uint64_t entry) const noexcept;
  [[nodiscard]] bool Holds(std::uint64_t entry,
                           const HotKey& key) const noexcept;
  [[nodiscard]] std::int64_t Find(const HotKey& key) const noexcept;
  [[nodiscard]] std::int64_t TakeVictim(const HotKey& key) noexcept;
  void MakeOdd(std::uint64_t entry) noexcept;
  void MakeEven(std::uint64_t entry, std::uint32_t tag) noexcept;
  void SetEmpty(std::uint64_t entry) noexcept;
  void BeginInvalidation() noexcept;
  void EndChange(const HotKey& key) noexcept;
  [[nodiscard]] std::int64_t EntryForPublish(const Ticket& ticket,
                                             const HotKey& key,
                                             std::size_t value_size) noexcept;
  [[nodiscard]] bool IsCurrent(std::uint64_t barrier) const noexcept;
  [[nodiscard]] bool MayFill(const FillToken& token,
                             const HotKey& key) const noexcept;
  void Put(std::uint64_t entry, const HotKey& key,
           const HotItem& item) noexcept;
  void PutAbsent(std::uint64_t entry, const HotKey& key) noexcept;
  void Release(std::uint64_t entry) noexcept;
  void MoveBlock(std::uint32_t entry, std::uint32_t to) noexcept;
  [[nodiscard]] bool IsRecent(std::uint64_t entry) noexcept;

  const Options options_;
  std::unique_ptr<SharedRegion> hot_;
  std::unique_ptr<SharedRegion> touch_;
  HotRegions regions_;
  // Guards the entries (as far as writing goes), the arena and the fields
  // below. Last in the lock order: nothing is locked under it.
  mutable std::mutex mutex_;
  HotArena arena_;
  std::array<KeyStripe, kKeyStripes> stripes_;
  // Even; odd while a clear or tag eviction is under way.
  std::atomic<std::uint64_t> barrier_{0};
  int batches_ = 0;
  int invalidations_ = 0;
  // False until the first entry: who only writes need not look for any.
  std::atomic<bool> holds_any_{false};
  std::uint64_t items_ = 0;
  std::vector<std::uint8_t> recent_;  // Second chances, per entry.
  std::uint64_t touched_cursor_ = 0;
  std::uint64_t touched_total_ = 0;  // Hits there were at the last sweep,
  bool touched_left_ = false;        // which did not get to all of them.
  std::uint64_t victim_cursor_ = 0;
  std::array<std::uint64_t, kHotStripes> ring_seen_{};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_HOT_HOT_WRITER_H_
