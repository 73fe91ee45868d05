#ifndef LARDER_ENGINE_SRC_MANIFEST_CHECK_H_
#define LARDER_ENGINE_SRC_MANIFEST_CHECK_H_

#include <string>

#include <rocksdb/file_system.h>

#include "larder/engine/status.h"

namespace larder {

/// The same as CheckWriteAheadLogs for the manifest that CURRENT names: the
/// last sequence number, which its records tell, must never become smaller.
/// What is damaged so that checksums show it is for RocksDB to report.
///
/// Errors: kCorruption, which names the file, the place and what is wrong.
/// Cost:   reads the manifest once (about 1 MiB at most).
[[nodiscard]] Status CheckManifest(rocksdb::FileSystem& files,
                                   const std::string& directory);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_MANIFEST_CHECK_H_
