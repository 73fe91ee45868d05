#include "shared/change_combiner.h"

#include <utility>

namespace larder {
namespace {

// Of others' changes, before somebody else has to take over.
constexpr int kRoundsMax = 8;

}  // namespace

void ChangeCombiner::Execute(ClientChange& change) noexcept {
  thread_local AdaptiveSpin spin;
  if (!collecting() && TryTurn()) {
    group_.assign(1, change);
    Combine(group_);
    change.status = group_[0].status;
    GiveTurn();
    return;
  }
  Waiting waiting{.change = &change};
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(&waiting);
    queued_.store(queue_.size(), std::memory_order_seq_cst);
  }
  const auto done = [&waiting] {
    return waiting.state.load(std::memory_order_acquire) == Waiting::kDone;
  };
  // seq_cst: first it is in the queue, then it looks at the turn. Who gives the
  // turn back or ceases to collect does the opposite, so one of them sees the
  // other.
  bool is_left = true;  // To whoever collects, who may be at something else.
  const auto may_take = [&] { return !is_left || !collecting(); };
  while (!done()) {
    if (may_take() && TryTurn()) {
      group_.clear();
      Combine(group_);
      GiveTurn();
      continue;
    }
    if (spin.Until([&] { return done() || (may_take() && turn_is_free()); })) {
      continue;
    }
    if (std::exchange(is_left, false)) continue;
    std::uint32_t state = Waiting::kWaiting;
    waiting.state.compare_exchange_strong(state, Waiting::kAsleep);
    FutexWait(waiting.state, Waiting::kAsleep, kWaitSlice);
  }
}

void ChangeCombiner::AwaitTurn() noexcept {
  thread_local AdaptiveSpin spin;
  while (!TryTurn()) {
    if (spin.Until([this] { return turn_is_free(); })) continue;
    std::uint32_t turn = kTaken;
    if (turn_.compare_exchange_strong(turn, kAwaited) || turn == kAwaited) {
      FutexWait(turn_, kAwaited, kWaitSlice);
    }
  }
}

void ChangeCombiner::GiveTurn() noexcept {
  for (int round = 0;; ++round) {
    if (turn_.exchange(kFree) == kAwaited) FutexWake(turn_, 1);
    // What was queued while the turn was taken; who collects comes by itself.
    if (!AnyQueued() || collecting()) return;
    if (round == kRoundsMax) break;
    if (!TryTurn()) return;
    group_.clear();
    Combine(group_);
  }
  const std::lock_guard lock(mutex_);
  if (queue_.empty()) return;
  Waiting& next = *queue_.front();
  if (next.state.exchange(Waiting::kWaiting) == Waiting::kAsleep) {
    FutexWake(next.state, 1);
  }
}

void ChangeCombiner::SetCollecting(bool collecting) noexcept {
  if (collecting_.load(std::memory_order_relaxed) == collecting) return;
  collecting_.store(collecting, std::memory_order_seq_cst);
  if (!collecting) Poll();
}

void ChangeCombiner::Poll() noexcept {
  if (!AnyQueued()) return;
  std::vector<ClientChange> none;
  Execute(none);
}

void ChangeCombiner::Execute(std::vector<ClientChange>& changes) noexcept {
  AwaitTurn();
  Combine(changes);
  GiveTurn();
}

void ChangeCombiner::Combine(std::vector<ClientChange>& changes) noexcept {
  const std::size_t own = changes.size();
  if (AnyQueued()) {
    const std::lock_guard lock(mutex_);
    taken_.swap(queue_);
    queued_.store(0, std::memory_order_seq_cst);
  }
  for (const Waiting* waiting : taken_) changes.push_back(*waiting->change);
  if (changes.size() == 1 && changes[0].session.uid == 0) {
    ClientChange& change = changes[0];
    change.status =
        store_.Execute({change.command, 1}, {change.reply, 1}, change.options);
  } else if (!changes.empty()) {
    store_.ExecuteGroup(changes);
  }
  for (std::size_t i = 0; i < taken_.size(); ++i) {
    Waiting& waiting = *taken_[i];
    waiting.change->status = changes[own + i].status;
    // It may be gone then; to wake an address where nobody waits is harmless.
    if (waiting.state.exchange(Waiting::kDone) == Waiting::kAsleep) {
      FutexWake(waiting.state, 1);
    }
  }
  taken_.clear();
  changes.resize(own);
}

}  // namespace larder
