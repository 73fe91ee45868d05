#include <map>

#include "naive_cache.h"

// LIRS as in the paper: a stack S of keys and a queue Q, with the kind of each
// key in a map. Ghosts are those in S that are not in the cache; their order
// of leaving is kept beside, since they are bounded.

namespace larder::replay::testing {
namespace {

class Lirs final : public NaiveCache {
 public:
  explicit Lirs(std::uint64_t capacity)
      : capacity_(capacity),
        hir_max_(std::max<std::uint64_t>(capacity / 100, 1)) {}

  bool Access(std::uint32_t key, std::uint64_t size) override {
    const bool in_stack = s_.Find(key) != nullptr;
    if (lir_.contains(key)) {
      s_.Add(s_.Take(key));
      Prune();
      return true;
    }
    if (q_.Find(key) != nullptr) {
      if (in_stack) {
        s_.Take(key);
        Prune();
        BecomeLir(q_.Take(key));
      } else {
        q_.Add(q_.Take(key));
        s_.Add(*q_.Find(key));
      }
      Prune();
      return true;
    }
    Fill(key, size, in_stack);
    return false;
  }

 private:
  void Fill(std::uint32_t key, std::uint64_t size, bool was_ghost) {
    if (was_ghost) {
      s_.Take(key);
      ghosts_.Take(key);
      Prune();
    }
    if (size > hir_max_) return;
    while (Used() + size > capacity_) Evict();
    const NaiveItem item{key, size};
    if (was_ghost || LirBytes() + size <= capacity_ - hir_max_) {
      BecomeLir(item);
    } else {
      s_.Add(item);
      q_.Add(item);
      Prune();
    }
  }

  void BecomeLir(const NaiveItem& item) {
    lir_[item.key] = item.size;
    s_.Add(item);
    while (LirBytes() > capacity_ - hir_max_) Demote();
  }
  void Demote() {
    const NaiveItem bottom = s_.TakeOldest();
    lir_.erase(bottom.key);
    q_.Add(bottom);
    Prune();
  }
  void Evict() {
    if (q_.items.empty()) Demote();
    const NaiveItem victim = q_.TakeOldest();
    if (s_.Find(victim.key) == nullptr) return;
    ghosts_.Add(victim);
    while (ghosts_.bytes() > capacity_) s_.Take(ghosts_.TakeOldest().key);
  }
  void Prune() {
    while (!s_.items.empty() && !lir_.contains(s_.items.back().key)) {
      const std::uint32_t key = s_.TakeOldest().key;
      if (ghosts_.Find(key) != nullptr) ghosts_.Take(key);
    }
  }
  [[nodiscard]] std::uint64_t LirBytes() const {
    std::uint64_t sum = 0;
    for (const auto& [key, size] : lir_) sum += size;
    return sum;
  }
  [[nodiscard]] std::uint64_t Used() const { return LirBytes() + q_.bytes(); }

  std::uint64_t capacity_;
  std::uint64_t hir_max_;
  std::map<std::uint32_t, std::uint64_t> lir_;
  NaiveQueue s_, q_, ghosts_;
};

}  // namespace

std::unique_ptr<NaiveCache> MakeNaiveLirs(std::uint64_t capacity) {
  return std::make_unique<Lirs>(capacity);
}

}  // namespace larder::replay::testing
