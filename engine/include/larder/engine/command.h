#ifndef LARDER_ENGINE_COMMAND_H_
#define LARDER_ENGINE_COMMAND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "larder/engine/clock.h"
#include "larder/engine/status.h"
#include "larder/engine/value_handle.h"

/// Everything a caller can ask of an engine, as plain data. A command borrows
/// its bytes (std::string_view) for the length of one Execute call; a reply
/// owns or pins what it returns. The same commands go to a store in this
/// process and, encoded, to a store in another one.

namespace larder {

/// How the bytes of a value are to be read. The engine stores the number and
/// gives it back; only kInt64 means something to it (IncrCommand).
using CodecId = std::uint8_t;
/// The engine's own codec: eight bytes, a little-endian two's complement
/// integer. IncrCommand reads and writes it.
inline constexpr CodecId kCodecInt64 = 1;

/// How far a write has come when it is acknowledged. The last write of a key
/// counts: one that promises less than the one before takes back that promise,
/// and after the crash the key has the old value, the new one, or none.
enum class Durability : std::uint8_t {
  /// In memory only; lost when the process dies. No write-ahead log.
  kNone = 0,
  /// With the operating system: survives kill -9, not a power cut.
  kProcess = 1,
  /// On the device: survives a power cut.
  kPower = 2,
};

/// When a SetCommand applies.
enum class SetCondition : std::uint8_t {
  kAlways = 0,
  /// Only if no live item has the key (Add).
  kIfAbsent = 1,
  /// Only if the live item has `version_expected` (CompareAndSet); version 0
  /// means "no live item".
  kIfVersion = 2,
};

/// Stores a value. An overwrite resets expiry, tag, pin and policy state.
struct SetCommand {
  std::string_view key;
  std::string_view value = {};
  CodecId codec = 0;
  /// Time to live from now; nullopt = the `default_ttl` setting. Zero or less:
  /// the item is stored already expired, so the key is a miss afterwards.
  std::optional<Duration> ttl = {};
  /// Empty = no tag.
  std::string_view tag = {};
  SetCondition condition = SetCondition::kAlways;
  std::uint64_t version_expected = 0;
  /// Never evicted (it still expires). Refused with kNoSpace once pinned items
  /// hold half of the limit.
  bool pinned = false;
  /// What a miss costs, relative to others; used by the `cost` objective. 0 or
  /// more and finite, else kInvalidArgument.
  float cost = 1.0F;
};

/// Reads a value.
struct GetCommand {
  std::string_view key;
  /// False leaves the value out: metadata only, no value bytes are read, and
  /// neither statistics nor the policy notice (Inspect, Contains).
  bool with_value = true;
};

/// Adds `delta` to a stored kCodecInt64 value, atomically. An absent key
/// becomes `initial + delta`, with `ttl` and `tag`; an existing one keeps its
/// expiry and tag. Errors: kTypeMismatch, kOutOfRange (the value is kept).
struct IncrCommand {
  std::string_view key;
  std::int64_t delta = 1;
  std::int64_t initial = 0;
  std::optional<Duration> ttl = {};
  std::string_view tag = {};
};

/// Gives a live item a new time to live (nullopt: it never expires) counted
/// from now. `applied` is false if there is no live item.
struct TouchCommand {
  std::string_view key;
  std::optional<Duration> ttl = {};
};

/// Deletes an item. `applied` is false if there was no live one (an expired
/// one is freed all the same).
struct DeleteCommand {
  std::string_view key;
  /// Pop: return the value that was deleted.
  bool with_value = false;
  /// Only if the item has this version; 0 = any.
  std::uint64_t version_expected = 0;
};

/// Evicts every item that has the tag at one moment, for every reader and after
/// any crash; `count` says how many. Others write meanwhile.
struct EvictTagCommand {
  std::string_view tag;
};
/// Deletes everything; `count` says how many items were live. O(1).
struct ClearCommand {};
/// Settles what has expired up to `now` (nullopt: the clock); `count` says how
/// many items expired since the last ExpireCommand of anybody, whoever settled
/// them: this call, others that met them, or the background. Those that were
/// evicted before are not among them.
struct ExpireCommand {
  std::optional<TimePoint> now = {};
};
/// Expires, then evicts until the cache is within its limits, and hands space
/// back; `count` is the number of items evicted. `live_bytes_target` lowers
/// the live bytes to that figure first.
struct CullCommand {
  std::optional<std::uint64_t> live_bytes_target = {};
};

using Command = std::variant<SetCommand, GetCommand, IncrCommand, TouchCommand,
                             DeleteCommand, EvictTagCommand, ClearCommand,
                             ExpireCommand, CullCommand>;

/// What the engine knows of an item besides its value.
struct ItemInfo {
  /// Bytes of the value as stored (after compression).
  std::uint64_t size_bytes = 0;
  /// Another, larger one with every new value of the item (Touch keeps it);
  /// never reused in a directory.
  std::uint64_t version = 0;
  TimePoint stored_at{};
  TimePoint expires_at = kNeverExpires;
  std::string tag = {};
  /// Hits counted by the policy; a lower bound.
  std::uint32_t frequency = 0;
  CodecId codec = 0;
  bool pinned = false;
};

/// The answer to one command.
struct Reply {
  Status status = {};
  /// Get: a live item was found. Mutations: the change was made.
  bool applied = false;
  /// Get, Pop: the value.
  ValueHandle value = {};
  /// Get, Pop: of the item found. Mutations: `version` is the new version, or
  /// after a failed condition the version that is there (0 = none).
  ItemInfo info = {};
  /// Incr: the new value.
  std::int64_t integer = 0;
  /// EvictTag, Clear, Expire, Cull.
  std::uint64_t count = 0;
};

/// True for commands that may change the store.
[[nodiscard]] bool IsMutation(const Command& command) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_COMMAND_H_
