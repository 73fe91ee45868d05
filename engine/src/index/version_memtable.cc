#include "index/version_memtable.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>

#include <rocksdb/slice.h>
#include <xxhash.h>

#include "base/coding.h"
#include "base/thread_scratch.h"

// What readers follow (`newest`, `older`, `next`, buckets) is stored with
// release and loaded with acquire: whoever sees a node sees what is in it.
// Nodes are never removed; all of them go with the memtable's arena.

namespace larder {
namespace {

using rocksdb::Slice;

constexpr int kHeightMax = 12;
constexpr std::uint32_t kBranching = 4;
constexpr std::size_t kTrailerSize = sizeof(std::uint64_t);
constexpr std::size_t kBytesPerBucket = 128;
constexpr std::size_t kBucketCountMin = 64;
constexpr std::size_t kBucketCountMax = std::size_t{1} << 16;

/// One version of a key. The encoded entry follows it: varint32 size of the
/// internal key, user key, sequence number and type, then the value.
struct Version {
  std::atomic<Version*> older{nullptr};
  Version* jump = nullptr;  ///< Some version that is older still.
  std::uint32_t depth = 0;  ///< Versions below when it was pushed.

  [[nodiscard]] char* entry() noexcept {
    return reinterpret_cast<char*>(this) + sizeof(Version);
  }
};

std::string_view InternalKeyOf(const char* entry) noexcept {
  std::uint32_t size = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<std::uint8_t>(*entry++);
    size |= static_cast<std::uint32_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return {entry, size};
  }
}

/// An internal key in its two parts. The higher trailer, that is the newer
/// version, comes first.
struct KeyParts {
  std::string_view user_key;
  std::uint64_t trailer = 0;

  explicit KeyParts(std::string_view internal_key) noexcept
      : user_key(internal_key.substr(0, internal_key.size() - kTrailerSize)),
        trailer(
            LoadFixed<std::uint64_t>(internal_key.data() + user_key.size())) {}
};

KeyParts PartsOf(Version& version) noexcept {
  return KeyParts(InternalKeyOf(version.entry()));
}

std::uint64_t TrailerOf(Version& version) noexcept {
  return PartsOf(version).trailer;
}

/// The first 8 bytes as a number in the keys' order.
std::uint64_t HeadOf(std::string_view key) noexcept {
  if (key.size() >= sizeof(std::uint64_t)) return LoadBigEndian64(key.data());
  std::array<char, sizeof(std::uint64_t)> padded{};
  std::copy(key.begin(), key.end(), padded.begin());
  return LoadBigEndian64(padded.data());
}

/// A key and its versions: at least one.
struct KeyNode {
  KeyNode(Version* first, std::string_view user_key, KeyNode* bucket) noexcept
      : head(HeadOf(user_key)),
        key_data(user_key.data()),
        key_size(static_cast<std::uint32_t>(user_key.size())),
        next_in_bucket(bucket),
        newest(first) {}

  const std::uint64_t head;
  const char* const key_data;
  const std::uint32_t key_size;
  KeyNode* const next_in_bucket;
  std::atomic<Version*> newest;

  // As many as the node is high follow it.
  [[nodiscard]] std::atomic<KeyNode*>& next(int level) noexcept {
    return reinterpret_cast<std::atomic<KeyNode*>*>(this + 1)[level];
  }
  [[nodiscard]] std::string_view key() const noexcept {
    return {key_data, key_size};
  }
};

/// A key that is searched for.
struct Target {
  explicit Target(std::string_view k) noexcept : key(k), head(HeadOf(k)) {}
  std::string_view key;
  std::uint64_t head;
};

bool IsBefore(const KeyNode& node, const Target& target) noexcept {
  return node.head != target.head ? node.head < target.head
                                  : node.key() < target.key;
}

class VersionMemTable final : public rocksdb::MemTableRep {
 public:
  VersionMemTable(rocksdb::Allocator* allocator, std::size_t bucket_count)
      : MemTableRep(allocator),
        bucket_count_(bucket_count),
        buckets_(std::make_unique<std::atomic<KeyNode*>[]>(bucket_count)) {
    for (std::atomic<KeyNode*>& next : first_) next = nullptr;
  }

  rocksdb::KeyHandle Allocate(const std::size_t size, char** entry) override {
    auto* const version = new (AllocateAligned(sizeof(Version) + size)) Version;
    *entry = version->entry();
    return version;
  }

  void Insert(rocksdb::KeyHandle handle) override { InsertKey(handle); }
  bool InsertKey(rocksdb::KeyHandle handle) override {
    return Add(*static_cast<Version*>(handle));
  }
  void InsertConcurrently(rocksdb::KeyHandle handle) override {
    InsertKeyConcurrently(handle);
  }
  bool InsertKeyConcurrently(rocksdb::KeyHandle handle) override {
    const std::scoped_lock lock(insert_mutex_);
    return Add(*static_cast<Version*>(handle));
  }

  bool Contains(const char* entry) const override {
    const KeyParts parts(InternalKeyOf(entry));
    KeyNode* const node = Find(parts.user_key);
    if (node == nullptr) return false;
    Version* const version = NewestUpTo(*node, parts.trailer);
    return version != nullptr && TrailerOf(*version) == parts.trailer;
  }

  std::uint64_t ApproximateNumEntries(const Slice& begin,
                                      const Slice& end) override {
    const std::uint64_t before_end = CountBefore(KeyParts(end.ToStringView()));
    const std::uint64_t before_begin =
        CountBefore(KeyParts(begin.ToStringView()));
    return before_end - std::min(before_begin, before_end);
  }

  std::size_t ApproximateMemoryUsage() override {
    return bucket_count_ * sizeof(buckets_[0]);
  }

  Iterator* GetIterator(rocksdb::Arena* arena) override;
  Iterator* GetDynamicPrefixIterator(rocksdb::Arena* arena) override;

  /// The node of a key; null if it has none.
  [[nodiscard]] KeyNode* Find(std::string_view key) const noexcept {
    return FindIn(BucketOf(key), key);
  }

  /// The newest version of a trailer of at most `trailer`, or null.
  [[nodiscard]] static Version* NewestUpTo(const KeyNode& node,
                                           std::uint64_t trailer) noexcept {
    Version* version = node.newest.load(std::memory_order_acquire);
    while (version != nullptr && TrailerOf(*version) > trailer) {
      version = Below(*version, trailer);
    }
    return version;
  }

  /// The version next newer than `of`, or null.
  [[nodiscard]] static Version* NextNewer(const KeyNode& node,
                                          Version& of) noexcept {
    const std::uint64_t trailer = TrailerOf(of);
    Version* version = node.newest.load(std::memory_order_acquire);
    if (version == &of) return nullptr;
    for (;;) {
      Version* const older = version->older.load(std::memory_order_acquire);
      if (older == &of) return version;
      version = Below(*version, trailer);
    }
  }

  [[nodiscard]] static Version* Oldest(const KeyNode& node) noexcept {
    Version* version = node.newest.load(std::memory_order_acquire);
    for (;;) {
      Version* const older = version->older.load(std::memory_order_acquire);
      if (older == nullptr) return version;
      version = version->jump != nullptr ? version->jump : older;
    }
  }

  [[nodiscard]] KeyNode* First() noexcept {
    return first_[0].load(std::memory_order_acquire);
  }

  /// The first node whose key is not before the target's.
  [[nodiscard]] KeyNode* FirstFrom(const Target& target) noexcept {
    return Next(LastBefore(target, nullptr), 0);
  }

  /// The last node whose key is before the target's; null if none is.
  [[nodiscard]] KeyNode* LastBefore(const Target& target) noexcept {
    return LastBefore(target, nullptr);
  }

  [[nodiscard]] KeyNode* Last() noexcept {
    KeyNode* node = nullptr;
    for (int level = kHeightMax - 1; level >= 0; --level) {
      while (KeyNode* const next = Next(node, level)) node = next;
    }
    return node;
  }

 private:
  // Of the head, if `node` is null.
  [[nodiscard]] std::atomic<KeyNode*>& NextOf(KeyNode* node,
                                              int level) noexcept {
    return node != nullptr ? node->next(level)
                           : first_[static_cast<std::size_t>(level)];
  }
  [[nodiscard]] KeyNode* Next(KeyNode* node, int level) noexcept {
    return NextOf(node, level).load(std::memory_order_acquire);
  }

  /// An older version that is as far down as one step goes without leaping over
  /// the newest one of at most `trailer`.
  [[nodiscard]] static Version* Below(Version& version,
                                      std::uint64_t trailer) noexcept {
    Version* const jump = version.jump;
    return jump != nullptr && TrailerOf(*jump) > trailer
               ? jump
               : version.older.load(std::memory_order_acquire);
  }

  char* AllocateAligned(std::size_t size) {
    char* memory = nullptr;
    MemTableRep::Allocate(size + alignof(KeyNode) - 1, &memory);
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    return memory + (-address & (alignof(KeyNode) - 1));
  }

  [[nodiscard]] std::atomic<KeyNode*>& BucketOf(
      std::string_view key) const noexcept {
    return buckets_[XXH3_64bits(key.data(), key.size()) & (bucket_count_ - 1)];
  }

  [[nodiscard]] static KeyNode* FindIn(const std::atomic<KeyNode*>& bucket,
                                       std::string_view key) noexcept {
    KeyNode* node = bucket.load(std::memory_order_acquire);
    while (node != nullptr && node->key() != key) node = node->next_in_bucket;
    return node;
  }

  // Inserting: one thread at a time from here on.

  // False if the very version is there already.
  bool Add(Version& version) {
    // RocksDB makes its threads take turns; this says so to ThreadSanitizer,
    // which does not see how.
    static_cast<void>(turn_.load(std::memory_order_acquire));
    const KeyParts parts = PartsOf(version);
    std::atomic<KeyNode*>& bucket = BucketOf(parts.user_key);
    KeyNode* const node = FindIn(bucket, parts.user_key);
    bool is_new = true;
    if (node != nullptr) {
      is_new = Push(*node, version, parts.trailer);
    } else {
      AddNode(bucket, version, parts.user_key);
    }
    turn_.store(true, std::memory_order_release);
    return is_new;
  }

  static bool Push(KeyNode& node, Version& version, std::uint64_t trailer) {
    // Relaxed loads: only inserting threads store, and they take turns.
    Version* below = node.newest.load(std::memory_order_relaxed);
    std::atomic<Version*>* link = &node.newest;
    // Of threads that insert at once, the one with the older may come later.
    while (below != nullptr && TrailerOf(*below) >= trailer) {
      if (TrailerOf(*below) == trailer) return false;
      link = &below->older;
      below = link->load(std::memory_order_relaxed);
    }
    version.older.store(below, std::memory_order_relaxed);
    if (below != nullptr) {
      Version* const jump = below->jump;
      version.depth = below->depth + 1;
      const bool doubles =
          jump != nullptr && jump->jump != nullptr &&
          below->depth - jump->depth == jump->depth - jump->jump->depth;
      version.jump = doubles ? jump->jump : below;
    }
    link->store(&version, std::memory_order_release);
    return true;
  }

  void AddNode(std::atomic<KeyNode*>& bucket, Version& version,
               std::string_view user_key) {
    const int height = RandomHeight();
    char* const memory =
        AllocateAligned(sizeof(KeyNode) + static_cast<std::size_t>(height) *
                                              sizeof(std::atomic<KeyNode*>));
    auto* const node = new (memory)
        KeyNode(&version, user_key, bucket.load(std::memory_order_relaxed));
    const Target target(user_key);
    if (!IsAfterFinger(target)) LastBefore(target, finger_.data());
    for (int level = 0; level < height; ++level) {
      KeyNode* const before = finger_[static_cast<std::size_t>(level)];
      new (&node->next(level)) std::atomic<KeyNode*>(Next(before, level));
      NextOf(before, level).store(node, std::memory_order_release);
      finger_[static_cast<std::size_t>(level)] = node;
    }
    key_count_.store(key_count_.load(std::memory_order_relaxed) + 1,
                     std::memory_order_relaxed);
    bucket.store(node, std::memory_order_release);
  }

  // Whether the new key belongs right behind the one that was inserted last,
  // as keys in ascending order do.
  [[nodiscard]] bool IsAfterFinger(const Target& target) noexcept {
    KeyNode* const last = finger_[0];
    if (last == nullptr || !IsBefore(*last, target)) return false;
    KeyNode* const next = Next(last, 0);
    return next == nullptr || !IsBefore(*next, target);
  }

  // With `path`, the last node before it on every level.
  KeyNode* LastBefore(const Target& target, KeyNode** path) noexcept {
    KeyNode* node = nullptr;
    KeyNode* seen = nullptr;  // It is not before the target.
    for (int level = kHeightMax - 1; level >= 0; --level) {
      for (;;) {
        KeyNode* const next = Next(node, level);
        if (next == nullptr || next == seen || !IsBefore(*next, target)) {
          seen = next;
          break;
        }
        node = next;
      }
      if (path != nullptr) path[level] = node;
    }
    return node;
  }

  [[nodiscard]] int RandomHeight() noexcept {
    // xorshift64 (Marsaglia, 2003).
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    const int level = std::countr_zero(random_) / std::countr_zero(kBranching);
    return std::min(level + 1, kHeightMax);
  }

  // Keys before it, about, each for one version.
  [[nodiscard]] std::uint64_t CountBefore(const KeyParts& parts) noexcept {
    const Target target(parts.user_key);
    std::uint64_t count = 0;
    KeyNode* node = nullptr;
    for (int level = kHeightMax - 1; level >= 0; --level) {
      count *= kBranching;
      for (;;) {
        KeyNode* const next = Next(node, level);
        if (next == nullptr || !IsBefore(*next, target)) break;
        node = next;
        ++count;
      }
    }
    return std::min(count, key_count_.load(std::memory_order_relaxed));
  }

  const std::size_t bucket_count_;  // A power of two.
  const std::unique_ptr<std::atomic<KeyNode*>[]> buckets_;
  std::array<std::atomic<KeyNode*>, kHeightMax> first_;
  std::atomic<std::uint64_t> key_count_{0};
  std::atomic<bool> turn_{false};
  std::mutex insert_mutex_;  // Only if RocksDB inserts from several threads.
  std::array<KeyNode*, kHeightMax> finger_{};  // Null: the head.
  std::uint64_t random_ = 0x9E3779B97F4A7C15;
};

// An iterator that is asked for with an arena is destroyed but not deleted, and
// the arena's type is private to RocksDB. Such an iterator leaves its memory
// here: it is given back when the thread's next one ends, or the thread.
class IteratorMemory {
 public:
  IteratorMemory() = default;
  ~IteratorMemory() { ::operator delete(memory_); }
  IteratorMemory(const IteratorMemory&) = delete;
  IteratorMemory& operator=(const IteratorMemory&) = delete;

  void Leave(void* memory) noexcept {
    ::operator delete(std::exchange(memory_, memory));
  }

 private:
  void* memory_ = nullptr;
};

/// All versions of all keys, or with `one_key` those of the key sought.
class VersionIterator : public rocksdb::MemTableRep::Iterator {
 public:
  VersionIterator(VersionMemTable& table, bool one_key, bool in_arena) noexcept
      : table_(table), one_key_(one_key), in_arena_(in_arena) {}
  ~VersionIterator() override {
    // Nobody deletes what was asked for with an arena.
    if (in_arena_) ThreadScratch<IteratorMemory>::Get().Leave(this);
  }  // NOLINT(clang-analyzer-cplusplus.NewDelete)
  VersionIterator(const VersionIterator&) = delete;
  VersionIterator& operator=(const VersionIterator&) = delete;

  [[nodiscard]] bool Valid() const override { return version_ != nullptr; }
  [[nodiscard]] const char* key() const override { return version_->entry(); }

  void Next() override {
    version_ = version_->older.load(std::memory_order_acquire);
    if (version_ == nullptr && !one_key_) {
      SetToNewest(node_->next(0).load(std::memory_order_acquire));
    }
  }

  void Prev() override {
    version_ = VersionMemTable::NextNewer(*node_, *version_);
    if (version_ == nullptr && !one_key_) {
      SetToOldest(table_.LastBefore(Target(node_->key())));
    }
  }

  void Seek(const Slice& internal_key, const char* /*entry*/) override {
    const KeyParts parts(internal_key.ToStringView());
    node_ = one_key_ ? table_.Find(parts.user_key)
                     : table_.FirstFrom(Target(parts.user_key));
    version_ = nullptr;
    if (node_ == nullptr) return;
    if (!one_key_ && node_->key() != parts.user_key) {
      SetToNewest(node_);
      return;
    }
    version_ = VersionMemTable::NewestUpTo(*node_, parts.trailer);
    if (version_ == nullptr && !one_key_) {
      SetToNewest(node_->next(0).load(std::memory_order_acquire));
    }
  }

  void SeekForPrev(const Slice& internal_key, const char* entry) override {
    const KeyParts parts(internal_key.ToStringView());
    Seek(internal_key, entry);
    if (!Valid()) {
      if (!one_key_) SeekToLast();
    } else if (node_->key() != parts.user_key ||
               TrailerOf(*version_) != parts.trailer) {
      Prev();
    }
  }

  void SeekToFirst() override { SetToNewest(table_.First()); }
  void SeekToLast() override { SetToOldest(table_.Last()); }

 private:
  void SetToNewest(KeyNode* node) noexcept {
    node_ = node;
    version_ = node != nullptr ? node->newest.load(std::memory_order_acquire)
                               : nullptr;
  }
  void SetToOldest(KeyNode* node) noexcept {
    node_ = node;
    version_ = node != nullptr ? VersionMemTable::Oldest(*node) : nullptr;
  }

  VersionMemTable& table_;
  const bool one_key_;
  const bool in_arena_;
  KeyNode* node_ = nullptr;
  Version* version_ = nullptr;
};

/// What MemTableRep::Get asks for each time, and does not delete. A thread has
/// one, since it looks up one key after the other.
class PointIterator final : public VersionIterator {
 public:
  static PointIterator* OfThisThread(VersionMemTable& table) noexcept {
    alignas(PointIterator) thread_local std::byte memory[sizeof(PointIterator)];
    return ::new (memory) PointIterator(table);
  }
  /// Should it be deleted after all: the memory is the thread's.
  static void operator delete(void* /*memory*/) noexcept {}

 private:
  explicit PointIterator(VersionMemTable& table) noexcept
      : VersionIterator(table, true, false) {}
};

rocksdb::MemTableRep::Iterator* VersionMemTable::GetIterator(
    rocksdb::Arena* arena) {
  return new VersionIterator(*this, false, arena != nullptr);
}

rocksdb::MemTableRep::Iterator* VersionMemTable::GetDynamicPrefixIterator(
    rocksdb::Arena* arena) {
  if (arena == nullptr) return PointIterator::OfThisThread(*this);
  return new VersionIterator(*this, true, true);
}

}  // namespace

void VersionMemTableFactory::SetWriteBuffer(std::size_t bytes) noexcept {
  bucket_count_ = std::bit_ceil(
      std::clamp(bytes / kBytesPerBucket, kBucketCountMin, kBucketCountMax));
}

rocksdb::MemTableRep* VersionMemTableFactory::CreateMemTableRep(
    const rocksdb::MemTableRep::KeyComparator& /*comparator*/,
    rocksdb::Allocator* allocator, const rocksdb::SliceTransform* /*prefix*/,
    rocksdb::Logger* /*logger*/) {
  return new VersionMemTable(allocator, bucket_count_);
}

}  // namespace larder
