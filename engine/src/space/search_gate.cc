#include "space/search_gate.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/coding.h"

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
  if (state.may_compact && !last_.may_compact) return true;
  if (state.changes == last_.changes) return false;
  const std::uint64_t shown = state.limit / kShareOfLimit;
  const std::uint64_t killed = state.killed_bytes - last_.killed_bytes;
  if (killed >= shown || (log_bytes != 0 && killed >= log_bytes)) return true;
  // What was added is compacted with what was there.
  if (state.live_bytes >= last_.live_bytes + shown) return true;
  return now >= next_;
}

bool SearchGate::Note(const State& state, Clock::time_point begin,
                      Clock::time_point now,
                      std::uint64_t gained_bytes) noexcept {
  if (gained_bytes >= state.limit / kShareOfLimit) return false;
  const std::scoped_lock lock(mutex_);
  searched_ = true;
  last_ = state;
  next_ = now + kTimeShare * (now - begin);
  return true;
}

void SearchGate::Restore(const VainSearch& search, const State& state,
                         std::uint64_t dead_bytes, Clock::time_point now,
                         std::chrono::microseconds since_1970) noexcept {
  const std::uint64_t shown = state.limit / kShareOfLimit;
  const std::uint64_t died =
      dead_bytes - std::min(dead_bytes, search.dead_bytes);
  const std::uint64_t removed =
      search.live_bytes - std::min(search.live_bytes, state.live_bytes);
  const std::uint64_t killed = std::max(died, removed);
  // Clocks of the system may have been set.
  constexpr std::chrono::microseconds kTookMax = std::chrono::minutes(10);
  const auto took =
      std::min(std::chrono::microseconds(search.took_us), kTookMax);
  const auto passed = since_1970 - std::chrono::microseconds(search.ended_us);
  const auto left = std::clamp(kTimeShare * took - passed,
                               std::chrono::microseconds(0), kTimeShare * took);
  if (search.limit != state.limit || killed >= shown) return;
  const std::scoped_lock lock(mutex_);
  searched_ = true;
  last_ = state;
  // What that process did after its search, and what ended with it, is a change
  // of which nothing is known.
  last_.changes -= 1;
  last_.live_bytes = search.live_bytes;
  last_.killed_bytes -= killed;  // Only differences count.
  next_ = now + left;
}

std::string VainSearch::Encode() const {
  const std::array numbers{limit, live_bytes, dead_bytes, took_us, ended_us};
  std::string bytes(sizeof(numbers), '\0');
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    StoreBigEndian64(bytes.data() + i * sizeof(std::uint64_t), numbers[i]);
  }
  return bytes;
}

std::optional<VainSearch> VainSearch::Decode(std::string_view bytes) {
  // More is damage, and could not be reckoned with.
  constexpr std::uint64_t kNumberMax = INT64_MAX / (2 * kTimeShare);
  VainSearch search;
  const std::array fields{&search.limit, &search.live_bytes, &search.dead_bytes,
                          &search.took_us, &search.ended_us};
  if (bytes.size() != fields.size() * sizeof(std::uint64_t)) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < fields.size(); ++i) {
    *fields[i] = LoadBigEndian64(bytes.data() + i * sizeof(std::uint64_t));
    if (*fields[i] > kNumberMax) return std::nullopt;
  }
  return search;
}

}  // namespace larder
