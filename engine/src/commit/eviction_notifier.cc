#include "commit/eviction_notifier.h"

#include "os/start_thread.h"

namespace larder {

Result<std::unique_ptr<EvictionNotifier>> EvictionNotifier::Start(
    EvictionCallback callback) noexcept {
  std::unique_ptr<EvictionNotifier> notifier(
      new EvictionNotifier(std::move(callback)));
  auto thread = StartThread([raw = notifier.get()] { raw->Run(); });
  if (!thread) return Fail(std::move(thread.error()));
  notifier->thread_ = *std::move(thread);
  return notifier;
}

EvictionNotifier::~EvictionNotifier() {
  Finish();
  // The callback calls exit: it does not come back.
  if (thread_.get_id() == std::this_thread::get_id()) thread_.detach();
  if (thread_.joinable()) thread_.join();
}

void EvictionNotifier::Finish() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
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
      if (queue_.empty()) break;
      batch.swap(queue_);
    }
    for (const EvictionNotice& notice : batch) {
      callback_(notice.key, notice.size_bytes, notice.reason);
    }
  }
  ended_.store(true);
}

}  // namespace larder
