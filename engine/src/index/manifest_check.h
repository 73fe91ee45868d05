#ifndef LARDER_ENGINE_SRC_INDEX_MANIFEST_CHECK_H_
#define LARDER_ENGINE_SRC_INDEX_MANIFEST_CHECK_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <rocksdb/file_system.h>

#include "larder/engine/status.h"

#include "directory/manifest_mark.h"

namespace larder {

/// Whether RocksDB may be given the manifest that CURRENT names, and all of it
/// is there:
///
/// 1. It is read up to its end, or to what a crash left of the last record.
///    RocksDB takes a record whose size is wrong for such an end, too.
/// 2. It ends no earlier than `mark` says, if that is of this manifest. One
///    that was cut between two records is an older state, of which RocksDB has
///    deleted files and whose newer files it would delete.
/// 3. The last sequence number, which its records tell, never becomes smaller.
///    A build with assertions ends the process over that.
///
/// What is damaged so that checksums show it is for RocksDB to report.
/// Returns the last sequence number; nullopt if there is no manifest.
///
/// Errors: kCorruption, which names the file, the place and what is wrong.
/// Cost:   reads the manifest once (about 1 MiB at most).
[[nodiscard]] Result<std::optional<std::uint64_t>> CheckManifest(
    rocksdb::FileSystem& files, const std::string& directory,
    const ManifestMark& mark);

/// For each family, by its id, the number of the first write-ahead log that may
/// have changes which are not in its tables.
using FlushedLogs = std::map<std::uint32_t, std::uint64_t>;

/// What the manifest in `directory` says of it; nullopt: it cannot be read up
/// to its end.
[[nodiscard]] std::optional<FlushedLogs> ReadFlushedLogs(
    rocksdb::FileSystem& files, const std::string& directory);

/// The number in the name of the manifest at `path`; nullopt if it is none.
[[nodiscard]] std::optional<std::uint64_t> ManifestNumber(
    std::string_view path) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_MANIFEST_CHECK_H_
