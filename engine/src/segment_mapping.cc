#include "segment_mapping.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "process_limits.h"

namespace larder {
namespace {

constexpr std::uint64_t kBitsOfWord = 64;

// The word of the record's bit, and its place in that.
struct BitPlace {
  std::size_t word;
  std::uint64_t mask;
};

// Of all logs of the process.
constinit std::atomic<std::size_t> mapping_count{0};

BitPlace BitOf(std::uint64_t offset) noexcept {
  const std::uint64_t bit = offset / kVerifyOnceBytesMin;
  return {static_cast<std::size_t>(bit / kBitsOfWord),
          std::uint64_t{1} << (bit % kBitsOfWord)};
}

}  // namespace

Result<std::shared_ptr<SegmentMapping>> SegmentMapping::Map(
    int fd, std::size_t size,
    std::shared_ptr<SegmentCounters> counters) noexcept {
  // Relaxed: a few too many do no harm.
  if (mapping_count.load(std::memory_order_relaxed) >= MappingCountMax() ||
      !HasAddressSpace(size)) {
    return nullptr;
  }
  void* const base = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    if (errno == ENOMEM || errno == EAGAIN) return nullptr;
    return Fail(Status::FromErrno(errno, "cannot map it"));
  }
  return std::make_shared<SegmentMapping>(static_cast<const char*>(base), size,
                                          std::move(counters));
}

SegmentMapping::SegmentMapping(
    const char* base, std::size_t size,
    std::shared_ptr<SegmentCounters> counters) noexcept
    : base_(base),
      size_(size),
      counters_(std::move(counters)),
      verified_(size / kVerifyOnceBytesMin / kBitsOfWord + 1) {
  mapping_count.fetch_add(1, std::memory_order_relaxed);
}

SegmentMapping::~SegmentMapping() {
  ::munmap(const_cast<char*>(base_), size_);
  mapping_count.fetch_sub(1, std::memory_order_relaxed);
  counters_->unlinked_bytes -= unlinked_bytes_.load();
}

bool SegmentMapping::WasVerified(std::uint64_t offset) const noexcept {
  LARDER_ASSERT(offset < size_);
  const BitPlace bit = BitOf(offset);
  // Relaxed: it is about bytes that do not change.
  return (verified_[bit.word].load(std::memory_order_relaxed) & bit.mask) != 0;
}

void SegmentMapping::NoteVerified(std::uint64_t offset) const noexcept {
  LARDER_ASSERT(offset < size_);
  const BitPlace bit = BitOf(offset);
  verified_[bit.word].fetch_or(bit.mask, std::memory_order_relaxed);
}

bool SegmentMapping::IsResident(std::uint64_t offset,
                                std::uint64_t size) const noexcept {
  static const auto page =
      static_cast<std::uint64_t>(std::max(::sysconf(_SC_PAGESIZE), 1L));
  std::array<unsigned char, 512> pages;  // 2 MiB at a time.
  const std::uint64_t end = offset + size;
  for (std::uint64_t at = offset / page * page; at < end;
       at += pages.size() * page) {
    const std::uint64_t part = std::min(end - at, pages.size() * page);
    if (::mincore(const_cast<char*>(base_) + at, part, pages.data()) != 0) {
      return false;
    }
    const std::uint64_t count = (part + page - 1) / page;
    for (std::uint64_t i = 0; i < count; ++i) {
      if ((pages[i] & 1) == 0) return false;
    }
  }
  return true;
}

void SegmentMapping::MarkUnlinked(std::uint64_t bytes) noexcept {
  const auto held = static_cast<std::int64_t>(bytes);
  counters_->unlinked_bytes += held;
  unlinked_bytes_ += held;
}

}  // namespace larder
