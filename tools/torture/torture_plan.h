#ifndef LARDER_TOOLS_TORTURE_TORTURE_PLAN_H_
#define LARDER_TOOLS_TORTURE_TORTURE_PLAN_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "measure/random_keys.h"

/// What the writers of `larder torture` write, and how a reader knows it again.
///
/// Each life of a writer has keys of its own, so that a command that was under
/// way when it was killed can never be confused with one of its next life.
/// Shared keys and counters belong to all writers of a run.

namespace larder::tools {

inline constexpr unsigned kTortureProcessesMax = 200;
inline constexpr std::uint32_t kTortureOwnKeys = 16;
inline constexpr std::uint32_t kTorturePairs = 4;
inline constexpr std::uint32_t kTortureOwnCounters = 2;
inline constexpr std::uint32_t kTortureSharedKeys = 8;
inline constexpr std::uint32_t kTortureSharedCounters = 4;

enum class TortureOp : std::uint8_t {
  // On a key of the writer's own.
  kSet = 0,
  kGet,
  kDelete,
  kAdd,
  kPop,
  kIncr,
  kPair,  ///< Two keys in one batch.
  // On one of all writers.
  kSharedSet,
  kSharedGet,
  kSharedIncr,
};
inline constexpr std::size_t kTortureOpCount = 10;

[[nodiscard]] constexpr bool IsTortureWrite(TortureOp op) noexcept {
  return op != TortureOp::kGet && op != TortureOp::kSharedGet;
}
[[nodiscard]] constexpr bool IsTortureShared(TortureOp op) noexcept {
  return op >= TortureOp::kSharedSet;
}

/// One life of one writer.
struct TortureLife {
  std::uint64_t run = 0;
  unsigned writer = 0;
  unsigned life = 0;
};

/// The key on which `op` works; `half` 1 is the second key of a pair.
[[nodiscard]] std::string TortureKey(const TortureLife& life, TortureOp op,
                                     std::uint32_t index, unsigned half = 0);

/// Names one written value of a run. "Absent" and "not whole" are none.
[[nodiscard]] constexpr std::uint64_t TortureStamp(
    const TortureLife& life, std::uint32_t number) noexcept {
  return (std::uint64_t{life.writer} + 1) << 56 |
         std::uint64_t{life.life & 0xFFFFFF} << 32 | number;
}
inline constexpr std::uint64_t kTortureAbsent = 0;
inline constexpr std::uint64_t kTortureTorn = ~std::uint64_t{0};

/// A value that says which one it is and whose every byte follows from that.
[[nodiscard]] std::string TortureValue(std::uint64_t stamp, std::size_t size);
/// Its stamp, or kTortureTorn if a byte is not as it was written.
[[nodiscard]] std::uint64_t ReadTortureValue(std::string_view value);
/// Mostly small; some of a few pages, few of up to 4 MiB.
[[nodiscard]] std::size_t ChooseTortureSize(Random& random);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_TORTURE_PLAN_H_
