#ifndef LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_FILE_H_
#define LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_FILE_H_

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include <sys/stat.h>

#include "larder/engine/status.h"

#include "base/unique_fd.h"
#include "os/fork_guard.h"
#include "os/segment_io.h"
#include "segments/segment_log.h"
#include "segments/segment_mapping.h"

namespace larder {

/// What all files of one log have in common. Files may outlive the log, by
/// grants that are out.
struct SegmentEnvironment {
  UniqueFd directory_fd;  ///< None if directory_held keeps the path.
  std::shared_ptr<const void> directory_held;
  /// Through either, so that a file that outlives the log, or whose directory
  /// has been replaced, still reaches its own and no other.
  std::filesystem::path directory;
  SegmentIo* io = nullptr;
  std::shared_ptr<SegmentCounters> counters;
  std::uint64_t block_size = 4096;  ///< Unit of allocation of the file system.
  bool read_only = false;
  bool map_unsafe = false;  ///< The file system is of another machine.
  std::function<void(std::string_view line)> log;

  /// Whether the files may still be changed: the log they belong to is there,
  /// and this is no forked child of its process. The next log may have opened
  /// the same files. The answer is true as long as `lock` is held.
  [[nodiscard]] bool MayChange(std::unique_lock<std::mutex>& lock) const {
    if (fork_guard.InChild()) return false;
    lock = std::unique_lock(end_mutex);
    return !ended;
  }
  /// The log has gone.
  void End() const {
    const std::lock_guard lock(end_mutex);
    ended = true;
  }
  ForkGuard fork_guard = {};
  mutable std::mutex end_mutex;  // Before that of a file. Guards `ended`.
  mutable bool ended = false;
};

/// One segment file: where it is in its life, its writers, its mapping.
///
/// Invariants:
/// 1. Bytes below readable_end() are in the file, and do not change while
///    anybody can read them.
/// 2. The file is sealed once, by whoever drops the last hold: the log's own
///    (while records may still be added) or that of a grant.
/// 3. What it counts into counters->disk_bytes is accounted_, always.
///
/// Threads: thread-safe.
class SegmentFile {
 public:
  enum class State : std::uint8_t { kOpen, kSealed, kRemoved };
  using Environment = std::shared_ptr<const SegmentEnvironment>;

  /// A new, empty file; held once (DropHold). Errors: kIoError, kNoSpace.
  static Result<std::shared_ptr<SegmentFile>> Create(Environment environment,
                                                     std::uint32_t id,
                                                     std::uint32_t capacity);
  /// A file of an earlier run. One that is not whole is cut after its last
  /// whole record and sealed; if that leaves nothing, it is unlinked and
  /// nullptr is returned. Errors: kNotFound, kIoError.
  static Result<std::shared_ptr<SegmentFile>> OpenExisting(
      Environment environment, std::uint32_t id);
  /// A new segment in the file of `gone`, which keeps its bytes until they are
  /// written over; held once. nullptr: that file is of no use; it may be
  /// unlinked then. REQUIRES: `gone` was retired.
  static std::shared_ptr<SegmentFile> CreateFrom(SegmentFile& gone,
                                                 std::uint32_t id,
                                                 std::uint32_t capacity);

  SegmentFile(Environment environment, std::uint32_t id,
              std::uint64_t capacity);
  SegmentFile(const SegmentFile&) = delete;
  SegmentFile& operator=(const SegmentFile&) = delete;
  ~SegmentFile();

  [[nodiscard]] std::uint32_t id() const noexcept { return id_; }
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] State state() const noexcept { return state_.load(); }
  [[nodiscard]] std::uint64_t readable_end() const noexcept {
    return readable_end_.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::uint64_t file_size() const noexcept {
    return file_size_.load(std::memory_order_relaxed);
  }

  // Writers ------------------------------------------------------------------
  /// REQUIRES: the caller has a hold.
  void AddHold() noexcept { holds_.fetch_add(1, std::memory_order_relaxed); }
  /// Seals the file if this was the last one.
  Status DropHold() noexcept;
  /// Closes the file, which is open to be written, until Wake; or does not, as
  /// the process may map no more. REQUIRES: the caller has the only hold, and
  /// gives none until Wake.
  void Rest() noexcept;
  /// Opens it again if it rests. Errors: kNotFound (its name has gone or is
  /// another's), kIoError. REQUIRES: as Rest.
  [[nodiscard]] Status Wake() noexcept;
  /// True if the caller has the only hold. REQUIRES: it gives none meanwhile.
  [[nodiscard]] bool IsHeldOnce() const noexcept {
    // Acquire pairs with DropHold: what the others did is done.
    return holds_.load(std::memory_order_acquire) == 1;
  }
  /// Counts the blocks that a file of `end` bytes takes.
  void AccountUpTo(std::uint64_t end) noexcept;
  /// What the file takes on the disk.
  [[nodiscard]] std::uint64_t accounted() noexcept;
  /// Writes zeros where another segment's bytes may be, so that they are taken
  /// for the gap they are. REQUIRES: as WriteRecords.
  void ClearGap(std::uint64_t offset, std::uint64_t size) noexcept;
  /// Writes them one after another with one pwritev.
  /// REQUIRES: the caller has a hold and [offset, ...) for itself.
  Status WriteRecords(std::uint32_t offset,
                      std::span<const SegmentRecord> records) noexcept;
  /// [offset, end) has `count` records now, perhaps of another process.
  void NoteRecords(std::uint64_t offset, std::uint64_t end,
                   std::size_t count) noexcept;
  /// Makes what has been written durable; see SegmentLog::Sync.
  Status Sync() noexcept;
  [[nodiscard]] bool unsynced() const noexcept {
    return unsynced_.load() || sync_failed_.load();
  }
  /// No more records must go here: a sync failed.
  [[nodiscard]] bool sync_failed() const noexcept {
    return sync_failed_.load();
  }
  /// One did in an earlier log.
  void NoteSyncFailed() noexcept;
  /// From now on Sync means what an earlier run has written, too.
  void IncludeEarlierRun() noexcept {
    if (earlier_unsynced_.exchange(false)) unsynced_ = true;
  }

  // Readers ------------------------------------------------------------------
  /// The mapping if there is one that covers [0, end), else nullptr.
  std::shared_ptr<const SegmentMapping> CachedMapping(
      std::uint64_t end) noexcept;
  /// The same, made if need be; nullptr if the file is not to be mapped, as
  /// somebody else may cut it, or cannot be (ReadInto). Errors: kNotFound (the
  /// file has gone), kCorruption (the file ends before `end`), kIoError,
  /// kNotAFile.
  Result<std::shared_ptr<const SegmentMapping>> Map(std::uint64_t end) noexcept;
  /// A descriptor through which [0, end) is read without a mapping.
  struct ReadingFd {
    std::shared_ptr<const UniqueFd> fd;
    /// It is kept from now on for the next time, as a mapping is.
    bool is_new = false;
  };
  /// Errors: as Map.
  Result<ReadingFd> OpenToRead(std::uint64_t end) noexcept;
  /// Reads [offset, offset + size) through it. Errors: kCorruption (the file
  /// was cut meanwhile), kIoError.
  [[nodiscard]] Status ReadInto(const ReadingFd& from, char* buffer,
                                std::uint64_t size,
                                std::uint64_t offset) const noexcept;
  /// For the clock over all mappings (and kept descriptors): true if it was
  /// dropped (or there was none), false if it was used since the last call or
  /// must stay.
  bool DropIdleMapping() noexcept;
  /// Drops it even if it was used lately, but not if it must stay.
  void DropMapping() noexcept;
  [[nodiscard]] bool is_mapped() noexcept;
  /// False: somebody has removed it.
  [[nodiscard]] bool IsOnDisk() const noexcept;
  /// A descriptor for reading the whole file; see OpenSegmentFile.
  Result<UniqueFd> OpenForReading() const noexcept;
  /// The same; the one that is open already if there is one.
  Result<std::shared_ptr<const UniqueFd>> Descriptor() noexcept;

  /// How a file stays readable when it has been unlinked.
  enum class Hold : std::uint8_t { kNo, kMapped, kOpen };
  /// Unlinks it. If it is held, it is mapped or opened first and stays readable
  /// as long as this object lives. REQUIRES: state() is kSealed.
  Status Unlink(Hold hold) noexcept;
  /// The segment has gone, but its file stays, to become another one. False:
  /// somebody has it mapped, or it is not to be trusted.
  /// REQUIRES: state() is kSealed.
  [[nodiscard]] bool Retire() noexcept;
  /// Unlinks the file of a segment that was retired, or is not used yet. What
  /// cannot be unlinked now is by the next Open. Errors: kIoError.
  Status Discard() noexcept;
  /// Cuts off what was another segment's. False: that failed.
  /// REQUIRES: as Wake, or the file is open; it is longer, and nobody has been
  /// given space from `size` on, nor is meanwhile.
  [[nodiscard]] bool CutTo(std::uint64_t size) noexcept;
  /// Whether the file is in the page cache, by a look at some of its pages.
  /// REQUIRES: it is not used yet.
  [[nodiscard]] bool IsInMemory() const noexcept;
  /// A descriptor that was kept for reading and has not been used since the
  /// last call is given back.
  void CloseIdleReading() noexcept;
  /// REQUIRES: the file is open for writing, and stays so.
  [[nodiscard]] int descriptor() const noexcept { return fd_->get(); }

 private:
  // All under mutex_.
  Result<std::shared_ptr<const SegmentMapping>> MapLocked(std::uint64_t end);
  // The descriptor and the size of the file, which is at least `end`.
  Result<std::shared_ptr<const UniqueFd>> OpenLocked(std::uint64_t end,
                                                     struct stat& info);
  [[nodiscard]] bool IsOursAlone(const struct stat& info) const noexcept;
  void SetAccounted(std::uint64_t bytes) noexcept;

  Status Seal() noexcept;
  Status WriteFooter(std::uint64_t end) noexcept;
  Status RecoverTail();
  void AccountFromStat(int fd) noexcept;
  [[nodiscard]] Status ErrorAt(int error, const char* what,
                               std::uint64_t offset) const;
  [[nodiscard]] std::string path() const;

  const Environment environment_;
  const std::uint32_t id_;
  const std::uint64_t capacity_;
  bool was_another_ = false;  // Its file has bytes of another segment.

  std::atomic<State> state_{State::kOpen};
  std::atomic<std::uint32_t> holds_{1};
  // Release on writing, acquire on reading: pairs a finished pwritev with the
  // reader that goes by it.
  std::atomic<std::uint64_t> readable_end_{0};
  std::atomic<std::uint64_t> file_size_{0};
  std::atomic<std::uint64_t> record_count_{0};
  std::atomic<bool> unsynced_{false};
  std::atomic<bool> earlier_unsynced_{false};  // It may not have synced it.
  std::atomic<bool> sync_failed_{false};
  // Of the file while it is open and does not rest; whoever uses it has a hold
  // or copies it.
  std::shared_ptr<const UniqueFd> fd_;
  // While it rests. Keeps what the kernel knows of a failed write, too, of
  // which the next sync tells.
  std::shared_ptr<const void> resting_;
  dev_t resting_device_ = 0;
  ino_t resting_inode_ = 0;

  std::mutex mutex_;  // Last in the lock order; guards what follows and fd_.
  std::uint64_t accounted_ = 0;
  bool mapping_used_ = false;
  bool held_unlinked_ = false;
  std::uint64_t held_bytes_ = 0;  // Counted as unlinked, without a mapping.
  std::shared_ptr<const UniqueFd> reading_fd_;  // Kept between reads.
  bool reading_used_ = false;
  std::shared_ptr<SegmentMapping> mapping_;
  std::weak_ptr<SegmentMapping> last_mapping_;  // Handles may have it still.
};

/// Writes records into segment `id` from `offset` on with one pwritev.
/// REQUIRES: [offset, ...) is the caller's. Returns 0 or an errno; some bytes
/// may be written then.
[[nodiscard]] int WriteSegmentRecords(
    SegmentIo& io, int fd, std::uint32_t id, std::uint32_t offset,
    std::span<const SegmentRecord> records) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_FILE_H_
