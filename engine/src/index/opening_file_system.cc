#include "index/opening_file_system.h"

#include <filesystem>
#include <utility>

namespace larder {

bool OpeningFileSystem::Exists(const std::string& path) {
  return target()->FileExists(path, rocksdb::IOOptions(), nullptr).ok();
}

rocksdb::IOStatus OpeningFileSystem::Save(const std::string& path) {
  if (made_.contains(path) || saved_.contains(path) || !Exists(path)) {
    return rocksdb::IOStatus::OK();
  }
  std::string bytes;
  const rocksdb::IOStatus read =
      rocksdb::ReadFileToString(target(), path, &bytes);
  if (!read.ok()) return read;
  saved_.emplace(path, std::move(bytes));
  return rocksdb::IOStatus::OK();
}

rocksdb::IOStatus OpeningFileSystem::NewWritableFile(
    const std::string& path, const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSWritableFile>* file,
    rocksdb::IODebugContext* context) {
  if (opening_.load(std::memory_order_acquire)) {
    const std::scoped_lock lock(mutex_);
    // One that is left over from a crash is written over, as it means nothing;
    // a database that is there makes all others under new names.
    deleted_.erase(path);
    made_.insert(path);
  }
  return target()->NewWritableFile(path, options, file, context);
}

rocksdb::IOStatus OpeningFileSystem::DeleteFile(
    const std::string& path, const rocksdb::IOOptions& options,
    rocksdb::IODebugContext* context) {
  if (opening_.load(std::memory_order_acquire)) {
    const std::scoped_lock lock(mutex_);
    if (opening_ && made_.erase(path) == 0) {
      if (!Exists(path)) return rocksdb::IOStatus::PathNotFound(path);
      deleted_.insert(path);
      return rocksdb::IOStatus::OK();
    }
  }
  return target()->DeleteFile(path, options, context);
}

rocksdb::IOStatus OpeningFileSystem::RenameFile(
    const std::string& from, const std::string& to,
    const rocksdb::IOOptions& options, rocksdb::IODebugContext* context) {
  if (opening_.load(std::memory_order_acquire)) {
    const std::scoped_lock lock(mutex_);
    rocksdb::IOStatus saved = Save(to);
    if (!saved.ok()) return saved;
    made_.erase(from);
    if (!saved_.contains(to)) made_.insert(to);
  }
  return target()->RenameFile(from, to, options, context);
}

rocksdb::IOStatus OpeningFileSystem::LockFile(
    const std::string& path, const rocksdb::IOOptions& options,
    rocksdb::FileLock** lock, rocksdb::IODebugContext* context) {
  const bool existed = Exists(path);
  rocksdb::IOStatus status = target()->LockFile(path, options, lock, context);
  if (status.ok() && !existed && opening_.load(std::memory_order_acquire)) {
    const std::scoped_lock guard(mutex_);
    made_.insert(path);
  }
  return status;
}

void OpeningFileSystem::Keep() {
  const std::scoped_lock lock(mutex_);
  for (const std::string& path : deleted_) {
    // What cannot be deleted now is at the next opening.
    target()
        ->DeleteFile(path, rocksdb::IOOptions(), nullptr)
        .PermitUncheckedError();
  }
  deleted_.clear();
  made_.clear();
  saved_.clear();
  opening_.store(false, std::memory_order_release);
}

rocksdb::IOStatus OpeningFileSystem::Restore(const std::string& path,
                                             const std::string& bytes) {
  const std::string temporary = path + ".dbtmp";
  rocksdb::IOStatus status = rocksdb::WriteStringToFile(
      target(), bytes, temporary, /*should_sync=*/true);
  if (status.ok()) {
    status =
        target()->RenameFile(temporary, path, rocksdb::IOOptions(), nullptr);
  }
  std::unique_ptr<rocksdb::FSDirectory> directory;
  if (status.ok()) {
    status = target()->NewDirectory(
        std::filesystem::path(path).parent_path().string(),
        rocksdb::IOOptions(), &directory, nullptr);
  }
  return status.ok() ? directory->Fsync(rocksdb::IOOptions(), nullptr) : status;
}

void OpeningFileSystem::Undo() {
  const std::scoped_lock lock(mutex_);
  if (!opening_) return;
  bool restored = true;
  for (const auto& [path, bytes] : saved_) {
    restored = Restore(path, bytes).ok() && restored;
  }
  // What CURRENT names now must stay unless it names the old one again.
  if (restored) {
    for (const std::string& path : made_) {
      target()
          ->DeleteFile(path, rocksdb::IOOptions(), nullptr)
          .PermitUncheckedError();
    }
  }
  deleted_.clear();
  made_.clear();
  saved_.clear();
  opening_.store(false, std::memory_order_release);
}

}  // namespace larder
