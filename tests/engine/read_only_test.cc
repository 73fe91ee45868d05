#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "engine/store_fixture.h"
#include "test_values.h"

namespace larder::testing {
namespace {

// One that writes (the fixture's), and one that is open read-only beside it.
class ReadOnlyTest : public StoreFixture {
 protected:
  std::unique_ptr<Engine> Read(std::chrono::milliseconds age_max) {
    EngineOptions options;
    options.mode = OpenMode::kReadOnly;
    options.clock = &clock_;
    options.read_only_age_max = age_max;
    auto reader = OpenEngine(path_, std::move(options));
    EXPECT_TRUE(reader) << reader.error().ToString();
    return std::move(reader).value_or(nullptr);
  }
  static Reply Ask(Engine& reader, std::string_view key) {
    const Command get = GetCommand{.key = key};
    Reply reply;
    const Status status = reader.Execute({&get, 1}, {&reply, 1});
    EXPECT_EQ(status.ToString(), "kOk");
    EXPECT_EQ(reply.status.ToString(), "kOk");
    return reply;
  }
  static std::optional<std::string> Find(Engine& reader, std::string_view key) {
    const Reply reply = Ask(reader, key);
    if (!reply.applied) return std::nullopt;
    return reply.value.ToString();
  }
};

constexpr std::chrono::milliseconds kAlways{0};

TEST_F(ReadOnlyTest, FollowsWhatAnotherWrites) {
  Open();
  // In the index, in a run and in a segment.
  for (const std::size_t size : {20U, 300U, 100'000U}) {
    const std::string key = "k" + std::to_string(size);
    ASSERT_TRUE(Set(key, MakeValue(1, size)).ok());
    const auto reader = Read(kAlways);
    ASSERT_NE(reader, nullptr);
    EXPECT_EQ(Find(*reader, key), MakeValue(1, size));
    ASSERT_TRUE(Set(key, MakeValue(2, size)).ok());
    EXPECT_EQ(Find(*reader, key), MakeValue(2, size));
    const std::uint64_t count = *reader->Count();
    Run(DeleteCommand{.key = key});
    EXPECT_EQ(Find(*reader, key), std::nullopt);
    EXPECT_EQ(*reader->Count(), count - 1);
    ASSERT_TRUE(engine_->Reset("default_ttl", std::to_string(size) + "s").ok());
    EXPECT_EQ(reader->Stats()->count, count - 1);
    EXPECT_EQ(reader->CurrentSettings().default_ttl,
              std::chrono::seconds(size));
  }
}

TEST_F(ReadOnlyTest, FollowsAcrossAReopening) {
  Open();
  ASSERT_TRUE(Set("k", "1").ok());
  const auto reader = Read(kAlways);
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(Find(*reader, "k"), "1");
  ASSERT_NO_FATAL_FAILURE(Reopen());
  ASSERT_TRUE(Set("k", "2").ok());
  EXPECT_EQ(Find(*reader, "k"), "2");
  ASSERT_TRUE(engine_->Close().ok());
  EXPECT_EQ(Find(*reader, "k"), "2");
}

TEST_F(ReadOnlyTest, KeepsItsMomentIfItMay) {
  Open();
  ASSERT_TRUE(Set("k", "1").ok());
  const auto forever = Read(std::chrono::milliseconds::max());
  const auto a_while = Read(std::chrono::hours(1));
  ASSERT_TRUE(forever != nullptr && a_while != nullptr);
  ASSERT_TRUE(Set("k", "2").ok());
  EXPECT_EQ(Find(*forever, "k"), "1");
  EXPECT_EQ(Find(*a_while, "k"), "1");
}

TEST_F(ReadOnlyTest, AScanSeesOneMoment) {
  Open();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(Set("k" + std::to_string(i), "1").ok());
  }
  const auto reader = Read(kAlways);
  ASSERT_NE(reader, nullptr);
  auto scan = reader->OpenScan({});
  ASSERT_TRUE(scan);
  ASSERT_EQ((*scan)->Next(5)->size(), 5U);
  ASSERT_TRUE(Set("k9", "2").ok());
  Run(DeleteCommand{.key = "k8"});
  EXPECT_EQ(Find(*reader, "k9"), "1");
  EXPECT_EQ((*scan)->Next(100)->size(), 5U);
  scan->reset();
  EXPECT_EQ(Find(*reader, "k9"), "2");
  EXPECT_EQ(Find(*reader, "k8"), std::nullopt);
}

TEST_F(ReadOnlyTest, ValuesOutliveWhatIsReadNext) {
  Open();
  const std::vector<std::size_t> sizes{20, 300, 5000, 100'000};
  for (const std::size_t size : sizes) {
    ASSERT_TRUE(Set("k" + std::to_string(size), MakeValue(1, size)).ok());
  }
  ASSERT_NO_FATAL_FAILURE(Reopen());  // Into tables.
  const auto reader = Read(kAlways);
  ASSERT_NE(reader, nullptr);
  std::vector<Reply> held;
  for (const std::size_t size : sizes) {
    held.push_back(Ask(*reader, "k" + std::to_string(size)));
    ASSERT_TRUE(Set("k" + std::to_string(size), MakeValue(2, size)).ok());
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    EXPECT_EQ(Find(*reader, "k" + std::to_string(sizes[i])),
              MakeValue(2, sizes[i]));
    EXPECT_EQ(held[i].value.bytes(), MakeValue(1, sizes[i]));
  }
}

// Flushes, compactions, cleaning and eviction take files away under the one
// that reads: it misses, or gets a right value.
TEST_F(ReadOnlyTest, ReadsWhileAFullCacheIsWritten) {
  background_ = true;
  Open({{"size_limit", "16MiB"}});
  constexpr std::uint64_t kKeys = 2000;
  const auto value = [](std::uint64_t key, std::uint64_t version) {
    return std::to_string(key) + ":" +
           MakeValue(version, 30 + key % 7 * key % 30'000);
  };
  for (std::uint64_t key = 0; key < kKeys; ++key) {
    ASSERT_TRUE(Set(std::to_string(key), value(key, 0)).ok());
  }
  const auto reader = Read(std::chrono::milliseconds(3));
  ASSERT_NE(reader, nullptr);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    Random random(5);
    for (std::uint64_t version = 1; !stop; ++version) {
      const std::uint64_t key = random.Below(kKeys);
      EXPECT_TRUE(Set(std::to_string(key), value(key, version % 100)).ok());
    }
  });
  Random random(6);
  std::uint64_t found = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t key = random.Below(kKeys);
    const auto got = Find(*reader, std::to_string(key));
    if (!got) continue;
    ++found;
    const std::string prefix = std::to_string(key) + ":";
    EXPECT_EQ(got->substr(0, prefix.size()), prefix);
    EXPECT_EQ(got->size(), value(key, 0).size());
  }
  stop = true;
  writer.join();
  EXPECT_GT(found, 1000U);
  EXPECT_EQ(reader->Stats()->corruptions, engine_->Stats()->corruptions);
}

}  // namespace
}  // namespace larder::testing
