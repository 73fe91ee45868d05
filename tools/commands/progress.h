#ifndef LARDER_TOOLS_COMMANDS_PROGRESS_H_
#define LARDER_TOOLS_COMMANDS_PROGRESS_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace larder::tools {

/// How far a long command has come, on standard error: a bar that is redrawn
/// on a terminal, a plain line every few seconds elsewhere.
///
/// Threads: Advance is thread-safe.
class Progress {
 public:
  /// `bytes_total` 0: unknown, no percentage.
  Progress(std::string title, std::uint64_t bytes_total);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  void Advance(std::uint64_t files, std::uint64_t bytes) noexcept;
  /// Draws the last state and ends the line. Idempotent.
  void Finish();

 private:
  void Tick();
  void Draw(bool last);
  [[nodiscard]] std::string Line() const;

  const std::string title_;
  const std::uint64_t bytes_total_;
  const bool terminal_;
  const std::chrono::steady_clock::time_point begin_;
  // Relaxed: figures for people, no other data depends on them.
  std::atomic<std::uint64_t> files_ = 0;
  std::atomic<std::uint64_t> bytes_ = 0;
  std::mutex mutex_;  // Guards finished_.
  std::condition_variable finished_changed_;
  bool finished_ = false;
  std::thread ticker_;  // Last: it uses all of the above.
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_COMMANDS_PROGRESS_H_
