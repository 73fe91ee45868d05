#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "base/check.h"
#include "index/store_keys.h"
#include "messages/command_codec.h"
#include "store/store.h"
#include "store/store_command.h"
#include "store/store_locks.h"

// Changes of clients. A client whose holder died asks the next one again, and
// is given the recorded answer.

namespace larder {

Status Store::ExecuteAs(const Session& session,
                        std::span<const Command> commands,
                        std::span<Reply> replies, const ExecuteOptions& options,
                        PlacedValues& placed) noexcept {
  // Relaxed, and stored only once: every call reads it.
  if (!has_clients_.load(std::memory_order_relaxed)) has_clients_ = true;
  Caller caller{.session = &session, .placed = &placed};
  if (placed.written.empty()) {
    return ExecuteFor(caller, commands, replies, options);
  }
  const auto* set =
      commands.size() == 1 ? std::get_if<SetCommand>(&commands[0]) : nullptr;
  if (set == nullptr || placed.written.size() != 1) {
    return Status::InvalidArgument("only a Set alone may have a placed value");
  }
  // The grant is kept until the commit: its segment is not cleaned meanwhile.
  auto grant = grants_.Take(session.uid, placed.written[0].version);
  if (!grant) return grant.error();
  auto stored = AcceptValue(*grant, set->key, placed.written[0]);
  if (!stored) return stored.error();
  caller.stored = &*stored;
  return ExecuteFor(caller, commands, replies, options);
}

void Store::AddRecorded(std::span<const Command> commands,
                        Incoming& incoming) noexcept {
  std::unordered_map<std::string_view, std::uint64_t> set_before;
  for (const Command& command : commands) {
    if (const auto* set = std::get_if<SetCommand>(&command)) {
      set_before[set->key] = set->value.size();
    }
    const auto* get = std::get_if<GetCommand>(&command);
    const auto* pop = std::get_if<DeleteCommand>(&command);
    if (!(get != nullptr && get->with_value) &&
        !(pop != nullptr && pop->with_value)) {
      continue;
    }
    OldItem old;
    std::uint64_t size = 0;
    if (LookupInIndex(KeyOf(command), old).ok() && old.live) {
      size = old.entry.value_size;
    }
    const auto set = set_before.find(KeyOf(command));
    if (set != set_before.end()) size = std::max(size, set->second);
    incoming.recorded_bytes += size;
  }
  incoming.database_bytes += incoming.recorded_bytes;
}

Status Store::CheckRecordable(std::span<const Reply> replies,
                              const Incoming& incoming) noexcept {
  std::uint64_t bytes = 0;
  for (const Reply& reply : replies) bytes += reply.value.size();
  if (bytes <= incoming.recorded_bytes + kRecordedValueSizeMax) {
    return Status::Ok();
  }
  return {StatusCode::kAborted,
          "values that a batch returns became larger meanwhile: try again"};
}

void Store::AddRecord(const Session& session, const Status& status,
                      std::span<const Reply> replies,
                      PendingBatch& pending) noexcept {
  pending.records.push_back(SessionRecords::Encode(session, status, replies));
  sessions_.Add(pending.records.back(), rocks_->counters(), pending.batch);
}

void Store::ExecuteGroup(std::span<ClientChange> changes) noexcept {
  if (!has_clients_.load(std::memory_order_relaxed)) has_clients_ = true;
  if (!TryExecuteGroup(changes)) SessionStore::ExecuteGroup(changes);
}

bool Store::TryExecuteGroup(std::span<ClientChange> changes) noexcept {
  const UncountedScope uncounted;
  const auto gate = store_gate_.Enter();
  if (changes.size() < 2 || faults_.any() || !CheckOpen().ok() ||
      !CheckWritable().ok()) {
    return false;
  }
  const Durability durability =
      changes[0].options.durability.value_or(settings_.durability());
  Incoming incoming;
  for (const ClientChange& change : changes) {
    AddIncoming(*change.command, incoming);
    if (!ValidateCommand(*change.command).ok() ||
        change.options.durability.value_or(settings_.durability()) !=
            durability) {
      return false;
    }
  }
  RoomClaim claim;
  if (!incoming.empty() && !MakeRoom(incoming, claim).ok()) return false;
  PendingBatch& pending = ThreadBatch();
  const BatchScope scope(pending);
  const auto writing = write_gate_.Enter();
  StartBatch(pending);
  pending.keep_overlay = true;  // Two may be of one key.
  StripeLocks locks(*this);
  for (const ClientChange& change : changes) locks.Add(KeyOf(*change.command));
  locks.LockAdded();
  for (ClientChange& change : changes) {
    *change.reply = Reply();
    change.found.clear();
    const auto before = pending.batch.Count();
    Apply(*change.command, change.session.uid != 0 ? &change.found : nullptr,
          pending, *change.reply);
    change.status =
        change.options.all_or_nothing ? change.reply->status : Status::Ok();
    if (pending.batch.Count() != before && change.session.uid != 0) {
      pending.records.push_back(SessionRecords::Encode(
          change.session, Status::Ok(), {change.reply, 1}));
    }
  }
  claim.ReleaseLog();
  pending.claim = &claim;
  if (pending.empty()) return true;
  if (!pending.records.empty()) {
    sessions_.AddGroup(pending.records, rocks_->counters(), pending.batch);
  }
  const Status committed = Commit(pending, durability);
  if (committed.ok()) {
    sessions_.Keep(pending.records);
    return true;
  }
  for (ClientChange& change : changes) {
    *change.reply = Reply();
    change.found.clear();
  }
  if (committed.code() == StatusCode::kNoSpace &&
      std::any_of(changes.begin(), changes.end(), [](const auto& change) {
        return FreesSpace({change.command, 1});
      })) {
    return false;  // One by one, those that free space are given the reserve.
  }
  for (ClientChange& change : changes) {
    change.reply->status = committed;
    change.status = committed;
  }
  return true;
}

void Store::SaveRecord(const Session& session,
                       std::span<const Reply> replies) noexcept {
  PendingBatch pending;
  AddRecord(session, Status::Ok(), replies, pending);
  // What these commands do can be done twice; only their count is lost.
  if (faults_.any() ||
      !rocks_->db().Write(rocksdb::WriteOptions(), &pending.batch).ok()) {
    return;
  }
  sessions_.Keep(pending.records);
}

std::optional<std::string> Store::FindReply(const Session& session) noexcept {
  return sessions_.Find(session);
}

void Store::ForgetClient(std::uint64_t uid) noexcept {
  const auto gate = store_gate_.Enter();
  grants_.DropAllOf(uid);
  const std::vector<std::string> rows = sessions_.Forget(uid);
  if (rows.empty() || !CheckOpen().ok() || read_only_ || faults_.any()) return;
  rocksdb::WriteBatch batch;
  for (const std::string& row : rows) {
    LARDER_CHECK(batch.Delete(rocks_->counters(), row).ok());
  }
  // What stays is dropped by the next holder.
  rocks_->db().Write(rocksdb::WriteOptions(), &batch).PermitUncheckedError();
}

void Store::RetainClients(std::span<const std::uint64_t> uids) noexcept {
  for (const std::uint64_t uid : sessions_.Clients()) {
    if (std::find(uids.begin(), uids.end(), uid) == uids.end()) {
      ForgetClient(uid);
    }
  }
}

}  // namespace larder
