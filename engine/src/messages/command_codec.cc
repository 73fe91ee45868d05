// Commands and replies as bytes.
//
// Lengths and counts are varints, numbers of any size fixed and little-endian.
// Optional parts have a bit in a byte of flags, so that a small Get takes 5
// bytes and its key. Rejected: a general serializer, since views into the
// message, exact bounds and refusal of every unknown bit are the point here.
//
// 1. DecodeX(EncodeX(v)) == v, and every strict prefix of EncodeX(v) is
//    kCorruption.
// 2. Unknown enumerators, flags and trailing bytes are kCorruption, so a peer
//    of another version is noticed rather than misread.

#include "messages/command_codec.h"

#include <algorithm>
#include <utility>

#include "larder/engine/limits.h"

#include "base/check.h"
#include "messages/wire.h"

namespace larder {
namespace {

// Longest text of a status that travels.
constexpr std::size_t kStatusMessageSizeMax = 4096;
// Values up to this size are copied out of a message instead of sharing it.
constexpr std::size_t kShareBytesMin = 256;

enum class CommandTag : std::uint8_t {
  kSet = 1,
  kGet,
  kIncr,
  kTouch,
  kDelete,
  kEvictTag,
  kClear,
  kExpire,
  kCull,
};

constexpr std::uint8_t kHasTtl = 1;
constexpr std::uint8_t kHasTag = 2;
constexpr std::uint8_t kPinned = 4;
constexpr std::uint8_t kWithValue = 8;
constexpr std::uint8_t kHasVersion = 16;
constexpr std::uint8_t kHasCost = 32;
constexpr std::uint8_t kHasArgument = 64;

constexpr std::uint8_t kDurabilityMask = 3;  // 0 = not given.
constexpr std::uint8_t kAllOrNothing = 4;

// A field that is added to one of these has to travel too: each stops
// compiling then.
[[maybe_unused]] void CountFields(SetCommand& c, ExecuteOptions& o, ItemInfo& i,
                                  Reply& r) {
  [[maybe_unused]] auto& [s1, s2, s3, s4, s5, s6, s7, s8, s9] = c;
  [[maybe_unused]] auto& [o1, o2] = o;
  [[maybe_unused]] auto& [i1, i2, i3, i4, i5, i6, i7, i8] = i;
  [[maybe_unused]] auto& [r1, r2, r3, r4, r5, r6] = r;
}

Status MalformedCommand(std::string_view what) {
  return Status::Corruption("malformed " + std::string(what) +
                            " from another process");
}

void PutTag(std::string& out, CommandTag tag, int flags) {
  out.push_back(static_cast<char>(tag));
  out.push_back(static_cast<char>(flags));
}

struct CommandWriter {
  std::string& out;

  void operator()(const SetCommand& c) const {
    const int flags = (c.ttl ? kHasTtl : 0) | (c.tag.empty() ? 0 : kHasTag) |
                      (c.pinned ? kPinned : 0) |
                      (c.version_expected != 0 ? kHasVersion : 0) |
                      (c.cost != 1.0F ? kHasCost : 0);
    PutTag(out, CommandTag::kSet, flags);
    out.push_back(static_cast<char>(c.codec));
    out.push_back(static_cast<char>(c.condition));
    if (c.ttl) PutFixed(out, c.ttl->count());
    if (c.version_expected != 0) PutFixed(out, c.version_expected);
    if (c.cost != 1.0F) PutFixed(out, c.cost);
    PutString(out, c.key);
    PutString(out, c.value);
    if (!c.tag.empty()) PutString(out, c.tag);
  }
  void operator()(const GetCommand& c) const {
    PutTag(out, CommandTag::kGet, c.with_value ? kWithValue : 0);
    PutString(out, c.key);
  }
  void operator()(const IncrCommand& c) const {
    PutTag(out, CommandTag::kIncr,
           (c.ttl ? kHasTtl : 0) | (c.tag.empty() ? 0 : kHasTag));
    PutVarint(out, ZigZag(c.delta));
    PutVarint(out, ZigZag(c.initial));
    if (c.ttl) PutFixed(out, c.ttl->count());
    PutString(out, c.key);
    if (!c.tag.empty()) PutString(out, c.tag);
  }
  void operator()(const TouchCommand& c) const {
    PutTag(out, CommandTag::kTouch, c.ttl ? kHasTtl : 0);
    if (c.ttl) PutFixed(out, c.ttl->count());
    PutString(out, c.key);
  }
  void operator()(const DeleteCommand& c) const {
    PutTag(out, CommandTag::kDelete,
           (c.with_value ? kWithValue : 0) |
               (c.version_expected != 0 ? kHasVersion : 0));
    if (c.version_expected != 0) PutFixed(out, c.version_expected);
    PutString(out, c.key);
  }
  void operator()(const EvictTagCommand& c) const {
    PutTag(out, CommandTag::kEvictTag, 0);
    PutString(out, c.tag);
  }
  void operator()(const ClearCommand&) const {
    PutTag(out, CommandTag::kClear, 0);
  }
  void operator()(const ExpireCommand& c) const {
    PutTag(out, CommandTag::kExpire, c.now ? kHasArgument : 0);
    if (c.now) PutFixed(out, c.now->time_since_epoch().count());
  }
  void operator()(const CullCommand& c) const {
    PutTag(out, CommandTag::kCull, c.live_bytes_target ? kHasArgument : 0);
    if (c.live_bytes_target) PutFixed(out, *c.live_bytes_target);
  }
};

std::optional<Duration> ReadTtl(WireReader& in, std::uint8_t flags) {
  if ((flags & kHasTtl) == 0) return std::nullopt;
  return Duration(in.Fixed<Duration::rep>());
}

SetCommand ReadSet(WireReader& in) {
  SetCommand c;
  const std::uint8_t flags =
      in.Flags(kHasTtl | kHasTag | kPinned | kHasVersion | kHasCost);
  c.codec = in.Fixed<CodecId>();
  c.condition = static_cast<SetCondition>(in.Enumerator(3));
  c.ttl = ReadTtl(in, flags);
  if ((flags & kHasVersion) != 0)
    c.version_expected = in.Fixed<std::uint64_t>();
  if ((flags & kHasCost) != 0) c.cost = in.Fixed<float>();
  c.key = in.String();
  c.value = in.String();
  if ((flags & kHasTag) != 0) c.tag = in.String();
  c.pinned = (flags & kPinned) != 0;
  return c;
}

IncrCommand ReadIncr(WireReader& in) {
  IncrCommand c;
  const std::uint8_t flags = in.Flags(kHasTtl | kHasTag);
  c.delta = UnZigZag(in.Varint());
  c.initial = UnZigZag(in.Varint());
  c.ttl = ReadTtl(in, flags);
  c.key = in.String();
  if ((flags & kHasTag) != 0) c.tag = in.String();
  return c;
}

DeleteCommand ReadDelete(WireReader& in) {
  DeleteCommand c;
  const std::uint8_t flags = in.Flags(kWithValue | kHasVersion);
  c.with_value = (flags & kWithValue) != 0;
  if ((flags & kHasVersion) != 0)
    c.version_expected = in.Fixed<std::uint64_t>();
  c.key = in.String();
  return c;
}

Command ReadCommand(WireReader& in) {
  const auto tag = static_cast<CommandTag>(in.Fixed<std::uint8_t>());
  switch (tag) {
    case CommandTag::kSet:
      return ReadSet(in);
    case CommandTag::kGet: {
      const bool with_value = (in.Flags(kWithValue) & kWithValue) != 0;
      return GetCommand{.key = in.String(), .with_value = with_value};
    }
    case CommandTag::kIncr:
      return ReadIncr(in);
    case CommandTag::kTouch: {
      const auto ttl = ReadTtl(in, in.Flags(kHasTtl));
      return TouchCommand{.key = in.String(), .ttl = ttl};
    }
    case CommandTag::kDelete:
      return ReadDelete(in);
    case CommandTag::kEvictTag:
      static_cast<void>(in.Flags(0));
      return EvictTagCommand{.tag = in.String()};
    case CommandTag::kClear:
      static_cast<void>(in.Flags(0));
      return ClearCommand{};
    case CommandTag::kExpire: {
      ExpireCommand c;
      if (in.Flags(kHasArgument) != 0) {
        c.now = TimePoint(Duration(in.Fixed<Duration::rep>()));
      }
      return c;
    }
    case CommandTag::kCull: {
      CullCommand c;
      if (in.Flags(kHasArgument) != 0) {
        c.live_bytes_target = in.Fixed<std::uint64_t>();
      }
      return c;
    }
  }
  in.Refuse();
  return GetCommand{};
}

void PutPlaced(std::string& out, std::span<const PlacedValue> placed) {
  PutVarint(out, placed.size());
  for (const PlacedValue& value : placed) {
    PutVarint(out, value.index);
    PutVarint(out, value.value_size);
    PutVarint(out, value.version);
    PutVarint(out, value.chunks.size());
    for (const SegmentPlace& chunk : value.chunks) {
      PutFixed(out, chunk.segment);
      PutFixed(out, chunk.offset);
      PutFixed(out, chunk.payload_size);
    }
  }
}

// Indexes must grow and be below `index_end`.
std::vector<PlacedValue> ReadPlaced(WireReader& in, std::size_t index_end) {
  std::vector<PlacedValue> placed(in.Count(index_end, 4));
  std::uint64_t index_min = 0;
  for (PlacedValue& value : placed) {
    value.index = in.Varint32();
    if (value.index < index_min || value.index >= index_end) in.Refuse();
    index_min = std::uint64_t{value.index} + 1;
    value.value_size = in.Varint();
    value.version = in.Varint();
    value.chunks.resize(in.Count(kPlacedChunkCountMax, 12));
    for (SegmentPlace& chunk : value.chunks) {
      chunk.segment = in.Fixed<std::uint32_t>();
      chunk.offset = in.Fixed<std::uint32_t>();
      chunk.payload_size = in.Fixed<std::uint32_t>();
    }
    if (!in.ok()) break;
  }
  return placed;
}

constexpr std::uint8_t kApplied = 1;
constexpr std::uint8_t kHasValue = 2;
constexpr std::uint8_t kHasInfo = 4;
constexpr std::uint8_t kHasStatus = 8;
constexpr std::uint8_t kHasInteger = 16;
constexpr std::uint8_t kHasCount = 32;

bool IsDefault(const ItemInfo& info) {
  return info.size_bytes == 0 && info.version == 0 &&
         info.stored_at == TimePoint{} && info.expires_at == kNeverExpires &&
         info.tag.empty() && info.frequency == 0 && info.codec == 0 &&
         !info.pinned;
}

void PutReply(std::string& out, const Reply& reply, bool is_placed) {
  const std::string_view value =
      is_placed ? std::string_view() : reply.value.bytes();
  const bool has_info = !IsDefault(reply.info);
  const int flags =
      (reply.applied ? kApplied : 0) | (value.empty() ? 0 : kHasValue) |
      (has_info ? kHasInfo : 0) | (reply.status.ok() ? 0 : kHasStatus) |
      (reply.integer != 0 ? kHasInteger : 0) |
      (reply.count != 0 ? kHasCount : 0);
  out.push_back(static_cast<char>(flags));
  if (!reply.status.ok()) PutStatus(out, reply.status);
  if (reply.integer != 0) PutFixed(out, reply.integer);
  if (reply.count != 0) PutFixed(out, reply.count);
  if (has_info) PutItemInfo(out, reply.info);
  if (!value.empty()) PutString(out, value);
}

void ReadReply(WireReader& in,
               const std::shared_ptr<const std::string>& message,
               Reply& reply) {
  const std::uint8_t flags = in.Flags(kApplied | kHasValue | kHasInfo |
                                      kHasStatus | kHasInteger | kHasCount);
  reply = Reply();
  reply.applied = (flags & kApplied) != 0;
  if ((flags & kHasStatus) != 0) reply.status = ReadStatus(in);
  if ((flags & kHasInteger) != 0) reply.integer = in.Fixed<std::int64_t>();
  if ((flags & kHasCount) != 0) reply.count = in.Fixed<std::uint64_t>();
  if ((flags & kHasInfo) != 0) reply.info = ReadItemInfo(in);
  if ((flags & kHasValue) != 0) reply.value = ShareBytes(message, in.String());
}

class SharedMessagePin final : public ValuePin {
 public:
  // Shared: the values of one message are released in any order.
  explicit SharedMessagePin(std::shared_ptr<const std::string> message) noexcept
      : message_(std::move(message)) {}

 private:
  std::shared_ptr<const std::string> message_;
};

}  // namespace

void PutStatus(std::string& out, const Status& status) {
  out.push_back(static_cast<char>(status.code()));
  PutString(
      out, std::string_view(status.message()).substr(0, kStatusMessageSizeMax));
}

Status ReadStatus(WireReader& in) {
  const auto code = static_cast<StatusCode>(
      in.Enumerator(static_cast<std::uint8_t>(kStatusCodeLast) + 1));
  const std::string_view text = in.String();
  if (text.size() > kStatusMessageSizeMax) in.Refuse();
  return {code, std::string(in.ok() ? text : std::string_view())};
}

void PutItemInfo(std::string& out, const ItemInfo& info) {
  PutVarint(out, info.size_bytes);
  PutVarint(out, info.version);
  PutFixed(out, info.stored_at.time_since_epoch().count());
  PutFixed(out, info.expires_at.time_since_epoch().count());
  PutVarint(out, info.frequency);
  out.push_back(static_cast<char>(info.codec));
  out.push_back(info.pinned ? 1 : 0);
  PutString(out, info.tag);
}

ItemInfo ReadItemInfo(WireReader& in) {
  ItemInfo info;
  info.size_bytes = in.Varint();
  info.version = in.Varint();
  info.stored_at = TimePoint(Duration(in.Fixed<Duration::rep>()));
  info.expires_at = TimePoint(Duration(in.Fixed<Duration::rep>()));
  info.frequency = in.Varint32();
  info.codec = in.Fixed<CodecId>();
  info.pinned = in.Flags(1) != 0;
  info.tag = in.String();
  return info;
}

ValueHandle ShareBytes(const std::shared_ptr<const std::string>& message,
                       std::string_view bytes) {
  if (bytes.size() < kShareBytesMin || message == nullptr) {
    return ValueHandle::FromString(std::string(bytes));
  }
  return {bytes, std::make_unique<SharedMessagePin>(message)};
}

void PutMessageHead(std::string& out, MessageKind kind) {
  out.push_back(static_cast<char>(kMessageVersion));
  out.push_back(static_cast<char>(kind));
  PutFixed(out, std::uint16_t{0});
}

Result<Message> DecodeMessage(std::string_view bytes) noexcept {
  WireReader in(bytes);
  const auto version = in.Fixed<std::uint8_t>();
  const auto kind = in.Fixed<std::uint8_t>();
  const auto flags = in.Fixed<std::uint16_t>();
  if (!in.ok() || version != kMessageVersion || kind == 0 ||
      kind > kMessageKindMax || flags != 0) {
    return Fail(MalformedCommand("message"));
  }
  return Message{.kind = static_cast<MessageKind>(kind), .body = in.rest()};
}

void PutOutcome(std::string& out, const Status& status) {
  PutStatus(out, status);
}

Result<std::string_view> DecodeOutcome(std::string_view bytes) noexcept {
  WireReader in(bytes);
  Status status = ReadStatus(in);
  if (!in.ok()) return Fail(MalformedCommand("answer"));
  if (!status.ok()) return Fail(std::move(status));
  return in.rest();
}

Status EncodeCommands(std::string& out, std::span<const Command> commands,
                      std::span<const PlacedValue> placed,
                      const ExecuteOptions& options) {
  LARDER_ASSERT(commands.size() <= kBatchCommandCountMax);
  const int durability =
      options.durability ? 1 + static_cast<int>(*options.durability) : 0;
  out.push_back(static_cast<char>(
      durability | (options.all_or_nothing ? kAllOrNothing : 0)));
  PutVarint(out, commands.size());
  for (const Command& command : commands) {
    std::visit(CommandWriter{out}, command);
    if (out.size() > kMessageSizeBytesMax) break;
  }
  PutPlaced(out, placed);
  if (out.size() <= kMessageSizeBytesMax) return {};
  return Status::TooLarge(
      "batch of " + std::to_string(commands.size()) + " commands takes over " +
      std::to_string(kMessageSizeBytesMax >> 20) +
      " MiB as one message to the process that has the cache open: split it");
}

Result<DecodedCommands> DecodeCommands(std::string_view body) noexcept {
  WireReader in(body);
  DecodedCommands decoded;
  const std::uint8_t options = in.Flags(kDurabilityMask | kAllOrNothing);
  decoded.options.all_or_nothing = (options & kAllOrNothing) != 0;
  if (const int durability = options & kDurabilityMask; durability != 0) {
    decoded.options.durability = static_cast<Durability>(durability - 1);
  }
  const std::size_t count = in.Count(kBatchCommandCountMax, 2);
  decoded.commands.reserve(count);
  while (in.ok() && decoded.commands.size() < count) {
    decoded.commands.push_back(ReadCommand(in));
  }
  decoded.placed = ReadPlaced(in, count);
  if (!in.AtEnd()) return Fail(MalformedCommand("commands"));
  for (const PlacedValue& value : decoded.placed) {
    if (!std::holds_alternative<SetCommand>(decoded.commands[value.index])) {
      return Fail(MalformedCommand("place of a value"));
    }
  }
  return decoded;
}

bool SeemsWholeCache(std::string_view body) noexcept {
  // Options, the count as a varint of one byte, the command's tag.
  if (body.size() < 3 || body[1] != 1) return false;
  const auto tag = static_cast<CommandTag>(body[2]);
  return tag == CommandTag::kEvictTag || tag == CommandTag::kClear ||
         tag == CommandTag::kExpire || tag == CommandTag::kCull;
}

void EncodeReplies(std::string& out, const Status& status,
                   std::span<const Reply> replies,
                   std::span<const PlacedValue> placed) {
  PutStatus(out, status);
  PutVarint(out, replies.size());
  const PlacedValue* next = placed.data();
  const PlacedValue* const end = next + placed.size();
  for (std::size_t i = 0; i < replies.size(); ++i) {
    const bool is_placed = next != end && next->index == i;
    if (is_placed) ++next;
    PutReply(out, replies[i], is_placed);
  }
  LARDER_ASSERT(next == end);
  PutPlaced(out, placed);
}

Result<DecodedReplies> DecodeReplies(
    const std::shared_ptr<const std::string>& message, std::string_view bytes,
    std::span<Reply> replies) noexcept {
  WireReader in(bytes);
  DecodedReplies decoded;
  decoded.status = ReadStatus(in);
  const std::size_t count = in.Count(kBatchCommandCountMax, 1);
  if (count != replies.size()) in.Refuse();
  for (Reply& reply : replies) {
    if (!in.ok()) break;
    ReadReply(in, message, reply);
  }
  decoded.placed = ReadPlaced(in, count);
  if (!in.AtEnd()) {
    for (Reply& reply : replies) reply = Reply();
    return Fail(MalformedCommand("replies"));
  }
  return decoded;
}

}  // namespace larder
