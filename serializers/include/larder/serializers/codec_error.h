#ifndef LARDER_SERIALIZERS_CODEC_ERROR_H_
#define LARDER_SERIALIZERS_CODEC_ERROR_H_

#include <cstdint>
#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace larder {

/// Why stored bytes did not become a value.
struct DecodeError {
  enum class Kind : std::uint8_t {
    /// Stored as something else than what was asked for, or a number that the
    /// type asked for cannot hold. The stored value is sound.
    kTypeMismatch = 0,
    /// A compressed value does not decompress.
    kCorruption = 1,
    /// The bytes are not what the codec of the type asked for writes: most
    /// often it was another type when it wrote them.
    kUndecodable = 2,
  };
  Kind kind = Kind::kCorruption;
  /// One line: what was found, what was expected.
  std::string message;

  static DecodeError TypeMismatch(std::string message) noexcept {
    return {Kind::kTypeMismatch, std::move(message)};
  }
  static DecodeError Undecodable(std::string message) noexcept {
    return {Kind::kUndecodable, std::move(message)};
  }
  static DecodeError Corruption(std::string message) noexcept {
    return {Kind::kCorruption, std::move(message)};
  }
};

/// Why a value did not become bytes: its own save function threw, or reading
/// it back would be refused (nested too deeply).
struct EncodeError {
  std::string message;
};

/// A decoded T, or why there is none.
template <typename T>
using Decoded = tl::expected<T, DecodeError>;

}  // namespace larder

#endif  // LARDER_SERIALIZERS_CODEC_ERROR_H_
