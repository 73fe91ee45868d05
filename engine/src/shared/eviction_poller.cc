#include "shared/eviction_poller.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "os/start_thread.h"

namespace larder {
namespace {

constexpr std::chrono::milliseconds kIntervalMin{20};
constexpr std::chrono::milliseconds kIntervalMax{1'000};

std::uint64_t RandomNumber() {
  std::random_device random;
  return std::uint64_t{random()} << 32 | random();
}

}  // namespace

EvictionPoller::EvictionPoller(EvictionCallback callback, Ask ask) noexcept
    : callback_(std::move(callback)),
      ask_(std::move(ask)),
      subscriber_(RandomNumber()) {}

Result<std::unique_ptr<EvictionPoller>> EvictionPoller::Start(
    EvictionCallback callback, Ask ask) noexcept {
  std::unique_ptr<EvictionPoller> poller(
      new EvictionPoller(std::move(callback), std::move(ask)));
  bool any = false;
  poller->Poll(any);  // The first question makes it a subscriber.
  auto thread = StartThread([raw = poller.get()] { raw->Run(); });
  if (!thread) return Fail(std::move(thread.error()));
  poller->thread_ = *std::move(thread);
  return poller;
}

EvictionPoller::~EvictionPoller() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  // The callback calls exit: it does not come back.
  if (thread_.get_id() == std::this_thread::get_id()) thread_.detach();
  if (thread_.joinable()) thread_.join();
}

void EvictionPoller::Wake() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    woken_ = true;
  }
  wake_.notify_one();
}

bool EvictionPoller::Poll(bool& any) noexcept {
  const auto taken = ask_(subscriber_);
  if (!taken) return false;
  any = *taken && !(*taken)->notices.empty();
  if (!any) return true;
  for (const EvictionNotice& notice : (*taken)->notices) {
    callback_(notice.key, notice.size_bytes, notice.reason);
  }
  return true;
}

void EvictionPoller::Run() noexcept {
  std::chrono::milliseconds interval = kIntervalMin;
  bool store_is_here = false;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      const auto is_due = [this] { return stopping_ || woken_; };
      if (store_is_here) {
        wake_.wait(lock, is_due);
      } else {
        wake_.wait_for(lock, interval, is_due);
      }
      if (stopping_) return;
      woken_ = false;
    }
    bool any = false;
    store_is_here = !Poll(any);
    interval = any || store_is_here ? kIntervalMin
                                    : std::min(2 * interval, kIntervalMax);
  }
}

}  // namespace larder
