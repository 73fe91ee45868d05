#ifndef LARDER_TOOLS_REPLAY_REPLAY_PROGRESS_H_
#define LARDER_TOOLS_REPLAY_REPLAY_PROGRESS_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <iosfwd>
#include <mutex>
#include <string>
#include <thread>

namespace larder::replay {

/// A line on a terminal that says how far some work is, redrawn five times a
/// second by a thread of its own and wiped at the end. Does nothing if `shown`
/// is false.
///
/// Threads: done() may be counted up on any thread.
class ReplayProgress {
 public:
  /// `total` in requests. `err` must outlive this, and nobody else writes to
  /// it meanwhile.
  ReplayProgress(bool shown, std::string what, std::uint64_t total,
                 std::ostream& err);
  ~ReplayProgress();
  ReplayProgress(const ReplayProgress&) = delete;
  ReplayProgress& operator=(const ReplayProgress&) = delete;

  [[nodiscard]] std::atomic<std::uint64_t>& done() noexcept { return done_; }

 private:
  void Draw();
  void Paint();

  std::string what_;
  std::uint64_t total_;
  std::ostream& err_;
  std::chrono::steady_clock::time_point start_ =
      std::chrono::steady_clock::now();
  std::atomic<std::uint64_t> done_{0};
  std::mutex mutex_;
  std::condition_variable ended_changed_;
  bool ended_ = false;  // Guarded by mutex_.
  std::thread painter_;
};

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_REPLAY_PROGRESS_H_
