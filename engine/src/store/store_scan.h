#ifndef LARDER_ENGINE_SRC_STORE_STORE_SCAN_H_
#define LARDER_ENGINE_SRC_STORE_STORE_SCAN_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <rocksdb/iterator.h>

#include "index/tag_cutoffs.h"
#include "segments/read_ahead_pace.h"
#include "space/open_scans.h"
#include "store/store.h"

namespace larder {

/// Which entries lived at one moment: what the ledger said then.
struct LivenessView {
  std::uint32_t epoch = 0;
  std::array<Rank, kRankClassCount> cutoffs{};
  TimePoint now{};
  TagCutoffView tags;

  [[nodiscard]] bool IsCounted(const Entry& entry) const noexcept {
    return entry.epoch == epoch && entry.rank >= cutoffs[RankClass(entry.rank)];
  }
  [[nodiscard]] bool IsLive(const Entry& entry) const noexcept {
    return IsCounted(entry) && entry.expires_at > now && !tags.Covers(entry);
  }
};

/// A scan of the store. Its iterators see one state of the database; values in
/// segments are kept readable by a snapshot of the log.
class StoreScan final : public Scan, private HoldingScan {
 public:
  static Result<std::unique_ptr<Scan>> Open(Store& store,
                                            const ScanOptions& options);
  ~StoreScan() override;

  [[nodiscard]] Result<std::vector<ScanItem>> Next(
      std::size_t count_max) noexcept override;

 private:
  void Invalidate() noexcept override;
  /// It answers kAborted from now on, if it holds segments.
  void EndHolding() noexcept override;
  StoreScan(Store& store, const ScanOptions& options);
  /// What must be so before each line. Under mutex_.
  Status CheckGoesOn() noexcept;
  void GiveBack() noexcept;  // Under mutex_.
  void SetBounds();
  void SeekFirst();
  void Advance();
  [[nodiscard]] bool AtEnd() const;
  /// Asks for the values of the next lines.
  void ReadAhead();
  /// The live entry of the line at the iterator, if there is one. It borrows
  /// from an iterator.
  bool EntryOf(std::string_view key, Entry& entry);
  /// The live item at the iterator, if there is one.
  bool Visit(ScanItem& item);
  bool ReadValue(const Entry& entry, ScanItem& item);

  Store& store_;
  const ScanOptions options_;
  LivenessView view_;
  std::string lower_;  // Inclusive, with the key space's prefix.
  std::string upper_;  // Exclusive.
  std::size_t prefix_size_ = 1;
  std::mutex mutex_;
  // Guarded by mutex_; empty after Invalidate.
  std::unique_ptr<rocksdb::Iterator> lines_;
  std::unique_ptr<rocksdb::Iterator> entries_;  // For scans by tag.
  std::unique_ptr<rocksdb::Iterator> values_;
  // Of before and after the iterators were made: a segment that appeared in
  // between is in the second.
  std::unique_ptr<SegmentSnapshot> segments_;
  ReadAheadPace pace_;
  bool started_ = false;
  bool invalid_ = false;
  const bool holds_segments_;
  std::atomic<bool> holding_ended_{false};
  std::optional<OpenScans::Membership> membership_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_STORE_SCAN_H_
