#ifndef LARDER_CACHE_ITEM_H_
#define LARDER_CACHE_ITEM_H_

#include <optional>
#include <string_view>

#include "larder/engine/command.h"
#include "larder/engine/value_handle.h"

namespace larder {

/// What a Set may say about its item. It borrows the tag for the length of the
/// call.
struct SetOptions {
  /// nullopt = the `default_ttl` setting; zero or less = stored expired, so
  /// that the key is a miss afterwards.
  std::optional<Duration> ttl = {};
  /// Empty = none; at most kTagSizeBytesMax bytes.
  std::string_view tag = {};
  /// Never evicted; it still expires. See the `pinned` of SetCommand.
  bool pinned = false;
  /// What a miss costs, relative to others; used by the `cost` objective. 0 or
  /// more and finite, else kInvalidArgument.
  float cost = 1.0F;
  /// nullopt = the `durability` setting.
  std::optional<Durability> durability = {};
};

/// One item of SetMany; borrows its bytes for the length of the call.
struct SetItem {
  std::string_view key;
  std::string_view value;
};

/// The bytes of a live item, pinned where they lie, and what is known of it.
/// A compressed value comes decompressed, in a buffer of its own: `info.codec`
/// describes bytes(), `info.size_bytes` what is stored.
///
/// Threads:  thread-compatible.
/// Lifetime: release it before the cache is closed; see ValueHandle.
struct Value {
  ValueHandle handle;
  ItemInfo info;
  [[nodiscard]] std::string_view bytes() const noexcept {
    return handle.bytes();
  }
};

}  // namespace larder

#endif  // LARDER_CACHE_ITEM_H_
