#ifndef LARDER_ENGINE_SRC_INDEX_ROCKS_H_
#define LARDER_ENGINE_SRC_INDEX_ROCKS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/perf_level.h>

#include "larder/engine/engine.h"
#include "larder/engine/status.h"

#include "directory/manifest_mark.h"
#include "index/counting_file_system.h"
#include "index/entry.h"
#include "index/opening_file_system.h"
#include "index/version_memtable.h"
#include "index/wal_check.h"

namespace larder {

/// On the real one. Makes what RocksDB makes at its first use, forks held back.
[[nodiscard]] std::shared_ptr<CountingFileSystem> NewFileSystem();

/// What the compaction filters ask of the store. Called on RocksDB's threads.
class LivenessJudge {
 public:
  virtual ~LivenessJudge() = default;
  /// A compaction is about to ask.
  virtual void BeginJudging() noexcept = 0;
  /// True if the record of `values` at `position` may be dropped.
  [[nodiscard]] virtual bool IsRecordDead(std::uint64_t position,
                                          std::string_view record) noexcept = 0;
  /// True if the pair of `access` may be dropped.
  [[nodiscard]] virtual bool IsIndexPairDead(
      std::string_view key, std::string_view value) noexcept = 0;
};

/// Sizes that follow from the settings.
struct RocksSizes {
  std::uint64_t write_buffer = 0;   ///< Of one family.
  std::uint64_t wal_total = 0;      ///< Beyond it families are flushed.
  std::uint64_t memory_budget = 0;  ///< Block cache with write buffers.
  std::uint64_t table_file = 0;     ///< Target size in `values`.
  std::uint64_t index_file = 0;     ///< Target size in `access`.

  /// `index_bytes`: of the tables of `access`, 0 in a new database.
  [[nodiscard]] static RocksSizes For(std::uint64_t size_limit,
                                      std::uint64_t memory_budget,
                                      std::uint64_t index_bytes) noexcept;
  /// Those that the database at `path` has; nullopt if it cannot be told.
  [[nodiscard]] static std::optional<RocksSizes> Stored(
      const std::filesystem::path& path, std::uint64_t memory_budget);
  friend bool operator==(const RocksSizes&, const RocksSizes&) = default;
};

/// How large the tables of one family are. Threads: thread-safe.
class FamilyTables {
 public:
  void Start(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* family);
  void Stop();
  /// Called whenever they have changed.
  void Measure(rocksdb::DB& db);
  /// How large each is made, about, and the level below level 0.
  void SetTarget(std::uint64_t bytes, std::uint64_t base_bytes) noexcept {
    target_ = bytes;
    base_bytes_ = base_bytes;
  }

  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return bytes_.load(std::memory_order_relaxed);
  }
  /// Of level 0 and the level that it is merged into, all of which one
  /// compaction may write again before it deletes any.
  [[nodiscard]] std::uint64_t merge_bytes() const noexcept {
    return merge_bytes_.load(std::memory_order_relaxed);
  }
  /// The most that a compaction of one table of another level may write.
  [[nodiscard]] std::uint64_t step_bytes() const noexcept;
  /// The same, of tables that all have been made as large as they are now.
  [[nodiscard]] std::uint64_t usual_step_bytes() const noexcept;
  [[nodiscard]] std::uint64_t count() const noexcept {
    return count_.load(std::memory_order_relaxed);
  }
  /// The most that a new manifest says of them.
  [[nodiscard]] std::uint64_t named_bytes() const noexcept {
    return named_bytes_.load(std::memory_order_relaxed);
  }

 private:
  std::mutex mutex_;
  rocksdb::ColumnFamilyHandle* family_ = nullptr;  // Guarded by mutex_.
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::uint64_t> merge_bytes_{0};
  std::atomic<std::uint64_t> overlap_bytes_{0};
  std::atomic<std::uint64_t> target_{0};
  std::atomic<std::uint64_t> named_bytes_{0};
  std::atomic<std::uint64_t> base_bytes_{0};
};

/// How much of what was written to a family is in tables. Threads: thread-safe.
class FlushedBytes {
 public:
  /// A buffer was closed when so much had been written; what has been closed is
  /// being flushed; and it has been.
  void NoteSealed(std::uint64_t written) noexcept { sealed_ = written; }
  void NoteFlushBegin() noexcept { flushing_ = sealed_.load(); }
  void NoteFlushed() noexcept { flushed_ = flushing_.load(); }
  /// The most that is in buffers, of so much.
  [[nodiscard]] std::uint64_t Left(std::uint64_t written) const noexcept {
    // Relaxed: a figure, which orders nothing.
    return written -
           std::min(written, flushed_.load(std::memory_order_relaxed));
  }

 private:
  std::atomic<std::uint64_t> sealed_{0};
  std::atomic<std::uint64_t> flushing_{0};
  std::atomic<std::uint64_t> flushed_{0};
};

/// What the buffers of RocksDB have, in bytes of the log.
struct BufferedBytes {
  FlushedBytes access;
  FlushedBytes values;
  std::atomic<std::uint64_t> values_written{0};
};

/// Whether RocksDB would open what has this name as a file.
[[nodiscard]] bool IsDatabaseFile(std::string_view name) noexcept;

/// RocksDB as larder uses it: three column families, opened and tuned.
///
/// Threads: thread-safe, as RocksDB is; Close excludes everything else.
class Rocks {
 public:
  struct Options {
    std::filesystem::path path;
    RocksSizes sizes;
    bool read_only = false;
    /// Nothing is in the directory: make a database. Never where there was one:
    /// RocksDB takes a missing file for a new database and deletes the rest.
    bool create = false;
    /// Opens what can be opened: damaged or missing tables are errors of those
    /// who read them, and a damaged log is read on after the damage.
    bool lenient = false;
    /// How long its manifest has been, if that is known.
    ManifestMark manifest;
    /// Told of it from Keep on, whenever it has been synced. May be empty.
    std::function<void(const ManifestMark&)> manifest_synced;
    LivenessJudge* judge = nullptr;  ///< Asked from StartJudging on.
    /// Used instead of a new one: values pinned in it outlive this.
    std::shared_ptr<rocksdb::Cache> cache;
    LogCallback log;
  };
  /// Until Keep, closing it makes the directory again what it was, as does a
  /// failed Open. Errors: kCorruption, kNoSpace, kIoError.
  static Result<std::unique_ptr<Rocks>> Open(const Options& options);
  /// Makes a new CURRENT and MANIFEST from the tables and logs in `path`.
  /// Those that cannot be used are put into `path`/lost.
  static Status Repair(const Options& options);
  ~Rocks();
  Rocks(const Rocks&) = delete;
  Rocks& operator=(const Rocks&) = delete;

  [[nodiscard]] rocksdb::DB& db() noexcept { return *db_; }
  [[nodiscard]] rocksdb::ColumnFamilyHandle* values() noexcept {
    return families_[1];
  }
  [[nodiscard]] rocksdb::ColumnFamilyHandle* access() noexcept {
    return families_[2];
  }
  [[nodiscard]] rocksdb::ColumnFamilyHandle* counters() noexcept {
    return families_[3];
  }
  [[nodiscard]] const CountingFileSystem& files() const noexcept {
    return *files_;
  }

  /// See CountingFileSystem.
  void CloseIdleFiles() noexcept { files_->CloseIdleFiles(); }

  [[nodiscard]] const std::shared_ptr<rocksdb::Cache>& cache() const noexcept {
    return cache_;
  }
  [[nodiscard]] bool read_only() const noexcept { return read_only_; }

  /// It can be used: what the opening has done stays.
  void Keep();
  /// What the write-ahead logs were like that were found.
  [[nodiscard]] const WalFindings& found_logs() const noexcept {
    return found_logs_;
  }

  /// The judge knows from now on what is dead.
  void StartJudging() noexcept { *judging_ = true; }

  /// Bytes of the tables of `access`.
  [[nodiscard]] std::uint64_t access_table_bytes() const noexcept;
  [[nodiscard]] std::uint64_t access_table_count() const noexcept;
  /// Flushes go so much faster than what merges them that soon every write is
  /// slowed down: whoever has time leaves off for a while. Cost: 1 us.
  [[nodiscard]] bool index_is_behind() noexcept;
  /// What one step of our own compactions may take (see NextIndexStep).
  [[nodiscard]] std::uint64_t index_step_bytes() const noexcept;
  /// What compactions by RocksDB itself may need on top of what it has. Of
  /// `values` they only move tables from level to level.
  [[nodiscard]] std::uint64_t compaction_headroom_bytes() const noexcept;
  /// So much is about to be written to `values`.
  void NoteValues(std::uint64_t bytes) noexcept {
    buffered_->values_written.fetch_add(bytes, std::memory_order_relaxed);
  }
  /// What its manifest may yet grow by before it is begun anew.
  [[nodiscard]] std::uint64_t manifest_headroom_bytes() const noexcept;
  /// What flushes of all buffers may write before the log of them goes, which
  /// waits for those of all families.
  [[nodiscard]] std::uint64_t flush_headroom_bytes() const noexcept;
  /// Memory of all buffers: no less than a flush of them writes.
  [[nodiscard]] std::uint64_t buffered_bytes() const noexcept;
  void Resize(const RocksSizes& sizes);
  [[nodiscard]] RocksSizes sizes() const {
    const std::scoped_lock lock(resize_mutex_);
    return sizes_;
  }
  [[nodiscard]] Status FlushAll();
  /// Writes all buffers and closes. Errors: kIoError, kNoSpace; it is closed
  /// all the same.
  [[nodiscard]] Status Close();
  /// Closes without flushing, after a failed write.
  void Abandon() noexcept;

 private:
  [[nodiscard]] std::uint64_t IndexBufferedBytes() const noexcept;
  Rocks() = default;

  std::shared_ptr<rocksdb::Cache> cache_;
  std::shared_ptr<std::atomic<bool>> judging_ =
      std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<CountingFileSystem> files_;
  std::shared_ptr<OpeningFileSystem> opening_;
  std::unique_ptr<rocksdb::Env> files_env_;
  std::unique_ptr<rocksdb::Env> env_;
  std::shared_ptr<rocksdb::Logger> info_log_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
  std::shared_ptr<BufferedBytes> buffered_ = std::make_shared<BufferedBytes>();
  std::shared_ptr<FamilyTables> index_tables_ =
      std::make_shared<FamilyTables>();  // Of `access`.
  std::shared_ptr<FamilyTables> counter_tables_ =
      std::make_shared<FamilyTables>();
  std::shared_ptr<rocksdb::WriteBufferManager> buffers_;
  std::shared_ptr<VersionMemTableFactory> index_memtables_;  // Of `access`.
  mutable std::mutex resize_mutex_;  // One thread at a time; taken last.
  RocksSizes sizes_;  // Guarded by it, once the database is open.
  std::uint64_t manifest_bytes_max_ = 0;
  bool read_only_ = false;
  WalFindings found_logs_;
  std::function<void(const ManifestMark&)> manifest_synced_;
};

/// A RocksDB status as ours; `what` says what was tried.
[[nodiscard]] Status FromRocks(const rocksdb::Status& status,
                               std::string_view what);

/// While it lives RocksDB does not count what the thread does (key comparisons,
/// above all), unless the program has asked for more than these counts. Without
/// them DiskCache's mix with 8 processes does 11 % more operations.
class UncountedScope {
 public:
  UncountedScope() noexcept : level_(rocksdb::GetPerfLevel()) {
    if (level_ == rocksdb::PerfLevel::kEnableCount) {
      rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable);
    }
  }
  ~UncountedScope() {
    if (level_ == rocksdb::PerfLevel::kEnableCount) {
      rocksdb::SetPerfLevel(level_);
    }
  }
  UncountedScope(const UncountedScope&) = delete;
  UncountedScope& operator=(const UncountedScope&) = delete;

 private:
  const rocksdb::PerfLevel level_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_ROCKS_H_
