#include <array>
#include <thread>

#include "engine/conformance/conformance_suite.h"
#include "test_values.h"

// The cache as a whole: tags, clear, expiry, culling, counts, settings,
// reopening and closing.

namespace larder::testing {
namespace {

TEST_P(EngineConformance, EvictTagDeletesTheItemsWithTheTag) {
  ASSERT_TRUE(SetWithTag("a", "1", "red").applied);
  ASSERT_TRUE(SetWithTag("b", MakeValue(1, 50000), "red").applied);
  ASSERT_TRUE(SetWithTag("c", "3", "reddish").applied);
  ASSERT_TRUE(Set("d", "4").applied);
  const Reply reply = EvictTag("red");
  EXPECT_EQ(reply.status.ToString(), "kOk");
  EXPECT_EQ(reply.count, 2U);
  EXPECT_FALSE(IsLive("a"));
  EXPECT_FALSE(IsLive("b"));
  EXPECT_TRUE(IsLive("c"));
  EXPECT_TRUE(IsLive("d"));
  EXPECT_EQ(Count(), 2U);
}

TEST_P(EngineConformance, EvictTagCountsNoExpiredItem) {
  ASSERT_TRUE(SetWithTag("live", "v", "red").applied);
  ASSERT_TRUE(
      Run(SetCommand{
              .key = "dead", .value = "v", .ttl = seconds(1), .tag = "red"})
          .applied);
  clock_.Advance(seconds(1));
  EXPECT_EQ(EvictTag("red").count, 1U);
}

TEST_P(EngineConformance, EvictTagLeavesItemsThatLostTheTag) {
  ASSERT_TRUE(SetWithTag("retagged", "1", "red").applied);
  ASSERT_TRUE(SetWithTag("deleted", "1", "red").applied);
  ASSERT_TRUE(SetWithTag("retagged", "2", "blue").applied);
  ASSERT_TRUE(Delete("deleted").applied);
  EXPECT_EQ(EvictTag("red").count, 0U);
  EXPECT_EQ(ValueOf("retagged"), "2");
}

TEST_P(EngineConformance, EvictTagTwiceFindsNothingTheSecondTime) {
  ASSERT_TRUE(SetWithTag("a", "1", "red").applied);
  EXPECT_EQ(EvictTag("red").count, 1U);
  EXPECT_EQ(EvictTag("red").count, 0U);
  EXPECT_EQ(EvictTag("unheard of").count, 0U);
}

TEST_P(EngineConformance, TagCanBeUsedAgainAfterEvictTag) {
  ASSERT_TRUE(SetWithTag("a", "1", "red").applied);
  ASSERT_EQ(EvictTag("red").count, 1U);
  ASSERT_TRUE(SetWithTag("a", "2", "red").applied);
  EXPECT_EQ(ValueOf("a"), "2");
  EXPECT_EQ(EvictTag("red").count, 1U);
}

TEST_P(EngineConformance, EvictTagOfNoTagEvictsNothing) {
  ASSERT_TRUE(Set("a", "1").applied);
  const Reply reply = EvictTag("");
  EXPECT_EQ(reply.status.ToString(), "kOk");
  EXPECT_EQ(reply.count, 0U);
  EXPECT_TRUE(IsLive("a"));
}

TEST_P(EngineConformance, ClearDeletesEverythingAndCountsTheLive) {
  ASSERT_TRUE(Set("a", "1").applied);
  ASSERT_TRUE(Set("b", MakeValue(1, 100000)).applied);
  ASSERT_TRUE(SetWithTag("c", "3", "red").applied);
  ASSERT_TRUE(SetWithTtl("dead", "4", seconds(1)).applied);
  clock_.Advance(seconds(1));
  EXPECT_EQ(Run(ClearCommand{}).count, 3U);
  EXPECT_EQ(ValueOf("a"), "(miss)");
  EXPECT_EQ(ValueOf("b"), "(miss)");
  EXPECT_EQ(Count(), 0U);
  EXPECT_EQ(Stats().live_bytes, 0U);
  EXPECT_EQ(EvictTag("red").count, 0U);
}

TEST_P(EngineConformance, ClearedCacheTakesNewItems) {
  ASSERT_TRUE(Set("a", "old").applied);
  ASSERT_EQ(Run(ClearCommand{}).count, 1U);
  EXPECT_TRUE(Add("a", "new").applied);
  EXPECT_EQ(ValueOf("a"), "new");
  EXPECT_EQ(Run(ClearCommand{}).count, 1U);
  EXPECT_EQ(Run(ClearCommand{}).count, 0U);
}

TEST_P(EngineConformance, ExpireCountsEachExpiredItemOnce) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(SetWithTtl(std::to_string(i), "v", seconds(i + 1)).applied);
  }
  clock_.Advance(seconds(3));
  EXPECT_EQ(Run(ExpireCommand{}).count, 3U);
  EXPECT_EQ(Run(ExpireCommand{}).count, 0U);
  clock_.Advance(seconds(2));
  EXPECT_EQ(Run(ExpireCommand{}).count, 2U);
}

TEST_P(EngineConformance, ExpireCountsWhatOthersSettled) {
  for (const char* const key : {"a", "b", "c", "d", "e", "f"}) {
    ASSERT_TRUE(SetWithTtl(key, "value", seconds(1)).applied);
  }
  clock_.Advance(seconds(2));
  ASSERT_TRUE(Set("a", "again").applied);
  EXPECT_EQ(Incr("b", 1).integer, 1);
  EXPECT_FALSE(Delete("c").applied);
  EXPECT_EQ(Count(), 2U);
  Reopen();
  EXPECT_EQ(Stats().expirations, 6U);
  EXPECT_EQ(Run(ExpireCommand{}).count, 6U);
  Reopen();
  EXPECT_EQ(Run(ExpireCommand{}).count, 0U);
}

TEST_P(EngineConformance, ConcurrentResetsAllStay) {
  std::thread other([this] {
    for (int i = 1; i <= 100; ++i) {
      EXPECT_TRUE(engine_->Reset("item_count_limit", std::to_string(i)).ok());
    }
  });
  for (int i = 1; i <= 100; ++i) {
    EXPECT_TRUE(engine_->Reset("default_ttl", std::to_string(i) + "s").ok());
    EXPECT_EQ(engine_->CurrentSettings().default_ttl, seconds(i));
  }
  other.join();
  EXPECT_EQ(engine_->CurrentSettings().item_count_limit, 100U);
}

TEST_P(EngineConformance, ExpireUpToATimeSettlesWhatExpiresBefore) {
  ASSERT_TRUE(SetWithTtl("soon", "v", seconds(10)).applied);
  ASSERT_TRUE(SetWithTtl("later", "v", seconds(100)).applied);
  EXPECT_EQ(Run(ExpireCommand{.now = clock_.Now() + seconds(50)}).count, 1U);
  EXPECT_FALSE(IsLive("soon"));
  EXPECT_TRUE(IsLive("later"));
  EXPECT_EQ(Count(), 1U);
}

TEST_P(EngineConformance, CullWithinTheLimitsEvictsNothing) {
  ASSERT_TRUE(Set("a", "1").applied);
  ASSERT_TRUE(SetWithTtl("dead", "v", seconds(1)).applied);
  clock_.Advance(seconds(1));
  EXPECT_EQ(Run(CullCommand{}).count, 0U);
  EXPECT_EQ(ValueOf("a"), "1");
  EXPECT_EQ(Count(), 1U);
}

TEST_P(EngineConformance, CullToZeroBytesEvictsEverything) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(Set(std::to_string(i), MakeValue(1, 1000)).applied);
  }
  EXPECT_EQ(Run(CullCommand{.live_bytes_target = 0}).count, 100U);
  EXPECT_EQ(Count(), 0U);
  EXPECT_EQ(Stats().live_bytes, 0U);
  EXPECT_EQ(Stats().evictions, 100U);
}

// An engine may evict in steps of a 256th of its limit.
TEST_P(EngineConformance, CullToATargetKeepsTheLastStored) {
  Reopen({{"size_limit", "16MiB"}});
  for (int i = 0; i < 400; ++i) {
    ASSERT_TRUE(Set("old" + std::to_string(i), MakeValue(1, 4000)).applied);
  }
  const std::uint64_t target = Stats().live_bytes / 2;
  const std::uint64_t evicted =
      Run(CullCommand{.live_bytes_target = target}).count;
  EXPECT_GE(evicted, 190U);
  EXPECT_LE(evicted, 230U);
  EXPECT_LE(Stats().live_bytes, target);
  EXPECT_EQ(Count(), 400U - evicted);
  EXPECT_FALSE(IsLive("old0"));
  EXPECT_FALSE(IsLive("old180"));
  EXPECT_TRUE(IsLive("old240"));
  EXPECT_TRUE(IsLive("old399"));
}

TEST_P(EngineConformance, CountFollowsEveryKindOfChange) {
  EXPECT_EQ(Count(), 0U);
  ASSERT_TRUE(Set("a", "1").applied);
  ASSERT_TRUE(Set("a", "2").applied);
  ASSERT_TRUE(SetWithTtl("b", "1", seconds(5)).applied);
  ASSERT_TRUE(Incr("c", 1).applied);
  EXPECT_EQ(Count(), 3U);
  ASSERT_TRUE(Touch("b", seconds(50)).applied);
  clock_.Advance(seconds(10));
  EXPECT_EQ(Count(), 3U);
  clock_.Advance(seconds(40));
  EXPECT_EQ(Count(), 2U);
  ASSERT_TRUE(Delete("c").applied);
  EXPECT_EQ(Count(), 1U);
  ASSERT_TRUE(Set("b", "again").applied);
  EXPECT_EQ(Count(), 2U);
}

TEST_P(EngineConformance, ExpiredItemCountsAsAbsentEverywhere) {
  ASSERT_TRUE(
      Run(SetCommand{
              .key = "key", .value = "v", .ttl = seconds(1), .tag = "red"})
          .applied);
  clock_.Advance(seconds(1));
  EXPECT_FALSE(Get("key").applied);
  EXPECT_FALSE(Inspect("key").applied);
  EXPECT_FALSE(Touch("key", seconds(9)).applied);
  EXPECT_FALSE(CompareAndSet("key", 1, "x").applied);
  EXPECT_EQ(Count(), 0U);
  const auto scan = engine_->OpenScan({});
  ASSERT_TRUE(scan.has_value());
  EXPECT_TRUE((*scan)->Next(10)->empty());
  const auto reader = engine_->OpenReader("key");
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(*reader, nullptr);
  EXPECT_EQ(EvictTag("red").count, 0U);
  EXPECT_FALSE(Pop("key").applied);
  EXPECT_FALSE(Delete("key").applied);
}

TEST_P(EngineConformance, StatsFollowTheItems) {
  EXPECT_EQ(Stats().live_bytes, 0U);
  ASSERT_TRUE(Set("a", MakeValue(1, 10000)).applied);
  const EngineStats one = Stats();
  EXPECT_GE(one.live_bytes, 10001U);
  EXPECT_LE(one.live_bytes, 11000U);
  EXPECT_EQ(one.count, 1U);
  EXPECT_EQ(one.sets, 1U);
  ASSERT_TRUE(Delete("a").applied);
  EXPECT_EQ(Stats().live_bytes, 0U);
  EXPECT_EQ(Stats().deletes, 1U);
}

TEST_P(EngineConformance, LiveBytesDependOnTheItemsOnlyAndNotOnTheirHistory) {
  const std::vector<std::size_t> sizes = {10, 50000, 300, 5000};
  for (const std::size_t size : sizes) {
    ASSERT_TRUE(SetWithTag("key", MakeValue(1, size), "red").applied);
  }
  const std::uint64_t with_history = Stats().live_bytes;
  ASSERT_TRUE(Run(ClearCommand{}).applied);
  ASSERT_TRUE(SetWithTag("key", MakeValue(1, sizes.back()), "red").applied);
  EXPECT_EQ(Stats().live_bytes, with_history);
}

// Reopening ----------------------------------------------------------------

TEST_P(EngineConformance, ReopenKeepsItemsWithAllTheirProperties) {
  const std::string large = MakeValue(1, 100000);
  ASSERT_TRUE(Run(SetCommand{.key = "small",
                             .value = "v",
                             .codec = 77,
                             .ttl = seconds(60),
                             .tag = "red",
                             .pinned = true})
                  .applied);
  ASSERT_TRUE(Set("large", large).applied);
  const ItemInfo before = Inspect("small").info;
  const EngineStats stats = Stats();
  Reopen();
  const ItemInfo after = Inspect("small").info;
  EXPECT_EQ(after.version, before.version);
  EXPECT_EQ(after.expires_at, before.expires_at);
  EXPECT_EQ(after.stored_at, before.stored_at);
  EXPECT_EQ(after.tag, "red");
  EXPECT_EQ(after.codec, 77);
  EXPECT_TRUE(after.pinned);
  EXPECT_TRUE(Get("large").value.bytes() == large);
  EXPECT_EQ(Stats().live_bytes, stats.live_bytes);
  EXPECT_EQ(Stats().pinned_bytes, stats.pinned_bytes);
  EXPECT_EQ(Count(), 2U);
}

TEST_P(EngineConformance, ReopenLeavesOutWhatExpiredMeanwhile) {
  ASSERT_TRUE(SetWithTtl("a", "v", seconds(5)).applied);
  ASSERT_TRUE(SetWithTtl("b", "v", seconds(50)).applied);
  ASSERT_EQ(engine_->Close().ToString(), "kOk");
  engine_.reset();
  clock_.Advance(seconds(5));
  Reopen();
  EXPECT_EQ(Count(), 1U);
  EXPECT_FALSE(IsLive("a"));
  EXPECT_TRUE(IsLive("b"));
}

TEST_P(EngineConformance, ReopenKeepsDeletesClearsAndEvictedTags) {
  ASSERT_TRUE(Set("cleared", "v").applied);
  ASSERT_TRUE(Run(ClearCommand{}).applied);
  ASSERT_TRUE(Set("deleted", "v").applied);
  ASSERT_TRUE(Delete("deleted").applied);
  ASSERT_TRUE(SetWithTag("tagged", "v", "red").applied);
  ASSERT_EQ(EvictTag("red").count, 1U);
  ASSERT_TRUE(Set("kept", "v").applied);
  Reopen();
  EXPECT_EQ(Count(), 1U);
  EXPECT_FALSE(IsLive("cleared"));
  EXPECT_FALSE(IsLive("deleted"));
  EXPECT_FALSE(IsLive("tagged"));
  EXPECT_TRUE(IsLive("kept"));
}

TEST_P(EngineConformance, ReopenKeepsTotals) {
  ASSERT_TRUE(Set("a", "v").applied);
  ASSERT_TRUE(Get("a").applied);
  ASSERT_FALSE(Get("b").applied);
  ASSERT_TRUE(Delete("a").applied);
  Reopen();
  const EngineStats stats = Stats();
  EXPECT_EQ(stats.sets, 1U);
  EXPECT_EQ(stats.hits, 1U);
  EXPECT_EQ(stats.misses, 1U);
  EXPECT_EQ(stats.deletes, 1U);
}

// Settings -----------------------------------------------------------------

TEST_P(EngineConformance, ResetIsInForceAtOnceAndPersists) {
  ASSERT_EQ(engine_->Reset("size_limit", "64MiB").ToString(), "kOk");
  EXPECT_EQ(engine_->CurrentSettings().size_limit, 64U << 20);
  EXPECT_EQ(Stats().size_limit, 64U << 20);
  Reopen();
  EXPECT_EQ(engine_->CurrentSettings().size_limit, 64U << 20);
}

TEST_P(EngineConformance, SettingGivenAtOpenPersistsTheOthersStay) {
  Reopen({{"size_limit", "64MiB"}, {"default_ttl", "1h"}});
  Reopen({{"default_ttl", "2h"}});
  const Settings settings = engine_->CurrentSettings();
  EXPECT_EQ(settings.size_limit, 64U << 20);
  EXPECT_EQ(settings.default_ttl, hours(2));
}

TEST_P(EngineConformance, UnknownSettingNamesTheNearestAndChangesNothing) {
  const Settings before = engine_->CurrentSettings();
  const Status status = engine_->Reset("sise_limit", "64MiB");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("size_limit"), std::string::npos)
      << status.message();
  EXPECT_EQ(engine_->CurrentSettings(), before);
}

TEST_P(EngineConformance, SettingOutOfItsBoundsIsInvalid) {
  EXPECT_EQ(engine_->Reset("size_limit", "1MiB").code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->Reset("size_limit", "lots").code(),
            StatusCode::kParseError);
  EXPECT_EQ(engine_->CurrentSettings().size_limit, Settings().size_limit);
}

TEST_P(EngineConformance, SettingsVersionChangesWithTheSettings) {
  const std::uint64_t before = engine_->settings_version();
  ASSERT_TRUE(Set("key", "v").applied);
  EXPECT_EQ(engine_->settings_version(), before);
  ASSERT_EQ(engine_->Reset("default_ttl", "1h").ToString(), "kOk");
  EXPECT_TRUE(before == 0 || engine_->settings_version() != before);
}

// Check, Sync, Close -------------------------------------------------------

TEST_P(EngineConformance, CheckOfAHealthyCacheFindsNothing) {
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(
        Set(std::to_string(i), MakeValue(1, static_cast<std::size_t>(i) * 1000))
            .applied);
  }
  ASSERT_TRUE(Delete("7").applied);
  for (const bool repair : {false, true}) {
    const Result<CheckReport> report = engine_->Check(repair);
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_TRUE(report->ok());
    EXPECT_EQ(report->count_recount, 49U);
    EXPECT_EQ(report->count_ledger, 49U);
    EXPECT_EQ(report->bytes_recount, report->bytes_ledger);
    EXPECT_EQ(report->items_checked, 49U);
    EXPECT_TRUE(report->problems.empty()) << report->problems.front();
  }
}

TEST_P(EngineConformance, SyncIsOk) {
  ASSERT_TRUE(Set("a", "1").applied);
  ASSERT_TRUE(Set("b", MakeValue(1, 100000)).applied);
  EXPECT_EQ(engine_->Sync().ToString(), "kOk");
}

TEST_P(EngineConformance, EverythingIsClosedAfterClose) {
  ASSERT_TRUE(Set("key", "v").applied);
  ASSERT_EQ(engine_->Close().ToString(), "kOk");
  EXPECT_EQ(Get("key").status.code(), StatusCode::kClosed);
  EXPECT_EQ(Set("key", "v").status.code(), StatusCode::kClosed);
  EXPECT_EQ(Run(ClearCommand{}).status.code(), StatusCode::kClosed);
  EXPECT_EQ(engine_->OpenScan({}).error().code(), StatusCode::kClosed);
  EXPECT_EQ(engine_->OpenReader("key").error().code(), StatusCode::kClosed);
  EXPECT_EQ(engine_->OpenWriter({.key = "key"}, 0).error().code(),
            StatusCode::kClosed);
  EXPECT_EQ(engine_->Count().error().code(), StatusCode::kClosed);
  EXPECT_EQ(engine_->Stats().error().code(), StatusCode::kClosed);
  EXPECT_EQ(engine_->Check(false).error().code(), StatusCode::kClosed);
  EXPECT_EQ(engine_->Reset("default_ttl", "1h").code(), StatusCode::kClosed);
  EXPECT_EQ(engine_->Sync().code(), StatusCode::kClosed);
  EXPECT_EQ(engine_->Close().ToString(), "kOk") << "closing twice is fine";
  engine_.reset();
}

TEST_P(EngineConformance, SecondRunFindsWhatAnEngineLeftWithoutClose) {
  ASSERT_TRUE(Set("key", "v").applied);
  engine_.reset();
  Reopen();
  EXPECT_EQ(ValueOf("key"), "v");
}

}  // namespace
}  // namespace larder::testing
