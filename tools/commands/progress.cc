#include "commands/progress.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "commands/output.h"

namespace larder::tools {
namespace {

constexpr std::chrono::milliseconds kTerminalPeriod{200};
constexpr std::chrono::milliseconds kPlainPeriod{2000};
constexpr std::size_t kBarWidth = 24;

std::string Bar(double done) {
  const auto filled = static_cast<std::size_t>(done * kBarWidth);
  return "[" + std::string(filled, '#') + std::string(kBarWidth - filled, '-') +
         "]";
}

}  // namespace

Progress::Progress(std::string title, std::uint64_t bytes_total)
    : title_(std::move(title)),
      bytes_total_(bytes_total),
      terminal_(::isatty(STDERR_FILENO) == 1),
      begin_(std::chrono::steady_clock::now()),
      ticker_([this] { Tick(); }) {}

Progress::~Progress() { Finish(); }

void Progress::Advance(std::uint64_t files, std::uint64_t bytes) noexcept {
  files_.fetch_add(files, std::memory_order_relaxed);
  bytes_.fetch_add(bytes, std::memory_order_relaxed);
}

void Progress::Finish() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(finished_, true)) {
      return;
    }
  }
  finished_changed_.notify_all();
  ticker_.join();
  Draw(true);
}

void Progress::Tick() {
  std::unique_lock lock(mutex_);
  const auto period = terminal_ ? kTerminalPeriod : kPlainPeriod;
  while (
      !finished_changed_.wait_for(lock, period, [this] { return finished_; })) {
    Draw(false);
  }
}

std::string Progress::Line() const {
  const std::uint64_t bytes = bytes_.load(std::memory_order_relaxed);
  const std::uint64_t files = files_.load(std::memory_order_relaxed);
  const std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - begin_;
  std::string line = fmt::format("{:<7}", title_);
  if (bytes_total_ > 0) {
    const double done = std::min(
        1.0, static_cast<double>(bytes) / static_cast<double>(bytes_total_));
    line +=
        fmt::format("{} {:3.0f} % ", terminal_ ? Bar(done) : "", 100.0 * done);
  }
  return line + fmt::format("{:>8} files  {:>9}  {:6.1f} s", files,
                            FormatRoughBytes(bytes), passed.count());
}

void Progress::Draw(bool last) {
  // "\r" and "erase to the end of the line" redraw in place.
  const std::string line =
      terminal_ ? "\r" + Line() + "\x1b[K" + (last ? "\n" : "") : Line() + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace larder::tools
