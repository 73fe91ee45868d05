#include <algorithm>
#include <chrono>
#include <thread>

#include "base/test_point.h"
#include "index/store_keys.h"
#include "store/store.h"

// Lowering the limit of a cache that holds more. At once it would leave no
// writer any room until all is done, which takes seconds where the index has to
// be compacted. So the old limit stays in force until the directory is under
// the new one; whoever lowers it works in steps, holds no lock for longer than
// one, and lets those in who wait for room. Where nothing may be evicted, it is
// in force for cleaning and compactions only: what writers add would stay.
//
// Rejected: a limit that comes down with what is taken. What is left free for a
// compaction of the index may be as large as that, and comes and goes: writers
// waited for it.

namespace larder {

// The mutex is not fair: who unlocks it has it again before a waiter is awake.
void Store::LetWaitersIn() noexcept {
  constexpr int kYieldsMax = 256;
  for (int n = 0; room_waiters_ != 0 && n < kYieldsMax; ++n) {
    std::this_thread::yield();
  }
}

void Store::BeginShrinking() noexcept {
  if (options_.logical_capacity != 0) return;
  RaiseTo(shrinking_limit_, EffectiveLimit());
}

Status Store::PackIndex() noexcept {
  LARDER_RETURN_IF_ERROR(rocks_->FlushAll());
  ++index_pressing_;
  std::string cursor;
  while (!closed_ && CompactIndexBeyond(cursor)) {
  }
  --index_pressing_;
  return Status::Ok();
}

Status Store::ShrinkToLimit() noexcept {
  // Then it is left to those who write, as in any cache that is full.
  constexpr auto kTimeMax = std::chrono::minutes(2);
  const std::scoped_lock one_at_a_time(shrink_mutex_);
  const auto until = std::chrono::steady_clock::now() + kTimeMax;
  for (;;) {
    const std::uint64_t limit = settings_.cache_limit();
    Status status = ShrinkInSteps(until);
    {
      // Another call may be about to lower it further: that needs the limit
      // that was in force before.
      const std::scoped_lock resetting(reset_mutex_);
      if (settings_.cache_limit() < limit && status.ok() && !closed_ &&
          std::chrono::steady_clock::now() < until) {
        continue;
      }
      if (shrinking_limit_.exchange(0) == 0) return status;
    }
    AwaitCompactions();
    return status;
  }
}

// Those that began under the limit before.
void Store::AwaitCompactions() noexcept {
  constexpr auto kPause = std::chrono::milliseconds(1);
  constexpr int kPausesMax = 200;
  { const std::scoped_lock lock(freeing_mutex_); }
  { const std::scoped_lock lock(index_mutex_); }
  for (int i = 0; i < kPausesMax && rocks_->files().merging_bytes() != 0; ++i) {
    std::this_thread::sleep_for(kPause);
  }
}

Status Store::ShrinkInSteps(
    std::chrono::steady_clock::time_point until) noexcept {
  constexpr std::uint64_t kSegmentsAhead = 2;
  std::uint64_t vain_steps = 0;  // Since one made the index smaller.
  bool is_packed = false;
  Status status;
  while (shrinking_limit_ != 0 && !closed_ &&
         std::chrono::steady_clock::now() < until) {
    // With what is made ready for the next writes anyway, and with what is
    // left free for the largest compaction, which comes and goes.
    const std::uint64_t most =
        std::max(BytesTaken(), UsedBytes() + rocks_->access_table_bytes());
    if (most + kSegmentsAhead * settings_.segment_size() <= effective_limit_)
      break;
    TestPoint("shrink.step");
    // What must go in any case goes before the index is compacted, which is
    // done once then.
    if (items_lie_in_index_ && live_bytes_ > effective_limit_ / 2) {
      LetWaitersIn();
      const std::scoped_lock space(space_mutex_);
      bool evicted = false;
      status = EvictRow(EvictionCause::kRoom, evicted);
      if (!status.ok()) break;
      if (evicted) continue;
    }
    // Waits for the disk: nobody waits for this. Each step takes another
    // table, and only after all of them more has to be evicted.
    if (IndexHasRoomToGive() && vain_steps <= rocks_->access_table_count()) {
      vain_steps = PressIndex() ? 0 : vain_steps + 1;
      continue;
    }
    vain_steps = 0;
    LetWaitersIn();
    bool progress = false;
    {
      const std::scoped_lock space(space_mutex_);
      RoomEffort effort{
          .index_steps = kNoIndexSteps, .squeezes = 0, .may_clean = true};
      // As if so much was wanted that what is kept for new segments must go.
      status = Reclaim({.database_bytes = shrinking_limit_}, effort, progress);
    }
    if (!status.ok() || (!progress && is_packed)) break;
    if (progress) continue;
    // What is left may not be evicted. Later there may be no room to compact
    // the index.
    status = PackIndex();
    if (!status.ok()) break;
    is_packed = true;
  }
  return status;
}

}  // namespace larder
