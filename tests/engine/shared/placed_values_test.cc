// Large values of clients, which lie in segment files and do not travel.

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "larder/engine/engine.h"

#include "forked_process.h"
#include "shared/remote_places.h"
#include "store/store.h"
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
    auto anchor = DirectoryAnchor::Open(path_);
    ASSERT_TRUE(anchor.has_value()) << anchor.error().ToString();
    places_ = std::make_unique<RemotePlaces>(*std::move(anchor));
    store_->SetLogGeneration(&generation_);
  }
  Status Write(std::string_view key, std::string_view value,
               const Grant& grant) {
    return places_->Write(SetCommand{.key = key, .value = value}, grant,
                          generation_);
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
  std::string SetHere(std::string_view key, std::string_view value) {
    const Command command = SetCommand{.key = key, .value = value};
    Reply reply;
    return store_->Execute({&command, 1}, {&reply, 1}, {}).ToString();
  }
  // The write-ahead log may not grow for a moment.
  void FailOneWrite() {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit old{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = old.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
    EXPECT_NE(SetHere("other", "x"), "kOk");
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  }
  // A holder that does `run` and is killed when `then` has been called.
  void InKilledHolder(
      const std::function<void(const ForkedProcess::Pipe&)>& run,
      const std::function<void(const ForkedProcess&)>& then) {
    const ForkedProcess holder([&](const ForkedProcess::Pipe& pipe) {
      SetUp();
      run(pipe);
      pipe.Send(1);
      for (;;) ::pause();
      return 0;
    });
    then(holder);
    ASSERT_TRUE(holder.Receive().has_value());
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
  std::atomic<std::uint64_t> generation_{0};
  std::unique_ptr<Store> store_;
  std::unique_ptr<RemotePlaces> places_;
  std::uint64_t sequence_ = 0;
};

TEST_F(PlacedValuesTest, WhatAClientWritesIsTheValue) {
  const std::string value = MakeValue(1, 300'000);
  const Grant grant = GrantFor("key", value.size());
  ASSERT_EQ(Write("key", value, grant).ToString(), "kOk");
  EXPECT_EQ(Get("key"), "(absent)");
  EXPECT_EQ(SetAs(kClient, "key", value.size(), grant), "kOk");
  EXPECT_TRUE(Get("key") == value);
  ExpectSound();
}

TEST_F(PlacedValuesTest, ReadingSaysWhereAndTheClientReadsThere) {
  const std::string value = MakeValue(2, 100'000);
  PlacedValues placed;
  ASSERT_NO_FATAL_FAILURE(SetAndFind(value, placed));
  const auto read = places_->Read("key", placed.found[0], VerifyReads::kAlways,
                                  ReadMode::kMap);
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_TRUE(read->bytes() == value);
  // Not taken for another key's, or another version's.
  EXPECT_EQ(
      places_
          ->Read("kez", placed.found[0], VerifyReads::kAlways, ReadMode::kMap)
          .error()
          .code(),
      StatusCode::kCorruption);
  PlacedValue older = placed.found[0];
  --older.version;
  EXPECT_EQ(places_->Read("key", older, VerifyReads::kAlways, ReadMode::kMap)
                .error()
                .code(),
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
  ASSERT_TRUE(places_->Read("key", placed.found[0], VerifyReads::kOnce,
                            ReadMode::kMap));
  EXPECT_EQ(mapped(), 1U);
  for (int i = 0; i < 1'000 && mapped() != 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(mapped(), 0U);
  ASSERT_TRUE(places_->Read("key", placed.found[0], VerifyReads::kOnce,
                            ReadMode::kMap));
  EXPECT_EQ(mapped(), 1U);
}

TEST_F(PlacedValuesTest, ValueOverTheEndOfASegmentIsInPieces) {
  std::size_t in_pieces = 0;
  for (int i = 0; i < 12; ++i) {
    const std::string key = "key" + std::to_string(i);
    const std::string value = MakeValue(static_cast<std::uint64_t>(i), 700'000);
    const Grant grant = GrantFor(key, value.size());
    if (grant.chunks.size() > 1) ++in_pieces;
    ASSERT_TRUE(Write(key, value, grant).ok());
    ASSERT_EQ(SetAs(kClient, key, value.size(), grant), "kOk");
    EXPECT_TRUE(Get(key) == value);
  }
  EXPECT_GT(in_pieces, 0U);
  ExpectSound();
}

TEST_F(PlacedValuesTest, GrantIsOfOneClientAndForOneUse) {
  const std::string value = MakeValue(3, 50'000);
  const Grant grant = GrantFor("key", value.size());
  ASSERT_TRUE(Write("key", value, grant).ok());
  EXPECT_EQ(SetAs(kClient + 1, "key", value.size(), grant).substr(0, 5),
            "kGone");
  EXPECT_EQ(SetAs(kClient, "key", value.size(), grant), "kOk");
  EXPECT_EQ(SetAs(kClient, "key", value.size(), grant).substr(0, 5), "kGone");
}

TEST_F(PlacedValuesTest, GrantDiesWithItsClient) {
  const std::string value = MakeValue(4, 50'000);
  const Grant grant = GrantFor("key", value.size());
  ASSERT_TRUE(Write("key", value, grant).ok());
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
  ASSERT_TRUE(Write("kez", value, other).ok());
  EXPECT_EQ(SetAs(kClient, "key", value.size(), other).substr(0, 11),
            "kCorruption");
  EXPECT_EQ(Get("key"), "(absent)");
  ExpectSound();
}

// A failed write of somebody else, and the next one opens the log anew: between
// accepting the value and committing it, when this is that next write.
TEST_F(PlacedValuesTest, WhatAnEarlierLogGrantedIsNotAccepted) {
  const std::string value = MakeValue(6, 100'000);
  const Grant grant = GrantFor("key", value.size());
  ASSERT_EQ(Write("key", value, grant).ToString(), "kOk");
  FailOneWrite();
  EXPECT_EQ(SetAs(kClient, "key", value.size(), grant).substr(0, 5), "kGone");
  EXPECT_EQ(Get("key"), "(absent)");
  ExpectSound();
  EXPECT_NE(GrantFor("key", value.size()).generation, grant.generation);
}

TEST_F(PlacedValuesTest, WhoIsToldOfAnotherLogDoesNotWrite) {
  const std::string value = MakeValue(7, 100'000);
  const Grant grant = GrantFor("key", value.size());
  FailOneWrite();
  ASSERT_EQ(SetHere("other", "x"), "kOk");  // Opens it anew.
  EXPECT_EQ(Write("key", value, grant).code(), StatusCode::kGone);
  store_->SetLogGeneration(nullptr);
  EXPECT_EQ(generation_, 0U);
  store_->SetLogGeneration(&generation_);
  EXPECT_EQ(Write("key", value, grant).code(), StatusCode::kGone);
  EXPECT_EQ(Write("key", value, GrantFor("key", value.size())).code(),
            StatusCode::kOk);
}

// The client was stopped right before it writes, and goes on when the third
// holder has the cache. Nothing was ever committed to the segment it was told
// of, which has gone twice by then.
TEST_F(PlacedValuesTest, ASegmentIsNotGivenOutTwice) {
  const std::string value = MakeValue(8, 100'000);
  Grant stale;
  store_.reset();
  InKilledHolder(
      [&](const ForkedProcess::Pipe& pipe) {
        const Grant grant = GrantFor("key", value.size());
        pipe.Send(grant.chunks[0].segment);
        pipe.Send(grant.version);
      },
      [&](const ForkedProcess& holder) {
        stale.chunks = {
            {static_cast<std::uint32_t>(holder.Receive().value()), 0, 100'000}};
        stale.version = holder.Receive().value();
      });
  InKilledHolder([](const ForkedProcess::Pipe&) {}, [](const auto&) {});
  ASSERT_NO_FATAL_FAILURE(SetUp());
  std::vector<std::string> keys;
  for (int i = 0; i < 20; ++i) {
    keys.push_back("victim" + std::to_string(i));
    ASSERT_EQ(SetHere(keys.back(), value), "kOk");
    const Grant grant = GrantFor("key", value.size());
    EXPECT_GT(grant.chunks[0].segment, stale.chunks[0].segment);
    EXPECT_GT(grant.version, stale.version);
    store_->DropGrant(kClient, grant.version);
  }
  stale.generation = generation_;  // Even if it does not look.
  EXPECT_EQ(Write("key", value, stale).code(), StatusCode::kNotFound);
  for (const std::string& key : keys) EXPECT_TRUE(Get(key) == value) << key;
  ExpectSound();
}

// Neither if somebody takes the marks away, and what is raised next is another
// one of them.
TEST_F(PlacedValuesTest, ASegmentIsNotGivenOutTwiceWithoutMarks) {
  const std::string value = MakeValue(8, 100'000);
  ASSERT_EQ(SetHere("key", "old"), "kOk");
  store_.reset();
  std::uint64_t stale = 0;
  InKilledHolder(
      [&](const ForkedProcess::Pipe& pipe) {
        pipe.Send(GrantFor("key", value.size()).chunks[0].segment);
      },
      [&](const ForkedProcess& holder) { stale = holder.Receive().value(); });
  std::filesystem::remove(path_ / "marks");
  InKilledHolder([&](const ForkedProcess::Pipe&) { SetHere("key", "small"); },
                 [](const ForkedProcess&) {});
  ASSERT_NO_FATAL_FAILURE(SetUp());
  const std::uint32_t second = GrantFor("a", value.size()).chunks[0].segment;
  EXPECT_GT(second, stale);
  std::filesystem::remove(path_ / "marks");
  FailOneWrite();
  EXPECT_GT(GrantFor("b", value.size()).chunks[0].segment, second);
}

// Neither after everything was thrown away.
TEST_F(PlacedValuesTest, NumbersGoOnAfterAReset) {
  const std::string value = MakeValue(9, 600'000);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(SetHere("key", value), "kOk");
  const Grant before = GrantFor("key", value.size());
  store_.reset();
  ASSERT_EQ(ResetCache(path_).ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(SetUp());
  EXPECT_EQ(Get("key"), "(absent)");
  const Grant after = GrantFor("key", value.size());
  EXPECT_GT(after.chunks[0].segment, before.chunks.back().segment);
  EXPECT_GT(after.version, before.version);
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
