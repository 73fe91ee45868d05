#ifndef LARDER_ENGINE_SRC_STORE_TOUCH_BUFFER_H_
#define LARDER_ENGINE_SRC_STORE_TOUCH_BUFFER_H_

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/policy.h"

#include "base/striped.h"

namespace larder {

/// Hits on their way to the policy. Readers leave them here; the housekeeping
/// thread takes them in batches. Lossy: what does not fit is forgotten, which
/// costs the policy a little precision and the reader nothing.
///
/// Threads: thread-safe; a reader never waits.
class TouchBuffer {
 public:
  struct Touch {
    std::string key;
    std::uint64_t version = 0;
    std::uint32_t hits = 1;
    Rank restamped = 0;  ///< Set by whoever stamps it anew.
  };
  static constexpr std::size_t kTouchCountMax = 512;  ///< Of one stripe.

  void Add(std::string_view key, std::uint64_t version) {
    Stripe& stripe = stripes_[ThreadSlot() % kStripes];
    const std::unique_lock lock(stripe.mutex, std::try_to_lock);
    if (!lock || stripe.count == kTouchCountMax) return;
    if (stripe.touches.size() == stripe.count) stripe.touches.emplace_back();
    Touch& touch = stripe.touches[stripe.count++];
    touch.key.assign(key);  // Reuses the capacity of an earlier touch.
    touch.version = version;
  }

  /// Moves all touches to `out`.
  void Take(std::vector<Touch>& out) {
    for (Stripe& stripe : stripes_) {
      const std::scoped_lock lock(stripe.mutex);
      for (std::size_t i = 0; i < stripe.count; ++i) {
        out.push_back(stripe.touches[i]);
      }
      stripe.count = 0;
    }
  }

 private:
  static constexpr std::size_t kStripes = 16;
  struct alignas(kCacheLineBytes) Stripe {
    std::mutex mutex;
    std::size_t count = 0;
    std::vector<Touch> touches;
  };
  std::array<Stripe, kStripes> stripes_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_TOUCH_BUFFER_H_
