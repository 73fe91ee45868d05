#include <algorithm>

#include "check.h"
#include "command_codec.h"
#include "store.h"
#include "store_command.h"
#include "store_keys.h"
#include "store_locks.h"

// Session records: what was answered to a client's last change, in the same
// commit as the change. A client whose holder died asks the next one again, and
// is given the recorded answer. They lie in `counters`, which every commit
// writes to anyway, so they keep no old WAL alive.

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
  auto grant = TakeGrant(session.uid, placed.written[0]);
  if (!grant) return grant.error();
  auto stored = AcceptValue(*grant, set->key, placed.written[0]);
  if (!stored) return stored.error();
  caller.stored = &*stored;
  return ExecuteFor(caller, commands, replies, options);
}

Status Store::LoadSessions() noexcept {
  const std::scoped_lock lock(sessions_mutex_);
  sessions_.clear();
  const std::unique_ptr<rocksdb::Iterator> it(
      rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->counters()));
  for (it->Seek(kSessionPrefix);
       it->Valid() && it->key().starts_with(kSessionPrefix); it->Next()) {
    const std::optional<std::uint64_t> uid =
        ParseSessionKey(it->key().ToStringView());
    const std::string_view value = it->value().ToStringView();
    if (!uid || value.size() < sizeof(std::uint64_t)) continue;
    sessions_[*uid] = {LoadBigEndian64(value.data()),
                       std::string(value.substr(sizeof(std::uint64_t)))};
  }
  return FromRocks(it->status(), "reading session records");
}

void Store::AddRecord(const Session& session, const Status& status,
                      std::span<const Reply> replies,
                      PendingBatch& pending) noexcept {
  PendingBatch::Record& record = pending.records.emplace_back();
  record.uid = session.uid;
  record.bytes.resize(sizeof(std::uint64_t));
  StoreBigEndian64(record.bytes.data(), session.sequence);
  EncodeReplies(record.bytes, status, replies, {});
  LARDER_CHECK(
      pending.batch
          .Put(rocks_->counters(), SessionKey(session.uid), record.bytes)
          .ok());
}

void Store::KeepRecords(PendingBatch& pending) noexcept {
  if (pending.records.empty()) return;
  const std::scoped_lock lock(sessions_mutex_);
  for (const PendingBatch::Record& added : pending.records) {
    SessionRecord& record = sessions_[added.uid];
    record.sequence = LoadBigEndian64(added.bytes.data());
    record.replies.assign(added.bytes, sizeof(std::uint64_t));
  }
}

void Store::ExecuteGroup(std::span<ClientChange> changes) noexcept {
  if (!has_clients_.load(std::memory_order_relaxed)) has_clients_ = true;
  if (!TryExecuteGroup(changes)) SessionStore::ExecuteGroup(changes);
}

bool Store::TryExecuteGroup(std::span<ClientChange> changes) noexcept {
  const auto gate = store_gate_.Enter();
  if (changes.size() < 2 || faulted_ || !CheckOpen().ok() ||
      !CheckWritable().ok()) {
    return false;
  }
  const Durability durability =
      changes[0].options.durability.value_or(durability_.load());
  std::uint64_t incoming = 0;
  std::uint64_t items = 0;
  for (const ClientChange& change : changes) {
    const std::uint64_t bytes = IncomingBytes(*change.command);
    incoming += bytes;
    items += bytes != 0 && MayAddItem(KeyOf(*change.command)) ? 1 : 0;
    if (!ValidateCommand(*change.command).ok() ||
        change.options.durability.value_or(durability_.load()) != durability) {
      return false;
    }
  }
  if (incoming != 0 && !MakeRoom(incoming, items).ok()) return false;
  const InFlight in_flight(in_flight_bytes_, incoming);
  PendingBatch& pending = ThreadBatch();
  const auto writing = write_gate_.Enter();
  StartBatch(pending);
  pending.keep_overlay = true;  // Two may be of one key.
  StripeLocks locks(*this);
  for (const ClientChange& change : changes) locks.Add(KeyOf(*change.command));
  locks.LockAdded();
  for (ClientChange& change : changes) {
    const auto before = pending.batch.Count();
    Apply(*change.command, pending, *change.reply);
    if (change.options.all_or_nothing) change.status = change.reply->status;
    if (pending.batch.Count() != before) {
      AddRecord(change.session, Status::Ok(), {change.reply, 1}, pending);
    }
  }
  if (pending.empty()) return true;
  const Status committed = Commit(pending, durability);
  if (committed.ok()) {
    KeepRecords(pending);
    return true;
  }
  for (ClientChange& change : changes) {
    *change.reply = Reply();
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
  if (faulted_ ||
      !rocks_->db().Write(rocksdb::WriteOptions(), &pending.batch).ok()) {
    return;
  }
  KeepRecords(pending);
}

std::optional<std::string> Store::FindReply(const Session& session) noexcept {
  const std::scoped_lock lock(sessions_mutex_);
  const auto found = sessions_.find(session.uid);
  if (found == sessions_.end() || found->second.sequence != session.sequence) {
    return std::nullopt;
  }
  return found->second.replies;
}

void Store::ForgetClient(std::uint64_t uid) noexcept {
  const auto gate = store_gate_.Enter();
  DropGrants(uid);
  {
    const std::scoped_lock lock(sessions_mutex_);
    if (sessions_.erase(uid) == 0) return;
  }
  if (!CheckOpen().ok() || read_only_ || faulted_) return;
  // A record that stays is dropped by the next holder.
  rocks_->db()
      .Delete(rocksdb::WriteOptions(), rocks_->counters(), SessionKey(uid))
      .PermitUncheckedError();
}

void Store::RetainClients(std::span<const std::uint64_t> uids) noexcept {
  std::vector<std::uint64_t> gone;
  {
    const std::scoped_lock lock(sessions_mutex_);
    for (const auto& [uid, record] : sessions_) {
      if (std::find(uids.begin(), uids.end(), uid) == uids.end()) {
        gone.push_back(uid);
      }
    }
  }
  for (const std::uint64_t uid : gone) ForgetClient(uid);
}

}  // namespace larder
