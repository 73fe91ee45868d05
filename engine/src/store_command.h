#ifndef LARDER_ENGINE_SRC_STORE_COMMAND_H_
#define LARDER_ENGINE_SRC_STORE_COMMAND_H_

#include <atomic>
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

/// Bytes that were granted to a writer, until it has written them.
class InFlight {
 public:
  InFlight(std::atomic<std::uint64_t>& total, std::uint64_t bytes) noexcept
      : total_(total), bytes_(bytes) {
    if (bytes_ != 0) total_.fetch_add(bytes_);
  }
  ~InFlight() {
    if (bytes_ != 0) total_.fetch_sub(bytes_);
  }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  std::atomic<std::uint64_t>& total_;
  const std::uint64_t bytes_;
};

/// What an entry takes in the database until it is compacted, about, besides
/// its key and its tag.
inline constexpr std::uint64_t kIncomingEntryBytes = 160;

/// An empty batch that keeps its memory from one call of the thread to the
/// next.
[[nodiscard]] PendingBatch& ThreadBatch() noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_COMMAND_H_
