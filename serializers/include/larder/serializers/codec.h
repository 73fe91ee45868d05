#ifndef LARDER_SERIALIZERS_CODEC_H_
#define LARDER_SERIALIZERS_CODEC_H_

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "larder/serializers/bytes_codec.h"
#include "larder/serializers/cereal_codec.h"
#include "larder/serializers/codec_error.h"
#include "larder/serializers/codec_id.h"
#include "larder/serializers/compression.h"
#include "larder/serializers/encoded.h"
#include "larder/serializers/scalar_codec.h"

/// Values to bytes and back.
///
/// | C++ type                                       | codec             |
/// | ---------------------------------------------- | ----------------- |
/// | std::string, std::string_view, literals;       | bytes, no copy    |
/// |   vector, array, span of char/uchar/std::byte  |                   |
/// | signed integers; unsigned up to 32 bits; enums | int64 (for Incr)  |
/// | 64-bit unsigned integers                       | uint64            |
/// | double, float                                  | double            |
/// | bool                                           | bool              |
/// | Json<T>, JsonView<T> (json.h)                  | JSON              |
/// | all else that cereal can save and load         | portable binary   |
/// | whatever has a Codec<T> of its own             | 64..127           |
///
/// The codec id is stored with the value. Reading with a type of another codec
/// is a kTypeMismatch; integers of any width may be asked for as any other
/// type that can hold the number.
///
/// A codec of one's own:
///
///   template <>
///   struct larder::Codec<Point> {
///     static constexpr std::uint8_t kId = 70;  // 64..127, never reuse one.
///     // std::string, std::string_view into `value` (no copy), or Encoded.
///     static std::string Encode(const Point& value);
///     static larder::Decoded<Point> Decode(std::string_view bytes);
///   };
///
/// To keep values of a type as JSON always, derive Codec<T> from JsonCodec<T>
/// of json.h.

namespace larder {

/// How a T becomes bytes. Specialize it for a type of your own.
template <typename T>
struct Codec : internal::PortableBinaryCodec<T> {};

template <>
struct Codec<std::string> : internal::StringCodec {};
template <>
struct Codec<std::string_view> : internal::StringViewCodec {};
template <internal::ByteLike Byte, typename Allocator>
struct Codec<std::vector<Byte, Allocator>>
    : internal::ByteVectorCodec<Byte, Allocator> {};
template <internal::ByteLike Byte, std::size_t kSize>
struct Codec<std::array<Byte, kSize>> : internal::ByteArrayCodec<Byte, kSize> {
};
template <typename Byte>
requires internal::ByteLike<std::remove_const_t<Byte>>
struct Codec<std::span<Byte>> : internal::ByteSpanCodec<Byte> {
};
template <internal::PlainInteger T>
struct Codec<T> : internal::IntegerCodec<T> {};
template <typename T>
requires std::is_enum_v<T>
struct Codec<T> : internal::EnumCodec<T> {
};
template <>
struct Codec<bool> : internal::BoolCodec {};
template <>
struct Codec<double> : internal::DoubleCodec {};
template <>
struct Codec<float> : internal::FloatCodec {};

namespace internal {

/// The type whose codec encodes a T: literals and char arrays are strings.
template <typename T>
using EncodedAs =
    std::conditional_t<std::convertible_to<const T&, std::string_view> &&
                           std::is_base_of_v<PortableBinaryCodec<T>, Codec<T>>,
                       std::string_view, T>;

template <typename T>
concept TakesId = requires(std::string_view bytes) {
  Codec<T>::Decode(bytes, std::uint8_t{0});
};

template <typename T>
concept DecodesToView = requires {
  requires Codec<T>::kDecodesToView;
};

/// A codec of one's own may write the form of one of larder's and take its id;
/// otherwise it has an id for users.
template <typename T>
constexpr bool HasValidId() {
  return Codec<T>::kId <= kCodecIdJson ||
         (Codec<T>::kId >= kCodecIdUserMin && Codec<T>::kId <= kCodecIdUserMax);
}

}  // namespace internal

/// T can be stored.
template <typename T>
concept Serializable =
    requires(const internal::EncodedAs<std::remove_cvref_t<T>>& value) {
  Codec<internal::EncodedAs<std::remove_cvref_t<T>>>::Encode(value);
};

/// T can be read, from bytes that must outlive it only if it is a view.
template <typename T>
concept Deserializable = requires(std::string_view bytes) {
  Codec<T>::Decode(bytes);
}
|| internal::TakesId<T>;

/// T can be read and owns what it holds; what Get<T> asks for.
template <typename T>
concept OwningDeserializable = Deserializable<T> && !internal::DecodesToView<T>;

/// The id that values of type T are stored with.
template <typename T>
inline constexpr std::uint8_t kCodecIdOf =
    Codec<internal::EncodedAs<std::remove_cvref_t<T>>>::kId;

/// True if a T can be read from values with the (uncompressed) id.
template <typename T>
constexpr bool AcceptsCodecId(std::uint8_t id) noexcept {
  if constexpr (requires { Codec<T>::Accepts(id); }) {
    return Codec<T>::Accepts(id);
  } else {
    return id == Codec<T>::kId;
  }
}

namespace internal {

[[nodiscard]] DecodeError WrongCodec(std::uint8_t stored, std::uint8_t asked);
[[nodiscard]] DecodeError CannotViewCompressed();
[[nodiscard]] DecodeError DecoderThrew(std::uint8_t codec, const char* what);
[[nodiscard]] EncodeError EncoderThrew(std::uint8_t codec, const char* what);

/// The adapters for what cereal and user codecs throw. Memory that runs out is
/// nobody's corruption: it ends the process, as everywhere in larder.
template <typename T, typename Fn>
Decoded<T> CatchDecodeErrors(std::uint8_t codec, Fn&& fn) noexcept {
  try {
    return std::forward<Fn>(fn)();
  } catch (const std::bad_alloc&) {
    std::terminate();
  } catch (const std::exception& e) {
    return tl::unexpected<DecodeError>(DecoderThrew(codec, e.what()));
  } catch (...) {  // A user's codec may throw anything.
    return tl::unexpected<DecodeError>(DecoderThrew(codec, "unknown"));
  }
}
template <typename Fn>
tl::expected<Encoded, EncodeError> CatchEncodeErrors(std::uint8_t codec,
                                                     Fn&& fn) noexcept {
  try {
    return std::forward<Fn>(fn)();
  } catch (const std::bad_alloc&) {
    std::terminate();
  } catch (const std::exception& e) {
    return tl::unexpected<EncodeError>(EncoderThrew(codec, e.what()));
  } catch (...) {  // A user's codec may throw anything.
    return tl::unexpected<EncodeError>(EncoderThrew(codec, "unknown"));
  }
}

inline Encoded ToEncoded(std::string bytes) {
  return Encoded::Own(std::move(bytes));
}
inline Encoded ToEncoded(std::string_view bytes) {
  return Encoded::View(bytes);
}
inline Encoded ToEncoded(Encoded encoded) { return encoded; }

template <typename T>
Decoded<T> DecodeUncompressed(std::string_view bytes,
                              std::uint8_t id) noexcept {
  return CatchDecodeErrors<T>(id, [&]() -> Decoded<T> {
    if constexpr (TakesId<T>) {
      return Codec<T>::Decode(bytes, id);
    } else {
      return Codec<T>::Decode(bytes);
    }
  });
}

}  // namespace internal

/// The bytes of `value`, to be stored with id kCodecIdOf<T>. Bytes and strings
/// are not copied: the result then points into `value`.
/// Errors: EncodeError (see there).
template <typename T>
[[nodiscard]] tl::expected<Encoded, EncodeError> Encode(
    const T& value) noexcept {
  using Stored = internal::EncodedAs<std::remove_cv_t<T>>;
  static_assert(
      Serializable<T>,
      "larder cannot store this type. Give it a member `template <class "
      "Archive> void serialize(Archive& archive) { archive(a, b); }` (for "
      "standard types include <cereal/types/...>), or specialize "
      "larder::Codec for it, or store its bytes as a std::string.");
  if constexpr (Serializable<T>) {
    static_assert(internal::HasValidId<Stored>(),
                  "larder: Codec<T>::kId must be 64..127.");
    return internal::CatchEncodeErrors(kCodecIdOf<T>, [&] {
      return internal::ToEncoded(Codec<Stored>::Encode(value));
    });
  } else {
    return tl::unexpected<EncodeError>(EncodeError{});
  }
}

/// The T in `bytes`, which were stored with id `stored_id`. A compressed value
/// is decompressed first, up to kDecompressedSizeBytesMax. A T that is a view
/// points into `bytes`.
/// Errors: kTypeMismatch, kUndecodable, kCorruption (does not decompress).
template <typename T>
[[nodiscard]] Decoded<T> Decode(std::string_view bytes,
                                std::uint8_t stored_id) noexcept {
  static_assert(
      Deserializable<T>,
      "larder cannot read this type. It must be default-constructible and "
      "have a member `template <class Archive> void serialize(Archive& "
      "archive) { archive(a, b); }` (for standard types include "
      "<cereal/types/...>), or specialize larder::Codec for it, or read a "
      "std::string.");
  if constexpr (Deserializable<T>) {
    static_assert(internal::HasValidId<T>(),
                  "larder: Codec<T>::kId must be 64..127.");
    const std::uint8_t id = BaseCodecId(stored_id);
    if (!AcceptsCodecId<T>(id)) {
      return tl::unexpected<DecodeError>(
          internal::WrongCodec(stored_id, Codec<T>::kId));
    }
    if (!IsCompressed(stored_id)) {
      return internal::DecodeUncompressed<T>(bytes, id);
    }
    if constexpr (internal::DecodesToView<T>) {
      return tl::unexpected<DecodeError>(internal::CannotViewCompressed());
    } else {
      const Decoded<std::string> plain = Decompress(bytes);
      if (!plain) {
        return tl::unexpected<DecodeError>(plain.error());
      }
      return internal::DecodeUncompressed<T>(*plain, id);
    }
  } else {
    return tl::unexpected<DecodeError>(DecodeError{});
  }
}

}  // namespace larder

#endif  // LARDER_SERIALIZERS_CODEC_H_
