#include <string>
#include <utility>
#include <vector>

#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>

#include "cache/cache_fixture.h"
#include "test_values.h"

namespace larder::testing {
namespace {

class CacheCompression : public FacadeTest {
 protected:
  void Use(std::string_view algorithm) {
    ASSERT_EQ(Text(cache_->Reset("compression", algorithm)), "kOk");
  }
  std::uint64_t StoredSize(std::string_view key) {
    return InfoOf(key).size_bytes;
  }

  const std::string text_ = std::string(50000, 'x');
};

TEST_F(CacheCompression, NothingIsCompressedByDefault) {
  ASSERT_EQ(Text(cache_->Set("key", text_)), "kOk");
  EXPECT_EQ(StoredSize("key"), text_.size());
  EXPECT_EQ(InfoOf("key").codec, kCodecIdBytes);
}

TEST_F(CacheCompression, ValuesAreStoredSmallerAndComeBack) {
  for (const char* algorithm : {"lz4", "zstd"}) {
    Use(algorithm);
    ASSERT_EQ(Text(cache_->Set("key", text_)), "kOk");
    EXPECT_LT(StoredSize("key"), text_.size() / 10) << algorithm;
    EXPECT_TRUE(IsCompressed(InfoOf("key").codec));
    const auto value = cache_->Get("key");
    ASSERT_TRUE(value.has_value() && value->has_value());
    EXPECT_EQ((*value)->bytes(), text_);
    EXPECT_EQ((*value)->info.codec, kCodecIdBytes);
  }
}

TEST_F(CacheCompression, TypedValuesAreCompressed) {
  Use("zstd");
  const std::vector<std::string> names(1000, "the same name");
  ASSERT_EQ(Text(cache_->Set("names", names)), "kOk");
  EXPECT_LT(StoredSize("names"), 1000U);
  EXPECT_EQ(**cache_->Get<std::vector<std::string>>("names"), names);
  EXPECT_EQ(cache_->Get<std::string>("names").error().code(),
            StatusCode::kTypeMismatch);
  EXPECT_EQ(**cache_->Pop<std::vector<std::string>>("names"), names);
}

TEST_F(CacheCompression, ValuesBelowTheMinimumStayAsTheyAre) {
  Use("lz4");
  ASSERT_EQ(Text(cache_->Reset("compression_min", "2000")), "kOk");
  ASSERT_EQ(Text(cache_->Set("below", std::string(1999, 'x'))), "kOk");
  ASSERT_EQ(Text(cache_->Set("at", std::string(2000, 'x'))), "kOk");
  EXPECT_EQ(StoredSize("below"), 1999U);
  EXPECT_LT(StoredSize("at"), 2000U);
}

TEST_F(CacheCompression, WhatDoesNotShrinkStaysAsItIs) {
  Use("zstd");
  const std::string random = MakeValue(1, 5000);
  ASSERT_EQ(Text(cache_->Set("key", random)), "kOk");
  EXPECT_EQ(StoredSize("key"), 5000U);
  EXPECT_FALSE(IsCompressed(InfoOf("key").codec));
  EXPECT_EQ(BytesOf("key"), random);
}

TEST_F(CacheCompression, IntegersStayReadableForIncr) {
  Use("lz4");
  ASSERT_EQ(Text(cache_->Reset("compression_min", "0")), "kOk");
  ASSERT_EQ(Text(cache_->Set("n", 0)), "kOk");
  EXPECT_EQ(InfoOf("n").codec, kCodecInt64);
  EXPECT_EQ(*cache_->Incr("n"), 1);
}

TEST_F(CacheCompression, SwitchingIsInForceAtOnceAndOldValuesStayReadable) {
  ASSERT_EQ(Text(cache_->Set("plain", text_)), "kOk");
  Use("lz4");
  ASSERT_EQ(Text(cache_->Set("lz4", text_)), "kOk");
  ASSERT_EQ(Text(cache_->engine().Reset("compression", "zstd")), "kOk");
  ASSERT_EQ(Text(cache_->Set("zstd", text_)), "kOk");
  Use("none");
  ASSERT_EQ(Text(cache_->Set("none", text_)), "kOk");
  EXPECT_LT(StoredSize("zstd"), StoredSize("lz4"));
  EXPECT_EQ(StoredSize("none"), text_.size());
  for (const char* key : {"plain", "lz4", "zstd", "none"}) {
    EXPECT_EQ(BytesOf(key), text_) << key;
  }
}

TEST_F(CacheCompression, EngineThatDoesNotTrackSettingsIsAskedEachTime) {
  spy_->tracks_settings = false;
  ASSERT_EQ(Text(cache_->Set("key", text_)), "kOk");
  EXPECT_EQ(StoredSize("key"), text_.size());
  Use("lz4");
  ASSERT_EQ(Text(cache_->Set("key", text_)), "kOk");
  EXPECT_LT(StoredSize("key"), text_.size());
}

TEST_F(CacheCompression, AddAndCompareAndSetCompress) {
  Use("lz4");
  ASSERT_TRUE(*cache_->Add("added", text_));
  ASSERT_TRUE(cache_->CompareAndSet("swapped", 0, text_)->has_value());
  EXPECT_LT(StoredSize("added"), text_.size());
  EXPECT_LT(StoredSize("swapped"), text_.size());
  EXPECT_EQ(BytesOf("added"), text_);
  EXPECT_EQ(BytesOf("swapped"), text_);
}

TEST_F(CacheCompression, BatchesCompress) {
  Use("lz4");
  const std::string random = MakeValue(1, 5000);
  const std::vector<SetItem> items = {
      {"a", text_}, {"b", "short"}, {"c", random}, {"d", text_}};
  ASSERT_EQ(Text(cache_->SetMany(items)), "kOk");
  WriteBatch batch;
  batch.Set("e", text_);
  batch.Set("f", text_);
  ASSERT_EQ(Text(cache_->Write(batch)), "kOk");
  for (const char* key : {"a", "d", "e", "f"}) {
    EXPECT_LT(StoredSize(key), text_.size()) << key;
    EXPECT_EQ(BytesOf(key), text_) << key;
  }
  const auto values =
      cache_->MultiGet(std::vector<std::string_view>{"a", "b", "c"});
  ASSERT_TRUE(values.has_value());
  EXPECT_EQ((*values)[0]->bytes(), text_);
  EXPECT_EQ((*values)[1]->bytes(), "short");
  EXPECT_EQ((*values)[2]->bytes(), random);
}

TEST_F(CacheCompression, ScansFirstLastAndPopGiveOriginals) {
  Use("zstd");
  ASSERT_EQ(Text(cache_->Set("a", text_)), "kOk");
  ASSERT_EQ(Text(cache_->Set("b", text_ + "b")), "kOk");
  const auto scan = cache_->OpenScan({.with_values = true});
  ASSERT_TRUE(scan.has_value());
  const auto page = (*scan)->Next(10);
  ASSERT_EQ(page->size(), 2U);
  EXPECT_EQ((*page)[0].value.bytes(), text_);
  EXPECT_EQ((*page)[0].info.codec, kCodecIdBytes);
  EXPECT_EQ((*cache_->First())->value.bytes(), text_);
  EXPECT_EQ((*cache_->Last())->value.bytes(), text_ + "b");
  EXPECT_EQ((*cache_->Pop("a"))->bytes(), text_);
}

TEST_F(CacheCompression, ReaderGivesTheOriginal) {
  Use("lz4");
  ASSERT_EQ(Text(cache_->Set("key", text_)), "kOk");
  const auto reader = cache_->OpenReader("key");
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ((*reader)->info().codec, kCodecIdBytes);
  std::string bytes(text_.size() + 10, '\0');
  const auto first = (*reader)->Read(std::span(bytes).first(100));
  EXPECT_EQ(*first, 100U);
  const auto rest = (*reader)->Read(std::span(bytes).subspan(100));
  EXPECT_EQ(*rest, text_.size() - 100);
  EXPECT_EQ(bytes.substr(0, text_.size()), text_);
  EXPECT_EQ(*(*reader)->Read(bytes), 0U);
}

TEST_F(CacheCompression, StreamedValuesAreNotCompressed) {
  Use("lz4");
  auto writer = cache_->OpenWriter("key");
  ASSERT_TRUE(writer.has_value());
  ASSERT_EQ(Text((*writer)->Append(text_)), "kOk");
  ASSERT_TRUE((*writer)->Commit().applied);
  EXPECT_EQ(StoredSize("key"), text_.size());
  EXPECT_EQ(BytesOf("key"), text_);
}

// A frame that cannot be unpacked, as a foreign writer might leave it.
TEST_F(CacheCompression, BadFrameIsCorruptionAndLeftOutOfScans) {
  const Command set = SetCommand{
      .key = "bad", .value = "\x01garbage", .codec = kCodecIdCompressedFlag};
  Reply reply;
  ASSERT_EQ(Text(cache_->engine().Execute({&set, 1}, {&reply, 1})), "kOk");
  ASSERT_EQ(Text(cache_->Set("good", "v")), "kOk");
  EXPECT_EQ(cache_->Get("bad").error().code(), StatusCode::kCorruption);
  EXPECT_EQ(cache_->Get<std::string>("bad").error().code(),
            StatusCode::kCorruption);
  EXPECT_EQ(cache_->OpenReader("bad").error().code(), StatusCode::kCorruption);
  const auto values =
      cache_->MultiGet(std::vector<std::string_view>{"bad", "good"});
  EXPECT_FALSE((*values)[0].has_value());
  EXPECT_TRUE((*values)[1].has_value());
  EXPECT_EQ((*cache_->First())->key, "good");
}

}  // namespace
}  // namespace larder::testing
