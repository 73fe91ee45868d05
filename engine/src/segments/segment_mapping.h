#ifndef LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_MAPPING_H_
#define LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_MAPPING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "larder/engine/status.h"

namespace larder {

/// Running figures that one log shares with its files, grants and mappings, any
/// of which may outlive it.
struct SegmentCounters {
  std::atomic<std::int64_t> disk_bytes{0};
  std::atomic<std::int64_t> unlinked_bytes{0};
  std::atomic<std::uint64_t> bytes_written{0};
  std::atomic<std::uint64_t> failed_syncs{0};
  /// How often pages were found to have left memory that had been there. Each
  /// read looks at it: not beside what writers change.
  alignas(64) std::atomic<std::uint32_t> pages_lost{0};
};

/// Payloads from this size on are remembered once their checksum was right.
/// Comparing a smaller one takes about as long as asking for its pages.
inline constexpr std::size_t kVerifyOnceBytesMin = 32U << 10;

/// One segment file in memory, for reading. It may be longer than the file:
/// pages past the file's end must not be touched (SIGBUS), which is the
/// caller's care. Shared by the file's cache of it and by value handles.
///
/// A page that is touched and is not in memory comes alone, and its neighbours
/// do not come with it (MADV_RANDOM): records are read in no order. So nothing
/// is to be touched that IsLikelyResident denies, unless by ReadAhead.
///
/// Threads: thread-safe.
class SegmentMapping {
 public:
  /// nullptr: the process may not have it. Its address space (RLIMIT_AS), of
  /// which half is left to others, its mappings (vm.max_map_count), of
  /// which all logs together take a quarter at most, or what it may lock are
  /// used up.
  /// Errors: kIoError.
  [[nodiscard]] static Result<std::shared_ptr<SegmentMapping>> Map(
      int fd, std::size_t size,
      std::shared_ptr<SegmentCounters> counters) noexcept;
  SegmentMapping(const char* base, std::size_t size,
                 std::shared_ptr<SegmentCounters> counters) noexcept;
  SegmentMapping(const SegmentMapping&) = delete;
  SegmentMapping& operator=(const SegmentMapping&) = delete;
  ~SegmentMapping();

  [[nodiscard]] const char* base() const noexcept { return base_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Whether NoteVerified was called for the record at `offset`.
  /// REQUIRES, of all three: its payload has at least kVerifyOnceBytesMin
  /// bytes.
  [[nodiscard]] bool WasVerified(std::uint64_t offset) const noexcept;
  void NoteVerified(std::uint64_t offset) const noexcept;
  /// Its bytes come from the storage again.
  void ForgetVerified(std::uint64_t offset) const noexcept;
  /// Whether all of [offset, offset + size) is in the page cache. The kernel
  /// tells only who may write the file; others are told that it is.
  [[nodiscard]] bool IsResident(std::uint64_t offset,
                                std::uint64_t size) const noexcept;

  /// IsResident as far as it has to be asked: what was in memory once is asked
  /// about now and then only, until something is found to have left. So
  /// nothing but how fast it is read may depend on it. Cost: a look at a few
  /// bits, mostly.
  [[nodiscard]] bool IsLikelyResident(std::uint64_t offset,
                                      std::uint64_t size) const noexcept;
  /// Asks the storage for what of [offset, offset + size) is not in memory, in
  /// one piece, and does not wait for it.
  void ReadAhead(std::uint64_t offset, std::uint64_t size) const noexcept;

  /// [offset, offset + size) does not count as memory of this process any
  /// more, until somebody looks at it again. It stays in the page cache.
  void LetGo(std::uint64_t offset, std::uint64_t size) const noexcept;

  /// The file is unlinked but keeps `bytes` of the disk while this lives.
  void MarkUnlinked(std::uint64_t bytes) noexcept;

 private:
  [[nodiscard]] bool WasInMemory(std::uint64_t offset,
                                 std::uint64_t size) const noexcept;
  void NoteInMemory(std::uint64_t offset, std::uint64_t size) const noexcept;

  const char* base_;
  std::size_t size_;
  std::shared_ptr<SegmentCounters> counters_;
  std::atomic<std::int64_t> unlinked_bytes_{0};
  // A bit for each kVerifyOnceBytesMin of the file: no two records of that size
  // start in the same. 32 bytes for a segment of 8 MiB, 4 KiB at most.
  mutable std::vector<std::atomic<std::uint64_t>> verified_;
  // A bit for each 4 KiB of the file: it was in memory since `pages_lost` of
  // all was what is in seen_pages_lost_. A guess, so nothing orders them.
  mutable std::vector<std::atomic<std::uint64_t>> seen_in_memory_;
  mutable std::atomic<std::uint32_t> seen_pages_lost_{0};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_MAPPING_H_
