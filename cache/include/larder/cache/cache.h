#ifndef LARDER_CACHE_CACHE_H_
#define LARDER_CACHE_CACHE_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "larder/engine/engine.h"
#include "larder/serializers/codec.h"

namespace larder {

/// How to open a cache; see EngineOptions for each field.
using CacheOptions = EngineOptions;

/// What a Set may say about its item.
struct SetOptions {
  /// nullopt = the `default_ttl` setting; zero or less = stored expired.
  std::optional<Duration> ttl;
  std::string_view tag;
  bool pinned = false;
  float cost = 1.0F;
  /// nullopt = the `durability` setting.
  std::optional<Durability> durability;
};

/// One item of SetMany.
struct SetItem {
  std::string_view key;
  std::string_view value;
};

/// A value with its codec, pinned where it lies.
struct Value {
  ValueHandle handle;
  ItemInfo info;
  [[nodiscard]] std::string_view bytes() const noexcept {
    return handle.bytes();
  }
};

/// Several changes that are made together or not at all.
///
/// Threads: thread-compatible. It owns copies of what it is given.
class WriteBatch {
 public:
  WriteBatch();
  ~WriteBatch();
  WriteBatch(WriteBatch&&) noexcept;
  WriteBatch& operator=(WriteBatch&&) noexcept;

  void Set(std::string_view key, std::string_view value,
           const SetOptions& options = {});
  template <typename T>
    requires(!std::convertible_to<const T&, std::string_view>)
  [[nodiscard]] Status Set(std::string_view key, const T& value,
                           const SetOptions& options = {});
  void Delete(std::string_view key);
  void Incr(std::string_view key, std::int64_t delta = 1,
            std::int64_t initial = 0);
  void Touch(std::string_view key, std::optional<Duration> ttl);
  [[nodiscard]] std::size_t size() const noexcept;
  void Clear() noexcept;

 private:
  friend class Cache;
  struct Impl;
  void SetEncoded(std::string_view key, std::string encoded, CodecId codec,
                  const SetOptions& options);
  std::unique_ptr<Impl> impl_;
};

/// The items of one cache directory.
///
/// Threads:   thread-safe.
/// Processes: any number may attach. If one dies inside a write, an item has
///            its old or its new value, never a mixture.
/// Lifetime:  close it after every handle, scan and stream of it.
/// Errors:    besides those named at each call: kKeyTooLarge, kClosed, kGone,
///            kIoError. A failed call changes nothing.
class Cache {
 public:
  /// An empty path: a fresh temporary directory (see `directory()`), which is
  /// removed at Close.
  [[nodiscard]] static Result<std::unique_ptr<Cache>> Open(
      const std::filesystem::path& path, CacheOptions options = {}) noexcept;
  /// A cache on an engine of one's own.
  [[nodiscard]] static std::unique_ptr<Cache> OnEngine(
      std::unique_ptr<Engine> engine) noexcept;
  ~Cache();
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;
  [[nodiscard]] Status Close() noexcept;

  // Single items -----------------------------------------------------------
  /// Stores bytes. Errors: kTooLarge, kNoSpace.
  [[nodiscard]] Status Set(std::string_view key, std::string_view value,
                           const SetOptions& options = {}) noexcept;
  /// Stores any serializable value (see serializers/codec.h).
  template <typename T>
    requires(!std::convertible_to<const T&, std::string_view>)
  [[nodiscard]] Status Set(std::string_view key, const T& value,
                           const SetOptions& options = {});
  /// The live value, or nullopt on a miss.
  [[nodiscard]] Result<std::optional<Value>> Get(std::string_view key) noexcept;
  /// The same, decoded. Errors: kTypeMismatch (stored with another codec).
  template <typename T>
  [[nodiscard]] Result<std::optional<T>> Get(std::string_view key);
  /// Like Set, only if the key has no live item; false if it has.
  [[nodiscard]] Result<bool> Add(std::string_view key, std::string_view value,
                                 const SetOptions& options = {}) noexcept;
  template <typename T>
    requires(!std::convertible_to<const T&, std::string_view>)
  [[nodiscard]] Result<bool> Add(std::string_view key, const T& value,
                                 const SetOptions& options = {});
  /// The new value. Errors: kTypeMismatch, kOutOfRange; the value is kept.
  [[nodiscard]] Result<std::int64_t> Incr(
      std::string_view key, std::int64_t delta = 1, std::int64_t initial = 0,
      const SetOptions& options = {}) noexcept;
  [[nodiscard]] Result<std::int64_t> Decr(
      std::string_view key, std::int64_t delta = 1, std::int64_t initial = 0,
      const SetOptions& options = {}) noexcept;
  /// False if there is no live item. nullopt: never expires.
  [[nodiscard]] Result<bool> Touch(std::string_view key,
                                   std::optional<Duration> ttl) noexcept;
  [[nodiscard]] Result<std::optional<Value>> Pop(std::string_view key) noexcept;
  template <typename T>
  [[nodiscard]] Result<std::optional<T>> Pop(std::string_view key);
  /// False if there was no live item.
  [[nodiscard]] Result<bool> Delete(std::string_view key) noexcept;
  [[nodiscard]] Result<bool> Contains(std::string_view key) noexcept;
  [[nodiscard]] Result<std::optional<ItemInfo>> Inspect(
      std::string_view key) noexcept;
  /// Sets `value` if the item still has `version` (0: if there is none).
  /// The new version, or nullopt if somebody else was first.
  [[nodiscard]] Result<std::optional<std::uint64_t>> CompareAndSet(
      std::string_view key, std::uint64_t version, std::string_view value,
      const SetOptions& options = {}) noexcept;

  // Many at once -----------------------------------------------------------
  [[nodiscard]] Result<std::vector<std::optional<Value>>> MultiGet(
      std::span<const std::string_view> keys) noexcept;
  /// All or nothing.
  [[nodiscard]] Status SetMany(std::span<const SetItem> items,
                               const SetOptions& options = {}) noexcept;
  /// How many were live. All or nothing.
  [[nodiscard]] Result<std::uint64_t> DeleteMany(
      std::span<const std::string_view> keys) noexcept;
  /// All or nothing, in the order of the batch.
  [[nodiscard]] Status Write(const WriteBatch& batch,
                             std::optional<Durability> durability = {}) noexcept;

  // Streams ----------------------------------------------------------------
  [[nodiscard]] Result<std::unique_ptr<ValueWriter>> OpenWriter(
      std::string_view key, const SetOptions& options = {},
      std::uint64_t size_expected = 0) noexcept;
  [[nodiscard]] Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept;

  // Scans ------------------------------------------------------------------
  [[nodiscard]] Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options = {}) noexcept;
  /// The smallest and the largest live key with their items.
  [[nodiscard]] Result<std::optional<ScanItem>> First() noexcept;
  [[nodiscard]] Result<std::optional<ScanItem>> Last() noexcept;

  // The whole cache --------------------------------------------------------
  [[nodiscard]] Result<std::uint64_t> Count() noexcept;
  /// Evicts every item with the tag; how many there were.
  [[nodiscard]] Result<std::uint64_t> Evict(std::string_view tag) noexcept;
  [[nodiscard]] Result<std::uint64_t> Expire(
      std::optional<TimePoint> now = {}) noexcept;
  [[nodiscard]] Result<std::uint64_t> Cull(
      std::optional<std::uint64_t> live_bytes_target = {}) noexcept;
  [[nodiscard]] Result<std::uint64_t> Clear() noexcept;
  [[nodiscard]] Result<EngineStats> Stats() noexcept;
  [[nodiscard]] Result<CheckReport> Check(bool repair = false) noexcept;
  [[nodiscard]] Settings CurrentSettings() const noexcept;
  [[nodiscard]] Status Reset(std::string_view name,
                             std::string_view value) noexcept;
  [[nodiscard]] Status Sync() noexcept;
  [[nodiscard]] const std::filesystem::path& directory() const noexcept;
  [[nodiscard]] Engine& engine() noexcept { return *engine_; }

 private:
  explicit Cache(std::unique_ptr<Engine> engine) noexcept;

  std::unique_ptr<Engine> engine_;
  std::filesystem::path temporary_directory_;
};

}  // namespace larder

#endif  // LARDER_CACHE_CACHE_H_
