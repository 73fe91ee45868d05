#include "messages/eviction_board.h"

#include <utility>

namespace larder {

void EvictionBoard::Add(std::string_view key, std::uint64_t size_bytes,
                        EvictionReason reason) noexcept {
  const std::scoped_lock lock(mutex_);
  for (auto& [number, subscriber] : subscribers_) {
    if (subscriber.queue.size() == kNoticeCountMax) {
      ++subscriber.dropped;
      dropped_.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    subscriber.queue.push_back({std::string(key), size_bytes, reason});
  }
}

EvictionNotices EvictionBoard::Take(std::uint64_t subscriber,
                                    std::size_t bytes_max,
                                    SteadyTime now) noexcept {
  EvictionNotices taken;
  const std::scoped_lock lock(mutex_);
  std::erase_if(subscribers_, [now, subscriber](const auto& entry) {
    return entry.first != subscriber &&
           now - entry.second.last_seen > kForgottenAfter;
  });
  if (subscribers_.size() < kSubscriberCountMax ||
      subscribers_.contains(subscriber)) {
    Subscriber& self = subscribers_[subscriber];
    self.last_seen = now;
    taken.dropped = std::exchange(self.dropped, 0);
    for (std::size_t bytes = 0; !self.queue.empty() && bytes < bytes_max;) {
      bytes += self.queue.front().key.size() + sizeof(EvictionNotice);
      taken.notices.push_back(std::move(self.queue.front()));
      self.queue.pop_front();
    }
  }
  any_.store(!subscribers_.empty(), std::memory_order_relaxed);
  return taken;
}

}  // namespace larder
