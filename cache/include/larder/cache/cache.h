#ifndef LARDER_CACHE_CACHE_H_
#define LARDER_CACHE_CACHE_H_

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "larder/cache/item.h"
#include "larder/cache/write_batch.h"
#include "larder/engine/engine.h"
#include "larder/serializers/codec.h"

namespace larder {

/// How to open a cache; see EngineOptions for each field.
using CacheOptions = EngineOptions;

/// The items of one cache directory: keys and values of bytes, or of any type
/// that serializers/codec.h can store, on a disk that never outgrows its
/// limit.
///
/// A miss is not an error: it is nullopt, false or nullptr. An item that has
/// expired or was evicted is absent for every call alike.
///
/// Threads:   thread-safe.
/// Processes: any number may attach, and children that are forked. If one dies
///            inside a write, an item has its old or its new value, never a
///            mixture, and a batch is there or it is not.
/// Lifetime:  may be a global variable: exit closes what is open. What it has
///            handed out may outlive it (docs/processes.md, fork and exit).
/// Errors:    besides those named at each call: kKeyTooLarge (over
///            kKeySizeBytesMax), kClosed, kGone (the directory was removed,
///            moved or replaced; within 5 s, and whatever is in its place is
///            left alone), kIoError; calls that write also kReadOnly,
///            kNoSpace and kOutcomeUnknown: the change may have been made. A
///            call that fails otherwise has changed nothing.
/// Cost:      a call on one item adds no allocation to what the engine does,
///            unless the value is compressed or encoded by cereal.
class Cache {
 public:
  // Opening and closing ------------------------------------------------------

  /// Opens the cache in the directory `path`, or creates it there. An empty
  /// path means a fresh temporary directory (below TMPDIR, or /tmp), which
  /// directory() tells and Close removes.
  /// Errors: those of OpenEngine; nothing is changed then.
  [[nodiscard]] static Result<std::unique_ptr<Cache>> Open(
      const std::filesystem::path& path, CacheOptions options = {}) noexcept;
  /// A cache on an engine of one's own.
  [[nodiscard]] static std::unique_ptr<Cache> OnEngine(
      std::unique_ptr<Engine> engine) noexcept;
  /// Closes, if Close was not called; what that answers is lost.
  ~Cache();
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;
  /// Ends background work and closes the directory; every later call is
  /// kClosed, but for another Close. Everything acknowledged stays. Errors:
  /// kDeadlock (called by a callback of this cache: it stays open).
  [[nodiscard]] Status Close() noexcept;

  // Single items -------------------------------------------------------------

  /// Stores `value`. An overwrite resets expiry, tag, pin and policy state.
  /// Errors: kTooLarge (can never fit; nothing is evicted for it), kNoSpace,
  ///         kInvalidArgument (tag).
  [[nodiscard]] Status Set(std::string_view key, std::string_view value,
                           const SetOptions& options = {}) noexcept;
  /// Stores any serializable value (see serializers/codec.h).
  /// Errors: as above, and kInvalidArgument if its own save function failed.
  template <internal::TypedValue T>
  [[nodiscard]] Status Set(std::string_view key, const T& value,
                           const SetOptions& options = {}) noexcept;

  /// The live value, or nullopt.
  /// Errors: kCorruption (the item is dropped: the next Get is a miss),
  ///         kTooLarge (over kValueInMemoryBytesMax: use OpenReader).
  /// Cost:   zero-copy: the value stays pinned where it lies.
  [[nodiscard]] Result<std::optional<Value>> Get(std::string_view key) noexcept;
  /// The same, decoded to a T that owns what it holds.
  /// Errors: as above, kTypeMismatch (stored as something else, or a number
  ///         that T cannot hold) and kUndecodable (T's own code does not read
  ///         the bytes: T was another type when they were stored). After those
  ///         two the item stays, as it is sound: read it as what it was, Set or
  ///         Delete it. When T changes, change the keys with it (a version in
  ///         their prefix), or read both forms in T's load function.
  template <typename T>
  [[nodiscard]] Result<std::optional<T>> Get(std::string_view key) noexcept;

  /// Like Set, only if the key has no live item; false if it has. Atomic over
  /// threads and processes. Errors: those of Set.
  [[nodiscard]] Result<bool> Add(std::string_view key, std::string_view value,
                                 const SetOptions& options = {}) noexcept;
  template <internal::TypedValue T>
  [[nodiscard]] Result<bool> Add(std::string_view key, const T& value,
                                 const SetOptions& options = {}) noexcept;

  /// Adds `delta` to an integer (one that Incr or Set of an integer type
  /// stored) and returns the sum; atomic. An absent key becomes `initial +
  /// delta` with the options given; an existing one keeps expiry and tag.
  /// Errors: kTypeMismatch, kOutOfRange; the value is kept.
  [[nodiscard]] Result<std::int64_t> Incr(
      std::string_view key, std::int64_t delta = 1, std::int64_t initial = 0,
      const SetOptions& options = {}) noexcept;
  /// Incr by -`delta`. Errors: as Incr; kOutOfRange for the smallest integer.
  [[nodiscard]] Result<std::int64_t> Decr(
      std::string_view key, std::int64_t delta = 1, std::int64_t initial = 0,
      const SetOptions& options = {}) noexcept;

  /// Gives a live item a new time to live from now (nullopt: for ever); value,
  /// tag and version stay. False if there is no live item. Errors: kNoSpace in
  /// a full cache where nothing may be evicted.
  [[nodiscard]] Result<bool> Touch(std::string_view key,
                                   std::optional<Duration> ttl) noexcept;

  /// Deletes the item and returns its value; nullopt if there was no live one.
  /// Of concurrent callers one gets it. Errors: those of Get.
  [[nodiscard]] Result<std::optional<Value>> Pop(std::string_view key) noexcept;
  /// The same, decoded. Errors: as Get<T>; the item is deleted all the same.
  template <typename T>
  [[nodiscard]] Result<std::optional<T>> Pop(std::string_view key) noexcept;

  /// False if there was no live item (an expired one is freed).
  [[nodiscard]] Result<bool> Delete(std::string_view key) noexcept;

  /// Whether there is a live item. Neither statistics nor policy notice.
  /// Cost: reads no value.
  [[nodiscard]] Result<bool> Contains(std::string_view key) noexcept;
  /// What is known of the item: times, size, tag, version, hits, codec (as
  /// stored: with kCodecIdCompressedFlag if compressed). Neither statistics
  /// nor policy notice. Cost: reads no value.
  [[nodiscard]] Result<std::optional<ItemInfo>> Inspect(
      std::string_view key) noexcept;

  /// Sets `value` if the live item still has `version` (0: if there is none).
  /// The new version, or nullopt if somebody else was first. Touch does not
  /// change a version; all other writes do. Errors: those of Set.
  [[nodiscard]] Result<std::optional<std::uint64_t>> CompareAndSet(
      std::string_view key, std::uint64_t version, std::string_view value,
      const SetOptions& options = {}) noexcept;
  template <internal::TypedValue T>
  [[nodiscard]] Result<std::optional<std::uint64_t>> CompareAndSet(
      std::string_view key, std::uint64_t version, const T& value,
      const SetOptions& options = {}) noexcept;

  // Many at once -------------------------------------------------------------
  // At most kBatchCommandCountMax keys or items each, else kInvalidArgument.

  /// The live values in the order of `keys`; a damaged one is a miss.
  [[nodiscard]] Result<std::vector<std::optional<Value>>> MultiGet(
      std::span<const std::string_view> keys) noexcept;
  /// Stores all items or none, in one commit. Of equal keys the last one wins.
  /// Errors: those of Set, for whichever item fails first.
  [[nodiscard]] Status SetMany(std::span<const SetItem> items,
                               const SetOptions& options = {}) noexcept;
  /// Deletes all or nothing, in one commit; how many were live. Errors: those
  /// of Set; kNoSpace if a full cache that may not evict has no room for what
  /// so many deletions write before they give some: delete less at a time.
  [[nodiscard]] Result<std::uint64_t> DeleteMany(
      std::span<const std::string_view> keys) noexcept;
  /// Makes all changes of the batch in its order, or none, in one commit. Not
  /// an error: a Delete or Touch that finds no live item.
  /// Errors: those of the changes, for whichever fails first.
  [[nodiscard]] Status Write(
      const WriteBatch& batch,
      std::optional<Durability> durability = {}) noexcept;

  // Streams ------------------------------------------------------------------

  /// Writes a value larger than memory; see ValueWriter. The item appears with
  /// Commit. Streamed values are not compressed. `size_expected` is a hint.
  /// Errors: those of Set.
  [[nodiscard]] Result<std::unique_ptr<ValueWriter>> OpenWriter(
      std::string_view key, const SetOptions& options = {},
      std::uint64_t size_expected = 0) noexcept;
  /// Reads a value of any size in bounded memory (one that Set compressed is
  /// decompressed as a whole first); nullptr if there is no live item.
  /// Errors: kCorruption.
  [[nodiscard]] Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept;

  // Scans --------------------------------------------------------------------

  /// A pass over live items in key order that sees no later write; see Scan.
  /// Values come decompressed.
  [[nodiscard]] Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options = {}) noexcept;
  /// The live item with the smallest key; nullopt if the cache is empty.
  [[nodiscard]] Result<std::optional<ScanItem>> First() noexcept;
  /// The live item with the largest key; nullopt if the cache is empty.
  [[nodiscard]] Result<std::optional<ScanItem>> Last() noexcept;

  // The whole cache ----------------------------------------------------------

  /// Live items, exactly. Cost: O(1) but for items that expired meanwhile.
  [[nodiscard]] Result<std::uint64_t> Count() noexcept;
  /// Deletes every item that has the tag at one moment, for every reader and
  /// after any crash; how many there were. Others write meanwhile; who counts
  /// waits. No item has the empty tag. Cost: about 10 us an item.
  [[nodiscard]] Result<std::uint64_t> Evict(std::string_view tag) noexcept;
  /// Settles what has expired up to `now` (nullopt: the clock); how many items
  /// that freed. Reads never need it.
  [[nodiscard]] Result<std::uint64_t> Expire(
      std::optional<TimePoint> now = {}) noexcept;
  /// Expires, then evicts until the cache is within its limits (and, if given,
  /// within `live_bytes_target`); how many items were evicted. Writes do this
  /// by themselves. Cost: O(1) to take effect; space follows in the background.
  [[nodiscard]] Result<std::uint64_t> Cull(
      std::optional<std::uint64_t> live_bytes_target = {}) noexcept;
  /// Deletes everything, pinned items too; how many were live. Cost: as Cull.
  [[nodiscard]] Result<std::uint64_t> Clear() noexcept;
  /// Figures that are always kept up to date. Cost: reads no item.
  [[nodiscard]] Result<EngineStats> Stats() noexcept;
  /// Verifies every checksum and all counters against a recount, and mends what
  /// is wrong if `repair`. Safe beside readers and writers.
  /// Cost: reads everything.
  [[nodiscard]] Result<CheckReport> Check(bool repair = false) noexcept;
  /// The settings in force; they stay readable after Close.
  [[nodiscard]] Settings CurrentSettings() const noexcept;
  /// Changes one setting, durably and for every attached process.
  /// Errors: kInvalidArgument (unknown name: says the nearest; out of bounds),
  ///         kParseError.
  [[nodiscard]] Status Reset(std::string_view name,
                             std::string_view value) noexcept;
  /// Everything acknowledged before is on the device afterwards.
  [[nodiscard]] Status Sync() noexcept;
  [[nodiscard]] const std::filesystem::path& directory() const noexcept;
  /// The engine below. Values read from it may be compressed.
  [[nodiscard]] Engine& engine() noexcept { return *engine_; }

 private:
  class CompressionChoice;
  class TemporaryDirectory;

  explicit Cache(std::unique_ptr<Engine> engine) noexcept;

  /// Executes one command; a status of the call is put into the reply.
  Reply Execute(std::string_view key, const Command& command,
                std::optional<Durability> durability = {}) noexcept;
  /// Executes a set, compressed if that is wanted.
  Reply Store(SetCommand command,
              std::optional<Durability> durability) noexcept;
  Result<bool> IsApplied(std::string_view key, const Command& command) noexcept;
  Status SetEncoded(std::string_view key, std::string_view bytes, CodecId codec,
                    const SetOptions& options) noexcept;
  Result<bool> AddEncoded(std::string_view key, std::string_view bytes,
                          CodecId codec, const SetOptions& options) noexcept;
  Result<std::optional<std::uint64_t>> CompareAndSetEncoded(
      std::string_view key, std::uint64_t version, std::string_view bytes,
      CodecId codec, const SetOptions& options) noexcept;
  /// The value as it is stored, perhaps compressed.
  Result<std::optional<Value>> GetStored(std::string_view key) noexcept;
  Result<std::optional<Value>> PopStored(std::string_view key) noexcept;
  template <typename T>
  static Result<std::optional<T>> DecodeStored(
      const Result<std::optional<Value>>& stored) noexcept;
  Status WriteAll(std::vector<Command> commands, std::span<Reply> replies,
                  std::optional<Durability> durability) noexcept;
  Result<std::uint64_t> ExecuteForCount(const Command& command) noexcept;
  Result<std::optional<ScanItem>> FirstOf(const ScanOptions& options) noexcept;

  const std::unique_ptr<Engine> engine_;
  const std::unique_ptr<CompressionChoice> compression_;
  std::unique_ptr<TemporaryDirectory> temporary_;  ///< Null: a path was given.
};

template <internal::TypedValue T>
Status Cache::Set(std::string_view key, const T& value,
                  const SetOptions& options) noexcept {
  const auto encoded = Encode(value);
  if (!encoded) return internal::StatusOf(encoded.error());
  return SetEncoded(key, encoded->bytes(), kCodecIdOf<T>, options);
}

template <internal::TypedValue T>
Result<bool> Cache::Add(std::string_view key, const T& value,
                        const SetOptions& options) noexcept {
  const auto encoded = Encode(value);
  if (!encoded) return Fail(internal::StatusOf(encoded.error()));
  return AddEncoded(key, encoded->bytes(), kCodecIdOf<T>, options);
}

template <internal::TypedValue T>
Result<std::optional<std::uint64_t>> Cache::CompareAndSet(
    std::string_view key, std::uint64_t version, const T& value,
    const SetOptions& options) noexcept {
  const auto encoded = Encode(value);
  if (!encoded) return Fail(internal::StatusOf(encoded.error()));
  return CompareAndSetEncoded(key, version, encoded->bytes(), kCodecIdOf<T>,
                              options);
}

template <typename T>
Result<std::optional<T>> Cache::Get(std::string_view key) noexcept {
  return DecodeStored<T>(GetStored(key));
}

template <typename T>
Result<std::optional<T>> Cache::Pop(std::string_view key) noexcept {
  return DecodeStored<T>(PopStored(key));
}

template <typename T>
Result<std::optional<T>> Cache::DecodeStored(
    const Result<std::optional<Value>>& stored) noexcept {
  static_assert(!internal::DecodesToView<T>,
                "larder: Get<T> needs a T that owns its bytes. Use Get(key), "
                "whose Value keeps the bytes in place.");
  if (!stored) return Fail(stored.error());
  if (!*stored) return std::optional<T>();
  Decoded<T> decoded = Decode<T>((*stored)->bytes(), (*stored)->info.codec);
  if (!decoded) return Fail(internal::StatusOf(decoded.error()));
  return std::optional<T>(*std::move(decoded));
}

}  // namespace larder

#endif  // LARDER_CACHE_CACHE_H_
