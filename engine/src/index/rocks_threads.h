#ifndef LARDER_ENGINE_SRC_INDEX_ROCKS_THREADS_H_
#define LARDER_ENGINE_SRC_INDEX_ROCKS_THREADS_H_

#include <memory>

#include <rocksdb/env.h>

#include "larder/engine/status.h"

namespace larder {

/// `base` with background threads of its own: one for flushes and one for
/// compactions. RocksDB's process-wide pool is of no use to a forked child: it
/// goes on to believe in threads that only the parent has.
///
/// Threads:  thread-safe. Lifetime: borrows `base`; destroy the database first.
/// Errors:   those of StartThread.
[[nodiscard]] Result<std::unique_ptr<rocksdb::Env>> NewOwnThreadsEnv(
    rocksdb::Env* base) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_ROCKS_THREADS_H_
