#ifndef LARDER_SERIALIZERS_COMPRESSION_H_
#define LARDER_SERIALIZERS_COMPRESSION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "larder/serializers/codec_error.h"

/// Compressed values. A frame is
///
///   u8       algorithm: 1 = LZ4 block, 2 = Zstandard frame
///   varint   size of the original, LEB128, at most ten bytes
///   bytes    the compressed data, to the end
///
/// and is stored under the id of its contents with kCodecIdCompressedFlag set.

namespace larder {

/// The numbers are part of the directory format.
enum class Compression : std::uint8_t { kNone = 0, kLz4 = 1, kZstd = 2 };

/// Most bytes that Decompress gives by default, and that Compress takes.
inline constexpr std::uint64_t kDecompressedSizeBytesMax = 1ULL << 30;

/// `bytes` as a frame, or nullopt when they are better stored as they are: the
/// frame would not be smaller, `compression` is kNone, or there are more than
/// kDecompressedSizeBytesMax.
///
/// Threads: thread-safe; keeps one Zstandard context per thread.
[[nodiscard]] std::optional<std::string> Compress(
    Compression compression, std::string_view bytes) noexcept;

/// The original of `frame`. Allocates no more than the frame says, and not
/// even that if it says more than `size_bytes_max` or more than the frame's
/// algorithm could have packed into it.
/// Errors: kCorruption (frame damaged, or larger than `size_bytes_max`).
///
/// Threads: thread-safe.
[[nodiscard]] Decoded<std::string> Decompress(
    std::string_view frame,
    std::uint64_t size_bytes_max = kDecompressedSizeBytesMax) noexcept;

}  // namespace larder

#endif  // LARDER_SERIALIZERS_COMPRESSION_H_
