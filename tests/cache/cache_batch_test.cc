#include <string>
#include <utility>
#include <vector>

#include "cache/cache_fixture.h"

namespace larder::testing {
namespace {

using CacheBatches = FacadeTest;
using Views = std::vector<std::string_view>;

TEST_F(CacheBatches, MultiGetAnswersInTheOrderOfTheKeys) {
  ASSERT_EQ(Text(cache_->Set("a", "1")), "kOk");
  ASSERT_EQ(Text(cache_->Set("b", "2")), "kOk");
  const auto values = cache_->MultiGet(Views{"b", "nobody", "a", "b"});
  ASSERT_TRUE(values.has_value());
  ASSERT_EQ(values->size(), 4U);
  EXPECT_EQ((*values)[0]->bytes(), "2");
  EXPECT_FALSE((*values)[1].has_value());
  EXPECT_EQ((*values)[2]->bytes(), "1");
  EXPECT_EQ((*values)[3]->bytes(), "2");
  EXPECT_EQ(spy_->calls.back().command_count, 4U);
}

TEST_F(CacheBatches, MultiGetTakesADamagedValueAsAMiss) {
  ASSERT_EQ(Text(cache_->Set("a", "1")), "kOk");
  spy_->fail_next_reply = {1, Status::Corruption("bad checksum")};
  const auto values = cache_->MultiGet(Views{"a", "damaged", "a"});
  ASSERT_TRUE(values.has_value());
  EXPECT_TRUE((*values)[0].has_value());
  EXPECT_FALSE((*values)[1].has_value());
  EXPECT_TRUE((*values)[2].has_value());
}

TEST_F(CacheBatches, MultiGetPassesOtherErrorsOn) {
  spy_->fail_next_reply = {1, Status::IoError("cable")};
  EXPECT_EQ(Text(cache_->MultiGet(Views{"a", "b"})), "kIoError: cable");
}

TEST_F(CacheBatches, SetManyIsOneCallThatMakesAllOrNothing) {
  const std::vector<SetItem> items = {{"a", "1"}, {"b", "2"}, {"a", "3"}};
  ASSERT_EQ(Text(cache_->SetMany(items, {.ttl = seconds(5),
                                         .tag = "red",
                                         .durability = Durability::kNone})),
            "kOk");
  ASSERT_EQ(spy_->calls.size(), 1U);
  EXPECT_EQ(spy_->calls[0].command_count, 3U);
  EXPECT_TRUE(spy_->calls[0].options.all_or_nothing);
  EXPECT_EQ(spy_->calls[0].options.durability, Durability::kNone);
  EXPECT_EQ(BytesOf("a"), "3");
  EXPECT_EQ(BytesOf("b"), "2");
  EXPECT_EQ(InfoOf("b").expires_at, clock_.Now() + seconds(5));
  EXPECT_EQ(*cache_->Evict("red"), 2U);
}

TEST_F(CacheBatches, SetManyStoresNothingIfOneItemIsTooLarge) {
  ASSERT_EQ(Text(cache_->Reset("item_size_limit", "10")), "kOk");
  const std::vector<SetItem> items = {{"a", "1"}, {"b", "12345678901"}};
  EXPECT_EQ(cache_->SetMany(items).code(), StatusCode::kTooLarge);
  EXPECT_EQ(*cache_->Count(), 0U);
}

TEST_F(CacheBatches, SetManyStoresNothingIfOneKeyIsTooLarge) {
  const std::string key(kKeySizeBytesMax + 7, 'k');
  const std::vector<SetItem> items = {{"a", "1"}, {key, "2"}};
  const Status status = cache_->SetMany(items);
  EXPECT_EQ(status.code(), StatusCode::kKeyTooLarge);
  EXPECT_NE(status.message().find("65543"), std::string::npos);
  EXPECT_EQ(*cache_->Count(), 0U);
}

TEST_F(CacheBatches, CallsOnTooManyItemsAreInvalid) {
  const std::vector<SetItem> items(kBatchCommandCountMax + 1,
                                   SetItem{"key", "v"});
  const Views keys(kBatchCommandCountMax + 1, "key");
  WriteBatch batch;
  for (std::size_t i = 0; i <= kBatchCommandCountMax; ++i) batch.Delete("key");
  EXPECT_EQ(cache_->SetMany(items).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(cache_->MultiGet(keys).error().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(cache_->DeleteMany(keys).error().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(cache_->Write(batch).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(spy_->calls.empty());
}

TEST_F(CacheBatches, CallsOnNoItemsDoNothing) {
  EXPECT_EQ(Text(cache_->SetMany({})), "kOk");
  EXPECT_TRUE(cache_->MultiGet({})->empty());
  EXPECT_EQ(*cache_->DeleteMany({}), 0U);
  EXPECT_EQ(Text(cache_->Write(WriteBatch())), "kOk");
}

TEST_F(CacheBatches, DeleteManyCountsTheLive) {
  ASSERT_EQ(Text(cache_->Set("a", "1")), "kOk");
  ASSERT_EQ(Text(cache_->Set("b", "2")), "kOk");
  EXPECT_EQ(*cache_->DeleteMany(Views{"a", "nobody", "b", "a"}), 2U);
  EXPECT_EQ(*cache_->Count(), 0U);
  EXPECT_EQ(spy_->calls.back().command_count, 4U);
}

TEST_F(CacheBatches, WriteMakesTheChangesInTheirOrder) {
  ASSERT_EQ(Text(cache_->Set("gone", "v")), "kOk");
  WriteBatch batch;
  batch.Set("a", "1");
  batch.Set("a", "2", {.ttl = seconds(5), .tag = "red"});
  batch.Delete("gone");
  batch.Incr("n", 5, 100);
  batch.Incr("n");
  batch.Touch("a", seconds(50));
  EXPECT_EQ(Text(batch.Set("typed", 3.5)), "kOk");
  EXPECT_EQ(batch.size(), 7U);
  spy_->calls.clear();
  ASSERT_EQ(Text(cache_->Write(batch, Durability::kPower)), "kOk");
  ASSERT_EQ(spy_->calls.size(), 1U);
  EXPECT_EQ(spy_->calls[0].options.durability, Durability::kPower);
  EXPECT_EQ(BytesOf("a"), "2");
  EXPECT_EQ(InfoOf("a").expires_at, clock_.Now() + seconds(50));
  EXPECT_EQ(InfoOf("a").tag, "red");
  EXPECT_FALSE(*cache_->Contains("gone"));
  EXPECT_EQ(**cache_->Get<int>("n"), 106);
  EXPECT_EQ(**cache_->Get<double>("typed"), 3.5);
}

TEST_F(CacheBatches, WriteMakesNothingIfOneChangeFails) {
  ASSERT_EQ(Text(cache_->Set("text", "abc")), "kOk");
  WriteBatch batch;
  batch.Set("a", "1");
  batch.Incr("text");
  batch.Delete("text");
  EXPECT_EQ(cache_->Write(batch).code(), StatusCode::kTypeMismatch);
  EXPECT_FALSE(*cache_->Contains("a"));
  EXPECT_EQ(BytesOf("text"), "abc");
}

TEST_F(CacheBatches, BatchOwnsCopiesOfWhatItIsGiven) {
  WriteBatch batch;
  for (int i = 0; i < 300; ++i) {
    const std::string key = "key" + std::to_string(i);
    const std::string value(static_cast<std::size_t>(i) * 777, 'x');
    batch.Set(key, value, {.tag = std::string(3, 't')});
  }
  ASSERT_EQ(Text(cache_->Write(batch)), "kOk");
  EXPECT_EQ(*cache_->Count(), 300U);
  EXPECT_EQ(BytesOf("key299"), std::string(299 * 777, 'x'));
  EXPECT_EQ(*cache_->Evict("ttt"), 300U);
}

TEST_F(CacheBatches, BatchCanBeWrittenTwiceMovedAndCleared) {
  WriteBatch batch;
  batch.Incr("n");
  ASSERT_EQ(Text(cache_->Write(batch)), "kOk");
  WriteBatch moved = std::move(batch);
  ASSERT_EQ(Text(cache_->Write(moved)), "kOk");
  EXPECT_EQ(**cache_->Get<int>("n"), 2);
  moved.Clear();
  EXPECT_EQ(moved.size(), 0U);
  moved.Set("a", "again");
  EXPECT_EQ(moved.size(), 1U);
  ASSERT_EQ(Text(cache_->Write(moved)), "kOk");
  EXPECT_EQ(BytesOf("a"), "again");
}

TEST_F(CacheBatches, MovedFromBatchIsEmptyAndUsable) {
  WriteBatch batch;
  batch.Set("a", "1");
  WriteBatch moved = std::move(batch);
  EXPECT_EQ(batch.size(), 0U);  // NOLINT: what a moved-from batch promises.
  batch.Set("b", "2");
  ASSERT_EQ(Text(cache_->Write(batch)), "kOk");
  EXPECT_EQ(BytesOf("a"), "(miss)");
  EXPECT_EQ(BytesOf("b"), "2");
}

TEST_F(CacheBatches, DeleteAndTouchOfAbsentKeysAreNoFailure) {
  WriteBatch batch;
  batch.Delete("nobody");
  batch.Touch("nobody", seconds(5));
  batch.Set("a", "1");
  EXPECT_EQ(Text(cache_->Write(batch)), "kOk");
  EXPECT_EQ(BytesOf("a"), "1");
}

}  // namespace
}  // namespace larder::testing
