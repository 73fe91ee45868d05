#ifndef LARDER_ENGINE_SRC_STORE_STORE_LOCKS_H_
#define LARDER_ENGINE_SRC_STORE_STORE_LOCKS_H_

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "store/store.h"

namespace larder {

/// Holds the stripes of some keys, each once, taken in ascending order.
class Store::StripeLocks {
 public:
  explicit StripeLocks(Store& store) : store_(store) {}
  ~StripeLocks() {
    if (!locked_) return;
    if (single_ != kNone) Unlock(store_.stripes_[single_]);
    for (const std::size_t stripe : stripes_) Unlock(store_.stripes_[stripe]);
  }
  StripeLocks(const StripeLocks&) = delete;
  StripeLocks& operator=(const StripeLocks&) = delete;

  void LockOne(std::string_view key) {
    single_ = StripeOf(key);
    store_.stripes_[single_].mutex.lock();
    locked_ = true;
  }
  void Add(std::string_view key) { stripes_.push_back(StripeOf(key)); }
  void LockAdded() {
    std::sort(stripes_.begin(), stripes_.end());
    stripes_.erase(std::unique(stripes_.begin(), stripes_.end()),
                   stripes_.end());
    for (const std::size_t stripe : stripes_) {
      store_.stripes_[stripe].mutex.lock();
    }
    locked_ = true;
  }

  /// Unequal to what it was before a lookup without the lock: what was looked
  /// up may be out of date.
  [[nodiscard]] static std::uint32_t ChangesNow(const Store& store,
                                                std::string_view key) noexcept {
    // Pairs with the release in Unlock: who sees the number of a commit sees
    // the commit.
    return store.stripes_[StripeOf(key)].changes.load(
        std::memory_order_acquire);
  }
  /// REQUIRES: its stripe is held.
  [[nodiscard]] std::uint32_t ChangesOf(std::string_view key) const noexcept {
    return ChangesNow(store_, key);
  }

 private:
  static constexpr std::size_t kNone = kStripeCount;
  static void Unlock(KeyStripe& stripe) noexcept {
    stripe.changes.fetch_add(1, std::memory_order_release);
    stripe.mutex.unlock();
  }

  Store& store_;
  bool locked_ = false;
  std::size_t single_ = kNone;
  std::vector<std::size_t> stripes_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_STORE_LOCKS_H_
