#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "engine/store_fixture.h"
#include "test_values.h"

namespace larder::testing {
namespace {

using ReadOnlyTest = StoreFixture;

// Flushes, compactions, cleaning and eviction take files away while they are
// opened: what is seen in the end is one moment, and every value is right.
TEST_F(ReadOnlyTest, OpensBesideABusyWriter) {
  background_ = true;
  Open({{"size_limit", "64MiB"}});
  constexpr std::uint64_t kKeys = 2000;
  const auto value = [](std::uint64_t key, std::uint64_t version) {
    return std::to_string(key) + ":" +
           MakeValue(version, 30 + key % 7 * key % 30'000);
  };
  for (std::uint64_t key = 0; key < kKeys; ++key) {
    ASSERT_TRUE(Set(std::to_string(key), value(key, 0)).ok());
  }
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    Random random(5);
    for (std::uint64_t version = 1; !stop; ++version) {
      const std::uint64_t key = random.Below(kKeys);
      EXPECT_TRUE(Set(std::to_string(key), value(key, version % 100)).ok());
    }
  });
  int opened = 0;
  std::uint64_t found = 0;
  for (int i = 0; i < 20; ++i) {
    EngineOptions options;
    options.mode = OpenMode::kReadOnly;
    options.clock = &clock_;
    auto reader = OpenEngine(path_, std::move(options));
    if (!reader) {  // It did not find one quiet moment.
      EXPECT_EQ(reader.error().code(), StatusCode::kAborted)
          << reader.error().ToString();
      continue;
    }
    ++opened;
    EXPECT_LE(*(*reader)->Count(), kKeys);
    for (std::uint64_t key = 0; key < kKeys; key += 10) {
      const std::string name = std::to_string(key);
      const Command get = GetCommand{.key = name};
      Reply reply;
      ASSERT_TRUE((*reader)->Execute({&get, 1}, {&reply, 1}).ok());
      EXPECT_TRUE(reply.status.ok()) << reply.status.ToString();
      if (!reply.applied) continue;
      ++found;
      EXPECT_EQ(reply.value.bytes().substr(0, name.size() + 1), name + ":");
      EXPECT_EQ(reply.value.size(), value(key, 0).size());
    }
  }
  stop = true;
  writer.join();
  EXPECT_GT(opened, 0);
  EXPECT_GT(found, 0U);
}

// More tables than RocksDB opens at once; all of them are merged and removed.
TEST_F(ReadOnlyTest, ItsTablesStay) {
  constexpr std::uint64_t kItems = 30'000;
  Open({{"size_limit", "16MiB"}, {"durability", "none"}});
  for (std::uint64_t i = 0; i < kItems; ++i) {
    ASSERT_TRUE(Set(std::to_string(i), MakeValue(i, 300)).ok());
  }
  ASSERT_TRUE(engine_->Sync().ok());  // Writes all of it to tables.
  EngineOptions options;
  options.mode = OpenMode::kReadOnly;
  options.clock = &clock_;
  const auto reader = OpenEngine(path_, std::move(options));
  ASSERT_TRUE(reader.has_value()) << reader.error().ToString();
  ASSERT_TRUE(Run(ClearCommand{}).status.ok());
  ASSERT_TRUE(Set("housekeeping", "merges").ok());
  for (std::uint64_t i = 0; i < kItems; ++i) {
    const std::string key = std::to_string(i);
    const Command get = GetCommand{.key = key};
    Reply reply;
    ASSERT_TRUE((*reader)->Execute({&get, 1}, {&reply, 1}, {}).ok());
    ASSERT_EQ(reply.status.ToString(), "kOk") << key;
    ASSERT_TRUE(reply.applied) << key;
  }
}

}  // namespace
}  // namespace larder::testing
