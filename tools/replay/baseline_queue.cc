#include <vector>

#include "baseline.h"
#include "index_list.h"

// The policies with one queue: LRU (a hit moves to the front), FIFO (it does
// not) and SIEVE (it marks; a hand goes from the back to the front, clears
// marks and drops the first unmarked item; Zhang et al., NSDI 2024).

namespace larder::replay {
namespace {

enum class Kind { kLru, kFifo, kSieve };

template <Kind kKind>
class Queue final : public Baseline {
 public:
  explicit Queue(const BaselineOptions& options)
      : capacity_bytes_(options.capacity_bytes),
        nodes_(options.key_count),
        queue_(&nodes_) {}

  bool Access(const BaselineAccess& access) override {
    Node& node = nodes_[access.key];
    if (node.present) {
      if constexpr (kKind == Kind::kLru) queue_.MoveToFront(access.key);
      node.marked = true;
      return true;
    }
    if (access.size_bytes > capacity_bytes_) return false;
    while (queue_.bytes() + access.size_bytes > capacity_bytes_) Evict();
    node.size_bytes = access.size_bytes;
    node.present = true;
    node.marked = false;
    queue_.PushFront(access.key);
    return false;
  }

  bool Contains(std::uint32_t key) const noexcept override {
    return nodes_[key].present;
  }
  void Erase(std::uint32_t key) override {
    if (nodes_[key].present) Drop(key);
  }
  std::uint64_t used_bytes() const noexcept override { return queue_.bytes(); }
  std::uint64_t evictions() const noexcept override { return evictions_; }

 private:
  struct Node : ListNode {
    bool present = false;
    bool marked = false;
  };

  void Evict() {
    std::uint32_t victim = queue_.back();
    if constexpr (kKind == Kind::kSieve) {
      victim = hand_ == kNil ? queue_.back() : hand_;
      while (nodes_[victim].marked) {
        nodes_[victim].marked = false;
        victim = nodes_[victim].newer;
        if (victim == kNil) victim = queue_.back();
      }
      hand_ = nodes_[victim].newer;
    }
    Drop(victim);
    ++evictions_;
  }

  void Drop(std::uint32_t key) {
    if (hand_ == key) hand_ = nodes_[key].newer;
    queue_.Unlink(key);
    nodes_[key].present = false;
  }

  std::uint64_t capacity_bytes_;
  std::vector<Node> nodes_;
  IndexList<Node> queue_;
  /// SIEVE: where the next search begins; kNil = at the back.
  std::uint32_t hand_ = kNil;
  std::uint64_t evictions_ = 0;
};

}  // namespace

std::unique_ptr<Baseline> MakeLru(const BaselineOptions& options) {
  return std::make_unique<Queue<Kind::kLru>>(options);
}
std::unique_ptr<Baseline> MakeFifo(const BaselineOptions& options) {
  return std::make_unique<Queue<Kind::kFifo>>(options);
}
std::unique_ptr<Baseline> MakeSieve(const BaselineOptions& options) {
  return std::make_unique<Queue<Kind::kSieve>>(options);
}

}  // namespace larder::replay
