#include "naive_cache.h"

namespace larder::replay::testing {
namespace {

class Lru final : public NaiveCache {
 public:
  explicit Lru(std::uint64_t capacity, bool moves)
      : capacity_(capacity), moves_(moves) {}
  bool Access(std::uint32_t key, std::uint64_t size) override {
    if (queue_.Find(key) != nullptr) {
      if (moves_) queue_.Add(queue_.Take(key));
      return true;
    }
    if (size > capacity_) return false;
    while (queue_.bytes() + size > capacity_) queue_.TakeOldest();
    queue_.Add({key, size});
    return false;
  }

 private:
  std::uint64_t capacity_;
  bool moves_;
  NaiveQueue queue_;
};

/// The hand is the index, from the old end, of the item to look at next.
class Sieve final : public NaiveCache {
 public:
  explicit Sieve(std::uint64_t capacity) : capacity_(capacity) {}
  bool Access(std::uint32_t key, std::uint64_t size) override {
    if (NaiveItem* item = queue_.Find(key); item != nullptr) {
      item->hits = 1;
      return true;
    }
    if (size > capacity_) return false;
    while (queue_.bytes() + size > capacity_) {
      for (;;) {
        if (hand_ >= queue_.items.size()) hand_ = 0;
        const std::size_t at = queue_.items.size() - 1 - hand_;
        if (queue_.items[at].hits == 0) {
          queue_.items.erase(queue_.items.begin() +
                             static_cast<std::ptrdiff_t>(at));
          break;  // The next newer item now has this index.
        }
        queue_.items[at].hits = 0;
        ++hand_;
      }
      // Past the newest item the hand starts over, even if newer ones come.
      if (hand_ >= queue_.items.size()) hand_ = 0;
    }
    queue_.Add({key, size});
    return false;
  }

 private:
  std::uint64_t capacity_;
  NaiveQueue queue_;
  std::size_t hand_ = 0;
};

class S3Fifo final : public NaiveCache {
 public:
  explicit S3Fifo(std::uint64_t capacity)
      : capacity_(capacity),
        small_max_(std::max<std::uint64_t>(capacity / 10, 1)),
        ghost_max_(std::max<std::uint64_t>(capacity * 9 / 10, 1)) {}

  bool Access(std::uint32_t key, std::uint64_t size) override {
    for (NaiveQueue* queue : {&small_, &main_}) {
      if (NaiveItem* item = queue->Find(key); item != nullptr) {
        ++item->hits;
        return true;
      }
    }
    const bool known = ghost_.Find(key) != nullptr;
    if (known) ghost_.Take(key);
    if (size > (known ? capacity_ : small_max_)) return false;
    while (small_.bytes() + main_.bytes() + size > capacity_) EvictOne();
    (known ? main_ : small_).Add({key, size});
    return false;
  }

 private:
  void EvictOne() {
    if (main_.bytes() > capacity_ - small_max_ || small_.items.empty()) {
      for (;;) {
        NaiveItem item = main_.TakeOldest();
        if (item.hits == 0) return;
        item.hits = std::min(item.hits, 3U) - 1;
        main_.Add(item);
      }
    }
    while (!small_.items.empty()) {
      NaiveItem item = small_.TakeOldest();
      if (item.hits < 2) {
        if (item.size > ghost_max_) return;
        while (ghost_.bytes() + item.size > ghost_max_) ghost_.TakeOldest();
        ghost_.Add(item);
        return;
      }
      item.hits = 0;
      main_.Add(item);
    }
  }

  std::uint64_t capacity_;
  std::uint64_t small_max_;
  std::uint64_t ghost_max_;
  NaiveQueue small_;
  NaiveQueue main_;
  NaiveQueue ghost_;
};

}  // namespace

std::unique_ptr<NaiveCache> MakeNaiveLru(std::uint64_t capacity) {
  return std::make_unique<Lru>(capacity, true);
}
std::unique_ptr<NaiveCache> MakeNaiveFifo(std::uint64_t capacity) {
  return std::make_unique<Lru>(capacity, false);
}
std::unique_ptr<NaiveCache> MakeNaiveSieve(std::uint64_t capacity) {
  return std::make_unique<Sieve>(capacity);
}
std::unique_ptr<NaiveCache> MakeNaiveS3Fifo(std::uint64_t capacity) {
  return std::make_unique<S3Fifo>(capacity);
}

}  // namespace larder::replay::testing
