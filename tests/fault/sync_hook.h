#ifndef LARDER_TESTS_FAULT_SYNC_HOOK_H_
#define LARDER_TESTS_FAULT_SYNC_HOOK_H_

#include <functional>
#include <string>

namespace larder::testing {

/// Called instead of every fsync and fdatasync of the program, RocksDB's, too,
/// on any thread; returns 0 or an errno.
using SyncHook = std::function<int(int fd)>;

/// Replaces the hook; an empty one: the system's calls. Threads: while nobody
/// syncs.
void SetSyncHook(SyncHook hook);

/// Has nothing be synced, which costs time.
void SkipSyncs();

/// The path of an open file, or nothing.
[[nodiscard]] std::string PathOf(int fd);

}  // namespace larder::testing

#endif  // LARDER_TESTS_FAULT_SYNC_HOOK_H_
