#ifndef LARDER_TOOLS_TORTURE_STORM_BOARD_H_
#define LARDER_TOOLS_TORTURE_STORM_BOARD_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/status.h"

#include "torture/storm_value.h"

/// What all processes of `larder torture --full` know of each other: what each
/// key was last set to and how far, so that whoever reads may judge at once. It
/// lies in a file that all have mapped and survives whoever is killed.
///
/// Each key is written by one thread, which numbers its calls; all read it.

namespace larder::tools {

inline constexpr unsigned kStormProcessesMax = 64;
inline constexpr unsigned kStormThreads = 2;
inline constexpr std::uint32_t kStormKeysMax = 4096;
inline constexpr std::uint32_t kStormTags = 4;
inline constexpr std::uint64_t kStormRing = 64;
/// Keys of a batch that is written and read as one.
inline constexpr std::uint32_t kStormGroup = 3;

enum class StormState : std::uint32_t { kBegun = 0, kDone, kNotApplied };
enum class StormKind : std::uint32_t { kSet = 0, kDelete };

/// One call on a key: the last kStormRing are kept.
struct StormCall {
  std::atomic<std::uint64_t> number;
  std::atomic<StormState> state;
  std::atomic<StormKind> kind;
  std::atomic<std::uint32_t> tag;  ///< 0: none, else 1 + its index.
  // Set before state becomes kDone:
  std::atomic<std::uint64_t> clears;      ///< That had begun by its end.
  std::atomic<std::uint64_t> tag_clears;  ///< Of its tag.
  std::atomic<std::int64_t> dead_at_us;   ///< It has expired then; 0: never.
};

/// A call whose outcome nobody knows may still be made some time later. The key
/// is left then: its next era is another key in the cache.
struct StormKey {
  std::atomic<std::uint32_t> era;
  std::atomic<std::uint32_t> is_open;  ///< A call is under way.
  std::atomic<std::uint64_t> begun;    ///< Number of the last call.
  std::atomic<std::uint64_t> done;     ///< Acknowledged in this era; 0: none.
  std::array<StormCall, kStormRing> ring;
};

/// A number to which its owner adds 1.
struct StormCounter {
  std::atomic<std::uint32_t> era;
  std::atomic<std::uint32_t> is_open;
  std::atomic<std::uint64_t> sum;  ///< Acknowledged in this era.
};

/// What may be found wrong.
enum class StormFault : std::uint32_t {
  kLost = 0,    ///< Acknowledged, and a miss or an older value for good.
  kWrong,       ///< Bytes of another value, or of one never acknowledged.
  kStale,       ///< Older than what was acknowledged, or seen, before.
  kTorn,        ///< A value that is not whole; half of a batch.
  kRepeated,    ///< A change that was made more than once.
  kUnexpected,  ///< A call failed with a code that nothing explains.
};
inline constexpr std::size_t kStormFaultCount = 6;
[[nodiscard]] const char* StormFaultName(StormFault fault) noexcept;

struct alignas(64) StormSlot {
  std::atomic<std::uint64_t> progress;
  std::atomic<std::uint32_t> has_store;
};

struct StormFigures {
  std::atomic<std::uint64_t> acknowledged, reads, misses, bytes_compared,
      handles_held, refused, in_doubt, failed, forks, clears, streams;
};

/// A line of an engine's log, cut off if need be.
using StormNote = std::array<char, 240>;
inline constexpr std::size_t kStormNotes = 256;

struct StormPage {
  std::atomic<std::uint32_t> stop;
  std::atomic<std::uint64_t> clears_begun, clears_done;
  std::array<std::atomic<std::uint64_t>, kStormTags> tag_clears_begun,
      tag_clears_done;
  StormFigures figures;
  std::array<std::atomic<std::uint64_t>, kStormFaultCount> faults;
  std::atomic<std::uint64_t> notes_begun;
  std::array<StormNote, kStormNotes> notes;  ///< The last ones.
  std::array<StormSlot, kStormProcessesMax> slots;
  std::array<StormCounter, kStormProcessesMax * kStormThreads> counters;
  std::array<StormKey, kStormKeysMax> keys;
};

/// The page, and a file of lines beside it that say what was wrong.
///
/// Threads: thread-safe. Processes: any number have it mapped.
class StormBoard {
 public:
  /// In the directory `work`; the page is made by Create and found by Open.
  static Result<StormBoard> Create(const std::string& work);
  static Result<StormBoard> Open(const std::string& work);
  [[nodiscard]] StormPage* operator->() const { return page_.get(); }
  [[nodiscard]] StormPage& page() const { return *page_; }
  /// Counts the fault and writes the line.
  void Report(StormFault fault, const std::string& line) const;
  [[nodiscard]] std::string faults_path() const { return work_ + "/faults"; }
  /// Keeps a line of the engine's log: not in a file, as its process may be one
  /// that cannot write.
  void Note(std::string_view line) const;
  /// The last lines, when nobody writes any.
  [[nodiscard]] std::vector<std::string> Notes() const;

 private:
  struct Unmap {
    void operator()(StormPage* page) const;
  };
  static Result<StormBoard> Map(const std::string& work, int flags);
  StormBoard(std::string work, StormPage* page)
      : work_(std::move(work)), page_(page) {}
  std::string work_;
  std::unique_ptr<StormPage, Unmap> page_;
};

/// What is known of a key before it is read.
struct StormFloor {
  std::uint32_t era = 0;
  std::uint64_t done = 0;
  std::uint64_t clears = 0;
  std::array<std::uint64_t, kStormTags> tag_clears{};
  std::int64_t now_us = 0;
};
[[nodiscard]] StormFloor TakeFloor(const StormPage& page, std::uint32_t key);

/// Why the value `stamp` of `key`, read after `floor` was taken, cannot be;
/// nullptr if it can.
struct StormVerdict {
  StormFault fault = StormFault::kWrong;
  const char* why = nullptr;
};
[[nodiscard]] StormVerdict JudgeRead(const StormPage& page, std::uint32_t key,
                                     const StormFloor& floor,
                                     const StormStamp& stamp);
/// True if the key, of which nothing is evicted, cannot be a miss: its last
/// call was a Set that was acknowledged and is not over.
[[nodiscard]] bool IsLost(const StormPage& page, std::uint32_t key,
                          const StormFloor& floor);
/// True if `count` of the keys of a batch, of which nothing is evicted, cannot
/// be all that was found by a look that began after `floor` was taken. Those of
/// an era that was left are deleted one by one.
[[nodiscard]] bool IsSplit(const StormPage& page, std::uint32_t key,
                           const StormFloor& floor, std::size_t count);

[[nodiscard]] std::int64_t WallMicroseconds() noexcept;

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_STORM_BOARD_H_
