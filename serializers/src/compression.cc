#include "larder/serializers/compression.h"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include <lz4.h>
#include <zstd.h>

/// One frame per value. LZ4 blocks do not record the original size, so the
/// frame does, for both algorithms: the size is then known, and checked, before
/// anything is allocated.
///
/// A frame that promises more than its algorithm can pack into that many bytes
/// is damaged, whatever the caller's limit:
///   LZ4   one input byte gives at most 255 output bytes
///   Zstd  a block takes at least 4 bytes and gives at most 128 KiB

namespace larder {
namespace {

// Level 1: a cache compresses on the write path; higher levels gain a few
// percent of size for a multiple of the time.
constexpr int kZstdLevel = 1;
constexpr std::size_t kVarintSizeBytesMax = 10;
constexpr std::uint64_t kLz4ExpansionMax = 255;
constexpr std::uint64_t kZstdBlockSizeBytesMax = 128 * 1024;
constexpr std::uint64_t kZstdBlockStoredBytesMin = 4;

// A context is 100s of KiB and costs more to make than a small value costs to
// compress. Each thread has its own. The pointers have no destructors, as what
// ends with a thread, or in the main thread with the process, may compress
// after the contexts went: they are made again then.
constinit thread_local ZSTD_CCtx* compressor = nullptr;
constinit thread_local ZSTD_DCtx* decompressor = nullptr;

void FreeContextsWithThread() {
  struct Freer {
    ~Freer() {
      ZSTD_freeCCtx(std::exchange(compressor, nullptr));
      ZSTD_freeDCtx(std::exchange(decompressor, nullptr));
    }
  };
  thread_local const Freer freer;
  static_cast<void>(freer);
}

ZSTD_CCtx* ThreadCompressor() {
  if (compressor == nullptr) {
    FreeContextsWithThread();
    compressor = ZSTD_createCCtx();
  }
  return compressor;
}
ZSTD_DCtx* ThreadDecompressor() {
  if (decompressor == nullptr) {
    FreeContextsWithThread();
    decompressor = ZSTD_createDCtx();
  }
  return decompressor;
}

void AppendVarint(std::string* out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) {
    out->push_back(static_cast<char>(value | 0x80));
  }
  out->push_back(static_cast<char>(value));
}

// The number at the head of `bytes`, which moves past it.
std::optional<std::uint64_t> TakeVarint(std::string_view* bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kVarintSizeBytesMax && i < bytes->size(); ++i) {
    const auto byte = static_cast<unsigned char>((*bytes)[i]);
    if (i == kVarintSizeBytesMax - 1 && byte > 1) {
      return std::nullopt;  // Over 64 bits.
    }
    value |= std::uint64_t{byte & 0x7FU} << (7 * i);
    if ((byte & 0x80U) == 0) {
      bytes->remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

// Compressed size, or 0 if it is over `capacity` or the compressor failed.
std::size_t CompressInto(Compression compression, std::string_view bytes,
                         char* out, std::size_t capacity) {
  if (compression == Compression::kLz4) {
    const int size =
        LZ4_compress_default(bytes.data(), out, static_cast<int>(bytes.size()),
                             static_cast<int>(capacity));
    return size > 0 ? static_cast<std::size_t>(size) : 0;
  }
  const std::size_t size =
      ZSTD_compressCCtx(ThreadCompressor(), out, capacity, bytes.data(),
                        bytes.size(), kZstdLevel);
  return ZSTD_isError(size) != 0 ? 0 : size;
}

// True if exactly `size` bytes came out.
bool DecompressInto(Compression compression, std::string_view data, char* out,
                    std::uint64_t size) {
  if (compression == Compression::kLz4) {
    return std::cmp_equal(
        LZ4_decompress_safe(data.data(), out, static_cast<int>(data.size()),
                            static_cast<int>(size)),
        size);
  }
  const std::size_t found = ZSTD_decompressDCtx(ThreadDecompressor(), out, size,
                                                data.data(), data.size());
  return ZSTD_isError(found) == 0 && found == size;
}

// Most bytes that `stored` bytes of this algorithm can stand for.
std::uint64_t ExpansionBound(Compression compression, std::uint64_t stored) {
  return compression == Compression::kLz4
             ? stored * kLz4ExpansionMax
             : stored / kZstdBlockStoredBytesMin * kZstdBlockSizeBytesMax;
}

tl::unexpected<DecodeError> Damaged(std::string what) {
  return tl::unexpected<DecodeError>(
      DecodeError::Corruption("compressed value: " + std::move(what)));
}

}  // namespace

std::optional<std::string> Compress(Compression compression,
                                    std::string_view bytes) noexcept {
  if (compression == Compression::kNone || bytes.empty() ||
      bytes.size() > kDecompressedSizeBytesMax) {
    return std::nullopt;
  }
  std::string frame(1, static_cast<char>(compression));
  AppendVarint(&frame, bytes.size());
  const std::size_t header_size = frame.size();
  if (bytes.size() <= header_size + 1) {
    return std::nullopt;
  }
  // No room for a frame that is not smaller.
  frame.resize(bytes.size() - 1);
  const std::size_t size =
      CompressInto(compression, bytes, frame.data() + header_size,
                   frame.size() - header_size);
  if (size == 0) {
    return std::nullopt;
  }
  frame.resize(header_size + size);
  return frame;
}

Decoded<std::string> Decompress(std::string_view frame,
                                std::uint64_t size_bytes_max) noexcept {
  if (frame.empty()) {
    return Damaged("no bytes");
  }
  const auto compression = static_cast<Compression>(frame.front());
  if (compression != Compression::kLz4 && compression != Compression::kZstd) {
    return Damaged("unknown algorithm " +
                   std::to_string(static_cast<int>(compression)));
  }
  std::string_view data = frame.substr(1);
  const std::optional<std::uint64_t> size = TakeVarint(&data);
  if (!size) {
    return Damaged("malformed size");
  }
  if (*size > size_bytes_max || *size > kDecompressedSizeBytesMax) {
    return Damaged(
        "says it holds " + std::to_string(*size) + " bytes, the limit is " +
        std::to_string(std::min(size_bytes_max, kDecompressedSizeBytesMax)));
  }
  if (data.size() > kDecompressedSizeBytesMax ||
      *size > ExpansionBound(compression, data.size())) {
    return Damaged("says it holds " + std::to_string(*size) + " bytes in " +
                   std::to_string(data.size()));
  }
  std::string bytes(*size, '\0');
  if (!DecompressInto(compression, data, bytes.data(), *size)) {
    return Damaged("does not decompress to its " + std::to_string(*size) +
                   " bytes");
  }
  return bytes;
}

}  // namespace larder
