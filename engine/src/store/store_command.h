#ifndef LARDER_ENGINE_SRC_STORE_STORE_COMMAND_H_
#define LARDER_ENGINE_SRC_STORE_STORE_COMMAND_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "larder/engine/command.h"

#include "index/pending_batch.h"

/// What the store's ways of executing commands share.

namespace larder {

/// The key of a command of one key; else empty.
inline std::string_view KeyOf(const Command& command) noexcept {
  return std::visit(
      [](const auto& c) -> std::string_view {
        if constexpr (requires { c.key; }) {
          return c.key;
        } else {
          return {};
        }
      },
      command);
}

/// Whether nothing but deletes, evictions and the like is among them.
[[nodiscard]] bool FreesSpace(std::span<const Command> commands) noexcept;

/// What an entry takes in the database until it is compacted, about, besides
/// its key and its tag.
inline constexpr std::uint64_t kIncomingEntryBytes = 160;

/// The most that an index line takes there, besides its key and its tag.
inline constexpr std::uint64_t kIncomingLineBytes = 32;

/// What stores an item, besides its value: its entry, its record in a run, its
/// lines in the indexes of tags and of expiry, and the end of the old ones.
[[nodiscard]] constexpr std::uint64_t AdditionBytes(std::size_t key_size,
                                                    std::size_t tag_size,
                                                    bool has_ttl) noexcept {
  const std::uint64_t line = key_size + kIncomingLineBytes;
  return kIncomingEntryBytes + 4 * line + 2 * tag_size + (has_ttl ? line : 0);
}

/// What deletes an item: its entry and, if it had them, its lines in the
/// indexes of tags and of expiry.
[[nodiscard]] constexpr std::uint64_t DeletionBytes(
    std::size_t key_size, std::size_t tag_size) noexcept {
  return 3 * (key_size + kIncomingLineBytes) + tag_size;
}

/// An empty batch that keeps its memory from one call of the thread to the
/// next.
[[nodiscard]] PendingBatch& ThreadBatch() noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_STORE_COMMAND_H_
