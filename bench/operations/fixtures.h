#ifndef LARDER_BENCH_OPERATIONS_FIXTURES_H_
#define LARDER_BENCH_OPERATIONS_FIXTURES_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "larder/engine/status.h"

#include "stores/store_adapter.h"
#include "stores/work_directory.h"
#include "stores/workload.h"

/// What the benchmarks of larder_bench share: the amounts, the data, and
/// stores that are filled once and read by many.

namespace larder::bench {

/// How much is done at one size of values. Fixed numbers of operations, the
/// same for every engine, so that all write the same bytes.
struct SizeCase {
  std::size_t value_size = 0;
  std::uint64_t write_count = 0;     ///< Set, SetMany, Delete: keys written.
  std::uint64_t resident_count = 0;  ///< Get, MultiGet, Incr: keys there.
  std::uint64_t read_count = 0;      ///< Get, MultiGet: keys read.
  std::size_t batch_count = 0;       ///< Keys of one MultiGet or SetMany.
};

inline constexpr std::uint64_t kIncrCount = 50'000;
inline constexpr std::uint64_t kCounterCount = 1'000;
inline constexpr std::uint64_t kOpenItemCount = 1'000'000;
inline constexpr std::size_t kOpenValueSize = 100;
inline constexpr std::uint64_t kRecoverWriteCount = 50'000;

/// Adds up what it is shown; REQUIRES of a right answer: all hits, all bytes.
class FoldVisitor final : public ValueVisitor {
 public:
  void Visit(std::string_view value) override { fold ^= Fold(value); }
  std::uint64_t fold = 0;
};

/// A store with the items [0, count), each checked to be there by its readers.
struct ResidentStore {
  WorkDirectory directory;
  std::unique_ptr<KeyValueStore> store;
  std::vector<std::uint64_t> folds;    ///< Of the value of each item.
  std::vector<std::int64_t> counters;  ///< What each counter holds.
};

/// Everything one run of larder_bench holds on to.
///
/// Threads: one thread.
class Fixtures {
 public:
  struct Options {
    std::filesystem::path parent_directory;
    /// Factor on all amounts.
    double scale = 1.0;
    std::uint64_t seed = 1;
  };

  explicit Fixtures(Options options);

  [[nodiscard]] const std::vector<SizeCase>& cases() const noexcept {
    return cases_;
  }
  [[nodiscard]] std::uint64_t Scaled(std::uint64_t count) const noexcept;
  [[nodiscard]] const StoreOptions& store_options() const noexcept {
    return store_options_;
  }
  [[nodiscard]] const std::filesystem::path& parent_directory() const noexcept {
    return options_.parent_directory;
  }
  [[nodiscard]] std::uint64_t seed() const noexcept { return options_.seed; }
  /// Makes the keys [0, count), if they are not there yet.
  void MakeKeysUpTo(std::uint64_t count);
  /// REQUIRES: index below what MakeKeysUpTo was called with.
  [[nodiscard]] std::string_view Key(std::uint64_t index) const noexcept {
    return keys_[index];
  }
  [[nodiscard]] std::string_view Value(std::uint64_t index,
                                       std::size_t size) const noexcept {
    return pool_.Of(index, size);
  }

  /// Sets items [0, count) in batches.
  Status Fill(KeyValueStore& store, std::uint64_t count, std::size_t size);

  /// The store that holds `size_case.resident_count` items; made when first
  /// asked for.
  Result<ResidentStore*> Resident(EngineKind kind, const SizeCase& size_case);
  /// The directory of a store with `count` items of kOpenValueSize, that was
  /// closed cleanly; made when first asked for.
  Result<std::filesystem::path> ClosedStore(EngineKind kind,
                                            std::uint64_t count);
  /// Closes and removes all.
  void Clear();

 private:
  Options options_;
  StoreOptions store_options_;
  std::vector<SizeCase> cases_;
  std::vector<std::string> keys_;
  ValuePool pool_;
  std::map<std::pair<EngineKind, std::size_t>, ResidentStore> residents_;
  std::map<EngineKind, WorkDirectory> closed_;
};

}  // namespace larder::bench

#endif  // LARDER_BENCH_OPERATIONS_FIXTURES_H_
