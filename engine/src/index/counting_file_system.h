#ifndef LARDER_ENGINE_SRC_INDEX_COUNTING_FILE_SYSTEM_H_
#define LARDER_ENGINE_SRC_INDEX_COUNTING_FILE_SYSTEM_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <rocksdb/file_system.h>

#include "directory/manifest_mark.h"
#include "directory/resting_file.h"

namespace larder {

/// A file system that knows at any moment how many bytes RocksDB's directory
/// holds, counted in blocks as `du` does. RocksDB's own figures leave out the
/// WAL, the MANIFEST and files that wait for their deletion.
///
/// Threads: thread-safe.
class CountingFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit CountingFileSystem(std::shared_ptr<rocksdb::FileSystem> target)
      : FileSystemWrapper(std::move(target)) {}

  [[nodiscard]] const char* Name() const override { return "larder.counting"; }

  /// Forgets what it knows and counts the files that are in `directory`.
  void Recount(const std::string& directory);

  [[nodiscard]] std::uint64_t disk_bytes() const noexcept {
    return Positive(disk_bytes_);
  }
  /// Of those, write-ahead log: about what a flush would write to tables.
  [[nodiscard]] std::uint64_t wal_bytes() const noexcept {
    return Positive(wal_bytes_);
  }
  /// Of the log, since this was made and with what it had then.
  [[nodiscard]] std::uint64_t wal_appended() const noexcept {
    return Positive(wal_appended_);
  }
  /// Of disk_bytes(), what a compaction holds besides its result: its output
  /// while it runs, its input until that is deleted.
  [[nodiscard]] std::uint64_t merging_bytes() const noexcept {
    return Positive(merging_bytes_);
  }
  /// A compaction begins: what earlier ones have not deleted is no longer
  /// theirs, but of whoever reads it.
  void BeginMerge();
  /// Its next output is to be made at `path`.
  void NoteMerging(const std::string& path);
  /// It is done: `output` is what counts now, unless it is `input` moved.
  void EndMerge(const std::vector<std::string>& input,
                const std::vector<std::string>& output);
  /// Bytes appended to any file since this was made.
  [[nodiscard]] std::uint64_t bytes_written() const noexcept {
    return bytes_written_.load(std::memory_order_relaxed);
  }

  /// How long the manifest was when it was synced last; 0: it was not yet.
  [[nodiscard]] std::uint64_t manifest_bytes() const noexcept {
    return manifest_bytes_.load(std::memory_order_relaxed);
  }
  /// Whoever is told how long the manifest is, now and whenever it has been
  /// synced, on the thread that syncs it.
  void TellManifest(std::function<void(const ManifestMark&)> listener);

  /// True once a sync of the log, or of the directory, has failed: what was
  /// written before may or may not be found by the next opening. RocksDB does
  /// not know: who syncs the log asks here afterwards.
  [[nodiscard]] bool log_sync_failed() const noexcept {
    return log_sync_failed_.load(std::memory_order_acquire);
  }

  /// Files that are read at random, and were not for two seconds, give their
  /// descriptors back until they are. To be called about once a second.
  void CloseIdleFiles() noexcept;

  using FileSystemWrapper::DeleteFile;
  // Whatever RocksDB opens is a regular file and does not become one of the
  // standard descriptors; see open_file.h.
  rocksdb::IOStatus NewSequentialFile(
      const std::string& path, const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSSequentialFile>* file,
      rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus NewRandomAccessFile(
      const std::string& path, const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
      rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus NewRandomRWFile(
      const std::string& path, const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSRandomRWFile>* file,
      rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus NewMemoryMappedFileBuffer(
      const std::string& path,
      std::unique_ptr<rocksdb::MemoryMappedFileBuffer>* buffer) override;
  /// It has no descriptor but while it is synced.
  rocksdb::IOStatus NewDirectory(
      const std::string& path, const rocksdb::IOOptions& options,
      std::unique_ptr<rocksdb::FSDirectory>* directory,
      rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus GetChildren(const std::string& path,
                                const rocksdb::IOOptions& options,
                                std::vector<std::string>* names,
                                rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus NewLogger(const std::string& path,
                              const rocksdb::IOOptions& options,
                              std::shared_ptr<rocksdb::Logger>* logger,
                              rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus NewWritableFile(
      const std::string& path, const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSWritableFile>* file,
      rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus ReopenWritableFile(
      const std::string& path, const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSWritableFile>* file,
      rocksdb::IODebugContext* context) override;
  /// Not used by RocksDB without recycled logs; the base's would open a file
  /// that is not counted.
  rocksdb::IOStatus ReuseWritableFile(
      const std::string& path, const std::string& old_path,
      const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSWritableFile>* file,
      rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus DeleteFile(const std::string& path,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* context) override;
  /// The same lock on the file as RocksDB's own, without its table of locked
  /// names, which a forked child inherits. Waits up to 2 s for the last holder,
  /// whose descriptors the kernel closes one by one.
  /// REQUIRES: the caller has the seat, so nobody else in this process does.
  rocksdb::IOStatus LockFile(const std::string& path,
                             const rocksdb::IOOptions& options,
                             rocksdb::FileLock** lock,
                             rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus UnlockFile(rocksdb::FileLock* lock,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* context) override;

 private:
  friend class CountingFile;
  friend class WatchedDirectory;
  static std::uint64_t Positive(
      const std::atomic<std::int64_t>& value) noexcept {
    // Relaxed: a figure, which orders nothing.
    const std::int64_t now = value.load(std::memory_order_relaxed);
    return now > 0 ? static_cast<std::uint64_t>(now) : 0;
  }
  rocksdb::IOStatus OpenDirectory(
      const std::string& path, const rocksdb::IOOptions& options,
      std::unique_ptr<rocksdb::FSDirectory>* directory,
      rocksdb::IODebugContext* context);
  /// Notes that `path` now has `size` bytes; 0 forgets it.
  void SetSize(const std::string& path, std::uint64_t size);
  /// Both under mutex_.
  void StartMerging(const std::string& path);
  void StopMerging(const std::string& path);
  void AddWritten(std::uint64_t bytes) noexcept {
    bytes_written_.fetch_add(bytes, std::memory_order_relaxed);
  }
  /// What a file adds to, besides the sum of all.
  enum class Kind : std::uint8_t { kOther, kWal, kManifest, kMerging };
  static Kind KindOf(const std::string& path) noexcept;
  void NoteManifest(const ManifestMark& mark);
  rocksdb::IOStatus NoteSync(rocksdb::IOStatus status) noexcept {
    // Release pairs with log_sync_failed(), of who is told of the failure.
    if (!status.ok()) log_sync_failed_.store(true, std::memory_order_release);
    return status;
  }
  /// A file that is written grew from `before` to `after` bytes.
  void Grow(Kind kind, std::uint64_t before, std::uint64_t after) noexcept;

  std::atomic<std::int64_t> disk_bytes_{0};
  std::atomic<std::int64_t> wal_bytes_{0};
  std::atomic<std::int64_t> wal_appended_{0};
  std::atomic<std::int64_t> merging_bytes_{0};
  std::atomic<std::uint64_t> bytes_written_{0};
  std::atomic<bool> log_sync_failed_{false};
  std::atomic<std::uint64_t> manifest_bytes_{0};
  std::mutex manifest_mutex_;
  ManifestMark manifest_;                              // Guarded by it.
  std::function<void(const ManifestMark&)> listener_;  // Guarded by it.
  std::mutex mutex_;
  // Guarded by mutex_. A file being written is brought up to date here when it
  // is closed or deleted; its growth shows in the sums at once.
  std::unordered_map<std::string, std::shared_ptr<std::atomic<std::uint64_t>>>
      sizes_;
  std::unordered_set<std::string> merging_;  // Guarded by mutex_.
  std::mutex resting_mutex_;                 // Before that of such a file.
  std::list<RestingFile*> resting_;          // Guarded by resting_mutex_.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_COUNTING_FILE_SYSTEM_H_
