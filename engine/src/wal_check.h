#ifndef LARDER_ENGINE_SRC_WAL_CHECK_H_
#define LARDER_ENGINE_SRC_WAL_CHECK_H_

#include <string>

#include <rocksdb/file_system.h>

#include "larder/engine/status.h"

namespace larder {

/// Whether RocksDB may be given the write-ahead logs in `directory`. It trusts
/// records whose checksums are right, and where one is not what it should be
/// all the same (written twice, out of order, by two processes at once) a build
/// with assertions ends the process, at every Open. What a crash leaves at a
/// log's end is none of this, and is for RocksDB to cut off.
///
/// Errors: kCorruption, which names the log, the place and what is wrong.
/// Cost:   reads the logs once (they are short); checksums only in doubt.
[[nodiscard]] Status CheckWriteAheadLogs(rocksdb::FileSystem& files,
                                         const std::string& directory);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_WAL_CHECK_H_
