// SQLite as DiskCache 5.6.3 uses it: its tables, indexes, triggers, pragmas
// and statements, its files for values from 32 KiB, and its order of work (the
// file first, then one transaction that looks the key up, updates or inserts,
// and culls). What it has not got is Python: this is the design's own cost.
//
// synchronous is 1 (NORMAL), as in DiskCache: with a WAL, SQLite then syncs at
// checkpoints only, so a commit is as durable as with the other engines.

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "stores/sqlite_connection.h"
#include "stores/store_adapter.h"
#include "stores/value_files.h"

namespace larder::bench {

namespace {

constexpr std::size_t kFileSizeBytesMin = std::size_t{32} << 10;
constexpr std::int64_t kModeRaw = 1;
constexpr std::int64_t kModeBinary = 2;
constexpr std::int64_t kCullLimit = 10;

constexpr const char* kPragmas =
    "PRAGMA auto_vacuum = 1;"
    "PRAGMA cache_size = 8192;"
    "PRAGMA journal_mode = wal;"
    "PRAGMA mmap_size = 67108864;"
    "PRAGMA synchronous = 1;";

constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS Settings (key TEXT NOT NULL UNIQUE, value);"
    "INSERT OR IGNORE INTO Settings VALUES ('count', 0);"
    "INSERT OR IGNORE INTO Settings VALUES ('size', 0);"
    "INSERT OR IGNORE INTO Settings VALUES ('hits', 0);"
    "INSERT OR IGNORE INTO Settings VALUES ('misses', 0);"
    "CREATE TABLE IF NOT EXISTS Cache ("
    " rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL,"
    " expire_time REAL, access_time REAL, access_count INTEGER DEFAULT 0,"
    " tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0,"
    " filename TEXT, value BLOB);"
    "CREATE UNIQUE INDEX IF NOT EXISTS Cache_key_raw ON Cache(key, raw);"
    "CREATE INDEX IF NOT EXISTS Cache_expire_time ON Cache (expire_time);"
    "CREATE TRIGGER IF NOT EXISTS Settings_count_insert AFTER INSERT ON Cache"
    " FOR EACH ROW BEGIN"
    " UPDATE Settings SET value = value + 1 WHERE key = 'count'; END;"
    "CREATE TRIGGER IF NOT EXISTS Settings_count_delete AFTER DELETE ON Cache"
    " FOR EACH ROW BEGIN"
    " UPDATE Settings SET value = value - 1 WHERE key = 'count'; END;"
    "CREATE TRIGGER IF NOT EXISTS Settings_size_insert AFTER INSERT ON Cache"
    " FOR EACH ROW BEGIN UPDATE Settings"
    " SET value = value + NEW.size WHERE key = 'size'; END;"
    "CREATE TRIGGER IF NOT EXISTS Settings_size_update AFTER UPDATE ON Cache"
    " FOR EACH ROW BEGIN UPDATE Settings"
    " SET value = value + NEW.size - OLD.size WHERE key = 'size'; END;"
    "CREATE TRIGGER IF NOT EXISTS Settings_size_delete AFTER DELETE ON Cache"
    " FOR EACH ROW BEGIN UPDATE Settings"
    " SET value = value - OLD.size WHERE key = 'size'; END;";

double Now() {
  return std::chrono::duration<double>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// Every statement that an operation needs, prepared once (as Python's sqlite3
/// module does by caching them).
struct Statements {
  SqliteStatement begin_immediate, begin, commit, rollback;
  SqliteStatement find, find_live, find_integer, update, insert, remove;
  SqliteStatement update_integer, touch;
  SqliteStatement expired, remove_expired, page_count, setting, oldest,
      remove_oldest;
  SqliteStatement scan;
};

Status PrepareAll(SqliteConnection& connection, bool recently_used,
                  Statements& into) {
  const std::string order = recently_used ? "access_time" : "store_time";
  const std::string expired =
      " FROM Cache WHERE expire_time IS NOT NULL AND expire_time < ?"
      " ORDER BY expire_time LIMIT ?";
  const std::string oldest = " FROM Cache ORDER BY " + order + " LIMIT ?";
  const std::pair<SqliteStatement*, std::string> all[] = {
      {&into.begin_immediate, "BEGIN IMMEDIATE"},
      {&into.begin, "BEGIN"},
      {&into.commit, "COMMIT"},
      {&into.rollback, "ROLLBACK"},
      {&into.find,
       "SELECT rowid, filename FROM Cache WHERE key = ? AND raw = ?"},
      {&into.find_live,
       "SELECT rowid, expire_time, tag, mode, filename, value FROM Cache"
       " WHERE key = ? AND raw = ?"
       " AND (expire_time IS NULL OR expire_time > ?)"},
      {&into.find_integer,
       "SELECT rowid, expire_time, filename, value FROM Cache"
       " WHERE key = ? AND raw = ?"},
      {&into.update,
       "UPDATE Cache SET store_time = ?, expire_time = ?, access_time = ?,"
       " access_count = ?, tag = ?, size = ?, mode = ?, filename = ?,"
       " value = ? WHERE rowid = ?"},
      {&into.insert,
       "INSERT INTO Cache(store_time, expire_time, access_time, access_count,"
       " tag, size, mode, filename, value, key, raw)"
       " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
      {&into.remove, "DELETE FROM Cache WHERE rowid = ?"},
      {&into.update_integer,
       "UPDATE Cache SET store_time = ?, value = ? WHERE rowid = ?"},
      {&into.touch, "UPDATE Cache SET access_time = ? WHERE rowid = ?"},
      {&into.expired, "SELECT filename" + expired},
      {&into.remove_expired,
       "DELETE FROM Cache WHERE rowid IN (SELECT rowid" + expired + ")"},
      {&into.page_count, "PRAGMA page_count"},
      {&into.setting, "SELECT value FROM Settings WHERE key = ?"},
      {&into.oldest, "SELECT filename" + oldest},
      {&into.remove_oldest,
       "DELETE FROM Cache WHERE rowid IN (SELECT rowid" + oldest + ")"},
      {&into.scan,
       "SELECT key, CASE WHEN filename IS NULL THEN length(value) ELSE size END"
       " FROM Cache"},
  };
  for (const auto& [statement, sql] : all) {
    auto prepared = connection.Prepare(sql);
    if (!prepared) {
      return std::move(prepared.error());
    }
    *statement = std::move(*prepared);
  }
  return Status::Ok();
}

class SqliteStore final : public KeyValueStore {
 public:
  SqliteStore(SqliteConnection connection, Statements statements,
              const std::filesystem::path& path, const StoreOptions& options,
              std::uint64_t page_size)
      : connection_(std::move(connection)),
        sql_(std::move(statements)),
        files_(path),
        size_limit_bytes_(options.size_limit_bytes),
        recently_used_(options.policy == "least-recently-used"),
        page_size_(page_size) {}

  Status Set(std::string_view key, std::string_view value) override {
    const KeyValue item{key, value};
    return SetMany({&item, 1});
  }

  Result<bool> Get(std::string_view key, ValueVisitor& visitor) override;
  Result<bool> Delete(std::string_view key) override;
  Result<std::size_t> MultiGet(std::span<const std::string_view> keys,
                               ValueVisitor& visitor) override;
  Status SetMany(std::span<const KeyValue> items) override;
  Result<std::int64_t> Incr(std::string_view key, std::int64_t delta) override;

  Status Settle() override {
    return connection_.Execute("PRAGMA wal_checkpoint(TRUNCATE)");
  }
  Status Close() override {
    sql_ = Statements{};
    return connection_.Execute("PRAGMA optimize");
  }
  Status ForEachItem(const std::function<void(std::string_view, std::uint64_t)>&
                         visit) override;

 private:
  /// Runs `body` between BEGIN IMMEDIATE and COMMIT, then deletes the files
  /// that it put into `doomed_files_`.
  template <typename Body>
  Status Transact(Body&& body);
  Status Store(const KeyValue& item, double now);
  Status Cull(double now);
  /// Puts the files of all rows into `doomed_files_`; the number of rows.
  Result<std::uint64_t> CollectFiles(SqliteStatement& select);
  Result<std::uint64_t> Volume();
  Result<std::int64_t> InsertInteger(std::string_view key, double now,
                                     std::int64_t value);

  SqliteConnection connection_;
  Statements sql_;  // Gone before connection_.
  ValueFiles files_;
  std::uint64_t size_limit_bytes_;
  bool recently_used_;
  std::uint64_t page_size_;
  std::string buffer_;
  std::vector<std::string> doomed_files_;
};

template <typename Body>
Status SqliteStore::Transact(Body&& body) {
  doomed_files_.clear();
  LARDER_RETURN_IF_ERROR(sql_.begin_immediate.Run());
  if (Status status = body(); !status.ok()) {
    sql_.rollback.Run().IgnoreError();  // The first failure is what counts.
    return status;
  }
  LARDER_RETURN_IF_ERROR(sql_.commit.Run());
  for (const std::string& name : doomed_files_) {
    files_.Delete(name);
  }
  return Status::Ok();
}

Result<bool> SqliteStore::Get(std::string_view key, ValueVisitor& visitor) {
  bool hit = false;
  std::int64_t rowid = 0;
  {
    SqliteStatement& select = sql_.find_live;
    const ResetAtExit reset(select);
    select.BindBlob(1, key);
    select.BindInteger(2, 1);
    select.BindReal(3, Now());
    const auto row = select.Step();
    if (!row) {
      return Fail(row.error());
    }
    if (!*row) {
      return false;
    }
    hit = true;
    rowid = select.Integer(0);
    if (select.IsNull(4)) {
      visitor.Visit(select.Bytes(5));
    } else {
      LARDER_FAIL_IF_ERROR(files_.Read(select.Bytes(4), buffer_));
      visitor.Visit(buffer_);
    }
  }
  if (recently_used_) {
    LARDER_FAIL_IF_ERROR(Transact([&]() -> Status {
      sql_.touch.BindReal(1, Now());
      sql_.touch.BindInteger(2, rowid);
      return sql_.touch.Run();
    }));
  }
  return hit;
}

Result<bool> SqliteStore::Delete(std::string_view key) {
  bool found = false;
  const Status status = Transact([&]() -> Status {
    std::int64_t rowid = 0;
    {
      SqliteStatement& select = sql_.find_live;
      const ResetAtExit reset(select);
      select.BindBlob(1, key);
      select.BindInteger(2, 1);
      select.BindReal(3, Now());
      const auto row = select.Step();
      if (!row) {
        return row.error();
      }
      if (!*row) {
        return Status::Ok();
      }
      rowid = select.Integer(0);
      if (!select.IsNull(4)) {
        doomed_files_.emplace_back(select.Bytes(4));
      }
    }
    found = true;
    sql_.remove.BindInteger(1, rowid);
    return sql_.remove.Run();
  });
  LARDER_FAIL_IF_ERROR(status);
  return found;
}

Result<std::size_t> SqliteStore::MultiGet(
    std::span<const std::string_view> keys, ValueVisitor& visitor) {
  LARDER_FAIL_IF_ERROR(sql_.begin.Run());
  std::size_t hit_count = 0;
  for (const std::string_view key : keys) {
    const auto hit = Get(key, visitor);
    if (!hit) {
      sql_.rollback.Run().IgnoreError();  // The first failure counts.
      return Fail(hit.error());
    }
    hit_count += *hit ? 1 : 0;
  }
  LARDER_FAIL_IF_ERROR(sql_.commit.Run());
  return hit_count;
}

Status SqliteStore::SetMany(std::span<const KeyValue> items) {
  const double now = Now();
  return Transact([&]() -> Status {
    for (const KeyValue& item : items) {
      LARDER_RETURN_IF_ERROR(Store(item, now));
    }
    return Cull(now);
  });
}

Status SqliteStore::Store(const KeyValue& item, double now) {
  std::string filename;
  if (item.value.size() >= kFileSizeBytesMin) {
    auto name = files_.Write(item.value);
    if (!name) {
      return std::move(name.error());
    }
    filename = std::move(*name);
  }
  std::int64_t rowid = -1;
  {
    const ResetAtExit reset(sql_.find);
    sql_.find.BindBlob(1, item.key);
    sql_.find.BindInteger(2, 1);
    const auto row = sql_.find.Step();
    if (!row) {
      return row.error();
    }
    if (*row) {
      rowid = sql_.find.Integer(0);
      if (!sql_.find.IsNull(1)) {
        doomed_files_.emplace_back(sql_.find.Bytes(1));
      }
    }
  }
  SqliteStatement& write = rowid >= 0 ? sql_.update : sql_.insert;
  write.BindReal(1, now);
  write.BindNull(2);
  write.BindReal(3, now);
  write.BindInteger(4, 0);
  write.BindNull(5);
  if (filename.empty()) {
    write.BindInteger(6, 0);
    write.BindInteger(7, kModeRaw);
    write.BindNull(8);
    write.BindBlob(9, item.value);
  } else {
    write.BindInteger(6, static_cast<std::int64_t>(item.value.size()));
    write.BindInteger(7, kModeBinary);
    write.BindText(8, filename);
    write.BindNull(9);
  }
  if (rowid >= 0) {
    write.BindInteger(10, rowid);
  } else {
    write.BindBlob(10, item.key);
    write.BindInteger(11, 1);
  }
  return write.Run();
}

Result<std::uint64_t> SqliteStore::CollectFiles(SqliteStatement& select) {
  const ResetAtExit reset(select);
  std::uint64_t row_count = 0;
  for (;;) {
    const auto row = select.Step();
    if (!row) {
      return Fail(row.error());
    }
    if (!*row) {
      return row_count;
    }
    ++row_count;
    if (!select.IsNull(0)) {
      doomed_files_.emplace_back(select.Bytes(0));
    }
  }
}

Result<std::uint64_t> SqliteStore::Volume() {
  const ResetAtExit reset_pages(sql_.page_count);
  const ResetAtExit reset_setting(sql_.setting);
  const auto pages = sql_.page_count.Step();
  if (!pages) {
    return Fail(pages.error());
  }
  sql_.setting.BindText(1, "size");
  const auto size = sql_.setting.Step();
  if (!size) {
    return Fail(size.error());
  }
  return static_cast<std::uint64_t>(sql_.page_count.Integer(0)) * page_size_ +
         static_cast<std::uint64_t>(sql_.setting.Integer(0));
}

Status SqliteStore::Cull(double now) {
  sql_.expired.BindReal(1, now);
  sql_.expired.BindInteger(2, kCullLimit);
  const auto expired_count = CollectFiles(sql_.expired);
  if (!expired_count) {
    return expired_count.error();
  }
  if (*expired_count > 0) {
    sql_.remove_expired.BindReal(1, now);
    sql_.remove_expired.BindInteger(2, kCullLimit);
    LARDER_RETURN_IF_ERROR(sql_.remove_expired.Run());
  }
  const auto volume = Volume();
  if (!volume) {
    return volume.error();
  }
  if (*volume < size_limit_bytes_) {
    return Status::Ok();
  }
  sql_.oldest.BindInteger(1, kCullLimit);
  const auto oldest_count = CollectFiles(sql_.oldest);
  if (!oldest_count) {
    return oldest_count.error();
  }
  sql_.remove_oldest.BindInteger(1, kCullLimit);
  return sql_.remove_oldest.Run();
}

Result<std::int64_t> SqliteStore::InsertInteger(std::string_view key,
                                                double now,
                                                std::int64_t value) {
  SqliteStatement& insert = sql_.insert;
  insert.BindReal(1, now);
  insert.BindNull(2);
  insert.BindReal(3, now);
  insert.BindInteger(4, 0);
  insert.BindNull(5);
  insert.BindInteger(6, 0);
  insert.BindInteger(7, kModeRaw);
  insert.BindNull(8);
  insert.BindInteger(9, value);
  insert.BindBlob(10, key);
  insert.BindInteger(11, 1);
  LARDER_FAIL_IF_ERROR(insert.Run());
  LARDER_FAIL_IF_ERROR(Cull(now));
  return value;
}

Result<std::int64_t> SqliteStore::Incr(std::string_view key,
                                       std::int64_t delta) {
  const double now = Now();
  std::int64_t value = delta;
  const Status status = Transact([&]() -> Status {
    std::int64_t rowid = -1;
    {
      SqliteStatement& select = sql_.find_integer;
      const ResetAtExit reset(select);
      select.BindBlob(1, key);
      select.BindInteger(2, 1);
      const auto row = select.Step();
      if (!row) {
        return row.error();
      }
      if (*row) {
        if (!select.IsInteger(3)) {
          return Status::TypeMismatch("not an integer");
        }
        rowid = select.Integer(0);
        value += select.Integer(3);
      }
    }
    if (rowid < 0) {
      const auto inserted = InsertInteger(key, now, value);
      return inserted ? Status::Ok() : inserted.error();
    }
    sql_.update_integer.BindReal(1, now);
    sql_.update_integer.BindInteger(2, value);
    sql_.update_integer.BindInteger(3, rowid);
    return sql_.update_integer.Run();
  });
  LARDER_FAIL_IF_ERROR(status);
  return value;
}

Status SqliteStore::ForEachItem(
    const std::function<void(std::string_view, std::uint64_t)>& visit) {
  const ResetAtExit reset(sql_.scan);
  for (;;) {
    const auto row = sql_.scan.Step();
    if (!row) {
      return row.error();
    }
    if (!*row) {
      return Status::Ok();
    }
    visit(sql_.scan.Bytes(0), static_cast<std::uint64_t>(sql_.scan.Integer(1)));
  }
}

Result<std::uint64_t> PageSize(SqliteConnection& connection) {
  auto statement = connection.Prepare("PRAGMA page_size");
  if (!statement) {
    return Fail(std::move(statement.error()));
  }
  const auto row = statement->Step();
  if (!row) {
    return Fail(row.error());
  }
  return static_cast<std::uint64_t>(statement->Integer(0));
}

}  // namespace

Result<std::unique_ptr<KeyValueStore>> OpenSqlite(
    const std::filesystem::path& path, const StoreOptions& options) {
  auto connection = SqliteConnection::Open(path / "cache.db");
  if (!connection) {
    return Fail(std::move(connection.error()));
  }
  const bool recently_used = options.policy == "least-recently-used";
  LARDER_FAIL_IF_ERROR(connection->Execute(kPragmas));
  LARDER_FAIL_IF_ERROR(connection->Execute(kSchema));
  LARDER_FAIL_IF_ERROR(connection->Execute(
      recently_used
          ? "CREATE INDEX IF NOT EXISTS Cache_access_time ON Cache(access_time)"
          : "CREATE INDEX IF NOT EXISTS Cache_store_time ON "
            "Cache(store_time)"));
  const auto page_size = PageSize(*connection);
  if (!page_size) {
    return Fail(page_size.error());
  }
  Statements statements;
  LARDER_FAIL_IF_ERROR(PrepareAll(*connection, recently_used, statements));
  return std::make_unique<SqliteStore>(
      std::move(*connection), std::move(statements), path, options, *page_size);
}

}  // namespace larder::bench
