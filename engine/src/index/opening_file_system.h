#ifndef LARDER_ENGINE_SRC_INDEX_OPENING_FILE_SYSTEM_H_
#define LARDER_ENGINE_SRC_INDEX_OPENING_FILE_SYSTEM_H_

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include <rocksdb/file_system.h>

namespace larder {

/// Makes the opening of a database all or nothing. RocksDB writes a new
/// MANIFEST and a new WAL and deletes what it thinks it needs no more before
/// anybody knows whether the database can be used: until Keep nothing that was
/// there is deleted, and Undo takes away what was made.
///
/// After a crash in between there are files too many, which the next opening
/// deletes: CURRENT always names a whole MANIFEST.
///
/// Threads: thread-safe; Keep and Undo once, one of them.
class OpeningFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit OpeningFileSystem(std::shared_ptr<rocksdb::FileSystem> target)
      : FileSystemWrapper(std::move(target)) {}

  [[nodiscard]] const char* Name() const override { return "larder.opening"; }

  /// The database is open: what RocksDB has deleted goes, and from now on all
  /// goes through.
  void Keep();
  /// It is not: every file is again what it was. What cannot be undone (the
  /// disk is full) is left as RocksDB made it, which is whole, too.
  /// REQUIRES: the database is closed.
  void Undo();

  using FileSystemWrapper::DeleteFile;
  rocksdb::IOStatus NewWritableFile(
      const std::string& path, const rocksdb::FileOptions& options,
      std::unique_ptr<rocksdb::FSWritableFile>* file,
      rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus DeleteFile(const std::string& path,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* context) override;
  rocksdb::IOStatus LockFile(const std::string& path,
                             const rocksdb::IOOptions& options,
                             rocksdb::FileLock** lock,
                             rocksdb::IODebugContext* context) override;

 private:
  [[nodiscard]] bool Exists(const std::string& path);
  /// Remembers what `path` has before it is written over.
  rocksdb::IOStatus Save(const std::string& path);
  rocksdb::IOStatus Restore(const std::string& path, const std::string& bytes);

  // False from Keep on. Acquire and release: what is deferred is done then.
  std::atomic<bool> opening_{true};
  std::mutex mutex_;
  // Guarded by mutex_.
  std::set<std::string> made_;
  std::set<std::string> deleted_;             // Though it is still there.
  std::map<std::string, std::string> saved_;  // What was written over.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_OPENING_FILE_SYSTEM_H_
