// Large values of clients, which lie in segment files and do not travel.

#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "remote_places.h"
#include "store.h"
#include "temporary_directory.h"
#include "test_values.h"

namespace larder::testing {
namespace {

constexpr std::uint64_t kClient = 7;

class PlacedValuesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = Store::Open(
        path_, {.settings = {{"size_limit", "64MiB"}}, .background = false});
    ASSERT_TRUE(store.has_value()) << store.error().ToString();
    store_ = *std::move(store);
  }
  Grant GrantFor(std::string_view key, std::size_t size) {
    auto grant = store_->GrantPlaces(
        kClient, {.key_size = static_cast<std::uint32_t>(key.size()),
                  .value_size = size});
    EXPECT_TRUE(grant.has_value()) << grant.error().ToString();
    return grant.value_or(Grant());
  }
  // The client's second message: the value is there.
  std::string SetAs(std::uint64_t uid, std::string_view key, std::size_t size,
                    const Grant& grant) {
    const PlacedValue written[] = {{.index = 0,
                                    .value_size = size,
                                    .version = grant.version,
                                    .chunks = grant.chunks}};
    PlacedValues placed;
    placed.written = written;
    const Command command = SetCommand{.key = key};
    Reply reply;
    const Status status = store_->ExecuteAs({uid, ++sequence_}, {&command, 1},
                                            {&reply, 1}, {}, placed);
    return status.ok() ? reply.status.ToString() : status.ToString();
  }
  std::string Get(std::string_view key) {
    const Command command = GetCommand{.key = key};
    Reply reply;
    EXPECT_TRUE(store_->Execute({&command, 1}, {&reply, 1}, {}).ok());
    return reply.applied ? reply.value.ToString() : "(absent)";
  }
  // Sets "key"; a client is told where its value lies.
  void SetAndFind(std::string_view value, PlacedValues& placed) {
    const Command set = SetCommand{.key = "key", .value = value};
    Reply reply;
    ASSERT_TRUE(store_->Execute({&set, 1}, {&reply, 1}, {}).ok());
    placed.wanted = true;
    const Command get = GetCommand{.key = "key"};
    reply = Reply();
    ASSERT_TRUE(
        store_->ExecuteAs({kClient, 1}, {&get, 1}, {&reply, 1}, {}, placed)
            .ok());
    EXPECT_TRUE(reply.applied);
    EXPECT_TRUE(reply.value.bytes().empty());
    ASSERT_EQ(placed.found.size(), 1U);
  }
  void ExpectSound() {
    const auto report = store_->Check(false);
    ASSERT_TRUE(report.has_value());
    EXPECT_TRUE(report->ok());
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "cache";
  std::unique_ptr<Store> store_;
  RemotePlaces places_{path_};
  std::uint64_t sequence_ = 0;
};

TEST_F(PlacedValuesTest, WhatAClientWritesIsTheValue) {
  const std::string value = MakeValue(1, 300'000);
  const Grant grant = GrantFor("key", value.size());
  const SetCommand command{.key = "key", .value = value};
  ASSERT_EQ(places_.Write(command, grant).ToString(), "kOk");
  EXPECT_EQ(Get("key"), "(absent)");
  EXPECT_EQ(SetAs(kClient, "key", value.size(), grant), "kOk");
  EXPECT_TRUE(Get("key") == value);
  ExpectSound();
}

TEST_F(PlacedValuesTest, ReadingSaysWhereAndTheClientReadsThere) {
  const std::string value = MakeValue(2, 100'000);
  PlacedValues placed;
  ASSERT_NO_FATAL_FAILURE(SetAndFind(value, placed));
  const auto read = places_.Read("key", placed.found[0], VerifyReads::kAlways);
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_TRUE(read->bytes() == value);
  // Not taken for another key's, or another version's.
  EXPECT_EQ(
      places_.Read("kez", placed.found[0], VerifyReads::kAlways).error().code(),
      StatusCode::kCorruption);
  PlacedValue older = placed.found[0];
  --older.version;
  EXPECT_EQ(places_.Read("key", older, VerifyReads::kAlways).error().code(),
            StatusCode::kCorruption);
}

// A mapping keeps the blocks of a file that the holder has removed.
TEST_F(PlacedValuesTest, FilesAreLetGoWithoutAnotherRead) {
  const auto mapped = [this] {
    std::ifstream maps("/proc/self/maps");
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);) {
      // Those of the client: the holder has not read anything.
      if (line.find(path_.string() + "/log/") != std::string::npos) ++count;
    }
    return count;
  };
  const std::string value = MakeValue(2, 100'000);
  PlacedValues placed;
  ASSERT_NO_FATAL_FAILURE(SetAndFind(value, placed));
  ASSERT_TRUE(places_.Read("key", placed.found[0], VerifyReads::kOnce));
  EXPECT_EQ(mapped(), 1U);
  for (int i = 0; i < 1'000 && mapped() != 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(mapped(), 0U);
  ASSERT_TRUE(places_.Read("key", placed.found[0], VerifyReads::kOnce));
  EXPECT_EQ(mapped(), 1U);
}

TEST_F(PlacedValuesTest, ValueOverTheEndOfASegmentIsInPieces) {
  std::size_t in_pieces = 0;
  for (int i = 0; i < 12; ++i) {
    const std::string key = "key" + std::to_string(i);
    const std::string value = MakeValue(static_cast<std::uint64_t>(i), 700'000);
    const Grant grant = GrantFor(key, value.size());
    if (grant.chunks.size() > 1) ++in_pieces;
    ASSERT_TRUE(places_.Write({.key = key, .value = value}, grant).ok());
    ASSERT_EQ(SetAs(kClient, key, value.size(), grant), "kOk");
    EXPECT_TRUE(Get(key) == value);
  }
  EXPECT_GT(in_pieces, 0U);
  ExpectSound();
}

TEST_F(PlacedValuesTest, GrantIsOfOneClientAndForOneUse) {
  const std::string value = MakeValue(3, 50'000);
  const Grant grant = GrantFor("key", value.size());
  ASSERT_TRUE(places_.Write({.key = "key", .value = value}, grant).ok());
  EXPECT_EQ(SetAs(kClient + 1, "key", value.size(), grant).substr(0, 5),
            "kGone");
  EXPECT_EQ(SetAs(kClient, "key", value.size(), grant), "kOk");
  EXPECT_EQ(SetAs(kClient, "key", value.size(), grant).substr(0, 5), "kGone");
}

TEST_F(PlacedValuesTest, GrantDiesWithItsClient) {
  const std::string value = MakeValue(4, 50'000);
  const Grant grant = GrantFor("key", value.size());
  ASSERT_TRUE(places_.Write({.key = "key", .value = value}, grant).ok());
  store_->ForgetClient(kClient);
  EXPECT_EQ(SetAs(kClient, "key", value.size(), grant).substr(0, 5), "kGone");
  EXPECT_EQ(Get("key"), "(absent)");
  ExpectSound();
}

TEST_F(PlacedValuesTest, WhatWasNotWrittenIsNotSet) {
  const std::string value = MakeValue(5, 50'000);
  const Grant grant = GrantFor("key", value.size());
  EXPECT_EQ(SetAs(kClient, "key", value.size(), grant).substr(0, 11),
            "kCorruption");
  const Grant other = GrantFor("key", value.size());
  ASSERT_TRUE(places_.Write({.key = "kez", .value = value}, other).ok());
  EXPECT_EQ(SetAs(kClient, "key", value.size(), other).substr(0, 11),
            "kCorruption");
  EXPECT_EQ(Get("key"), "(absent)");
  ExpectSound();
}

TEST_F(PlacedValuesTest, GrantsAreBounded) {
  std::vector<Grant> grants;
  for (int i = 0; i < 100; ++i) {
    auto grant =
        store_->GrantPlaces(kClient, {.key_size = 3, .value_size = 20'000});
    if (!grant) break;
    grants.push_back(std::move(*grant));
  }
  EXPECT_LT(grants.size(), 100U);
  store_->DropGrant(kClient, grants.front().version);
  EXPECT_TRUE(
      store_->GrantPlaces(kClient, {.key_size = 3, .value_size = 20'000}));
  EXPECT_EQ(
      store_
          ->GrantPlaces(kClient + 1, {.key_size = 3, .value_size = 1ULL << 40})
          .error()
          .code(),
      StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace larder::testing
