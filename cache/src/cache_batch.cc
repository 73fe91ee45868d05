#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "larder/cache/cache.h"

#include "cache_temporary_directory.h"
#include "commands.h"
#include "compression_choice.h"
#include "decompressing.h"
#include "write_batch_impl.h"

// Calls on many items: one Execute each, so that they are one message and one
// commit, whatever carries them.

namespace larder {

using internal::CheckKey;
using internal::CompressCommand;
using internal::MakeSet;

namespace {

Status CheckBatchSize(std::size_t count) noexcept {
  if (count <= kBatchCommandCountMax) return {};
  return Status::InvalidArgument("batch of " + std::to_string(count) +
                                 " items; the most is " +
                                 std::to_string(kBatchCommandCountMax));
}

std::string_view KeyOf(const Command& command) noexcept {
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

}  // namespace

Status Cache::WriteAll(std::vector<Command> commands, std::span<Reply> replies,
                       std::optional<Durability> durability) noexcept {
  LARDER_RETURN_IF_ERROR(CheckBatchSize(commands.size()));
  // Reserved as a whole, since the commands point into the frames.
  std::vector<std::optional<std::string>> frames;
  for (Command& command : commands) {
    LARDER_RETURN_IF_ERROR(CheckKey(KeyOf(command)));
    auto* const set = std::get_if<SetCommand>(&command);
    if (set == nullptr) continue;
    const Compression compression = compression_->For(set->value.size());
    if (compression == Compression::kNone) continue;
    if (frames.empty()) frames.reserve(commands.size());
    CompressCommand(compression, *set, frames.emplace_back());
  }
  return engine_->Execute(commands, replies,
                          {.durability = durability, .all_or_nothing = true});
}

Status Cache::SetMany(std::span<const SetItem> items,
                      const SetOptions& options) noexcept {
  LARDER_RETURN_IF_ERROR(CheckBatchSize(items.size()));
  std::vector<Command> commands;
  commands.reserve(items.size());
  for (const SetItem& item : items) {
    commands.emplace_back(
        MakeSet(item.key, item.value, kCodecIdBytes, options));
  }
  std::vector<Reply> replies(items.size());
  return WriteAll(std::move(commands), replies, options.durability);
}

Result<std::uint64_t> Cache::DeleteMany(
    std::span<const std::string_view> keys) noexcept {
  LARDER_FAIL_IF_ERROR(CheckBatchSize(keys.size()));
  std::vector<Command> commands;
  commands.reserve(keys.size());
  for (const std::string_view key : keys) {
    commands.emplace_back(DeleteCommand{.key = key});
  }
  std::vector<Reply> replies(keys.size());
  LARDER_FAIL_IF_ERROR(WriteAll(std::move(commands), replies, {}));
  return static_cast<std::uint64_t>(std::ranges::count_if(
      replies, [](const Reply& reply) { return reply.applied; }));
}

Status Cache::Write(const WriteBatch& batch,
                    std::optional<Durability> durability) noexcept {
  LARDER_RETURN_IF_ERROR(CheckBatchSize(batch.size()));
  if (batch.size() == 0) return {};
  std::vector<Reply> replies(batch.size());
  return WriteAll(batch.impl_->commands, replies, durability);
}

Result<std::vector<std::optional<Value>>> Cache::MultiGet(
    std::span<const std::string_view> keys) noexcept {
  LARDER_FAIL_IF_ERROR(CheckBatchSize(keys.size()));
  std::vector<Command> commands;
  commands.reserve(keys.size());
  for (const std::string_view key : keys) {
    LARDER_FAIL_IF_ERROR(CheckKey(key));
    commands.emplace_back(GetCommand{.key = key});
  }
  std::vector<Reply> replies(keys.size());
  LARDER_FAIL_IF_ERROR(engine_->Execute(commands, replies));
  std::vector<std::optional<Value>> values;
  values.reserve(keys.size());
  for (Reply& reply : replies) {
    std::optional<Value>& value = values.emplace_back();
    Status status = std::move(reply.status);
    if (status.ok() && reply.applied) {
      value = Value{std::move(reply.value), std::move(reply.info)};
      status = internal::DecompressInPlace(value->handle, value->info);
    }
    if (status.code() == StatusCode::kCorruption) {
      value.reset();
    } else if (!status.ok()) {
      return Fail(std::move(status));
    }
  }
  return values;
}

}  // namespace larder
