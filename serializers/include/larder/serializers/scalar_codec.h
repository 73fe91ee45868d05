#ifndef LARDER_SERIALIZERS_SCALAR_CODEC_H_
#define LARDER_SERIALIZERS_SCALAR_CODEC_H_

#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "larder/serializers/codec_error.h"
#include "larder/serializers/codec_id.h"

namespace larder::internal {

/// `value` as eight bytes, little-endian.
[[nodiscard]] std::string EncodeFixed64(std::uint64_t value);
/// The integer in `bytes`. Errors: kUndecodable (not eight bytes).
[[nodiscard]] Decoded<std::uint64_t> DecodeFixed64(std::string_view bytes,
                                                   std::uint8_t codec);
[[nodiscard]] DecodeError IntegerOutOfRange(std::string value, int bits,
                                            bool is_signed);

template <typename T>
concept PlainInteger = std::integral<T> && !std::same_as<T, bool>;

/// Integers are read by value: any that was stored can be asked for as any
/// type that can hold it. Those that an int64 can always hold are stored as
/// one, so that Incr works on them; only 64-bit unsigned ones have a codec of
/// their own.
template <PlainInteger T>
struct IntegerCodec {
  static constexpr std::uint8_t kId =
      std::is_unsigned_v<T> && sizeof(T) == sizeof(std::uint64_t)
          ? kCodecIdUint64
          : kCodecIdInt64;
  static constexpr bool Accepts(std::uint8_t id) noexcept {
    return id == kCodecIdInt64 || id == kCodecIdUint64;
  }
  static std::string Encode(T value) {
    return EncodeFixed64(static_cast<std::uint64_t>(value));
  }
  static Decoded<T> Decode(std::string_view bytes, std::uint8_t id) {
    const Decoded<std::uint64_t> raw = DecodeFixed64(bytes, id);
    if (!raw) {
      return tl::unexpected<DecodeError>(raw.error());
    }
    return id == kCodecIdUint64 ? Narrow(*raw)
                                : Narrow(static_cast<std::int64_t>(*raw));
  }

 private:
  static Decoded<T> Narrow(auto value) {
    // Compared as a type that std::in_range takes; `char` and its kin are not.
    using Number =
        std::conditional_t<std::is_signed_v<T>, std::make_signed_t<T>,
                           std::make_unsigned_t<T>>;
    if (!std::in_range<Number>(value)) {
      return tl::unexpected<DecodeError>(IntegerOutOfRange(
          std::to_string(value), 8 * int{sizeof(T)}, std::is_signed_v<T>));
    }
    return static_cast<T>(value);
  }
};

/// An enumerator is stored as its integer.
template <typename T>
requires std::is_enum_v<T>
struct EnumCodec {
  using Integer = IntegerCodec<std::underlying_type_t<T>>;
  static constexpr std::uint8_t kId = Integer::kId;
  static constexpr bool Accepts(std::uint8_t id) noexcept {
    return Integer::Accepts(id);
  }
  static std::string Encode(T value) {
    return Integer::Encode(static_cast<std::underlying_type_t<T>>(value));
  }
  static Decoded<T> Decode(std::string_view bytes, std::uint8_t id) {
    return Integer::Decode(bytes, id).map(
        [](auto integer) { return static_cast<T>(integer); });
  }
};

struct BoolCodec {
  static constexpr std::uint8_t kId = kCodecIdBool;
  static std::string Encode(bool value) {
    return std::string(1, value ? '\1' : '\0');
  }
  static Decoded<bool> Decode(std::string_view bytes);
};

struct DoubleCodec {
  static constexpr std::uint8_t kId = kCodecIdDouble;
  static std::string Encode(double value);
  static Decoded<double> Decode(std::string_view bytes);
};

/// A float is stored as the double of the same value, and read back only if
/// it still is one.
struct FloatCodec {
  static constexpr std::uint8_t kId = kCodecIdDouble;
  static std::string Encode(float value) {
    return DoubleCodec::Encode(static_cast<double>(value));
  }
  static Decoded<float> Decode(std::string_view bytes);
};

}  // namespace larder::internal

#endif  // LARDER_SERIALIZERS_SCALAR_CODEC_H_
