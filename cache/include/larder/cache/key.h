#ifndef LARDER_CACHE_KEY_H_
#define LARDER_CACHE_KEY_H_

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "larder/engine/limits.h"
#include "larder/engine/status.h"

/// Keys of the cache are byte strings. A typed key is the byte string of an
/// integer, a double, a string or a tuple of such, made so that byte order is
/// value order: scans then visit typed keys by value, and the keys below
/// ("user", 42) are one range. docs/format.md states every byte.
///
/// Order: integers by value; doubles by value (-0.0 is stored as 0.0, and
/// infinities are the ends); strings byte by byte; tuples element by element,
/// a shorter one before its extensions. Values of different types are ordered
/// integer < double < string < tuple, so 1 and 1.0 are different keys.

namespace larder {

struct KeyPart;
using KeyTuple = std::vector<KeyPart>;

/// A decoded key, or an element of one.
struct KeyPart {
  std::variant<std::int64_t, double, std::string, KeyTuple> value;
  friend bool operator==(const KeyPart&, const KeyPart&) = default;
};

/// How deep tuples may nest in tuples.
inline constexpr int kKeyNestingDepthMax = 32;

namespace internal {

/// Writes the bytes of a typed key.
class KeyEncoder {
 public:
  void AppendInteger(std::int64_t value);
  void AppendDouble(double value);
  void AppendString(std::string_view value);
  void BeginTuple();
  void EndTuple();
  void AppendPart(const KeyPart& part);
  /// An integer that no key can hold.
  void FailOutOfRange(std::uint64_t value);

  /// The bytes, or the first failure.
  [[nodiscard]] Result<std::string> Finish() &&;

 private:
  void Fail(Status status);

  std::string bytes_;
  Status status_;
  int depth_ = 0;
};

template <typename T>
inline constexpr bool kIsTuple = false;
template <typename... Ts>
inline constexpr bool kIsTuple<std::tuple<Ts...>> = true;
template <typename A, typename B>
inline constexpr bool kIsTuple<std::pair<A, B>> = true;

/// What a key can be made of.
template <typename T>
concept KeyElement =
    (std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>) ||
    std::floating_point<T> || std::convertible_to<const T&, std::string_view> ||
    std::same_as<T, KeyPart> || std::same_as<T, KeyTuple> || kIsTuple<T>;

template <KeyElement T>
void AppendElement(KeyEncoder* encoder, const T& element) {
  if constexpr (std::integral<T>) {
    if (std::in_range<std::int64_t>(element)) {
      encoder->AppendInteger(static_cast<std::int64_t>(element));
    } else {
      encoder->FailOutOfRange(static_cast<std::uint64_t>(element));
    }
  } else if constexpr (std::floating_point<T>) {
    static_assert(sizeof(T) <= sizeof(double), "larder: use a double.");
    encoder->AppendDouble(static_cast<double>(element));
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    encoder->AppendString(element);
  } else if constexpr (std::same_as<T, KeyPart>) {
    encoder->AppendPart(element);
  } else if constexpr (std::same_as<T, KeyTuple>) {
    encoder->AppendPart(KeyPart{element});
  } else {
    encoder->BeginTuple();
    std::apply(
        [encoder](const auto&... elements) {
          (AppendElement(encoder, elements), ...);
        },
        element);
    encoder->EndTuple();
  }
}

[[nodiscard]] Status KeyTypeMismatch(const KeyPart& found,
                                     std::string_view expected);

}  // namespace internal

/// The bytes of a typed key. It converts to what the cache's calls take.
///
/// Threads: thread-compatible.
class Key {
 public:
  /// The key of an integer, a double, a string (std::string, std::string_view,
  /// a literal), a std::tuple or std::pair of these, or a KeyPart. A tuple of
  /// one element is another key than the element.
  /// Errors: kInvalidArgument (NaN; an unsigned integer over int64; nested
  ///         more than kKeyNestingDepthMax deep), kKeyTooLarge (over
  ///         kKeySizeBytesMax when encoded).
  template <internal::KeyElement T>
  [[nodiscard]] static Result<Key> From(const T& value) noexcept {
    internal::KeyEncoder encoder;
    internal::AppendElement(&encoder, value);
    return Finish(std::move(encoder));
  }
  /// The key of the tuple of two or more elements.
  template <internal::KeyElement A, internal::KeyElement B,
            internal::KeyElement... Rest>
  [[nodiscard]] static Result<Key> From(const A& a, const B& b,
                                        const Rest&... rest) noexcept {
    return From(std::tuple<const A&, const B&, const Rest&...>(a, b, rest...));
  }

  /// What the keys of all tuples that begin with these elements begin with,
  /// and no other typed key: for ScanOptions::prefix. Errors: as From.
  template <internal::KeyElement... Ts>
  [[nodiscard]] static Result<std::string> TuplePrefix(
      const Ts&... elements) noexcept {
    Result<Key> key = From(std::tuple<const Ts&...>(elements...));
    if (!key) {
      return Fail(key.error());
    }
    key->bytes_.pop_back();  // The end of the tuple.
    return std::move(key->bytes_);
  }

  /// The value that `bytes` are the typed key of. Only what From writes is
  /// accepted, so there is one key for each value.
  /// Errors: kParseError (says at which byte what was expected).
  [[nodiscard]] static Result<KeyPart> Decode(std::string_view bytes) noexcept;

  /// The same as a std::int64_t, double, std::string or a std::tuple of these.
  /// Errors: kParseError; kTypeMismatch (another type of key).
  template <typename T>
  [[nodiscard]] static Result<T> DecodeAs(std::string_view bytes) noexcept {
    Result<KeyPart> part = Decode(bytes);
    if (!part) {
      return Fail(part.error());
    }
    return PartAs<T>(*part);
  }

  [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }
  // Implicit, so that a key can be given to every call that takes bytes.
  operator std::string_view() const noexcept {  // NOLINT(*-explicit-*)
    return bytes_;
  }
  friend auto operator<=>(const Key&, const Key&) = default;

 private:
  explicit Key(std::string bytes) noexcept : bytes_(std::move(bytes)) {}

  static Result<Key> Finish(internal::KeyEncoder encoder) noexcept;
  template <typename T>
  static Result<T> PartAs(const KeyPart& part) noexcept;
  template <typename Tuple, std::size_t... kIndexes>
  static Result<Tuple> TupleFrom(
      const KeyTuple& parts, std::index_sequence<kIndexes...> indexes) noexcept;

  std::string bytes_;
};

template <typename T>
Result<T> Key::PartAs(const KeyPart& part) noexcept {
  if constexpr (internal::kIsTuple<T>) {
    constexpr std::size_t kCount = std::tuple_size_v<T>;
    const auto* const parts = std::get_if<KeyTuple>(&part.value);
    if (parts == nullptr || parts->size() != kCount) {
      return Fail(internal::KeyTypeMismatch(
          part, "a tuple of " + std::to_string(kCount)));
    }
    return TupleFrom<T>(*parts, std::make_index_sequence<kCount>());
  } else {
    static_assert(std::same_as<T, std::int64_t> || std::same_as<T, double> ||
                      std::same_as<T, std::string>,
                  "larder: a key decodes as std::int64_t, double, std::string "
                  "or a std::tuple of these.");
    const T* const value = std::get_if<T>(&part.value);
    if (value == nullptr) {
      return Fail(internal::KeyTypeMismatch(
          part, std::same_as<T, double>         ? "a double"
                : std::same_as<T, std::int64_t> ? "an integer"
                                                : "a string"));
    }
    return *value;
  }
}

template <typename Tuple, std::size_t... kIndexes>
Result<Tuple> Key::TupleFrom(
    [[maybe_unused]] const KeyTuple& parts,
    std::index_sequence<kIndexes...> /*indexes*/) noexcept {
  Tuple tuple;
  Status status;
  // Stops at the first element of another type.
  static_cast<void>(([&] {
    auto element =
        PartAs<std::tuple_element_t<kIndexes, Tuple>>(parts[kIndexes]);
    if (!element) {
      status = element.error();
      return false;
    }
    std::get<kIndexes>(tuple) = *std::move(element);
    return true;
  }() && ...));
  if (!status.ok()) {
    return Fail(std::move(status));
  }
  return tuple;
}

}  // namespace larder

#endif  // LARDER_CACHE_KEY_H_
