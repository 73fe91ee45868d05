#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "baseline.h"
#include "replay_run.h"
#include "trace_files.h"

namespace larder::replay {
namespace {

using Cached = std::set<std::uint32_t>;

/// The most hits that any decisions can get, by trying all of them. May a miss
/// be left out of the cache?
class BestHits {
 public:
  BestHits(std::vector<std::uint32_t> keys, std::size_t capacity,
           bool may_bypass)
      : keys_(std::move(keys)), capacity_(capacity), may_bypass_(may_bypass) {}

  std::size_t From(std::size_t at, const Cached& cached) {
    if (at == keys_.size()) return 0;
    const auto known = known_.find({at, cached});
    if (known != known_.end()) return known->second;
    const std::size_t best = Try(at, cached);
    known_[{at, cached}] = best;
    return best;
  }

 private:
  std::size_t Try(std::size_t at, const Cached& cached) {
    if (cached.contains(keys_[at])) return 1 + From(at + 1, cached);
    std::size_t best = may_bypass_ ? From(at + 1, cached) : 0;
    Cached with = cached;
    with.insert(keys_[at]);
    if (with.size() <= capacity_) return std::max(best, From(at + 1, with));
    for (const std::uint32_t victim : cached) {
      Cached without = with;
      without.erase(victim);
      best = std::max(best, From(at + 1, without));
    }
    return best;
  }

  std::vector<std::uint32_t> keys_;
  std::size_t capacity_;
  bool may_bypass_;
  std::map<std::pair<std::size_t, Cached>, std::size_t> known_;
};

std::uint64_t HitsOf(const std::string& policy, const Trace& trace,
                     std::uint64_t capacity) {
  const std::vector<std::uint32_t> next = NextAccesses(trace);
  const auto result = RunInSimulator(
      trace, {.policy = policy, .capacity = capacity, .next_accesses = &next});
  EXPECT_TRUE(result) << result.error().message();
  return result->hits;
}

TEST(Belady, IsTheBestOfAllDecisionsOnTinyTraces) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 150; ++round) {
    std::vector<std::uint32_t> keys;
    for (int i = 0; i < 18; ++i) {
      keys.push_back(static_cast<std::uint32_t>(random() % 6));
    }
    const Trace trace = testing::TraceOfKeys(keys);
    const std::size_t capacity = 1 + random() % 4;
    EXPECT_EQ(HitsOf("belady", trace, capacity),
              BestHits(keys, capacity, false).From(0, {}));
    EXPECT_EQ(HitsOf("belady-bypass", trace, capacity),
              BestHits(keys, capacity, true).From(0, {}));
  }
}

TEST(Belady, NoOtherBaselineHitsMoreOnObjectsOfOneSize) {
  const Trace trace = testing::TraceOfKeys(testing::MixedKeys(9, 300, 20'000));
  const std::uint64_t best = HitsOf("belady-bypass", trace, 30);
  for (const std::string& name : BaselineNames()) {
    EXPECT_LE(HitsOf(name, trace, 30), best) << name;
  }
  EXPECT_GT(best, HitsOf("lru", trace, 30));
}

TEST(Belady, SizeAwareFormPrefersManySmallObjectsToOneLarge) {
  // Objects 0..8 of one byte take turns; object 9, of nine bytes, comes after
  // every third of them.
  std::vector<std::uint32_t> keys;
  for (std::uint32_t i = 0; i < 360; ++i) {
    keys.push_back(i % 9);
    if (i % 3 == 2) keys.push_back(9);
  }
  Trace trace = testing::TraceOfKeys(keys);
  for (TraceRequest& request : trace.requests) {
    if (request.key == 9) request.size_bytes = 9;
  }
  EXPECT_EQ(HitsOf("belady-size-bypass", trace, 10), 360U - 9);
  EXPECT_LT(HitsOf("belady-bypass", trace, 10), 360U - 9);
}

TEST(Belady, HeapsOfManyObjectsOfManySizesStayInStep) {
  // Against the plainest form: look at everything for each victim.
  Trace trace = testing::TraceOfKeys(testing::MixedKeys(21, 200, 6000));
  for (TraceRequest& request : trace.requests) {
    request.size_bytes = 1 + request.key * 37 % 64;
  }
  const std::vector<std::uint32_t> next = NextAccesses(trace);
  std::map<std::uint32_t, std::pair<std::uint64_t, std::uint32_t>> cached;
  std::uint64_t used = 0;
  std::uint64_t hits = 0;
  constexpr std::uint64_t kCapacity = 1500;
  for (std::size_t i = 0; i < trace.requests.size(); ++i) {
    const TraceRequest& request = trace.requests[i];
    if (const auto at = cached.find(request.key); at != cached.end()) {
      ++hits;
      at->second.second = next[i];
      continue;
    }
    while (used + request.size_bytes > kCapacity) {
      // Those never needed again first, whichever; then the farthest.
      const auto victim = std::ranges::max_element(
          cached, {}, [](const auto& item) { return item.second.second; });
      used -= victim->second.first;
      cached.erase(victim);
    }
    cached[request.key] = {request.size_bytes, next[i]};
    used += request.size_bytes;
  }
  // Ties among the never-needed may fall otherwise, at a cost of next to
  // nothing.
  EXPECT_NEAR(static_cast<double>(HitsOf("belady", trace, kCapacity)),
              static_cast<double>(hits), 3);
}

}  // namespace
}  // namespace larder::replay
