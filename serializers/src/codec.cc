#include "larder/serializers/codec.h"

#include <bit>
#include <cmath>
#include <limits>

namespace larder {

std::string CodecName(std::uint8_t stored_id) {
  const std::uint8_t id = BaseCodecId(stored_id);
  std::string name;
  switch (id) {
    case kCodecIdBytes:
      name = "bytes";
      break;
    case kCodecIdInt64:
      name = "int64";
      break;
    case kCodecIdUint64:
      name = "uint64";
      break;
    case kCodecIdDouble:
      name = "double";
      break;
    case kCodecIdBool:
      name = "bool";
      break;
    case kCodecIdPortableBinary:
      name = "cereal portable binary";
      break;
    case kCodecIdJson:
      name = "cereal JSON";
      break;
    default: {
      const char* const kind = id < kCodecIdUserMin ? "unknown" : "user";
      name = std::string(kind) + " codec " + std::to_string(id);
      return IsCompressed(stored_id) ? "compressed " + name : name;
    }
  }
  name += " (codec " + std::to_string(id) + ")";
  return IsCompressed(stored_id) ? "compressed " + name : name;
}

namespace internal {

std::string EncodeFixed64(std::uint64_t value) {
  std::string bytes(sizeof(value), '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(value & 0xFF);
    value >>= 8;
  }
  return bytes;
}

Decoded<std::uint64_t> DecodeFixed64(std::string_view bytes,
                                     std::uint8_t codec) {
  if (bytes.size() != sizeof(std::uint64_t)) {
    return tl::unexpected<DecodeError>(DecodeError::Undecodable(
        CodecName(codec) + " has " + std::to_string(bytes.size()) +
        " bytes, expected 8"));
  }
  std::uint64_t value = 0;
  for (std::size_t i = sizeof(value); i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

DecodeError IntegerOutOfRange(std::string value, int bits, bool is_signed) {
  return DecodeError::TypeMismatch("stored integer " + std::move(value) +
                                   " does not fit the type asked for (" +
                                   std::to_string(bits) + "-bit " +
                                   (is_signed ? "signed)" : "unsigned)"));
}

DecodeError ByteCountMismatch(std::size_t found, std::size_t expected) {
  return DecodeError::TypeMismatch("stored value has " + std::to_string(found) +
                                   " bytes, the array asked for has " +
                                   std::to_string(expected));
}

Decoded<bool> BoolCodec::Decode(std::string_view bytes) {
  if (bytes.size() != 1 || static_cast<unsigned char>(bytes[0]) > 1) {
    return tl::unexpected<DecodeError>(DecodeError::Undecodable(
        CodecName(kId) + " is not one byte of 0 or 1, but " +
        std::to_string(bytes.size()) + " bytes"));
  }
  return bytes[0] == '\1';
}

std::string DoubleCodec::Encode(double value) {
  static_assert(std::numeric_limits<double>::is_iec559);
  return EncodeFixed64(std::bit_cast<std::uint64_t>(value));
}

Decoded<double> DoubleCodec::Decode(std::string_view bytes) {
  return DecodeFixed64(bytes, kId).map([](std::uint64_t bits) {
    return std::bit_cast<double>(bits);
  });
}

Decoded<float> FloatCodec::Decode(std::string_view bytes) {
  const Decoded<double> wide = DoubleCodec::Decode(bytes);
  if (!wide) {
    return tl::unexpected<DecodeError>(wide.error());
  }
  constexpr double kMax = std::numeric_limits<float>::max();
  const bool in_range = !std::isfinite(*wide) || std::abs(*wide) <= kMax;
  if (in_range) {
    const auto narrow = static_cast<float>(*wide);
    if (std::isnan(*wide) || static_cast<double>(narrow) == *wide) {
      return narrow;
    }
  }
  return tl::unexpected<DecodeError>(
      DecodeError::TypeMismatch("stored double " + std::to_string(*wide) +
                                " is not a float: ask for a double"));
}

DecodeError WrongCodec(std::uint8_t stored, std::uint8_t asked) {
  return DecodeError::TypeMismatch("stored as " + CodecName(stored) +
                                   ", asked for as " + CodecName(asked));
}

DecodeError CannotViewCompressed() {
  return DecodeError::TypeMismatch(
      "a compressed value cannot be read as a view: ask for a type that owns "
      "its bytes, such as std::string");
}

DecodeError DecoderThrew(std::uint8_t codec, const char* what) {
  return DecodeError::Undecodable("not the " + CodecName(codec) +
                                  " form of the type asked for (it was another "
                                  "one when this was stored): " +
                                  what);
}

EncodeError EncoderThrew(std::uint8_t codec, const char* what) {
  return {"cannot be encoded as " + CodecName(codec) + ": " + what};
}

}  // namespace internal
}  // namespace larder
