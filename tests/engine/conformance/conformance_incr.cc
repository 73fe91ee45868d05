#include <cstdint>
#include <limits>

#include "engine/conformance/conformance_suite.h"

namespace larder::testing {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();

TEST_P(EngineConformance, IncrOfAMissingKeyIsInitialPlusDelta) {
  const Reply reply = Incr("key", 5, 100);
  EXPECT_EQ(reply.status.ToString(), "kOk");
  EXPECT_TRUE(reply.applied);
  EXPECT_EQ(reply.integer, 105);
  EXPECT_EQ(Count(), 1U);
}

TEST_P(EngineConformance, IncrAddsToWhatIsThere) {
  EXPECT_EQ(Incr("key", 5).integer, 5);
  EXPECT_EQ(Incr("key", -7, 1000).integer, -2);
  EXPECT_EQ(Incr("key", 0).integer, -2);
}

TEST_P(EngineConformance, IncrStoresEightLittleEndianBytes) {
  ASSERT_EQ(Incr("key", 0x0102).integer, 0x0102);
  const Reply reply = Get("key");
  EXPECT_EQ(reply.info.codec, kCodecInt64);
  EXPECT_EQ(reply.value.bytes(), std::string_view("\x02\x01\0\0\0\0\0\0", 8));
}

TEST_P(EngineConformance, IncrAddsToAnIntegerThatWasSet) {
  ASSERT_TRUE(Run(SetCommand{.key = "key",
                             .value = {"\xff\xff\xff\xff\xff\xff\xff\xff", 8},
                             .codec = kCodecInt64})
                  .applied);
  EXPECT_EQ(Incr("key", 3).integer, 2);
}

TEST_P(EngineConformance, IncrKeepsExpiryAndTag) {
  ASSERT_TRUE(
      Run(IncrCommand{.key = "key", .ttl = seconds(10), .tag = "red"}).applied);
  const TimePoint expires_at = Inspect("key").info.expires_at;
  clock_.Advance(seconds(5));
  ASSERT_TRUE(Run(IncrCommand{.key = "key", .ttl = seconds(99), .tag = "blue"})
                  .applied);
  const ItemInfo info = Inspect("key").info;
  EXPECT_EQ(info.expires_at, expires_at);
  EXPECT_EQ(info.tag, "red");
}

TEST_P(EngineConformance, IncrThatInsertsTakesTtlAndTag) {
  ASSERT_TRUE(
      Run(IncrCommand{.key = "key", .ttl = seconds(10), .tag = "red"}).applied);
  EXPECT_EQ(Inspect("key").info.expires_at, clock_.Now() + seconds(10));
  EXPECT_EQ(EvictTag("red").count, 1U);
  EXPECT_FALSE(IsLive("key"));
}

TEST_P(EngineConformance, IncrWithoutTtlNeverExpires) {
  ASSERT_TRUE(Incr("key", 1).applied);
  EXPECT_EQ(Inspect("key").info.expires_at, kNeverExpires);
}

TEST_P(EngineConformance, IncrOfAnExpiredItemStartsAnew) {
  ASSERT_TRUE(
      Run(IncrCommand{.key = "key", .delta = 50, .ttl = seconds(1)}).applied);
  clock_.Advance(seconds(1));
  EXPECT_EQ(Incr("key", 1).integer, 1);
  EXPECT_EQ(Inspect("key").info.expires_at, kNeverExpires);
}

TEST_P(EngineConformance, IncrOfAnotherTypeIsATypeMismatchAndKeepsTheValue) {
  ASSERT_TRUE(Set("key", "12345678").applied);
  EXPECT_EQ(Incr("key", 1).status.code(), StatusCode::kTypeMismatch);
  EXPECT_EQ(ValueOf("key"), "12345678");
}

TEST_P(EngineConformance, IncrOfALargeValueIsATypeMismatch) {
  ASSERT_TRUE(Set("key", std::string(100000, 'x')).applied);
  EXPECT_EQ(Incr("key", 1).status.code(), StatusCode::kTypeMismatch);
  EXPECT_EQ(ValueOf("key"), std::string(100000, 'x'));
}

TEST_P(EngineConformance, IncrOfAnIntegerOfAWrongSizeIsATypeMismatch) {
  ASSERT_TRUE(
      Run(SetCommand{.key = "key", .value = "123", .codec = kCodecInt64})
          .applied);
  EXPECT_EQ(Incr("key", 1).status.code(), StatusCode::kTypeMismatch);
  EXPECT_EQ(ValueOf("key"), "123");
}

TEST_P(EngineConformance, IncrAboveTheLargestIntegerIsOutOfRange) {
  ASSERT_EQ(Incr("key", kMax).integer, kMax);
  EXPECT_EQ(Incr("key", 1).status.code(), StatusCode::kOutOfRange);
  EXPECT_EQ(Incr("key", 0).integer, kMax);
}

TEST_P(EngineConformance, IncrBelowTheSmallestIntegerIsOutOfRange) {
  ASSERT_EQ(Incr("key", kMin).integer, kMin);
  EXPECT_EQ(Incr("key", -1).status.code(), StatusCode::kOutOfRange);
  EXPECT_EQ(Incr("key", 0).integer, kMin);
}

TEST_P(EngineConformance, IncrWhoseFirstSumOverflowsStoresNothing) {
  EXPECT_EQ(Incr("key", 1, kMax).status.code(), StatusCode::kOutOfRange);
  EXPECT_FALSE(IsLive("key"));
}

TEST_P(EngineConformance, IncrGivesANewVersion) {
  const std::uint64_t first = Incr("key", 1).info.version;
  const Reply second = Incr("key", 1);
  EXPECT_GT(second.info.version, first);
  EXPECT_FALSE(CompareAndSet("key", first, "stale").applied);
  EXPECT_TRUE(CompareAndSet("key", second.info.version, "fresh").applied);
}

TEST_P(EngineConformance, IncrTotalsSurviveReopen) {
  ASSERT_TRUE(Incr("key", 40).applied);
  Reopen();
  EXPECT_EQ(Incr("key", 2).integer, 42);
}

}  // namespace
}  // namespace larder::testing
