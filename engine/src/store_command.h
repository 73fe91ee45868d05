#ifndef LARDER_ENGINE_SRC_STORE_COMMAND_H_
#define LARDER_ENGINE_SRC_STORE_COMMAND_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "larder/engine/command.h"

#include "pending_batch.h"

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

/// An empty batch that keeps its memory from one call of the thread to the
/// next.
[[nodiscard]] PendingBatch& ThreadBatch() noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_COMMAND_H_
