#ifndef LARDER_ENGINE_SRC_INDEX_WAL_CHECK_H_
#define LARDER_ENGINE_SRC_INDEX_WAL_CHECK_H_

#include <cstdint>
#include <string>

#include <rocksdb/file_system.h>

#include "larder/engine/status.h"

#include "index/manifest_check.h"

namespace larder {

/// What write-ahead logs are like that RocksDB may be given.
struct WalFindings {
  /// Changes are missing before others that are there. What is counted by
  /// changes is to be counted anew.
  bool gap = false;
  /// What is damaged, with more behind it, which RocksDB does not read; empty =
  /// nothing is. A crash of the machine may leave that, one of the process
  /// does not.
  std::string cut;
};

/// Whether RocksDB may be given the write-ahead logs in `directory`. It trusts
/// records whose checksums are right, and where one is not what it should be
/// all the same (written twice, out of order, by two processes at once) a build
/// with assertions ends the process, at every Open. What a crash leaves at a
/// log's end is none of this, and is for RocksDB to cut off.
/// `flushed`: the last sequence number that the manifest tells.
///
/// Errors: kCorruption, which names the log, the place and what is wrong.
/// Cost:   reads the logs once (they are short).
[[nodiscard]] Result<WalFindings> CheckWriteAheadLogs(
    rocksdb::FileSystem& files, const std::string& directory,
    std::uint64_t flushed);

/// Writes logs of the same names as those in `from` into `to`, with all records
/// that can be read, also behind damage, and whose sequence numbers grow. They
/// pass the check. Changes of a family before the log that `flushed` has for it
/// are left out: its tables have them, or what came after them.
/// Errors: kNoSpace, kIoError.
[[nodiscard]] Status CopyReadableLogs(rocksdb::FileSystem& files,
                                      const std::string& from,
                                      const std::string& to,
                                      const FlushedLogs& flushed = {});

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_WAL_CHECK_H_
