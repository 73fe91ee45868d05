#ifndef LARDER_TESTS_TOOLS_REPLAY_NAIVE_CACHE_H_
#define LARDER_TESTS_TOOLS_REPLAY_NAIVE_CACHE_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>

namespace larder::replay::testing {

struct NaiveItem {
  std::uint32_t key = 0;
  std::uint64_t size = 1;
  std::uint32_t hits = 0;
};

/// A queue that is searched from end to end; front = newest. Slow and plain:
/// what the fast baselines are compared with.
class NaiveQueue {
 public:
  std::deque<NaiveItem> items;

  [[nodiscard]] std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const NaiveItem& item : items) sum += item.size;
    return sum;
  }
  [[nodiscard]] NaiveItem* Find(std::uint32_t key) {
    for (NaiveItem& item : items) {
      if (item.key == key) return &item;
    }
    return nullptr;
  }
  /// Takes the item out. REQUIRES: it is there.
  NaiveItem Take(std::uint32_t key) {
    const auto at = std::find_if(items.begin(), items.end(),
                                 [&](const auto& i) { return i.key == key; });
    const NaiveItem item = *at;
    items.erase(at);
    return item;
  }
  NaiveItem TakeOldest() {
    const NaiveItem item = items.back();
    items.pop_back();
    return item;
  }
  void Add(const NaiveItem& item) { items.push_front(item); }
};

/// The textbook form of a policy.
class NaiveCache {
 public:
  virtual ~NaiveCache() = default;
  /// True for a hit.
  virtual bool Access(std::uint32_t key, std::uint64_t size) = 0;
};

std::unique_ptr<NaiveCache> MakeNaiveLru(std::uint64_t capacity);
std::unique_ptr<NaiveCache> MakeNaiveFifo(std::uint64_t capacity);
std::unique_ptr<NaiveCache> MakeNaiveSieve(std::uint64_t capacity);
std::unique_ptr<NaiveCache> MakeNaiveS3Fifo(std::uint64_t capacity);
std::unique_ptr<NaiveCache> MakeNaiveArc(std::uint64_t capacity);
std::unique_ptr<NaiveCache> MakeNaiveLirs(std::uint64_t capacity);
/// `item_count` sizes the sketch.
std::unique_ptr<NaiveCache> MakeNaiveWTinyLfu(std::uint64_t capacity,
                                              std::uint64_t item_count,
                                              std::uint64_t random_seed);

}  // namespace larder::replay::testing

#endif  // LARDER_TESTS_TOOLS_REPLAY_NAIVE_CACHE_H_
