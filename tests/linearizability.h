#ifndef LARDER_TESTS_LINEARIZABILITY_H_
#define LARDER_TESTS_LINEARIZABILITY_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

/// Is there an order of these calls on one key, each somewhere between its
/// begin and its end, in which every answer is right?

namespace larder::testing {

enum class KeyOp : std::uint8_t {
  kSet = 0,  ///< Writes `argument`.
  kGet,      ///< Answers the value, 0 = none.
  kDelete,   ///< Answers 1 if there was one.
  kAdd,      ///< Writes `argument` if there is none, and answers 1 then.
  kPop,      ///< Answers the value and deletes it.
  kIncr,     ///< Adds `argument` and answers the sum; none counts as 0.
};

/// One call. Times are of one clock.
struct KeyCall {
  KeyOp op = KeyOp::kGet;
  std::uint64_t argument = 0;
  std::uint64_t answer = 0;
  std::int64_t begin_ns = 0;
  /// kNoEnd: nobody knows whether it happened; if it did, at any time after
  /// its begin.
  std::int64_t end_ns = 0;
  int caller = 0;  ///< For messages.
};
inline constexpr std::int64_t kNoEnd = std::numeric_limits<std::int64_t>::max();

/// The search of Wing and Gong with Lowe's memory of what was tried. The key
/// has no value at first. Cost: with few callers about linear, exponential at
/// worst.
[[nodiscard]] bool IsLinearizable(const std::vector<KeyCall>& calls);

/// For a history that is not: its shortest beginning (by ends) that is not
/// either, one call a line.
[[nodiscard]] std::string DescribeConflict(std::vector<KeyCall> calls);

}  // namespace larder::testing

#endif  // LARDER_TESTS_LINEARIZABILITY_H_
