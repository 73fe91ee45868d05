#include "session_model.h"

#include <algorithm>
#include <vector>

#include "messages/command_codec.h"

namespace larder::testing {
namespace {

// A rank that no cutoff of the tests reaches.
constexpr Rank kSomeRank = Rank{kClassMain} << 62 | 1;

std::string_view KeyOf(const Command& command) {
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

bool IsWholeCache(const Command& command) {
  return std::holds_alternative<EvictTagCommand>(command) ||
         std::holds_alternative<ClearCommand>(command) ||
         std::holds_alternative<ExpireCommand>(command) ||
         std::holds_alternative<CullCommand>(command);
}

HotItem ItemOf(const Reply& reply) {
  HotItem item;
  item.value = reply.value.bytes();
  item.tag = reply.info.tag;
  item.version = reply.info.version;
  item.stored_at = reply.info.stored_at;
  item.expires_at = reply.info.expires_at;
  item.rank = kSomeRank;
  item.frequency = reply.info.frequency;
  item.codec = reply.info.codec;
  item.pinned = reply.info.pinned;
  return item;
}

}  // namespace

// A stream's commit changes one key, like a Set.
class SessionModelWriter final : public ValueWriter {
 public:
  SessionModelWriter(SessionModel& model, std::string key,
                     std::unique_ptr<ValueWriter> inner)
      : model_(model), key_(std::move(key)), inner_(std::move(inner)) {}
  Status Append(std::string_view bytes) noexcept override {
    return inner_->Append(bytes);
  }
  Reply Commit() noexcept override {
    const std::lock_guard lock(model_.disk_->mutex);
    if (model_.hot_ == nullptr) return inner_->Commit();
    const HotKey key(key_);
    const HotWriter::Ticket ticket = model_.hot_->Begin(key);
    Reply reply = inner_->Commit();
    model_.hot_->Drop(ticket, key);
    return reply;
  }

 private:
  SessionModel& model_;
  const std::string key_;
  const std::unique_ptr<ValueWriter> inner_;
};

Result<std::unique_ptr<SessionStore>> SessionModel::Open(
    std::shared_ptr<SessionDisk> disk, const EngineOptions& options) {
  auto inner = ModelEngine::Open(disk->items, options);
  if (!inner) return Fail(std::move(inner.error()));
  return std::unique_ptr<SessionStore>(
      new SessionModel(std::move(disk), std::move(*inner)));
}

Status SessionModel::Execute(std::span<const Command> commands,
                             std::span<Reply> replies,
                             const ExecuteOptions& options) noexcept {
  const std::lock_guard lock(disk_->mutex);
  return ExecuteLocked(commands, replies, options);
}

Status SessionModel::ExecuteAs(const Session& session,
                               std::span<const Command> commands,
                               std::span<Reply> replies,
                               const ExecuteOptions& options,
                               PlacedValues& /*placed*/) noexcept {
  const std::lock_guard lock(disk_->mutex);
  Status status = ExecuteLocked(commands, replies, options);
  std::string encoded;
  EncodeReplies(encoded, status, replies, {});
  disk_->records[session.uid] = {session.sequence, std::move(encoded)};
  return status;
}

std::optional<std::string> SessionModel::FindReply(
    const Session& session) noexcept {
  const std::lock_guard lock(disk_->mutex);
  const auto it = disk_->records.find(session.uid);
  if (it == disk_->records.end() || it->second.first != session.sequence) {
    return std::nullopt;
  }
  return it->second.second;
}

PolicyInForce SessionModel::policy() const noexcept {
  const std::lock_guard lock(disk_->mutex);
  const bool runs = std::find(policies_.begin(), policies_.end(),
                              disk_->policy) != policies_.end();
  return {.set = disk_->policy, .running = runs ? disk_->policy : "adaptive"};
}

void SessionModel::ForgetClient(std::uint64_t uid) noexcept {
  const std::lock_guard lock(disk_->mutex);
  disk_->records.erase(uid);
}

void SessionModel::SetHotTier(HotWriter* hot) noexcept {
  const std::lock_guard lock(disk_->mutex);
  if (hot_ != nullptr) {
    const HotTierFigures figures = hot_->Figures();
    disk_->hot_hits += figures.hits - hot_hits_seen_;
    disk_->hot_misses += figures.misses - hot_misses_seen_;
  }
  hot_ = hot;
  if (hot_ == nullptr) return;
  const HotTierFigures figures = hot_->Figures();
  hot_hits_seen_ = figures.hits;
  hot_misses_seen_ = figures.misses;
}

Result<std::unique_ptr<ValueWriter>> SessionModel::OpenWriter(
    const SetCommand& command, std::uint64_t size_expected,
    const ExecuteOptions& options) noexcept {
  auto inner = inner_->OpenWriter(command, size_expected, options);
  if (!inner) return inner;
  return std::make_unique<SessionModelWriter>(*this, std::string(command.key),
                                              std::move(*inner));
}

// Reads that the tier answered are reads of this cache.
Result<EngineStats> SessionModel::Stats() noexcept {
  auto stats = inner_->Stats();
  const std::lock_guard lock(disk_->mutex);
  if (!stats) return stats;
  stats->hits += disk_->hot_hits;
  stats->misses += disk_->hot_misses;
  if (hot_ == nullptr) return stats;
  const HotTierFigures figures = hot_->Figures();
  stats->hits += figures.hits - hot_hits_seen_;
  stats->misses += figures.misses - hot_misses_seen_;
  return stats;
}

Status SessionModel::ExecuteLocked(std::span<const Command> commands,
                                   std::span<Reply> replies,
                                   const ExecuteOptions& options) noexcept {
  if (hot_ == nullptr) return inner_->Execute(commands, replies, options);
  if (std::any_of(commands.begin(), commands.end(), IsWholeCache)) {
    return ChangeAll(commands, replies, options);
  }
  if (std::any_of(commands.begin(), commands.end(), IsMutation)) {
    return Change(commands, replies, options);
  }
  return Read(commands, replies, options);
}

Reply SessionModel::Look(std::string_view key) noexcept {
  // Not a read of the cache: statistics do not count it.
  const Command get = GetCommand{.key = key, .with_value = false};
  Reply reply;
  if (!inner_->Execute({&get, 1}, {&reply, 1}, {}).ok()) reply = Reply();
  return reply;
}

// Hide, commit, show, in this order, for all keys together.
Status SessionModel::Change(std::span<const Command> commands,
                            std::span<Reply> replies,
                            const ExecuteOptions& options) noexcept {
  std::vector<std::string_view> keys;
  for (const Command& command : commands) {
    if (IsMutation(command)) keys.push_back(KeyOf(command));
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  hot_->BeginBatch();
  std::vector<HotWriter::Ticket> tickets;
  for (const std::string_view key : keys) {
    tickets.push_back(hot_->Begin(HotKey(key)));
  }
  Status status = inner_->Execute(commands, replies, options);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const HotKey key(keys[i]);
    Reply now = Look(keys[i]);
    // The value is at hand if the last command of the key was a Set.
    const SetCommand* set = nullptr;
    for (std::size_t c = 0; c < commands.size(); ++c) {
      if (!IsMutation(commands[c]) || KeyOf(commands[c]) != keys[i]) continue;
      set =
          replies[c].applied ? std::get_if<SetCommand>(&commands[c]) : nullptr;
    }
    if (!now.status.ok() || !status.ok()) {
      hot_->Drop(tickets[i], key);
    } else if (!now.applied) {
      hot_->PublishAbsent(tickets[i], key);
    } else if (set != nullptr && set->value.size() == now.info.size_bytes &&
               set->condition == SetCondition::kAlways) {
      HotItem item = ItemOf(now);
      item.value = set->value;
      hot_->Publish(tickets[i], key, item);
    } else {
      hot_->Drop(tickets[i], key);
    }
  }
  hot_->EndBatch();
  return status;
}

Status SessionModel::ChangeAll(std::span<const Command> commands,
                               std::span<Reply> replies,
                               const ExecuteOptions& options) noexcept {
  if (const auto* evict = std::get_if<EvictTagCommand>(&commands[0])) {
    hot_->BeginEvictTag(evict->tag);
  } else {
    hot_->BeginClear();
  }
  Status status = inner_->Execute(commands, replies, options);
  hot_->EndInvalidation();
  return status;
}

Status SessionModel::Read(std::span<const Command> commands,
                          std::span<Reply> replies,
                          const ExecuteOptions& options) noexcept {
  std::vector<HotWriter::FillToken> tokens;
  for (const Command& command : commands) {
    tokens.push_back(hot_->BeginFill(HotKey(KeyOf(command))));
  }
  Status status = inner_->Execute(commands, replies, options);
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const auto* get = std::get_if<GetCommand>(&commands[i]);
    if (!status.ok() || get == nullptr || !replies[i].status.ok()) continue;
    const HotKey key(get->key);
    if (!replies[i].applied) {
      hot_->FillAbsent(tokens[i], key);
    } else if (get->with_value) {
      hot_->Fill(tokens[i], key, ItemOf(replies[i]));
    }
  }
  return status;
}

}  // namespace larder::testing
