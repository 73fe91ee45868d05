#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include <xxhash.h>

#include "base/check.h"
#include "base/coding.h"
#include "base/grow_only_list.h"
#include "base/open_file.h"
#include "base/stored_setting.h"
#include "base/text_units.h"
#include "directory/directory_anchor.h"
#include "index/store_keys.h"
#include "segments/segment_format.h"
#include "store/store.h"
#include "store/store_check.h"
#include "store/store_scan.h"

// Opening, closing, settings, and what happens after a failed write.
//
// Opening reads no values: settings, ledger and run table come from `counters`,
// segment files are only listed. After a failed write RocksDB is closed and
// opened again, never resumed: in Debian's build the write after a Resume can
// abort the process, and after an error on the WAL only opening heals it.

namespace larder {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
// For whoever writes to leave the database alone as long as an opening takes.
constexpr auto kViewTimeMax = std::chrono::seconds(5);
// A power cut or a write without WAL may lose the last versions; new ones
// start well after them.
constexpr std::uint64_t kVersionSkip = 1 << 20;

// Grows with every change of RocksDB's set of files.
std::uint64_t ManifestBytes(const std::filesystem::path& database) {
  std::uint64_t bytes = 0;
  const auto add = [&](std::string_view name) {
    std::error_code error;
    if (!name.starts_with("MANIFEST")) return true;
    const std::uint64_t size =
        std::filesystem::file_size(database / name, error);
    if (!error) bytes += size;
    return true;
  };
  // What cannot be listed cannot be opened either, which says why.
  static_cast<void>(ListDirectory(AT_FDCWD, database.c_str(), add));
  return bytes;
}

// That all names of files in a directory are of files.
Status CheckFiles(const std::filesystem::path& directory,
                  bool (*is_file)(std::string_view name)) {
  Status status;
  const auto check = [&](const char* name) {
    if (is_file(name)) status = CheckNamesFile(FilePlace(directory / name));
    return status.ok();
  };
  // A directory that cannot be listed is told of by whoever opens it.
  static_cast<void>(ListDirectory(AT_FDCWD, directory.c_str(), check));
  return NameDescriptors(status);
}

bool IsSegmentName(std::string_view name) {
  return ParseSegmentName(name).has_value();
}

// Out of reach of destructors, within that of leak checkers.
constinit GrowOnlyList<std::shared_ptr<rocksdb::Cache>> kept_caches;

void KeepForEver(std::shared_ptr<rocksdb::Cache> cache) {
  using Node = GrowOnlyList<std::shared_ptr<rocksdb::Cache>>::Node;
  kept_caches.Add(new Node{std::move(cache)});
}

bool MayRepair(const EngineOptions& options) noexcept {
  return options.when_damaged != WhenDamaged::kFail &&
         options.mode != OpenMode::kReadOnly;
}

BadStamp BadStampFor(const EngineOptions& options) noexcept {
  return MayRepair(options) ? BadStamp::kRestored : BadStamp::kRefused;
}

}  // namespace

Store::Store(EngineOptions options, std::unique_ptr<CacheDirectory> directory)
    : options_(std::move(options)),
      background_(options_.background),
      clock_(options_.clock != nullptr ? *options_.clock : *Clock::System()),
      read_only_(options_.mode == OpenMode::kReadOnly),
      path_(directory->root()),
      directory_(std::move(directory)),
      ledger_(RankSpace::Options{}),
      told_([this](std::string_view key, std::uint64_t version) {
        return IsInIndex(key, version);
      }) {}

Result<std::unique_ptr<Store>> Store::Open(const std::filesystem::path& path,
                                           EngineOptions options) noexcept {
  PreparedDirectory prepared;
  LARDER_FAIL_IF_ERROR(
      PrepareDirectory(path, options.mode, options.allow_network_file_system,
                       BadStampFor(options), options.log, prepared));
  auto store = Open(prepared.anchor, std::move(options));
  if (store) prepared.undo.Keep();
  return store;
}

Result<std::unique_ptr<Store>> Store::Open(
    const std::shared_ptr<DirectoryAnchor>& anchor,
    EngineOptions options) noexcept {
  LARDER_FAIL_IF_ERROR(anchor->CheckParts());
  auto directory = CacheDirectory::Open(anchor, options.mode, options.log, {},
                                        BadStampFor(options));
  if (!directory) return Fail(directory.error());
  std::unique_ptr<Store> store(
      new Store(std::move(options), std::move(*directory)));
  Status status = store->Start();
  if (status.code() == StatusCode::kCorruption && MayRepair(store->options_)) {
    status = store->StartRepaired(status);
  }
  if (!status.ok()) {
    store->Shut().IgnoreError();  // The first failure is the one to report.
    return Fail(std::move(status));
  }
  return store;
}

Store::~Store() {
  Close().IgnoreError();
  // Values that are still in somebody's hands pin blocks in it, which go with
  // them; only the empty cache stays.
  if (block_cache_ != nullptr && block_cache_->GetPinnedUsage() != 0) {
    block_cache_->SetCapacity(0);
    KeepForEver(std::move(block_cache_));
  }
}

Capabilities Store::capabilities() const noexcept {
  return {.holds_store = true, .writable = !read_only_, .streams = true};
}

Status Store::Start() noexcept {
  options_pending_ = true;
  if (!read_only_) LARDER_RETURN_IF_ERROR(OpenMarks());
  LARDER_RETURN_IF_ERROR(
      read_only_ ? OpenView() : OpenFiles(/*writable=*/true, Reserve::kSpend));
  RestoreReserve().IgnoreError();  // A full disk has none to give.
  options_pending_ = false;
  if (!read_only_) {
    // So that it is known from now on, whatever is raised first. On a full disk
    // the next Open leaves ids out again.
    high_water_->Raise({.segment = log_->next_id()}).IgnoreError();
    StartRecent();
    key_filter_.Start(*rocks_);
  }
  if (!read_only_) StartThreads();
  return Status::Ok();
}

// A process that gets no thread works on without: who closes a cache because of
// that loses more.
void Store::StartThreads() noexcept {
  if (options_.on_eviction && !notifier_) {
    auto notifier = EvictionNotifier::Start(options_.on_eviction);
    if (notifier) notifier_ = *std::move(notifier);
    if (!notifier) {
      Log("evictions are not told: " + notifier.error().ToString());
    }
  }
  if (!background_) return;
  const Status started = housekeeper_.Start({
      .when_asked =
          [this] {
            const auto gate = store_gate_.Enter();
            return !closed_ && !faults_.any() && !gone_ && MakeRoomAhead();
          },
      .is_idle = [this] { return IsIdle(); },
      .round = [this](bool is_idle) { HousekeepRound(is_idle); },
  });
  if (started.ok()) return;
  Log("no background thread, writes are slower: " + started.ToString());
  background_ = false;
}

RocksSizes Store::SizesFor(std::uint64_t size_limit,
                           std::uint64_t index_bytes) const noexcept {
  // On a file system that is smaller than the limit, buffers have to fit that:
  // a flush must find room for what they hold.
  if (const auto total = directory_->TotalBytes()) {
    size_limit = std::min(size_limit, std::max(*total, kSizeLimitBytesMin));
  }
  return RocksSizes::For(size_limit, options_.memory_budget_bytes, index_bytes);
}

// RocksDB reads the manifest, then the logs. If another process that writes
// flushes in between, it removes logs whose contents are in tables that this
// manifest does not know of, and changes in the middle are missing. Every flush
// makes the manifest longer before it removes anything.
Status Store::OpenView() noexcept {
  const auto until = std::chrono::steady_clock::now() + kViewTimeMax;
  for (;;) {
    const std::uint64_t before = ManifestBytes(directory_->db_path());
    Status status = OpenDatabase(/*writable=*/false);
    if (status.ok() && ManifestBytes(directory_->db_path()) == before) {
      status = LoadState();
    }
    const bool moved = ManifestBytes(directory_->db_path()) != before;
    if (status.ok() && !moved) return status;
    rocks_.reset();
    DropLog();
    if (!moved && status.code() != StatusCode::kAborted) return status;
    if (std::chrono::steady_clock::now() >= until) {
      return {StatusCode::kAborted,
              path_.string() +
                  " is written to so fast that it cannot be opened read-only: "
                  "try again, or open it as its owner"};
    }
  }
}

Status Store::OpenFiles(bool writable, Reserve reserve) noexcept {
  Status status = TryOpenFiles(writable);
  // What is to be deleted goes only when all is well: until then an opening
  // needs more room than it leaves in use.
  if (status.code() == StatusCode::kNoSpace && writable &&
      reserve == Reserve::kSpend && directory_->ReleaseReserve().ok()) {
    if (rocks_) rocks_->Abandon();
    rocks_.reset();
    DropLog();
    status = TryOpenFiles(writable);
  }
  return status;
}

Status Store::TryOpenFiles(bool writable) noexcept {
  LARDER_RETURN_IF_ERROR(OpenDatabase(writable));
  LARDER_RETURN_IF_ERROR(LoadState());
  rocks_->Keep();
  directory_->Keep();
  return Status::Ok();
}

Status Store::OpenDatabase(bool writable) noexcept {
  // Before RocksDB writes anything. It would also take a link to nothing for a
  // database that is to be made.
  LARDER_RETURN_IF_ERROR(CheckFiles(directory_->db_path(), IsDatabaseFile));
  LARDER_RETURN_IF_ERROR(CheckFiles(directory_->log_path(), IsSegmentName));
  ForgetRecent();
  key_filter_.Drop();
  Rocks::Options rocks;
  rocks.path = directory_->db_path();
  rocks.sizes = RocksSizes::Stored(rocks.path, options_.memory_budget_bytes)
                    .value_or(SizesFor(Settings{}.size_limit, 0));
  rocks.read_only = !writable;
  rocks.create = writable && directory_->HoldsNothing();
  if (high_water_ != nullptr) {
    rocks.manifest = high_water_->marks().manifest;
    rocks.manifest_synced = [this](const ManifestMark& mark) {
      // The older mark is true as well.
      high_water_->Raise({.manifest = mark}).IgnoreError();
    };
  } else {
    rocks.manifest = HighWater::Read(directory_->marks_path()).manifest;
  }
  rocks.judge = this;
  rocks.cache = block_cache_;
  rocks.log = options_.log;
  Result<std::unique_ptr<Rocks>> opened = Rocks::Open(rocks);
  if (!opened) return NameDescriptors(opened.error());
  rocks_ = std::move(*opened);
  block_cache_ = rocks_->cache();
  return Status::Ok();
}

Status Store::LoadState() noexcept {
  LARDER_RETURN_IF_ERROR(LoadSettings());
  LARDER_RETURN_IF_ERROR(LoadMarkers());
  if (!rocks_->found_logs().cut.empty()) {
    Log("damaged write-ahead log, what is behind is lost: " +
        rocks_->found_logs().cut);
  }
  // Of the ledger, too, changes are missing that later ones rely on.
  if (rocks_->found_logs().gap) recover_unlogged_ = true;
  LARDER_RETURN_IF_ERROR(LoadLedger());
  accesses_at_open_ = AccessTotal();
  LARDER_RETURN_IF_ERROR(LoadExpirationsTold());
  LARDER_RETURN_IF_ERROR(LoadTagCutoffs());
  LARDER_RETURN_IF_ERROR(LoadRuns());
  LARDER_RETURN_IF_ERROR(sessions_.Load(rocks_->db(), rocks_->counters()));
  // Before any segment is touched: what follows fails where this does.
  if (recover_unlogged_) LARDER_RETURN_IF_ERROR(ReadIndex());
  LARDER_RETURN_IF_ERROR(OpenLog());
  LARDER_RETURN_IF_ERROR(RecoverUnlogged());
  if (power_marked_) NoteAllPower();
  UpdateFreeSpace();
  UpdateBudget();
  rocks_->StartJudging();
  return Status::Ok();
}

Status Store::LoadSettings() noexcept {
  Settings settings;
  std::map<std::string, std::string, std::less<>> stored;
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->counters()));
  for (it->Seek(kSettingPrefix);
       it->Valid() && it->key().starts_with(kSettingPrefix); it->Next()) {
    const std::string_view name =
        it->key().ToStringView().substr(kSettingPrefix.size());
    Result<Settings> next =
        WithStoredSetting(settings, name, it->value().ToStringView());
    // A setting of another version of larder keeps its default.
    if (next) settings = *next;
    stored.emplace(name, it->value().ToStringView());
  }
  LARDER_RETURN_IF_ERROR(FromRocks(it->status(), "reading settings"));
  rocksdb::WriteBatch changed;
  for (const auto& [name, value] : options_.settings) {
    if (!options_pending_) break;
    Result<Settings> next = WithSetting(settings, name, value);
    if (!next) return next.error();
    settings = *next;
    Result<std::string> text = FormatSetting(settings, name);
    if (!text) return text.error();
    const auto old = stored.find(name);
    if (old != stored.end() && old->second == *text) continue;
    changed.Put(rocks_->counters(), SettingKey(name), *text);
  }
  auto policy = NewPolicyFor(settings);
  if (!policy) return policy.error();
  if (!rocks_->read_only() && changed.Count() != 0) {
    LARDER_RETURN_IF_ERROR(
        FromRocks(rocks_->db().Write(rocksdb::WriteOptions(), &changed),
                  "writing settings"));
  }
  return ApplySettings(settings, *std::move(policy));
}

// nullopt: the one there is goes on.
Result<std::optional<RunningPolicy>> Store::NewPolicyFor(
    const Settings& settings, WhenLate when_late) noexcept {
  bool is_new = false;
  bool is_late = false;
  {
    const std::scoped_lock lock(ledger_mutex_);
    is_new = !policy_;
    is_late =
        policy_name_ != settings.policy && IsPolicyRegistered(settings.policy);
  }
  const Settings in_force = CurrentSettings();
  is_new |= in_force.policy != settings.policy ||
            in_force.objective != settings.objective;
  if (!is_new && !is_late) return std::nullopt;
  Result<RunningPolicy> made = MakeRunningPolicy(settings.policy);
  // One that was registered since and cannot be made leaves all as it is.
  if (!made && !is_new && when_late == WhenLate::kMayFail) return std::nullopt;
  if (!made) return Fail(std::move(made.error()));
  std::string state;
  const rocksdb::Status read =
      rocks_->db().Get(rocksdb::ReadOptions(), rocks_->counters(),
                       PolicyStateKey(made->name), &state);
  if (read.ok()) made->policy->LoadState(state);
  return *std::move(made);
}

void Store::RunPolicy(const Settings& settings, RunningPolicy running) {
  const std::string pair = settings.policy + '\0' + running.name;
  const bool is_told = std::exchange(told_policies_, pair) == pair;
  if (running.name != settings.policy && !read_only_ && !is_told) {
    Log("policy " + internal::QuoteForMessage(settings.policy) +
        " is set, but not registered in this process: until somebody has the "
        "store who has registered it, " +
        running.name + " runs, and items keep the ranks they have");
  }
  const std::scoped_lock lock(ledger_mutex_);
  policy_ = std::move(running.policy);
  policy_name_ = std::move(running.name);
  ledger_.space().SetObjective(settings.objective);
  if (options_.random_seed != 0) {
    ledger_.space().SetRandomSeed(options_.random_seed);
  }
  policy_tracks_hits_ =
      policy_name_ != "none" && policy_name_ != "least-recently-stored";
  keeps_ghosts_ = policy_name_ == "s3-fifo" || options_.logical_capacity != 0;
}

Status Store::ApplySettings(const Settings& settings,
                            std::optional<RunningPolicy> policy) noexcept {
  std::optional<std::string> running;
  if (policy) {
    running = policy->name;
    RunPolicy(settings, *std::move(policy));
  }
  settings_.Apply(settings, std::move(running));
  {
    const std::scoped_lock lock(ledger_mutex_);
    evicts_for_room_ =
        settings.when_full == WhenFull::kEvict && policy_->evicts();
  }
  cleaning_reserve_ = CleaningReserveFor({});
  runs_.SetRunSize(settings_.segment_size());
  if (log_) {
    log_->SetSegmentSize(static_cast<std::uint32_t>(settings_.segment_size()));
    log_->SetReadMode(settings.read_mode);
  }
  rocks_->Resize(SizesFor(settings.size_limit, rocks_->access_table_bytes()));
  effective_limit_ = settings_.cache_limit();
  settings_.Announce();
  if (log_) {
    UpdateFreeSpace();
    UpdateBudget();
  }
  return Status::Ok();
}

Status Store::LoadLedger() noexcept {
  std::string bytes;
  const rocksdb::Status read =
      rocks_->db().Get(rocksdb::ReadOptions(), rocks_->counters(),
                       rocksdb::Slice(kLedgerKey), &bytes);
  LedgerDelta all;
  ledger_wrong_ = false;
  if (read.IsNotFound()) {
    const std::unique_ptr<rocksdb::Iterator> it(
        rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->access()));
    it->SeekToFirst();
    recover_unlogged_ = recover_unlogged_ || it->Valid();
    LARDER_RETURN_IF_ERROR(FromRocks(it->status(), "reading the index"));
  } else {
    LARDER_RETURN_IF_ERROR(FromRocks(read, "reading the ledger"));
    LARDER_RETURN_IF_ERROR(LedgerDelta::Decode(bytes, all));
    // A change can be missing though later ones are there: a power cut may take
    // the end of a write-ahead log and leave the beginning of the next.
    if (!read_only_ && !all.IsState()) recover_unlogged_ = true;
    if (recover_unlogged_) {
      all.cells.clear();  // They may be anything, negative, too.
    } else if (read_only_ && !all.IsState()) {
      return {StatusCode::kAborted, "the ledger of " + path_.string() +
                                        " is not whole: it is being written"};
    }
  }
  all.reset = true;  // In memory too, when this is a reopening.
  {
    const std::scoped_lock lock(ledger_mutex_);
    ledger_ = Ledger(RankSpace::Options{});
    ledger_.space().SetObjective(CurrentSettings().objective);
    if (options_.random_seed != 0) {
      ledger_.space().SetRandomSeed(options_.random_seed);
    }
    ledger_.Apply(all);
    MirrorLedger();
    for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
      verdicts_.logged[c] = cutoffs_[c].load();
      verdicts_.synced[c] = 0;  // The log that was found is not synced yet.
    }
    verdicts_.epoch_synced = 0;
  }
  next_expiry_ = Duration::min().count();
  return Status::Ok();
}

void Store::MirrorLedger() noexcept {
  for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
    const Rank cutoff = ledger_.space().cutoff(c);
    if (cutoff == cutoffs_[c]) continue;
    cutoffs_[c] = cutoff;
    HotWriter* const hot = hot_.load(std::memory_order_acquire);
    if (hot != nullptr) hot->SetCutoff(c, cutoff);
  }
  epoch_ = ledger_.epoch();
  // Evicted, or cleared.
  if (ledger_.space().live_bytes() < live_bytes_) {
    killed_bytes_ += live_bytes_ - ledger_.space().live_bytes();
  }
  MirrorUse();
}

void Store::MirrorUse() noexcept {
  live_bytes_ = ledger_.space().live_bytes();
  live_items_ = ledger_.space().live_items();
  pinned_bytes_ = ledger_.space().class_bytes(kClassPinned);
}

void Store::ApplyToLedger(const LedgerDelta& delta) noexcept {
  ledger_.Apply(delta);
  if (!ledger_.space().adds_up()) ledger_wrong_ = true;
  std::uint64_t killed = 0;
  for (const LedgerCell& cell : delta.cells) {
    if (cell.bytes < 0) killed += static_cast<std::uint64_t>(-cell.bytes);
  }
  if (killed != 0) killed_bytes_ += killed;
}

// What was found at Open may have lacked changes and looked whole all the same.
// Only what is subtracted later tells.
void Store::RecountIfWrong() noexcept {
  if (!ledger_wrong_) return;
  const auto gate = store_gate_.Enter();
  if (!CheckOpen().ok() || faults_.any() || !ledger_wrong_.exchange(false))
    return;
  const Status status = RepairLedger();
  Log("the ledger did not add up, counted anew: " + status.ToString());
}

Status Store::RebuildLedger() noexcept {
  LedgerDelta fixed;
  {
    const std::scoped_lock lock(ledger_mutex_);
    fixed = ledger_.Snapshot();
  }
  fixed.cells.clear();
  fixed.totals.fill(0);  // They are added to what is there.
  fixed.reset = true;
  LedgerSum sum;
  std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->access()));
  for (it->Seek(rocksdb::Slice(&kEntrySpace, 1));
       it->Valid() && it->key()[0] == kEntrySpace; it->Next()) {
    Entry entry;
    if (!DecodeEntry(it->value().ToStringView(), entry).ok()) continue;
    fixed.version_max = std::max(fixed.version_max, entry.version);
    for (const SegmentPlace& place : entry.extents) {
      fixed.segment_max = std::max(fixed.segment_max, place.segment);
    }
    if (!IsCounted(entry)) continue;
    LedgerDelta one;
    AddCells(it->key().ToStringView().substr(1), entry, 1, one);
    sum.Apply(one);
  }
  LARDER_RETURN_IF_ERROR(FromRocks(it->status(), "recounting"));
  fixed.cells = sum.ToDelta().cells;
  std::string operand;
  fixed.Encode(operand);
  if (!rocks_->read_only()) {
    LARDER_RETURN_IF_ERROR(FromRocks(
        rocks_->db().Merge(rocksdb::WriteOptions(), rocks_->counters(),
                           rocksdb::Slice(kLedgerKey), operand),
        "writing the recounted ledger"));
  }
  const std::scoped_lock lock(ledger_mutex_);
  ledger_.Apply(fixed);
  MirrorLedger();
  return Status::Ok();
}

Status Store::LoadRuns() noexcept {
  runs_.Clear();  // Those of a database that is no longer there.
  std::uint64_t version_max = 0;
  std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->counters()));
  for (it->Seek(kRunPrefix); it->Valid() && it->key().starts_with(kRunPrefix);
       it->Next()) {
    const std::optional<std::uint32_t> id =
        ParseRunKey(it->key().ToStringView());
    if (!id || it->value().size() != sizeof(std::uint64_t)) {
      return Status::Corruption("run table: malformed line");
    }
    const std::uint64_t first = LoadBigEndian64(it->value().data());
    if (first < version_max) {
      return Status::Corruption("run table: runs are out of order");
    }
    version_max = first;
    runs_.Load(*id, first, 0);
  }
  LARDER_RETURN_IF_ERROR(FromRocks(it->status(), "reading the run table"));
  {
    const std::scoped_lock lock(ledger_mutex_);
    version_max = std::max(version_max, ledger_.version_max());
    for (const auto& [place, use] : ledger_.places()) {
      if (IsRun(place)) runs_.SetLastId(PlaceNumber(place));
    }
  }
  it.reset(rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->values()));
  it->SeekToLast();
  if (it->Valid() && it->key().size() == sizeof(std::uint64_t)) {
    const std::uint64_t last = LoadBigEndian64(it->key().data());
    version_max = std::max(version_max, last);
    // The change that wrote it told the ledger so.
    const std::scoped_lock lock(ledger_mutex_);
    if (last > ledger_.version_max()) recover_unlogged_ = true;
  }
  LARDER_RETURN_IF_ERROR(FromRocks(it->status(), "finding the last position"));
  StartVersions(version_max);
  runs_.Seal();
  for (const RunTable::Run& run : runs_.Runs()) {
    runs_.SetBytes(run.id, RunTableBytes(run));
  }
  run_saved_ = 0;
  return Status::Ok();
}

void Store::StartVersions(std::uint64_t version_max) noexcept {
  if (high_water_ == nullptr) {
    runs_.Start(version_max + kVersionSkip);
    return;
  }
  // If it fails the ledger has to do, which it does unless that is lost.
  runs_.Start(
      std::max(version_max + kVersionSkip, high_water_->marks().version),
      [this](std::uint64_t end) {
        high_water_->Raise({.version = end}).IgnoreError();
      });
}

std::uint64_t Store::RunTableBytes(const RunTable::Run& run) noexcept {
  // RocksDB ends the process over a range that ends before it begins.
  LARDER_ASSERT(run.first <= run.end);
  if (run.first >= run.end) return 0;
  const PositionKey first(run.first);
  const PositionKey end(run.end);
  const rocksdb::Range range(first.slice(), end.slice());
  rocksdb::SizeApproximationOptions options;
  options.include_memtables = true;
  options.include_files = true;
  std::uint64_t bytes = 0;
  rocks_->db()
      .GetApproximateSizes(options, rocks_->values(), &range, 1, &bytes)
      .PermitUncheckedError();
  return bytes;
}

Status Store::OpenLog() noexcept {
  SegmentLogOptions options;
  options.segment_size_bytes =
      static_cast<std::uint32_t>(settings_.segment_size());
  options.read_only = rocks_->read_only();
  options.read_mode = CurrentSettings().read_mode;
  options.doubtful = doubtful_segments_;
  std::uint32_t next_id = 1;
  std::set<std::uint32_t> live;
  {
    const std::scoped_lock lock(ledger_mutex_);
    next_id = ledger_.segment_max() + 1;
    const bool is_new = ledger_.version_max() == 0;
    options.ids_are_known =
        high_water_ != nullptr && high_water_->marks().segment != 0;
    if (high_water_ != nullptr && !options.ids_are_known && !is_new) {
      // Of an earlier larder, or somebody took the file away.
      next_id += std::min(kSegmentSkip, UINT32_MAX - next_id);
    }
    next_id = std::max(next_id, segment_floor_);
    for (const auto& [place, use] : ledger_.places()) {
      if (place == kPlaceInline || IsRun(place)) continue;
      live.insert(PlaceNumber(place));
    }
    // An open stream goes on after a reopening.
    for (const PlaceId place : stream_pins_) live.insert(PlaceNumber(place));
  }
  if (high_water_ != nullptr) {
    next_id = std::max(next_id, high_water_->marks().segment);
    options.reserve_ids = [this](std::uint32_t end) {
      return high_water_->Raise({.segment = end});
    };
  }
  DirectoryAnchor::HeldPath directory =
      directory_->anchor()->HeldPathOf(DirectoryPart::kLog);
  options.directory_held = std::move(directory.held);
  Result<std::unique_ptr<SegmentLog>> log =
      SegmentLog::Open(directory.path, options, next_id, [&](std::uint32_t id) {
        // The ledger may not know yet what lives.
        return recover_unlogged_ || live.contains(id);
      });
  if (!log) return NameDescriptors(log.error());
  log_ = std::move(*log);
  PublishLogGeneration();
  return Status::Ok();
}

Status Store::OpenMarks() noexcept {
  if (high_water_) return Status::Ok();
  auto high_water = HighWater::Open(directory_->marks_path());
  if (!high_water) return NameDescriptors(high_water.error());
  high_water_ = std::move(*high_water);
  return Status::Ok();
}

void Store::DropLog() noexcept {
  {
    const std::scoped_lock lock(generation_mutex_);
    if (published_generation_ != nullptr) *published_generation_ = 0;
  }
  if (log_) {
    segment_floor_ = std::max(segment_floor_, log_->next_id());
    doubtful_segments_ = log_->DoubtfulSegments();
  }
  log_.reset();
}

void Store::PublishLogGeneration() noexcept {
  const std::scoped_lock lock(generation_mutex_);
  if (published_generation_ == nullptr) return;
  *published_generation_ =
      log_ && !rocks_->read_only() ? log_->generation() : 0;
}

void Store::SetLogGeneration(std::atomic<std::uint64_t>* published) noexcept {
  const auto gate = store_gate_.Enter();
  {
    const std::scoped_lock lock(generation_mutex_);
    if (published_generation_ != nullptr) *published_generation_ = 0;
    published_generation_ = published;
  }
  if (CheckOpen().ok()) PublishLogGeneration();
}

Settings Store::CurrentSettings() const noexcept { return settings_.all(); }

PolicyInForce Store::policy() const noexcept { return settings_.policy(); }

Status Store::RunSetPolicy() noexcept {
  if (read_only_) return ReadOnlyStatus();
  const auto gate = store_gate_.Enter();
  LARDER_RETURN_IF_ERROR(CheckOpen());
  {
    // What is set now may be another one than the caller has seen.
    const std::scoped_lock lock(reset_mutex_);
    const Settings settings = CurrentSettings();
    auto policy = NewPolicyFor(settings, WhenLate::kReport);
    if (!policy) return policy.error();
    if (!*policy) return Status::Ok();
    std::string running = (*policy)->name;
    RunPolicy(settings, **std::move(policy));
    settings_.SetRunningPolicy(std::move(running));
    const std::scoped_lock ledger(ledger_mutex_);
    evicts_for_room_ =
        settings.when_full == WhenFull::kEvict && policy_->evicts();
  }
  // Who began to evict before has done so.
  if (!MayEvict(EvictionCause::kRoom)) {
    const std::scoped_lock lock(space_mutex_);
  }
  return Status::Ok();
}

bool Store::MayBeGivenAway() noexcept {
  const auto gate = store_gate_.Enter();
  return CheckOpen().ok() && CheckWritable().ok() && !faults_.disk_full();
}

Status Store::Reset(std::string_view name, std::string_view value) noexcept {
  return Reset(name, value, WithSetting);
}

Status Store::ResetPolicy(std::string_view name) noexcept {
  return Reset("policy", name, WithStoredSetting);
}

Status Store::Reset(std::string_view name, std::string_view value,
                    SettingCheck check) noexcept {
  if (read_only_) return ReadOnlyStatus();
  const auto gate = store_gate_.Enter();
  LARDER_RETURN_IF_ERROR(CheckOpen());
  LARDER_RETURN_IF_ERROR(ChangeSetting(name, value, check));
  // Who began to evict before has done so.
  if (!MayEvict(EvictionCause::kRoom)) {
    const std::scoped_lock lock(space_mutex_);
  }
  // A lower limit takes effect before this returns.
  LARDER_RETURN_IF_ERROR(ShrinkToLimit());
  RoomClaim nothing;
  Status room = MakeRoom({}, nothing);
  return room.code() == StatusCode::kNoSpace ? Status::Ok() : room;
}

Status Store::ChangeSetting(std::string_view name, std::string_view value,
                            SettingCheck check) noexcept {
  // From what is in force to what is: nothing may come in between.
  const std::scoped_lock lock(reset_mutex_);
  Result<Settings> next = check(CurrentSettings(), name, value);
  if (!next) return next.error();
  Result<std::string> text = FormatSetting(*next, name);
  if (!text) return text.error();
  LARDER_RETURN_IF_ERROR(CheckWritable());
  auto policy = NewPolicyFor(*next);
  if (!policy) return policy.error();
  LARDER_RETURN_IF_ERROR(
      FromRocks(rocks_->db().Put(rocksdb::WriteOptions(), rocks_->counters(),
                                 SettingKey(name), *text),
                "writing a setting"));
  if (CacheLimitFor(*next) < settings_.cache_limit()) BeginShrinking();
  return ApplySettings(*next, *std::move(policy));
}

Status Store::Close() noexcept {
  if (callbacks_) LARDER_RETURN_IF_ERROR(callbacks_->CheckMayClose());
  if (closed_.exchange(true)) return Status::Ok();
  housekeeper_.Stop();
  store_gate_.lock();
  Status status = Shut();
  store_gate_.unlock();
  if (notifier_) notifier_->Finish();
  notifier_.reset();
  directory_.reset();
  return status;
}

std::int64_t Store::AccessTotal() const noexcept {
  const std::scoped_lock lock(ledger_mutex_);
  return ledger_.total(Total::kHits) + ledger_.total(Total::kMisses) +
         ledger_.total(Total::kSets);
}

Status Store::Shut() noexcept {
  scans_.InvalidateAll();
  // What is there now is somebody else's; whatever is left to write is lost.
  const bool gone = !read_only_ && directory_ != nullptr && NoteIfGone();
  Status status;
  if (gone) {
    status = GoneStatus();
  } else if (rocks_ && log_ && !read_only_ && !faults_.any()) {
    status = SaveTotals();
    if (status.ok()) status = SavePolicyState();
    if (status.code() == StatusCode::kNoSpace) {
      // Only figures are lost; the items are in the write-ahead log.
      Log("closing on a full disk: " + status.message());
      status = Status::Ok();
    }
    if (status.ok() && unlogged_marked_) {
      if (faults_.disk_full()) directory_->ReleaseReserve().IgnoreError();
      status = rocks_->FlushAll();
      if (status.ok()) {
        status = FromRocks(
            rocks_->db().Delete(rocksdb::WriteOptions(), rocks_->counters(),
                                rocksdb::Slice(kUnloggedKey)),
            "clearing the unlogged marker");
      }
    }
  }
  grants_.Clear();
  if (log_ && high_water_ && !gone) {
    // Else the next numbers are larger than they had to be.
    high_water_
        ->Settle({.segment = log_->next_id(), .version = runs_.next_version()})
        .IgnoreError();
  }
  DropLog();
  if (rocks_) {
    // No flush: there is no room for it, or it is not to be.
    if (faults_.any() || faults_.disk_full() || gone) {
      rocks_->Abandon();
    } else {
      const Status closed = rocks_->Close();
      if (status.ok()) status = closed;
    }
    rocks_.reset();
  }
  return status;
}

Status Store::HandleWriteFailure(const rocksdb::Status& status) noexcept {
  Status failure = FromRocks(status, "writing to " + directory().string());
  if (failure.code() == StatusCode::kCorruption) {
    failure = Status::IoError(failure.message());
  }
  if (faults_.Note(failure)) Log("writes stop: " + failure.message());
  return NoteIfGone() ? CheckOpen() : failure;
}

bool Store::NoteIfGone() noexcept {
  if (directory_->CheckParts().code() == StatusCode::kGone) gone_ = true;
  return gone_;
}

void Store::LookForDirectory() noexcept {
  const auto gate = store_gate_.Enter();
  if (!closed_ && !read_only_) NoteIfGone();
}

Status Store::GoneStatus() const {
  return {StatusCode::kGone, directory().string() +
                                 " was removed or replaced while it was open; "
                                 "close this cache and open it again"};
}

Status Store::CheckOpen() const noexcept {
  if (closed_) return ClosedStatus();
  if (gone_) return GoneStatus();
  if (rocks_ && log_) return Status::Ok();
  return faults_.status();  // Not even a read-only reopening worked.
}

Status Store::CheckWritable() noexcept {
  if (read_only_) return ReadOnlyStatus();
  return faults_.any() ? faults_.status() : Status::Ok();
}

bool Store::MayHeal(Reserve reserve) noexcept {
  if (!faults_.any() || closed_ || gone_) return false;
  const bool full = faults_.status().code() == StatusCode::kNoSpace;
  const bool too_soon = faults_.IsTooSoon();
  // Without room for a writable database, the one there is goes on reading.
  if (full && reserve == Reserve::kKeep) return !too_soon && DiskHasRoom();
  return !too_soon || (full && directory_->reserve_bytes() != 0);
}

void Store::HealIfFaulted(Reserve reserve) noexcept {
  if (!faults_.any()) return;
  {
    const auto gate = store_gate_.Enter();
    if (!MayHeal(reserve)) return;
  }
  store_gate_.lock();
  if (MayHeal(reserve)) {  // Nobody else has tried meanwhile.
    if (reserve == Reserve::kSpend &&
        CheckWritable().code() == StatusCode::kNoSpace) {
      directory_->ReleaseReserve().IgnoreError();  // Best effort.
    }
    const Status status = Reopen(reserve);
    faults_.NoteReopened(status);
    if (status.ok()) Log("writes go on");
  }
  store_gate_.unlock();
}

Status Store::Reopen(Reserve reserve) noexcept {
  scans_.InvalidateAll();
  grants_.Clear();  // Their segments are sealed; the clients ask again.
  // After a failed sync the kernel may take pages for clean that it never
  // wrote: what the log has goes into files of their own.
  if (rocks_ && rocks_->files().log_sync_failed()) log_doubtful_ = true;
  // What was acknowledged without a log may be undone.
  HotWriter* const hot = hot_.load(std::memory_order_acquire);
  if (hot != nullptr) hot->BeginClear();
  if (rocks_) rocks_->Abandon();
  rocks_.reset();
  DropLog();
  cutoffs_saved_ = cutoffs_raised_.load();
  evictions_unsaved_ = 0;  // What was not saved is undone.
  Status status =
      NoteIfGone() ? GoneStatus() : OpenFiles(/*writable=*/true, reserve);
  if (status.ok() && log_doubtful_) status = rocks_->FlushAll();
  if (status.ok()) log_doubtful_ = false;
  if (hot != nullptr) hot->EndInvalidation();
  if (status.ok()) return status;
  // Reads go on without a writable database.
  rocks_.reset();
  DropLog();
  const Status readable = OpenFiles(/*writable=*/false, Reserve::kKeep);
  if (!readable.ok()) {
    Log("nothing can be read: " + readable.message());
    rocks_.reset();
    DropLog();
  }
  return status;
}

void Store::Log(const std::string& line) const {
  if (options_.log) options_.log(line);
}

const std::filesystem::path& Store::directory() const noexcept { return path_; }

}  // namespace larder
