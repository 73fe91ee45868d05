#include "index/counting_file_system.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <filesystem>
#include <functional>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/open_file.h"
#include "base/process_limits.h"
#include "index/manifest_check.h"

namespace larder {
namespace {

constexpr std::uint64_t kBlockSize = 4096;

std::int64_t Blocks(std::uint64_t size) noexcept {
  return static_cast<std::int64_t>((size + kBlockSize - 1) / kBlockSize *
                                   kBlockSize);
}

constexpr int kOpenAttemptsMax = 10;
// Long enough that who reads now and then does not open files all the time.
constexpr auto kRestAfter = std::chrono::seconds(2);
constexpr auto kLockPatience = std::chrono::seconds(2);
constexpr auto kLockPause = std::chrono::milliseconds(1);

// A lock of the process, as RocksDB's: it goes with the first descriptor of
// the file that the process closes, so nobody else may open it.
class WholeFileLock final : public rocksdb::FileLock {
 public:
  explicit WholeFileLock(UniqueFd fd) : fd_(std::move(fd)) {}

 private:
  UniqueFd fd_;
};

// 0 or an errno.
int TryLock(int fd) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return ::fcntl(fd, F_SETLK, &whole) == 0 ? 0 : errno;
}

// Opens by `open`. If that gets a standard descriptor all the same, as somebody
// who takes no care closed one just now (the C library and RocksDB read files
// of /proc), it is done again.
template <typename File, std::invocable Fn>
rocksdb::IOStatus OpenAbove(const std::string& path, File* file, Fn&& open) {
  for (int attempt = 0; attempt < kOpenAttemptsMax; ++attempt) {
    const StandardDescriptorsTaken taken;
    rocksdb::IOStatus status = std::invoke(open);
    if (!status.ok() || !IsStandardDescriptor(path.c_str())) return status;
    file->reset();
  }
  return rocksdb::IOStatus::IOError(path,
                                    "is given a standard descriptor each time");
}

// The same of a file that is there, or is to be made.
template <typename File, std::invocable Fn>
rocksdb::IOStatus OpenChecked(const std::string& path, File* file, Fn&& open) {
  if (const Status kind = CheckNamesFile(FilePlace(path)); !kind.ok()) {
    return rocksdb::IOStatus::IOError(kind.message());
  }
  return OpenAbove(path, file, std::forward<Fn>(open));
}

}  // namespace

/// A file that reports its growth. RocksDB writes a file from one thread at a
/// time; the size is atomic because a delete may look at it.
class CountingFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  CountingFile(std::unique_ptr<rocksdb::FSWritableFile> target,
               CountingFileSystem* owner, CountingFileSystem::Kind kind,
               std::uint64_t manifest_number,
               std::shared_ptr<std::atomic<std::uint64_t>> size)
      : FSWritableFileOwnerWrapper(std::move(target)),
        owner_(owner),
        kind_(kind),
        manifest_number_(manifest_number),
        size_(std::move(size)) {}

  using FSWritableFileOwnerWrapper::Append;
  using FSWritableFileOwnerWrapper::PositionedAppend;

  rocksdb::IOStatus Append(const rocksdb::Slice& bytes,
                           const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* context) override {
    const FileSizeSignalHeld held;
    return Noted(target()->Append(bytes, options, context), bytes.size());
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& bytes,
                           const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& info,
                           rocksdb::IODebugContext* context) override {
    const FileSizeSignalHeld held;
    return Noted(target()->Append(bytes, options, info, context), bytes.size());
  }
  rocksdb::IOStatus Truncate(std::uint64_t size,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* context) override {
    const FileSizeSignalHeld held;
    rocksdb::IOStatus status = target()->Truncate(size, options, context);
    if (status.ok()) {
      owner_->Grow(kind_, size_->exchange(size), size);
    }
    return status;
  }

  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* context) override {
    return Synced(target()->Sync(options, context));
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* context) override {
    return Synced(target()->Fsync(options, context));
  }

 private:
  rocksdb::IOStatus Synced(rocksdb::IOStatus status) {
    if (kind_ == CountingFileSystem::Kind::kManifest && status.ok()) {
      owner_->NoteManifest({.number = manifest_number_, .size = *size_});
    }
    if (kind_ != CountingFileSystem::Kind::kWal) return status;
    // RocksDB is not told, as in Debian's build it aborts at the next sync.
    owner_->NoteSync(status).PermitUncheckedError();
    return rocksdb::IOStatus::OK();
  }
  rocksdb::FSWritableFile* target() { return FSWritableFileWrapper::target(); }

  rocksdb::IOStatus Noted(rocksdb::IOStatus status, std::size_t bytes) {
    // A failed append may have written a part; counting all of it errs on the
    // safe side until the next Recount.
    const std::uint64_t before = size_->fetch_add(bytes);
    owner_->Grow(kind_, before, before + bytes);
    owner_->AddWritten(bytes);
    return status;
  }

  CountingFileSystem* owner_;
  CountingFileSystem::Kind kind_;
  std::uint64_t manifest_number_;  // 0 = it is none.
  std::shared_ptr<std::atomic<std::uint64_t>> size_;
};

/// Where the log's files get their names. Opened when it is to be synced:
/// RocksDB has one for each family, and one more.
class WatchedDirectory final : public rocksdb::FSDirectory {
 public:
  WatchedDirectory(std::string path, CountingFileSystem* owner)
      : path_(std::move(path)), owner_(owner) {}

  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* context) override {
    return Opened(options, context, [&](auto& directory) {
      return owner_->NoteSync(directory.Fsync(options, context));
    });
  }
  rocksdb::IOStatus FsyncWithDirOptions(
      const rocksdb::IOOptions& options, rocksdb::IODebugContext* context,
      const rocksdb::DirFsyncOptions& what) override {
    return Opened(options, context, [&](auto& directory) {
      return owner_->NoteSync(
          directory.FsyncWithDirOptions(options, context, what));
    });
  }
  rocksdb::IOStatus Close(const rocksdb::IOOptions& /*options*/,
                          rocksdb::IODebugContext* /*context*/) override {
    return rocksdb::IOStatus::OK();
  }

 private:
  template <typename Fn>  // Takes an FSDirectory, returns IOStatus.
  rocksdb::IOStatus Opened(const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* context, Fn&& fn) {
    std::unique_ptr<rocksdb::FSDirectory> directory;
    const rocksdb::IOStatus status =
        owner_->OpenDirectory(path_, options, &directory, context);
    return status.ok() ? std::invoke(fn, *directory) : status;
  }

  const std::string path_;
  CountingFileSystem* const owner_;
};

void CountingFileSystem::Grow(Kind kind, std::uint64_t before,
                              std::uint64_t after) noexcept {
  const std::int64_t by = Blocks(after) - Blocks(before);
  if (by == 0) return;
  disk_bytes_.fetch_add(by, std::memory_order_relaxed);
  if (kind == Kind::kWal) {
    wal_bytes_.fetch_add(by, std::memory_order_relaxed);
    if (by > 0) wal_appended_.fetch_add(by, std::memory_order_relaxed);
  }
  if (kind == Kind::kMerging) {
    merging_bytes_.fetch_add(by, std::memory_order_relaxed);
  }
}

CountingFileSystem::Kind CountingFileSystem::KindOf(
    const std::string& path) noexcept {
  if (path.ends_with(".log")) return Kind::kWal;
  return ManifestNumber(path) ? Kind::kManifest : Kind::kOther;
}

void CountingFileSystem::TellManifest(
    std::function<void(const ManifestMark&)> listener) {
  const std::scoped_lock lock(manifest_mutex_);
  listener_ = std::move(listener);
  if (listener_ && manifest_.number != 0) listener_(manifest_);
}

void CountingFileSystem::NoteManifest(const ManifestMark& mark) {
  const std::scoped_lock lock(manifest_mutex_);
  manifest_ = mark;
  manifest_bytes_.store(mark.size, std::memory_order_relaxed);
  if (listener_) listener_(mark);
}

void CountingFileSystem::SetSize(const std::string& path, std::uint64_t size) {
  const std::scoped_lock lock(mutex_);
  auto& known = sizes_[path];
  const std::uint64_t before = known ? known->load() : 0;
  Grow(KindOf(path), before, size);
  if (size == 0) {
    sizes_.erase(path);
  } else {
    known = std::make_shared<std::atomic<std::uint64_t>>(size);
  }
}

void CountingFileSystem::StartMerging(const std::string& path) {
  if (!merging_.insert(path).second) return;
  const auto size = sizes_.find(path);
  if (size == sizes_.end()) return;  // It is to be made.
  merging_bytes_.fetch_add(Blocks(size->second->load()),
                           std::memory_order_relaxed);
}

void CountingFileSystem::StopMerging(const std::string& path) {
  if (merging_.erase(path) == 0) return;
  const auto size = sizes_.find(path);
  if (size == sizes_.end()) return;
  merging_bytes_.fetch_sub(Blocks(size->second->load()),
                           std::memory_order_relaxed);
}

void CountingFileSystem::BeginMerge() {
  const std::scoped_lock lock(mutex_);
  while (!merging_.empty()) StopMerging(std::string(*merging_.begin()));
}

void CountingFileSystem::NoteMerging(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  StartMerging(path);
}

void CountingFileSystem::EndMerge(const std::vector<std::string>& input,
                                  const std::vector<std::string>& output) {
  const std::scoped_lock lock(mutex_);
  // The input first: those who look meanwhile should not see less.
  for (const std::string& path : input) {
    const bool stays =
        std::find(output.begin(), output.end(), path) != output.end();
    // One that is gone already must not be waited for.
    if (!stays && sizes_.contains(path)) StartMerging(path);
  }
  for (const std::string& path : output) StopMerging(path);
}

void CountingFileSystem::Recount(const std::string& directory) {
  namespace fs = std::filesystem;
  {
    const std::scoped_lock lock(mutex_);
    sizes_.clear();
    merging_.clear();
    disk_bytes_ = 0;
    wal_bytes_ = 0;
    merging_bytes_ = 0;
  }
  const auto count = [&](const char* name) {
    const fs::path path = fs::path(directory) / name;
    std::error_code gone;
    const std::uint64_t size = fs::file_size(path, gone);
    if (!gone) SetSize(path.string(), size);
    return true;
  };
  // What cannot be listed cannot be opened either, which says why.
  static_cast<void>(ListDirectory(AT_FDCWD, directory.c_str(), count));
}

rocksdb::IOStatus CountingFileSystem::NewSequentialFile(
    const std::string& path, const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSSequentialFile>* file,
    rocksdb::IODebugContext* context) {
  return OpenChecked(path, file, [&] {
    return target()->NewSequentialFile(path, options, file, context);
  });
}

rocksdb::IOStatus CountingFileSystem::NewRandomAccessFile(
    const std::string& path, const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
    rocksdb::IODebugContext* context) {
  const auto open = [this, path, options](RestingFile::File* opened) {
    return OpenChecked(path, opened, [&] {
      return target()->NewRandomAccessFile(path, options, opened, nullptr);
    });
  };
  RestingFile::File opened;
  rocksdb::IOStatus status = OpenChecked(path, &opened, [&] {
    return target()->NewRandomAccessFile(path, options, &opened, context);
  });
  if (!status.ok()) return status;
  const std::scoped_lock lock(resting_mutex_);
  const auto place = resting_.insert(resting_.end(), nullptr);
  auto resting =
      std::make_unique<RestingFile>(std::move(opened), open, [this, place] {
        const std::scoped_lock ending(resting_mutex_);
        resting_.erase(place);
      });
  *place = resting.get();
  *file = std::move(resting);
  return status;
}

void CountingFileSystem::CloseIdleFiles() noexcept {
  const RestingFile::Moment now = std::chrono::steady_clock::now();
  const std::scoped_lock lock(resting_mutex_);
  for (RestingFile* const file : resting_) {
    file->RestIfUnused(now, now - kRestAfter);
  }
}

rocksdb::IOStatus CountingFileSystem::NewRandomRWFile(
    const std::string& path, const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSRandomRWFile>* file,
    rocksdb::IODebugContext* context) {
  return OpenChecked(path, file, [&] {
    return target()->NewRandomRWFile(path, options, file, context);
  });
}

rocksdb::IOStatus CountingFileSystem::NewMemoryMappedFileBuffer(
    const std::string& path,
    std::unique_ptr<rocksdb::MemoryMappedFileBuffer>* buffer) {
  return OpenChecked(path, buffer, [&] {
    return target()->NewMemoryMappedFileBuffer(path, buffer);
  });
}

rocksdb::IOStatus CountingFileSystem::NewDirectory(
    const std::string& path, const rocksdb::IOOptions& options,
    std::unique_ptr<rocksdb::FSDirectory>* directory,
    rocksdb::IODebugContext* context) {
  // It must be there.
  rocksdb::IOStatus status = OpenDirectory(path, options, directory, context);
  if (status.ok()) *directory = std::make_unique<WatchedDirectory>(path, this);
  return status;
}

rocksdb::IOStatus CountingFileSystem::OpenDirectory(
    const std::string& path, const rocksdb::IOOptions& options,
    std::unique_ptr<rocksdb::FSDirectory>* directory,
    rocksdb::IODebugContext* context) {
  return OpenAbove(path, directory, [&] {
    return target()->NewDirectory(path, options, directory, context);
  });
}

rocksdb::IOStatus CountingFileSystem::GetChildren(
    const std::string& path, const rocksdb::IOOptions& options,
    std::vector<std::string>* names, rocksdb::IODebugContext* context) {
  const StandardDescriptorsTaken taken;
  return target()->GetChildren(path, options, names, context);
}

rocksdb::IOStatus CountingFileSystem::NewLogger(
    const std::string& path, const rocksdb::IOOptions& options,
    std::shared_ptr<rocksdb::Logger>* logger,
    rocksdb::IODebugContext* context) {
  return OpenChecked(path, logger, [&] {
    return target()->NewLogger(path, options, logger, context);
  });
}

rocksdb::IOStatus CountingFileSystem::NewWritableFile(
    const std::string& path, const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSWritableFile>* file,
    rocksdb::IODebugContext* context) {
  rocksdb::IOStatus status = OpenChecked(path, file, [&] {
    return target()->NewWritableFile(path, options, file, context);
  });
  if (!status.ok()) return status;
  SetSize(path, 0);  // It may have replaced one.
  auto size = std::make_shared<std::atomic<std::uint64_t>>(0);
  Kind kind = KindOf(path);
  {
    const std::scoped_lock lock(mutex_);
    sizes_[path] = size;
    if (merging_.contains(path)) kind = Kind::kMerging;
  }
  *file = std::make_unique<CountingFile>(std::move(*file), this, kind,
                                         ManifestNumber(path).value_or(0),
                                         std::move(size));
  return status;
}

rocksdb::IOStatus CountingFileSystem::ReopenWritableFile(
    const std::string& path, const rocksdb::FileOptions& options,
    std::unique_ptr<rocksdb::FSWritableFile>* file,
    rocksdb::IODebugContext* context) {
  rocksdb::IOStatus status = OpenChecked(path, file, [&] {
    return target()->ReopenWritableFile(path, options, file, context);
  });
  if (!status.ok()) return status;
  std::shared_ptr<std::atomic<std::uint64_t>> size;
  {
    const std::scoped_lock lock(mutex_);
    auto& known = sizes_[path];
    if (!known) known = std::make_shared<std::atomic<std::uint64_t>>(0);
    size = known;
  }
  *file = std::make_unique<CountingFile>(std::move(*file), this, KindOf(path),
                                         ManifestNumber(path).value_or(0),
                                         std::move(size));
  return status;
}

rocksdb::IOStatus CountingFileSystem::ReuseWritableFile(
    const std::string& path, const std::string& /*old_path*/,
    const rocksdb::FileOptions& /*options*/,
    std::unique_ptr<rocksdb::FSWritableFile>* /*file*/,
    rocksdb::IODebugContext* /*context*/) {
  return rocksdb::IOStatus::NotSupported(path, "logs are not recycled");
}

rocksdb::IOStatus CountingFileSystem::DeleteFile(
    const std::string& path, const rocksdb::IOOptions& options,
    rocksdb::IODebugContext* context) {
  rocksdb::IOStatus status = target()->DeleteFile(path, options, context);
  if (status.ok()) {
    {
      const std::scoped_lock lock(mutex_);
      StopMerging(path);
    }
    SetSize(path, 0);
  }
  return status;
}

rocksdb::IOStatus CountingFileSystem::RenameFile(
    const std::string& from, const std::string& to,
    const rocksdb::IOOptions& options, rocksdb::IODebugContext* context) {
  rocksdb::IOStatus status = target()->RenameFile(from, to, options, context);
  if (!status.ok()) return status;
  std::uint64_t size = 0;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = sizes_.find(from);
    if (found != sizes_.end()) size = found->second->load();
  }
  SetSize(from, 0);
  SetSize(to, size);
  return status;
}

rocksdb::IOStatus CountingFileSystem::LockFile(
    const std::string& path, const rocksdb::IOOptions& /*options*/,
    rocksdb::FileLock** lock, rocksdb::IODebugContext* /*context*/) {
  *lock = nullptr;
  UniqueFd fd(OpenDescriptor(AT_FDCWD, path.c_str(),
                             O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600));
  int error = fd ? TryLock(fd.get()) : errno;
  const auto deadline = std::chrono::steady_clock::now() + kLockPatience;
  while ((error == EAGAIN || error == EACCES) && fd &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kLockPause);
    error = TryLock(fd.get());
  }
  if (error != 0) {
    const std::string reason = std::generic_category().message(error);
    return error == ENOSPC ? rocksdb::IOStatus::NoSpace(path, reason)
                           : rocksdb::IOStatus::IOError(path, reason);
  }
  *lock = new WholeFileLock(std::move(fd));  // RocksDB gives it back.
  return rocksdb::IOStatus::OK();
}

rocksdb::IOStatus CountingFileSystem::UnlockFile(
    rocksdb::FileLock* lock, const rocksdb::IOOptions& /*options*/,
    rocksdb::IODebugContext* /*context*/) {
  delete lock;
  return rocksdb::IOStatus::OK();
}

}  // namespace larder
