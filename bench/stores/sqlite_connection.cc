#include "stores/sqlite_connection.h"

#include <string>

namespace larder::bench {

namespace {

constexpr int kBusyTimeoutMilliseconds = 60'000;

Status FromSqlite(sqlite3* connection, std::string_view what) {
  return Status::IoError("sqlite: " + std::string(what) + ": " +
                         sqlite3_errmsg(connection));
}

}  // namespace

// A failed bind shows up as a failed step or a wrong row, which the callers
// check; binding itself fails only for a wrong index or without memory.
void SqliteStatement::BindBlob(int index, std::string_view bytes) noexcept {
  sqlite3_bind_blob64(statement_.get(), index, bytes.data(), bytes.size(),
                      SQLITE_STATIC);
}

void SqliteStatement::BindText(int index, std::string_view text) noexcept {
  sqlite3_bind_text64(statement_.get(), index, text.data(), text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
}

void SqliteStatement::BindInteger(int index, std::int64_t value) noexcept {
  sqlite3_bind_int64(statement_.get(), index, value);
}

void SqliteStatement::BindReal(int index, double value) noexcept {
  sqlite3_bind_double(statement_.get(), index, value);
}

void SqliteStatement::BindNull(int index) noexcept {
  sqlite3_bind_null(statement_.get(), index);
}

Result<bool> SqliteStatement::Step() noexcept {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) {
    return true;
  }
  if (code == SQLITE_DONE) {
    return false;
  }
  return Fail(FromSqlite(sqlite3_db_handle(statement_.get()),
                         sqlite3_sql(statement_.get())));
}

void SqliteStatement::Reset() noexcept { sqlite3_reset(statement_.get()); }

Status SqliteStatement::Run() noexcept {
  const ResetAtExit reset(*this);
  for (;;) {
    const Result<bool> row = Step();
    if (!row) {
      return row.error();
    }
    if (!*row) {
      return Status::Ok();
    }
  }
}

std::int64_t SqliteStatement::Integer(int column) const noexcept {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string_view SqliteStatement::Bytes(int column) const noexcept {
  // The pointer first, then the size: SQLite's order.
  const void* bytes = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

bool SqliteStatement::IsNull(int column) const noexcept {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

bool SqliteStatement::IsInteger(int column) const noexcept {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_INTEGER;
}

Result<SqliteConnection> SqliteConnection::Open(
    const std::filesystem::path& file) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open(file.c_str(), &raw);
  SqliteConnection connection(raw);
  if (code != SQLITE_OK) {
    return Fail(FromSqlite(raw, "open " + file.string()));
  }
  sqlite3_busy_timeout(raw, kBusyTimeoutMilliseconds);
  return connection;
}

Status SqliteConnection::Execute(const char* sql) noexcept {
  if (sqlite3_exec(connection_.get(), sql, nullptr, nullptr, nullptr) !=
      SQLITE_OK) {
    return FromSqlite(connection_.get(), sql);
  }
  return Status::Ok();
}

Result<SqliteStatement> SqliteConnection::Prepare(
    std::string_view sql) noexcept {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(
          connection_.get(), sql.data(), static_cast<int>(sql.size()),
          SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) {
    return Fail(FromSqlite(connection_.get(), sql));
  }
  return SqliteStatement(statement);
}

}  // namespace larder::bench
