#include <string>

#include "cache/cache_fixture.h"
#include "test_values.h"

namespace larder::testing {
namespace {

using CacheScans = FacadeTest;

TEST_F(CacheScans, FirstAndLastOfAnEmptyCacheAreNone) {
  EXPECT_FALSE(cache_->First()->has_value());
  EXPECT_FALSE(cache_->Last()->has_value());
}

TEST_F(CacheScans, FirstAndLastAreTheSmallestAndLargestLiveKeys) {
  ASSERT_EQ(Text(cache_->Set("b", "2", {.tag = "red"})), "kOk");
  ASSERT_EQ(Text(cache_->Set("c", "3")), "kOk");
  ASSERT_EQ(Text(cache_->Set("a", "dead", {.ttl = seconds(0)})), "kOk");
  const auto first = cache_->First();
  EXPECT_EQ((*first)->key, "b");
  EXPECT_EQ((*first)->value.bytes(), "2");
  EXPECT_EQ((*first)->info.tag, "red");
  EXPECT_EQ((*cache_->Last())->key, "c");
}

TEST_F(CacheScans, ScanOptionsReachTheEngine) {
  for (const char* key : {"a1", "a2", "b1"}) {
    ASSERT_EQ(Text(cache_->Set(key, "v", {.tag = "red"})), "kOk");
  }
  ASSERT_EQ(Text(cache_->Set("a3", "v")), "kOk");
  const auto scan =
      cache_->OpenScan({.prefix = "a", .tag = "red", .reverse = true});
  ASSERT_TRUE(scan.has_value());
  const auto page = (*scan)->Next(10);
  ASSERT_EQ(page->size(), 2U);
  EXPECT_EQ((*page)[0].key, "a2");
  EXPECT_EQ((*page)[1].key, "a1");
  EXPECT_EQ((*page)[0].value.size(), 0U);
}

TEST_F(CacheScans, WriterTakesOptionsAndAppearsWithCommit) {
  const std::string value = MakeValue(1, 300000);
  auto writer =
      cache_->OpenWriter("key", {.ttl = seconds(9), .tag = "red"}, 300000);
  ASSERT_TRUE(writer.has_value());
  ASSERT_EQ(Text((*writer)->Append(value.substr(0, 1000))), "kOk");
  ASSERT_EQ(Text((*writer)->Append(value.substr(1000))), "kOk");
  EXPECT_FALSE(*cache_->Contains("key"));
  EXPECT_TRUE((*writer)->Commit().applied);
  EXPECT_EQ(BytesOf("key"), value);
  EXPECT_EQ(InfoOf("key").tag, "red");
  EXPECT_EQ(InfoOf("key").expires_at, clock_.Now() + seconds(9));
}

TEST_F(CacheScans, ReaderOfAnAbsentKeyIsNull) {
  const auto reader = cache_->OpenReader("nobody");
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ(*reader, nullptr);
}

TEST_F(CacheScans, ReaderReadsWhatSetStored) {
  ASSERT_EQ(Text(cache_->Set("key", "value")), "kOk");
  const auto reader = cache_->OpenReader("key");
  ASSERT_TRUE(reader.has_value());
  std::string buffer(10, '\0');
  EXPECT_EQ(*(*reader)->Read(buffer), 5U);
  EXPECT_EQ(buffer.substr(0, 5), "value");
}

}  // namespace
}  // namespace larder::testing
