#include <cmath>
#include <limits>

#include "engine/conformance/conformance_suite.h"
#include "test_values.h"

// Single commands: Set with its conditions, Get, Delete, Pop, Touch.

namespace larder::testing {
namespace {

TEST_P(EngineConformance, GetOfAnAbsentKeyIsAMiss) {
  const Reply reply = Get("nobody");
  EXPECT_TRUE(reply.status.ok());
  EXPECT_FALSE(reply.applied);
  EXPECT_EQ(reply.value.size(), 0U);
}

TEST_P(EngineConformance, SetThenGetReturnsTheBytes) {
  const Reply set = Set("key", "value");
  EXPECT_EQ(set.status.ToString(), "kOk");
  EXPECT_TRUE(set.applied);
  EXPECT_EQ(ValueOf("key"), "value");
}

TEST_P(EngineConformance, EmptyKeyAndEmptyValueAreAnItem) {
  EXPECT_TRUE(Set("", "").applied);
  const Reply reply = Get("");
  EXPECT_TRUE(reply.applied);
  EXPECT_EQ(reply.value.bytes(), "");
  EXPECT_EQ(Count(), 1U);
}

TEST_P(EngineConformance, KeyOfTheLargestSizeIsStored) {
  const std::string key(kKeySizeBytesMax, 'k');
  const std::string neighbour = key.substr(1);
  EXPECT_TRUE(Set(key, "largest").applied);
  EXPECT_TRUE(Set(neighbour, "one less").applied);
  EXPECT_EQ(ValueOf(key), "largest");
  EXPECT_EQ(ValueOf(neighbour), "one less");
}

TEST_P(EngineConformance, KeyAboveTheLargestSizeIsKeyTooLarge) {
  const std::string key(kKeySizeBytesMax + 1, 'k');
  EXPECT_EQ(Set(key, "v").status.code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(Get(key).status.code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(Incr(key, 1).status.code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(Touch(key, seconds(1)).status.code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(Delete(key).status.code(), StatusCode::kKeyTooLarge);
  EXPECT_EQ(Count(), 0U);
}

TEST_P(EngineConformance, KeysMayHoldAnyBytes) {
  const std::vector<std::string> keys = {
      "a",        std::string("a\0", 2), std::string("a\0b", 3), "\xff",
      "\xff\xff", std::string("\0", 1)};
  for (const std::string& key : keys) ASSERT_TRUE(Set(key, key).applied);
  for (const std::string& key : keys) EXPECT_EQ(ValueOf(key), key);
  EXPECT_EQ(Count(), keys.size());
}

TEST_P(EngineConformance, ValuesOfEverySizeClassComeBack) {
  const std::vector<std::size_t> sizes = {
      0,     1,     127,   128,       129,           4095,    16383,
      16384, 16385, 65536, (1 << 20), 1 + (1 << 20), 3 << 20, 1 + (5 << 20)};
  for (const std::size_t size : sizes) {
    ASSERT_TRUE(Set(std::to_string(size), MakeValue(size, size)).applied);
  }
  for (const std::size_t size : sizes) {
    const Reply reply = Get(std::to_string(size));
    ASSERT_EQ(reply.status.ToString(), "kOk") << size;
    EXPECT_TRUE(reply.value.bytes() == MakeValue(size, size)) << size;
    EXPECT_EQ(reply.info.size_bytes, size);
  }
}

TEST_P(EngineConformance, OverwriteReplacesAValueOfAnySizeClass) {
  const std::vector<std::size_t> sizes = {
      0, 100, 5000, 40000, 2 << 20, 50, 2 << 20, 40000, 5000, 100, 0};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::string value = MakeValue(i, sizes[i]);
    ASSERT_TRUE(Set("key", value).applied);
    EXPECT_TRUE(Get("key").value.bytes() == value) << i;
    EXPECT_EQ(Count(), 1U);
  }
}

TEST_P(EngineConformance, OverwriteResetsTheExpiry) {
  ASSERT_TRUE(SetWithTtl("key", "old", seconds(10)).applied);
  ASSERT_TRUE(Set("key", "new").applied);
  clock_.Advance(seconds(11));
  EXPECT_EQ(ValueOf("key"), "new");
  EXPECT_EQ(Inspect("key").info.expires_at, kNeverExpires);
}

TEST_P(EngineConformance, OverwriteResetsTheTag) {
  ASSERT_TRUE(SetWithTag("key", "old", "red").applied);
  ASSERT_TRUE(Set("key", "new").applied);
  EXPECT_EQ(Inspect("key").info.tag, "");
  EXPECT_EQ(EvictTag("red").count, 0U);
  EXPECT_EQ(ValueOf("key"), "new");
}

TEST_P(EngineConformance, OverwriteResetsThePin) {
  ASSERT_TRUE(
      Run(SetCommand{.key = "key", .value = "old", .pinned = true}).applied);
  EXPECT_TRUE(Inspect("key").info.pinned);
  ASSERT_TRUE(Set("key", "new").applied);
  EXPECT_FALSE(Inspect("key").info.pinned);
  EXPECT_EQ(Stats().pinned_bytes, 0U);
}

TEST_P(EngineConformance, TagAboveItsLargestSizeIsInvalid) {
  const std::string largest(kTagSizeBytesMax, 't');
  EXPECT_TRUE(SetWithTag("fits", "v", largest).applied);
  EXPECT_EQ(Inspect("fits").info.tag, largest);
  EXPECT_EQ(SetWithTag("key", "v", largest + "t").status.code(),
            StatusCode::kInvalidArgument);
  EXPECT_FALSE(IsLive("key"));
}

TEST_P(EngineConformance, ItemLivesUntilJustBeforeItsExpiry) {
  ASSERT_TRUE(SetWithTtl("key", "value", seconds(10)).applied);
  clock_.Advance(seconds(10) - microseconds(1));
  EXPECT_EQ(ValueOf("key"), "value");
  clock_.Advance(microseconds(1));
  EXPECT_EQ(ValueOf("key"), "(miss)");
}

TEST_P(EngineConformance, TtlOfZeroStoresAnExpiredItem) {
  const Reply reply = SetWithTtl("key", "value", Duration::zero());
  EXPECT_EQ(reply.status.ToString(), "kOk");
  EXPECT_EQ(ValueOf("key"), "(miss)");
  EXPECT_EQ(Count(), 0U);
}

TEST_P(EngineConformance, NegativeTtlReplacesALiveItemByAnExpiredOne) {
  ASSERT_TRUE(Set("key", "old").applied);
  EXPECT_EQ(SetWithTtl("key", "new", seconds(-5)).status.ToString(), "kOk");
  EXPECT_EQ(ValueOf("key"), "(miss)");
  EXPECT_EQ(Count(), 0U);
}

TEST_P(EngineConformance, HugeTtlMeansNever) {
  ASSERT_TRUE(SetWithTtl("key", "value", Duration::max()).applied);
  clock_.Advance(hours(24 * 365 * 1000));
  EXPECT_EQ(ValueOf("key"), "value");
}

TEST_P(EngineConformance, MostNegativeTtlIsExpired) {
  EXPECT_EQ(SetWithTtl("key", "value", Duration::min()).status.ToString(),
            "kOk");
  EXPECT_EQ(ValueOf("key"), "(miss)");
}

TEST_P(EngineConformance, DefaultTtlHoldsForSetsThatNameNone) {
  ASSERT_EQ(engine_->Reset("default_ttl", "10s").ToString(), "kOk");
  ASSERT_TRUE(Set("plain", "v").applied);
  ASSERT_TRUE(SetWithTtl("longer", "v", seconds(20)).applied);
  clock_.Advance(seconds(10));
  EXPECT_FALSE(IsLive("plain"));
  EXPECT_TRUE(IsLive("longer"));
}

TEST_P(EngineConformance, CodecIsKept) {
  ASSERT_TRUE(
      Run(SetCommand{.key = "key", .value = "v", .codec = 201}).applied);
  EXPECT_EQ(Get("key").info.codec, 201);
}

// Conditions ---------------------------------------------------------------

TEST_P(EngineConformance, AddStoresUnderAnAbsentKey) {
  EXPECT_TRUE(Add("key", "first").applied);
  EXPECT_EQ(ValueOf("key"), "first");
}

TEST_P(EngineConformance, AddLeavesALiveItemAndTellsItsVersion) {
  const std::uint64_t version = Set("key", "first").info.version;
  const Reply reply = Add("key", "second");
  EXPECT_EQ(reply.status.ToString(), "kOk");
  EXPECT_FALSE(reply.applied);
  EXPECT_EQ(reply.info.version, version);
  EXPECT_EQ(ValueOf("key"), "first");
}

TEST_P(EngineConformance, AddStoresOverAnExpiredItem) {
  ASSERT_TRUE(SetWithTtl("key", "old", seconds(1)).applied);
  clock_.Advance(seconds(1));
  EXPECT_TRUE(Add("key", "new").applied);
  EXPECT_EQ(ValueOf("key"), "new");
  EXPECT_EQ(Count(), 1U);
}

TEST_P(EngineConformance, CompareAndSetWithTheVersionStores) {
  const std::uint64_t version = Set("key", "old").info.version;
  const Reply reply = CompareAndSet("key", version, "new");
  EXPECT_TRUE(reply.applied);
  EXPECT_GT(reply.info.version, version);
  EXPECT_EQ(ValueOf("key"), "new");
}

TEST_P(EngineConformance, CompareAndSetWithAStaleVersionTellsTheNewOne) {
  const std::uint64_t stale = Set("key", "old").info.version;
  const std::uint64_t current = Set("key", "newer").info.version;
  const Reply reply = CompareAndSet("key", stale, "newest");
  EXPECT_EQ(reply.status.ToString(), "kOk");
  EXPECT_FALSE(reply.applied);
  EXPECT_EQ(reply.info.version, current);
  EXPECT_EQ(ValueOf("key"), "newer");
}

TEST_P(EngineConformance, CompareAndSetWithVersionZeroNeedsAnAbsentKey) {
  EXPECT_TRUE(CompareAndSet("key", 0, "first").applied);
  EXPECT_FALSE(CompareAndSet("key", 0, "second").applied);
  EXPECT_EQ(ValueOf("key"), "first");
}

TEST_P(EngineConformance, CompareAndSetWithAVersionFailsOnAnAbsentKey) {
  const Reply reply = CompareAndSet("key", 5, "value");
  EXPECT_FALSE(reply.applied);
  EXPECT_EQ(reply.info.version, 0U);
  EXPECT_EQ(ValueOf("key"), "(miss)");
}

TEST_P(EngineConformance, CompareAndSetSeesAnExpiredItemAsAbsent) {
  const std::uint64_t version =
      SetWithTtl("key", "old", seconds(1)).info.version;
  clock_.Advance(seconds(1));
  EXPECT_FALSE(CompareAndSet("key", version, "wrong").applied);
  EXPECT_TRUE(CompareAndSet("key", 0, "right").applied);
  EXPECT_EQ(ValueOf("key"), "right");
}

TEST_P(EngineConformance, VersionGrowsWithEveryWriteOfTheItem) {
  std::uint64_t version = 0;
  for (int i = 0; i < 5; ++i) {
    const Reply reply = Set("key", "v");
    EXPECT_GT(reply.info.version, version);
    version = reply.info.version;
    EXPECT_EQ(Get("key").info.version, version);
  }
}

TEST_P(EngineConformance, VersionIsNotUsedAgainAfterDeleteClearAndReopen) {
  const std::uint64_t first = Set("key", "v").info.version;
  ASSERT_TRUE(Delete("key").applied);
  const std::uint64_t second = Set("key", "v").info.version;
  EXPECT_GT(second, first);
  ASSERT_TRUE(Run(ClearCommand{}).applied);
  Reopen();
  EXPECT_GT(Set("key", "v").info.version, second);
}

// Get ----------------------------------------------------------------------

TEST_P(EngineConformance, InspectTellsEverythingButTheValue) {
  ASSERT_TRUE(Run(SetCommand{.key = "key",
                             .value = "12345",
                             .codec = 9,
                             .ttl = seconds(60),
                             .tag = "red"})
                  .applied);
  const TimePoint stored_at = clock_.Now();
  clock_.Advance(seconds(5));
  const Reply reply = Inspect("key");
  EXPECT_TRUE(reply.applied);
  EXPECT_EQ(reply.value.size(), 0U);
  EXPECT_EQ(reply.info.size_bytes, 5U);
  EXPECT_EQ(reply.info.stored_at, stored_at);
  EXPECT_EQ(reply.info.expires_at, stored_at + seconds(60));
  EXPECT_EQ(reply.info.tag, "red");
  EXPECT_EQ(reply.info.codec, 9);
  EXPECT_GT(reply.info.version, 0U);
}

TEST_P(EngineConformance, GetTellsWhatInspectTells) {
  ASSERT_TRUE(SetWithTag("key", "value", "red").applied);
  const ItemInfo got = Get("key").info;
  const ItemInfo inspected = Inspect("key").info;
  EXPECT_EQ(got.version, inspected.version);
  EXPECT_EQ(got.tag, inspected.tag);
  EXPECT_EQ(got.size_bytes, inspected.size_bytes);
  EXPECT_EQ(got.expires_at, inspected.expires_at);
}

TEST_P(EngineConformance, HitsAndMissesAreCountedForGetsOnly) {
  ASSERT_TRUE(Set("key", "v").applied);
  EXPECT_TRUE(Get("key").applied);
  EXPECT_FALSE(Get("nobody").applied);
  EXPECT_FALSE(Get("nobody").applied);
  EXPECT_TRUE(Inspect("key").applied);
  EXPECT_FALSE(Inspect("nobody").applied);
  EXPECT_EQ(Stats().hits, 1U);
  EXPECT_EQ(Stats().misses, 2U) << "an Inspect counted";
}

TEST_P(EngineConformance, HandleKeepsItsBytesWhateverHappensToTheItem) {
  for (const std::size_t size : {100U, 5000U, 40000U, 2U << 20}) {
    const std::string value = MakeValue(size, size);
    ASSERT_TRUE(Set("key", value).applied);
    const Reply held = Get("key");
    ASSERT_TRUE(Set("key", MakeValue(1, size)).applied);
    EXPECT_TRUE(held.value.bytes() == value) << size;
    ASSERT_TRUE(Delete("key").applied);
    ASSERT_TRUE(Run(ClearCommand{}).applied);
    EXPECT_TRUE(held.value.bytes() == value) << size;
  }
}

// Touch, Delete, Pop -------------------------------------------------------

TEST_P(EngineConformance, TouchCountsTheNewTtlFromNow) {
  ASSERT_TRUE(SetWithTtl("key", "v", seconds(10)).applied);
  clock_.Advance(seconds(6));
  EXPECT_TRUE(Touch("key", seconds(10)).applied);
  clock_.Advance(seconds(9));
  EXPECT_TRUE(IsLive("key"));
  clock_.Advance(seconds(1));
  EXPECT_FALSE(IsLive("key"));
}

TEST_P(EngineConformance, TouchWithoutTtlMakesTheItemNeverExpire) {
  ASSERT_TRUE(SetWithTtl("key", "v", seconds(10)).applied);
  EXPECT_TRUE(Touch("key", std::nullopt).applied);
  clock_.Advance(hours(24 * 365));
  EXPECT_TRUE(IsLive("key"));
}

TEST_P(EngineConformance, TouchWithZeroTtlExpiresTheItem) {
  ASSERT_TRUE(Set("key", "v").applied);
  EXPECT_TRUE(Touch("key", Duration::zero()).applied);
  EXPECT_FALSE(IsLive("key"));
  EXPECT_EQ(Count(), 0U);
}

TEST_P(EngineConformance, TouchOfAnAbsentOrExpiredItemIsNotApplied) {
  EXPECT_FALSE(Touch("nobody", seconds(10)).applied);
  ASSERT_TRUE(SetWithTtl("key", "v", seconds(1)).applied);
  clock_.Advance(seconds(1));
  EXPECT_FALSE(Touch("key", seconds(10)).applied);
  EXPECT_FALSE(IsLive("key"));
}

TEST_P(EngineConformance, TouchKeepsValueTagAndVersion) {
  for (const std::size_t size : {10U, 5000U, 100000U}) {
    const std::string value = MakeValue(3, size);
    const std::uint64_t version = SetWithTag("key", value, "red").info.version;
    ASSERT_TRUE(Touch("key", seconds(10)).applied);
    const Reply reply = Get("key");
    EXPECT_TRUE(reply.value.bytes() == value);
    EXPECT_EQ(reply.info.tag, "red");
    EXPECT_EQ(reply.info.version, version);
    EXPECT_TRUE(CompareAndSet("key", version, "next").applied);
  }
}

TEST_P(EngineConformance, DeleteMakesTheKeyAMiss) {
  ASSERT_TRUE(Set("key", "v").applied);
  EXPECT_TRUE(Delete("key").applied);
  EXPECT_EQ(ValueOf("key"), "(miss)");
  EXPECT_EQ(Count(), 0U);
  EXPECT_FALSE(Delete("key").applied);
}

TEST_P(EngineConformance, DeleteOfAnExpiredItemIsNotAppliedAndFreesIt) {
  ASSERT_TRUE(SetWithTtl("key", "v", seconds(1)).applied);
  clock_.Advance(seconds(1));
  const Reply reply = Delete("key");
  EXPECT_EQ(reply.status.ToString(), "kOk");
  EXPECT_FALSE(reply.applied);
  EXPECT_EQ(Run(ExpireCommand{}).count, 1U);
}

TEST_P(EngineConformance, DeleteWithAVersionNeedsThatVersion) {
  const std::uint64_t stale = Set("key", "old").info.version;
  const std::uint64_t current = Set("key", "new").info.version;
  const Reply refused =
      Run(DeleteCommand{.key = "key", .version_expected = stale});
  EXPECT_FALSE(refused.applied);
  EXPECT_EQ(refused.info.version, current);
  EXPECT_EQ(ValueOf("key"), "new");
  EXPECT_TRUE(
      Run(DeleteCommand{.key = "key", .version_expected = current}).applied);
  EXPECT_FALSE(IsLive("key"));
}

TEST_P(EngineConformance, PopReturnsTheValueAndDeletes) {
  for (const std::size_t size : {0U, 10U, 5000U, 100000U, 3U << 20}) {
    const std::string value = MakeValue(size, size);
    ASSERT_TRUE(SetWithTag("key", value, "red").applied);
    const Reply reply = Pop("key");
    EXPECT_TRUE(reply.applied);
    EXPECT_TRUE(reply.value.bytes() == value) << size;
    EXPECT_EQ(reply.info.tag, "red");
    EXPECT_FALSE(IsLive("key"));
  }
}

TEST_P(EngineConformance, PopOfAnAbsentOrExpiredItemIsAMiss) {
  EXPECT_FALSE(Pop("nobody").applied);
  ASSERT_TRUE(SetWithTtl("key", "v", seconds(1)).applied);
  clock_.Advance(seconds(1));
  const Reply reply = Pop("key");
  EXPECT_FALSE(reply.applied);
  EXPECT_EQ(reply.value.size(), 0U);
}

// Limits -------------------------------------------------------------------

TEST_P(EngineConformance, ValueAboveTheItemSizeLimitIsTooLarge) {
  ASSERT_EQ(engine_->Reset("item_size_limit", "1000").ToString(), "kOk");
  ASSERT_TRUE(Set("key", std::string(1000, 'x')).applied);
  const Reply reply = Set("key", std::string(1001, 'y'));
  EXPECT_EQ(reply.status.code(), StatusCode::kTooLarge);
  EXPECT_EQ(ValueOf("key"), std::string(1000, 'x'));
}

TEST_P(EngineConformance, CostThatIsNoNumberIsRefused) {
  ASSERT_TRUE(Set("key", "old").applied);
  for (const float cost : {std::nanf(""), HUGE_VALF, -HUGE_VALF, -5.0F}) {
    const Reply reply =
        Run(SetCommand{.key = "key", .value = "new", .cost = cost});
    EXPECT_EQ(reply.status.code(), StatusCode::kInvalidArgument) << cost;
  }
  EXPECT_EQ(ValueOf("key"), "old");
  EXPECT_TRUE(
      Run(SetCommand{.key = "key", .value = "new", .cost = 0.0F}).applied);
}

TEST_P(EngineConformance, ValueThatCanNeverFitIsTooLargeAndEvictsNothing) {
  Reopen({{"size_limit", "16MiB"}});
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(Set("key" + std::to_string(i), MakeValue(1, 10000)).applied);
  }
  const std::string value((16U << 20) + 1, 'x');
  EXPECT_EQ(Set("key0", value).status.code(), StatusCode::kTooLarge);
  EXPECT_EQ(Count(), 20U);
  EXPECT_TRUE(Get("key0").value.bytes() == MakeValue(1, 10000));
  EXPECT_EQ(Stats().evictions, 0U);
}

TEST_P(EngineConformance, PinnedItemsSurviveACullButNotTheirExpiry) {
  ASSERT_TRUE(Run(SetCommand{.key = "pinned",
                             .value = "v",
                             .ttl = seconds(10),
                             .pinned = true})
                  .applied);
  ASSERT_TRUE(Set("plain", "v").applied);
  EXPECT_EQ(Run(CullCommand{.live_bytes_target = 0}).status.ToString(), "kOk");
  EXPECT_TRUE(IsLive("pinned"));
  EXPECT_FALSE(IsLive("plain"));
  clock_.Advance(seconds(10));
  EXPECT_FALSE(IsLive("pinned"));
}

TEST_P(EngineConformance, PinsBeyondHalfOfTheLimitAreNoSpace) {
  Reopen({{"size_limit", "16MiB"}});
  const std::string value(1 << 20, 'x');
  int pinned_count = 0;
  Status refused;
  for (int i = 0; i < 12 && refused.ok(); ++i) {
    const std::string key = "pinned" + std::to_string(i);
    Reply reply = Run(SetCommand{.key = key, .value = value, .pinned = true});
    refused = std::move(reply.status);
    pinned_count += refused.ok() ? 1 : 0;
  }
  EXPECT_EQ(refused.code(), StatusCode::kNoSpace);
  EXPECT_GT(pinned_count, 3);
  EXPECT_LE(pinned_count, 8);
  EXPECT_EQ(Count(), static_cast<std::uint64_t>(pinned_count));
}

}  // namespace
}  // namespace larder::testing
