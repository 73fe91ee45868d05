#include "segments/segment_mapping.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/process_limits.h"

namespace larder {
namespace {

constexpr std::uint64_t kBitsOfWord = 64;
// Of what a bit of seen_in_memory_ says something; the smallest page there is.
constexpr std::uint64_t kSeenUnit = 4096;
// Of so many looks at what has been in memory one asks whether it still is.
// Pages that have left cost two reads instead of one, and all bits are cleared
// with the first that is found.
constexpr std::uint32_t kLooksPerQuestion = 128;
// The kernel may cut a longer request to what it reads ahead by default.
constexpr std::uint64_t kReadAheadUnit = 128U << 10;

std::uint64_t PageSize() noexcept {
  return static_cast<std::uint64_t>(std::max(::sysconf(_SC_PAGESIZE), 1L));
}

// The words that have bits [first, end), and in each the mask of these.
template <typename Visit>
bool ForEachWord(std::uint64_t first, std::uint64_t end, Visit&& visit) {
  while (first < end) {
    const std::uint64_t word = first / kBitsOfWord;
    const std::uint64_t stop = std::min(end, (word + 1) * kBitsOfWord);
    const std::uint64_t count = stop - first;
    const std::uint64_t ones = count == kBitsOfWord
                                   ? ~std::uint64_t{0}
                                   : (std::uint64_t{1} << count) - 1;
    if (!visit(word, ones << (first % kBitsOfWord))) return false;
    first = stop;
  }
  return true;
}

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
  // If it is refused, more is read than is asked for.
  ::madvise(base, size, MADV_RANDOM);
  return std::make_shared<SegmentMapping>(static_cast<const char*>(base), size,
                                          std::move(counters));
}

SegmentMapping::SegmentMapping(
    const char* base, std::size_t size,
    std::shared_ptr<SegmentCounters> counters) noexcept
    : base_(base),
      size_(size),
      counters_(std::move(counters)),
      verified_(size / kVerifyOnceBytesMin / kBitsOfWord + 1),
      seen_in_memory_(size / kSeenUnit / kBitsOfWord + 1) {
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

void SegmentMapping::ForgetVerified(std::uint64_t offset) const noexcept {
  LARDER_ASSERT(offset < size_);
  const BitPlace bit = BitOf(offset);
  verified_[bit.word].fetch_and(~bit.mask, std::memory_order_relaxed);
}

bool SegmentMapping::IsResident(std::uint64_t offset,
                                std::uint64_t size) const noexcept {
  const std::uint64_t page = PageSize();
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

bool SegmentMapping::IsLikelyResident(std::uint64_t offset,
                                      std::uint64_t size) const noexcept {
  thread_local std::uint32_t looks = 0;
  const bool was_there = WasInMemory(offset, size);
  if (was_there && ++looks % kLooksPerQuestion != 0) return true;
  if (IsResident(offset, size)) {
    if (!was_there) NoteInMemory(offset, size);
    return true;
  }
  if (was_there) counters_->pages_lost.fetch_add(1, std::memory_order_relaxed);
  return false;
}

void SegmentMapping::ReadAhead(std::uint64_t offset,
                               std::uint64_t size) const noexcept {
  const std::uint64_t end = offset + size;
  for (std::uint64_t at = offset / PageSize() * PageSize(); at < end;
       at += kReadAheadUnit) {
    // If it is refused, the pages come one by one.
    ::madvise(const_cast<char*>(base_) + at, std::min(end - at, kReadAheadUnit),
              MADV_WILLNEED);
  }
}

void SegmentMapping::LetGo(std::uint64_t offset,
                           std::uint64_t size) const noexcept {
  // Not the pages of neighbours.
  const std::uint64_t page = PageSize();
  const std::uint64_t begin = (offset + page - 1) / page * page;
  const std::uint64_t end = (offset + size) / page * page;
  if (begin >= end) return;
  // Of a shared mapping of a file this loses nothing. If it is refused, the
  // pages stay.
  ::madvise(const_cast<char*>(base_) + begin, end - begin, MADV_DONTNEED);
}

bool SegmentMapping::WasInMemory(std::uint64_t offset,
                                 std::uint64_t size) const noexcept {
  const std::uint32_t lost =
      counters_->pages_lost.load(std::memory_order_relaxed);
  if (seen_pages_lost_.load(std::memory_order_relaxed) != lost) {
    for (auto& word : seen_in_memory_) {
      word.store(0, std::memory_order_relaxed);
    }
    seen_pages_lost_.store(lost, std::memory_order_relaxed);
    return false;
  }
  return ForEachWord(
      offset / kSeenUnit, (offset + size + kSeenUnit - 1) / kSeenUnit,
      [this](std::uint64_t word, std::uint64_t mask) {
        return (~seen_in_memory_[word].load(std::memory_order_relaxed) &
                mask) == 0;
      });
}

void SegmentMapping::NoteInMemory(std::uint64_t offset,
                                  std::uint64_t size) const noexcept {
  ForEachWord(offset / kSeenUnit, (offset + size + kSeenUnit - 1) / kSeenUnit,
              [this](std::uint64_t word, std::uint64_t mask) {
                seen_in_memory_[word].fetch_or(mask, std::memory_order_relaxed);
                return true;
              });
}

void SegmentMapping::MarkUnlinked(std::uint64_t bytes) noexcept {
  const auto held = static_cast<std::int64_t>(bytes);
  counters_->unlinked_bytes += held;
  unlinked_bytes_ += held;
}

}  // namespace larder
