#include "space/housekeeper.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "os/start_thread.h"

namespace larder {

Status Housekeeper::Start(Work work) {
  LARDER_CHECK(!thread_.joinable());
  work_ = std::move(work);
  auto thread = StartThread([this] { Run(); });
  if (!thread) return thread.error();
  thread_ = *std::move(thread);
  return Status::Ok();
}

void Housekeeper::Stop() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Housekeeper::Ask() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    asked_ = true;
  }
  wake_.notify_one();
}

bool Housekeeper::WaitForRound(Clock::time_point until) noexcept {
  std::unique_lock lock(mutex_);
  bool is_stuck = false;
  const auto wanted = [&] { return stopping_ || (asked_ && !is_stuck); };
  while (Clock::now() < until && wake_.wait_until(lock, until, wanted)) {
    if (stopping_) return false;
    lock.unlock();
    is_stuck = !work_.when_asked();
    lock.lock();
    // Who is stuck tries again after the next round.
    if (!is_stuck) asked_ = false;
  }
  asked_ = false;
  return !stopping_;
}

void Housekeeper::Run() noexcept {
  std::chrono::milliseconds interval = intervals_.busy;
  while (WaitForRound(Clock::now() + interval)) {
    const bool is_idle = work_.is_idle();
    interval =
        is_idle ? std::min(2 * interval, intervals_.idle_max) : intervals_.busy;
    if (!is_idle || interval == intervals_.idle_max) work_.round(is_idle);
  }
}

}  // namespace larder
