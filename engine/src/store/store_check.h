#ifndef LARDER_ENGINE_SRC_STORE_STORE_CHECK_H_
#define LARDER_ENGINE_SRC_STORE_STORE_CHECK_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <rocksdb/iterator.h>

#include "segments/read_ahead_pace.h"
#include "store/store.h"
#include "store/store_scan.h"

namespace larder {

/// One run of Check.
class StoreChecker {
 public:
  explicit StoreChecker(Store& store) : store_(store) {}
  /// REQUIRES: the caller keeps the store open.
  Result<CheckReport> Run(bool repair) noexcept;

 private:
  struct Broken {
    std::string key;
    std::uint64_t version;  ///< 0: the entry cannot be decoded.
    std::string entry;      ///< As it was.
    std::string problem;
    bool is_missing = false;
  };
  Status Begin() noexcept;
  void CheckEntry() noexcept;
  /// Asks for the values of the next entries.
  void ReadAhead() noexcept;
  /// Of a view: drops what whoever writes has freed since it was opened.
  Status Confirm() noexcept;
  /// What of `broken` is so in `now`, which was opened after it was found.
  static Result<std::vector<Broken>> StillBroken(
      Store& now, std::vector<Broken> broken,
      std::vector<Broken>& confirmed) noexcept;
  Result<std::optional<ValueHandle>> Value(const std::string& key,
                                           const Entry& entry) noexcept;
  /// Piece by piece: a value may be larger than memory.
  Result<std::optional<ValueHandle>> Pieces(const std::string& key,
                                            const Entry& entry) noexcept;
  void CheckCounters() noexcept;
  /// Every index line has its entry, and every entry its lines.
  void CheckLines() noexcept;
  bool LineMatches(std::string_view line) noexcept;
  void CompareLedger() noexcept;
  void CompareCells(const LedgerDelta& have, const LedgerDelta& want,
                    const std::string& what) noexcept;
  Status Repair() noexcept;
  Status RepairOne(const Broken& broken) noexcept;
  Status DropEntry(const std::string& name) noexcept;
  /// As it is now. REQUIRES: nobody else changes it.
  [[nodiscard]] bool IsWhole(const std::string& key,
                             const Entry& entry) noexcept;
  void Problem(std::string text) noexcept;
  /// The database cannot be read there: more than an item is damaged.
  void NoteUnreadable(const rocksdb::Status& status) noexcept;

  Store& store_;
  CheckReport report_;
  LivenessView view_;
  LedgerDelta ledger_;
  LedgerSum recount_;
  std::string stored_ledger_;
  std::uint64_t lines_expected_ = 0;
  // What entries_ was sent to; it is at the first key from there.
  std::optional<std::string> sought_;
  Status unreadable_;
  std::vector<Broken> broken_;
  std::unique_ptr<rocksdb::Iterator> entries_;
  std::unique_ptr<rocksdb::Iterator> lines_;
  std::unique_ptr<rocksdb::Iterator> values_;
  std::unique_ptr<SegmentSnapshot> segments_;
  ReadAheadPace pace_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_STORE_CHECK_H_
