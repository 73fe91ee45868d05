#ifndef LARDER_ENGINE_SRC_INDEX_WAL_WRITER_H_
#define LARDER_ENGINE_SRC_INDEX_WAL_WRITER_H_

#include <string>
#include <string_view>

namespace larder {

/// Appends a record to `log`, which holds a write-ahead log from its beginning,
/// as RocksDB does.
void AppendWalRecord(std::string& log, std::string_view record);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_WAL_WRITER_H_
