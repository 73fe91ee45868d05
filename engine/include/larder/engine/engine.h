#ifndef LARDER_ENGINE_ENGINE_H_
#define LARDER_ENGINE_ENGINE_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/clock.h"
#include "larder/engine/command.h"
#include "larder/engine/limits.h"
#include "larder/engine/settings.h"
#include "larder/engine/status.h"
#include "larder/engine/value_handle.h"

namespace larder {

/// Why an item left the cache without its owner asking. Being overwritten or
/// deleted by key is not one of them.
enum class EvictionReason : std::uint8_t {
  kEvicted = 0,
  kExpired = 1,
  kCleared = 2,
};

/// Told of items that left. Runs on a thread of the engine, one at a time and
/// never on the caller's, and under no lock: it may call the cache, but Close
/// is kDeadlock there. A cache that is destroyed in it is closed when it has
/// returned, and exit closes all but what runs it. What it throws is logged and
/// counted (EngineStats::callbacks_failed).
using EvictionCallback = std::function<void(
    std::string_view key, std::uint64_t size_bytes, EvictionReason reason)>;

/// Where lines for people go: recovery, damage found, disk full, and so on.
/// Called in the middle of things, by whichever thread has something to say:
/// calls of the cache that need its store are kDeadlock there, and no scan,
/// stream or cache must be used or destroyed. exit ends the process there with
/// its status, and leaves caches as kill -9 does (docs/processes.md, "exit");
/// not while another thread is in exit. What it throws is counted.
using LogCallback = std::function<void(std::string_view line)>;

/// What to do with a directory that is not a cache yet, or not usable.
enum class OpenMode : std::uint8_t {
  /// Open it, or create it with its parents.
  kCreate = 0,
  /// Open it; kNotFound if it is not there.
  kExisting = 1,
  /// Open it without changing a byte; needs no write permission.
  kReadOnly = 2,
};

/// What Open does with a cache that is so damaged that it cannot be opened.
enum class WhenDamaged : std::uint8_t {
  /// kCorruption; nothing is changed.
  kFail = 0,
  /// As kRepair; if that fails (no space for the new index, say), the cache
  /// starts empty.
  kReset = 1,
  /// A new index is made of what can be read of the old one and of the log of
  /// values, as `larder repair` does. What was deleted stays so unless the
  /// ledger is lost as well as index entries; what then comes back lives for
  /// an hour at most. See docs/format.md, "Repair".
  kRepair = 2,
};

/// Records what this process asks of a cache as a trace for `larder replay`,
/// which then says which policy and which size would do best. See
/// docs/replay.md.
struct RecordOptions {
  /// Created or emptied at Open; compressed with zstd if it ends in ".zst".
  /// "%p" stands for the number of the process, for when several record.
  /// Empty = no recording.
  std::string file = {};
  /// Share of the keys that is recorded, chosen by hash: all requests for a
  /// key or none. A tenth of the keys stands for a cache of a tenth the size.
  double key_share = 1.0;
  /// False: the trace has seeded hashes for keys and tells nothing of them.
  bool plain_keys = false;
};

/// How to open an engine. Settings that are given here are persisted for
/// everyone; those that are not keep their persisted values.
struct EngineOptions {
  OpenMode mode = OpenMode::kCreate;
  WhenDamaged when_damaged = WhenDamaged::kFail;
  /// Names and values for WithSetting, applied in order at Open.
  std::vector<std::pair<std::string, std::string>> settings = {};
  /// Borrowed; nullptr = Clock::System().
  const Clock* clock = nullptr;
  /// Seed of every random choice of the engine; 0 = from the machine.
  std::uint64_t random_seed = 0;
  EvictionCallback on_eviction = {};
  LogCallback log = {};
  /// False: no background thread; housekeeping runs in the calls that need it
  /// (deterministic, for tests).
  bool background = true;
  /// False: an entry below the cutoff is a miss even while its bytes exist
  /// (what a simulator assumes). True gives more hits.
  bool serve_evicted = true;
  /// Not 0: items cost their value's bytes, and the cache evicts when those
  /// pass this figure instead of size_limit. For replaying traces, whose
  /// capacities are counted so.
  std::uint64_t logical_capacity = 0;
  /// Opens a directory on a network file system all the same.
  bool allow_network_file_system = false;
  /// Memory for RocksDB's block cache and write buffers together; 0 = chosen
  /// from size_limit (8..64 MiB). Besides it, a filter of the keys and the
  /// entries written last take up to an eighth of it each.
  std::uint64_t memory_budget_bytes = 0;

  // Sharing the directory with other processes; see docs/processes.md.
  /// Shared memory for values that any process reads most; at most a quarter of
  /// what is free in `region_directory`; 0 = none. Made 50 ms after Open, by
  /// the process that has the store. None without `background`.
  std::uint64_t hot_tier_bytes = 64U << 20;
  /// Where shared memory is made if nobody has the cache open; whoever comes
  /// later finds it. Processes in several containers need one that all see.
  std::filesystem::path region_directory = "/dev/shm";
  /// How long a call may wait for another process that has the store.
  std::chrono::milliseconds timeout{5'000};
  /// How long Open may wait for another process that is opening the store.
  std::chrono::milliseconds attach_timeout{10'000};

  /// Requests only append to memory; rows that the disk is too slow for are
  /// dropped and counted (EngineStats). A forked child records nothing.
  RecordOptions record = {};
};

/// Figures of a cache. Those marked (total) count since it was created and
/// survive restarts, kill -9 loses at most the last second of hits and misses.
struct EngineStats {
  std::uint64_t count = 0;         ///< Live items.
  std::uint64_t live_bytes = 0;    ///< Their cost: value, key, entry, overhead.
  std::uint64_t pinned_bytes = 0;  ///< Of those, never evicted.
  std::uint64_t disk_bytes = 0;    ///< The directory as `du` counts it.
  std::uint64_t size_limit = 0;
  std::uint64_t hits = 0;         ///< (total)
  std::uint64_t misses = 0;       ///< (total)
  std::uint64_t sets = 0;         ///< (total)
  std::uint64_t deletes = 0;      ///< (total)
  std::uint64_t evictions = 0;    ///< (total) items evicted by the policy.
  std::uint64_t expirations = 0;  ///< (total)
  std::uint64_t corruptions = 0;  ///< (total) damaged items found and dropped.
  std::uint64_t restamps = 0;     ///< Since open: metadata writes of hits.
  std::uint64_t bytes_written_user = 0;  ///< Since open: value bytes of sets.
  std::uint64_t bytes_written_disk = 0;  ///< Since open: all the engine wrote.
  std::uint64_t segments = 0;            ///< Segment files now.
  std::uint64_t segments_cleaned = 0;    ///< Since open.
  std::uint64_t bytes_moved = 0;         ///< Since open: by cleaning.
  std::uint64_t log_live_bytes = 0;      ///< Live bytes in the value log.
  std::uint64_t log_bytes = 0;           ///< All bytes of the value log.
  /// Of removed segments that value handles and scans of the process with the
  /// store still hold: not in disk_bytes, but not free either.
  std::uint64_t held_bytes = 0;
  std::uint64_t eviction_events_dropped = 0;  ///< Callback queue was full.
  std::uint64_t callbacks_failed = 0;  ///< Since open: callbacks that threw.
  std::string policy;                  ///< The setting.
  /// The policy that places items in the process with the store: another one
  /// than `policy` if that is not registered there. Empty: none does, as the
  /// cache is open read-only.
  std::string policy_running;
  /// By this process and the one that has the store (RecordOptions).
  std::uint64_t rows_recorded = 0;
  std::uint64_t rows_recorded_dropped = 0;  ///< The disk was too slow, or full.
};

/// What Check found.
struct CheckReport {
  std::uint64_t items_checked = 0;
  std::uint64_t bytes_checked = 0;
  std::uint64_t values_damaged = 0;       ///< Checksum or structure wrong.
  std::uint64_t values_missing = 0;       ///< Entry without its value.
  std::uint64_t index_entries_stale = 0;  ///< Harmless leftovers of indexes.
  bool counters_match = true;             ///< Ledger equals a recount.
  std::uint64_t count_ledger = 0;
  std::uint64_t count_recount = 0;
  std::uint64_t bytes_ledger = 0;
  std::uint64_t bytes_recount = 0;
  std::uint64_t repaired = 0;         ///< Things mended (with repair).
  std::vector<std::string> problems;  ///< First 100, for people.
  [[nodiscard]] bool ok() const noexcept {
    return values_damaged == 0 && values_missing == 0 && counters_match;
  }
};

/// Which items a scan visits, in byte order of their keys.
struct ScanOptions {
  /// Only keys with this prefix; empty = all.
  std::string prefix = {};
  /// Only keys in [begin, end); nullopt = open.
  std::optional<std::string> begin = {};
  std::optional<std::string> end = {};
  /// Only items with this tag; empty = all.
  std::string tag = {};
  bool reverse = false;
  bool with_values = false;
};

struct ScanItem {
  std::string key;
  ItemInfo info;
  /// Empty unless `with_values`.
  ValueHandle value;
};

/// A pass over the items that were live when it was opened. It sees none of
/// the writes that come after. An item whose value is damaged is left out.
/// An open scan keeps space that is freed meanwhile: finish it soon.
///
/// Threads: thread-compatible. Processes: kClosed in the child of a fork.
class Scan {
 public:
  virtual ~Scan() = default;
  /// The next items, at most `count_max` (1..kScanPageCountMax); fewer than
  /// one means the end. Errors: kIoError, kClosed, kInvalidArgument.
  [[nodiscard]] virtual Result<std::vector<ScanItem>> Next(
      std::size_t count_max) noexcept = 0;
};

/// Writes one value piece by piece, in bounded memory. The item appears, whole
/// and at once, with Commit; a writer destroyed before leaves nothing behind.
///
/// Threads: thread-compatible. Processes: kClosed in the child of a fork.
class ValueWriter {
 public:
  virtual ~ValueWriter() = default;
  /// Errors: kTooLarge, kNoSpace, kIoError; after one the writer is dead.
  [[nodiscard]] virtual Status Append(std::string_view bytes) noexcept = 0;
  /// `applied` false: the condition of the SetCommand did not hold. Errors: as
  /// a Set, and kOutcomeUnknown if the process with the store changed
  /// meanwhile.
  [[nodiscard]] virtual Reply Commit() noexcept = 0;
};

/// Reads one value piece by piece, in bounded memory. Each piece is verified
/// before it is returned.
///
/// Threads: thread-compatible. Processes: kClosed in the child of a fork.
class ValueReader {
 public:
  virtual ~ValueReader() = default;
  [[nodiscard]] virtual const ItemInfo& info() const noexcept = 0;
  /// Copies the next bytes to `buffer`; fewer than its size only at the end,
  /// 0 after it. Errors: kCorruption, kIoError, kGone (evicted and cleaned
  /// before it was read to the end).
  [[nodiscard]] virtual Result<std::size_t> Read(
      std::span<char> buffer) noexcept = 0;
};

/// What a carrier of commands can do.
struct Capabilities {
  /// This process has the store open itself.
  bool holds_store = true;
  bool writable = true;
  /// OpenWriter and OpenReader work.
  bool streams = true;
};

struct ExecuteOptions {
  /// nullopt = the `durability` setting.
  std::optional<Durability> durability = {};
  /// True: if a command fails (its `status`), no mutation of the call is made
  /// and Execute returns the status of the first that failed; replies of
  /// mutations then mean nothing. A condition that does not hold (`applied`
  /// false) is not a failure.
  bool all_or_nothing = false;
};

/// Carries commands to a store and brings back the replies. The cache facade
/// is written against this and does not know where the store is.
///
/// Threads:   thread-safe.
/// Processes: see the implementation.
class Engine {
 public:
  virtual ~Engine() = default;

  [[nodiscard]] virtual Capabilities capabilities() const noexcept = 0;

  /// Executes `commands` in order; replies[i] answers commands[i], whatever it
  /// held before. All
  /// mutations of one call are one atomic commit: all are there after a crash
  /// or none, and no reader sees some of them. Each sees the effects of the
  /// ones before it.
  /// A failed command (its `status`) does not stop the others; a failed commit
  /// sets the status of every mutation and nothing was changed, but with
  /// kOutcomeUnknown.
  /// EvictTag, Clear, Expire and Cull must be alone in their call.
  /// REQUIRES: replies.size() == commands.size().
  /// Returns what concerns the call as a whole: kInvalidArgument, kClosed,
  /// kGone, and the commit's kNoSpace, kIoError or kOutcomeUnknown; kAborted
  /// (values that a batch of another process returns became larger meanwhile).
  [[nodiscard]] virtual Status Execute(
      std::span<const Command> commands, std::span<Reply> replies,
      const ExecuteOptions& options = {}) noexcept = 0;

  [[nodiscard]] virtual Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options) noexcept = 0;
  /// `command.value` is ignored. `size_expected` is a hint, 0 = unknown.
  [[nodiscard]] virtual Result<std::unique_ptr<ValueWriter>> OpenWriter(
      const SetCommand& command, std::uint64_t size_expected,
      const ExecuteOptions& options = {}) noexcept = 0;
  /// nullptr on a miss.
  [[nodiscard]] virtual Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept = 0;

  /// Live items, exact. O(1) but for items that expired since the last call,
  /// each of which is settled once.
  [[nodiscard]] virtual Result<std::uint64_t> Count() noexcept = 0;
  [[nodiscard]] virtual Result<EngineStats> Stats() noexcept = 0;
  [[nodiscard]] virtual Result<CheckReport> Check(bool repair) noexcept = 0;
  [[nodiscard]] virtual Settings CurrentSettings() const noexcept = 0;
  /// A number that is another one after each change of the settings, by any
  /// process; 0 = not tracked, ask CurrentSettings. Cost: one atomic load.
  [[nodiscard]] virtual std::uint64_t settings_version() const noexcept {
    return 0;
  }
  /// Changes and persists one setting; in force for every later command.
  [[nodiscard]] virtual Status Reset(std::string_view name,
                                     std::string_view value) noexcept = 0;
  /// Everything acknowledged is on the device afterwards.
  [[nodiscard]] virtual Status Sync() noexcept = 0;
  /// Ends all background work and closes; every later call is kClosed. Errors:
  /// kDeadlock (called by a callback of this engine: it stays open).
  [[nodiscard]] virtual Status Close() noexcept = 0;
  [[nodiscard]] virtual const std::filesystem::path& directory()
      const noexcept = 0;
};

/// Opens the cache directory at `path`, which any number of processes may have
/// open at once: one of them has the store, the others ask it; if it closes or
/// dies, another one takes over. Options for the store (background,
/// serve_evicted, logical_capacity, random_seed, memory) are those of the
/// process that has it. on_eviction is told in every process that has one; in
/// those that have not got the store up to a second later, and not of what
/// leaves while the store changes hands. kReadOnly attaches to nobody: it reads
/// the files as they were at one moment of Open, which is kAborted if another
/// process writes so fast that there is none in 5 s. Errors: kNotFound,
/// kNotADirectory, kForeignDirectory, kPermissionDenied, kUnsupportedFormat,
/// kSeatUnavailable and kHolderNotResponding (both name the process that has
/// the store and does not answer), kUnsupportedFileSystem, kInvalidArgument
/// (settings), kNoSpace, kCorruption. Nothing is changed on disk by a failed
/// Open of an existing directory.
[[nodiscard]] Result<std::unique_ptr<Engine>> OpenEngine(
    const std::filesystem::path& path, EngineOptions options = {}) noexcept;

/// Throws away everything in the cache directory `path`, its settings too,
/// whatever state it is in; it is an empty cache then. Errors: kNotFound and
/// kForeignDirectory (it is no cache), kSeatUnavailable (a process has it open;
/// the message names it), kPermissionDenied, kNoSpace, kIoError.
[[nodiscard]] Status ResetCache(const std::filesystem::path& path,
                                const EngineOptions& options = {}) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_ENGINE_H_
