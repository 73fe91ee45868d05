#ifndef LARDER_ENGINE_SRC_FAIR_MUTEX_H_
#define LARDER_ENGINE_SRC_FAIR_MUTEX_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace larder {

/// A mutex that is given to those who wait in the order in which they came:
/// with std::mutex whoever gives it back and takes it again at once may keep
/// the others out for as long as it likes.
///
/// Threads: thread-safe.
/// Cost:    two uncontended locks; who waits is woken for each turn before it.
class FairMutex {
 public:
  void lock() {
    std::unique_lock lock(mutex_);
    const std::uint64_t ticket = next_++;
    turn_changed_.wait(lock, [&] { return turn_ == ticket; });
  }
  void unlock() {
    {
      const std::scoped_lock lock(mutex_);
      ++turn_;
      if (turn_ == next_) return;  // Nobody waits.
    }
    turn_changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable turn_changed_;
  std::uint64_t next_ = 0;  // Guarded by mutex_, as is
  std::uint64_t turn_ = 0;  // whose turn it is.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_FAIR_MUTEX_H_
