#include <algorithm>
#include <bit>
#include <compare>
#include <limits>
#include <vector>

#include "baseline.h"
#include "index_list.h"

// Belady's MIN (1966): drop what is needed again last. For unequal sizes no
// fast exact optimum is known: belady-size drops the largest (size x distance
// to the next access), a good heuristic. Both come in two forms: every object
// that fits is taken in, as in the literature; or a newcomer may be left out,
// as larder's policies can by ranking it lowest. For equal sizes the latter is
// the best that any policy can do; the lower of the two latter ones is the
// bound that reports draw.
//
// The candidates are kept in max-heaps by next access, one for each quarter
// octave of sizes (one in all for plain Belady), so the largest product is
// found among the heap tops to within 19 %. Entries are not moved when an item
// is hit: the old entry's time has passed, so it sinks and never surfaces
// before any live one; heaps are rebuilt when such entries outnumber the live.

namespace larder::replay {
namespace {

class Belady final : public Baseline {
 public:
  Belady(const BaselineOptions& options, BeladyVictim victim,
         BeladyAdmission admission)
      : capacity_(options.capacity_bytes),
        by_size_(victim == BeladyVictim::kFarthestTimesSize),
        may_bypass_(admission == BeladyAdmission::kMayBypass),
        items_(options.key_count),
        heaps_(by_size_ ? kHeapCountMax : 1) {}

  bool Access(const BaselineAccess& access) override {
    Item& item = items_[access.key];
    if (item.present) {
      item.next = access.next_if_hit;
      Push(access.key);
      return true;
    }
    if (access.size_bytes > capacity_ || !MakeRoom(access)) return false;
    item.size_bytes = access.size_bytes;
    item.next = access.next_if_filled;
    Keep(access.key);
    return false;
  }

  bool Contains(std::uint32_t key) const noexcept override {
    return items_[key].present;
  }
  void Erase(std::uint32_t key) override {
    if (items_[key].present) Drop(key);
  }
  std::uint64_t used_bytes() const noexcept override { return used_bytes_; }
  std::uint64_t evictions() const noexcept override { return evictions_; }
  bool needs_future() const noexcept override { return true; }

 private:
  static constexpr std::size_t kHeapCountMax = 4 * 64;
  static constexpr std::size_t kStaleCountFree = 1024;

  struct Item {
    std::uint64_t size_bytes = 0;
    std::uint32_t next = kNeverAgain;
    bool present = false;
  };
  struct Candidate {
    std::uint32_t next = 0;
    std::uint32_t key = 0;
    auto operator<=>(const Candidate&) const = default;
  };
  struct Heap {
    std::vector<Candidate> candidates;
    std::size_t live_count = 0;
  };

  [[nodiscard]] std::size_t HeapOf(std::uint64_t size) const noexcept {
    if (!by_size_) return 0;
    const auto octave = static_cast<std::size_t>(std::bit_width(size | 1)) - 1;
    const std::uint64_t fraction =
        octave >= 2 ? size >> (octave - 2) : size << (2 - octave);
    return octave * 4 + (fraction & 3);
  }
  [[nodiscard]] bool IsLive(const Candidate& candidate) const noexcept {
    const Item& item = items_[candidate.key];
    return item.present && item.next == candidate.next;
  }
  /// The higher, the sooner dropped; what is never needed again comes first.
  [[nodiscard]] double Score(std::uint32_t next, std::uint64_t size,
                             std::uint32_t now) const noexcept {
    if (next == kNeverAgain) return std::numeric_limits<double>::max();
    const auto distance = static_cast<double>(next - now);
    return by_size_ ? distance * static_cast<double>(size) : distance;
  }

  void Push(std::uint32_t key) {
    const std::size_t at = HeapOf(items_[key].size_bytes);
    Heap& heap = heaps_[at];
    if (heap.candidates.size() > 2 * heap.live_count + kStaleCountFree) {
      std::erase_if(heap.candidates,
                    [this](const Candidate& c) { return !IsLive(c); });
      std::ranges::make_heap(heap.candidates);
    }
    heap.candidates.push_back({items_[key].next, key});
    std::ranges::push_heap(heap.candidates);
  }

  void Keep(std::uint32_t key) {
    Item& item = items_[key];
    item.present = true;
    used_bytes_ += item.size_bytes;
    ++heaps_[HeapOf(item.size_bytes)].live_count;
    Push(key);
  }
  void Drop(std::uint32_t key) {
    Item& item = items_[key];
    item.present = false;
    used_bytes_ -= item.size_bytes;
    --heaps_[HeapOf(item.size_bytes)].live_count;
  }

  /// The cached item with the highest score; kNil if there is none.
  [[nodiscard]] std::uint32_t Best(std::uint32_t now) {
    std::uint32_t best = kNil;
    double best_score = -1;
    for (Heap& heap : heaps_) {
      if (heap.live_count == 0) continue;
      while (!IsLive(heap.candidates.front())) {
        std::ranges::pop_heap(heap.candidates);
        heap.candidates.pop_back();
      }
      const Candidate& top = heap.candidates.front();
      const double score = Score(top.next, items_[top.key].size_bytes, now);
      if (score <= best_score) continue;
      best = top.key;
      best_score = score;
    }
    return best;
  }

  /// Drops what scores highest until the newcomer fits. False, with nothing
  /// dropped, if the newcomer may be left out and would be the next to go.
  bool MakeRoom(const BaselineAccess& access) {
    const double newcomer =
        Score(access.next_if_filled, access.size_bytes, access.index);
    victims_.clear();
    while (used_bytes_ + access.size_bytes > capacity_) {
      const std::uint32_t key = Best(access.index);
      const Item& item = items_[key];
      if (may_bypass_ &&
          Score(item.next, item.size_bytes, access.index) <= newcomer) {
        for (const std::uint32_t victim : victims_) Keep(victim);
        return false;
      }
      victims_.push_back(key);
      Drop(key);
    }
    evictions_ += victims_.size();
    return true;
  }

  std::uint64_t capacity_;
  bool by_size_;
  bool may_bypass_;
  std::vector<Item> items_;
  std::vector<Heap> heaps_;
  std::vector<std::uint32_t> victims_;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t evictions_ = 0;
};

}  // namespace

std::unique_ptr<Baseline> MakeBelady(const BaselineOptions& options,
                                     BeladyVictim victim,
                                     BeladyAdmission admission) {
  return std::make_unique<Belady>(options, victim, admission);
}

}  // namespace larder::replay
