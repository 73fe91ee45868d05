#ifndef LARDER_BENCH_STORES_STORE_ADAPTER_H_
#define LARDER_BENCH_STORES_STORE_ADAPTER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/status.h"

/// One face for larder and the engines it is measured against, so that a
/// benchmark is written once and every engine does the same work.

namespace larder::bench {

struct KeyValue {
  std::string_view key;
  std::string_view value;
};

/// Is shown the bytes of a value where they lie. The adapters show them as
/// their engine gives them: pinned or mapped where it can, copied where not.
class ValueVisitor {
 public:
  virtual ~ValueVisitor() = default;
  virtual void Visit(std::string_view value) = 0;
};

/// What the store itself says of its contents.
struct LiveTotals {
  std::uint64_t item_count = 0;
  /// In the store's own accounting: payload, or payload with overhead.
  std::uint64_t bytes = 0;
};

/// A store under test. Everything acknowledged survives kill -9 of the
/// process, nothing is promised for a power cut.
///
/// Threads: thread-compatible, but for Live, which is thread-safe.
class KeyValueStore {
 public:
  virtual ~KeyValueStore() = default;

  virtual Status Set(std::string_view key, std::string_view value) = 0;
  /// Shows the value to `visitor`; false = miss.
  virtual Result<bool> Get(std::string_view key, ValueVisitor& visitor) = 0;
  /// False = the engine says that there was nothing. An engine whose delete
  /// is blind says true.
  virtual Result<bool> Delete(std::string_view key) = 0;
  /// How many were hits.
  virtual Result<std::size_t> MultiGet(std::span<const std::string_view> keys,
                                       ValueVisitor& visitor) = 0;
  /// One atomic commit.
  virtual Status SetMany(std::span<const KeyValue> items) = 0;
  /// Adds to an integer, 0 if absent, atomically; the new value.
  virtual Result<std::int64_t> Incr(std::string_view key,
                                    std::int64_t delta) = 0;

  /// Lets background work that is due finish, so that it is not charged to
  /// what is measured next.
  virtual Status Settle() = 0;
  virtual Status Close() = 0;

  /// Cheap. kInvalidArgument if the engine cannot say.
  virtual Result<LiveTotals> Live();
  /// Shows every live key with the size of its value.
  /// kInvalidArgument if the adapter does not offer it.
  virtual Status ForEachItem(
      const std::function<void(std::string_view key, std::uint64_t size)>&
          visit);
};

enum class EngineKind : std::uint8_t { kLarder, kRocksDb, kLmdb, kSqlite };

/// "larder", "rocksdb", "lmdb", "sqlite": as in the benchmark names.
std::string_view EngineName(EngineKind kind) noexcept;
std::optional<EngineKind> EngineFromName(std::string_view name) noexcept;
/// All engines, larder first.
std::span<const EngineKind> AllEngines() noexcept;

inline constexpr std::uint64_t kMemoryBudgetBytes = std::uint64_t{64} << 20;

/// The same for every engine, as far as it has the concept.
struct StoreOptions {
  /// Of larder and the SQLite cache, which evict beyond it; the size of the
  /// map of LMDB. Raw RocksDB has no limit.
  std::uint64_t size_limit_bytes = std::uint64_t{8} << 30;
  /// Block cache and write buffers together; 0 = what larder chooses by itself,
  /// kMemoryBudgetBytes for others.
  std::uint64_t memory_budget_bytes = kMemoryBudgetBytes;
  /// Of larder and the SQLite cache: "least-recently-stored" or
  /// "least-recently-used"; empty = what each does by default.
  std::string policy{};
};

/// Opens or creates a store at `path`, a directory.
Result<std::unique_ptr<KeyValueStore>> OpenStore(
    EngineKind kind, const std::filesystem::path& path,
    const StoreOptions& options);

// One per adapter; called by OpenStore.
Result<std::unique_ptr<KeyValueStore>> OpenLarder(
    const std::filesystem::path& path, const StoreOptions& options);
Result<std::unique_ptr<KeyValueStore>> OpenRocksDb(
    const std::filesystem::path& path, const StoreOptions& options);
Result<std::unique_ptr<KeyValueStore>> OpenLmdb(
    const std::filesystem::path& path, const StoreOptions& options);
Result<std::unique_ptr<KeyValueStore>> OpenSqlite(
    const std::filesystem::path& path, const StoreOptions& options);

/// The lines of the benchmark's report that say how the engine is set up.
std::string DescribeRocksDb(const StoreOptions& options);

}  // namespace larder::bench

#endif  // LARDER_BENCH_STORES_STORE_ADAPTER_H_
