// Reading under a sequence lock per entry.
//
// 1. Nothing read from a block is believed before the entry's sequence and the
//    tier's generation were found unchanged after it.
// 2. Offsets and sizes from an entry are checked before they are followed: a
//    torn entry leads nowhere outside of the region.
// 3. The words that declare entries dead (epochs, cutoffs) are read between
//    the two looks at the sequence, so the answer was true at that moment.
// 4. If the tier turns into zeros meanwhile (LetGo), the second look sees
//    another sequence: an entry that says anything has one that is not 0.

#include "hot/hot_reader.h"

#include <new>
#include <utility>

#include "os/futex.h"

namespace larder {
namespace {

constexpr std::size_t kPageSize = 4096;

// The last large buffer that the thread let go. The heap would give its pages
// back to the system each time: a read of 64 KiB would take a quarter longer
// for page faults.
class SpareBuffer {
 public:
  static constexpr std::size_t kSizeMin = 16 * 1024;

  void Close() noexcept {
    open_ = false;
    ::operator delete(Exchange(nullptr, 0));
  }
  // nullptr: there is none that large.
  void* Take(std::size_t size) noexcept {
    return size <= size_ ? Exchange(nullptr, 0) : nullptr;
  }
  void Keep(void* memory, std::size_t size) noexcept {
    if (!open_ || size <= size_) return ::operator delete(memory);
    CloseWithThread();
    ::operator delete(Exchange(memory, size));
  }

 private:
  static void CloseWithThread() noexcept;
  void* Exchange(void* memory, std::size_t size) noexcept {
    size_ = size;
    return std::exchange(memory_, memory);
  }

  void* memory_ = nullptr;
  std::size_t size_ = 0;
  bool open_ = true;  // False: handles outlive the thread's variables.
};

// Without a destructor, so that it is there as long as the thread is.
constinit thread_local SpareBuffer spare_buffer;

void SpareBuffer::CloseWithThread() noexcept {
  struct Closer {
    ~Closer() { spare_buffer.Close(); }
  };
  thread_local const Closer closer;
  static_cast<void>(closer);
}

// A value and its pin in one allocation.
class HotValue final : public ValuePin {
 public:
  static HotValue* New(std::size_t size) {
    std::size_t all = sizeof(HotValue) + size;
    void* memory = nullptr;
    if (all >= SpareBuffer::kSizeMin) {
      all = (all + kPageSize - 1) / kPageSize * kPageSize;
      memory = spare_buffer.Take(all);
    }
    if (memory == nullptr) memory = ::operator new(all);
    return new (memory) HotValue(all);
  }
  [[nodiscard]] char* bytes() noexcept {
    return reinterpret_cast<char*>(this + 1);
  }
  static void operator delete(HotValue* value, std::destroying_delete_t) {
    const std::size_t size = value->allocated_;
    value->~HotValue();
    if (size >= SpareBuffer::kSizeMin) return spare_buffer.Keep(value, size);
    ::operator delete(static_cast<void*>(value));
  }
  static void* operator new(std::size_t size) = delete;
  static void* operator new(std::size_t, void* at) { return at; }

 private:
  explicit HotValue(std::size_t allocated) noexcept : allocated_(allocated) {}
  const std::size_t allocated_;
};

std::size_t StripeOfThisThread() noexcept {
  static constinit std::atomic<std::uint32_t> next{0};
  // Differs between processes by their pid, between threads by order.
  thread_local const std::size_t stripe =
      (static_cast<std::size_t>(::getpid()) * 7 +
       next.fetch_add(1, std::memory_order_relaxed)) %
      kHotStripes;
  return stripe;
}

}  // namespace

HotRegions::HotRegions(const SharedRegion& hot,
                       const SharedRegion& its_touch) noexcept
    : header(hot.At<HotHeader>(0)),
      touch(its_touch.At<HotTouchHeader>(0)),
      touched(its_touch.At<std::atomic<std::uint8_t>>(sizeof(HotTouchHeader))),
      hot_size_(hot.size()),
      touch_size_(its_touch.size()) {
  if (hot_size_ < sizeof(HotHeader)) return;
  bucket_mask = header->bucket_count - 1;
  entries = hot.At<HotEntry>(header->entries_offset);
  blocks = hot.data() + header->blocks_offset;
  blocks_size = header->extent_count * kHotExtentSize;
}

bool HotRegions::Valid() const noexcept {
  if (hot_size_ < sizeof(HotHeader) || touch_size_ < sizeof(HotTouchHeader)) {
    return false;
  }
  const std::uint64_t buckets = bucket_mask + 1;
  return header->layout_version == kHotLayoutVersion && buckets != 0 &&
         (buckets & bucket_mask) == 0 && buckets < hot_size_ &&
         header->entries_offset % alignof(HotEntry) == 0 &&
         header->entries_offset >= sizeof(HotHeader) &&
         header->entries_offset < hot_size_ && header->blocks_offset % 8 == 0 &&
         header->blocks_offset < hot_size_ &&
         entry_count() * sizeof(HotEntry) <=
             header->blocks_offset - header->entries_offset &&
         header->extent_count < hot_size_ / kHotExtentSize + 1 &&
         blocks_size <= hot_size_ - header->blocks_offset &&
         entry_count() <= touch_size_ - sizeof(HotTouchHeader);
}

Result<std::unique_ptr<HotReader>> HotReader::Open(
    const RegionAddress& hot, const RegionAddress& touch) noexcept {
  auto hot_region = SharedRegion::Open(hot, SharedRegion::Access::kReadOnly);
  if (!hot_region) return Fail(std::move(hot_region.error()));
  auto touch_region =
      SharedRegion::Open(touch, SharedRegion::Access::kReadWrite);
  if (!touch_region) return Fail(std::move(touch_region.error()));
  std::unique_ptr<HotReader> reader(
      new HotReader(std::move(*hot_region), std::move(*touch_region)));
  if (!reader->regions_.Valid()) {
    return Fail(Status::Corruption(hot.Path().string() +
                                   " is not a hot tier of this version"));
  }
  return reader;
}

HotReader::HotReader(std::unique_ptr<SharedRegion> hot,
                     std::unique_ptr<SharedRegion> touch) noexcept
    : hot_(std::move(hot)),
      touch_(std::move(touch)),
      regions_(*hot_, *touch_) {}

HotOutcome HotReader::Get(const HotKey& key, bool with_value,
                          const Clock& clock, PlacedReader* places,
                          Reply& reply) const noexcept {
  if (key.bytes.size() > kHotKeySizeMax) return HotOutcome::kUnknown;
  const std::uint64_t bucket = regions_.BucketOf(key);
  int attempts = 0;
  SegmentPlace placed;
  for (std::uint64_t i = bucket; i < bucket + kHotBucketEntries; ++i) {
    Look look = LookAt(i, key, with_value, clock, placed, reply);
    while (look == Look::kTorn) {
      if (++attempts == kHotAttemptsMax) return HotOutcome::kChanging;
      CpuPause();
      look = LookAt(i, key, with_value, clock, placed, reply);
    }
    switch (look) {
      case Look::kHit:
        if (with_value && placed.segment != 0) {
          if (places == nullptr) return HotOutcome::kUnknown;
          // What has this version never changes, so it may be read later.
          auto value =
              places->ReadPlaced(key.bytes, reply.info.version, placed);
          if (!value) return HotOutcome::kUnknown;
          reply.value = std::move(*value);
        }
        if (with_value) Count(HotOutcome::kHit, i, key);
        return HotOutcome::kHit;
      case Look::kAbsent:
        reply = Reply();
        if (with_value) Count(HotOutcome::kAbsent, i, key);
        return HotOutcome::kAbsent;
      case Look::kDead:
        return HotOutcome::kUnknown;
      case Look::kOther:
      case Look::kTorn:
        break;
    }
  }
  return HotOutcome::kUnknown;
}

SegmentPlace HotReader::PlaceOf(const HotKey& key,
                                const Clock& clock) const noexcept {
  if (key.bytes.size() > kHotKeySizeMax) return {};
  const std::uint64_t bucket = regions_.BucketOf(key);
  for (std::uint64_t i = bucket; i < bucket + kHotBucketEntries; ++i) {
    SegmentPlace placed;
    Reply reply;
    const Look look = LookAt(i, key, /*with_value=*/true, clock, placed, reply);
    if (look == Look::kHit) return placed;
  }
  return {};
}

HotReader::Look HotReader::LookAt(std::uint64_t index, const HotKey& key,
                                  bool with_value, const Clock& clock,
                                  SegmentPlace& placed,
                                  Reply& reply) const noexcept {
  const HotEntry& entry = regions_.entries[index];
  // Acquire pairs with the writer's release of the even sequence.
  const std::uint64_t first = entry.words[0].load(std::memory_order_acquire);
  if (static_cast<std::uint32_t>(first >> 32) != key.tag()) return Look::kOther;
  if (first % 2 != 0) return Look::kTorn;
  __builtin_prefetch(&regions_.touched[index]);
  const std::uint64_t generation =
      regions_.header->generation.load(std::memory_order_acquire);
  const HotPlace place =
      HotPlace::FromWord(entry.words[1].load(std::memory_order_acquire));
  if (place.generation != static_cast<std::uint16_t>(generation)) {
    return Look::kOther;
  }
  Look look = Look::kOther;
  if (place.kind == HotKind::kAbsent) {
    const std::uint64_t high = entry.words[2].load(std::memory_order_acquire);
    if (high == key.hash.high64) look = Look::kAbsent;
  } else if (HasBlock(place.kind) && place.key_size == key.bytes.size()) {
    look =
        ReadBlock(entry, first, place, key, with_value, clock, placed, reply);
  }
  // All loads before were acquire: these come after them.
  if (entry.words[0].load(std::memory_order_relaxed) != first ||
      regions_.header->generation.load(std::memory_order_relaxed) !=
          generation) {
    return Look::kTorn;
  }
  return look;
}

bool HotReader::IsDead(const HotBlock& block) const noexcept {
  const HotHeader& header = *regions_.header;
  return static_cast<std::uint32_t>(header.clear_epoch.load(
             std::memory_order_acquire)) != block.clear_epoch ||
         header.cutoffs[RankClass(block.rank)].load(std::memory_order_acquire) >
             block.rank ||
         header.tag_epochs[block.tag_slot % kHotTagEpochs].load(
             std::memory_order_acquire) != block.tag_epoch;
}

HotReader::Look HotReader::ReadBlock(const HotEntry& entry, std::uint64_t first,
                                     HotPlace place, const HotKey& key,
                                     bool with_value, const Clock& clock,
                                     SegmentPlace& placed,
                                     Reply& reply) const noexcept {
  const std::uint64_t sizes = entry.words[2].load(std::memory_order_acquire);
  const auto value_size = static_cast<std::uint32_t>(sizes >> 32);
  const auto tag_size = static_cast<std::uint32_t>(sizes);
  const TimePoint expires_at{Duration(static_cast<Duration::rep>(
      entry.words[3].load(std::memory_order_acquire)))};
  if (value_size > kHotValueSizeMax || tag_size > kHotTagSizeMax) {
    return Look::kTorn;
  }
  const HotBlockLayout layout(place.key_size, value_size, tag_size);
  const std::uint64_t offset = std::uint64_t{place.block} * 8;
  if (offset > regions_.blocks_size ||
      layout.size > regions_.blocks_size - offset) {
    return Look::kTorn;
  }
  char* const at = regions_.blocks + offset;
  // Out of the CPU's cache each of these lines takes as long as all the rest.
  for (std::uint64_t line = 64; line < layout.size && line < 512; line += 64) {
    __builtin_prefetch(at + line);
  }
  if (!EqualsShared(key.bytes, at + sizeof(HotBlock))) return Look::kOther;
  HotBlock block;
  LoadShared(&block, at, sizeof(block));
  if (IsDead(block)) return Look::kDead;
  if (expires_at != kNeverExpires && expires_at <= clock.Now()) {
    return Look::kAbsent;
  }
  // Do not allocate for a value that is already known to be torn.
  if (entry.words[0].load(std::memory_order_relaxed) != first) {
    return Look::kTorn;
  }
  reply.status = Status();
  reply.applied = true;
  reply.integer = 0;
  reply.count = 0;
  placed = SegmentPlace();
  reply.info.size_bytes = value_size;
  reply.value = ValueHandle();
  if (place.kind == HotKind::kPlaced) {
    HotPlaced there;
    if (value_size != sizeof(there)) return Look::kTorn;
    LoadShared(&there, at + layout.value_offset, sizeof(there));
    placed = {.segment = there.segment,
              .offset = there.offset,
              .payload_size = there.payload_size};
    reply.info.size_bytes = there.payload_size;
  } else if (with_value) {
    std::unique_ptr<HotValue> value(HotValue::New(value_size));
    char* const bytes = value->bytes();
    LoadShared(bytes, at + layout.value_offset, value_size);
    reply.value = ValueHandle({bytes, value_size}, std::move(value));
  }
  reply.info.version = block.version;
  reply.info.stored_at = TimePoint(Duration(block.stored_at_us));
  reply.info.expires_at = expires_at;
  reply.info.frequency = block.frequency;
  reply.info.codec = block.codec;
  reply.info.pinned = block.pinned != 0;
  reply.info.tag.resize(tag_size);
  LoadShared(reply.info.tag.data(), at + layout.tag_offset, tag_size);
  return Look::kHit;
}

void HotReader::Count(HotOutcome outcome, std::uint64_t index,
                      const HotKey& key) const noexcept {
  HotStripe& stripe = regions_.touch->stripes[StripeOfThisThread()];
  // Relaxed throughout: figures and hints, nothing is ordered by them.
  if (outcome == HotOutcome::kAbsent) {
    stripe.misses.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const std::uint64_t hit = stripe.hits.fetch_add(1, std::memory_order_relaxed);
  stripe.ring[hit % kHotRingSize].store(index << 32 | key.tag(),
                                        std::memory_order_relaxed);
  auto& touched = regions_.touched[index];
  if (touched.load(std::memory_order_relaxed) == 0) {
    touched.store(1, std::memory_order_relaxed);
  }
}

}  // namespace larder
