#ifndef LARDER_BENCH_COLD_COLD_STORES_H_
#define LARDER_BENCH_COLD_COLD_STORES_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "larder/engine/status.h"

#include "stores/store_adapter.h"

/// Stores that hold more than memory does, for bench/cold. Each is set up for
/// random reads, as its own documentation says.

namespace larder::bench {

enum class ColdKind : std::uint8_t {
  kLarder,
  kBlobDb,  ///< RocksDB with enable_blob_files.
  kLmdb,    ///< With MDB_NORDAHEAD.
  kPread,   ///< A file of the values alone, whose offsets are known.
};
inline constexpr ColdKind kColdKinds[] = {ColdKind::kLarder, ColdKind::kBlobDb,
                                          ColdKind::kLmdb, ColdKind::kPread};

std::string_view ColdName(ColdKind kind) noexcept;
std::optional<ColdKind> ColdFromName(std::string_view name) noexcept;

struct ColdOptions {
  std::filesystem::path path;  ///< A directory that exists.
  std::uint64_t count = 0;     ///< Of items: 0 to count - 1.
  std::size_t value_size = 0;
  std::uint64_t seed = 1;
};

/// Threads: Get and MultiGet are thread-safe.
class ColdStore {
 public:
  virtual ~ColdStore() = default;
  /// Writes all items. The store is closed afterwards.
  virtual Status Fill() = 0;
  /// False = a miss.
  virtual Result<bool> Get(std::uint64_t index, ValueVisitor& visitor) = 0;
  /// How many were hits.
  virtual Result<std::size_t> MultiGet(std::span<const std::uint64_t> indexes,
                                       ValueVisitor& visitor) = 0;
};

Result<std::unique_ptr<ColdStore>> OpenColdStore(ColdKind kind,
                                                 const ColdOptions& options);

}  // namespace larder::bench

#endif  // LARDER_BENCH_COLD_COLD_STORES_H_
