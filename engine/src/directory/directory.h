#ifndef LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_H_
#define LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_H_

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "larder/engine/engine.h"
#include "larder/engine/status.h"

#include "directory/directory_anchor.h"
#include "directory/directory_create.h"
#include "directory/directory_stamp.h"

namespace larder {

/// Names of databases during a repair: the new one while it is made, when it is
/// whole, and when the old one has gone; and a copy for RocksDB's own repair to
/// work on.
inline constexpr const char* kNewDatabaseName = "db.new";
inline constexpr const char* kReadyDatabaseName = "db.ready";
inline constexpr const char* kMovingDatabaseName = "db.moving";
inline constexpr const char* kScratchDatabaseName = "db.copy";

/// What to do about a stamp that is damaged or missing in a directory that is
/// a cache otherwise.
enum class BadStamp : std::uint8_t {
  kRefused,   ///< kCorruption.
  kRestored,  ///< It gets a new one. One of a newer larder is refused.
  kReplaced,  ///< So does one of a newer larder: all is to be thrown away.
};

/// Most bytes of the file `reserve`.
inline constexpr std::uint64_t kReserveBytesMax = 4U << 20;

/// A directory that is a cache or may become one.
struct PreparedDirectory {
  std::filesystem::path root;  ///< Absolute. It exists.
  std::shared_ptr<DirectoryAnchor> anchor;
  CreationUndo undo;  ///< Takes away what was made for it.
};

/// What everyone who wants to use the cache directory `path` does before the
/// seat: makes it and its parents (kCreate), and refuses what can be refused.
/// kReadOnly needs no write permission.
/// `bad_stamp`: what whoever gets the seat will do about one.
/// Errors: as CacheDirectory::Open; nothing is changed then.
[[nodiscard]] Status PrepareDirectory(const std::filesystem::path& path,
                                      OpenMode mode,
                                      bool allow_network_file_system,
                                      BadStamp bad_stamp,
                                      const LogCallback& log,
                                      PreparedDirectory& prepared) noexcept;

/// A cache directory: that it is one, and that it may be used. What is in db/
/// and log/ is no business of this class.
///
/// Threads:   thread-safe after Open.
/// Processes: one writer, who has the seat (see Seat), any number of readers.
class CacheDirectory {
 public:
  /// Opens the cache directory `path`, or makes it and its parents (kCreate).
  /// An empty directory becomes a cache in kCreate only. kReadOnly needs no
  /// write permission.
  /// REQUIRES: the caller has the seat, unless it is kReadOnly.
  /// Errors: kNotFound, kNotADirectory, kPermissionDenied, kForeignDirectory,
  /// kUnsupportedFormat, kUnsupportedFileSystem, kCorruption (the stamp),
  /// kInvalidArgument (the path), kNoSpace, kIoError.
  /// A failed Open leaves everything as it was, and so does one without Keep.
  [[nodiscard]] static Result<std::unique_ptr<CacheDirectory>> Open(
      const std::filesystem::path& path, OpenMode mode,
      bool allow_network_file_system, LogCallback log) noexcept;
  /// The same of the directory that `anchor` is of, whatever its name is by
  /// now; what is there now are its parts. `undo`: of what was made before.
  [[nodiscard]] static Result<std::unique_ptr<CacheDirectory>> Open(
      std::shared_ptr<DirectoryAnchor> anchor, OpenMode mode,
      const LogCallback& log, CreationUndo undo = {},
      BadStamp bad_stamp = BadStamp::kRefused) noexcept;

  CacheDirectory(const CacheDirectory&) = delete;
  CacheDirectory& operator=(const CacheDirectory&) = delete;

  /// 32 hexadecimal digits that no other cache has.
  [[nodiscard]] const std::string& id() const noexcept { return stamp_.id; }
  /// Absolute; for people only.
  [[nodiscard]] const std::filesystem::path& root() const noexcept {
    return anchor_->root();
  }
  /// For who opens the same once more.
  [[nodiscard]] const std::shared_ptr<DirectoryAnchor>& anchor()
      const noexcept {
    return anchor_;
  }
  /// Through their descriptors.
  [[nodiscard]] std::filesystem::path db_path() const {
    return anchor_->PathOf(DirectoryPart::kDatabase);
  }
  [[nodiscard]] std::filesystem::path log_path() const {
    return anchor_->PathOf(DirectoryPart::kLog);
  }
  /// See HighWater.
  [[nodiscard]] std::filesystem::path marks_path() const {
    return anchor_->Path() / "marks";
  }

  /// What was made to open it stays, and what a repair that was cut off has
  /// left goes.
  void Keep() noexcept;
  /// A part of the directory, by its name.
  [[nodiscard]] std::filesystem::path PathOf(const char* name) const {
    return anchor_->Path() / name;
  }
  /// Puts what the whole database kNewDatabaseName has in the place of what is
  /// in db/, which goes. Other processes know db/ itself, so it stays. After a
  /// crash the next Open goes on with it.
  [[nodiscard]] Status ReplaceDatabase() noexcept;
  /// No value and no database that has ever been written to: all that a
  /// creation leaves that was cut off. A directory that may hold something is
  /// not this.
  [[nodiscard]] bool HoldsNothing() const noexcept;

  /// kGone if the directory or a part of it was removed or replaced.
  [[nodiscard]] Status CheckPresent() const noexcept {
    return anchor_->CheckPresent();
  }
  /// kGone if a part of it was: then nothing of it may be touched any more.
  [[nodiscard]] Status CheckParts() const noexcept {
    return anchor_->CheckParts();
  }

  /// Gives the blocks of the file `reserve` back to the file system, so that
  /// there is room for what frees space. Errors: kReadOnly, kIoError.
  Status ReleaseReserve() noexcept;
  /// Allocates min(kReserveBytesMax, `bytes_wanted`) of it again, or shrinks
  /// it to that. Errors: kReadOnly, kNoSpace (it is empty then), kIoError.
  Status RestoreReserve(std::uint64_t bytes_wanted) noexcept;
  /// As du counts it.
  [[nodiscard]] std::uint64_t reserve_bytes() const noexcept {
    return reserve_bytes_;
  }

  /// Bytes of a directory tree as du counts them; see DiskUsage.
  [[nodiscard]] static Result<std::uint64_t> DiskBytes(
      const std::filesystem::path& path) noexcept;
  /// Bytes that this user may still fill in the file system. Errors: kIoError.
  [[nodiscard]] Result<std::uint64_t> FreeBytes() const noexcept;
  /// Of the file system. Errors: kIoError.
  [[nodiscard]] Result<std::uint64_t> TotalBytes() const noexcept;

 private:
  CacheDirectory(std::shared_ptr<DirectoryAnchor> anchor, DirectoryStamp stamp,
                 bool read_only, CreationUndo undo);
  Status MeasureReserve(int fd);
  [[nodiscard]] Result<UniqueFd> OpenReserve(int flags) const noexcept;

  const std::shared_ptr<DirectoryAnchor> anchor_;  // Perhaps the seat's.
  const DirectoryStamp stamp_;
  const bool read_only_;
  CreationUndo undo_;
  std::mutex reserve_mutex_;  // Taken alone; held over changes of the file.
  std::atomic<std::uint64_t> reserve_bytes_{0};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_DIRECTORY_DIRECTORY_H_
