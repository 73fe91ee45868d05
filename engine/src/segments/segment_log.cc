// The log hands out ranges of the open file under its lock and lets writers
// fill them outside of it. Readers find a file in a table under a shared lock,
// and its mapping under the file's own: about 60 ns beside the 4 us or more
// that checking a large value takes, so nothing lock-free was worth its proof.
//
// One file for all values of a time, rather than one for each writer, keeps
// positions in order of arrival: what is stored together dies together.
//
// Lock order: append_mutex_, sync_mutex_ and snapshot_mutex_ (never two of
// them), then table_mutex_ or that of the spares, then a file's.
//
// Always: 1. a file in the table is readable or was cut from outside;
// 2. a removed file stays in the table while a snapshot older than its removal
// lives, and is mapped; 3. only the files in open_ have the log's own hold.

#include "segments/segment_log.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <random>
#include <shared_mutex>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "larder/engine/limits.h"

#include "base/check.h"
#include "base/open_file.h"
#include "base/test_point.h"
#include "directory/directory_anchor.h"
#include "os/file_system_kind.h"
#include "os/segment_io.h"
#include "segments/mapping_clock.h"
#include "segments/segment_file.h"
#include "segments/segment_format.h"
#include "segments/segment_reuse.h"
#include "segments/segment_scan.h"

namespace larder {
namespace {

using FilePtr = std::shared_ptr<SegmentFile>;
using MappingPtr = std::shared_ptr<const SegmentMapping>;

// Five pieces each; the kernel takes 1,024.
constexpr std::size_t kRecordsPerWriteMax = 128;
// The last ids are for new files.
constexpr std::uint32_t kReusedIdMax = UINT32_MAX - 1024;
// A log that does not end in good order loses so many ids at most.
constexpr std::uint32_t kIdsReservedAtOnce = 64;
// A process may have 1,024 of them as a rule.
constexpr std::size_t kDescriptorCountMax = 128;
constexpr std::uint64_t kBlockSizeMin = 512;
constexpr std::uint64_t kBlockSizeMax = 1U << 20;

// As a mapped record is: at a multiple of 64.
class RecordBuffer final : public ValuePin {
 public:
  explicit RecordBuffer(std::size_t size)
      : bytes_(static_cast<char*>(::operator new(size, kAlignment))) {}
  RecordBuffer(const RecordBuffer&) = delete;
  RecordBuffer& operator=(const RecordBuffer&) = delete;
  ~RecordBuffer() override { ::operator delete(bytes_, kAlignment); }
  [[nodiscard]] char* bytes() noexcept { return bytes_; }

 private:
  static constexpr std::align_val_t kAlignment{kSegmentAlignment};
  char* const bytes_;
};

struct MappingPin final : ValuePin {
  explicit MappingPin(MappingPtr held) noexcept : mapping(std::move(held)) {}
  const MappingPtr mapping;
};

Status ReadOnlyError() {
  return {StatusCode::kReadOnly, "the value log is open for reading only"};
}

std::string Describe(const SegmentPlace& place) {
  return "segment " + std::to_string(place.segment) + " at " +
         std::to_string(place.offset);
}

std::uint64_t NewGeneration() {
  std::random_device random;
  return std::uint64_t{random()} << 32 | random();
}

std::uint32_t ClampSegmentSize(std::uint32_t bytes) {
  return std::clamp(bytes, kSegmentSizeBytesMin, kSegmentSizeBytesMax) /
         kSegmentAlignment * kSegmentAlignment;
}

// Checks the head of the record at `bytes`, all of which is mapped.
Result<RecordHeader> CheckedHeader(const char* bytes, const SegmentPlace& place,
                                   std::string_view key,
                                   std::uint64_t version) {
  const auto header = DecodeRecordHeader(bytes);
  if (!header || header->key_size != key.size() ||
      header->payload_size != place.payload_size) {
    return Fail(Status::Corruption(Describe(place) +
                                   ": no record of the expected size there"));
  }
  const std::string_view stored_key(bytes + kRecordHeaderSize, key.size());
  if (!HeaderChecksumMatches(bytes, stored_key)) {
    return Fail(Status::Corruption(Describe(place) +
                                   ": checksum of header and key is wrong"));
  }
  if (stored_key != key || header->version != version ||
      header->segment != place.segment || header->offset != place.offset) {
    return Fail(Status::Corruption(
        Describe(place) + ": the record there is of another item (version " +
        std::to_string(header->version) + ", expected " +
        std::to_string(version) + ")"));
  }
  return *header;
}

// Longer ones are read through their mapping: a copy costs memory and time.
constexpr std::uint64_t kCopiedSizeMax = 128U << 10;

thread_local std::uint64_t cold_reads_of_thread = 0;

// How a record is to be read through a mapping of its file.
enum class Look : std::uint8_t {
  kHeader,   // Its payload is known to be right.
  kPayload,  // All of it is checked.
  kCold,     // The same, and the storage has it.
};

Look LookFor(const SegmentMapping& mapping, std::uint64_t offset,
             std::uint64_t size, bool was_verified) {
  // Asked before any of it is touched: what is not there yet comes from the
  // storage, whatever it was when it was last looked at.
  if (was_verified) {
    return mapping.IsResident(offset, size) ? Look::kHeader : Look::kCold;
  }
  return mapping.IsLikelyResident(offset, size) ? Look::kPayload : Look::kCold;
}

// Checks the record at `place` and returns its payload.
Result<std::string_view> CheckedPayload(const SegmentMapping& mapping,
                                        const SegmentPlace& place,
                                        std::string_view key,
                                        std::uint64_t version, Look look) {
  // What is read next, while the header is checked. Not more: asking for 64 KiB
  // at once takes longer than the reader's own pass over them.
  constexpr std::size_t kPrefetchSizeMax = 1U << 10;
  const char* const bytes = mapping.base() + place.offset;
  const std::string_view payload(bytes + PayloadStart(key.size()),
                                 place.payload_size);
  if (look == Look::kHeader) PrefetchBytes(payload.substr(0, kPrefetchSizeMax));
  const auto header = CheckedHeader(bytes, place, key, version);
  if (!header) return Fail(header.error());
  if (look == Look::kHeader) return payload;
  if (PayloadChecksum(payload) != header->payload_checksum) {
    return Fail(
        Status::Corruption(Describe(place) + ": checksum of value is wrong"));
  }
  if (payload.size() >= kVerifyOnceBytesMin) mapping.NoteVerified(place.offset);
  return payload;
}

class SegmentLogOnDisk final : public SegmentLog {
 public:
  SegmentLogOnDisk(SegmentFile::Environment environment,
                   const SegmentLogOptions& options)
      : environment_(std::move(environment)),
        spares_(environment_),
        clock_(options.mapping_count_max),
        descriptor_clock_(kDescriptorCountMax),
        read_mode_(options.read_mode),
        segment_size_(ClampSegmentSize(options.segment_size_bytes)),
        ids_are_known_(options.ids_are_known),
        reserve_ids_(options.reserve_ids) {}

  ~SegmentLogOnDisk() override {
    // A footer saves the next Open a scan, no more: it may fail.
    if (!environment_->read_only) {
      SealOpen().IgnoreError();
    }
    environment_->End();
  }

  Status Load(std::uint32_t next_id_min,
              const std::function<bool(std::uint32_t)>& live,
              std::span<const std::uint32_t> doubtful);

  Result<SegmentGrant> Reserve(std::size_t key_size, std::size_t payload_wanted,
                               LogStream stream) noexcept override;
  Result<SegmentPlace> Write(SegmentGrant& grant,
                             const SegmentRecord& record) noexcept override;
  Status WriteAll(std::span<SegmentGrant> grants,
                  std::span<const SegmentRecord> records,
                  std::span<SegmentPlace> places) noexcept override;
  Result<SegmentPlace> Accept(SegmentGrant& grant, std::string_view key,
                              std::uint64_t version) noexcept override;
  Result<ValueHandle> Read(const SegmentPlace& place, std::string_view key,
                           std::uint64_t version,
                           VerifyReads verify) noexcept override;
  std::size_t ReadAhead(std::span<WantedRecord> wanted) noexcept override;
  void LetGo(const WantedRecord& record) noexcept override;
  Status Sync() noexcept override { return SyncFiles(false); }
  Status SyncSegments(std::span<const std::uint32_t> ids) noexcept override;
  Status SyncAll() noexcept override;
  [[nodiscard]] std::vector<std::uint32_t> DoubtfulSegments()
      const noexcept override;
  Status Remove(std::uint32_t id, SegmentBlocks blocks) noexcept override;
  bool ShrinkReusable(std::uint64_t bytes) noexcept override;
  void DropSpares() noexcept override { spares_.DropAll(); }
  void CloseIdleFiles() noexcept override;
  Status SealOpen() noexcept override;
  void ForgetRemoved() noexcept override;
  void SetSegmentSize(std::uint32_t bytes) noexcept override {
    segment_size_ = ClampSegmentSize(bytes);
  }
  void SetReadMode(ReadMode mode) noexcept override;
  [[nodiscard]] std::vector<SegmentInfo> Segments() const override;
  [[nodiscard]] bool Contains(std::uint32_t id) const noexcept override {
    const FilePtr file = Find(id);
    return file && file->state() != SegmentFile::State::kRemoved;
  }
  [[nodiscard]] std::uint32_t open_id() const noexcept override {
    return open_[static_cast<std::size_t>(LogStream::kNew)].id;
  }
  [[nodiscard]] std::uint32_t next_id() const noexcept override {
    return next_id_;
  }
  [[nodiscard]] std::uint64_t generation() const noexcept override {
    return generation_;
  }
  [[nodiscard]] std::uint64_t disk_bytes() const noexcept override {
    const std::int64_t bytes = environment_->counters->disk_bytes;
    return bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
  }
  [[nodiscard]] std::uint64_t spare_bytes() const noexcept override {
    return spares_.bytes();
  }
  [[nodiscard]] std::uint64_t reusable_bytes() const noexcept override {
    std::uint64_t bytes = spares_.bytes();
    for (const OpenSegment& open : open_) {
      bytes += open.slack.load(std::memory_order_relaxed);
    }
    return bytes;
  }
  [[nodiscard]] std::uint64_t unlinked_bytes() const noexcept override {
    const std::int64_t bytes = environment_->counters->unlinked_bytes;
    return bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
  }
  [[nodiscard]] std::uint64_t snapshot_bytes() const noexcept override {
    return held_bytes_;
  }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept override {
    return environment_->counters->bytes_written;
  }
  std::unique_ptr<SegmentSnapshot> Snapshot() noexcept override;
  Status ForEachRecord(std::uint32_t id,
                       const std::function<bool(const SegmentPlace&,
                                                const SegmentRecord&)>& visit,
                       std::uint64_t* damaged_bytes) noexcept override;
  Status ForEachGroup(
      std::uint32_t id, std::size_t count_max,
      const std::function<bool(std::span<const PlacedRecord>)>& visit,
      std::uint64_t* damaged_bytes) noexcept override;

  void ReleaseSnapshot(std::uint64_t number) noexcept;
  void EndSnapshot(std::uint64_t number) noexcept;

 private:
  FilePtr Find(std::uint32_t id) const;
  // Read-only: looks for a file that appeared since. nullptr: there is none.
  FilePtr FindOnDisk(std::uint32_t id);
  // nullptr: the file is not to be mapped.
  Result<MappingPtr> MappingFor(std::uint32_t id, std::uint64_t end);
  Result<ValueHandle> ReadCopy(const SegmentPlace& place, std::string_view key,
                               std::uint64_t version);
  // nullopt: it is to be looked at in its mapping.
  std::optional<Result<ValueHandle>> ReadCold(const SegmentMapping& mapping,
                                              const SegmentPlace& place,
                                              std::string_view key,
                                              std::uint64_t version,
                                              std::uint64_t size);
  Result<ValueHandle> CopyFrom(const SegmentFile& file,
                               const SegmentFile::ReadingFd& from,
                               const SegmentPlace& place, std::string_view key,
                               std::uint64_t version);
  // Read-only: a file that has gone is not looked for again.
  void ForgetIfGone(std::uint32_t id, const Status& status);
  // A segment that records are appended to.
  struct OpenSegment {
    FilePtr file;
    std::uint64_t offset = 0;
    std::uint64_t allocated = 0;  // Of these bytes of the file, from the start,
                                  // the blocks were another segment's.
    std::atomic<std::uint64_t> slack{0};  // The rest of that.
    std::atomic<std::uint32_t> id{0};
    bool was_used = false;  // Since CloseIdleFiles.
  };
  Result<std::uint32_t> TakeId() noexcept;
  Status RollTo(OpenSegment& open, std::uint32_t size);
  Status SealLocked(OpenSegment& open);
  void CountSlack(OpenSegment& open) noexcept;
  Status SyncFiles(bool earlier);
  Status SyncNames();  // Under sync_mutex_.
  Status ScanFile(std::uint32_t id,
                  const std::function<Result<SegmentScanResult>(
                      int fd, std::uint64_t size)>& scan,
                  std::uint64_t* damaged_bytes);

  const SegmentFile::Environment environment_;
  SegmentSpares spares_;
  MappingClock clock_;
  MappingClock descriptor_clock_;  // Of files that are read without a mapping.
  std::atomic<ReadMode> read_mode_;
  std::atomic<std::uint32_t> segment_size_;

  std::mutex append_mutex_;  // Guards the open files and where they go on.
  std::array<OpenSegment, kLogStreamCount> open_;
  std::atomic<std::uint32_t> next_id_{1};
  std::mutex id_mutex_;        // Guards changes of next_id_, and what follows.
  std::uint64_t ids_end_ = 0;  // Below, ids may be given.
  const bool ids_are_known_;
  const std::function<Status(std::uint32_t end)> reserve_ids_;
  const std::uint64_t generation_ = NewGeneration();

  std::mutex sync_mutex_;  // Held over a sync, so that a second caller waits.
  bool earlier_synced_ = false;                 // Under sync_mutex_.
  std::atomic<bool> directory_unsynced_{true};  // An earlier run may not have.

  struct HeldSegment {
    std::uint32_t id = 0;
    std::uint64_t removed_at = 0;  // The last snapshot made before.
    std::uint64_t bytes = 0;
  };
  std::mutex snapshot_mutex_;  // Guards the snapshots and what they hold.
  std::uint64_t snapshot_count_ = 0;
  // Each with the first id that it cannot see.
  std::map<std::uint64_t, std::uint32_t> snapshots_;
  std::vector<HeldSegment> held_;             // Of removed ids.
  std::atomic<std::uint64_t> held_bytes_{0};  // The sum of theirs.

  mutable std::shared_mutex table_mutex_;
  std::unordered_map<std::uint32_t, FilePtr> table_;
};

class LogSnapshot final : public SegmentSnapshot {
 public:
  LogSnapshot(SegmentLogOnDisk& log, std::uint64_t number)
      : log_(log), number_(number) {}
  LogSnapshot(const LogSnapshot&) = delete;
  LogSnapshot& operator=(const LogSnapshot&) = delete;
  ~LogSnapshot() override { log_.ReleaseSnapshot(number_); }

  void End() noexcept override { log_.EndSnapshot(number_); }

 private:
  SegmentLogOnDisk& log_;
  std::uint64_t number_;
};

Status SegmentLogOnDisk::Load(std::uint32_t next_id_min,
                              const std::function<bool(std::uint32_t)>& live,
                              std::span<const std::uint32_t> doubtful) {
  std::vector<std::uint32_t> ids;
  const int error = ListDirectory(AT_FDCWD, environment_->directory.c_str(),
                                  [&](const char* name) {
                                    if (const auto id = ParseSegmentName(name))
                                      ids.push_back(*id);
                                    return true;
                                  });
  if (error != 0) {
    return NameDescriptors(Status::FromErrno(
        error, "listing " + environment_->directory.string()));
  }
  std::uint32_t last = 0;
  for (const std::uint32_t id : ids) {
    if (!ids_are_known_) last = std::max(last, id);
    if (live && !live(id) && !environment_->read_only) {
      const std::string path = SegmentPath(environment_->directory, id);
      LARDER_RETURN_IF_ERROR(CheckNamesFile(FilePlace(path)));
      if (environment_->io->Unlink(path.c_str()) != 0 && errno != ENOENT) {
        return NameDescriptors(Status::FromErrno(errno, "unlinking " + path));
      }
      continue;
    }
    auto file = SegmentFile::OpenExisting(environment_, id);
    if (!file && file.error().code() == StatusCode::kNotFound) {
      continue;  // Its writer removed it just now.
    }
    if (!file) {
      return file.error();
    }
    if (*file) {
      table_.emplace(id, std::move(*file));
    }
  }
  for (const std::uint32_t id : doubtful) {
    if (const FilePtr file = Find(id)) file->NoteSyncFailed();
  }
  next_id_ = std::max({next_id_min, last + 1, 1U});
  ids_end_ = next_id_;
  return Status::Ok();
}

Result<std::uint32_t> SegmentLogOnDisk::TakeId() noexcept {
  const std::lock_guard lock(id_mutex_);
  if (next_id_ == UINT32_MAX) {
    return Fail(Status::Internal("all segment ids are used up"));
  }
  if (next_id_ >= ids_end_) {
    const std::uint32_t end =
        next_id_ + std::min(kIdsReservedAtOnce, UINT32_MAX - next_id_);
    if (reserve_ids_) LARDER_FAIL_IF_ERROR(reserve_ids_(end));
    ids_end_ = end;
  }
  return next_id_++;
}

// Opens the next segment. Under append_mutex_.
Status SegmentLogOnDisk::RollTo(OpenSegment& open, std::uint32_t size) {
  // Whether the old one could be sealed is no concern of the new record.
  SealLocked(open).IgnoreError();
  FilePtr file = spares_.Take(size);
  if (!file) {
    const Result<std::uint32_t> id = TakeId();
    if (!id) return id.error();
    auto created = SegmentFile::Create(environment_, *id, size);
    if (!created) {
      // An id is not tried twice if something has its name. Else nobody has
      // seen it, and it is given back if the next one is not taken.
      std::error_code unknown;
      if (!std::filesystem::exists(SegmentPath(environment_->directory, *id),
                                   unknown) &&
          !unknown) {
        const std::lock_guard lock(id_mutex_);
        if (next_id_ == *id + 1) next_id_ = *id;
      }
      return created.error();
    }
    file = std::move(*created);
  }
  {
    const std::unique_lock lock(table_mutex_);
    table_.emplace(file->id(), file);
  }
  directory_unsynced_ = true;
  open.file = std::move(file);
  open.id = open.file->id();
  open.offset = 0;
  open.allocated = open.file->accounted();
  CountSlack(open);
  return Status::Ok();
}

// Under append_mutex_.
void SegmentLogOnDisk::CountSlack(OpenSegment& open) noexcept {
  // Relaxed: a figure, which orders nothing.
  open.slack.store(
      open.file ? open.allocated - std::min(open.allocated, open.offset) : 0,
      std::memory_order_relaxed);
}

Result<SegmentGrant> SegmentLogOnDisk::Reserve(std::size_t key_size,
                                               std::size_t payload_wanted,
                                               LogStream stream) noexcept {
  if (environment_->read_only) {
    return Fail(ReadOnlyError());
  }
  if (key_size > kKeySizeBytesMax) {
    return Fail(Status(StatusCode::kKeyTooLarge,
                       std::to_string(key_size) + " bytes of key > " +
                           std::to_string(kKeySizeBytesMax)));
  }
  const std::uint64_t least =
      std::min<std::uint64_t>(payload_wanted, kSegmentPieceBytesMin);
  const std::uint64_t before_payload = PayloadStart(key_size);
  const std::lock_guard lock(append_mutex_);
  OpenSegment& open = open_[static_cast<std::size_t>(stream)];
  const auto payload_room = [&]() -> std::int64_t {
    return static_cast<std::int64_t>(open.file->capacity() -
                                     kSegmentFooterSize - open.offset) -
           static_cast<std::int64_t>(before_payload);
  };
  const Status awake = open.file ? open.file->Wake() : Status::Ok();
  const bool has_gone = awake.code() == StatusCode::kNotFound;
  if (!awake.ok() && !has_gone) return Fail(awake);
  if (!open.file || has_gone || open.file->sync_failed() ||
      payload_room() < static_cast<std::int64_t>(least)) {
    if (Status status = RollTo(open, segment_size_); !status.ok()) {
      return Fail(std::move(status));
    }
  }
  open.was_used = true;
  SegmentGrant grant;
  grant.offset = static_cast<std::uint32_t>(open.offset);
  grant.key_size = static_cast<std::uint32_t>(key_size);
  grant.payload_size = static_cast<std::uint32_t>(std::min<std::uint64_t>(
      payload_wanted, static_cast<std::uint64_t>(payload_room())));
  open.file->AddHold();
  grant.file = open.file;
  open.offset += RecordSize(key_size, grant.payload_size);
  open.file->AccountUpTo(open.offset);
  CountSlack(open);
  return grant;
}

Status UseGrant(SegmentGrant& grant, const SegmentRecord& record) {
  if (!grant.file || grant.used || record.key.size() != grant.key_size ||
      record.payload.size() != grant.payload_size) {
    return Status::InvalidArgument(
        "a record of " + std::to_string(record.key.size()) + " + " +
        std::to_string(record.payload.size()) + " bytes does not fit its " +
        (grant.used ? "used grant of " : "grant of ") +
        std::to_string(grant.key_size) + " + " +
        std::to_string(grant.payload_size));
  }
  grant.used = true;
  return Status::Ok();
}

Result<SegmentPlace> SegmentLogOnDisk::Write(
    SegmentGrant& grant, const SegmentRecord& record) noexcept {
  LARDER_FAIL_IF_ERROR(UseGrant(grant, record));
  if (Status status = grant.file->WriteRecords(grant.offset, {&record, 1});
      !status.ok()) {
    return Fail(std::move(status));
  }
  return SegmentPlace{grant.file->id(), grant.offset, grant.payload_size};
}

Status SegmentLogOnDisk::WriteAll(std::span<SegmentGrant> grants,
                                  std::span<const SegmentRecord> records,
                                  std::span<SegmentPlace> places) noexcept {
  for (std::size_t i = 0; i < grants.size(); ++i) {
    LARDER_RETURN_IF_ERROR(UseGrant(grants[i], records[i]));
    places[i] = {grants[i].file->id(), grants[i].offset,
                 grants[i].payload_size};
  }
  for (std::size_t first = 0; first < grants.size();) {
    std::size_t end = first + 1;
    while (end < grants.size() && end - first < kRecordsPerWriteMax &&
           grants[end].file == grants[first].file &&
           grants[end].offset == grants[end - 1].offset +
                                     RecordSize(grants[end - 1].key_size,
                                                grants[end - 1].payload_size)) {
      ++end;
    }
    LARDER_RETURN_IF_ERROR(grants[first].file->WriteRecords(
        grants[first].offset, records.subspan(first, end - first)));
    first = end;
  }
  return Status::Ok();
}

Result<SegmentPlace> SegmentLogOnDisk::Accept(SegmentGrant& grant,
                                              std::string_view key,
                                              std::uint64_t version) noexcept {
  if (!grant.file || grant.used || key.size() != grant.key_size) {
    return Fail(Status::InvalidArgument("no such grant"));
  }
  const SegmentPlace place{grant.file->id(), grant.offset, grant.payload_size};
  const std::uint64_t end =
      place.offset + RecordSize(key.size(), place.payload_size);
  const auto fd = grant.file->Descriptor();
  if (!fd) return Fail(fd.error());
  // Not through a mapping: until the record counts, the file ends before it.
  std::string head(kRecordHeaderSize + key.size(), '\0');
  if (ReadFully(*environment_->io, (*fd)->get(), head.data(), head.size(),
                place.offset) != static_cast<ssize_t>(head.size())) {
    return Fail(Status::Corruption(Describe(place) + ": nothing was written"));
  }
  const auto header = CheckedHeader(head.data(), place, key, version);
  if (!header) return Fail(header.error());
  grant.used = true;
  grant.file->NoteRecords(place.offset, end, 1);
  return place;
}

FilePtr SegmentLogOnDisk::Find(std::uint32_t id) const {
  const std::shared_lock lock(table_mutex_);
  const auto found = table_.find(id);
  return found == table_.end() ? nullptr : found->second;
}

FilePtr SegmentLogOnDisk::FindOnDisk(std::uint32_t id) {
  auto file = SegmentFile::OpenExisting(environment_, id);
  if (!file) {
    return nullptr;
  }
  const std::unique_lock lock(table_mutex_);
  return table_.emplace(id, std::move(*file)).first->second;
}

Result<MappingPtr> SegmentLogOnDisk::MappingFor(std::uint32_t id,
                                                std::uint64_t end) {
  FilePtr file;
  {
    const std::shared_lock lock(table_mutex_);
    if (const auto found = table_.find(id); found != table_.end()) {
      if (auto mapping = found->second->CachedMapping(end)) {
        return mapping;
      }
      file = found->second;
    }
  }
  if (!file && environment_->read_only && id != 0) {
    file = FindOnDisk(id);
  }
  if (!file) {
    return Fail(
        Status::NotFound("segment " + std::to_string(id) + " has gone"));
  }
  auto mapping = file->Map(end);
  if (!mapping) {
    ForgetIfGone(id, mapping.error());
  } else if (*mapping != nullptr) {
    clock_.Add(file);
  }
  return mapping;
}

void SegmentLogOnDisk::ForgetIfGone(std::uint32_t id, const Status& status) {
  if (status.code() != StatusCode::kNotFound || !environment_->read_only) {
    return;
  }
  const std::unique_lock lock(table_mutex_);
  table_.erase(id);
}

Result<ValueHandle> SegmentLogOnDisk::ReadCopy(const SegmentPlace& place,
                                               std::string_view key,
                                               std::uint64_t version) {
  FilePtr file = Find(place.segment);
  if (!file && environment_->read_only && place.segment != 0) {
    file = FindOnDisk(place.segment);
  }
  const std::uint64_t size = PayloadStart(key.size()) + place.payload_size;
  // No file is longer: a length that is damaged is not allocated.
  if (size > kSegmentSizeBytesMax) {
    return Fail(Status::Corruption(Describe(place) + ": no record is so long"));
  }
  if (!file) {
    return Fail(Status::NotFound("segment " + std::to_string(place.segment) +
                                 " has gone"));
  }
  const auto fd = file->OpenToRead(place.offset + size);
  if (!fd) {
    ForgetIfGone(place.segment, fd.error());
    return Fail(fd.error());
  }
  if (fd->is_new) descriptor_clock_.Add(file);
  return CopyFrom(*file, *fd, place, key, version);
}

Result<ValueHandle> SegmentLogOnDisk::CopyFrom(
    const SegmentFile& file, const SegmentFile::ReadingFd& from,
    const SegmentPlace& place, std::string_view key, std::uint64_t version) {
  const std::uint64_t payload_start = PayloadStart(key.size());
  const std::uint64_t size = payload_start + place.payload_size;
  auto buffer = std::make_unique<RecordBuffer>(size);
  LARDER_FAIL_IF_ERROR(
      file.ReadInto(from, buffer->bytes(), size, place.offset));
  const auto header = CheckedHeader(buffer->bytes(), place, key, version);
  if (!header) return Fail(header.error());
  const std::string_view payload(buffer->bytes() + payload_start,
                                 place.payload_size);
  if (PayloadChecksum(payload) != header->payload_checksum) {
    return Fail(
        Status::Corruption(Describe(place) + ": checksum of value is wrong"));
  }
  return ValueHandle(payload, std::move(buffer));
}

// One read of exactly the record. Of what is short a copy is made on the way:
// it takes less time than to map pages that may be on their way out again.
std::optional<Result<ValueHandle>> SegmentLogOnDisk::ReadCold(
    const SegmentMapping& mapping, const SegmentPlace& place,
    std::string_view key, std::uint64_t version, std::uint64_t size) {
  ++cold_reads_of_thread;
  const FilePtr file = size <= kCopiedSizeMax ? Find(place.segment) : nullptr;
  if (file) {
    // What cannot be opened (no name, no descriptors left) is mapped already.
    if (const auto fd = file->OpenToRead(place.offset + size)) {
      if (fd->is_new) descriptor_clock_.Add(file);
      return CopyFrom(*file, *fd, place, key, version);
    } else if (fd.error().code() == StatusCode::kCorruption) {
      return Fail(fd.error());
    }
  }
  mapping.ReadAhead(place.offset, size);
  return std::nullopt;
}

void SegmentLogOnDisk::SetReadMode(ReadMode mode) noexcept {
  if (read_mode_.load(std::memory_order_relaxed) == mode) return;
  read_mode_ = mode;
  const std::shared_lock lock(table_mutex_);
  for (const auto& [id, file] : table_) file->DropMapping();
}

void SegmentLogOnDisk::ForgetRemoved() noexcept {
  LARDER_ASSERT(environment_->read_only);
  const std::unique_lock lock(table_mutex_);
  std::erase_if(table_, [](const auto& item) {
    return item.second->is_mapped() && !item.second->IsOnDisk();
  });
}

Result<ValueHandle> SegmentLogOnDisk::Read(const SegmentPlace& place,
                                           std::string_view key,
                                           std::uint64_t version,
                                           VerifyReads verify) noexcept {
  if (place.offset % kSegmentAlignment != 0) {
    return Fail(Status::Corruption(Describe(place) +
                                   ": records start at multiples of 64"));
  }
  // Relaxed: a reader may be in the middle of a change anyway.
  if (read_mode_.load(std::memory_order_relaxed) == ReadMode::kPread) {
    auto copy = ReadCopy(place, key, version);
    // What was held by its mapping before the mode changed has no name.
    if (copy || copy.error().code() != StatusCode::kNotFound) return copy;
  }
  auto mapping = MappingFor(
      place.segment, place.offset + RecordSize(key.size(), place.payload_size));
  if (!mapping) {
    return Fail(std::move(mapping.error()));
  }
  if (*mapping == nullptr) return ReadCopy(place, key, version);
  const std::uint64_t size = PayloadStart(key.size()) + place.payload_size;
  const Look look = LookFor(**mapping, place.offset, size,
                            verify == VerifyReads::kOnce &&
                                place.payload_size >= kVerifyOnceBytesMin &&
                                (*mapping)->WasVerified(place.offset));
  if (look == Look::kCold) {
    auto copy = ReadCold(**mapping, place, key, version, size);
    if (copy) return *std::move(copy);
  }
  const auto payload = CheckedPayload(**mapping, place, key, version, look);
  if (!payload) {
    return Fail(payload.error());
  }
  return ValueHandle(*payload,
                     std::make_unique<MappingPin>(std::move(*mapping)));
}

std::size_t SegmentLogOnDisk::ReadAhead(
    std::span<WantedRecord> wanted) noexcept {
  TestPoint("log.read_ahead");
  if (read_mode_.load(std::memory_order_relaxed) == ReadMode::kPread) return 0;
  std::size_t count = 0;
  std::sort(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) {
    return std::pair(a.place.segment, a.place.offset) <
           std::pair(b.place.segment, b.place.offset);
  });
  for (const WantedRecord& record : wanted) {
    const SegmentPlace& place = record.place;
    const auto mapping = MappingFor(
        place.segment,
        place.offset + RecordSize(record.key_size, place.payload_size));
    if (!mapping || *mapping == nullptr) continue;  // Read says what is wrong.
    const std::uint64_t size =
        PayloadStart(record.key_size) + place.payload_size;
    if ((*mapping)->IsLikelyResident(place.offset, size)) continue;
    if (place.payload_size >= kVerifyOnceBytesMin) {
      (*mapping)->ForgetVerified(place.offset);  // Read may find it in memory.
    }
    (*mapping)->ReadAhead(place.offset, size);
    ++count;
  }
  return count;
}

void SegmentLogOnDisk::LetGo(const WantedRecord& record) noexcept {
  const SegmentPlace& place = record.place;
  const FilePtr file = Find(place.segment);
  if (!file) return;  // With its last handle its mapping goes, too.
  const std::uint64_t size = RecordSize(record.key_size, place.payload_size);
  const auto mapping = file->CachedMapping(place.offset + size);
  if (mapping) mapping->LetGo(place.offset, size);
}

Status SegmentLogOnDisk::SyncFiles(bool earlier) {
  const std::lock_guard lock(sync_mutex_);
  std::vector<FilePtr> files;
  {
    const std::shared_lock table_lock(table_mutex_);
    for (const auto& [id, file] : table_) {
      if (earlier) file->IncludeEarlierRun();
      if (file->unsynced()) {
        files.push_back(file);
      }
    }
  }
  Status first;
  for (const FilePtr& file : files) {
    if (Status status = file->Sync(); !status.ok() && first.ok()) {
      first = std::move(status);
    }
  }
  if (Status status = SyncNames(); !status.ok() && first.ok()) {
    first = std::move(status);
  }
  return first;
}

Status SegmentLogOnDisk::SyncNames() {
  if (!directory_unsynced_.exchange(false)) return Status::Ok();
  SegmentIo& io = *environment_->io;
  UniqueFd opened;
  int fd = environment_->directory_fd.get();
  if (fd < 0) {
    opened.Reset(io.Open(environment_->directory.c_str(),
                         O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
    fd = opened.get();
  }
  if (fd >= 0 && io.SyncDirectory(fd) == 0) return Status::Ok();
  const int error = errno;
  directory_unsynced_ = true;
  return NameDescriptors(
      Status::FromErrno(error, "syncing " + environment_->directory.string()));
}

Status SegmentLogOnDisk::SyncSegments(
    std::span<const std::uint32_t> ids) noexcept {
  const std::lock_guard lock(sync_mutex_);
  for (const std::uint32_t id : ids) {
    const FilePtr file = Find(id);
    if (!file) continue;  // It has gone, and so has what it held.
    file->IncludeEarlierRun();
    LARDER_RETURN_IF_ERROR(file->Sync());
  }
  return SyncNames();
}

Status SegmentLogOnDisk::SyncAll() noexcept { return SyncFiles(true); }

std::vector<std::uint32_t> SegmentLogOnDisk::DoubtfulSegments() const noexcept {
  std::vector<std::uint32_t> ids;
  if (environment_->counters->failed_syncs == 0) return ids;  // Nearly always.
  const std::shared_lock lock(table_mutex_);
  for (const auto& [id, file] : table_) {
    if (file->sync_failed() && file->state() != SegmentFile::State::kRemoved) {
      ids.push_back(id);
    }
  }
  return ids;
}

void SegmentLogOnDisk::CloseIdleFiles() noexcept {
  descriptor_clock_.CloseIdleReading();
  spares_.CloseIfUnused();
  const std::lock_guard lock(append_mutex_);
  for (OpenSegment& open : open_) {
    const bool was_used = std::exchange(open.was_used, false);
    // Holds are given under the same mutex.
    if (open.file && !was_used && open.file->IsHeldOnce()) open.file->Rest();
  }
}

bool SegmentLogOnDisk::ShrinkReusable(std::uint64_t bytes) noexcept {
  std::uint64_t done = spares_.Shrink(bytes);
  const std::lock_guard lock(append_mutex_);
  for (OpenSegment& open : open_) {
    if (done >= bytes) break;
    const std::uint64_t cut = std::min(bytes - done, open.slack.load());
    const std::uint64_t size =
        RoundUp(open.allocated - cut, environment_->block_size);
    if (cut == 0 || size >= open.allocated || !open.file->CutTo(size)) continue;
    done += open.allocated - size;
    open.allocated = size;
    CountSlack(open);
  }
  return done != 0;
}

Status SegmentLogOnDisk::Remove(std::uint32_t id,
                                SegmentBlocks blocks) noexcept {
  if (environment_->read_only) {
    return ReadOnlyError();
  }
  const std::lock_guard lock(snapshot_mutex_);
  FilePtr file = Find(id);
  if (!file || file->state() == SegmentFile::State::kRemoved) {
    return Status::NotFound("segment " + std::to_string(id) + " has gone");
  }
  if (file->state() == SegmentFile::State::kOpen) {
    return {StatusCode::kAborted,
            "segment " + std::to_string(id) + " is still written to"};
  }
  // What is younger than all of them nobody can see.
  const bool hold =
      std::any_of(snapshots_.begin(), snapshots_.end(),
                  [id](const auto& snapshot) { return id < snapshot.second; });
  if (blocks == SegmentBlocks::kKeep && !hold && next_id_ < kReusedIdMax &&
      file->Retire()) {
    {
      const std::unique_lock table_lock(table_mutex_);
      table_.erase(id);
    }
    directory_unsynced_ = true;
    const Result<std::uint32_t> next = TakeId();
    if (!next) return file->Discard();
    return spares_.Keep(std::move(file), *next, segment_size_);
  }
  const auto held = read_mode_.load() == ReadMode::kPread
                        ? SegmentFile::Hold::kOpen
                        : SegmentFile::Hold::kMapped;
  const std::uint64_t bytes = file->accounted();
  LARDER_RETURN_IF_ERROR(file->Unlink(hold ? held : SegmentFile::Hold::kNo));
  if (hold) {
    held_.push_back({id, snapshot_count_, bytes});
    held_bytes_ += bytes;
  } else {
    const std::unique_lock table_lock(table_mutex_);
    table_.erase(id);
  }
  return Status::Ok();
}

std::unique_ptr<SegmentSnapshot> SegmentLogOnDisk::Snapshot() noexcept {
  const std::lock_guard lock(snapshot_mutex_);
  snapshots_.emplace(++snapshot_count_, UINT32_MAX);
  return std::make_unique<LogSnapshot>(*this, snapshot_count_);
}

void SegmentLogOnDisk::EndSnapshot(std::uint64_t number) noexcept {
  const std::lock_guard lock(snapshot_mutex_);
  snapshots_.at(number) =
      std::min<std::uint32_t>(snapshots_.at(number), next_id_);
}

void SegmentLogOnDisk::ReleaseSnapshot(std::uint64_t number) noexcept {
  std::vector<FilePtr> dropped;  // Unmapped outside the locks.
  const std::lock_guard lock(snapshot_mutex_);
  snapshots_.erase(number);
  // By one of those that there were when it was removed.
  const auto is_seen = [&](const HeldSegment& held) {
    return std::any_of(
        snapshots_.begin(), snapshots_.upper_bound(held.removed_at),
        [&](const auto& snapshot) { return held.id < snapshot.second; });
  };
  const std::unique_lock table_lock(table_mutex_);
  std::erase_if(held_, [&](const HeldSegment& held) {
    if (is_seen(held)) {
      return false;
    }
    held_bytes_ -= held.bytes;
    if (const auto found = table_.find(held.id); found != table_.end()) {
      dropped.push_back(std::move(found->second));
      table_.erase(found);
    }
    return true;
  });
}

Status SegmentLogOnDisk::SealOpen() noexcept {
  if (environment_->read_only) {
    return ReadOnlyError();
  }
  const std::lock_guard lock(append_mutex_);
  Status first;
  for (OpenSegment& open : open_) {
    Status status = SealLocked(open);
    if (first.ok()) {
      first = std::move(status);
    }
  }
  return first;
}

Status SegmentLogOnDisk::SealLocked(OpenSegment& open) {
  if (!open.file) {
    return Status::Ok();
  }
  open.id = 0;
  const FilePtr file = std::move(open.file);
  CountSlack(open);
  const Status status = file->DropHold();
  if (file->state() == SegmentFile::State::kRemoved) {  // It was empty.
    const std::unique_lock lock(table_mutex_);
    table_.erase(file->id());
  }
  return status;
}

std::vector<SegmentInfo> SegmentLogOnDisk::Segments() const {
  std::vector<SegmentInfo> infos;
  {
    const std::shared_lock lock(table_mutex_);
    infos.reserve(table_.size());
    for (const auto& [id, file] : table_) {
      if (const auto state = file->state();
          state != SegmentFile::State::kRemoved) {
        infos.push_back(
            {id, file->file_size(), state == SegmentFile::State::kSealed});
      }
    }
  }
  std::sort(infos.begin(), infos.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  return infos;
}

// Opens the segment and lets `scan` read it.
Status SegmentLogOnDisk::ScanFile(
    std::uint32_t id,
    const std::function<Result<SegmentScanResult>(int fd, std::uint64_t size)>&
        scan,
    std::uint64_t* damaged_bytes) {
  FilePtr file = Find(id);
  if (!file && environment_->read_only && id != 0) {
    file = FindOnDisk(id);
  }
  if (!file) {
    return Status::NotFound("segment " + std::to_string(id) + " has gone");
  }
  const auto fd = file->OpenForReading();
  if (!fd) {
    return fd.error();
  }
  const auto result = scan(fd->get(), file->readable_end());
  if (!result) {
    return result.error();
  }
  if (damaged_bytes != nullptr) {
    *damaged_bytes = result->damaged_bytes;
  }
  return Status::Ok();
}

Status SegmentLogOnDisk::ForEachRecord(
    std::uint32_t id,
    const std::function<bool(const SegmentPlace&, const SegmentRecord&)>& visit,
    std::uint64_t* damaged_bytes) noexcept {
  return ScanFile(
      id,
      [&](int fd, std::uint64_t size) {
        return ScanSegment(*environment_->io, fd, id, size, BadSectors::kDamage,
                           visit);
      },
      damaged_bytes);
}

Status SegmentLogOnDisk::ForEachGroup(
    std::uint32_t id, std::size_t count_max,
    const std::function<bool(std::span<const PlacedRecord>)>& visit,
    std::uint64_t* damaged_bytes) noexcept {
  return ScanFile(
      id,
      [&](int fd, std::uint64_t size) {
        return ScanSegmentGroups(*environment_->io, fd, id, size, count_max,
                                 visit);
      },
      damaged_bytes);
}

// Makes the directory if it has to and opens it.
Result<UniqueFd> OpenSegmentDirectory(const std::filesystem::path& directory,
                                      const SegmentLogOptions& options,
                                      SegmentIo& io) {
  const bool made = !options.read_only && ::mkdir(directory.c_str(), 0700) == 0;
  UniqueFd fd(
      io.Open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
  if (!fd) {
    return Fail(Status::FromErrno(errno, "opening " + directory.string()));
  }
  if (made) {
    const UniqueFd parent(io.Open(directory.parent_path().c_str(),
                                  O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
    if (!parent || io.SyncDirectory(parent.get()) != 0) {
      return Fail(Status::FromErrno(
          errno, "syncing " + directory.parent_path().string()));
    }
  }
  return fd;
}

}  // namespace

Result<std::unique_ptr<SegmentLog>> SegmentLog::Open(
    const std::filesystem::path& directory, const SegmentLogOptions& options,
    std::uint32_t next_id_min,
    const std::function<bool(std::uint32_t id)>& live) noexcept {
  auto environment = std::make_shared<SegmentEnvironment>();
  environment->io = options.io != nullptr ? options.io : SegmentIo::System();
  environment->counters = std::make_shared<SegmentCounters>();
  environment->read_only = options.read_only;
  environment->log = options.log;
  auto fd = OpenSegmentDirectory(directory, options, *environment->io);
  if (!fd) {
    return Fail(std::move(fd.error()));
  }
  struct statfs kind {};
  environment->map_unsafe =
      ::fstatfs(fd->get(), &kind) != 0 ||
      !NetworkFileSystemName(static_cast<std::uint32_t>(kind.f_type)).empty();
  struct statvfs info {};
  if (::fstatvfs(fd->get(), &info) == 0) {
    environment->block_size =
        std::clamp<std::uint64_t>(info.f_frsize, kBlockSizeMin, kBlockSizeMax);
  }
  environment->directory_held = options.directory_held;
  if (options.directory_held != nullptr) {
    environment->directory = directory;
  } else {
    environment->directory_fd = std::move(*fd);
    environment->directory = DescriptorPath(environment->directory_fd.get());
  }
  auto log =
      std::make_unique<SegmentLogOnDisk>(std::move(environment), options);
  LARDER_FAIL_IF_ERROR(log->Load(next_id_min, live, options.doubtful));
  return log;
}

std::uint64_t SegmentLog::ThreadColdReads() noexcept {
  return cold_reads_of_thread;
}

std::uint64_t SegmentLog::RecordSize(std::size_t key_size,
                                     std::size_t payload_size) noexcept {
  return RoundUp(PayloadStart(key_size) + payload_size, kSegmentAlignment);
}

SegmentGrant::SegmentGrant(SegmentGrant&& other) noexcept
    : file(std::move(other.file)),
      offset(other.offset),
      key_size(other.key_size),
      payload_size(other.payload_size),
      used(other.used) {}

SegmentGrant& SegmentGrant::operator=(SegmentGrant&& other) noexcept {
  std::swap(file, other.file);  // The other one drops the hold of this.
  offset = other.offset;
  key_size = other.key_size;
  payload_size = other.payload_size;
  used = other.used;
  return *this;
}

SegmentGrant::~SegmentGrant() {
  if (file) {
    if (!used) {
      file->ClearGap(offset, SegmentLog::RecordSize(key_size, payload_size));
    }
    // What could not be sealed now is sealed by the next Open.
    file->DropHold().IgnoreError();
  }
}

}  // namespace larder
