#ifndef LARDER_ENGINE_SRC_MESSAGES_MESSAGE_CODEC_H_
#define LARDER_ENGINE_SRC_MESSAGES_MESSAGE_CODEC_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "larder/engine/engine.h"
#include "larder/engine/status.h"

#include "messages/command_codec.h"
#include "messages/eviction_board.h"
#include "segments/segment_log.h"

/// The bodies of all messages but kExecute; see command_codec.h for the rules.
/// Every Encode appends; every Decode takes the whole body and nothing else.

namespace larder {

/// Most bytes of a scan page's encoding that a server should fill; a page ends
/// early when it gets there, so that one page never is an unbounded message.
inline constexpr std::size_t kScanPageSizeBytes = 1U << 20;
/// Most grants of one request.
inline constexpr std::size_t kGrantCountMax = 1024;
/// Most lines of CheckReport::problems that travel.
inline constexpr std::size_t kProblemCountMax = 100;

void EncodeNumber(std::string& out, std::uint64_t number);
[[nodiscard]] Result<std::uint64_t> DecodeNumber(
    std::string_view body) noexcept;

void EncodeScanOptions(std::string& out, const ScanOptions& options);
[[nodiscard]] Result<ScanOptions> DecodeScanOptions(
    std::string_view body) noexcept;

struct ScanNextRequest {
  std::uint64_t scan = 0;
  std::size_t count_max = 0;  ///< 1..kScanPageCountMax.
};
void EncodeScanNext(std::string& out, const ScanNextRequest& request);
[[nodiscard]] Result<ScanNextRequest> DecodeScanNext(
    std::string_view body) noexcept;

/// An item named by `placed` travels without its value.
void EncodeScanPage(std::string& out, std::span<const ScanItem> items,
                    std::span<const PlacedValue> placed);
struct ScanPage {
  std::vector<ScanItem> items;
  std::vector<PlacedValue> placed;
};
/// Values of the items share `message`; `body` is a part of it.
[[nodiscard]] Result<ScanPage> DecodeScanPage(
    const std::shared_ptr<const std::string>& message,
    std::string_view body) noexcept;

void EncodeStats(std::string& out, const EngineStats& stats);
/// A field that the other side does not know yet is zero here, one that this
/// side does not know is left out.
[[nodiscard]] Result<EngineStats> DecodeStats(std::string_view body) noexcept;

void EncodeCheckReport(std::string& out, const CheckReport& report);
[[nodiscard]] Result<CheckReport> DecodeCheckReport(
    std::string_view body) noexcept;

/// Settings travel as their names and texts (DescribeSettings, WithSetting).
using SettingList = std::vector<std::pair<std::string, std::string>>;
void EncodeSettings(std::string& out, const SettingList& settings);
[[nodiscard]] Result<SettingList> DecodeSettings(
    std::string_view body) noexcept;

/// Asks for space in the open segment for one value.
struct GrantRequest {
  std::uint32_t key_size = 0;
  std::uint64_t value_size = 0;
};
void EncodeGrantRequest(std::string& out, std::span<const GrantRequest> wanted);
[[nodiscard]] Result<std::vector<GrantRequest>> DecodeGrantRequest(
    std::string_view body) noexcept;

/// The places granted for one value, in its order.
struct Grant {
  std::uint64_t version = 0;  ///< To be written into the records.
  /// Of the log. Once the one in the main region is another, the places are
  /// nobody's: they are not to be written, and will not be accepted.
  std::uint64_t generation = 0;
  std::vector<SegmentPlace> chunks;
  friend bool operator==(const Grant&, const Grant&) = default;
};
void EncodeGrants(std::string& out, std::span<const Grant> grants);
[[nodiscard]] Result<std::vector<Grant>> DecodeGrants(
    std::string_view body) noexcept;

/// Most bytes of a stream that travel at once.
inline constexpr std::size_t kStreamPieceSize = 256 * 1024;

struct WriterOpenRequest {
  SetCommand command;  ///< Without its value; views of the message.
  std::uint64_t size_expected = 0;
  ExecuteOptions options;
};
void EncodeWriterOpen(std::string& out, const WriterOpenRequest& request);
[[nodiscard]] Result<WriterOpenRequest> DecodeWriterOpen(
    std::string_view body) noexcept;

struct StreamBytes {
  std::uint64_t stream = 0;
  std::string_view bytes;
};
void EncodeStreamBytes(std::string& out, const StreamBytes& bytes);
[[nodiscard]] Result<StreamBytes> DecodeStreamBytes(
    std::string_view body) noexcept;

/// What there is to read; stream 0: a miss.
struct ReaderOpened {
  std::uint64_t stream = 0;
  ItemInfo info;
};
void EncodeReaderOpened(std::string& out, const ReaderOpened& opened);
[[nodiscard]] Result<ReaderOpened> DecodeReaderOpened(
    std::string_view body) noexcept;

struct ReaderReadRequest {
  std::uint64_t stream = 0;
  std::size_t size_max = 0;  ///< 1..kStreamPieceSize.
};
void EncodeReaderRead(std::string& out, const ReaderReadRequest& request);
[[nodiscard]] Result<ReaderReadRequest> DecodeReaderRead(
    std::string_view body) noexcept;

/// Most bytes of notices that travel at once, about.
inline constexpr std::size_t kEvictionsSizeMax = 256 * 1024;
void EncodeEvictions(std::string& out, const EvictionNotices& evictions);
[[nodiscard]] Result<EvictionNotices> DecodeEvictions(
    std::string_view body) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_MESSAGES_MESSAGE_CODEC_H_
