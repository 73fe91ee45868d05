#ifndef LARDER_SERIALIZERS_BYTES_CODEC_H_
#define LARDER_SERIALIZERS_BYTES_CODEC_H_

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "larder/serializers/codec_error.h"
#include "larder/serializers/codec_id.h"

namespace larder::internal {

template <typename T>
concept ByteLike = std::same_as<T, char> || std::same_as<T, unsigned char> ||
    std::same_as<T, std::byte>;

template <ByteLike Byte>
std::string_view ViewOfBytes(const Byte* data, std::size_t size) noexcept {
  // Any object may be read as char.
  return {reinterpret_cast<const char*>(data), size};
}

[[nodiscard]] DecodeError ByteCountMismatch(std::size_t found,
                                            std::size_t expected);

/// Values that are their bytes. Encoding never copies.
struct StringCodec {
  static constexpr std::uint8_t kId = kCodecIdBytes;
  static std::string_view Encode(std::string_view value) noexcept {
    return value;
  }
  static Decoded<std::string> Decode(std::string_view bytes) {
    return std::string(bytes);
  }
};

/// Decodes to a view of the stored bytes.
struct StringViewCodec {
  static constexpr std::uint8_t kId = kCodecIdBytes;
  static constexpr bool kDecodesToView = true;
  static std::string_view Encode(std::string_view value) noexcept {
    return value;
  }
  static Decoded<std::string_view> Decode(std::string_view bytes) noexcept {
    return bytes;
  }
};

template <ByteLike Byte, typename Allocator>
struct ByteVectorCodec {
  using Vector = std::vector<Byte, Allocator>;
  static constexpr std::uint8_t kId = kCodecIdBytes;
  static std::string_view Encode(const Vector& value) noexcept {
    return ViewOfBytes(value.data(), value.size());
  }
  static Decoded<Vector> Decode(std::string_view bytes) {
    Vector value(bytes.size());
    if (!bytes.empty()) {
      std::memcpy(value.data(), bytes.data(), bytes.size());
    }
    return value;
  }
};

template <ByteLike Byte, std::size_t kSize>
struct ByteArrayCodec {
  using Array = std::array<Byte, kSize>;
  static constexpr std::uint8_t kId = kCodecIdBytes;
  static std::string_view Encode(const Array& value) noexcept {
    return ViewOfBytes(value.data(), kSize);
  }
  static Decoded<Array> Decode(std::string_view bytes) {
    if (bytes.size() != kSize) {
      return tl::unexpected<DecodeError>(
          ByteCountMismatch(bytes.size(), kSize));
    }
    Array value{};
    if constexpr (kSize > 0) {
      std::memcpy(value.data(), bytes.data(), kSize);
    }
    return value;
  }
};

/// A span of const bytes decodes to a view of the stored bytes; a span of
/// mutable ones can only be encoded.
template <typename Byte>
requires ByteLike<std::remove_const_t<Byte>>
struct ByteSpanCodec {
  using Span = std::span<Byte>;
  static constexpr std::uint8_t kId = kCodecIdBytes;
  static constexpr bool kDecodesToView = true;
  static std::string_view Encode(Span value) noexcept {
    return ViewOfBytes(value.data(), value.size());
  }
  static Decoded<Span> Decode(
      std::string_view bytes) noexcept requires std::is_const_v<Byte> {
    return Span(reinterpret_cast<Byte*>(bytes.data()), bytes.size());
  }
};

}  // namespace larder::internal

#endif  // LARDER_SERIALIZERS_BYTES_CODEC_H_
