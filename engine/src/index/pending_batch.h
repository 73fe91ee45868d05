#ifndef LARDER_ENGINE_SRC_INDEX_PENDING_BATCH_H_
#define LARDER_ENGINE_SRC_INDEX_PENDING_BATCH_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <rocksdb/slice.h>
#include <rocksdb/write_batch.h>

#include "hot/hot_writer.h"
#include "index/entry.h"
#include "index/ledger_delta.h"
#include "index/room_claim.h"
#include "index/session_records.h"
#include "index/tag_cutoffs.h"
#include "index/told_items.h"
#include "segments/segment_log.h"

namespace larder {

/// The commit that a group of commands builds: the RocksDB batch, the change
/// of the ledger that goes with it, and what later commands of the group must
/// see of earlier ones.
///
/// Threads: thread-compatible. Lifetime: borrows the commands' bytes.
struct PendingBatch {
  /// What the group has made of one key so far.
  struct Overlay {
    /// The encoded entry; nullopt = deleted.
    std::optional<std::string> entry;
    /// The value of a kRun entry, which only the batch has yet.
    std::string_view run_value;
  };

  rocksdb::WriteBatch batch;
  LedgerDelta delta;
  /// Kept only for groups of several commands.
  bool keep_overlay = false;
  std::unordered_map<std::string, Overlay> overlay;
  std::uint64_t user_bytes = 0;
  std::uint64_t run_bytes = 0;  // To `values`.
  /// A run whose start is not known to be on disk; the batch carries it.
  std::uint32_t run_carried = 0;
  TimePoint earliest_expiry = kNeverExpires;
  /// Where its entries have their values (a sync must include these files).
  std::vector<std::uint32_t> segments;
  /// Of the records that it refers to: their segments are neither sealed nor
  /// freed before it is committed. See BatchScope.
  std::vector<SegmentGrant> grants;
  /// What it replaces, until it is committed or given up. See BatchScope.
  ToldItems::Holds replaced;
  /// Of each item that it replaces or deletes and that was gone with its tag.
  std::vector<std::shared_ptr<TagCutoff>> settled;
  std::string scratch;
  std::string head;
  /// What the commit makes of a key, for RecentEntries.
  struct RecentChange {
    std::string_view key;
    std::uint64_t hash = 0;
    bool present = false;
    std::size_t size = 0;  ///< Of its part of recent_bytes.
  };
  std::vector<RecentChange> recent;
  std::string recent_bytes;

  /// Let go once the commit counts as used; nullptr: there is none.
  RoomClaim* claim = nullptr;

  /// What is answered to clients.
  std::vector<SessionRecords::Record> records;

  /// What the commit makes of one key, for the hot tier.
  struct HotChange {
    enum class Kind : std::uint8_t {
      kPresent,
      kAbsent,
      kUnknown,  ///< Present, but its value is not at hand.
    };
    std::string_view key;
    Kind kind = Kind::kUnknown;
    HotItem item;       ///< Of kPresent.
    std::string owned;  ///< What `item` borrows, if not from the command.
  };
  /// Kept only while there is a hot tier; several of one key: the last counts.
  bool keep_hot = false;
  std::deque<HotChange> hot;  // Items view their own strings: never moved.
  std::size_t hot_count = 0;  ///< Used elements of `hot`, which keep capacity.
  HotChange& AddHot(std::string_view key, HotChange::Kind kind) {
    if (hot_count == hot.size()) hot.emplace_back();
    HotChange& change = hot[hot_count++];
    change.key = key;
    change.kind = kind;
    return change;
  }

  void Clear() {
    constexpr std::size_t kKeepBytesMax = 1 << 20;
    if (batch.GetDataSize() > kKeepBytesMax) batch = rocksdb::WriteBatch();
    batch.Clear();
    delta.Clear();
    keep_overlay = false;
    overlay.clear();
    user_bytes = 0;
    run_bytes = 0;
    run_carried = 0;
    earliest_expiry = kNeverExpires;
    segments.clear();
    grants.clear();
    settled.clear();
    keep_hot = false;
    constexpr std::size_t kKeepHotMax = 1024;
    if (hot.size() > kKeepHotMax) hot.clear();
    hot_count = 0;
    records.clear();
    recent.clear();
    recent_bytes.clear();
    claim = nullptr;
  }
  [[nodiscard]] bool empty() const { return batch.Count() == 0; }
};

/// Lets go what a thread's batch holds, which outlives it, when that is
/// committed or given up.
class BatchScope {
 public:
  explicit BatchScope(PendingBatch& pending) noexcept : pending_(pending) {}
  ~BatchScope() {
    pending_.grants.clear();
    pending_.replaced.Release();
  }
  BatchScope(const BatchScope&) = delete;
  BatchScope& operator=(const BatchScope&) = delete;

 private:
  PendingBatch& pending_;
};

[[nodiscard]] inline rocksdb::Slice ToSlice(std::string_view bytes) noexcept {
  return {bytes.data(), bytes.size()};
}

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_PENDING_BATCH_H_
