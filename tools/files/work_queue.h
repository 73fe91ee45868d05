#ifndef LARDER_TOOLS_FILES_WORK_QUEUE_H_
#define LARDER_TOOLS_FILES_WORK_QUEUE_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace larder::tools {

/// A queue of bounded length between threads.
///
/// Threads: thread-safe.
template <typename T>
class WorkQueue {
 public:
  explicit WorkQueue(std::size_t size_max) : size_max_(size_max) {}

  /// Waits for room. False: the queue is closed and `item` was dropped.
  bool Push(T item) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock,
                  [this] { return closed_ || items_.size() < size_max_; });
    if (closed_) {
      return false;
    }
    items_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }

  /// Waits for an item; nullopt when the queue is closed and empty.
  std::optional<T> Pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !items_.empty(); });
    if (items_.empty()) {
      return std::nullopt;
    }
    T item = std::move(items_.front());
    items_.pop_front();
    changed_.notify_all();
    return item;
  }

  /// No item comes any more; those that are there are still given out.
  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  const std::size_t size_max_;
  std::mutex mutex_;  // Guards all below.
  std::condition_variable changed_;
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_FILES_WORK_QUEUE_H_
