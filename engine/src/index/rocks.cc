#include "index/rocks.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <thread>

#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/compaction_filter.h>
#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/options_util.h>
#include <rocksdb/write_buffer_manager.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/coding.h"
#include "base/forks_held.h"
#include "base/open_file.h"
#include "base/process_limits.h"
#include "base/unique_fd.h"
#include "directory/directory_anchor.h"
#include "index/ledger_delta.h"
#include "index/manifest_check.h"
#include "index/rocks_forks.h"
#include "index/rocks_threads.h"
#include "index/wal_check.h"
#include "os/exit_guard.h"

// Options that are not obvious:
// - `values` has two levels. Positions only grow, so flushed tables never
//   overlap and move down without being rewritten; only our own compactions of
//   a dead range read them.
// - fallocate is off: preallocated space shows up in `du`.
// - The families share one WAL, kept short, because its replay is what opening
//   after a crash costs.
// - RocksDB must not resume by itself after an error: in Debian's build the
//   next write then aborts if the memtable is empty. The store reopens instead.

namespace larder {
namespace {

class LineLogger final : public rocksdb::Logger {
 public:
  explicit LineLogger(LogCallback log)
      : Logger(rocksdb::InfoLogLevel::ERROR_LEVEL), log_(std::move(log)) {}
  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    if (!log_) return;
    std::array<char, 512> text{};
    std::vsnprintf(text.data(), text.size(), format, arguments);
    std::string line = NameDescriptors(text.data());
    {
      const std::scoped_lock lock(mutex_);
      if (holds_ != 0) return held_.push_back(std::move(line));
    }
    log_(line);
  }
  /// Until as many Release, lines are kept: they are for the user.
  void Hold() {
    const std::scoped_lock lock(mutex_);
    ++holds_;
  }
  void Release() {
    std::vector<std::string> lines;
    {
      const std::scoped_lock lock(mutex_);
      if (--holds_ == 0) lines.swap(held_);
    }
    for (const std::string& line : lines) log_(line);
  }

 private:
  const LogCallback log_;
  std::mutex mutex_;
  int holds_ = 0;  // Guarded by mutex_, as is what follows.
  std::vector<std::string> held_;
};

// Around calls of RocksDB's that lock what the whole process has one of.
class QuietForksHeld {
 public:
  explicit QuietForksHeld(const std::shared_ptr<rocksdb::Logger>& log)
      : log_(static_cast<LineLogger&>(*log)) {
    log_.Hold();
    forks_.emplace();
  }
  ~QuietForksHeld() {
    forks_.reset();
    log_.Release();
  }
  QuietForksHeld(const QuietForksHeld&) = delete;
  QuietForksHeld& operator=(const QuietForksHeld&) = delete;

 private:
  LineLogger& log_;
  std::optional<ForksHeld> forks_;
};

class JudgeFilter final : public rocksdb::CompactionFilter {
 public:
  JudgeFilter(LivenessJudge* judge, bool values)
      : judge_(judge), values_(values) {}
  [[nodiscard]] const char* Name() const override { return "larder.judge"; }
  [[nodiscard]] bool Filter(int /*level*/, const rocksdb::Slice& key,
                            const rocksdb::Slice& value,
                            std::string* /*new_value*/,
                            bool* /*changed*/) const override {
    if (!values_) {
      return judge_->IsIndexPairDead(key.ToStringView(), value.ToStringView());
    }
    return key.size() == sizeof(std::uint64_t) &&
           judge_->IsRecordDead(LoadBigEndian64(key.data()),
                                value.ToStringView());
  }

 private:
  LivenessJudge* judge_;
  bool values_;
};

class JudgeFilterFactory final : public rocksdb::CompactionFilterFactory {
 public:
  JudgeFilterFactory(LivenessJudge* judge, bool values,
                     std::shared_ptr<const std::atomic<bool>> judging)
      : judge_(judge), values_(values), judging_(std::move(judging)) {}
  [[nodiscard]] const char* Name() const override { return "larder.judge"; }
  std::unique_ptr<rocksdb::CompactionFilter> CreateCompactionFilter(
      const rocksdb::CompactionFilter::Context& /*context*/) override {
    // RocksDB may compact as soon as it is open, and the judge knows nothing
    // before it has read the ledger: such a compaction drops nothing.
    if (!*judging_) return nullptr;
    judge_->BeginJudging();
    return std::make_unique<JudgeFilter>(judge_, values_);
  }

 private:
  LivenessJudge* judge_;
  bool values_;
  std::shared_ptr<const std::atomic<bool>> judging_;
};

// The most that a table of one level and those of the next that it overlaps
// have.
std::uint64_t OverlapBytes(const rocksdb::ColumnFamilyMetaData& meta) noexcept {
  std::uint64_t most = 0;
  const rocksdb::LevelMetaData* below = nullptr;
  for (auto level = meta.levels.rbegin(); level != meta.levels.rend();
       ++level) {
    if (level->level == 0 || level->files.empty()) continue;
    std::size_t first = 0;  // Of `below`, that does not end before the table.
    for (const rocksdb::SstFileMetaData& table : level->files) {
      std::uint64_t bytes = table.size;
      if (below != nullptr && below->level == level->level + 1) {
        const auto& files = below->files;
        while (first < files.size() &&
               files[first].largestkey < table.smallestkey) {
          ++first;
        }
        for (std::size_t i = first;
             i < files.size() && files[i].smallestkey <= table.largestkey;
             ++i) {
          bytes += files[i].size;
        }
      }
      most = std::max(most, bytes);
    }
    below = &*level;
  }
  return most;
}

// Keeps RocksDB from resuming, and knows what is in tables.
class Listener final : public rocksdb::EventListener {
 public:
  Listener(std::shared_ptr<FamilyTables> index,
           std::shared_ptr<FamilyTables> counters,
           std::shared_ptr<BufferedBytes> buffered,
           std::shared_ptr<CountingFileSystem> files)
      : index_(std::move(index)),
        counters_(std::move(counters)),
        buffered_(std::move(buffered)),
        files_(std::move(files)) {}
  void OnMemTableSealed(const rocksdb::MemTableInfo& info) override {
    if (info.cf_name == "access") {
      buffered_->access.NoteSealed(files_->wal_appended());
    } else if (info.cf_name == "values") {
      buffered_->values.NoteSealed(buffered_->values_written);
    }
  }
  void OnFlushBegin(rocksdb::DB* /*db*/,
                    const rocksdb::FlushJobInfo& info) override {
    if (info.cf_name == "access") buffered_->access.NoteFlushBegin();
    if (info.cf_name == "values") buffered_->values.NoteFlushBegin();
  }
  void OnFlushCompleted(rocksdb::DB* db,
                        const rocksdb::FlushJobInfo& info) override {
    Measure(*db, info.cf_name);
    if (info.cf_name == "access") buffered_->access.NoteFlushed();
    if (info.cf_name == "values") buffered_->values.NoteFlushed();
  }
  void OnCompactionBegin(rocksdb::DB* db,
                         const rocksdb::CompactionJobInfo& info) override {
    if (info.cf_name != "access") return;
    DeleteMerged(*db);
    files_->BeginMerge();
  }
  void OnTableFileCreationStarted(
      const rocksdb::TableFileCreationBriefInfo& info) override {
    if (info.cf_name == "access" &&
        info.reason == rocksdb::TableFileCreationReason::kCompaction) {
      files_->NoteMerging(info.file_path);
    }
  }
  void OnCompactionCompleted(rocksdb::DB* db,
                             const rocksdb::CompactionJobInfo& info) override {
    if (info.cf_name == "access") {
      files_->EndMerge(info.input_files, info.output_files);
    }
    Measure(*db, info.cf_name);
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/,
                            rocksdb::Status /*error*/,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }

 private:
  void Measure(rocksdb::DB& db, const std::string& family) {
    if (family == "access") index_->Measure(db);
    if (family == "counters") counters_->Measure(db);
  }
  // There is room for one compaction. What the one before has read stays on the
  // disk if somebody was reading it when it ended, or a flush is going on,
  // until the next one ends: it goes before this one writes.
  void DeleteMerged(rocksdb::DB& db) noexcept {
    constexpr int kTriesMax = 20;
    for (int i = 0; i < kTriesMax && files_->merging_bytes() != 0; ++i) {
      if (i != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      // The second looks for files to delete.
      db.DisableFileDeletions().PermitUncheckedError();
      db.EnableFileDeletions(/*force=*/false).PermitUncheckedError();
    }
  }

  std::shared_ptr<FamilyTables> index_;
  std::shared_ptr<FamilyTables> counters_;
  std::shared_ptr<BufferedBytes> buffered_;
  std::shared_ptr<CountingFileSystem> files_;
};

// Of all families together, about.
constexpr std::uint64_t kBuffersMax = 6;
constexpr std::uint64_t kArenaBlocks = 8;
// What there are few keys for, in `counters`, of which each has many versions.
constexpr std::size_t kCountersTableBytes = 64 * 1024;
constexpr std::uint64_t kNoLevelLimit = std::uint64_t{1} << 50;
// Level 0 is compacted from this many tables on.
constexpr int kIndexLevelZeroFiles = 4;
// The first level that tables of level 0 are merged into, in write buffers: all
// of it is rewritten each time. No level is smaller, and the others are so many
// times the one above.
constexpr std::uint64_t kIndexBaseBuffers = 2;
constexpr int kIndexLevelRatio = 8;
// Bounds one compaction of the index, and so the space that it needs.
constexpr std::uint64_t kIndexCompactionFiles = 4;

rocksdb::ColumnFamilyOptions CommonFamily(const RocksSizes& sizes) {
  rocksdb::ColumnFamilyOptions options;
  options.write_buffer_size = sizes.write_buffer;
  options.arena_block_size = sizes.write_buffer / kArenaBlocks;
  // A flush waits for the disk twice or more; writers should not.
  options.max_write_buffer_number = 8;
  options.target_file_size_base = sizes.index_file;
  options.compression = rocksdb::kNoCompression;
  options.report_bg_io_stats = false;
  return options;
}

rocksdb::BlockBasedTableOptions CommonTable(
    const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  return table;
}

rocksdb::ColumnFamilyOptions ValuesFamily(
    const Rocks::Options& open, const std::shared_ptr<rocksdb::Cache>& cache,
    const std::shared_ptr<std::atomic<bool>>& judging) {
  rocksdb::ColumnFamilyOptions options = CommonFamily(open.sizes);
  options.target_file_size_base = open.sizes.table_file;
  options.num_levels = 2;
  options.level0_file_num_compaction_trigger = 1;
  options.max_bytes_for_level_base = kNoLevelLimit;
  rocksdb::BlockBasedTableOptions table = CommonTable(cache);
  table.block_size = 8 * 1024;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  if (open.judge != nullptr) {
    options.compaction_filter_factory =
        std::make_shared<JudgeFilterFactory>(open.judge, true, judging);
  }
  return options;
}

rocksdb::ColumnFamilyOptions AccessFamily(
    const Rocks::Options& open, const std::shared_ptr<rocksdb::Cache>& cache,
    const std::shared_ptr<std::atomic<bool>>& judging,
    std::shared_ptr<rocksdb::MemTableRepFactory> memtables) {
  rocksdb::ColumnFamilyOptions options = CommonFamily(open.sizes);
  options.level_compaction_dynamic_level_bytes = true;
  options.level0_file_num_compaction_trigger = kIndexLevelZeroFiles;
  options.max_bytes_for_level_base =
      kIndexBaseBuffers * open.sizes.write_buffer;
  options.max_bytes_for_level_multiplier = kIndexLevelRatio;
  options.max_compaction_bytes = kIndexCompactionFiles * open.sizes.index_file;
  options.ignore_max_compaction_bytes_for_input = false;
  options.memtable_factory = std::move(memtables);
  rocksdb::BlockBasedTableOptions table = CommonTable(cache);
  table.block_size = 4 * 1024;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.data_block_index_type =
      rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  if (open.judge != nullptr) {
    options.compaction_filter_factory =
        std::make_shared<JudgeFilterFactory>(open.judge, false, judging);
  }
  return options;
}

rocksdb::ColumnFamilyOptions CountersFamily(
    const Rocks::Options& open, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options = CommonFamily(open.sizes);
  options.merge_operator = NewLedgerMergeOperator();
  options.memtable_factory =
      std::make_shared<VersionMemTableFactory>(kCountersTableBytes);
  options.table_factory.reset(
      rocksdb::NewBlockBasedTableFactory(CommonTable(cache)));
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> Families(
    const Rocks::Options& open, const std::shared_ptr<rocksdb::Cache>& cache,
    const std::shared_ptr<std::atomic<bool>>& judging,
    const std::shared_ptr<rocksdb::MemTableRepFactory>& index_memtables) {
  std::vector<rocksdb::ColumnFamilyDescriptor> families = {
      {rocksdb::kDefaultColumnFamilyName, CommonFamily(open.sizes)},
      {"values", ValuesFamily(open, cache, judging)},
      {"access", AccessFamily(open, cache, judging, index_memtables)},
      {"counters", CountersFamily(open, cache)}};
  // After a repair all tables lie on one level, in any order.
  for (rocksdb::ColumnFamilyDescriptor& family : families) {
    family.options.force_consistency_checks = !open.lenient;
  }
  return families;
}

rocksdb::DBOptions DatabaseOptions(
    const Rocks::Options& open, rocksdb::Env* env,
    const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::DBOptions options;
  options.env = env;
  options.paranoid_checks = !open.lenient;
  if (open.lenient) {
    options.wal_recovery_mode =
        rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords;
  }
  options.create_if_missing = open.create;
  options.create_missing_column_families = open.create;
  options.max_background_jobs = 2;
  // There are few files; a thread for each costs more than it opens.
  options.max_file_opening_threads = 1;
  options.max_total_wal_size = open.sizes.wal_total;
  options.bytes_per_sync = 1 << 20;
  options.avoid_flush_during_shutdown = true;
  // Opening writes next to nothing, so it works on a full disk.
  options.avoid_flush_during_recovery = true;
  options.allow_fallocate = false;
  options.manifest_preallocation_size = 64 * 1024;
  options.skip_stats_update_on_db_open = true;
  options.skip_checking_sst_file_sizes_on_db_open = true;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.recycle_log_file_num = 0;
  options.keep_log_file_num = 1;
  // Whoever writes beside one that reads removes tables: that has all of them
  // open before. Else RocksDB opens the first 16, and others when they are
  // read.
  options.max_open_files = open.read_only && !open.lenient ? -1 : 1000;
  options.info_log = std::make_shared<LineLogger>(open.log);
  options.write_buffer_manager = std::make_shared<rocksdb::WriteBufferManager>(
      kBuffersMax * open.sizes.write_buffer, cache);
  return options;
}

rocksdb::Status OpenWithoutTimer(
    bool read_only, const rocksdb::DBOptions& options, const std::string& path,
    const std::vector<rocksdb::ColumnFamilyDescriptor>& families,
    std::vector<rocksdb::ColumnFamilyHandle*>* handles, rocksdb::DB** db) {
  const QuietForksHeld held(options.info_log);
  if (read_only) {  // It never has the timer.
    return rocksdb::DB::OpenForReadOnly(options, path, families, handles, db);
  }
  const rocksdb::Status status =
      rocksdb::DB::Open(options, path, families, handles, db);
  if (status.ok()) StopInfoLogTimer(**db);
  return status;
}

// What is found in the log is taken for safe by all that comes: the next sync
// is of the next log, and RocksDB never syncs one that it was not running for.
Status SyncFoundLogs(const std::filesystem::path& path) {
  const UniqueFd directory = OpenDirectory(AT_FDCWD, path.c_str());
  if (!directory) return Status::Ok();  // It is to be made.
  bool found = false;
  Status status;
  const int error = ListDirectory(directory.get(), ".", [&](const char* name) {
    if (!std::string_view(name).ends_with(".log")) return true;
    const FilePlace place(directory.get(), name, path / name);
    const Result<UniqueFd> fd = OpenFile(place, O_RDONLY);
    struct stat info {};
    if (!fd || ::fstat(fd->get(), &info) != 0 || info.st_size == 0) return true;
    found = true;
    if (::fdatasync(fd->get()) != 0) {
      status = Status::FromErrno(errno, "syncing " + place.shown.string());
    }
    return status.ok();
  });
  LARDER_RETURN_IF_ERROR(status);
  if (error != 0) return Status::FromErrno(error, "reading " + path.string());
  if (found && ::fsync(directory.get()) != 0) {
    return Status::FromErrno(errno, "syncing " + path.string());
  }
  return Status::Ok();
}

}  // namespace

std::shared_ptr<CountingFileSystem> NewFileSystem() {
  const ForksHeld held;
  MakeRocksStatics();
  return std::make_shared<CountingFileSystem>(rocksdb::FileSystem::Default());
}

RocksSizes RocksSizes::For(std::uint64_t size_limit,
                           std::uint64_t memory_budget,
                           std::uint64_t index_bytes) noexcept {
  constexpr std::uint64_t kKiB = 1024;
  constexpr std::uint64_t kMiB = 1024 * kKiB;
  RocksSizes sizes;
  sizes.memory_budget = memory_budget != 0
                            ? std::max(memory_budget, kMiB)
                            : std::clamp(size_limit / 16, 8 * kMiB, 64 * kMiB);
  // A buffer is an eighth of the index, if that is not much of the whole: many
  // small items mean much to merge, and each flush and each table waits for
  // the disk.
  const std::uint64_t smallest =
      std::clamp(size_limit / 256, 128 * kKiB, 4 * kMiB);
  const std::uint64_t largest =
      std::clamp(std::min(size_limit / 64, sizes.memory_budget / 8), smallest,
                 std::max(smallest, 4 * kMiB));
  sizes.write_buffer =
      std::clamp(std::bit_floor(index_bytes / 8), smallest, largest);
  sizes.wal_total = std::max(std::clamp(size_limit / 64, 512 * kKiB, 6 * kMiB),
                             2 * sizes.write_buffer);
  sizes.table_file = std::clamp(size_limit / 128, 512 * kKiB, 32 * kMiB);
  sizes.index_file =
      std::clamp(std::max(size_limit / 512, sizes.write_buffer / 4), 128 * kKiB,
                 16 * kMiB);
  return sizes;
}

bool IsDatabaseFile(std::string_view name) noexcept {
  constexpr std::array<std::string_view, 6> kPrefixes{
      "CURRENT", "IDENTITY", "LOCK", "LOG", "MANIFEST-", "OPTIONS-"};
  constexpr std::array<std::string_view, 3> kSuffixes{".log", ".sst", ".dbtmp"};
  return std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [&](auto prefix) { return name.starts_with(prefix); }) ||
         std::any_of(kSuffixes.begin(), kSuffixes.end(),
                     [&](auto suffix) { return name.ends_with(suffix); });
}

std::optional<RocksSizes> RocksSizes::Stored(const std::filesystem::path& path,
                                             std::uint64_t memory_budget) {
  const auto files = NewFileSystem();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(files);
  rocksdb::ConfigOptions config;
  config.env = env.get();
  config.ignore_unknown_options = true;
  config.ignore_unsupported_options = true;
  rocksdb::DBOptions database;
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  const ForksHeld held;  // Options have registries.
  if (!rocksdb::LoadLatestOptions(config, path.string(), &database, &families)
           .ok()) {
    return std::nullopt;
  }
  RocksSizes sizes;
  sizes.wal_total = database.max_total_wal_size;
  for (const rocksdb::ColumnFamilyDescriptor& family : families) {
    if (family.name == "values") {
      sizes.write_buffer = family.options.write_buffer_size;
      sizes.table_file = family.options.target_file_size_base;
    } else if (family.name == "access") {
      sizes.index_file = family.options.target_file_size_base;
    }
  }
  // The limit is not known yet, so neither is the memory: the default's.
  sizes.memory_budget =
      For(Settings{}.size_limit, memory_budget, 0).memory_budget;
  const bool whole = sizes.write_buffer != 0 && sizes.wal_total != 0 &&
                     sizes.table_file != 0 && sizes.index_file != 0;
  return whole ? std::optional(sizes) : std::nullopt;
}

namespace {

// When its manifest is begun anew. It names all tables: with keys of up to some
// hundred bytes in less than that. Longer ones may take more, and then each
// change writes all of it.
std::uint64_t ManifestBytesMax(const std::filesystem::path& path) {
  constexpr std::uint64_t kBytesMin = 256 * 1024;
  constexpr std::uint64_t kBytesOfTable = 1024;
  std::uint64_t tables = 0;
  const auto count = [&](std::string_view name) {
    tables += name.ends_with(".sst") ? 1 : 0;
    return true;
  };
  // What cannot be listed cannot be opened either, which says why.
  static_cast<void>(ListDirectory(AT_FDCWD, path.c_str(), count));
  return std::max(kBytesMin, tables * kBytesOfTable);
}

}  // namespace

Result<std::unique_ptr<Rocks>> Rocks::Open(const Options& options) {
  std::unique_ptr<Rocks> rocks(new Rocks);
  rocks->sizes_ = options.sizes;
  rocks->index_tables_->SetTarget(
      options.sizes.index_file, kIndexBaseBuffers * options.sizes.write_buffer);
  rocks->index_memtables_ =
      std::make_shared<VersionMemTableFactory>(options.sizes.write_buffer);
  rocks->read_only_ = options.read_only;
  rocks->files_ = NewFileSystem();
  const std::string path = options.path.string();
  rocks->files_->Recount(path);
  const auto flushed = CheckManifest(*rocks->files_, path, options.manifest);
  if (!flushed) return Fail(flushed.error());
  auto logs = CheckWriteAheadLogs(*rocks->files_, path, flushed->value_or(0));
  if (!logs) return Fail(std::move(logs.error()));
  rocks->found_logs_ = *std::move(logs);
  rocks->manifest_synced_ = options.manifest_synced;
  rocks->opening_ = std::make_shared<OpeningFileSystem>(rocks->files_);
  rocks->files_env_ = rocksdb::NewCompositeEnv(rocks->opening_);
  auto env = NewOwnThreadsEnv(rocks->files_env_.get());
  if (!env) return Fail(std::move(env.error()));
  rocks->env_ = *std::move(env);
  const std::shared_ptr<rocksdb::Cache> cache =
      options.cache != nullptr
          ? options.cache
          : rocksdb::NewLRUCache(options.sizes.memory_budget, 4);
  rocks->cache_ = cache;
  rocksdb::DBOptions db_options =
      DatabaseOptions(options, rocks->env_.get(), cache);
  rocks->manifest_bytes_max_ = ManifestBytesMax(options.path);
  db_options.max_manifest_file_size = rocks->manifest_bytes_max_;
  rocks->info_log_ = db_options.info_log;
  rocks->buffers_ = db_options.write_buffer_manager;
  db_options.listeners.push_back(
      std::make_shared<Listener>(rocks->index_tables_, rocks->counter_tables_,
                                 rocks->buffered_, rocks->files_));
  const std::vector<rocksdb::ColumnFamilyDescriptor> families =
      Families(options, cache, rocks->judging_, rocks->index_memtables_);
  if (!options.read_only) LARDER_FAIL_IF_ERROR(SyncFoundLogs(options.path));
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = OpenWithoutTimer(
      options.read_only, db_options, path, families, &rocks->families_, &db);
  if (!status.ok()) {
    rocks->opening_->Undo();
    Status failure = FromRocks(status, "open of " + path);
    // A file that another one names is missing: that is damage.
    if (status.IsPathNotFound() || status.IsNotFound()) {
      failure = Status::Corruption(failure.message());
    }
    return Fail(std::move(failure));
  }
  rocks->db_.reset(db);
  static std::once_flag once;
  std::call_once(once, CloseBeforeStaticsOfNow);  // RocksDB has made its own.
  rocks->index_tables_->Start(*db, rocks->access());
  rocks->counter_tables_->Start(*db, rocks->counters());
  return rocks;
}

Status Rocks::Repair(const Options& options) {
  const std::unique_ptr<rocksdb::Env> files_env =
      rocksdb::NewCompositeEnv(NewFileSystem());
  const auto env = NewOwnThreadsEnv(files_env.get());
  if (!env) return env.error();
  const std::shared_ptr<rocksdb::Cache> cache =
      rocksdb::NewLRUCache(options.sizes.memory_budget, 4);
  const auto judging = std::make_shared<std::atomic<bool>>(false);
  const auto memtables =
      std::make_shared<VersionMemTableFactory>(options.sizes.write_buffer);
  return FromRocks(
      rocksdb::RepairDB(options.path.string(),
                        DatabaseOptions(options, env->get(), cache),
                        Families(options, cache, judging, memtables)),
      "repairing " + options.path.string());
}

Rocks::~Rocks() { Abandon(); }

void Rocks::Keep() {
  opening_->Keep();
  files_->TellManifest(manifest_synced_);
}

std::uint64_t Rocks::access_table_bytes() const noexcept {
  return index_tables_->bytes();
}

std::uint64_t Rocks::access_table_count() const noexcept {
  return index_tables_->count();
}

bool Rocks::index_is_behind() noexcept {
  // Half of where RocksDB begins to delay writes (level0_slowdown_writes_
  // trigger).
  constexpr int kFilesMax = 10;
  std::string files;
  return db_->GetProperty(access(),
                          rocksdb::DB::Properties::kNumFilesAtLevelPrefix + "0",
                          &files) &&
         std::atoi(files.c_str()) >= kFilesMax;
}

std::uint64_t Rocks::index_step_bytes() const noexcept {
  return index_tables_->usual_step_bytes();
}

std::uint64_t Rocks::compaction_headroom_bytes() const noexcept {
  // The output may be cut into more tables than the input: each is rounded up
  // to blocks, and has an index, a filter and properties of its own.
  constexpr std::uint64_t kShareOfCuts = 16;
  // With what is flushed before it.
  const std::uint64_t flushed = IndexBufferedBytes();
  const std::uint64_t input =
      std::min(index_tables_->bytes() + flushed,
               std::max(index_tables_->merge_bytes() + flushed,
                        index_tables_->step_bytes()));
  return input + input / kShareOfCuts + counter_tables_->bytes();
}

std::uint64_t Rocks::manifest_headroom_bytes() const noexcept {
  const std::uint64_t to_grow =
      manifest_bytes_max_ -
      std::min(manifest_bytes_max_, files_->manifest_bytes());
  // A new one is written before the old one goes: where keys are long, with
  // each change, so that the one before that may be there, too.
  const std::uint64_t anew = index_tables_->named_bytes();
  return to_grow + (anew < manifest_bytes_max_ / 2 ? anew : 2 * anew);
}

std::uint64_t Rocks::flush_headroom_bytes() const noexcept {
  // Relaxed: a figure, which orders nothing.
  const std::uint64_t values = buffered_->values.Left(
      buffered_->values_written.load(std::memory_order_relaxed));
  return std::min(files_->wal_bytes(), values) + IndexBufferedBytes();
}

std::uint64_t Rocks::IndexBufferedBytes() const noexcept {
  return std::min(files_->wal_bytes(),
                  buffered_->access.Left(files_->wal_appended()));
}

std::uint64_t Rocks::buffered_bytes() const noexcept {
  return buffers_->memory_usage();
}

void FamilyTables::Start(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family) {
  {
    const std::scoped_lock lock(mutex_);
    family_ = family;
  }
  Measure(db);
}

void FamilyTables::Stop() {
  const std::scoped_lock lock(mutex_);
  family_ = nullptr;
}

void FamilyTables::Measure(rocksdb::DB& db) {
  // What a manifest says of a table, besides two keys.
  constexpr std::uint64_t kNamingBytes = 128;
  // Under the lock, so that an older state does not overwrite a newer one.
  const std::scoped_lock lock(mutex_);
  if (family_ == nullptr) return;
  rocksdb::ColumnFamilyMetaData meta;
  db.GetColumnFamilyMetaData(family_, &meta);
  // Level 0 is merged into this one: above what there is, if that is full.
  std::uint64_t base_level = 0;
  const bool is_known = db.GetIntProperty(
      family_, rocksdb::DB::Properties::kBaseLevel, &base_level);
  std::uint64_t merge = 0;
  for (const rocksdb::LevelMetaData& level : meta.levels) {
    if (level.level == 0) merge += level.size;
    if (level.level == 0 || level.size == 0) continue;
    // Or into this one, as soon as it is small enough for that.
    const bool may_be_base = !is_known ||
                             level.level <= static_cast<int>(base_level) ||
                             level.size <= 2 * base_bytes_;
    if (may_be_base) merge += level.size;
    break;
  }
  std::uint64_t named = 0;
  for (const rocksdb::LevelMetaData& level : meta.levels) {
    for (const rocksdb::SstFileMetaData& table : level.files) {
      named +=
          table.smallestkey.size() + table.largestkey.size() + kNamingBytes;
    }
  }
  // Relaxed: figures, which order nothing.
  named_bytes_.store(named, std::memory_order_relaxed);
  bytes_.store(meta.size, std::memory_order_relaxed);
  count_.store(meta.file_count, std::memory_order_relaxed);
  merge_bytes_.store(merge, std::memory_order_relaxed);
  overlap_bytes_.store(OverlapBytes(meta), std::memory_order_relaxed);
}

std::uint64_t FamilyTables::usual_step_bytes() const noexcept {
  // A table of one level, those of the next that it overlaps, and one at each
  // end.
  return (kIndexCompactionFiles + 3) * target_.load(std::memory_order_relaxed);
}

std::uint64_t FamilyTables::step_bytes() const noexcept {
  // More where tables have had another size.
  return std::max(usual_step_bytes(),
                  overlap_bytes_.load(std::memory_order_relaxed));
}

void Rocks::Resize(const RocksSizes& sizes) {
  const std::scoped_lock lock(resize_mutex_);
  // The memory is given at Open only.
  RocksSizes wanted = sizes;
  wanted.memory_budget = sizes_.memory_budget;
  if (read_only_ || wanted == sizes_) return;
  sizes_ = wanted;
  index_tables_->SetTarget(wanted.index_file,
                           kIndexBaseBuffers * wanted.write_buffer);
  index_memtables_->SetWriteBuffer(wanted.write_buffer);
  buffers_->SetBufferSize(kBuffersMax * wanted.write_buffer);
  const QuietForksHeld held(info_log_);  // Options have registries.
  const auto resize = [this](rocksdb::ColumnFamilyHandle* family,
                             std::uint64_t buffer, std::uint64_t file) {
    // A refused option leaves the old size, which is safe.
    db_->SetOptions(
           family,
           {{"write_buffer_size", std::to_string(buffer)},
            // A buffer smaller than one arena block trips an assertion.
            {"arena_block_size", std::to_string(buffer / kArenaBlocks)},
            {"target_file_size_base", std::to_string(file)},
            {"max_compaction_bytes",
             std::to_string(kIndexCompactionFiles * file)},
            {"max_bytes_for_level_base",
             std::to_string(family == values() ? kNoLevelLimit
                                               : kIndexBaseBuffers * buffer)}})
        .PermitUncheckedError();
  };
  resize(values(), sizes.write_buffer, sizes.table_file);
  resize(access(), sizes.write_buffer, sizes.index_file);
  resize(counters(), sizes.write_buffer, sizes.index_file);
  db_->SetDBOptions({{"max_total_wal_size", std::to_string(sizes.wal_total)}})
      .PermitUncheckedError();
}

Status Rocks::FlushAll() {
  if (read_only_) return Status::Ok();
  return FromRocks(db_->Flush(rocksdb::FlushOptions(), families_), "flush");
}

Status Rocks::Close() {
  if (!db_) return Status::Ok();
  Status status = FlushAll();
  Abandon();
  return status;
}

void Rocks::Abandon() noexcept {
  if (!db_) return;
  // Compactions ask the judge, who uses the handles: they end first.
  *judging_ = false;
  index_tables_->Stop();
  counter_tables_->Stop();
  {
    const QuietForksHeld held(info_log_);  // There is one timer.
    rocksdb::CancelAllBackgroundWork(db_.get(), /*wait=*/false);
  }
  db_->PauseBackgroundWork().PermitUncheckedError();  // Waits for it.
  for (rocksdb::ColumnFamilyHandle* family : families_) {
    db_->DestroyColumnFamilyHandle(family).PermitUncheckedError();
  }
  families_.clear();
  {
    const QuietForksHeld held(info_log_);
    db_->Close().PermitUncheckedError();
    db_.reset();
  }
  opening_->Undo();  // Unless it was kept.
}

Status FromRocks(const rocksdb::Status& status, std::string_view what) {
  constexpr std::string_view kNoSpaceText = "No space left on device";
  if (status.ok()) return Status::Ok();
  std::string message =
      NameDescriptors(std::string(what) + ": " + status.ToString());
  // RocksDB takes some of these for damage.
  if (const std::string advice = LimitAdvice(message); !advice.empty()) {
    return Status::IoError(message + advice);
  }
  // Of CountingFileSystem; RocksDB has no code for it.
  if (message.find(kNotAFileText) != std::string::npos) {
    return {StatusCode::kNotAFile, std::move(message)};
  }
  if (status.IsCorruption()) return Status::Corruption(std::move(message));
  // To a write that waited for a flush or a compaction which then failed, its
  // error is told as text.
  const bool stalled_for_space =
      status.IsIncomplete() && message.find(kNoSpaceText) != std::string::npos;
  if (status.IsNoSpace() || stalled_for_space) {
    return Status::NoSpace(std::move(message));
  }
  if (status.IsNotFound()) return Status::NotFound(std::move(message));
  if (status.IsInvalidArgument() || status.IsNotSupported()) {
    // RocksDB says so of files that are not what they should be.
    return Status::Corruption(std::move(message));
  }
  return Status::IoError(std::move(message));
}

}  // namespace larder
