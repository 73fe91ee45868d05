#include "index/recent_entries.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "test_values.h"

namespace larder {
namespace {

using testing::Random;

std::uint64_t HashOf(std::string_view key) {
  return std::hash<std::string_view>()(key);
}

// One that knows few keys, by names.
class Recent {
 public:
  explicit Recent(std::size_t bytes) { entries_.SetCapacity(bytes); }
  void Put(const std::string& key, const std::string& bytes) {
    entries_.Put(key, HashOf(key), {true, bytes});
  }
  void PutAbsent(const std::string& key) {
    entries_.Put(key, HashOf(key), {false, {}});
  }
  bool Doubt(const std::string& key) {
    return entries_.Doubt(key, HashOf(key));
  }
  // What Find gives: the bytes, "absent" or "unknown".
  std::string Find(const std::string& key) const {
    const auto known = entries_.Find(key, HashOf(key));
    if (!known) return "unknown";
    return known->present ? std::string(known->bytes) : "absent";
  }
  RecentEntries& entries() { return entries_; }

 private:
  RecentEntries entries_;
};

TEST(RecentEntries, KnowsWhatWasPut) {
  Recent recent(1024);
  EXPECT_EQ(recent.Find("a"), "unknown");
  EXPECT_FALSE(recent.Doubt("a"));
  recent.Put("a", "first");
  recent.Put("b", "");
  recent.PutAbsent("c");
  recent.Put("", "of no name");
  EXPECT_EQ(recent.Find("a"), "first");
  EXPECT_EQ(recent.Find("b"), "");
  EXPECT_EQ(recent.Find("c"), "absent");
  EXPECT_EQ(recent.Find(""), "of no name");
  recent.Put("a", "again");
  recent.Put("b", "longer than before");
  recent.Put("c", "back");
  EXPECT_EQ(recent.Find("a"), "again");
  EXPECT_EQ(recent.Find("b"), "longer than before");
  EXPECT_EQ(recent.Find("c"), "back");
  recent.PutAbsent("a");
  EXPECT_EQ(recent.Find("a"), "absent");
}

TEST(RecentEntries, WhatIsInDoubtIsUnknownUntilItIsPut) {
  Recent recent(1024);
  recent.Put("a", "1");
  EXPECT_TRUE(recent.Doubt("a"));
  EXPECT_EQ(recent.Find("a"), "unknown");
  EXPECT_TRUE(recent.Doubt("a"));
  recent.Put("a", "2");
  EXPECT_EQ(recent.Find("a"), "2");
  recent.entries().Clear();
  EXPECT_EQ(recent.Find("a"), "unknown");
  EXPECT_FALSE(recent.Doubt("a"));
}

// Two keys of one hash are two keys.
TEST(RecentEntries, KeysAreComparedNotHashes) {
  RecentEntries entries;
  entries.SetCapacity(1024);
  entries.Put("one", 7, {true, "1"});
  entries.Put("two", 7, {true, "2"});
  EXPECT_EQ(entries.Find("one", 7)->bytes, "1");
  EXPECT_EQ(entries.Find("two", 7)->bytes, "2");
  EXPECT_FALSE(entries.Find("six", 7).has_value());
}

TEST(RecentEntries, WhatIsTooLargeIsForgotten) {
  Recent recent(1024);
  recent.Put("a", "small");
  recent.Put("b", "small");
  recent.Put("a", std::string(1024, 'x'));
  EXPECT_EQ(recent.Find("a"), "unknown");
  EXPECT_EQ(recent.Find("b"), "small");
  recent.Put(std::string(1024, 'k'), "");
  EXPECT_EQ(recent.Find(std::string(1024, 'k')), "unknown");
}

TEST(RecentEntries, WithoutMemoryItKnowsNothing) {
  for (const std::size_t bytes : {0, 50, 96}) {
    Recent recent(bytes);
    recent.Put("a", std::string(30, 'x'));
    EXPECT_EQ(recent.Find("a"), "unknown") << bytes;
    EXPECT_FALSE(recent.Doubt("a")) << bytes;
  }
}

TEST(RecentEntries, TheOldestMakeRoom) {
  Recent recent(1024);
  for (int i = 0; i < 100; ++i) {
    recent.Put("key" + std::to_string(i), std::string(60, 'x'));
  }
  EXPECT_EQ(recent.Find("key0"), "unknown");
  for (int i = 92; i < 100; ++i) {
    EXPECT_EQ(recent.Find("key" + std::to_string(i)), std::string(60, 'x'))
        << i;
  }
}

// Changes and questions at random, beside a map of what is true.
class RandomRecent {
 public:
  explicit RandomRecent(std::size_t bytes) : recent_(bytes) {}

  void Change() {
    const std::string key = RandomKey();
    switch (random_.Below(4)) {
      case 0:
        recent_.Doubt(key);
        known_.erase(key);
        break;
      case 1:
        recent_.PutAbsent(key);
        known_[key] = "absent";
        break;
      default: {
        const std::string bytes(random_.Below(random_.OneIn(10) ? 400 : 60),
                                static_cast<char>('A' + random_.Below(26)));
        recent_.Put(key, bytes);
        known_[key] = bytes;
        break;
      }
    }
  }

  // True if the answer is not "unknown".
  bool Ask() {
    const std::string key = RandomKey();
    const std::string answer = recent_.Find(key);
    if (answer == "unknown") return false;
    EXPECT_TRUE(known_.contains(key)) << key;
    EXPECT_EQ(answer, known_[key]) << key;
    return true;
  }

 private:
  std::string RandomKey() {
    return std::string(1 + random_.Below(20),
                       static_cast<char>('a' + random_.Below(3)));
  }

  Random random_{20261123};
  Recent recent_;
  std::map<std::string, std::string> known_;
};

TEST(RecentEntries, NeverKnowsAnythingElse) {
  for (const std::size_t capacity : {256, 1'000, 4'096, 100'000}) {
    RandomRecent recent(capacity);
    int found = 0;
    for (int round = 0; round < 20'000 && !HasFailure(); ++round) {
      recent.Change();
      found += recent.Ask() ? 1 : 0;
    }
    EXPECT_GT(found, capacity < 1'000 ? 300 : 1'500) << capacity;
  }
}

}  // namespace
}  // namespace larder
