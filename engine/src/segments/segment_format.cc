// Each header states its own place and length and is covered, with the key,
// by a checksum of its own: a reader may trust a length before it has read
// what the length spans, and recovery may skip a record whose payload is bad.
// One checksum over everything was rejected, as it cannot tell the two apart.

#include "segments/segment_format.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <memory>
#include <string>

#include <xxhash.h>
#ifdef LARDER_XXHASH_DISPATCH
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>
#endif

#include "larder/engine/limits.h"

#include "base/check.h"

namespace larder {
namespace {

constexpr std::uint32_t kSegmentMagic = 0x4745534c;  // "LSEG" in the file.
constexpr char kKindRecord = 1;
constexpr char kKindFooter = 2;

// Offsets of the fields; docs/format.md has the table.
constexpr std::size_t kFormatAt = 0;
constexpr std::size_t kKindAt = 1;
constexpr std::size_t kCodecAt = 2;
constexpr std::size_t kMagicAt = 4;
constexpr std::size_t kKeySizeAt = 8;
constexpr std::size_t kPayloadSizeAt = 12;
constexpr std::size_t kVersionAt = 16;
constexpr std::size_t kValueSizeAt = 24;
constexpr std::size_t kValueOffsetAt = 32;
constexpr std::size_t kPayloadChecksumAt = 40;
constexpr std::size_t kSegmentAt = 48;
constexpr std::size_t kOffsetAt = 52;
constexpr std::size_t kChecksumAt = 60;

constexpr std::size_t kFooterSegmentAt = 8;
constexpr std::size_t kFooterCountAt = 16;
constexpr std::size_t kFooterEndAt = 24;

static_assert(std::endian::native == std::endian::little,
              "the file formats are written by memcpy");

template <typename T>
void Store(char* bytes, std::size_t at, T value) noexcept {
  std::memcpy(bytes + at, &value, sizeof value);
}

template <typename T>
T Load(const char* bytes, std::size_t at) noexcept {
  T value;
  std::memcpy(&value, bytes + at, sizeof value);
  return value;
}

std::uint32_t HeaderChecksum(const char* bytes, std::string_view key) noexcept {
  const XXH64_hash_t seed = XXH3_64bits(bytes, kChecksumAt);
  return static_cast<std::uint32_t>(
      XXH3_64bits_withSeed(key.data(), key.size(), seed));
}

// A value in the page cache is scattered over pages of 4 KiB, at whose ends the
// processor's own prefetching stops: a plain pass waits for memory more than
// half of its time. Asking for what comes next brings 64 KiB from 5.1 to 3.5 us
// and 1 MiB from 92 to 53 us, and leaves more of it near for its reader.
constexpr std::size_t kHashPieceSize = 1024;
constexpr std::size_t kHashAheadSize = 8192;
constexpr std::size_t kHashInPiecesMin = 32U << 10;

std::uint64_t HashInPieces(std::string_view bytes) noexcept {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(
      XXH3_createState(), XXH3_freeState);
  LARDER_CHECK(state != nullptr);  // The heap is exhausted.
  static_cast<void>(XXH3_64bits_reset(state.get()));
  PrefetchBytes(bytes.substr(0, kHashAheadSize));
  for (std::size_t at = 0; at < bytes.size(); at += kHashPieceSize) {
    const std::string_view piece = bytes.substr(at, kHashPieceSize);
    if (at + kHashAheadSize < bytes.size()) {
      PrefetchBytes(bytes.substr(at + kHashAheadSize, kHashPieceSize));
    }
#ifdef LARDER_XXHASH_DISPATCH
    static_cast<void>(
        XXH3_64bits_update_dispatch(state.get(), piece.data(), piece.size()));
#else
    static_cast<void>(
        XXH3_64bits_update(state.get(), piece.data(), piece.size()));
#endif
  }
  return XXH3_64bits_digest(state.get());
}

bool HasKind(const char* bytes, char kind) noexcept {
  return bytes[kFormatAt] == kSegmentFormat && bytes[kKindAt] == kind &&
         Load<std::uint32_t>(bytes, kMagicAt) == kSegmentMagic;
}

}  // namespace

std::uint64_t PayloadChecksum(std::string_view payload) noexcept {
  if (payload.size() >= kHashInPiecesMin) return HashInPieces(payload);
#ifdef LARDER_XXHASH_DISPATCH
  // By the widest vectors that this machine has: 270 -> 175 us a MiB.
  return XXH3_64bits_dispatch(payload.data(), payload.size());
#else
  return XXH3_64bits(payload.data(), payload.size());
#endif
}

void PrefetchBytes(std::string_view bytes) noexcept {
  constexpr std::size_t kCacheLine = 64;
  for (std::size_t at = 0; at < bytes.size(); at += kCacheLine) {
    // Into the second level: the first one is too small for it.
    __builtin_prefetch(bytes.data() + at, 0, 2);
  }
}

RecordHeaderBytes EncodeRecordHeader(const RecordHeader& header,
                                     std::string_view key) noexcept {
  RecordHeaderBytes bytes{};
  char* const out = bytes.data();
  out[kFormatAt] = kSegmentFormat;
  out[kKindAt] = kKindRecord;
  Store(out, kCodecAt, header.codec);
  Store(out, kMagicAt, kSegmentMagic);
  Store(out, kKeySizeAt, header.key_size);
  Store(out, kPayloadSizeAt, header.payload_size);
  Store(out, kVersionAt, header.version);
  Store(out, kValueSizeAt, header.value_size);
  Store(out, kValueOffsetAt, header.value_offset);
  Store(out, kPayloadChecksumAt, header.payload_checksum);
  Store(out, kSegmentAt, header.segment);
  Store(out, kOffsetAt, header.offset);
  Store(out, kChecksumAt, HeaderChecksum(out, key));
  return bytes;
}

std::optional<RecordHeader> DecodeRecordHeader(const char* bytes) noexcept {
  if (!HasKind(bytes, kKindRecord)) {
    return std::nullopt;
  }
  RecordHeader header;
  header.codec = Load<std::uint8_t>(bytes, kCodecAt);
  header.key_size = Load<std::uint32_t>(bytes, kKeySizeAt);
  header.payload_size = Load<std::uint32_t>(bytes, kPayloadSizeAt);
  header.version = Load<std::uint64_t>(bytes, kVersionAt);
  header.value_size = Load<std::uint64_t>(bytes, kValueSizeAt);
  header.value_offset = Load<std::uint64_t>(bytes, kValueOffsetAt);
  header.payload_checksum = Load<std::uint64_t>(bytes, kPayloadChecksumAt);
  header.segment = Load<std::uint32_t>(bytes, kSegmentAt);
  header.offset = Load<std::uint32_t>(bytes, kOffsetAt);
  if (header.key_size > kKeySizeBytesMax) {
    return std::nullopt;
  }
  return header;
}

bool HeaderChecksumMatches(const char* bytes, std::string_view key) noexcept {
  return Load<std::uint32_t>(bytes, kChecksumAt) == HeaderChecksum(bytes, key);
}

SegmentFooterBytes EncodeSegmentFooter(const SegmentFooter& footer) noexcept {
  SegmentFooterBytes bytes{};
  char* const out = bytes.data();
  out[kFormatAt] = kSegmentFormat;
  out[kKindAt] = kKindFooter;
  Store(out, kMagicAt, kSegmentMagic);
  Store(out, kFooterSegmentAt, footer.segment);
  Store(out, kFooterCountAt, footer.record_count);
  Store(out, kFooterEndAt, footer.records_end);
  Store(out, kChecksumAt, HeaderChecksum(out, {}));
  return bytes;
}

std::optional<SegmentFooter> DecodeSegmentFooter(const char* bytes) noexcept {
  if (!HasKind(bytes, kKindFooter) || !HeaderChecksumMatches(bytes, {})) {
    return std::nullopt;
  }
  SegmentFooter footer;
  footer.segment = Load<std::uint32_t>(bytes, kFooterSegmentAt);
  footer.record_count = Load<std::uint64_t>(bytes, kFooterCountAt);
  footer.records_end = Load<std::uint64_t>(bytes, kFooterEndAt);
  return footer;
}

std::filesystem::path SegmentPath(const std::filesystem::path& directory,
                                  std::uint32_t id) {
  return directory / (std::to_string(id) + ".seg");
}

std::optional<std::uint32_t> ParseSegmentName(std::string_view name) noexcept {
  constexpr std::string_view kSuffix = ".seg";
  if (name.size() <= kSuffix.size() || !name.ends_with(kSuffix) ||
      name.front() == '0') {
    return std::nullopt;
  }
  name.remove_suffix(kSuffix.size());
  std::uint32_t id = 0;
  const auto [end, error] =
      std::from_chars(name.data(), name.data() + name.size(), id);
  // The largest number is no id, as there is none after it.
  if (error != std::errc{} || end != name.data() + name.size() ||
      id == UINT32_MAX) {
    return std::nullopt;
  }
  return id;
}

}  // namespace larder
