// Some functions of RocksDB's are called by the names that they have in the
// library, as its headers do not tell of them. They are weak: where there are
// none, nothing is called. What was rejected: periods of 0 in the options (they
// stop the other tasks, not this one), a clock of our own (the timer takes the
// default one), and leaving the child by _exit from a handler, which would skip
// what the program wants done at its exit.

#include "index/rocks_forks.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include <dlfcn.h>
#include <rocksdb/comparator.h>
#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <rocksdb/version.h>

#include "base/check.h"
#include "base/forks_held.h"
#include "os/exit_guard.h"

extern "C++" {
[[gnu::weak]] void* RocksTasksOf(const rocksdb::DB* db) __asm__(
    "_ZNK7rocksdb6DBImpl29TEST_GetPeriodicTaskSchedulerEv");
[[gnu::weak]] rocksdb::Status
RocksCancelTask(void* tasks, std::uint8_t type) __asm__(
    "_ZN7rocksdb21PeriodicTaskScheduler10UnregisterENS_16Per"
    "iodicTaskTypeE");
[[gnu::weak]] void* RocksTimer() __asm__(
    "_ZN7rocksdb21PeriodicTaskScheduler7DefaultEv");
[[gnu::weak]] void* RocksKillPoint() __asm__(
    "_ZN7rocksdb9KillPoint11GetInstanceEv");
[[gnu::weak]] void* RocksThreadsMutex() __asm__(
    "_ZN7rocksdb14ThreadLocalPtr10StaticMeta5MutexEv");
[[gnu::weak]] bool RocksTryLock(void* mutex) __asm__(
    "_ZN7rocksdb4port5Mutex7TryLockEv");
[[gnu::weak]] void RocksUnlock(void* mutex) __asm__(
    "_ZN7rocksdb4port5Mutex6UnlockEv");
}

namespace larder {
namespace {

// As in RocksDB 7.7 to 9.
constexpr std::uint8_t kFlushInfoLogTask = 2;

// In a child: the thread that had it is not there. What it did to the list, if
// it was in the midst of that, was four stores; a flush only reads it.
// Rejected: that forks wait for it. Two copies of this library in a process
// would each take it, and who has it may wait for a lock that the program holds
// at forks.
void FreeThreadsMutex() noexcept {
  if (&RocksThreadsMutex == nullptr || &RocksTryLock == nullptr ||
      &RocksUnlock == nullptr) {
    return;
  }
  void* const mutex = RocksThreadsMutex();
  static_cast<void>(RocksTryLock(mutex));
  RocksUnlock(mutex);
}

constexpr ForkHook kRocksForkHook{.before = nullptr,
                                  .in_child = &FreeThreadsMutex};

// What the opening of a database makes, and its first table, by a table in
// memory: .7 ms, a database in memory takes 4.
void MakeTableStatics() {
  const std::unique_ptr<rocksdb::Env> memory(
      rocksdb::NewMemEnv(rocksdb::Env::Default()));
  rocksdb::BlockBasedTableOptions table;
  table.no_block_cache = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  rocksdb::Options options;
  options.env = memory.get();
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  static_cast<void>(options.table_factory->ValidateOptions(options, options));
  const std::string file = "/table";
  {
    rocksdb::SstFileWriter writer({}, options);
    static_cast<void>(writer.Open(file));
    static_cast<void>(writer.Put("key", "value"));
    static_cast<void>(writer.Finish());
  }
  rocksdb::SstFileReader reader(options);
  static_cast<void>(reader.Open(file));
}

void MakeStatics() {
  static_cast<void>(rocksdb::Env::Default());
  static_cast<void>(rocksdb::FileSystem::Default());
  static_cast<void>(rocksdb::BytewiseComparator());
  const rocksdb::ConfigOptions config;  // Makes a registry.
  const rocksdb::Comparator* named = nullptr;
  static_cast<void>(rocksdb::Comparator::CreateFromString(
      config, rocksdb::BytewiseComparator()->Name(), &named));
  static_cast<void>(rocksdb::GetRocksBuildProperties());
  if (&RocksTimer != nullptr) static_cast<void>(RocksTimer());
  if (&RocksKillPoint != nullptr) static_cast<void>(RocksKillPoint());
  MakeTableStatics();
}

void TryMakeStatics() noexcept {
  try {
    MakeStatics();
  } catch (const std::bad_alloc&) {
    // The opening that comes next answers that; it makes what is not here yet.
  }
}

// Then its own constructors have run before those of what this is in.
bool RocksIsALibrary() noexcept {
  Dl_info ours{};
  Dl_info theirs{};
  return ::dladdr(reinterpret_cast<const void*>(&RocksIsALibrary), &ours) !=
             0 &&
         ::dladdr(reinterpret_cast<const void*>(&rocksdb::Env::Default),
                  &theirs) != 0 &&
         ours.dli_fbase != theirs.dli_fbase;
}

constinit std::atomic<bool> are_made{false};

// Before main, and so before there is a thread that could exit meanwhile: what
// was made by then would go before a handler could wait for the rest. And exit
// comes to a handler though it began before the first opening, which then sees
// that. It takes the first opening as much less.
[[gnu::constructor]] void MakeStaticsWhenLoaded() noexcept {
  if (!RocksIsALibrary()) return;
  const ForksHeld forks;
  TryMakeStatics();
  CloseBeforeStaticsOfProgram();
  are_made = true;
}

}  // namespace

void MakeRocksStatics() noexcept {
  LARDER_CHECK(ForksHeld::IsHeldHere());
  if (!are_made) TryMakeStatics();
  WatchForks(kRocksForkHook);
}

bool StopInfoLogTimer(rocksdb::DB& db) noexcept {
  LARDER_CHECK(ForksHeld::IsHeldHere());
  if (&RocksTasksOf == nullptr || &RocksCancelTask == nullptr) return false;
  return RocksCancelTask(RocksTasksOf(&db), kFlushInfoLogTask).ok();
}

}  // namespace larder
