#ifndef LARDER_ENGINE_SRC_INDEX_ROCKS_FORKS_H_
#define LARDER_ENGINE_SRC_INDEX_ROCKS_FORKS_H_

#include <rocksdb/db.h>

namespace larder {

/// Has RocksDB make the static objects that it makes at their first use, which
/// it did when this was loaded if RocksDB is a library. In the child of a later
/// fork the lock of its list of threads is freed, which a flush and the end of
/// a thread take: one that inherited it would wait for ever when it exits, as a
/// destructor of a static object takes its thread off that list.
///
/// REQUIRES: ForksHeld: what is half made is waited for, in a child for ever.
void MakeRocksStatics() noexcept;

/// RocksDB starts a thread when it opens its first database, for a static timer
/// that flushes info logs. A forked child has the timer without the thread, and
/// its exit waits for that thread for ever when it destroys the timer. There is
/// nothing to flush here, and no option says so: this takes the database off
/// the timer, which ends the thread unless the program uses RocksDB besides.
///
/// REQUIRES: ForksHeld, since the database was not open: a child would have the
/// timer. False: RocksDB was built without assertions, where nothing leads from
/// a database to its tasks. Children then have to end by _exit or exec.
bool StopInfoLogTimer(rocksdb::DB& db) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_ROCKS_FORKS_H_
