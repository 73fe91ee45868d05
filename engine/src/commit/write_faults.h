#ifndef LARDER_ENGINE_SRC_COMMIT_WRITE_FAULTS_H_
#define LARDER_ENGINE_SRC_COMMIT_WRITE_FAULTS_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "larder/engine/status.h"

namespace larder {

/// Whether writes are refused since one failed, and when that is to be tried
/// again: the database has to be opened anew for it.
///
/// Threads: thread-safe; its lock is a leaf of the lock order.
class WriteFaults {
 public:
  /// After a try that failed.
  static constexpr auto kRetryInterval = std::chrono::milliseconds(200);

  /// True: writes are refused.
  [[nodiscard]] bool any() const noexcept { return faulted_; }
  /// OK, or why they are.
  [[nodiscard]] Status status() const;
  /// How many writes failed.
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// True: it was tried less than kRetryInterval ago.
  [[nodiscard]] bool IsTooSoon() const noexcept;
  /// A write found no space, and there was not enough since: sets are refused.
  [[nodiscard]] bool disk_full() const noexcept { return disk_full_; }

  /// A write failed. True: writes were not refused before.
  bool Note(const Status& failure);
  /// True: it was not full before.
  bool NoteDiskFull() noexcept { return !disk_full_.exchange(true); }
  void NoteDiskHasRoom() noexcept { disk_full_ = false; }
  /// The database was opened anew, or could not be: it is tried again after
  /// kRetryInterval.
  void NoteReopened(const Status& reopened);
  /// The same, but it may be tried again at once.
  void NoteRebuilt(const Status& reopened);

 private:
  using Clock = std::chrono::steady_clock;

  void Set(const Status& status, Clock::time_point retry_at);

  mutable std::mutex mutex_;
  Status status_;                 // Guarded by mutex_.
  Clock::time_point retry_at_{};  // The same.
  std::atomic<bool> faulted_{false};
  std::atomic<bool> disk_full_{false};
  std::atomic<std::uint64_t> count_{0};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_COMMIT_WRITE_FAULTS_H_
