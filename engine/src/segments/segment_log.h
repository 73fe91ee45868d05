#ifndef LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_LOG_H_
#define LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_LOG_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "larder/engine/settings.h"
#include "larder/engine/status.h"
#include "larder/engine/value_handle.h"

namespace larder {

/// Where one record of a segment file lies.
struct SegmentPlace {
  std::uint32_t segment = 0;       ///< Id of the file; 0 = none.
  std::uint32_t offset = 0;        ///< Of the record's header.
  std::uint32_t payload_size = 0;  ///< Value bytes in this record.
  friend bool operator==(const SegmentPlace&, const SegmentPlace&) = default;
};

/// A record that somebody is going to read.
struct WantedRecord {
  SegmentPlace place;
  std::size_t key_size = 0;
};

/// What a record says about itself, so that a lost index can be rebuilt.
struct SegmentRecord {
  std::string_view key;
  std::string_view payload;
  std::uint64_t version = 0;       ///< Of the item it belongs to.
  std::uint64_t value_size = 0;    ///< Of the whole value.
  std::uint64_t value_offset = 0;  ///< Of this payload within the value.
  std::uint8_t codec = 0;
  std::optional<std::uint64_t> payload_checksum = {};  ///< If it is known.
};

/// A record and where it lies.
struct PlacedRecord {
  SegmentPlace place;
  SegmentRecord record;
};

/// Bounds of a segment file: any record with a key and kSegmentPieceBytesMin
/// of payload fits, and offsets fit 32 bits with room to spare.
inline constexpr std::uint32_t kSegmentSizeBytesMin = 192U << 10;
inline constexpr std::uint32_t kSegmentSizeBytesMax = 1U << 30;
/// A value is not cut into pieces smaller than this to fill a segment.
inline constexpr std::uint32_t kSegmentPieceBytesMin = 64U << 10;

class SegmentIo;

struct SegmentLogOptions {
  /// A segment is sealed when the next record does not fit. Clamped to
  /// kSegmentSizeBytesMin..kSegmentSizeBytesMax.
  std::uint32_t segment_size_bytes = 8U << 20;
  /// Nothing is created, sealed, cut or unlinked. Files may grow, appear and
  /// vanish meanwhile (another process writes them): Read looks again. The
  /// writer uses no file again that is open or mapped (OpenSegmentFile).
  bool read_only = false;
  /// Most mappings kept for later reads; handles keep theirs beyond it.
  std::size_t mapping_count_max = 4096;
  ReadMode read_mode = ReadMode::kMap;
  /// Borrowed, outlives the log and its grants; nullptr = the system's.
  SegmentIo* io = nullptr;
  /// Keeps `directory` leading where it leads now, also after its name is
  /// another's. The log keeps it; without, it has a descriptor of its own.
  std::shared_ptr<const void> directory_held = {};
  /// Lines for people: torn tails cut, files dropped. May be empty.
  std::function<void(std::string_view line)> log = {};
  /// `next_id_min` is above every id that was ever given. Else the files that
  /// are there count, too.
  bool ids_are_known = false;
  /// Called before an id from `end` on is given: no log of this directory may
  /// give one below `end` from now on, whatever becomes of this one. An error
  /// is that of the Reserve that needed the id. May be empty.
  std::function<Status(std::uint32_t end)> reserve_ids = {};
  /// Segments of which a sync failed in an earlier log of this process
  /// (SegmentLog::DoubtfulSegments). Used by Open only.
  std::span<const std::uint32_t> doubtful = {};
};

/// Which open segment a record goes to. Records that will die at about the same
/// time are kept together: a segment of such as are set again and again is soon
/// dead whole, one of what has lived long stays full (Rosenblum and Ousterhout,
/// 1992). A fourth stream moves a tenth less than three under Zipf overwrites.
enum class LogStream : std::uint8_t {
  kNew = 0,
  kMoved = 1,
  kHot = 2,
  kWarm = 3,
  /// Of values larger than a segment. They are held while they are written, and
  /// so is whatever lies between their parts.
  kLarge = 4
};
inline constexpr std::size_t kLogStreamCount = 5;

struct SegmentInfo {
  std::uint32_t id = 0;
  std::uint64_t size_bytes = 0;  ///< Of the file, 0 if it has gone.
  bool sealed = false;           ///< No grant is out: it gets no records.
};

/// What becomes of the blocks of a segment that is removed.
enum class SegmentBlocks : std::uint8_t { kFree, kKeep };

class SegmentFile;

/// A space in the open segment that nobody else writes to. Destroying it
/// without a Write leaves a gap, which readers and recovery skip.
///
/// As long as it lives its segment is neither sealed nor removable: keep it
/// until the entry that refers to the record is committed, so that cleaning
/// cannot take a segment for empty in between.
///
/// Threads: thread-compatible. Lifetime: may outlive the log (not its io).
struct SegmentGrant {
  SegmentGrant() noexcept = default;
  SegmentGrant(SegmentGrant&& other) noexcept;
  SegmentGrant& operator=(SegmentGrant&& other) noexcept;
  SegmentGrant(const SegmentGrant&) = delete;
  SegmentGrant& operator=(const SegmentGrant&) = delete;
  ~SegmentGrant();

  std::shared_ptr<SegmentFile> file;
  std::uint32_t offset = 0;
  std::uint32_t key_size = 0;
  std::uint32_t payload_size = 0;
  bool used = false;  ///< Write was tried: it is a record or a gap now.
};

/// Keeps a set of segment files readable although they are removed meanwhile.
class SegmentSnapshot {
 public:
  virtual ~SegmentSnapshot() = default;
  /// What comes from now on goes as if this were not there, so that it holds no
  /// more than there is now.
  virtual void End() noexcept = 0;
};

/// The segment files `log/<id>.seg` of one cache: append-only files of
/// checksummed records, for values too large for RocksDB.
///
/// Invariants:
/// 1. An id is used once; ids only grow. The first free id is given at Open,
/// and
///    reserve_ids is called before one is used.
/// 2. A byte once written by Write is not written again while anybody can read
///    it: a file becomes another segment only when its own was removed and
///    nobody has it open or mapped, in any process (see SegmentSpares).
/// 3. Read returns bytes only if the header's checksum matches, the record is
///    of the expected key and version, and the payload's checksum matches or,
///    with VerifyReads::kOnce, matched before in the same mapping and the pages
///    are still in memory.
/// 4. With ReadMode::kPread no byte of a file is read through a mapping, and no
///    file is mapped that others can cut: it has another owner or name, others
///    may write it, or the file system is not of this machine.
///
/// Threads: thread-safe; Write of different grants runs in parallel, outside
///          of the log's lock.
class SegmentLog {
 public:
  /// Opens all segments in `directory` (created unless read_only). No file is
  /// read but for sealing: unsealed files of an earlier run are cut after
  /// their last whole record and sealed. `next_id_min` is the smallest id a
  /// new segment may get. `live` says of an id whether anything lives in it;
  /// files for which it is false are unlinked.
  static Result<std::unique_ptr<SegmentLog>> Open(
      const std::filesystem::path& directory, const SegmentLogOptions& options,
      std::uint32_t next_id_min,
      const std::function<bool(std::uint32_t id)>& live) noexcept;
  /// What is granted still can be written but not accepted any more, and no
  /// file is changed: the next log may have it open.
  virtual ~SegmentLog() = default;

  /// Another number than that of any log before, in any process.
  [[nodiscard]] virtual std::uint64_t generation() const noexcept = 0;

  /// Space for a record with `key_size` and up to `payload_wanted` bytes of
  /// payload; the grant may be smaller (never under min(payload_wanted, 64
  /// KiB)) so that segments are filled to their end. Opens the next segment
  /// when needed, sealing the old one once its last grant is written.
  virtual Result<SegmentGrant> Reserve(
      std::size_t key_size, std::size_t payload_wanted,
      LogStream stream = LogStream::kNew) noexcept = 0;
  /// Writes `record` (key and payload of the sizes granted) with one pwritev.
  /// A grant can be used once; after an error it is a gap. Errors: kNoSpace,
  /// kIoError, kInvalidArgument (other sizes, used before).
  virtual Result<SegmentPlace> Write(SegmentGrant& grant,
                                     const SegmentRecord& record) noexcept = 0;
  /// Writes each record into its grant, as Write does, but with one pwritev
  /// for those that lie one after another. After an error none of them counts:
  /// all are gaps, or records that nothing refers to.
  /// REQUIRES: as many grants, records and places.
  virtual Status WriteAll(std::span<SegmentGrant> grants,
                          std::span<const SegmentRecord> records,
                          std::span<SegmentPlace> places) noexcept = 0;
  /// Takes the record that another process wrote into the grant, if its header
  /// is of `key` and `version`; the payload is its own affair, and is checked
  /// when it is read. Errors: as Write, and kCorruption (nothing such there).
  virtual Result<SegmentPlace> Accept(SegmentGrant& grant, std::string_view key,
                                      std::uint64_t version) noexcept = 0;
  /// The payload, zero-copy from a mapping that the handle keeps, or a copy of
  /// it with ReadMode::kPread and where the file is not this user's alone, in
  /// which case `verify` is kAlways. `key` and `version` must match.
  /// Errors: kNotFound (the segment has gone), kCorruption, kIoError,
  /// kNotAFile.
  virtual Result<ValueHandle> Read(const SegmentPlace& place,
                                   std::string_view key, std::uint64_t version,
                                   VerifyReads verify) noexcept = 0;
  /// With every checksum. For all that copies a value to where it gets a new
  /// one, which would make damage good.
  Result<ValueHandle> Read(const SegmentPlace& place, std::string_view key,
                           std::uint64_t version) noexcept {
    return Read(place, key, version, VerifyReads::kAlways);
  }
  /// Asks the storage, in order of place, for those that are not in memory, and
  /// waits for none: so it works on all of them at a time, while Read waits for
  /// one. Returns how many these are; those that left memory may pass for being
  /// there. Does nothing for files that are not
  /// mapped. Sorts `wanted`.
  virtual std::size_t ReadAhead(std::span<WantedRecord> wanted) noexcept = 0;
  /// A record that was read and is not wanted again soon does not count as
  /// memory of this process any more. Its handles stay valid.
  virtual void LetGo(const WantedRecord& record) noexcept = 0;
  /// How many records that the calling thread read, of whatever log, were not
  /// in memory. Who reads several and sees it grow asks for the others.
  [[nodiscard]] static std::uint64_t ThreadColdReads() noexcept;
  /// fdatasync of everything written since Open that is not yet on the
  /// device, and fsync of the directory after new files. A segment whose sync
  /// failed once may have lost pages for good: it gets no more records, and
  /// Sync goes on failing until it is removed.
  virtual Status Sync() noexcept = 0;
  /// The same for these segments only, whoever wrote them, whatever became of
  /// others.
  virtual Status SyncSegments(std::span<const std::uint32_t> ids) noexcept = 0;
  /// The same for what earlier runs left, too: one fdatasync per segment, once.
  virtual Status SyncAll() noexcept = 0;
  /// Segments whose sync failed: another one of the same file would succeed
  /// without anything having been written, in the next log as well.
  [[nodiscard]] virtual std::vector<std::uint32_t> DoubtfulSegments()
      const noexcept = 0;
  /// Removes a sealed segment. Handles and snapshots that hold it go on
  /// reading. With kKeep its file may stay, counted in disk_bytes() and in
  /// spare_bytes(), to become a new segment.
  /// Errors: kNotFound, kAborted (it is open or a grant is out; try later),
  /// kIoError (it stays).
  virtual Status Remove(std::uint32_t id, SegmentBlocks blocks) noexcept = 0;
  /// Takes so many of reusable_bytes() from the disk, as far as they go. False:
  /// there was nothing to take.
  virtual bool ShrinkReusable(std::uint64_t bytes) noexcept = 0;
  /// Unlinks these files.
  virtual void DropSpares() noexcept = 0;
  /// Seals the open segments now, if they hold anything.
  virtual Status SealOpen() noexcept = 0;
  /// Closes the files that have not been written to, or read without a mapping,
  /// since the last call; they are opened when they are. For who calls it about
  /// once a second.
  virtual void CloseIdleFiles() noexcept = 0;
  /// Later segments get this size.
  virtual void SetSegmentSize(std::uint32_t bytes) noexcept = 0;
  /// Later reads are done so. What was mapped is let go.
  virtual void SetReadMode(ReadMode mode) noexcept = 0;

  /// REQUIRES: read_only. Lets the mappings of files go that have been removed
  /// by who writes them: they keep their blocks. Cost: a system call for each
  /// mapped file.
  virtual void ForgetRemoved() noexcept = 0;

  /// The ids and sizes of all segments, in order of id.
  [[nodiscard]] virtual std::vector<SegmentInfo> Segments() const = 0;
  /// True if segment `id` is there.
  [[nodiscard]] virtual bool Contains(std::uint32_t id) const noexcept = 0;
  [[nodiscard]] virtual std::uint32_t open_id()
      const noexcept = 0;  ///< 0: none.
  /// The smallest id that was never given.
  [[nodiscard]] virtual std::uint32_t next_id() const noexcept = 0;
  /// Bytes of all files as `du` counts them (allocated blocks). O(1).
  [[nodiscard]] virtual std::uint64_t disk_bytes() const noexcept = 0;
  /// Of these, files that were kept: the next segments are written into them,
  /// of whatever stream. O(1).
  [[nodiscard]] virtual std::uint64_t spare_bytes() const noexcept = 0;
  /// The same with what is left of such files that records are appended to. Of
  /// that, less may be of use to the next record: each stream has its own.
  /// O(1).
  [[nodiscard]] virtual std::uint64_t reusable_bytes() const noexcept = 0;
  /// Bytes of removed segments that handles or snapshots of this log still
  /// hold: not in disk_bytes, but not free either.
  [[nodiscard]] virtual std::uint64_t unlinked_bytes() const noexcept = 0;
  /// Of these, what snapshots hold.
  [[nodiscard]] virtual std::uint64_t snapshot_bytes() const noexcept = 0;
  /// Bytes written since Open, footers included.
  [[nodiscard]] virtual std::uint64_t bytes_written() const noexcept = 0;

  /// Holds every present segment readable while it lives, and those to come
  /// until it is told to End.
  virtual std::unique_ptr<SegmentSnapshot> Snapshot() noexcept = 0;

  /// Calls `visit` for each whole record of a segment in order of offset,
  /// skipping gaps and damage, bad sectors, too (`damaged_bytes` counts these);
  /// false stops.
  virtual Status ForEachRecord(
      std::uint32_t id,
      const std::function<bool(const SegmentPlace&, const SegmentRecord&)>&
          visit,
      std::uint64_t* damaged_bytes) noexcept = 0;
  /// The same with up to `count_max` records at once, all of whose bytes stay
  /// where they are during the call. Their payloads may be damaged: that is for
  /// the visitor to find out, by their checksums.
  virtual Status ForEachGroup(
      std::uint32_t id, std::size_t count_max,
      const std::function<bool(std::span<const PlacedRecord>)>& visit,
      std::uint64_t* damaged_bytes) noexcept = 0;

  /// Bytes in the file of a record with these sizes, with header and padding.
  [[nodiscard]] static std::uint64_t RecordSize(
      std::size_t key_size, std::size_t payload_size) noexcept;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_LOG_H_
