#include "count_sketch.h"
#include "naive_cache.h"

// W-TinyLFU in terms of whole queues. The sketch is shared with the code under
// test, and has a test of its own.

namespace larder::replay::testing {
namespace {

class WTinyLfu final : public NaiveCache {
 public:
  WTinyLfu(std::uint64_t capacity, std::uint64_t item_count,
           std::uint64_t random_seed)
      : capacity_(capacity),
        window_max_(std::max<std::uint64_t>(capacity / 100, 1)),
        protected_max_((capacity - window_max_) * 8 / 10),
        random_(random_seed | 1),
        sketch_(item_count) {}

  bool Access(std::uint32_t key, std::uint64_t size) override {
    sketch_.Increment(key);
    for (NaiveQueue* queue : {&window_, &protected_}) {
      if (queue->Find(key) != nullptr) {
        queue->Add(queue->Take(key));
        return true;
      }
    }
    if (NaiveItem* item = probation_.Find(key); item != nullptr) {
      const bool fits = item->size <= protected_max_;
      (fits ? protected_ : probation_).Add(probation_.Take(key));
      while (protected_.bytes() > protected_max_) {
        probation_.Add(protected_.TakeOldest());
      }
      return true;
    }
    if (size > capacity_) return false;
    window_.Add({key, size});
    while (window_.bytes() > window_max_) {
      const NaiveItem candidate = window_.TakeOldest();
      probation_.Add(candidate);
      Compete(candidate.key);
    }
    while (Used() > capacity_) EvictAny();
    return false;
  }

 private:
  [[nodiscard]] std::uint64_t Used() const {
    return window_.bytes() + probation_.bytes() + protected_.bytes();
  }
  NaiveQueue* VictimQueue(std::uint32_t spared) {
    if (!probation_.items.empty() && probation_.items.back().key != spared) {
      return &probation_;
    }
    return protected_.items.empty() ? nullptr : &protected_;
  }
  /// Either the candidate goes, or victims until there is room.
  void Compete(std::uint32_t candidate) {
    while (Used() > capacity_) {
      NaiveQueue* from = VictimQueue(candidate);
      if (from == nullptr || !Wins(candidate, from->items.back().key)) {
        probation_.Take(candidate);
        return;
      }
      from->TakeOldest();
    }
  }
  bool Wins(std::uint32_t candidate, std::uint32_t victim) {
    const std::uint32_t frequency = sketch_.Estimate(candidate);
    if (frequency > sketch_.Estimate(victim)) return true;
    if (frequency <= 5) return false;
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_ % 128 == 0;
  }
  void EvictAny() {
    NaiveQueue* from = VictimQueue(0xFFFFFFFF);
    (from == nullptr ? window_ : *from).TakeOldest();
  }

  std::uint64_t capacity_;
  std::uint64_t window_max_;
  std::uint64_t protected_max_;
  std::uint64_t random_;
  CountSketch sketch_;
  NaiveQueue window_, probation_, protected_;
};

}  // namespace

std::unique_ptr<NaiveCache> MakeNaiveWTinyLfu(std::uint64_t capacity,
                                              std::uint64_t item_count,
                                              std::uint64_t random_seed) {
  return std::make_unique<WTinyLfu>(capacity, item_count, random_seed);
}

}  // namespace larder::replay::testing
