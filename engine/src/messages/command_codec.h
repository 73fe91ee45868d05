#ifndef LARDER_ENGINE_SRC_MESSAGES_COMMAND_CODEC_H_
#define LARDER_ENGINE_SRC_MESSAGES_COMMAND_CODEC_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/command.h"
#include "larder/engine/engine.h"
#include "larder/engine/status.h"

#include "segments/segment_log.h"

/// Commands and replies as bytes, for the rings between processes and for the
/// session records on disk.
///
/// A message is: version (u8), kind (u8), flags (u16, zero), body. Decoding
/// takes any bytes: what is not exactly one valid message is kCorruption, and
/// no allocation is larger than a small multiple of the bytes that are there.
/// It checks structure only (lengths, enumerators, counts); whether a key is
/// too long is for the store to say, per command.

namespace larder {

inline constexpr std::uint8_t kMessageVersion = 1;
/// Longest message, and so the largest batch of small values that a client can
/// send as one commit.
inline constexpr std::size_t kMessageSizeBytesMax = 64U << 20;
/// Most pieces of one large value in a message (kValueInMemoryBytesMax in
/// chunks of 64 KiB).
inline constexpr std::size_t kPlacedChunkCountMax = 16 * 1024;

enum class MessageKind : std::uint8_t {
  kExecute = 1,        ///< EncodeCommands -> EncodeReplies.
  kScanOpen = 2,       ///< EncodeScanOptions -> a number.
  kScanNext = 3,       ///< scan number, count -> EncodeScanPage.
  kScanClose = 4,      ///< scan number -> nothing.
  kCount = 5,          ///< -> a number.
  kStats = 6,          ///< -> EncodeStats.
  kCheck = 7,          ///< repair -> EncodeCheckReport.
  kSettings = 8,       ///< -> EncodeSettings.
  kReset = 9,          ///< EncodeSettings of one -> nothing.
  kSync = 10,          ///< -> nothing.
  kGrant = 11,         ///< EncodeGrantRequest -> EncodeGrants.
  kGrantDrop = 12,     ///< EncodeGrants -> nothing.
  kWriterOpen = 13,    ///< EncodeWriterOpen -> a stream's number.
  kWriterAppend = 14,  ///< EncodeStreamBytes -> nothing.
  kWriterCommit = 15,  ///< stream number -> EncodeReplies of one.
  kReaderOpen = 16,    ///< the key -> EncodeReaderOpened.
  kReaderRead = 17,    ///< EncodeReaderRead -> bytes.
  kStreamClose = 18,   ///< stream number -> nothing.
  /// As kExecute, and large values of the replies may be left where they lie.
  kExecutePlaced = 19,
  kEvictions = 20,  ///< subscriber's number -> EncodeEvictions.
  /// As kReset of `policy`, by a client that has registered it.
  kResetPolicy = 21,
};
inline constexpr std::uint8_t kMessageKindMax = 21;

/// A message taken apart; `body` is a view of it.
struct Message {
  MessageKind kind = MessageKind::kExecute;
  std::string_view body;
};
/// Appends a message's head.
void PutMessageHead(std::string& out, MessageKind kind);
[[nodiscard]] Result<Message> DecodeMessage(std::string_view bytes) noexcept;

/// The outcome of a message that has no replies of its own: a Status, then
/// what the kind says if it is OK.
void PutOutcome(std::string& out, const Status& status);
/// The body after the status, or the status itself.
[[nodiscard]] Result<std::string_view> DecodeOutcome(
    std::string_view bytes) noexcept;

/// A value that is in segment files and does not travel: of a SetCommand it
/// was written there by the client, of a Reply the client reads it there.
struct PlacedValue {
  std::uint32_t index = 0;  ///< Of the command or reply it belongs to.
  std::uint64_t value_size = 0;
  std::uint64_t version = 0;  ///< In the headers of its records.
  std::vector<SegmentPlace> chunks;
  friend bool operator==(const PlacedValue&, const PlacedValue&) = default;
};

/// Appends the body of kExecute. REQUIRES: at most kBatchCommandCountMax
/// commands. Errors: kTooLarge (the message; nothing usable was appended).
[[nodiscard]] Status EncodeCommands(std::string& out,
                                    std::span<const Command> commands,
                                    std::span<const PlacedValue> placed,
                                    const ExecuteOptions& options);
struct DecodedCommands {
  std::vector<Command> commands;  ///< Views of the message.
  std::vector<PlacedValue> placed;
  ExecuteOptions options;
};
[[nodiscard]] Result<DecodedCommands> DecodeCommands(
    std::string_view body) noexcept;

/// A cheap look at an encoded kExecute: whether it seems to be one command on
/// the whole cache (clear, evict a tag, expire, cull).
[[nodiscard]] bool SeemsWholeCache(std::string_view body) noexcept;

/// Appends the answer to kExecute: `status` of the call, then the replies.
/// A reply named by `placed` travels without its value.
void EncodeReplies(std::string& out, const Status& status,
                   std::span<const Reply> replies,
                   std::span<const PlacedValue> placed);
struct DecodedReplies {
  Status status;
  std::vector<PlacedValue> placed;
};
/// Fills `replies`, whose values share `message`; `bytes` is a part of it.
/// Errors: kCorruption (also when there are not replies.size() of them); then
/// `replies` are unspecified but safe.
[[nodiscard]] Result<DecodedReplies> DecodeReplies(
    const std::shared_ptr<const std::string>& message, std::string_view bytes,
    std::span<Reply> replies) noexcept;

// Parts shared with the codec of the other messages.
void PutStatus(std::string& out, const Status& status);
void PutItemInfo(std::string& out, const ItemInfo& info);
/// Gives bytes that a message has, as a handle that shares the message or, if
/// they are few, as a copy.
[[nodiscard]] ValueHandle ShareBytes(
    const std::shared_ptr<const std::string>& message, std::string_view bytes);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_MESSAGES_COMMAND_CODEC_H_
