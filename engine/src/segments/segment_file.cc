// The life of a file: kOpen while the log or any grant has a hold, then a
// footer is written and it is kSealed, then unlinked and kRemoved, or its file
// becomes that of another segment. Sealing
// belongs to the file and not to the log, since the last hold may be dropped
// on any thread, even after the log has gone.
//
// A failed sync is final for a file: after an error the kernel may have
// dropped the dirty pages and call them clean, so that trying again succeeds
// without anything having been written.

#include "segments/segment_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/open_file.h"
#include "segments/segment_format.h"
#include "segments/segment_reuse.h"
#include "segments/segment_scan.h"

namespace larder {
namespace {

constexpr mode_t kFileMode = 0600;
constexpr int kReadFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
constexpr int kWriteFlags = O_RDWR | O_NOFOLLOW | O_NONBLOCK;
constexpr std::string_view kNeeded = "to be its owner";
// Address space for a file that another process makes longer.
constexpr std::uint64_t kGrowingMapUnit = 8U << 20;
constexpr std::array<char, kSegmentAlignment> kZeros{};

iovec Piece(std::string_view bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

// Bytes that du counts.
std::uint64_t AllocatedBytes(const struct stat& info) {
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

// Whether the page at `offset` is in the page cache; true where the file system
// cannot tell.
bool IsCached(int fd, std::uint64_t offset) noexcept {
  char byte = 0;
  const iovec piece{&byte, sizeof(byte)};
  return ::preadv2(fd, &piece, 1, static_cast<off_t>(offset), RWF_NOWAIT) >=
             0 ||
         errno != EAGAIN;
}

}  // namespace

Result<std::shared_ptr<SegmentFile>> SegmentFile::Create(
    Environment environment, std::uint32_t id, std::uint32_t capacity) {
  auto file =
      std::make_shared<SegmentFile>(std::move(environment), id, capacity);
  const int fd = file->environment_->io->Open(
      file->path().c_str(), kWriteFlags | O_CREAT | O_EXCL, kFileMode);
  if (fd < 0) {
    return Fail(Status::FromErrno(errno, "creating " + file->path()));
  }
  file->fd_ = std::make_shared<const UniqueFd>(fd);
  if (Status held = HoldSegmentFile(fd); !held.ok()) {
    file->Discard().IgnoreError();  // Nothing lives in it: the next Open does.
    return Fail(Status::IoError(file->path() + ": " + held.message()));
  }
  return file;
}

Result<std::shared_ptr<SegmentFile>> SegmentFile::OpenExisting(
    Environment environment, std::uint32_t id) {
  SegmentIo& io = *environment->io;
  const std::string path = SegmentPath(environment->directory, id).string();
  const UniqueFd fd(io.Open(path.c_str(), kReadFlags, 0));
  if (!fd) {
    return Fail(OpenFileError(errno, FilePlace(path), kNeeded));
  }
  LARDER_FAIL_IF_ERROR(CheckIsFile(fd.get(), FilePlace(path)));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) {
    return Fail(Status::FromErrno(errno, "stat of " + path));
  }
  const auto size = static_cast<std::uint64_t>(info.st_size);
  auto file = std::make_shared<SegmentFile>(
      environment, id,
      environment->read_only ? RoundUp(size + 1, kGrowingMapUnit) : size);
  file->holds_ = 0;
  file->earlier_unsynced_ = true;
  file->readable_end_ = size;
  file->file_size_ = size;
  file->SetAccounted(AllocatedBytes(info));
  SegmentFooterBytes bytes;
  if (size >= bytes.size() &&
      ReadFully(io, fd.get(), bytes.data(), bytes.size(),
                static_cast<off_t>(size - bytes.size())) ==
          static_cast<ssize_t>(bytes.size())) {
    const auto footer = DecodeSegmentFooter(bytes.data());
    if (footer && footer->segment == id &&
        footer->records_end + kSegmentFooterSize == size) {
      file->readable_end_ = footer->records_end;
      file->state_ = State::kSealed;
      return file;
    }
  }
  if (!environment->read_only) {
    file->state_ = State::kSealed;
    if (const Status status = file->RecoverTail(); !status.ok()) {
      if (environment->log) {
        environment->log("segment " + std::to_string(id) +
                         " stays without a footer: " + status.message());
      }
    }
    if (file->state() == State::kRemoved) {
      return nullptr;
    }
  }
  return file;
}

std::shared_ptr<SegmentFile> SegmentFile::CreateFrom(SegmentFile& gone,
                                                     std::uint32_t id,
                                                     std::uint32_t capacity) {
  SegmentIo& io = *gone.environment_->io;
  auto file = std::make_shared<SegmentFile>(gone.environment_, id, capacity);
  if (io.Rename(gone.path().c_str(), file->path().c_str()) != 0) {
    return nullptr;
  }
  auto fd = std::make_shared<const UniqueFd>(
      io.Open(file->path().c_str(), kWriteFlags, 0));
  struct stat info {};
  const bool usable = *fd && HoldSegmentFile(fd->get()).ok() &&
                      ::fstat(fd->get(), &info) == 0 && S_ISREG(info.st_mode) &&
                      info.st_nlink == 1 &&
                      static_cast<std::uint64_t>(info.st_size) <= capacity;
  {
    const std::scoped_lock lock(gone.mutex_, file->mutex_);
    file->SetAccounted(usable ? AllocatedBytes(info) : gone.accounted_);
    gone.SetAccounted(0);
    file->fd_ = std::move(fd);
    file->was_another_ = true;
  }
  if (usable) return file;
  file->Discard().IgnoreError();  // Nothing lives in it: the next Open does.
  return nullptr;
}

SegmentFile::SegmentFile(Environment environment, std::uint32_t id,
                         std::uint64_t capacity)
    : environment_(std::move(environment)), id_(id), capacity_(capacity) {}

SegmentFile::~SegmentFile() {
  // No thread has it any more; what it counted goes with it.
  environment_->counters->disk_bytes -= static_cast<std::int64_t>(accounted_);
  environment_->counters->unlinked_bytes -=
      static_cast<std::int64_t>(held_bytes_);
}

std::string SegmentFile::path() const {
  return SegmentPath(environment_->directory, id_).string();
}

Status SegmentFile::ErrorAt(int error, const char* what,
                            std::uint64_t offset) const {
  return Status::FromErrno(error, std::string(what) + " segment " +
                                      std::to_string(id_) + " at " +
                                      std::to_string(offset));
}

// Cuts a file that was not sealed after its last whole record, and seals it.
Status SegmentFile::RecoverTail() {
  SegmentIo& io = *environment_->io;
  const std::uint64_t size = file_size();
  auto fd =
      std::make_shared<const UniqueFd>(io.Open(path().c_str(), kWriteFlags, 0));
  if (!*fd) {
    return ErrorAt(errno, "opening", 0);
  }
  const auto scan =
      ScanSegment(io, fd->get(), id_, size, BadSectors::kFail, {});
  if (!scan) {
    return scan.error();
  }
  if (environment_->log) {
    environment_->log("segment " + std::to_string(id_) +
                      " was not sealed: " + std::to_string(scan->record_count) +
                      " records kept, cut from " + std::to_string(size) +
                      " to " + std::to_string(scan->records_end) + " bytes");
  }
  fd_ = std::move(fd);
  record_count_ = scan->record_count;
  readable_end_ = scan->records_end;
  return Seal();
}

void SegmentFile::Rest() noexcept {
  const std::lock_guard lock(mutex_);
  struct stat info {};
  if (!fd_ || ::fstat(fd_->get(), &info) != 0) return;
  resting_ = KeepByMapping(fd_->get());
  if (resting_ == nullptr) return;
  resting_device_ = info.st_dev;
  resting_inode_ = info.st_ino;
  fd_.reset();
}

Status SegmentFile::Wake() noexcept {
  if (fd_) return Status::Ok();
  auto opened = OpenSegmentFile(*environment_->io, environment_->directory, id_,
                                kWriteFlags);
  if (!opened) return std::move(opened.error());
  struct stat info {};
  if (::fstat(opened->get(), &info) != 0) {
    return ErrorAt(errno, "stat of", 0);
  }
  if (info.st_ino != resting_inode_ || info.st_dev != resting_device_) {
    return Status::NotFound("segment " + std::to_string(id_) +
                            " is another file by now");
  }
  const std::lock_guard lock(mutex_);
  fd_ = std::make_shared<const UniqueFd>(std::move(*opened));
  resting_.reset();
  return Status::Ok();
}

Status SegmentFile::DropHold() noexcept {
  const std::uint32_t holds = holds_.fetch_sub(1, std::memory_order_acq_rel);
  LARDER_ASSERT(holds > 0);
  return holds == 1 ? Seal() : Status::Ok();
}

Status SegmentFile::Seal() noexcept {
  std::unique_lock<std::mutex> changing;
  const std::uint64_t end = readable_end();
  Status status;
  State next = State::kSealed;
  if (environment_->fork_guard.InChild()) return status;
  if (!environment_->MayChange(changing)) {
    // The log that has the files now has sealed it.
  } else if (end == 0) {  // Nothing in it: not worth a block for a footer.
    if (environment_->io->Unlink(path().c_str()) == 0 || errno == ENOENT) {
      next = State::kRemoved;
    } else {
      status = ErrorAt(errno, "unlinking empty", 0);
    }
  } else {
    status = Wake();
    if (status.ok()) status = WriteFooter(end);
  }
  const std::lock_guard lock(mutex_);
  if (next == State::kRemoved) {
    SetAccounted(0);
  } else if (fd_) {
    AccountFromStat(fd_->get());
  }
  fd_.reset();
  resting_.reset();
  state_ = next;
  return status;
}

Status SegmentFile::WriteFooter(std::uint64_t end) noexcept {
  SegmentIo& io = *environment_->io;
  const int fd = fd_->get();
  // Beyond the last record there may be the remains of failed writes.
  if (io.Truncate(fd, static_cast<off_t>(end)) != 0) {
    return ErrorAt(errno, "cutting", end);
  }
  const SegmentFooterBytes footer =
      EncodeSegmentFooter({id_, record_count_.load(), end});
  iovec piece = Piece({footer.data(), footer.size()});
  if (!WriteFully(io, fd, &piece, 1, static_cast<off_t>(end))) {
    const Status status = ErrorAt(errno, "sealing", end);
    // Best effort: without a footer it is sealed at the next Open.
    static_cast<void>(io.Truncate(fd, static_cast<off_t>(end)));
    file_size_ = end;
    return status;
  }
  environment_->counters->bytes_written += kSegmentFooterSize;
  file_size_ = end + kSegmentFooterSize;
  unsynced_ = true;
  return Status::Ok();
}

namespace {

constexpr std::size_t kPiecesPerRecord = 5;

// Returns the length of the record.
std::uint64_t MakePieces(std::uint32_t id, std::uint32_t offset,
                         const SegmentRecord& record, RecordHeaderBytes& head,
                         iovec* pieces) noexcept {
  RecordHeader header;
  header.codec = record.codec;
  header.key_size = static_cast<std::uint32_t>(record.key.size());
  header.payload_size = static_cast<std::uint32_t>(record.payload.size());
  header.version = record.version;
  header.value_size = record.value_size;
  header.value_offset = record.value_offset;
  header.payload_checksum = record.payload_checksum
                                ? *record.payload_checksum
                                : PayloadChecksum(record.payload);
  header.segment = id;
  header.offset = offset;
  head = EncodeRecordHeader(header, record.key);
  const std::uint64_t length =
      SegmentLog::RecordSize(record.key.size(), record.payload.size());
  const std::uint64_t payload_start = PayloadStart(record.key.size());
  *pieces++ = Piece({head.data(), head.size()});
  *pieces++ = Piece(record.key);
  *pieces++ = Piece(
      {kZeros.data(), payload_start - kRecordHeaderSize - record.key.size()});
  *pieces++ = Piece(record.payload);
  *pieces++ =
      Piece({kZeros.data(), length - payload_start - record.payload.size()});
  return length;
}

}  // namespace

int WriteSegmentRecords(SegmentIo& io, int fd, std::uint32_t id,
                        std::uint32_t offset,
                        std::span<const SegmentRecord> records) noexcept {
  if (records.size() == 1) {  // Nearly always: nothing is allocated.
    RecordHeaderBytes head;
    std::array<iovec, kPiecesPerRecord> pieces;
    MakePieces(id, offset, records[0], head, pieces.data());
    return WriteFully(io, fd, pieces.data(), static_cast<int>(pieces.size()),
                      static_cast<off_t>(offset))
               ? 0
               : errno;
  }
  std::vector<RecordHeaderBytes> heads(records.size());
  std::vector<iovec> pieces(records.size() * kPiecesPerRecord);
  std::uint64_t at = offset;
  for (std::size_t i = 0; i < records.size(); ++i) {
    at += MakePieces(id, static_cast<std::uint32_t>(at), records[i], heads[i],
                     &pieces[i * kPiecesPerRecord]);
  }
  return WriteFully(io, fd, pieces.data(), static_cast<int>(pieces.size()),
                    static_cast<off_t>(offset))
             ? 0
             : errno;
}

Status SegmentFile::WriteRecords(
    std::uint32_t offset, std::span<const SegmentRecord> records) noexcept {
  std::uint64_t end = offset;
  for (const SegmentRecord& record : records) {
    end += SegmentLog::RecordSize(record.key.size(), record.payload.size());
  }
  if (environment_->fork_guard.InChild()) {
    return {StatusCode::kGone,
            "a forked child does not write its parent's log"};
  }
  // Right before a durable write: never outside of what was granted.
  LARDER_CHECK(offset % kSegmentAlignment == 0 &&
               end + kSegmentFooterSize <= capacity_);
  const int error =
      WriteSegmentRecords(*environment_->io, fd_->get(), id_, offset, records);
  if (error != 0) return ErrorAt(error, "writing", offset);
  NoteRecords(offset, end, records.size());
  return Status::Ok();
}

void SegmentFile::NoteRecords(std::uint64_t offset, std::uint64_t end,
                              std::size_t count) noexcept {
  std::uint64_t seen = readable_end_.load(std::memory_order_relaxed);
  while (seen < end &&
         !readable_end_.compare_exchange_weak(
             seen, end, std::memory_order_release, std::memory_order_relaxed)) {
  }
  seen = file_size_.load(std::memory_order_relaxed);
  while (seen < end && !file_size_.compare_exchange_weak(seen, end)) {
  }
  record_count_.fetch_add(count, std::memory_order_relaxed);
  // After the write: a sync that clears it before has not missed a byte.
  unsynced_ = true;
  environment_->counters->bytes_written += end - offset;
}

Status SegmentFile::Sync() noexcept {
  if (state() == State::kRemoved) {
    return Status::Ok();
  }
  if (sync_failed_) {
    return Status::IoError("segment " + std::to_string(id_) +
                           " could not be synced before; its last records "
                           "may be lost in a power cut");
  }
  if (!unsynced_.exchange(false)) {
    return Status::Ok();
  }
  const auto fd = Descriptor();
  if (!fd) {
    if (fd.error().code() == StatusCode::kNotFound) {
      return Status::Ok();  // Removed just now.
    }
    unsynced_ = true;
    return fd.error();
  }
  int result = 0;
  do {
    result = environment_->io->SyncFile((*fd)->get());
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    const int error = errno;
    NoteSyncFailed();
    return ErrorAt(error, "syncing", readable_end());
  }
  const std::lock_guard lock(mutex_);
  if (state() == State::kSealed) {
    AccountFromStat((*fd)->get());  // Writing back may have cost more blocks.
  }
  return Status::Ok();
}

void SegmentFile::NoteSyncFailed() noexcept {
  sync_failed_ = true;
  ++environment_->counters->failed_syncs;
}

std::shared_ptr<const SegmentMapping> SegmentFile::CachedMapping(
    std::uint64_t end) noexcept {
  const std::lock_guard lock(mutex_);
  if (!mapping_ || end > readable_end() || end > mapping_->size()) {
    return nullptr;
  }
  mapping_used_ = true;
  return mapping_;
}

Result<std::shared_ptr<const SegmentMapping>> SegmentFile::Map(
    std::uint64_t end) noexcept {
  const std::lock_guard lock(mutex_);
  return MapLocked(end);
}

Result<std::shared_ptr<const UniqueFd>> SegmentFile::OpenLocked(
    std::uint64_t end, struct stat& info) {
  if (end > readable_end() && !environment_->read_only) {
    return Fail(Status::Corruption("segment " + std::to_string(id_) +
                                   " ends at " +
                                   std::to_string(readable_end()) +
                                   ": no record up to " + std::to_string(end)));
  }
  // Its file may be another's by now.
  if (state() == State::kRemoved && !held_unlinked_) {
    return Fail(
        Status::NotFound("segment " + std::to_string(id_) + " has gone"));
  }
  std::shared_ptr<const UniqueFd> fd = fd_ ? fd_ : reading_fd_;
  if (!fd) {
    auto opened = OpenForReading();
    if (!opened) {
      return Fail(opened.error());
    }
    fd = std::make_shared<const UniqueFd>(std::move(*opened));
  }
  std::uint64_t known = readable_end();
  if (::fstat(fd->get(), &info) != 0) {
    return Fail(ErrorAt(errno, "stat of", 0));
  }
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size < known || (environment_->read_only && size > known)) {
    // Cut from outside, or grown by its writer. If our own writer moved it
    // meanwhile, it is right about the end.
    readable_end_.compare_exchange_strong(known, size);
    file_size_ = size;
  }
  if (end > size) {
    return Fail(Status::Corruption("segment " + std::to_string(id_) +
                                   " was cut to " + std::to_string(size) +
                                   " bytes: no record up to " +
                                   std::to_string(end)));
  }
  return fd;
}

bool SegmentFile::IsOursAlone(const struct stat& info) const noexcept {
  return info.st_uid == ::geteuid() && info.st_nlink == 1 &&
         (info.st_mode & (S_IWGRP | S_IWOTH)) == 0 && !environment_->map_unsafe;
}

Result<std::shared_ptr<const SegmentMapping>> SegmentFile::MapLocked(
    std::uint64_t end) {
  if (held_unlinked_ && mapping_) return mapping_;  // It is not opened again.
  struct stat info {};
  const auto fd = OpenLocked(end, info);
  if (!fd) return Fail(fd.error());
  // One that is held has no name at all.
  if (held_unlinked_ || !IsOursAlone(info)) return nullptr;
  auto mapping = last_mapping_.lock();
  if (!mapping || mapping->size() < end) {
    auto mapped = SegmentMapping::Map(
        (*fd)->get(),
        std::max(capacity_, RoundUp(static_cast<std::uint64_t>(info.st_size),
                                    kSegmentAlignment)),
        environment_->counters);
    if (!mapped) {
      return Fail(Status(
          mapped.error().code(),
          "segment " + std::to_string(id_) + ": " + mapped.error().message()));
    }
    if (*mapped == nullptr) return nullptr;
    mapping = std::move(*mapped);
  }
  if (state() == State::kSealed) {
    SetAccounted(AllocatedBytes(info));
  }
  mapping_ = mapping;
  last_mapping_ = mapping;
  mapping_used_ = true;
  return mapping;
}

Result<SegmentFile::ReadingFd> SegmentFile::OpenToRead(
    std::uint64_t end) noexcept {
  const std::lock_guard lock(mutex_);
  struct stat info {};
  auto opened = OpenLocked(end, info);
  if (!opened) return Fail(std::move(opened.error()));
  const bool is_new = *opened != fd_ && *opened != reading_fd_;
  if (is_new) {
    reading_fd_ = *opened;
    // Records are read in no order: no more than is asked for. It may fail.
    ::posix_fadvise(reading_fd_->get(), 0, 0, POSIX_FADV_RANDOM);
  }
  mapping_used_ = true;
  reading_used_ = true;
  return ReadingFd{std::move(*opened), is_new};
}

Status SegmentFile::ReadInto(const ReadingFd& from, char* buffer,
                             std::uint64_t size,
                             std::uint64_t offset) const noexcept {
  const ssize_t count = ReadFully(*environment_->io, from.fd->get(), buffer,
                                  size, static_cast<off_t>(offset));
  if (count < 0) return ErrorAt(errno, "reading", offset);
  if (static_cast<std::uint64_t>(count) != size) {
    return Status::Corruption("segment " + std::to_string(id_) +
                              " was cut while it was read at " +
                              std::to_string(offset));
  }
  return Status::Ok();
}

bool SegmentFile::DropIdleMapping() noexcept {
  std::shared_ptr<SegmentMapping> dropped;  // Unmapped outside the lock.
  const std::lock_guard lock(mutex_);
  if (held_unlinked_ || std::exchange(mapping_used_, false)) {
    return false;
  }
  dropped = std::move(mapping_);
  reading_fd_.reset();
  return true;
}

void SegmentFile::CloseIdleReading() noexcept {
  const std::lock_guard lock(mutex_);
  // One that is held has no name to open it by.
  if (!held_unlinked_ && !std::exchange(reading_used_, false)) {
    reading_fd_.reset();
  }
}

void SegmentFile::DropMapping() noexcept {
  std::shared_ptr<SegmentMapping> dropped;
  const std::lock_guard lock(mutex_);
  if (!held_unlinked_) {
    dropped = std::move(mapping_);
    reading_fd_.reset();
  }
}

bool SegmentFile::is_mapped() noexcept {
  const std::lock_guard lock(mutex_);
  return mapping_ != nullptr || reading_fd_ != nullptr;
}

bool SegmentFile::IsOnDisk() const noexcept {
  return ::access(path().c_str(), F_OK) == 0 || errno != ENOENT;
}

Result<UniqueFd> SegmentFile::OpenForReading() const noexcept {
  return OpenSegmentFile(*environment_->io, environment_->directory, id_,
                         kReadFlags);
}

Result<std::shared_ptr<const UniqueFd>> SegmentFile::Descriptor() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (fd_) return fd_;
  }
  auto opened = OpenForReading();
  if (!opened) {
    return Fail(opened.error());
  }
  return std::make_shared<const UniqueFd>(std::move(*opened));
}

Status SegmentFile::Unlink(Hold hold) noexcept {
  std::shared_ptr<SegmentMapping> dropped;
  const std::lock_guard lock(mutex_);
  bool mapped = false;
  if (hold == Hold::kMapped) {
    const auto mapping = MapLocked(readable_end());
    // A file that is damaged or gone has nothing to be held.
    if (!mapping && mapping.error().code() != StatusCode::kCorruption &&
        mapping.error().code() != StatusCode::kNotFound) {
      return mapping.error();
    }
    mapped = mapping && *mapping;
  }
  if (hold != Hold::kNo && !mapped) {
    struct stat info {};
    const auto fd = OpenLocked(0, info);
    if (!fd && fd.error().code() != StatusCode::kNotFound) return fd.error();
    if (fd) reading_fd_ = *fd;
  }
  if (environment_->io->Unlink(path().c_str()) != 0 && errno != ENOENT) {
    return ErrorAt(errno, "unlinking", 0);
  }
  state_ = State::kRemoved;
  if (const auto mapping = last_mapping_.lock()) {
    mapping->MarkUnlinked(accounted_);
  }
  if (mapped) {
    held_unlinked_ = true;
    reading_fd_.reset();
  } else {
    dropped = std::move(mapping_);
    held_unlinked_ = hold != Hold::kNo && reading_fd_ != nullptr;
    if (held_unlinked_) {
      held_bytes_ = accounted_;
      environment_->counters->unlinked_bytes +=
          static_cast<std::int64_t>(held_bytes_);
    } else {
      reading_fd_.reset();
    }
  }
  SetAccounted(0);
  return Status::Ok();
}

bool SegmentFile::Retire() noexcept {
  const std::lock_guard lock(mutex_);
  if (sync_failed_) return false;
  mapping_.reset();
  reading_fd_.reset();
  if (!last_mapping_.expired()) return false;  // A handle has it.
  state_ = State::kRemoved;
  return true;
}

Status SegmentFile::Discard() noexcept {
  if (environment_->fork_guard.InChild()) return Status::Ok();
  const std::lock_guard lock(mutex_);
  Status status;
  if (environment_->io->Unlink(path().c_str()) != 0 && errno != ENOENT) {
    status = ErrorAt(errno, "unlinking", 0);
  }
  SetAccounted(0);
  fd_.reset();
  resting_.reset();
  state_ = State::kRemoved;
  return status;
}

bool SegmentFile::CutTo(std::uint64_t size) noexcept {
  if (!Wake().ok()) return false;
  const std::lock_guard lock(mutex_);
  if (environment_->io->Truncate(fd_->get(), static_cast<off_t>(size)) != 0) {
    return false;
  }
  if (size == 0) {
    // ext4 takes a file that was cut to nothing for one that is replaced, and
    // writes all that has come into it to the disk when a descriptor is closed
    // (ext4(5), auto_da_alloc): to end it then costs blocks that were
    // allocated, half of all writes of a full cache. One is closed now, as long
    // as there is nothing to be written; if that fails it is only slow.
    const UniqueFd again(environment_->io->Open(path().c_str(), kReadFlags, 0));
  }
  AccountFromStat(fd_->get());
  return true;
}

bool SegmentFile::IsInMemory() const noexcept {
  // What was written in a row leaves the page cache in a row: to ask for all
  // pages would take a mapping, which costs more than the answer is worth.
  constexpr std::uint64_t kLooksMax = 64;
  constexpr std::uint64_t kStepMin = 64 * 1024;
  struct stat info {};
  // Somebody may have taken its name.
  if (::fstat(fd_->get(), &info) != 0 || info.st_nlink != 1) return false;
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const std::uint64_t step = std::max(kStepMin, size / kLooksMax);
  for (std::uint64_t at = 0; at < size; at += step) {
    if (!IsCached(fd_->get(), at)) return false;
  }
  return size == 0 || IsCached(fd_->get(), size - 1);
}

std::uint64_t SegmentFile::accounted() noexcept {
  const std::lock_guard lock(mutex_);
  return accounted_;
}

void SegmentFile::ClearGap(std::uint64_t offset, std::uint64_t size) noexcept {
  if (!was_another_) return;
  std::unique_lock<std::mutex> changing;
  if (!environment_->MayChange(changing)) return;
  static constexpr std::array<char, 16 * 1024> kManyZeros{};
  while (size > 0) {
    const std::uint64_t part = std::min<std::uint64_t>(size, kManyZeros.size());
    iovec piece = Piece({kManyZeros.data(), part});
    // If it fails, what is there counts as damage, which is as harmless.
    if (!WriteFully(*environment_->io, fd_->get(), &piece, 1,
                    static_cast<off_t>(offset))) {
      return;
    }
    offset += part;
    size -= part;
  }
}

void SegmentFile::AccountUpTo(std::uint64_t end) noexcept {
  const std::lock_guard lock(mutex_);
  SetAccounted(std::max(accounted_, RoundUp(end, environment_->block_size)));
}

void SegmentFile::SetAccounted(std::uint64_t bytes) noexcept {
  if (bytes != accounted_) {
    environment_->counters->disk_bytes += static_cast<std::int64_t>(bytes) -
                                          static_cast<std::int64_t>(accounted_);
    accounted_ = bytes;
  }
}

void SegmentFile::AccountFromStat(int fd) noexcept {
  struct stat info {};
  if (::fstat(fd, &info) == 0) {
    SetAccounted(AllocatedBytes(info));
  }
}

}  // namespace larder
