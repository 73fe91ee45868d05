#ifndef LARDER_ENGINE_SRC_SEGMENT_REUSE_H_
#define LARDER_ENGINE_SRC_SEGMENT_REUSE_H_

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "larder/engine/status.h"

#include "segment_file.h"
#include "unique_fd.h"

namespace larder {

/// A descriptor of the directory of segments. As long as it is open, in this
/// process or in one forked from it, no file that was there is written again
/// for another segment: to be had before a file is opened, by all who are not
/// the writer's own log.
/// Errors: kNotFound, kPermissionDenied, kIoError.
[[nodiscard]] Result<UniqueFd> HoldSegmentFiles(
    const std::filesystem::path& directory) noexcept;

/// Files of segments that have gone, kept to become new ones: writing over
/// their pages and blocks takes a quarter of the time that new ones take.
///
/// A file is kept only if nobody can read it or write to it any more: nobody in
/// this process has it or its mapping, this process has not forked since it has
/// the file, no other process holds the files, and it has no other name. It is
/// used again as it is only if all of it is in memory: a page that is not would
/// be read from the disk to be written over.
///
/// Threads: thread-safe.
class SegmentSpares {
 public:
  /// `directory_fd`: of the log, borrowed.
  SegmentSpares(SegmentFile::Environment environment, int directory_fd) noexcept
      : environment_(std::move(environment)), directory_fd_(directory_fd) {}
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
  /// Cuts them by so many bytes together, as far as they go. False: there was
  /// nothing to cut.
  bool Shrink(std::uint64_t bytes) noexcept;
  /// Unlinks them.
  void DropAll() noexcept;
  /// What they take on the disk.
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return bytes_.load(std::memory_order_relaxed);
  }

 private:
  // All under mutex_.
  [[nodiscard]] std::vector<std::shared_ptr<SegmentFile>>::iterator
  Largest() noexcept;
  void Count() noexcept;

  const SegmentFile::Environment environment_;
  const int directory_fd_;
  std::mutex mutex_;  // A leaf but for that of a file.
  std::vector<std::shared_ptr<SegmentFile>> files_;  // Guarded by mutex_.
  std::atomic<std::uint64_t> bytes_{0};              // Written under it.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENT_REUSE_H_
