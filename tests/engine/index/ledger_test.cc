#include "index/ledger.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "test_values.h"

namespace larder {
namespace {

using testing::Random;

constexpr std::uint64_t kBudget = 100'000;

std::string Encoded(const LedgerDelta& delta) {
  std::string bytes;
  delta.Encode(bytes);
  return bytes;
}

/// Items one by one, the slow and obvious way.
class NaiveLedger {
 public:
  struct Item {
    Rank rank = 0;
    PlaceId place = 0;
    std::int64_t bytes = 0;
  };

  void Put(int key, const Item& item) { items_[key] = item; }
  void Delete(int key) { items_.erase(key); }
  const Item* Find(int key) const {
    const auto found = items_.find(key);
    return found == items_.end() ? nullptr : &found->second;
  }
  void DropBelow(const RankSpace& space) {
    std::erase_if(items_, [&](const auto& pair) {
      return !space.IsLive(pair.second.rank);
    });
  }
  void Clear() { items_.clear(); }
  std::size_t size() const { return items_.size(); }

  /// The sums of `ledger` equal those of the items, by rank, place and class.
  void ExpectEqual(const Ledger& ledger) const {
    std::map<PlaceId, PlaceUse> places;
    std::map<std::pair<Rank, PlaceId>, PlaceUse> cells;
    std::array<std::int64_t, kRankClassCount> classes{};
    std::int64_t bytes = 0;
    for (const auto& [key, item] : items_) {
      places[item.place].bytes += item.bytes;
      places[item.place].items += 1;
      cells[{item.rank, item.place}].bytes += item.bytes;
      cells[{item.rank, item.place}].items += 1;
      classes[RankClass(item.rank)] += item.bytes;
      bytes += item.bytes;
    }
    ASSERT_EQ(ledger.space().live_items(), items_.size());
    ASSERT_EQ(ledger.space().live_bytes(), static_cast<std::uint64_t>(bytes));
    for (std::uint8_t c = 0; c < kRankClassCount; ++c) {
      ASSERT_EQ(ledger.space().class_bytes(c),
                static_cast<std::uint64_t>(classes[c]));
    }
    ASSERT_EQ(ledger.places().size(), places.size());
    for (const auto& [place, use] : places) {
      ASSERT_EQ(ledger.use(place).bytes, use.bytes) << place;
      ASSERT_EQ(ledger.use(place).items, use.items) << place;
    }
    const LedgerDelta snapshot = ledger.Snapshot();
    ASSERT_EQ(snapshot.cells.size(), cells.size());
    auto cell = snapshot.cells.begin();
    for (const auto& [at, use] : cells) {  // Both in order of rank and place.
      ASSERT_EQ(cell->rank, at.first);
      ASSERT_EQ(cell->place, at.second);
      ASSERT_EQ(cell->bytes, use.bytes);
      ASSERT_EQ(cell->items, use.items);
      ++cell;
    }
  }

 private:
  std::map<int, Item> items_;
};

class LedgerTest : public ::testing::Test {
 protected:
  LedgerTest() { ledger_.space().SetBudget(kBudget); }

  /// What the store does with a Set: stamp, then one delta.
  void Set(int key, const Placement& placement, PlaceId place,
           std::int64_t bytes) {
    NaiveLedger::Item item{ledger_.space().Stamp(placement), place, bytes};
    LedgerDelta delta;
    if (const auto* old = naive_.Find(key)) {
      delta.Add(old->rank, old->place, -old->bytes, -1);
    }
    delta.Add(item.rank, place, bytes, 1);
    delta.version_max = ++version_;
    Apply(delta);
    naive_.Put(key, item);
  }
  void Delete(int key) {
    const auto* old = naive_.Find(key);
    if (old == nullptr) return;
    LedgerDelta delta;
    delta.Add(old->rank, old->place, -old->bytes, -1);
    Apply(delta);
    naive_.Delete(key);
  }
  void Evict(double probation_share) {
    const std::size_t before = naive_.size();
    const auto evictions = ledger_.total(Total::kEvictions);
    const auto eviction = ledger_.Evict(probation_share);
    naive_.DropBelow(ledger_.space());
    const std::size_t evicted = before - naive_.size();
    ASSERT_EQ(eviction.has_value(), evicted != 0);
    ASSERT_EQ(ledger_.total(Total::kEvictions) - evictions,
              static_cast<std::int64_t>(evicted));
    if (eviction) {
      LedgerDelta cutoff;
      cutoff.cutoffs[RankClass(eviction->cutoff)] = eviction->cutoff;
      cutoff.Count(Total::kEvictions, static_cast<std::int64_t>(evicted));
      disk_.Apply(cutoff);
    }
  }
  void Apply(const LedgerDelta& delta) {
    ledger_.Apply(delta);
    disk_.Apply(delta);
  }

  Ledger ledger_{RankSpace::Options{}};
  NaiveLedger naive_;
  LedgerSum disk_;  // What the merge operator would keep.
  std::uint64_t version_ = 0;
};

TEST_F(LedgerTest, RandomHistoriesEqualANaiveModel) {
  Random random(testing::SeedFromEnvironment(21));
  for (int step = 0; step < 20'000; ++step) {
    const int key = static_cast<int>(random.Below(300));
    const std::uint64_t what = random.Below(100);
    if (what < 60) {
      const Placement placement{
          static_cast<std::uint8_t>(random.OneIn(10) ? kClassPinned
                                                     : random.Below(2)),
          static_cast<double>(random.Below(64)) / 4, 0};
      Set(key, placement, random.Below(12),
          static_cast<std::int64_t>(1 + random.Below(900)));
    } else if (what < 75) {
      Delete(key);
    } else if (what < 99) {
      ASSERT_NO_FATAL_FAILURE(Evict(random.OneIn(2) ? 0.1 : 0.0));
    } else if (random.OneIn(20)) {
      LedgerDelta clear;
      clear.reset = true;
      clear.epoch_max = ledger_.epoch() + 1;
      Apply(clear);
      naive_.Clear();
    }
    if (step % 16 == 0) {
      ASSERT_NO_FATAL_FAILURE(naive_.ExpectEqual(ledger_)) << step;
    }
  }
  EXPECT_GT(ledger_.total(Total::kEvictions), 1000);
}

TEST_F(LedgerTest, SnapshotEqualsTheSumOnDisk) {
  Random random(testing::SeedFromEnvironment(22));
  for (int step = 0; step < 3000; ++step) {
    Set(static_cast<int>(random.Below(100)), {kClassMain, 1.0, 0},
        random.Below(5), static_cast<std::int64_t>(1 + random.Below(900)));
    if (random.OneIn(4)) {
      ASSERT_NO_FATAL_FAILURE(Evict(0.0));
    }
    if (step % 50 != 0) continue;
    LedgerDelta disk = disk_.ToDelta();
    LedgerDelta memory = ledger_.Snapshot();
    // Classes that were never cut: their base in memory, nothing on disk.
    for (int c = 0; c < kRankClassCount; ++c) {
      const Rank base = Rank{static_cast<unsigned>(c)} << 62;
      disk.cutoffs[c] = std::max(disk.cutoffs[c], base);
    }
    ASSERT_EQ(Encoded(disk), Encoded(memory)) << step;
  }
}

TEST_F(LedgerTest, ALoadedSnapshotGoesOnAlike) {
  Random random(testing::SeedFromEnvironment(23));
  for (int i = 0; i < 500; ++i) {
    Set(i, {kClassMain, static_cast<double>(i % 7), 0}, random.Below(5), 400);
    if (i % 3 == 0) {
      ASSERT_NO_FATAL_FAILURE(Evict(0.0));
    }
  }
  Ledger loaded{RankSpace::Options{}};
  loaded.space().SetBudget(kBudget);
  loaded.Apply(ledger_.Snapshot());
  EXPECT_EQ(Encoded(loaded.Snapshot()), Encoded(ledger_.Snapshot()));
  while (const auto eviction = ledger_.Evict(0.0)) {
    const auto same = loaded.Evict(0.0);
    ASSERT_TRUE(same.has_value());
    EXPECT_EQ(same->cutoff, eviction->cutoff);
    EXPECT_EQ(same->freed.items, eviction->freed.items);
  }
}

// A large value lies in several segments; one cell counts the item, in any
// order with the others.
TEST_F(LedgerTest, AnItemInSeveralPlacesCountsAllItsBytes) {
  const Rank rank = ledger_.space().Stamp({kClassMain, 1.0, 0});
  LedgerDelta stored;
  stored.Add(rank, 2, 1000, 0);
  stored.Add(rank, 4, 500, 0);
  stored.Add(rank, 6, 30, 1);
  Apply(stored);
  EXPECT_EQ(ledger_.space().live_bytes(), 1530U);
  EXPECT_EQ(ledger_.space().live_items(), 1U);

  LedgerDelta moved;  // By cleaning: one of its pieces.
  moved.Add(rank, 2, -1000, 0);
  moved.Add(rank, 8, 1000, 0);
  Apply(moved);
  EXPECT_EQ(ledger_.space().live_bytes(), 1530U);

  Ledger loaded{RankSpace::Options{}};
  loaded.Apply(disk_.ToDelta());
  EXPECT_EQ(loaded.space().live_bytes(), 1530U);

  LedgerDelta deleted;
  deleted.Add(rank, 6, -30, -1);
  deleted.Add(rank, 8, -1000, 0);
  deleted.Add(rank, 4, -500, 0);
  Apply(deleted);
  EXPECT_EQ(ledger_.space().live_bytes(), 0U);
  EXPECT_EQ(ledger_.space().live_items(), 0U);
  EXPECT_TRUE(ledger_.places().empty());
}

TEST_F(LedgerTest, DeltasOfDeadRanksChangeNothing) {
  Set(1, {kClassMain, 1.0, 0}, 3, 100);
  const NaiveLedger::Item dead = *naive_.Find(1);
  ASSERT_NO_FATAL_FAILURE(Evict(0.0));
  const std::string before = Encoded(ledger_.Snapshot());
  LedgerDelta late;  // A batch that was built before the eviction.
  late.Add(dead.rank, dead.place, -dead.bytes, -1);
  late.Add(dead.rank, 4, 70, 1);
  ledger_.Apply(late);
  EXPECT_EQ(Encoded(ledger_.Snapshot()), before);
}

TEST_F(LedgerTest, CutoffInADeltaKillsRowsAndTheirPlaces) {
  Set(1, {kClassMain, 1.0, 0}, 3, 100);
  Set(2, {kClassMain, 8.0, 0}, 5, 100);
  LedgerDelta cutoff;
  cutoff.cutoffs[kClassMain] = naive_.Find(1)->rank + 1;
  Apply(cutoff);
  naive_.DropBelow(ledger_.space());
  EXPECT_EQ(naive_.size(), 1U);
  ASSERT_NO_FATAL_FAILURE(naive_.ExpectEqual(ledger_));
  EXPECT_EQ(ledger_.use(3).items, 0);
}

TEST_F(LedgerTest, PinnedItemsOutliveEveryEviction) {
  Set(1, {kClassPinned, 1.0, 0}, 3, 100);
  Set(2, {kClassMain, 1.0, 0}, 3, 100);
  while (ledger_.Evict(0.1)) {
  }
  naive_.DropBelow(ledger_.space());
  ASSERT_NE(naive_.Find(1), nullptr);
  EXPECT_EQ(naive_.Find(2), nullptr);
  ASSERT_NO_FATAL_FAILURE(naive_.ExpectEqual(ledger_));
}

// What is read from the disk may be anything.
TEST_F(LedgerTest, MoreTakenThanThereIsDoesNotAddUp) {
  LedgerDelta delta;
  delta.Add(Rank{kClassMain} << 62, 3, 100, 1);
  ledger_.Apply(delta);
  EXPECT_TRUE(ledger_.space().adds_up());
  for (const std::int64_t bytes : {-100, -101}) {
    LedgerDelta more;
    more.Add(Rank{kClassMain} << 62, 3, bytes, 0);
    ledger_.Apply(more);
    EXPECT_EQ(ledger_.space().adds_up(), bytes == -100);
  }
  EXPECT_EQ(ledger_.space().live_bytes(), 0U);
  LedgerDelta again;
  again.reset = true;
  ledger_.Apply(again);
  EXPECT_TRUE(ledger_.space().adds_up());
  again.Add(Rank{kClassMain} << 62 | 7, 3, -1, -1);
  ledger_.Apply(again);
  EXPECT_FALSE(ledger_.space().adds_up());
}

TEST_F(LedgerTest, ResetForgetsItemsAndKeepsCutoffsAndTotals) {
  Set(1, {kClassMain, 1.0, 0}, 3, 100);
  Set(2, {kClassMain, 4.0, 0}, 3, 100);
  ASSERT_NO_FATAL_FAILURE(Evict(0.0));
  const Rank cutoff = ledger_.space().cutoff(kClassMain);
  LedgerDelta clear;
  clear.reset = true;
  clear.epoch_max = 5;
  ledger_.Apply(clear);
  EXPECT_EQ(ledger_.space().live_items(), 0U);
  EXPECT_TRUE(ledger_.places().empty());
  EXPECT_EQ(ledger_.space().cutoff(kClassMain), cutoff);
  EXPECT_EQ(ledger_.total(Total::kEvictions), 1);
  EXPECT_EQ(ledger_.epoch(), 5U);
  EXPECT_EQ(ledger_.version_max(), 2U);
}

}  // namespace
}  // namespace larder
