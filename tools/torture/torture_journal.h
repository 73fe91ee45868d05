#ifndef LARDER_TOOLS_TORTURE_TORTURE_JOURNAL_H_
#define LARDER_TOOLS_TORTURE_TORTURE_JOURNAL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "larder/engine/status.h"

#include "torture/torture_plan.h"

/// What writers of `larder torture` leave behind for those who prove: a journal
/// of each life, and a page that says what it is doing now. Both survive
/// kill -9 of the writer, as the kernel has them.

namespace larder::tools {

enum class TortureOutcome : std::uint8_t {
  kIntended = 0,  ///< Written before the call.
  kAcknowledged,
  kNotApplied,  ///< The call failed and says so.
  kUnknown,     ///< It failed and nobody knows, or its writer died in it.
};

/// One line of a journal. A call has two: before it and after it.
struct TortureRecord {
  std::uint64_t stamp = 0;   ///< Of the value that it writes.
  std::uint64_t result = 0;  ///< What it returned: stamp, number or 0 and 1.
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
  std::uint32_t number = 0;  ///< Counts the calls of a life.
  std::uint32_t index = 0;   ///< Of the key.
  TortureOp op = TortureOp::kSet;
  TortureOutcome outcome = TortureOutcome::kIntended;
  std::uint8_t code = 0;  ///< A StatusCode.
  std::uint8_t reserved[21] = {};
};
// Divides a page: a writer that is killed leaves whole records only.
static_assert(sizeof(TortureRecord) == 64);

[[nodiscard]] std::string TortureJournalPath(const std::string& work,
                                             const TortureLife& life);

/// Appends records. Threads: one thread.
class TortureJournal {
 public:
  static Result<TortureJournal> Create(const std::string& path);
  TortureJournal(TortureJournal&& other) noexcept;
  TortureJournal& operator=(TortureJournal&&) = delete;
  ~TortureJournal();
  [[nodiscard]] Status Append(const TortureRecord& record) const;

 private:
  explicit TortureJournal(int fd) : fd_(fd) {}
  int fd_ = -1;
};

/// The calls of a life in their order, one record each; what has no second
/// record is kUnknown. A journal that was never begun is empty.
[[nodiscard]] Result<std::vector<TortureRecord>> ReadTortureJournal(
    const std::string& path);

/// What a writer is doing.
struct alignas(64) TortureState {
  /// Calls that returned, and steps of opening and closing.
  std::atomic<std::uint64_t> progress;
  std::atomic<std::uint32_t> has_store;  ///< 1: this process holds the seat.
  std::atomic<std::uint32_t> stop;       ///< 1: close and end.
};

/// The states of all writers, in a file that all processes of a run have
/// mapped. Lifetime: unmapped with the object.
class TortureStates {
 public:
  static Result<TortureStates> Create(const std::string& path);
  static Result<TortureStates> Open(const std::string& path);
  [[nodiscard]] TortureState& operator[](unsigned writer) const {
    return states_.get()[writer];
  }

 private:
  struct Unmap {
    void operator()(TortureState* states) const;
  };
  static Result<TortureStates> Map(int fd, const std::string& path);
  explicit TortureStates(TortureState* states) : states_(states) {}
  std::unique_ptr<TortureState, Unmap> states_;
};

/// Nanoseconds of the monotonic clock, which all processes share.
[[nodiscard]] std::int64_t MonotonicNanoseconds() noexcept;

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_TORTURE_JOURNAL_H_
