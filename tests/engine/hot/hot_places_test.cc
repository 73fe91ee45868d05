// Large values in the hot tier: it holds where they lie, and every process maps
// them there.

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/attached.h"
#include "larder/engine/engine.h"

#include "base/test_point.h"
#include "engine/cold_pages.h"
#include "temporary_directory.h"
#include "test_values.h"

namespace larder::testing {
namespace {

constexpr std::size_t kSize = 100'000;

class HotPlacesTest : public ::testing::Test {
 protected:
  using Place = TemporaryDirectory::Place;
  explicit HotPlacesTest(Place place = Place::kMemory) : directory_(place) {}

  void SetUp() override {
    holder_ = Open();
    client_ = Open();
    ASSERT_TRUE(holder_ != nullptr && client_ != nullptr);
    ASSERT_TRUE(holder_->capabilities().holds_store);
    ASSERT_FALSE(client_->capabilities().holds_store);
    // The tier is made by a thread of the holder, soon.
    for (int i = 0; i < 1000 && Figures().hot_size_bytes == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (Figures().hot_size_bytes == 0) {
      GTEST_SKIP() << "no hot tier: too little shared memory is free";
    }
  }

  std::unique_ptr<Engine> Open() {
    EngineOptions options;
    options.region_directory = regions_.path();
    options.hot_tier_bytes = 4U << 20;
    options.settings = {{"size_limit", "64MiB"}};
    auto engine = OpenEngine(directory_.path() / "cache", options);
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }
  AttachedFigures Figures() const {
    const auto view = ReadAttached(directory_.path() / "cache");
    EXPECT_TRUE(view.has_value()) << view.error().ToString();
    return view ? view->figures : AttachedFigures();
  }
  static void Set(Engine& engine, std::string_view key,
                  std::string_view value) {
    const Command command = SetCommand{.key = key, .value = value};
    Reply reply;
    const Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
    ASSERT_TRUE(status.ok() && reply.status.ok()) << reply.status.ToString();
  }
  // "": a miss.
  static std::string Get(Engine& engine, std::string_view key) {
    const Command command = GetCommand{.key = key};
    Reply reply;
    const Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
    EXPECT_TRUE(status.ok() && reply.status.ok()) << reply.status.ToString();
    return reply.applied ? reply.value.ToString() : "";
  }
  static bool IsHit(Engine& engine, std::string_view key) {
    const Command command = GetCommand{.key = key};
    Reply reply;
    EXPECT_TRUE(engine.Execute({&command, 1}, {&reply, 1}, {}).ok());
    return reply.applied;
  }
  // In the middle of every segment file there is.
  void DamageSegments() const {
    for (const auto& file :
         std::filesystem::directory_iterator(directory_.path() / "cache/log")) {
      std::fstream bytes(file.path(),
                         std::ios::in | std::ios::out | std::ios::binary);
      for (std::size_t at = kSize / 2; at < file.file_size(); at += kSize / 4) {
        bytes.seekp(static_cast<std::streamoff>(at)).put('\x7F');
      }
    }
  }
  // Reads until the tier has the place: then, who it was asked of.
  void WarmUp(std::string_view key) {
    for (int i = 0; i < 4; ++i) Get(*client_, key);
  }

  const TemporaryDirectory directory_;
  const TemporaryDirectory regions_{Place::kMemory};
  std::unique_ptr<Engine> holder_;
  std::unique_ptr<Engine> client_;
};

TEST_F(HotPlacesTest, AllProcessesReadWithoutAskingTheHolder) {
  const std::string value = MakeValue(1, kSize);
  Set(*holder_, "key", value);
  WarmUp("key");
  const AttachedFigures before = Figures();
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(Get(*client_, "key") == value);
    EXPECT_TRUE(Get(*holder_, "key") == value);
  }
  const AttachedFigures after = Figures();
  EXPECT_EQ(after.hot_hits, before.hot_hits + 20);
  EXPECT_EQ(after.requests, before.requests);
}

// One of them in a segment, one in the database, one in several segments.
TEST_F(HotPlacesTest, ALargeValueIsPoppedOnceByAnyProcess) {
  ASSERT_TRUE(holder_->Reset("large_value_min", "64KiB").ok());
  for (const std::size_t size : {kSize, std::size_t{40'000}, 20 * kSize}) {
    for (const bool by_client : {true, false}) {
      const std::string value = MakeValue(size, size);
      Set(*client_, "key", value);
      std::atomic<int> popped{0};
      const auto pop = [&](Engine& engine) {
        const Command command = DeleteCommand{.key = "key", .with_value = true};
        Reply reply;
        EXPECT_TRUE(engine.Execute({&command, 1}, {&reply, 1}, {}).ok());
        EXPECT_TRUE(reply.status.ok()) << reply.status.ToString();
        if (!reply.applied) return;
        ++popped;
        EXPECT_TRUE(reply.value.ToString() == value);
        EXPECT_EQ(reply.info.size_bytes, size);
      };
      std::thread another([&] { pop(by_client ? *client_ : *holder_); });
      pop(*client_);
      another.join();
      EXPECT_EQ(popped, 1) << size;
      EXPECT_EQ(Get(*client_, "key"), "");
    }
  }
}

TEST_F(HotPlacesTest, EveryChangeIsSeenAtOnce) {
  for (std::uint64_t i = 0; i < 20; ++i) {
    const std::string value = MakeValue(i, kSize + i);
    Set(i % 2 == 0 ? *holder_ : *client_, "key", value);
    WarmUp("key");
    EXPECT_TRUE(Get(*client_, "key") == value) << i;
    EXPECT_TRUE(Get(*holder_, "key") == value) << i;
  }
  const Command clear = ClearCommand();
  Reply reply;
  ASSERT_TRUE(holder_->Execute({&clear, 1}, {&reply, 1}, {}).ok());
  EXPECT_EQ(Get(*client_, "key"), "");
  EXPECT_EQ(Get(*holder_, "key"), "");
}

TEST_F(HotPlacesTest, SettingsOfReadingReachTheClient) {
  const std::string value = MakeValue(3, kSize);
  Set(*holder_, "key", value);
  WarmUp("key");
  for (const char* const verify : {"always", "once"}) {
    ASSERT_TRUE(holder_->Reset("verify_reads", verify).ok());
    EXPECT_TRUE(Get(*client_, "key") == value) << verify;
    EXPECT_TRUE(Get(*client_, "key") == value) << verify;
  }
}

// They read by the place that they know, without asking.
TEST_F(HotPlacesTest, WithReadModePreadACutFileEndsNobody) {
  const std::string value = MakeValue(4, kSize);
  Set(*holder_, "key", value);
  WarmUp("key");
  ASSERT_TRUE(Get(*client_, "key") == value);
  ASSERT_TRUE(holder_->Reset("read_mode", "pread").ok());
  EXPECT_TRUE(Get(*client_, "key") == value);
  for (const auto& file :
       std::filesystem::directory_iterator(directory_.path() / "cache/log")) {
    std::filesystem::resize_file(file.path(), 4096);
  }
  EXPECT_EQ(Get(*client_, "key"), "");
  EXPECT_EQ(Get(*holder_, "key"), "");
}

// The tier finds out when it has filled in all but the value.
TEST_F(HotPlacesTest, ADamagedValueIsAMissInEveryProcess) {
  ASSERT_TRUE(holder_->Reset("verify_reads", "always").ok());
  for (const char* const key : {"one", "other"}) {
    Set(*holder_, key, MakeValue(5, kSize));
    WarmUp(key);
  }
  DamageSegments();
  EXPECT_FALSE(IsHit(*holder_, "one"));
  EXPECT_FALSE(IsHit(*client_, "other"));
}

// A batch makes one of two keys the other; nobody may see both or none.
TEST_F(HotPlacesTest, NobodySeesHalfOfABatch) {
  std::atomic<bool> done{false};
  Set(*holder_, "a", "value");
  std::vector<std::thread> readers;
  for (Engine* const engine : {holder_.get(), holder_.get(), client_.get()}) {
    readers.emplace_back([engine, &done] {
      const std::vector<Command> gets = {GetCommand{.key = "a"},
                                         GetCommand{.key = "b"}};
      while (!done) {
        std::vector<Reply> replies(2);
        ASSERT_TRUE(engine->Execute(gets, replies, {}).ok());
        ASSERT_NE(replies[0].applied, replies[1].applied);
      }
    });
  }
  for (int i = 0; i < 8'000; ++i) {
    const bool forth = i % 2 == 0;
    const std::vector<Command> batch = {
        DeleteCommand{.key = forth ? "a" : "b"},
        SetCommand{.key = forth ? "b" : "a", .value = "value"}};
    std::vector<Reply> replies(2);
    ASSERT_TRUE(holder_->Execute(batch, replies, {}).ok());
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
}

// Values move and go while a client reads where they were.
TEST_F(HotPlacesTest, CleaningNeverGivesAReaderOtherBytes) {
  constexpr std::uint64_t kKeys = 500;      // Most of the limit.
  constexpr std::uint64_t kWrites = 4'000;  // Six times as much.
  const auto key_of = [](std::uint64_t i) { return "key" + std::to_string(i); };
  std::atomic<bool> done{false};
  std::uint64_t hits = 0;
  std::thread reader([&] {
    Random random(7);
    while (!done) {
      const std::uint64_t i = random.Below(kKeys);
      const std::string value = Get(*client_, key_of(i));
      if (value.empty()) continue;
      ++hits;
      // It begins with its seed.
      const std::uint64_t seed = std::stoull(value.substr(0, 20));
      ASSERT_EQ(seed % kKeys, i);
      ASSERT_TRUE(value.substr(20) == MakeValue(seed, kSize));
    }
  });
  Random random(1);
  for (std::uint64_t n = 0; n < kWrites; ++n) {
    const std::uint64_t i = random.Below(kKeys);
    std::string seed = std::to_string(n * kKeys + i);
    seed.resize(20, ' ');
    Set(*holder_, key_of(i), seed + MakeValue(n * kKeys + i, kSize));
  }
  done = true;
  reader.join();
  EXPECT_GT(hits, 0U);
  const auto stats = holder_->Stats();
  ASSERT_TRUE(stats.has_value());
  EXPECT_GT(stats->segments_cleaned, 0U);
  EXPECT_TRUE(holder_->Check(false)->ok());
}

class ColdHotPlacesTest : public HotPlacesTest {
 protected:
  static constexpr int kCount = 100;

  ColdHotPlacesTest() : HotPlacesTest(Place::kDisk) {}
  void SetUp() override {
    if (!ReadsAreCounted(directory_.path())) {
      GTEST_SKIP() << "this file system does not count what is read";
    }
    HotPlacesTest::SetUp();
    if (IsSkipped() || HasFailure()) return;
    for (int i = 0; i < kCount; ++i) {
      Set(*holder_, std::to_string(i), MakeValue(i, kSize));
      for (int times = 0; times < 4; ++times) {
        Get(*holder_, std::to_string(i));
      }
    }
    // So that no page is mapped, as such ones stay.
    ASSERT_TRUE(holder_->Reset("read_mode", "pread").ok());
    ASSERT_TRUE(holder_->Reset("read_mode", "map").ok());
    for (const auto& file :
         std::filesystem::directory_iterator(directory_.path() / "cache/log")) {
      DropPages(file.path());
    }
    asked_ = 0;
    in_store_ = 0;
    test_point_hook.store([](const char* name) {
      if (std::string_view(name) == "log.read_ahead") ++asked_;
      if (std::string_view(name) == "store.multiget") ++in_store_;
    });
  }
  void TearDown() override { test_point_hook.store(nullptr); }

  static void ExpectFewQuestions(Engine& engine) {
    std::vector<std::string> keys;
    for (int i = 0; i < kCount; ++i) keys.push_back(std::to_string(i));
    std::vector<Command> gets;
    for (const auto& key : keys) gets.emplace_back(GetCommand{.key = key});
    std::vector<Reply> replies(gets.size());
    ASSERT_TRUE(engine.Execute(gets, replies, {}).ok());
    for (int i = 0; i < kCount; ++i) {
      EXPECT_TRUE(replies[static_cast<std::size_t>(i)].value.bytes() ==
                  MakeValue(i, kSize));
    }
    EXPECT_EQ(in_store_, 0);
    EXPECT_GE(asked_, 1);
    EXPECT_LE(asked_, 3);
  }
  static inline std::atomic<int> asked_{0};
  static inline std::atomic<int> in_store_{0};
};

TEST_F(ColdHotPlacesTest, TheHolderAsksForManyValuesAtATime) {
  ExpectFewQuestions(*holder_);
}

TEST_F(ColdHotPlacesTest, AClientAsksForManyValuesAtATime) {
  ExpectFewQuestions(*client_);
}

}  // namespace
}  // namespace larder::testing
