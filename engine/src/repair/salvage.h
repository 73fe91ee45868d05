#ifndef LARDER_ENGINE_SRC_REPAIR_SALVAGE_H_
#define LARDER_ENGINE_SRC_REPAIR_SALVAGE_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "larder/engine/clock.h"
#include "larder/engine/engine.h"
#include "larder/engine/status.h"

#include "index/entry.h"
#include "index/ledger_delta.h"
#include "index/rocks.h"

namespace larder {

/// How long an item lives whose expiry nobody knows any more: long enough to
/// spare the origin a cold start, short enough for what had been deleted.
inline constexpr Duration kSalvagedTtl = std::chrono::hours(1);

struct SalvageOptions {
  std::filesystem::path source;   ///< The damaged database; may be missing.
  std::filesystem::path scratch;  ///< A directory for the meantime.
  std::filesystem::path log;      ///< Segment files. Nothing is changed there.
  std::filesystem::path target;   ///< The new database. What is there goes.
  ManifestMark manifest;          ///< How long that of `source` has been.
  RocksSizes sizes;
  TimePoint now{};
  LogCallback log_line;
  /// Adds what the entry of a key counts for in the ledger, `sign` times.
  std::function<void(std::string_view key, const Entry& entry, int sign,
                     LedgerDelta& delta)>
      add_cells;
};

struct SalvageReport {
  std::uint64_t items_kept = 0;  ///< Their entries could be read.
  std::uint64_t items_rebuilt = 0;
  /// Parts of the index that cannot be read, at least.
  std::uint64_t index_gaps = 0;
  bool index_lost = false;
  bool ledger_lost = false;
};

/// Makes a new database of what can be read of a damaged one, and of the
/// values whose entries were lost. What it holds is on the device afterwards;
/// its ledger is to be counted anew by whoever opens it (the unlogged marker).
///
/// 1. Every pair that can be read is taken as it is, from a database that
///    cannot be opened by way of RocksDB's own repair in a copy of hard links.
///    In gaps of the index tables and logs are read one by one, and the newest
///    change of a key comes back if nothing newer can have been there.
/// 2. Where the index has gaps, records of the log whose keys lie in one are
///    given entries again. The ledger says how many items of which rank a
///    place had: if a place has more records than it lacks items, some had
///    been deleted and nobody knows which, so none comes back. Expiry and tag
///    are those of the index lines of the key.
/// 3. If the ledger is lost, too, all such records come back, for kSalvagedTtl
///    at most; likewise if the lines are.
///
/// Errors: kNoSpace, kIoError; the source is as it was.
[[nodiscard]] Result<SalvageReport> SalvageDatabase(
    const SalvageOptions& options) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_REPAIR_SALVAGE_H_
