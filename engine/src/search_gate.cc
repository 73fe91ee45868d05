#include "search_gate.h"

namespace larder {
namespace {

// A change of this share of the limit is one that shows.
constexpr std::uint64_t kShareOfLimit = 64;
// Searches that find little take one part of so many of the time.
constexpr int kTimeShare = 20;

}  // namespace

bool SearchGate::IsOpen(const State& state, std::uint64_t log_bytes,
                        Clock::time_point now) const noexcept {
  const std::scoped_lock lock(mutex_);
  if (!searched_ || state.limit != last_.limit) return true;
  if (state.changes == last_.changes) return false;
  const std::uint64_t shown = state.limit / kShareOfLimit;
  const std::uint64_t killed = state.killed_bytes - last_.killed_bytes;
  if (killed >= shown || (log_bytes != 0 && killed >= log_bytes)) return true;
  // What was added is compacted with what was there.
  if (state.live_bytes >= last_.live_bytes + shown) return true;
  return now >= next_;
}

void SearchGate::Note(const State& state, Clock::time_point begin,
                      Clock::time_point now,
                      std::uint64_t gained_bytes) noexcept {
  if (gained_bytes >= state.limit / kShareOfLimit) return;
  const std::scoped_lock lock(mutex_);
  searched_ = true;
  last_ = state;
  next_ = now + kTimeShare * (now - begin);
}

}  // namespace larder
