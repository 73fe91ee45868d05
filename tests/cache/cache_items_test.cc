#include <cstdint>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <cereal/types/map.hpp>
#include <cereal/types/string.hpp>

#include "cache/cache_fixture.h"

namespace larder::testing {
namespace {

using CacheItems = FacadeTest;

struct Point {
  int x = 0;
  int y = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(x, y);
  }
  friend bool operator==(const Point&, const Point&) = default;
};

// The same type, in two versions of a program.
struct UserOfToday {
  int id = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(id);
  }
};
struct UserOfTomorrow {
  int id = 0;
  std::string name;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(id, name);
  }
};

struct Unsaveable {
  template <class Archive>
  void save(Archive& archive) const {
    static_cast<void>(archive);
    throw std::runtime_error("not today");
  }
  template <class Archive>
  void load(Archive& archive) {
    static_cast<void>(archive);
  }
};

TEST_F(CacheItems, BytesComeBack) {
  EXPECT_EQ(Text(cache_->Set("key", "value")), "kOk");
  EXPECT_EQ(BytesOf("key"), "value");
  EXPECT_EQ(BytesOf("nobody"), "(miss)");
}

TEST_F(CacheItems, TypedValuesComeBack) {
  using Points = std::map<std::string, Point>;
  const Points points = {{"a", {1, 2}}, {"b", {3, 4}}};
  ASSERT_EQ(Text(cache_->Set("points", points)), "kOk");
  ASSERT_EQ(Text(cache_->Set("pi", 3.25)), "kOk");
  ASSERT_EQ(Text(cache_->Set("bytes", std::vector<char>{'a', 'b'})), "kOk");
  EXPECT_EQ((**cache_->Get<Points>("points")), points);
  EXPECT_EQ(**cache_->Get<double>("pi"), 3.25);
  EXPECT_EQ(**cache_->Get<std::string>("bytes"), "ab");
}

TEST_F(CacheItems, TypedGetOfAnAbsentKeyIsAMiss) {
  const auto value = cache_->Get<int>("nobody");
  ASSERT_TRUE(value.has_value());
  EXPECT_FALSE(value->has_value());
}

TEST_F(CacheItems, GetAsAnotherTypeIsATypeMismatchAndKeepsTheItem) {
  ASSERT_EQ(Text(cache_->Set("key", Point{1, 2})), "kOk");
  EXPECT_EQ(cache_->Get<int>("key").error().code(), StatusCode::kTypeMismatch);
  EXPECT_EQ(cache_->Get<std::string>("key").error().code(),
            StatusCode::kTypeMismatch);
  EXPECT_EQ(**cache_->Get<Point>("key"), (Point{1, 2}));
}

// The type that has one number today has a name as well tomorrow.
TEST_F(CacheItems, GetAsATypeThatHasChangedIsUndecodableAndKeepsTheItem) {
  ASSERT_TRUE(cache_->Set("key", UserOfToday{7}).ok());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(cache_->Get<UserOfTomorrow>("key").error().code(),
              StatusCode::kUndecodable);
  }
  EXPECT_EQ((*cache_->Get<UserOfToday>("key"))->id, 7);
  EXPECT_EQ(cache_->Stats()->corruptions, 0U);
  EXPECT_EQ(cache_->Pop<UserOfTomorrow>("key").error().code(),
            StatusCode::kUndecodable);
  EXPECT_FALSE(*cache_->Contains("key"));
}

TEST_F(CacheItems, GetAsANarrowerIntegerThanTheNumberIsATypeMismatch) {
  ASSERT_EQ(Text(cache_->Set("key", 300)), "kOk");
  EXPECT_EQ(**cache_->Get<std::int64_t>("key"), 300);
  EXPECT_EQ(cache_->Get<std::uint8_t>("key").error().code(),
            StatusCode::kTypeMismatch);
}

TEST_F(CacheItems, ValueWhoseSaveThrowsIsInvalidAndChangesNothing) {
  ASSERT_EQ(Text(cache_->Set("key", "old")), "kOk");
  const Status status = cache_->Set("key", Unsaveable());
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("not today"), std::string::npos);
  EXPECT_EQ(BytesOf("key"), "old");
}

TEST_F(CacheItems, SetOptionsReachTheEngine) {
  ASSERT_EQ(Text(cache_->Set("key", "value",
                             {.ttl = seconds(60),
                              .tag = "red",
                              .pinned = true,
                              .cost = 2.5F,
                              .durability = Durability::kPower})),
            "kOk");
  const SpyEngine::Call& call = spy_->calls.back();
  EXPECT_EQ(call.options.durability, Durability::kPower);
  EXPECT_EQ(call.sets[0].cost, 2.5F);
  const ItemInfo info = InfoOf("key");
  EXPECT_EQ(info.expires_at, clock_.Now() + seconds(60));
  EXPECT_EQ(info.tag, "red");
  EXPECT_TRUE(info.pinned);
}

TEST_F(CacheItems, KeyTooLargeTellsItsLength) {
  const std::string key(kKeySizeBytesMax + 1, 'k');
  const Status status = cache_->Set(key, "v");
  EXPECT_EQ(status.code(), StatusCode::kKeyTooLarge);
  EXPECT_NE(status.message().find("65537"), std::string::npos);
  EXPECT_EQ(cache_->Get(key).error().code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->Get<int>(key).error().code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->Add(key, "v").error().code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->Incr(key).error().code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->Touch(key, {}).error().code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->Pop(key).error().code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->Delete(key).error().code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->Contains(key).error().code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->Inspect(key).error().code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->CompareAndSet(key, 0, "v").error().code(),
            StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->OpenReader(key).error().code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(cache_->OpenWriter(key).error().code(), StatusCode::kKeyTooLarge);
  EXPECT_TRUE(spy_->calls.empty());
}

TEST_F(CacheItems, LargestAndEmptyKeysAreKeys) {
  const std::string key(kKeySizeBytesMax, 'k');
  ASSERT_EQ(Text(cache_->Set(key, "large")), "kOk");
  ASSERT_EQ(Text(cache_->Set("", "empty")), "kOk");
  EXPECT_EQ(BytesOf(key), "large");
  EXPECT_EQ(BytesOf(""), "empty");
}

TEST_F(CacheItems, AddStoresOnce) {
  EXPECT_TRUE(*cache_->Add("key", "first", {.tag = "red"}));
  EXPECT_FALSE(*cache_->Add("key", "second"));
  EXPECT_EQ(BytesOf("key"), "first");
  EXPECT_EQ(InfoOf("key").tag, "red");
  EXPECT_TRUE(*cache_->Add("typed", 5));
  EXPECT_EQ(**cache_->Get<int>("typed"), 5);
}

TEST_F(CacheItems, IncrAndDecrCount) {
  EXPECT_EQ(*cache_->Incr("n"), 1);
  EXPECT_EQ(*cache_->Incr("n", 10, 500), 11);
  EXPECT_EQ(*cache_->Decr("n", 4), 7);
  EXPECT_EQ(*cache_->Decr("m", 1, 100), 99);
  EXPECT_EQ(**cache_->Get<int>("n"), 7);
}

TEST_F(CacheItems, IncrAddsToASetInteger) {
  ASSERT_EQ(Text(cache_->Set("n", 41)), "kOk");
  EXPECT_EQ(*cache_->Incr("n"), 42);
}

TEST_F(CacheItems, IncrThatInsertsTakesOptions) {
  EXPECT_EQ(*cache_->Incr("n", 1, 0, {.ttl = seconds(5), .tag = "red"}), 1);
  EXPECT_EQ(InfoOf("n").expires_at, clock_.Now() + seconds(5));
  EXPECT_EQ(InfoOf("n").tag, "red");
}

TEST_F(CacheItems, IncrErrorsKeepTheValue) {
  ASSERT_EQ(Text(cache_->Set("text", "abc")), "kOk");
  EXPECT_EQ(cache_->Incr("text").error().code(), StatusCode::kTypeMismatch);
  EXPECT_EQ(BytesOf("text"), "abc");
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  ASSERT_EQ(Text(cache_->Set("n", kMax)), "kOk");
  EXPECT_EQ(cache_->Incr("n").error().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(**cache_->Get<std::int64_t>("n"), kMax);
}

TEST_F(CacheItems, DecrByTheSmallestIntegerIsOutOfRange) {
  constexpr auto kMin = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(cache_->Decr("n", kMin).error().code(), StatusCode::kOutOfRange);
  EXPECT_FALSE(*cache_->Contains("n"));
  EXPECT_EQ(*cache_->Decr("n", kMin + 1), -(kMin + 1));
}

TEST_F(CacheItems, TouchMovesTheExpiry) {
  ASSERT_EQ(Text(cache_->Set("key", "v", {.ttl = seconds(5)})), "kOk");
  EXPECT_TRUE(*cache_->Touch("key", seconds(50)));
  EXPECT_EQ(InfoOf("key").expires_at, clock_.Now() + seconds(50));
  EXPECT_TRUE(*cache_->Touch("key", std::nullopt));
  EXPECT_EQ(InfoOf("key").expires_at, kNeverExpires);
  EXPECT_FALSE(*cache_->Touch("nobody", seconds(50)));
}

TEST_F(CacheItems, PopReturnsTheValueOnce) {
  ASSERT_EQ(Text(cache_->Set("key", "value")), "kOk");
  ASSERT_EQ(Text(cache_->Set("n", 5)), "kOk");
  const auto popped = cache_->Pop("key");
  ASSERT_TRUE(popped.has_value() && popped->has_value());
  EXPECT_EQ((*popped)->bytes(), "value");
  EXPECT_FALSE(cache_->Pop("key")->has_value());
  EXPECT_EQ(**cache_->Pop<int>("n"), 5);
  EXPECT_FALSE(cache_->Pop<int>("n")->has_value());
}

TEST_F(CacheItems, PopAsAnotherTypeDeletesAllTheSame) {
  ASSERT_EQ(Text(cache_->Set("key", "text")), "kOk");
  EXPECT_EQ(cache_->Pop<int>("key").error().code(), StatusCode::kTypeMismatch);
  EXPECT_FALSE(*cache_->Contains("key"));
}

TEST_F(CacheItems, DeleteTellsWhetherThereWasALiveItem) {
  ASSERT_EQ(Text(cache_->Set("key", "v")), "kOk");
  ASSERT_EQ(Text(cache_->Set("dead", "v", {.ttl = seconds(0)})), "kOk");
  EXPECT_TRUE(*cache_->Delete("key"));
  EXPECT_FALSE(*cache_->Delete("key"));
  EXPECT_FALSE(*cache_->Delete("dead"));
}

TEST_F(CacheItems, ContainsAndInspectCountNoHit) {
  ASSERT_EQ(Text(cache_->Set("key", "v")), "kOk");
  EXPECT_TRUE(*cache_->Contains("key"));
  EXPECT_FALSE(*cache_->Contains("nobody"));
  EXPECT_EQ(InfoOf("key").size_bytes, 1U);
  EXPECT_FALSE(cache_->Inspect("nobody")->has_value());
  EXPECT_EQ(cache_->Stats()->hits, 0U);
  EXPECT_EQ(cache_->Stats()->misses, 0U);
}

TEST_F(CacheItems, CompareAndSetGivesTheNewVersionToTheFirst) {
  const auto first = cache_->CompareAndSet("key", 0, "a");
  ASSERT_TRUE(first.has_value() && first->has_value());
  EXPECT_EQ(InfoOf("key").version, **first);
  const auto second = cache_->CompareAndSet("key", **first, 5);
  ASSERT_TRUE(second.has_value() && second->has_value());
  EXPECT_GT(**second, **first);
  EXPECT_FALSE(cache_->CompareAndSet("key", **first, "late")->has_value());
  EXPECT_EQ(**cache_->Get<int>("key"), 5);
}

TEST_F(CacheItems, EngineFailuresArePassedOn) {
  const Status failure = Status::NoSpace("disk full");
  spy_->fail_next_call = failure;
  EXPECT_EQ(Text(cache_->Set("key", "v")), "kNoSpace: disk full");
  spy_->fail_next_reply = {0, Status::Corruption("bad")};
  EXPECT_EQ(Text(cache_->Get("key")), "kCorruption: bad");
  spy_->fail_next_call = failure;
  EXPECT_EQ(Text(cache_->Incr("n")), "kNoSpace: disk full");
  spy_->fail_next_call = failure;
  EXPECT_EQ(Text(cache_->Clear()), "kNoSpace: disk full");
}

TEST_F(CacheItems, WholeCacheCallsReachTheEngine) {
  ASSERT_EQ(Text(cache_->Set("a", "v", {.tag = "red"})), "kOk");
  ASSERT_EQ(Text(cache_->Set("b", "v", {.ttl = seconds(5)})), "kOk");
  ASSERT_EQ(Text(cache_->Set("c", "v")), "kOk");
  ASSERT_EQ(Text(cache_->Set("d", "v")), "kOk");
  EXPECT_EQ(*cache_->Count(), 4U);
  EXPECT_EQ(*cache_->Evict("red"), 1U);
  EXPECT_EQ(*cache_->Expire(clock_.Now() + seconds(5)), 1U);
  EXPECT_EQ(*cache_->Cull(), 0U);
  EXPECT_EQ(*cache_->Cull(0), 2U);
  ASSERT_EQ(Text(cache_->Set("e", "v")), "kOk");
  EXPECT_EQ(*cache_->Clear(), 1U);
  EXPECT_TRUE(cache_->Check()->ok());
  EXPECT_EQ(Text(cache_->Sync()), "kOk");
  EXPECT_EQ(cache_->directory(), "model");
}

TEST_F(CacheItems, ResetChangesASetting) {
  EXPECT_EQ(Text(cache_->Reset("size_limit", "64MiB")), "kOk");
  EXPECT_EQ(cache_->CurrentSettings().size_limit, 64U << 20);
  EXPECT_EQ(cache_->Reset("sice_limit", "1").code(),
            StatusCode::kInvalidArgument);
}

TEST_F(CacheItems, EverythingIsClosedAfterClose) {
  ASSERT_EQ(Text(cache_->Set("key", "v")), "kOk");
  ASSERT_EQ(Text(cache_->Close()), "kOk");
  EXPECT_EQ(cache_->Get("key").error().code(), StatusCode::kClosed);
  EXPECT_EQ(cache_->Set("key", "v").code(), StatusCode::kClosed);
  EXPECT_EQ(cache_->Count().error().code(), StatusCode::kClosed);
  EXPECT_EQ(cache_->First().error().code(), StatusCode::kClosed);
  EXPECT_EQ(Text(cache_->Close()), "kOk");
}

}  // namespace
}  // namespace larder::testing
