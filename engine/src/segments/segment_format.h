#ifndef LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_FORMAT_H_
#define LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_FORMAT_H_

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "larder/engine/status.h"

/// The bytes of a segment file, as in docs/format.md: records and a footer,
/// each at a multiple of 64 bytes. All numbers are little-endian.

namespace larder {

/// Records and the footer start at multiples of this, so that recovery finds
/// the next one after a gap or damage without knowing a length.
inline constexpr std::uint32_t kSegmentAlignment = 64;
inline constexpr std::uint32_t kRecordHeaderSize = 64;
inline constexpr std::uint32_t kSegmentFooterSize = 64;
/// The payload starts at a multiple of this within the file.
inline constexpr std::uint32_t kPayloadAlignment = 8;
inline constexpr std::uint8_t kSegmentFormat = 1;

/// What stands before key and payload of a record.
struct RecordHeader {
  std::uint8_t codec = 0;
  std::uint32_t key_size = 0;
  std::uint32_t payload_size = 0;
  std::uint64_t version = 0;
  std::uint64_t value_size = 0;
  std::uint64_t value_offset = 0;
  std::uint64_t payload_checksum = 0;
  /// Its own place, so that a record that came from elsewhere (a value that is
  /// itself a segment file, a misdirected write) is not taken for one.
  std::uint32_t segment = 0;
  std::uint32_t offset = 0;
};

/// What stands at the end of a sealed segment.
struct SegmentFooter {
  std::uint32_t segment = 0;
  std::uint64_t record_count = 0;
  std::uint64_t records_end = 0;  ///< Its own offset.
};

using RecordHeaderBytes = std::array<char, kRecordHeaderSize>;
using SegmentFooterBytes = std::array<char, kSegmentFooterSize>;

[[nodiscard]] constexpr std::uint64_t RoundUp(std::uint64_t value,
                                              std::uint64_t unit) noexcept {
  return (value + unit - 1) / unit * unit;
}
/// Bytes from the start of a record to its payload.
[[nodiscard]] constexpr std::uint64_t PayloadStart(
    std::size_t key_size) noexcept {
  return kRecordHeaderSize + RoundUp(key_size, kPayloadAlignment);
}

/// XXH3-64 of the payload.
[[nodiscard]] std::uint64_t PayloadChecksum(std::string_view payload) noexcept;
/// Asks for bytes that somebody is about to read, without waiting for them.
void PrefetchBytes(std::string_view bytes) noexcept;

/// The header as bytes, with its checksum over itself and `key`.
[[nodiscard]] RecordHeaderBytes EncodeRecordHeader(
    const RecordHeader& header, std::string_view key) noexcept;
/// The fields of the 64 bytes at `bytes`, or nullopt if they are no header.
/// The checksum is not looked at, as it needs the key.
[[nodiscard]] std::optional<RecordHeader> DecodeRecordHeader(
    const char* bytes) noexcept;
/// Whether header and key are as they were written.
[[nodiscard]] bool HeaderChecksumMatches(const char* bytes,
                                         std::string_view key) noexcept;

[[nodiscard]] SegmentFooterBytes EncodeSegmentFooter(
    const SegmentFooter& footer) noexcept;
/// nullopt if the 64 bytes at `bytes` are not a whole footer.
[[nodiscard]] std::optional<SegmentFooter> DecodeSegmentFooter(
    const char* bytes) noexcept;

/// "<directory>/<id>.seg".
[[nodiscard]] std::filesystem::path SegmentPath(
    const std::filesystem::path& directory, std::uint32_t id);
/// The id in a file name, or nullopt if it is not the name of a segment.
[[nodiscard]] std::optional<std::uint32_t> ParseSegmentName(
    std::string_view name) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEGMENTS_SEGMENT_FORMAT_H_
