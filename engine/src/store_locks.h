#ifndef LARDER_ENGINE_SRC_STORE_LOCKS_H_
#define LARDER_ENGINE_SRC_STORE_LOCKS_H_

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "store.h"

namespace larder {

/// Holds the stripes of some keys, each once, taken in ascending order.
class Store::StripeLocks {
 public:
  explicit StripeLocks(Store& store) : store_(store) {}
  ~StripeLocks() {
    if (single_ != kNone) store_.stripes_[single_].mutex.unlock();
    for (const std::size_t stripe : stripes_) {
      store_.stripes_[stripe].mutex.unlock();
    }
  }
  StripeLocks(const StripeLocks&) = delete;
  StripeLocks& operator=(const StripeLocks&) = delete;

  void LockOne(std::string_view key) {
    single_ = StripeOf(key);
    store_.stripes_[single_].mutex.lock();
  }
  void Add(std::string_view key) { stripes_.push_back(StripeOf(key)); }
  void LockAdded() {
    std::sort(stripes_.begin(), stripes_.end());
    stripes_.erase(std::unique(stripes_.begin(), stripes_.end()),
                   stripes_.end());
    for (const std::size_t stripe : stripes_) {
      store_.stripes_[stripe].mutex.lock();
    }
  }

 private:
  static constexpr std::size_t kNone = kStripeCount;
  static std::size_t StripeOf(std::string_view key) noexcept {
    return std::hash<std::string_view>()(key) % kStripeCount;
  }

  Store& store_;
  std::size_t single_ = kNone;
  std::vector<std::size_t> stripes_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_LOCKS_H_
