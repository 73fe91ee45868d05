#include "segment_mapping.h"

#include <cerrno>
#include <utility>

#include <sys/mman.h>

namespace larder {

Result<std::shared_ptr<SegmentMapping>> SegmentMapping::Map(
    int fd, std::size_t size,
    std::shared_ptr<SegmentCounters> counters) noexcept {
  void* const base = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    return Fail(Status::FromErrno(errno, "cannot map it"));
  }
  return std::make_shared<SegmentMapping>(static_cast<const char*>(base), size,
                                          std::move(counters));
}

SegmentMapping::SegmentMapping(
    const char* base, std::size_t size,
    std::shared_ptr<SegmentCounters> counters) noexcept
    : base_(base), size_(size), counters_(std::move(counters)) {}

SegmentMapping::~SegmentMapping() {
  ::munmap(const_cast<char*>(base_), size_);
  counters_->unlinked_bytes -= unlinked_bytes_.load();
}

void SegmentMapping::MarkUnlinked(std::uint64_t bytes) noexcept {
  const auto held = static_cast<std::int64_t>(bytes);
  counters_->unlinked_bytes += held;
  unlinked_bytes_ += held;
}

}  // namespace larder
