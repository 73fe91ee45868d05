#include "eviction_notifier.h"

namespace larder {

EvictionNotifier::EvictionNotifier(EvictionCallback callback)
    : callback_(std::move(callback)), thread_([this] { Run(); }) {}

EvictionNotifier::~EvictionNotifier() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void EvictionNotifier::Add(std::string_view key, std::uint64_t size_bytes,
                           EvictionReason reason) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (queue_.size() == kNoticeCountMax) {
      dropped_.fetch_add(1);
      return;
    }
    queue_.push_back({std::string(key), size_bytes, reason});
  }
  wake_.notify_one();
}

void EvictionNotifier::Run() noexcept {
  for (;;) {
    std::deque<EvictionNotice> batch;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      batch.swap(queue_);
    }
    for (const EvictionNotice& notice : batch) Deliver(notice);
  }
}

void EvictionNotifier::Deliver(const EvictionNotice& notice) noexcept {
  try {
    callback_(notice.key, notice.size_bytes, notice.reason);
  } catch (...) {  // A callback of the user's: counted, and life goes on.
    failed_.fetch_add(1);
  }
}

}  // namespace larder
