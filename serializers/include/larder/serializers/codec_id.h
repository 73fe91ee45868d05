#ifndef LARDER_SERIALIZERS_CODEC_ID_H_
#define LARDER_SERIALIZERS_CODEC_ID_H_

#include <cstdint>
#include <string>

/// The codec id: one byte that is stored with every value and says how its
/// bytes are to be read.
///
///   bit 7      1 = the bytes are a compressed frame (see compression.h), and
///              the rest of the id describes what is inside it
///   bits 0..6  the codec: 0..63 are larder's own, 64..127 are free for users
///
/// The numbers are part of the directory format and never change.

namespace larder {

/// The value is its bytes: strings, byte vectors, byte arrays.
inline constexpr std::uint8_t kCodecIdBytes = 0;
/// Eight bytes, a little-endian two's complement integer. The engine's Incr
/// reads and writes it, so it is never compressed.
inline constexpr std::uint8_t kCodecIdInt64 = 1;
/// Eight bytes, a little-endian unsigned integer.
inline constexpr std::uint8_t kCodecIdUint64 = 2;
/// Eight bytes, a little-endian IEEE 754 binary64.
inline constexpr std::uint8_t kCodecIdDouble = 3;
/// One byte, 0 or 1.
inline constexpr std::uint8_t kCodecIdBool = 4;
/// cereal's portable binary archive, byte for byte.
inline constexpr std::uint8_t kCodecIdPortableBinary = 5;
/// cereal's JSON archive: UTF-8 text.
inline constexpr std::uint8_t kCodecIdJson = 6;

/// The ids that a user's own Codec<T> may have.
inline constexpr std::uint8_t kCodecIdUserMin = 64;
inline constexpr std::uint8_t kCodecIdUserMax = 127;

/// Set in the stored id of a compressed value.
inline constexpr std::uint8_t kCodecIdCompressedFlag = 0x80;

constexpr bool IsCompressed(std::uint8_t stored_id) noexcept {
  return (stored_id & kCodecIdCompressedFlag) != 0;
}

/// The id without the compressed flag.
constexpr std::uint8_t BaseCodecId(std::uint8_t stored_id) noexcept {
  return static_cast<std::uint8_t>(stored_id & ~kCodecIdCompressedFlag);
}

/// For people: "int64 (codec 1)", "user codec 70", "unknown codec 40",
/// "compressed bytes (codec 0)".
[[nodiscard]] std::string CodecName(std::uint8_t stored_id);

}  // namespace larder

#endif  // LARDER_SERIALIZERS_CODEC_ID_H_
