#ifndef LARDER_TOOLS_TORTURE_STORM_THREAD_H_
#define LARDER_TOOLS_TORTURE_STORM_THREAD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "larder/cache/cache.h"

#include "measure/random_keys.h"
#include "torture/storm_board.h"
#include "torture/storm_worker.h"

namespace larder::tools {

/// The key in the cache; `member` is 0 but for the other keys of a batch.
[[nodiscard]] std::string StormKeyName(std::uint32_t row, std::uint32_t era,
                                       std::uint32_t member);

/// A thread of a worker: sets its own keys, reads all, and holds some of what
/// it has read for seconds, comparing it again and again.
///
/// Threads: thread-compatible.
class StormThread {
 public:
  StormThread(const StormWorkerOptions& options, const StormBoard& board,
              Cache& cache, unsigned thread, std::uint64_t seed);
  /// Leaves the keys on which a thread that was killed had a call under way.
  void LeaveOpenKeys();
  /// One call, or a look at what is held.
  void Step();
  /// Compares what is held for the last time and lets go of it.
  void Finish();
  /// Whether `key` is what the board says; a miss is loss if nothing is
  /// evicted.
  void ReadKey(std::uint32_t key);

 private:
  struct Held {
    Value value;
    StormStamp stamp;
    std::int64_t until_us = 0;
  };
  struct HeldReader {
    std::unique_ptr<ValueReader> reader;
    StormStamp stamp;
    std::uint64_t offset = 0;
  };
  // Which of its calls, and on what.
  struct Call {
    std::uint32_t row = 0;
    std::uint64_t number = 0;
    std::uint32_t tag = 0;
    std::int64_t ttl_us = 0;
  };

  [[nodiscard]] bool OneIn(std::uint64_t n) { return random_.Below(n) == 0; }
  [[nodiscard]] std::uint32_t AnyKey() {
    return static_cast<std::uint32_t>(random_.Below(options_.keys));
  }
  [[nodiscard]] std::uint32_t OwnKey();
  [[nodiscard]] std::uint32_t OwnGroup() const {
    return options_.keys + index_;
  }
  [[nodiscard]] std::uint64_t ChooseSize();
  [[nodiscard]] StormStamp StampOf(const Call& call, std::uint64_t size) const;
  Call Begin(std::uint32_t row, StormKind kind);
  void End(const Call& call, const Status& status, bool is_stream = false);
  void LeaveEra(std::uint32_t row);
  /// Counts a failed call. True if what it did is not known.
  bool Note(const Status& status, const char* what, bool is_stream = false);
  void Report(StormFault fault, const StormStamp& stamp, const char* what,
              const std::string& why);
  /// Judges a value; false if it is not whole.
  bool Judge(std::uint32_t row, std::uint32_t member, const StormFloor& floor,
             std::string_view bytes, const char* what, StormStamp& stamp);
  bool Compare(const StormStamp& stamp, std::uint64_t offset,
               std::string_view bytes, const char* what);
  void Take(std::uint32_t row, std::uint32_t member, const StormFloor& floor,
            Value value, const char* what);
  void Missed(std::uint32_t row, const StormFloor& floor, const char* what);
  void CompareHeld(bool all);
  void ReadOn(bool all);

  void Get();
  void MultiGet();
  void OpenReader();
  void Scan();
  void Set();
  void SetStream();
  void Delete();
  void Pop();
  void WriteGroup();
  void ReadGroup();
  void Incr();
  void Clear();
  void Fork();
  [[noreturn]] void LiveAsChild();
  void ReapChildren();

  const StormWorkerOptions& options_;
  const StormBoard& board_;
  StormPage& page_;
  Cache& cache_;
  const unsigned index_;  // Of all threads of all processes.
  Random random_;
  std::vector<Held> held_;
  std::vector<HeldReader> readers_;
  struct Seen {
    std::uint32_t era = 0;
    std::uint64_t number = 0;
  };
  std::vector<Seen> seen_;  // Of each row, the newest that was read.
  std::vector<pid_t> children_;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_TORTURE_STORM_THREAD_H_
