#include "commit/live_settings.h"

#include <cstdint>

#include <gtest/gtest.h>

namespace larder::testing {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

Settings Limited(std::uint64_t size_limit) {
  Settings settings;
  settings.size_limit = size_limit;
  return settings;
}

TEST(LiveSettings, ASegmentIsAPartOfTheLimitWithinBounds) {
  EXPECT_EQ(SegmentSizeFor(1 * kMiB), kMiB / 2);
  EXPECT_EQ(SegmentSizeFor(64 * kMiB), kMiB / 2);
  EXPECT_EQ(SegmentSizeFor(256 * kMiB), 2 * kMiB);
  EXPECT_EQ(SegmentSizeFor(1024 * 1024 * kMiB), 64 * kMiB);
}

TEST(LiveSettings, ScansHoldOneCacheBesidesTheLimit) {
  Settings settings = Limited(256 * kMiB);
  EXPECT_EQ(ScanHoldMaxFor(settings), 256 * kMiB);
  EXPECT_EQ(CacheLimitFor(settings), 256 * kMiB);
  settings.scan_hold_max = 10 * kMiB;
  EXPECT_EQ(ScanHoldMaxFor(settings), 10 * kMiB);
  settings.scan_hold_max = 1;  // A segment at least.
  EXPECT_EQ(ScanHoldMaxFor(settings), 2 * kMiB);
}

TEST(LiveSettings, OrAQuarterOfIt) {
  Settings settings = Limited(256 * kMiB);
  settings.scan_hold_counts = ScanHoldCounts::kYes;
  EXPECT_EQ(ScanHoldMaxFor(settings), 64 * kMiB);
  EXPECT_EQ(CacheLimitFor(settings), 192 * kMiB);
  settings.scan_hold_max = 100 * kMiB;
  EXPECT_EQ(CacheLimitFor(settings), 192 * kMiB);
  settings.scan_hold_max = 10 * kMiB;
  EXPECT_EQ(CacheLimitFor(settings), 246 * kMiB);
}

TEST(LiveSettings, EachWordIsThatOfTheSetting) {
  Settings settings = Limited(256 * kMiB);
  settings.scan_hold_max = 10 * kMiB;
  settings.scan_hold_counts = ScanHoldCounts::kYes;
  settings.min_free_bytes = 1001;
  settings.item_count_limit = 1002;
  settings.item_size_limit = 1003;
  settings.large_value_min = 1004;
  settings.inline_value_max = 1005;
  settings.default_ttl = Duration(1006);
  settings.durability = Durability::kPower;
  settings.verify_reads = VerifyReads::kOnce;
  settings.when_full = WhenFull::kFail;
  LiveSettings live;
  live.Apply(settings, "adaptive");
  EXPECT_EQ(live.cache_limit(), 246 * kMiB);
  EXPECT_EQ(live.scan_hold_max(), 10 * kMiB);
  EXPECT_EQ(live.segment_size(), 2 * kMiB);
  EXPECT_EQ(live.min_free_bytes(), 1001U);
  EXPECT_EQ(live.item_count_limit(), 1002U);
  EXPECT_EQ(live.item_size_limit(), 1003U);
  EXPECT_EQ(live.large_value_min(), 1004U);
  EXPECT_EQ(live.inline_value_max(), 1005U);
  EXPECT_EQ(live.default_ttl(), Duration(1006));
  EXPECT_EQ(live.durability(), Durability::kPower);
  EXPECT_EQ(live.verify_reads(), VerifyReads::kOnce);
  EXPECT_EQ(live.when_full(), WhenFull::kFail);
  EXPECT_EQ(live.all().min_free_bytes, 1001U);
}

TEST(LiveSettings, ThePolicyThatRunsStaysUntilAnotherDoes) {
  LiveSettings live;
  Settings settings = Limited(64 * kMiB);
  settings.policy = "own";
  live.Apply(settings, "adaptive");
  EXPECT_EQ(live.policy().set, "own");
  EXPECT_EQ(live.policy().running, "adaptive");
  settings.min_free_bytes = 1;
  live.Apply(settings, std::nullopt);
  EXPECT_EQ(live.policy().running, "adaptive");
  live.SetRunningPolicy("own");
  EXPECT_EQ(live.policy().set, "own");
  EXPECT_EQ(live.policy().running, "own");
}

TEST(LiveSettings, AVersionIsOfWhatWasAnnounced) {
  LiveSettings live;
  const std::uint64_t before = live.version();
  live.Apply(Limited(64 * kMiB), "adaptive");
  EXPECT_EQ(live.version(), before);
  live.Announce();
  EXPECT_EQ(live.version(), before + 1);
}

}  // namespace
}  // namespace larder::testing
