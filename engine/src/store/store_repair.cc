#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/open_file.h"
#include "directory/directory_anchor.h"
#include "repair/salvage.h"
#include "segments/segment_format.h"
#include "store/store.h"

// What is done about a cache that is damaged, in this order: a new database is
// made of what can be read (salvage.h) and put in the place of the old one;
// what has no value then is dropped by Check; all is thrown away. Whoever does
// so has the seat.

namespace larder {
namespace {

std::vector<std::uint32_t> SegmentsIn(const std::filesystem::path& log) {
  std::vector<std::uint32_t> ids;
  const auto add = [&](const char* name) {
    if (const auto id = ParseSegmentName(name)) ids.push_back(*id);
    return true;
  };
  // What cannot be listed cannot be opened either, which says why.
  static_cast<void>(ListDirectory(AT_FDCWD, log.c_str(), add));
  return ids;
}

}  // namespace

Status Store::StartRepaired(const Status& damage) noexcept {
  Log("damaged, making a new database of what can be read: " +
      damage.message());
  Status status = RebuildDatabase();
  if (status.ok()) status = Start();
  if (status.ok() || options_.when_damaged != WhenDamaged::kReset) {
    return status;
  }
  Log("damaged beyond repair, starting empty: " + status.message());
  LARDER_RETURN_IF_ERROR(ResetDirectory());
  return Start();
}

Status Store::RebuildDatabase() noexcept {
  LARDER_RETURN_IF_ERROR(KeepMarks());
  Shut().IgnoreError();  // What of it can be read is read again.
  SalvageOptions options;
  options.source = directory_->db_path();
  options.scratch = directory_->PathOf(kScratchDatabaseName);
  options.target = directory_->PathOf(kNewDatabaseName);
  options.log = directory_->log_path();
  options.manifest = high_water_->marks().manifest;
  options.sizes =
      RocksSizes::Stored(options.source, options_.memory_budget_bytes)
          .value_or(SizesFor(Settings{}.size_limit, 0));
  options.now = clock_.Now();
  options.log_line = options_.log;
  options.add_cells = [this](std::string_view key, const Entry& entry, int sign,
                             LedgerDelta& delta) {
    AddCells(key, entry, sign, delta);
  };
  const Result<SalvageReport> report = SalvageDatabase(options);
  if (!report) return NameDescriptors(report.error());
  LARDER_RETURN_IF_ERROR(high_water_->ForgetManifest());
  LARDER_RETURN_IF_ERROR(directory_->ReplaceDatabase());
  Log("a new database: " + std::to_string(report->items_kept) +
      " items were kept, " + std::to_string(report->items_rebuilt) +
      " given entries again from the log" +
      (report->ledger_lost ? "; the ledger was lost" : ""));
  return Status::Ok();
}

Status Store::RepairInPlace(const Status& damage) noexcept {
  store_gate_.lock();
  Status status = CheckOpen();
  if (status.ok()) {
    Log("damaged, making a new database of what can be read: " +
        damage.message());
    HotWriter* const hot = hot_.load(std::memory_order_acquire);
    if (hot != nullptr) hot->BeginClear();
    status = RebuildDatabase();
    cutoffs_saved_ = cutoffs_raised_.load();
    evictions_unsaved_ = 0;
    // If no new one could be made, the old one goes on as well as it can.
    const Status opened = OpenFiles(/*writable=*/true, Reserve::kSpend);
    if (hot != nullptr) hot->EndInvalidation();
    if (status.ok()) status = opened;
    faults_.NoteRebuilt(opened);
    if (!opened.ok()) {  // Calls say so; the next one tries again.
      rocks_.reset();
      DropLog();
    }
  }
  store_gate_.unlock();
  return status;
}

Status Store::ResetAt(const std::shared_ptr<DirectoryAnchor>& anchor,
                      EngineOptions options) noexcept {
  options.mode = OpenMode::kCreate;
  auto directory = CacheDirectory::Open(anchor, options.mode, options.log, {},
                                        BadStamp::kReplaced);
  if (!directory) return directory.error();
  Store store(std::move(options), std::move(*directory));
  LARDER_RETURN_IF_ERROR(store.ResetDirectory());
  LARDER_RETURN_IF_ERROR(store.Start());
  return store.Close();
}

Status Store::ResetDirectory() noexcept {
  LARDER_RETURN_IF_ERROR(KeepMarks());
  Shut().IgnoreError();  // It is thrown away.
  LARDER_RETURN_IF_ERROR(directory_->CheckParts());
  LARDER_RETURN_IF_ERROR(high_water_->ForgetManifest());
  LARDER_RETURN_IF_ERROR(EmptyDirectory(directory_->db_path()));
  for (const std::uint32_t id : SegmentsIn(directory_->log_path())) {
    std::error_code error;
    std::filesystem::remove(SegmentPath(directory_->log_path(), id), error);
    if (error) {
      return Status::FromErrno(error.value(),
                               "emptying " + directory().string());
    }
  }
  return Status::Ok();
}

// The index that says what was given before is to be lost, and others may still
// know of it. If `marks` does not say it, what is given from now on lies well
// beyond all that there can have been: versions grow by less than one each
// microsecond.
Status Store::KeepMarks() noexcept {
  LARDER_RETURN_IF_ERROR(OpenMarks());
  const HighWaterMarks known = high_water_->marks();
  if (known.segment != 0 && known.version != 0) {
    // The last one may not have been written.
    return high_water_->Raise(
        {.segment = segment_floor_, .version = runs_.next_version()});
  }
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  HighWaterMarks marks{
      .version = std::max(
          runs_.next_version(),
          static_cast<std::uint64_t>(std::max<std::int64_t>(now.count(), 0)))};
  {
    const std::scoped_lock lock(ledger_mutex_);
    marks.segment = ledger_.segment_max();
  }
  for (const std::uint32_t id : SegmentsIn(directory_->log_path())) {
    marks.segment = std::max(marks.segment, id);
  }
  marks.segment += std::min(
      kSegmentSkip, UINT32_MAX / 2 - std::min(marks.segment, UINT32_MAX / 2));
  return high_water_->Raise(marks);
}

}  // namespace larder
