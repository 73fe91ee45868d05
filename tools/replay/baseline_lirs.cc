#include <algorithm>
#include <vector>

#include "baseline.h"
#include "index_list.h"

// LIRS (Jiang and Zhang, SIGMETRICS 2002), in bytes. Items with short reuse
// distances (LIR) hold 99 % of the capacity; the rest (HIR) pass through the
// queue Q, which holds the remaining hundredth. The stack S orders by last
// access all LIR items, HIR items accessed since the oldest LIR item was, and
// HIR keys that left the cache (ghosts). A HIR item or ghost that is accessed
// while in S becomes LIR; the LIR item at the bottom of S is then demoted. The
// bottom of S is always LIR ("pruning"). Ghosts are bounded to kGhostShare of
// the capacity, oldest first, which the paper leaves open; and an object that
// is larger than Q is not kept, since the paper's objects are pages.

namespace larder::replay {
namespace {

class Lirs final : public Baseline {
 public:
  explicit Lirs(const BaselineOptions& options)
      : capacity_(options.capacity_bytes),
        lir_max_(capacity_ -
                 std::clamp<std::uint64_t>(
                     static_cast<std::uint64_t>(static_cast<double>(capacity_) *
                                                kHirShare),
                     1, capacity_)),
        stacked_(options.key_count),
        queued_(options.key_count) {}

  bool Access(const BaselineAccess& access) override {
    const std::uint32_t key = access.key;
    switch (stacked_[key].state) {
      case State::kLir:
        HitLir(key);
        return true;
      case State::kHir:
        HitHir(key);
        return true;
      case State::kGhost:
      case State::kOut:
        Fill(access);
        return false;
    }
    return false;
  }

  bool Contains(std::uint32_t key) const noexcept override {
    return stacked_[key].state == State::kLir ||
           stacked_[key].state == State::kHir;
  }
  void Erase(std::uint32_t key) override {
    Item& item = stacked_[key];
    if (item.state == State::kHir) queue_.Unlink(key);
    if (item.state == State::kGhost) ghosts_.Unlink(key);
    if (item.state == State::kLir) lir_bytes_ -= item.size_bytes;
    if (item.in_stack) Unstack(key);
    item.state = State::kOut;
    Prune();
  }
  std::uint64_t used_bytes() const noexcept override {
    return lir_bytes_ + queue_.bytes();
  }
  std::uint64_t evictions() const noexcept override { return evictions_; }

 private:
  static constexpr double kHirShare = 0.01;
  static constexpr std::uint64_t kGhostShare = 1;

  enum class State : std::uint8_t { kOut, kLir, kHir, kGhost };

  struct Item : ListNode {
    State state = State::kOut;
    bool in_stack = false;
  };

  void HitLir(std::uint32_t key) {
    const bool was_bottom = stack_.back() == key;
    stack_.MoveToFront(key);
    if (was_bottom) Prune();
  }

  void HitHir(std::uint32_t key) {
    if (!stacked_[key].in_stack) {
      StackOnTop(key);
      queue_.MoveToFront(key);
      return;
    }
    queue_.Unlink(key);
    MakeLir(key);
  }

  void Fill(const BaselineAccess& access) {
    const std::uint32_t key = access.key;
    Item& item = stacked_[key];
    const bool was_ghost = item.state == State::kGhost;
    if (was_ghost) {
      ghosts_.Unlink(key);
      Unstack(key);
      item.state = State::kOut;
      Prune();
    }
    if (access.size_bytes > capacity_ - lir_max_) return;
    while (used_bytes() + access.size_bytes > capacity_) Evict();
    item.size_bytes = access.size_bytes;
    queued_[key].size_bytes = access.size_bytes;
    if (was_ghost || lir_bytes_ + access.size_bytes <= lir_max_) {
      MakeLir(key);
      return;
    }
    item.state = State::kHir;
    StackOnTop(key);
    queue_.PushFront(key);
  }

  /// REQUIRES: `key` is neither LIR nor in the queue.
  void MakeLir(std::uint32_t key) {
    stacked_[key].state = State::kLir;
    lir_bytes_ += stacked_[key].size_bytes;
    StackOnTop(key);
    while (lir_bytes_ > lir_max_ && !stack_.empty()) DemoteBottom();
  }

  void DemoteBottom() {
    const std::uint32_t key = stack_.back();
    Unstack(key);
    lir_bytes_ -= stacked_[key].size_bytes;
    stacked_[key].state = State::kHir;
    queue_.PushFront(key);
    Prune();
  }

  void Evict() {
    if (queue_.empty()) DemoteBottom();
    const std::uint32_t key = queue_.PopBack();
    Item& item = stacked_[key];
    ++evictions_;
    item.state = item.in_stack ? State::kGhost : State::kOut;
    if (!item.in_stack) return;
    ghosts_.PushFront(key);
    while (ghosts_.bytes() > kGhostShare * capacity_) {
      const std::uint32_t oldest = ghosts_.PopBack();
      stacked_[oldest].state = State::kOut;
      Unstack(oldest);
    }
  }

  /// Takes HIR items and ghosts off the bottom of the stack.
  void Prune() {
    while (!stack_.empty() && stacked_[stack_.back()].state != State::kLir) {
      const std::uint32_t key = stack_.back();
      Unstack(key);
      if (stacked_[key].state != State::kGhost) continue;
      ghosts_.Unlink(key);
      stacked_[key].state = State::kOut;
    }
  }

  void StackOnTop(std::uint32_t key) {
    if (stacked_[key].in_stack) {
      stack_.MoveToFront(key);
    } else {
      stack_.PushFront(key);
      stacked_[key].in_stack = true;
    }
    Prune();
  }
  void Unstack(std::uint32_t key) {
    stack_.Unlink(key);
    stacked_[key].in_stack = false;
  }

  std::uint64_t capacity_;
  std::uint64_t lir_max_;
  std::vector<Item> stacked_;
  std::vector<ListNode> queued_;
  IndexList<Item> stack_{&stacked_};
  /// Resident HIR items; oldest at the back.
  IndexList<ListNode> queue_{&queued_};
  /// Keys that left the cache but not the stack.
  IndexList<ListNode> ghosts_{&queued_};
  std::uint64_t lir_bytes_ = 0;
  std::uint64_t evictions_ = 0;
};

}  // namespace

std::unique_ptr<Baseline> MakeLirs(const BaselineOptions& options) {
  return std::make_unique<Lirs>(options);
}

}  // namespace larder::replay
