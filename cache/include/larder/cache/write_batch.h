#ifndef LARDER_CACHE_WRITE_BATCH_H_
#define LARDER_CACHE_WRITE_BATCH_H_

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "larder/cache/item.h"
#include "larder/engine/status.h"
#include "larder/serializers/codec.h"

namespace larder {

namespace internal {

/// What the overloads for bytes do not take.
template <typename T>
concept TypedValue = !std::convertible_to<const T&, std::string_view>;

/// The status of a value that could not be encoded.
[[nodiscard]] Status StatusOf(const EncodeError& error) noexcept;
/// kTypeMismatch, kUndecodable or kCorruption.
[[nodiscard]] Status StatusOf(const DecodeError& error) noexcept;

}  // namespace internal

/// Changes that Cache::Write makes together or not at all, in this order; each
/// sees the ones before it. At most kBatchCommandCountMax of them.
///
/// Threads:  thread-compatible.
/// Lifetime: owns copies of all that it is given; may be written many times,
///           to any cache.
/// Errors:   what is wrong with a key or value is said by Cache::Write.
/// Cost:     one copy of keys, values and tags, into blocks of 64 KiB.
class WriteBatch {
 public:
  WriteBatch() noexcept;
  ~WriteBatch();
  WriteBatch(WriteBatch&& other) noexcept;
  WriteBatch& operator=(WriteBatch&& other) noexcept;

  /// As Cache::Set; `options.durability` is ignored (Cache::Write has its own).
  void Set(std::string_view key, std::string_view value,
           const SetOptions& options = {});
  /// Errors: kInvalidArgument (the value's own save function failed).
  template <internal::TypedValue T>
  [[nodiscard]] Status Set(std::string_view key, const T& value,
                           const SetOptions& options = {});
  void Delete(std::string_view key);
  void Incr(std::string_view key, std::int64_t delta = 1,
            std::int64_t initial = 0);
  void Touch(std::string_view key, std::optional<Duration> ttl);

  /// How many changes there are.
  [[nodiscard]] std::size_t size() const noexcept;
  void Clear() noexcept;

 private:
  friend class Cache;
  struct Impl;
  void SetEncoded(std::string_view key, std::string_view bytes, CodecId codec,
                  const SetOptions& options);
  Impl& impl();

  std::unique_ptr<Impl> impl_;  ///< Null = empty.
};

template <internal::TypedValue T>
Status WriteBatch::Set(std::string_view key, const T& value,
                       const SetOptions& options) {
  const auto encoded = Encode(value);
  if (!encoded) return internal::StatusOf(encoded.error());
  SetEncoded(key, encoded->bytes(), kCodecIdOf<T>, options);
  return {};
}

}  // namespace larder

#endif  // LARDER_CACHE_WRITE_BATCH_H_
