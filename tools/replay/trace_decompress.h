#ifndef LARDER_TOOLS_REPLAY_TRACE_DECOMPRESS_H_
#define LARDER_TOOLS_REPLAY_TRACE_DECOMPRESS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "trace_source.h"

namespace larder::replay {

/// Bytes that tell every kind of compression.
inline constexpr std::size_t kCompressionMagicSizeBytes = 6;
/// Most memory that a decompressor may ask for; what needs more (`xz` with a
/// dictionary above 255 MiB, `zstd --long=28` and up) is refused.
inline constexpr std::uint64_t kDecompressorMemoryBytesMax = 256ULL << 20;

/// How a file that begins with `head` is compressed. Certain: all of them start
/// with a magic number.
[[nodiscard]] Compression CompressionOf(std::string_view head) noexcept;

/// The bytes that `source` has in compressed form: one frame, member or stream,
/// or several, one after another. Each one's checksum is verified where it
/// ends, so that wrong bytes may come before the error. REQUIRES: `compression`
/// is not kNone. `path` is for messages. Errors of Read: see ByteSource.
/// Errors: kInternal (no memory).
[[nodiscard]] Result<std::unique_ptr<ByteSource>> Decompress(
    Compression compression, std::unique_ptr<ByteSource> source,
    const std::string& path);

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_DECOMPRESS_H_
