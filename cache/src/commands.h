#ifndef LARDER_CACHE_SRC_COMMANDS_H_
#define LARDER_CACHE_SRC_COMMANDS_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "larder/cache/item.h"
#include "larder/engine/command.h"
#include "larder/engine/limits.h"
#include "larder/serializers/codec_id.h"
#include "larder/serializers/compression.h"

/// How calls of the facade become commands, and replies its answers.

namespace larder::internal {

inline Status CheckKey(std::string_view key) noexcept {
  if (key.size() <= kKeySizeBytesMax) [[likely]] {
    return {};
  }
  return {StatusCode::kKeyTooLarge, "key of " + std::to_string(key.size()) +
                                        " bytes; the most is " +
                                        std::to_string(kKeySizeBytesMax)};
}

inline SetCommand MakeSet(std::string_view key, std::string_view bytes,
                          CodecId codec, const SetOptions& options) noexcept {
  return {.key = key,
          .value = bytes,
          .codec = codec,
          .ttl = options.ttl,
          .tag = options.tag,
          .pinned = options.pinned,
          .cost = options.cost};
}

/// Replaces the value of `command` by a frame in `*frame` if that is smaller.
inline void CompressCommand(Compression compression, SetCommand& command,
                            std::optional<std::string>& frame) noexcept {
  if (command.codec == kCodecIdInt64 || IsCompressed(command.codec)) return;
  frame = Compress(compression, command.value);
  if (!frame) return;
  command.value = *frame;
  command.codec |= kCodecIdCompressedFlag;
}

}  // namespace larder::internal

#endif  // LARDER_CACHE_SRC_COMMANDS_H_
