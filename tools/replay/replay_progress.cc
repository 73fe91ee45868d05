#include "replay_progress.h"

#include <algorithm>
#include <ostream>
#include <utility>

#include <fmt/format.h>

namespace larder::replay {

ReplayProgress::ReplayProgress(bool shown, std::string what,
                               std::uint64_t total, std::ostream& err)
    : what_(std::move(what)), total_(total), err_(err) {
  if (shown) painter_ = std::thread([this] { Paint(); });
}

ReplayProgress::~ReplayProgress() {
  if (!painter_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  ended_changed_.notify_one();
  painter_.join();
  err_ << "\r\x1B[K" << std::flush;
}

void ReplayProgress::Paint() {
  std::unique_lock lock(mutex_);
  while (!ended_changed_.wait_for(lock, std::chrono::milliseconds(200),
                                  [this] { return ended_; })) {
    Draw();
  }
}

void ReplayProgress::Draw() {
  constexpr std::size_t kBarWidth = 24;
  const std::chrono::duration<double> elapsed =
      std::chrono::steady_clock::now() - start_;
  const auto done = static_cast<double>(done_.load());
  const double share =
      total_ == 0 ? 0 : std::min(done / static_cast<double>(total_), 1.0);
  const auto filled = static_cast<std::size_t>(share * kBarWidth);
  const std::string left =
      share <= 0 ? "?"
                 : fmt::format("{:.0f} s", elapsed.count() * (1 / share - 1));
  err_ << fmt::format(
              "\r\x1B[K{} [{:=<{}}{:{}}] {:3.0f} %  {:.2f} Mreq/s  {} "
              "left",
              what_, "", filled, "", kBarWidth - filled, share * 100,
              done / elapsed.count() / 1e6, left)
       << std::flush;
}

}  // namespace larder::replay
