#ifndef LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_REUSE_H_
#define LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_REUSE_H_

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "larder/engine/status.h"

#include "base/unique_fd.h"
#include "segments/segment_file.h"

namespace larder {

/// Opens the file of segment `id` with `flags` of open(2), and keeps it from
/// becoming another segment: the open file has a shared lock, which the kernel
/// releases when its last descriptor and the last mapping made from one are
/// gone, in this process and in all that were forked from it. The only way in
/// which a segment file may be opened by who reads it or writes to it.
/// `flags` must allow reading.
/// Errors: kNotFound (the segment has gone), kPermissionDenied, kIoError.
[[nodiscard]] Result<UniqueFd> OpenSegmentFile(
    SegmentIo& io, const std::filesystem::path& directory, std::uint32_t id,
    int flags) noexcept;
/// Gives an open segment file such a lock.
/// Errors: kNotFound (it is being made another segment), kIoError.
[[nodiscard]] Status HoldSegmentFile(int fd) noexcept;

/// Files of segments that have gone, kept to become new ones: writing over
/// their pages and blocks takes a quarter of the time that new ones take.
///
/// A file is kept only if nobody can read it or write to it any more, in any
/// process: nobody has it open or mapped (see OpenSegmentFile), and it has no
/// other name. It is used again as it is only if it is in memory: a page that
/// is not would be read from the disk to be written over.
///
/// Threads: thread-safe.
class SegmentSpares {
 public:
  explicit SegmentSpares(SegmentFile::Environment environment);
  ~SegmentSpares() { DropAll(); }
  SegmentSpares(const SegmentSpares&) = delete;
  SegmentSpares& operator=(const SegmentSpares&) = delete;

  /// Keeps the file of `gone` for segment `id`, or unlinks it if it cannot be
  /// kept or there are enough. Errors: kIoError.
  /// REQUIRES: `gone` was retired, and cannot be found any more.
  Status Keep(std::shared_ptr<SegmentFile> gone, std::uint32_t id,
              std::uint32_t capacity) noexcept;
  /// The largest one, held once; nullptr if there is none.
  [[nodiscard]] std::shared_ptr<SegmentFile> Take(
      std::uint32_t capacity) noexcept;
  /// Cuts them by so many bytes together, as far as they go. Returns by how
  /// many.
  std::uint64_t Shrink(std::uint64_t bytes) noexcept;
  /// Closes their descriptors if none was kept, taken or cut since the last
  /// call: to do so with each would cost a busy log a mapping and an opening
  /// for each segment.
  void CloseIfUnused() noexcept;
  /// Unlinks them.
  void DropAll() noexcept;
  /// What they take on the disk.
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return bytes_.load(std::memory_order_relaxed);
  }

 private:
  // The system calls that make a file a spare, or see whether one is still of
  // use, are made without the mutex, for which writers wait. False: there are
  // enough of them.
  [[nodiscard]] bool BeginKeeping() noexcept;
  // `file`, unless it is nullptr, is a spare from now on.
  void EndKeeping(std::shared_ptr<SegmentFile> file) noexcept;
  // Out of the list; nullptr: it is empty.
  [[nodiscard]] std::shared_ptr<SegmentFile> TakeLargest() noexcept;
  // Under mutex_.
  [[nodiscard]] std::vector<std::shared_ptr<SegmentFile>>::iterator
  Largest() noexcept;
  // Whether nobody else has it open or mapped.
  [[nodiscard]] bool IsOursAlone(const SegmentFile& file) noexcept;
  void Count() noexcept;  // Under mutex_.

  const SegmentFile::Environment environment_;
  std::mutex mutex_;  // A leaf but for that of a file.
  // Whether mappings hold files on this file system; unset: not asked yet.
  std::optional<bool> mappings_hold_;                // Guarded by mutex_.
  std::vector<std::shared_ptr<SegmentFile>> files_;  // Guarded by mutex_.
  std::size_t being_kept_ = 0;                       // Guarded by mutex_.
  bool was_used_ = false;                            // Guarded by mutex_.
  std::atomic<std::uint64_t> bytes_{0};              // Written under it.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_REUSE_H_
