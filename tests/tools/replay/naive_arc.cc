#include "naive_cache.h"

// ARC as in figure 4 of the paper, with "one page" read as "size bytes".

namespace larder::replay::testing {
namespace {

class Arc final : public NaiveCache {
 public:
  explicit Arc(std::uint64_t capacity) : c_(capacity) {}

  bool Access(std::uint32_t key, std::uint64_t size) override {
    for (NaiveQueue* queue : {&t1_, &t2_}) {
      if (queue->Find(key) != nullptr) {  // Case I.
        t2_.Add(queue->Take(key));
        return true;
      }
    }
    const double b1 = static_cast<double>(b1_.bytes());
    const double b2 = static_cast<double>(b2_.bytes());
    if (b1_.Find(key) != nullptr) {  // Case II.
      p_ = std::min(static_cast<double>(c_),
                    p_ + std::max(b2 / b1, 1.0) * static_cast<double>(size));
      b1_.Take(key);
      if (size <= c_) Promote(key, size, false);
    } else if (b2_.Find(key) != nullptr) {  // Case III.
      p_ = std::max(0.0,
                    p_ - std::max(b1 / b2, 1.0) * static_cast<double>(size));
      b2_.Take(key);
      if (size <= c_) Promote(key, size, true);
    } else if (size <= c_) {  // Case IV.
      while (t1_.bytes() + b1_.bytes() + size > c_ && !b1_.items.empty()) {
        b1_.TakeOldest();
      }
      while (t1_.bytes() + size > c_) t1_.TakeOldest();
      while (t1_.bytes() + t2_.bytes() + b1_.bytes() + b2_.bytes() + size >
                 2 * c_ &&
             !b2_.items.empty()) {
        b2_.TakeOldest();
      }
      Replace(size, false);
      t1_.Add({key, size});
    }
    return false;
  }

 private:
  void Promote(std::uint32_t key, std::uint64_t size, bool in_b2) {
    Replace(size, in_b2);
    t2_.Add({key, size});
  }
  void Replace(std::uint64_t size, bool in_b2) {
    while (t1_.bytes() + t2_.bytes() + size > c_) {
      const auto t1 = static_cast<double>(t1_.bytes());
      if (!t1_.items.empty() &&
          (t2_.items.empty() || t1 > p_ || (in_b2 && t1 == p_))) {
        b1_.Add(t1_.TakeOldest());
      } else {
        b2_.Add(t2_.TakeOldest());
      }
    }
  }

  std::uint64_t c_;
  double p_ = 0;
  NaiveQueue t1_, t2_, b1_, b2_;
};

}  // namespace

std::unique_ptr<NaiveCache> MakeNaiveArc(std::uint64_t capacity) {
  return std::make_unique<Arc>(capacity);
}

}  // namespace larder::replay::testing
