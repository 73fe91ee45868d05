#ifndef LARDER_BENCH_CAP_CAP_WORKLOAD_H_
#define LARDER_BENCH_CAP_CAP_WORKLOAD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The workloads that a full cache is put under. Each is a sequence of sets
/// and gets that depends on the limit and a seed only, so that every engine
/// can be given the same.

namespace larder::bench {

struct CapOperation {
  enum class Kind : std::uint8_t { kSet, kGet };
  Kind kind = Kind::kSet;
  std::uint64_t key = 0;   ///< Index of the key.
  std::uint32_t size = 0;  ///< Of the value; 0 for gets.
};

/// Gives out the operations one by one; nullopt at the end.
using CapSource = std::function<std::optional<CapOperation>()>;

/// What is demanded of larder under a workload.
struct CapBars {
  double directory_ratio_max = 1.0;   ///< Of any sample, over the limit.
  double live_share_min = 0.0;        ///< Payload over the limit; 0 = no bar.
  double raw_speed_ratio_min = 0.6;   ///< Sets per second over raw RocksDB's.
  double set_milliseconds_max = 200;  ///< Of any one set.
};

struct CapWorkload {
  std::string name;
  std::string description;
  std::string policy;
  /// Of every value; 0 = they differ.
  std::uint32_t value_size = 0;
  CapBars bars;
  /// That write it at once, each thread with keys of its own and its share of
  /// the factor.
  int process_count = 1;
  int thread_count = 1;  ///< Of each process.
  /// Whether it is timed beside raw RocksDB: only what one thread does is.
  bool is_timed = true;
  /// The largest value, over the limit, where it depends on that.
  double value_share_max = 0;
  /// A fresh sequence. `limit_bytes` is the size limit, `factor` how many
  /// times that much is written.
  std::function<CapSource(std::uint64_t limit_bytes, double factor,
                          std::uint64_t seed)>
      start;
};

/// All of them, in the order of the report.
const std::vector<CapWorkload>& AllCapWorkloads();

/// nullptr if there is none of that name.
const CapWorkload* FindCapWorkload(std::string_view name);

/// Largest value of any workload whose values do not depend on the limit.
inline constexpr std::uint32_t kCapValueSizeMax = 10'000'000;

/// Largest value of `workload` under a limit.
std::uint64_t CapValueSizeMax(const CapWorkload& workload,
                              std::uint64_t limit_bytes);

}  // namespace larder::bench

#endif  // LARDER_BENCH_CAP_CAP_WORKLOAD_H_
