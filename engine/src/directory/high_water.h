#ifndef LARDER_ENGINE_SRC_DIRECTORY_HIGH_WATER_H_
#define LARDER_ENGINE_SRC_DIRECTORY_HIGH_WATER_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>

#include "larder/engine/status.h"

#include "base/unique_fd.h"
#include "directory/manifest_mark.h"

namespace larder {

/// Ids of segments that are left out where nobody knows which were given; there
/// are enough of them for four thousand such losses.
inline constexpr std::uint32_t kSegmentSkip = 1 << 20;

/// Numbers below these may have been given before, in this cache directory.
struct HighWaterMarks {
  std::uint32_t segment = 0;  ///< Ids of segment files.
  std::uint64_t version = 0;
  ManifestMark manifest = {};  ///< The database's, as it was last synced.
  friend bool operator==(const HighWaterMarks&,
                         const HighWaterMarks&) = default;
};

/// The file `marks` of a cache directory: what makes a number that was given
/// once never be given again, also after a process was killed before it
/// committed anything with it, and after the database and the log were thrown
/// away. A client that was stopped in the middle of something would otherwise
/// go on with a number that means another thing by then.
///
/// It is not synced: a power cut ends all who may have a number, and what is
/// on the disk says which numbers are in use there.
///
/// Threads:   thread-safe.
/// Processes: the one that has the seat.
class HighWater {
 public:
  /// Reads `file`. Nothing is made before the first Raise, so that a cache on a
  /// full disk can be opened. Errors: kIoError, kPermissionDenied.
  [[nodiscard]] static Result<std::unique_ptr<HighWater>> Open(
      std::filesystem::path file) noexcept;

  /// The marks in `file` for who only reads; none if it cannot be read.
  [[nodiscard]] static HighWaterMarks Read(
      const std::filesystem::path& file) noexcept;

  /// A mark of 0 is not known: there is no file yet, it is damaged, or the
  /// mark was never raised.
  [[nodiscard]] HighWaterMarks marks() const noexcept;
  /// Raises the marks to at least these, in the file first; that of the
  /// manifest becomes this one unless it is none. Cost: a write of 64
  /// bytes to the page cache. Errors: kNoSpace, kIoError; they stay as they
  /// are.
  [[nodiscard]] Status Raise(const HighWaterMarks& marks) noexcept;
  /// Sets them to what was really given, but that of the manifest; for who
  /// closes in good order. Errors: as Raise.
  [[nodiscard]] Status Settle(const HighWaterMarks& marks) noexcept;
  /// Another database comes: nothing is known of its manifest, in neither slot.
  /// Errors: as Raise.
  [[nodiscard]] Status ForgetManifest() noexcept;

 private:
  explicit HighWater(std::filesystem::path file) : file_(std::move(file)) {}
  Status Load(int access);
  // Both under mutex_.
  Status Write(const HighWaterMarks& marks);
  Status WriteSlot(const HighWaterMarks& marks);

  const std::filesystem::path file_;
  mutable std::mutex mutex_;  // A leaf. Guards what follows.
  UniqueFd fd_;
  std::uint64_t serial_ = 0;  // Of the last slot; 0 = none.
  HighWaterMarks marks_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_DIRECTORY_HIGH_WATER_H_
