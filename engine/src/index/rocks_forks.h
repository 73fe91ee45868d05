#ifndef LARDER_ENGINE_SRC_INDEX_ROCKS_FORKS_H_
#define LARDER_ENGINE_SRC_INDEX_ROCKS_FORKS_H_

#include <rocksdb/db.h>

namespace larder {

/// RocksDB starts a thread when it opens its first database, for a static timer
/// that flushes info logs. A forked child has the timer without the thread, and
/// its exit waits for that thread for ever when it destroys the timer. There is
/// nothing to flush here, and no option says so: this takes the database off
/// the timer, which ends the thread unless the program uses RocksDB besides.
///
/// False: RocksDB was built without assertions, where nothing leads from a
/// database to its tasks. Children then have to end by _exit or exec.
bool StopInfoLogTimer(rocksdb::DB& db) noexcept;

/// While one lives, other threads that fork wait: a child would have the timer
/// of a database that is being opened.
///
/// Once there was one, a child also frees the lock of RocksDB's list of
/// threads, which a flush and the end of a thread take. A child that inherited
/// it would wait for ever when it exits: a destructor of a static object takes
/// its thread off that list.
class ForksHeld {
 public:
  ForksHeld() noexcept;
  ~ForksHeld();
  ForksHeld(const ForksHeld&) = delete;
  ForksHeld& operator=(const ForksHeld&) = delete;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_ROCKS_FORKS_H_
