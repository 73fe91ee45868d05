#ifndef LARDER_TESTS_MODEL_HISTORY_H_
#define LARDER_TESTS_MODEL_HISTORY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "larder/engine/engine.h"

/// Random histories: lists of operations as plain data, which do not depend on
/// each other's results, so that any part of one can be left out when a
/// failing history is made smaller.

namespace larder::testing {

enum class OpKind : std::uint8_t {
  kSet,
  kGet,
  kInspect,
  kIncr,
  kTouch,
  kDelete,
  kPop,
  kBatch,
  kStreamIn,
  kStreamOut,
  kHold,  ///< Gets a value and keeps its handle until the next reopening.
  kScan,
  kCount,
  kEvictTag,
  kClear,
  kExpire,
  kCull,
  kAdvance,  ///< The clock.
  kReopen,
};

/// Which version a conditional operation expects.
enum class Expected : std::uint8_t { kCurrent, kNone, kStale };

struct Op {
  OpKind kind = OpKind::kGet;
  std::uint8_t key = 0;
  std::uint8_t tag = 0;  ///< 0 = none.
  std::uint8_t codec = 0;
  bool pinned = false;
  /// Batch: all or nothing. Scan: reverse. Cull: everything. Reopen: without
  /// Close. Expire: ahead of the clock.
  bool flag = false;
  bool with_values = false;
  SetCondition condition = SetCondition::kAlways;
  Expected expected = Expected::kCurrent;
  std::uint32_t size = 0;
  std::uint64_t value_seed = 0;
  std::int64_t number = 0;
  std::optional<Duration> ttl;  ///< Advance: by how much.
  Durability durability = Durability::kProcess;
  std::vector<Op> batch;
};

/// How to draw operations.
struct HistoryOptions {
  std::size_t op_count = 200;
  std::uint8_t key_count = 24;
  /// Sizes that matter to the store: inline, small, large, chunked.
  bool chunked_values = true;
  /// Only operations whose results do not depend on what was evicted.
  bool with_eviction = false;
};

/// The history with this seed; the same on every machine.
[[nodiscard]] std::vector<Op> MakeHistory(std::uint64_t seed,
                                          const HistoryOptions& options);

[[nodiscard]] std::string KeyName(std::uint8_t key);
[[nodiscard]] std::string TagName(std::uint8_t tag);
/// One line.
[[nodiscard]] std::string Describe(const Op& op);
[[nodiscard]] std::string Describe(const std::vector<Op>& history);

}  // namespace larder::testing

#endif  // LARDER_TESTS_MODEL_HISTORY_H_
