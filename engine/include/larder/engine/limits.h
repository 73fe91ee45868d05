#ifndef LARDER_ENGINE_LIMITS_H_
#define LARDER_ENGINE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace larder {

/// Longest key, in bytes. Keys may be empty and hold any bytes.
inline constexpr std::size_t kKeySizeBytesMax = 64 * 1024;
/// Longest tag, in bytes.
inline constexpr std::size_t kTagSizeBytesMax = 4 * 1024;
/// Most commands of one atomic batch.
inline constexpr std::size_t kBatchCommandCountMax = 64 * 1024;
/// Most items of one scan page.
inline constexpr std::size_t kScanPageCountMax = 4096;
/// Smallest allowed `size_limit`.
inline constexpr std::uint64_t kSizeLimitBytesMin = 16ULL << 20;
/// Largest piece of a value in one log record; larger values are chains.
inline constexpr std::size_t kChunkSizeBytesMax = 1ULL << 20;
/// Largest value that Get returns in one piece; larger ones are streamed.
inline constexpr std::uint64_t kValueInMemoryBytesMax = 1ULL << 30;

}  // namespace larder

#endif  // LARDER_ENGINE_LIMITS_H_
