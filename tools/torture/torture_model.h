#ifndef LARDER_TOOLS_TORTURE_TORTURE_MODEL_H_
#define LARDER_TOOLS_TORTURE_TORTURE_MODEL_H_

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "torture/torture_journal.h"

/// What journals of `larder torture` allow a cache to hold.

namespace larder::tools {

/// What was found wrong, by kind. All zero: nothing was.
struct TortureFaults {
  std::uint64_t lost = 0;      ///< An acknowledged change is not there.
  std::uint64_t repeated = 0;  ///< One was made more than once.
  std::uint64_t stale = 0;     ///< A read missed a change acknowledged before.
  std::uint64_t torn = 0;      ///< A value that nobody wrote like that.
  std::uint64_t split = 0;     ///< Half of a batch.
  [[nodiscard]] bool none() const noexcept {
    return lost + repeated + stale + torn + split == 0;
  }
  void Merge(const TortureFaults& other) noexcept;
};

/// The keys of one life. Its calls came one after the other, so each key's
/// state is known, but for calls in doubt, which make it one of several.
///
/// Threads: thread-compatible.
class OwnKeysModel {
 public:
  /// The next call of the life. One whose answer no state explains counts as a
  /// fault, once per key.
  void Apply(const TortureRecord& call, TortureFaults& faults);
  /// Whether the key may hold `state` now, after the last call.
  [[nodiscard]] bool Allows(TortureOp op, std::uint32_t index,
                            std::uint64_t state) const;
  /// Largest number that a counter may hold; 0 if it cannot be there.
  [[nodiscard]] std::uint64_t Largest(std::uint32_t counter) const;
  /// A fault was found in this key before.
  [[nodiscard]] bool IsBroken(TortureOp op, std::uint32_t index) const;

 private:
  struct Key {
    std::vector<std::uint64_t> states{kTortureAbsent};
    bool broken = false;
  };
  using Name = std::pair<TortureOp, std::uint32_t>;
  static Name NameOf(TortureOp op, std::uint32_t index) noexcept;
  [[nodiscard]] const Key* Find(TortureOp op, std::uint32_t index) const;
  std::map<Name, Key> keys_;
};

/// A key that all writers set and read. Each value is written once at most.
/// Faults are those that a single call shows: a value that nobody can have
/// written yet, or one that was overwritten for certain before the read began.
/// `calls` are the kSharedSet and kSharedGet of one key, in any order, the
/// last being the final read.
[[nodiscard]] TortureFaults CheckSharedKey(std::vector<TortureRecord> calls);

/// A number to which all writers add 1. `calls` are all the kSharedIncr of it,
/// `final_value` is what it was in the end: each acknowledged sum came once,
/// in the order of time, and calls in doubt account for the rest.
[[nodiscard]] TortureFaults CheckSharedCounter(std::vector<TortureRecord> calls,
                                               std::uint64_t final_value);

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_TORTURE_MODEL_H_
