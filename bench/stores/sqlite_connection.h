#ifndef LARDER_BENCH_STORES_SQLITE_CONNECTION_H_
#define LARDER_BENCH_STORES_SQLITE_CONNECTION_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include <sqlite3.h>

#include "larder/engine/status.h"

namespace larder::bench {

/// A prepared statement that is bound, stepped and reset again and again.
/// Parameters count from 1, columns from 0, as in SQLite.
///
/// Threads: thread-compatible. Lifetime: destroy before its connection.
class SqliteStatement {
 public:
  SqliteStatement() = default;
  explicit SqliteStatement(sqlite3_stmt* statement) noexcept
      : statement_(statement) {}

  // The bytes must stay until Reset.
  void BindBlob(int index, std::string_view bytes) noexcept;
  void BindText(int index, std::string_view text) noexcept;
  void BindInteger(int index, std::int64_t value) noexcept;
  void BindReal(int index, double value) noexcept;
  void BindNull(int index) noexcept;

  /// True = there is a row.
  Result<bool> Step() noexcept;
  void Reset() noexcept;
  /// Steps to the end, for statements without rows, and resets.
  Status Run() noexcept;

  [[nodiscard]] std::int64_t Integer(int column) const noexcept;
  [[nodiscard]] std::string_view Bytes(int column) const noexcept;
  [[nodiscard]] bool IsNull(int column) const noexcept;
  [[nodiscard]] bool IsInteger(int column) const noexcept;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept {
      sqlite3_finalize(statement);
    }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

/// Resets a statement at the end of a scope, whichever way it is left.
class ResetAtExit {
 public:
  explicit ResetAtExit(SqliteStatement& statement) noexcept
      : statement_(statement) {}
  ~ResetAtExit() { statement_.Reset(); }
  ResetAtExit(const ResetAtExit&) = delete;
  ResetAtExit& operator=(const ResetAtExit&) = delete;

 private:
  SqliteStatement& statement_;
};

/// One connection. Errors: kIoError with SQLite's message.
///
/// Threads: thread-compatible.
class SqliteConnection {
 public:
  static Result<SqliteConnection> Open(const std::filesystem::path& file);

  /// Runs statements without parameters; rows are dropped.
  Status Execute(const char* sql) noexcept;
  Result<SqliteStatement> Prepare(std::string_view sql) noexcept;

 private:
  struct CloseConnection {
    void operator()(sqlite3* connection) const noexcept {
      sqlite3_close(connection);
    }
  };
  explicit SqliteConnection(sqlite3* connection) noexcept
      : connection_(connection) {}
  std::unique_ptr<sqlite3, CloseConnection> connection_;
};

}  // namespace larder::bench

#endif  // LARDER_BENCH_STORES_SQLITE_CONNECTION_H_
