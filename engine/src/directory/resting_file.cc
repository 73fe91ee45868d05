#include "directory/resting_file.h"

#include <utility>

namespace larder {

RestingFile::RestingFile(File file, Opener open, OnEnd on_end)
    : open_(std::move(open)),
      on_end_(std::move(on_end)),
      direct_io_(file->use_direct_io()),
      alignment_(file->GetRequiredBufferAlignment()),
      temperature_(file->GetTemperature()),
      file_(std::move(file)) {}

template <typename Fn>
rocksdb::IOStatus RestingFile::Use(Fn&& fn) const {
  // Acquire pairs with the release in Wake: the file is there.
  const bool open =
      (state_.fetch_add(1, std::memory_order_acquire) & kOpen) != 0;
  rocksdb::IOStatus status = open ? rocksdb::IOStatus::OK() : Wake();
  if (status.ok()) status = fn(*file_);
  if (!used_.load(std::memory_order_relaxed)) {
    used_.store(true, std::memory_order_relaxed);
  }
  // Release pairs with who closes it: the use is over.
  state_.fetch_sub(1, std::memory_order_release);
  return status;
}

rocksdb::IOStatus RestingFile::Wake() const {
  const std::lock_guard lock(mutex_);
  if ((state_.load(std::memory_order_acquire) & kOpen) != 0) {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus status = open_(&file_);
  if (status.ok()) state_.fetch_or(kOpen, std::memory_order_release);
  return status;
}

void RestingFile::RestIfUnused(Moment now, Moment since) noexcept {
  const std::lock_guard lock(mutex_);
  if (used_.exchange(false, std::memory_order_relaxed)) unused_since_ = now;
  if (unused_since_ > since) return;
  std::uint32_t unused = kOpen;
  if (state_.compare_exchange_strong(unused, 0, std::memory_order_acq_rel)) {
    file_.reset();
  }
}

rocksdb::IOStatus RestingFile::Read(std::uint64_t offset, std::size_t size,
                                    const rocksdb::IOOptions& options,
                                    rocksdb::Slice* result, char* scratch,
                                    rocksdb::IODebugContext* context) const {
  return Use([&](const rocksdb::FSRandomAccessFile& file) {
    return file.Read(offset, size, options, result, scratch, context);
  });
}

rocksdb::IOStatus RestingFile::MultiRead(rocksdb::FSReadRequest* requests,
                                         std::size_t count,
                                         const rocksdb::IOOptions& options,
                                         rocksdb::IODebugContext* context) {
  return Use([&](rocksdb::FSRandomAccessFile& file) {
    return file.MultiRead(requests, count, options, context);
  });
}

rocksdb::IOStatus RestingFile::Prefetch(std::uint64_t offset, std::size_t size,
                                        const rocksdb::IOOptions& options,
                                        rocksdb::IODebugContext* context) {
  return Use([&](rocksdb::FSRandomAccessFile& file) {
    return file.Prefetch(offset, size, options, context);
  });
}

rocksdb::IOStatus RestingFile::InvalidateCache(std::size_t offset,
                                               std::size_t size) {
  return Use([&](rocksdb::FSRandomAccessFile& file) {
    return file.InvalidateCache(offset, size);
  });
}

std::size_t RestingFile::GetUniqueId(char* id, std::size_t size_max) const {
  std::size_t size = 0;
  // Without one it is not cached beyond this opening.
  Use([&](const rocksdb::FSRandomAccessFile& file) {
    size = file.GetUniqueId(id, size_max);
    return rocksdb::IOStatus::OK();
  }).PermitUncheckedError();
  return size;
}

void RestingFile::Hint(AccessPattern pattern) {
  Use([&](rocksdb::FSRandomAccessFile& file) {
    file.Hint(pattern);
    return rocksdb::IOStatus::OK();
  }).PermitUncheckedError();
}

}  // namespace larder
