#include "index/session_records.h"

#include <algorithm>
#include <memory>

#include <rocksdb/db.h>

#include "base/check.h"
#include "base/coding.h"
#include "index/rocks.h"
#include "index/store_keys.h"
#include "messages/command_codec.h"

namespace larder {
namespace {

constexpr std::size_t kGroupSizeMax = 8;
// A longer record goes into its client's own row, else each commit of the
// others would write it, too.
constexpr std::size_t kGroupRecordSizeMax = 256;
constexpr std::size_t kSequenceSize = sizeof(std::uint64_t);
constexpr std::size_t kUidSize = sizeof(std::uint64_t);

std::uint64_t SequenceOf(std::string_view record) {
  return record.size() < kSequenceSize ? 0 : LoadBigEndian64(record.data());
}

void AppendToRow(std::string& row, std::uint64_t uid, std::string_view record) {
  const std::size_t at = row.size();
  row.resize(at + kUidSize);
  StoreBigEndian64(row.data() + at, uid);
  PutVarint(row, record.size());
  row.append(record);
}

}  // namespace

SessionRecords::Record SessionRecords::Encode(const Session& session,
                                              const Status& status,
                                              std::span<const Reply> replies) {
  Record record;
  record.uid = session.uid;
  record.bytes.resize(kSequenceSize);
  StoreBigEndian64(record.bytes.data(), session.sequence);
  EncodeReplies(record.bytes, status, replies, {});
  return record;
}

Status SessionRecords::Load(rocksdb::DB& db,
                            rocksdb::ColumnFamilyHandle* counters) noexcept {
  const std::lock_guard lock(mutex_);
  clients_.clear();
  groups_.clear();
  const std::unique_ptr<rocksdb::Iterator> it(
      db.NewIterator(rocksdb::ReadOptions(), counters));
  for (it->Seek(kSessionPrefix);
       it->Valid() && it->key().starts_with(kSessionPrefix); it->Next()) {
    const auto uid = ParseSessionKey(it->key().ToStringView());
    if (uid) Take(*uid, it->value().ToStringView());
  }
  for (it->Seek(kSessionGroupPrefix);
       it->Valid() && it->key().starts_with(kSessionGroupPrefix); it->Next()) {
    const auto group = ParseSessionGroupKey(it->key().ToStringView());
    if (group) LoadGroup(*group, it->value().ToStringView());
  }
  return FromRocks(it->status(), "reading session records");
}

// A row that makes no sense ends where it stops to.
void SessionRecords::LoadGroup(std::uint32_t group, std::string_view row) {
  std::vector<std::uint64_t>& members = groups_[group];
  ByteReader reader(row);
  while (!reader.rest().empty()) {
    const std::string_view uid_bytes = reader.Bytes(kUidSize);
    const std::string_view record = reader.Bytes(reader.Varint());
    if (!reader.ok()) return;
    const std::uint64_t uid = LoadBigEndian64(uid_bytes.data());
    Take(uid, record);
    Client& client = clients_[uid];
    if (client.group) continue;
    client.group = group;
    members.push_back(uid);
  }
}

void SessionRecords::Take(std::uint64_t uid, std::string_view record) {
  std::string& known = clients_[uid].record;
  if (record.size() >= kSequenceSize &&
      (known.empty() || SequenceOf(record) > SequenceOf(known))) {
    known.assign(record);
  }
}

std::optional<std::string> SessionRecords::Find(const Session& session) {
  const std::lock_guard lock(mutex_);
  const auto found = clients_.find(session.uid);
  if (found == clients_.end() || found->second.record.empty() ||
      SequenceOf(found->second.record) != session.sequence) {
    return std::nullopt;
  }
  return found->second.record.substr(kSequenceSize);
}

void SessionRecords::Add(const Record& record,
                         rocksdb::ColumnFamilyHandle* counters,
                         rocksdb::WriteBatch& batch) {
  LARDER_CHECK(batch.Put(counters, SessionKey(record.uid), record.bytes).ok());
}

std::uint32_t SessionRecords::GroupOf(std::uint64_t uid) {
  Client& client = clients_[uid];
  if (client.group) return *client.group;
  std::uint32_t group = 0;
  for (const auto& [number, members] : groups_) {
    if (members.size() < kGroupSizeMax) {
      group = number;
      break;
    }
    group = number + 1;
  }
  client.group = group;
  groups_[group].push_back(uid);
  return group;
}

void SessionRecords::AddGroup(std::span<const Record> records,
                              rocksdb::ColumnFamilyHandle* counters,
                              rocksdb::WriteBatch& batch) {
  if (records.size() == 1) return Add(records[0], counters, batch);
  const std::lock_guard lock(mutex_);
  std::vector<std::uint32_t> touched;
  for (const Record& record : records) {
    if (record.bytes.size() > kGroupRecordSizeMax) {
      Add(record, counters, batch);
      continue;
    }
    const std::uint32_t group = GroupOf(record.uid);
    if (std::find(touched.begin(), touched.end(), group) == touched.end()) {
      touched.push_back(group);
    }
  }
  std::string row;
  for (const std::uint32_t group : touched) {
    row.clear();
    for (const std::uint64_t uid : groups_[group]) {
      const auto added = std::find_if(
          records.begin(), records.end(),
          [uid](const Record& record) { return record.uid == uid; });
      const std::string& record =
          added != records.end() ? added->bytes : clients_[uid].record;
      if (record.size() <= kGroupRecordSizeMax) AppendToRow(row, uid, record);
    }
    LARDER_CHECK(batch.Put(counters, SessionGroupKey(group), row).ok());
  }
}

void SessionRecords::Keep(std::span<const Record> records) {
  if (records.empty()) return;
  const std::lock_guard lock(mutex_);
  for (const Record& record : records) Take(record.uid, record.bytes);
}

std::vector<std::string> SessionRecords::Forget(std::uint64_t uid) {
  const std::lock_guard lock(mutex_);
  const auto found = clients_.find(uid);
  if (found == clients_.end()) return {};
  std::vector<std::string> rows = {SessionKey(uid)};
  if (found->second.group) {
    const auto group = groups_.find(*found->second.group);
    std::erase(group->second, uid);
    if (group->second.empty()) {
      rows.push_back(SessionGroupKey(group->first));
      groups_.erase(group);
    }
  }
  clients_.erase(found);
  return rows;
}

std::vector<std::uint64_t> SessionRecords::Clients() {
  const std::lock_guard lock(mutex_);
  std::vector<std::uint64_t> uids;
  uids.reserve(clients_.size());
  for (const auto& [uid, client] : clients_) uids.push_back(uid);
  return uids;
}

}  // namespace larder
