#ifndef LARDER_ENGINE_SRC_INDEX_SESSION_RECORDS_H_
#define LARDER_ENGINE_SRC_INDEX_SESSION_RECORDS_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <rocksdb/write_batch.h>

#include "larder/engine/command.h"
#include "larder/engine/status.h"

#include "messages/session_store.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
}  // namespace rocksdb

namespace larder {

/// What was answered to each client's last change, kept in the same commit as
/// the change. They lie in `counters`, which every commit writes to anyway, so
/// they keep no old WAL alive. A client has a row of its own; those that often
/// change something at the same time share one, so that a common commit writes
/// one row for all of them. Of several rows the highest sequence counts.
///
/// Threads: thread-safe, but AddGroup one thread at a time, from it to Keep.
class SessionRecords {
 public:
  struct Record {
    std::uint64_t uid = 0;
    std::string bytes;  ///< The sequence (8 bytes), then the encoded replies.
  };
  static Record Encode(const Session& session, const Status& status,
                       std::span<const Reply> replies);

  /// In place of whatever is known. Errors: kIoError, kCorruption.
  Status Load(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* counters) noexcept;
  /// The replies, if the client's record is of this sequence.
  [[nodiscard]] std::optional<std::string> Find(const Session& session);
  /// Adds a record to a batch.
  void Add(const Record& record, rocksdb::ColumnFamilyHandle* counters,
           rocksdb::WriteBatch& batch);
  /// The same for several, of different clients.
  void AddGroup(std::span<const Record> records,
                rocksdb::ColumnFamilyHandle* counters,
                rocksdb::WriteBatch& batch);
  /// They are committed. As in Load, the highest sequence counts.
  void Keep(std::span<const Record> records);
  /// The client never comes again. The rows that nobody needs then.
  [[nodiscard]] std::vector<std::string> Forget(std::uint64_t uid);
  [[nodiscard]] std::vector<std::uint64_t> Clients();

 private:
  struct Client {
    std::string record;                  // Empty: none yet.
    std::optional<std::uint32_t> group;  // Whose row it may be in.
  };
  // All under mutex_.
  std::uint32_t GroupOf(std::uint64_t uid);
  void LoadGroup(std::uint32_t group, std::string_view row);
  void Take(std::uint64_t uid, std::string_view record);

  std::mutex mutex_;  // A leaf of the lock order; guards all.
  std::unordered_map<std::uint64_t, Client> clients_;
  std::map<std::uint32_t, std::vector<std::uint64_t>> groups_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_SESSION_RECORDS_H_
