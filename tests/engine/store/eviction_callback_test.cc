#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "os/user_callbacks.h"
#include "temporary_directory.h"

namespace larder {
namespace {

/// Remembers what a callback was told.
struct Told {
  std::mutex mutex;
  std::map<EvictionReason, std::multiset<std::string>> keys;
  std::multimap<std::string, std::uint64_t> sizes;
  std::uint64_t bytes = 0;

  EvictionCallback Callback() {
    return [this](std::string_view key, std::uint64_t size,
                  EvictionReason reason) {
      const std::scoped_lock lock(mutex);
      keys[reason].emplace(key);
      sizes.emplace(key, size);
      bytes += size;
    };
  }
};

Reply Do(Engine& engine, const Command& command) {
  Reply replies[1];
  EXPECT_TRUE(engine.Execute({&command, 1}, replies).ok());
  EXPECT_TRUE(replies[0].status.ok()) << replies[0].status.ToString();
  return std::move(replies[0]);
}

// While a store is given away there are several threads that tell.
TEST(UserCallbacksTest, OneAtATimeIsTold) {
  EngineOptions options;
  std::atomic<int> inside{0};
  int told = 0;  // By one at a time.
  options.on_eviction = [&](std::string_view, std::uint64_t, EvictionReason) {
    EXPECT_EQ(++inside, 1);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    ++told;
    --inside;
  };
  const auto callbacks = UserCallbacks::Guard(options);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&options] {
      for (int i = 0; i < 50; ++i) {
        options.on_eviction("k", 1, EvictionReason::kEvicted);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(told, 150);
}

// The engine is being closed by the callback itself, which waits for the
// threads: whoever waits for its turn gives up.
TEST(UserCallbacksTest, WhoWaitsGivesUpWhenTheyAreSilenced) {
  EngineOptions options;
  std::shared_ptr<UserCallbacks> callbacks;
  int told = 0;
  options.on_eviction = [&](std::string_view, std::uint64_t, EvictionReason) {
    ++told;
    std::thread other([&options] {
      options.on_eviction("other", 1, EvictionReason::kEvicted);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    callbacks->Silence();
    other.join();
  };
  callbacks = UserCallbacks::Guard(options);
  options.on_eviction("first", 1, EvictionReason::kEvicted);
  EXPECT_EQ(told, 1);
}

class EvictionCallbackTest : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> Open() {
    EngineOptions options;
    options.settings = {{"size_limit", "16MiB"}};
    options.on_eviction = told_.Callback();
    options.clock = &clock_;
    auto engine = OpenEngine(directory_.path() / "cache", std::move(options));
    EXPECT_TRUE(engine) << engine.error().ToString();
    return std::move(*engine);
  }

  const testing::TemporaryDirectory directory_;
  ManualClock clock_{TimePoint(std::chrono::hours(1))};
  Told told_;
};

TEST_F(EvictionCallbackTest, EveryEvictedItemIsToldOnce) {
  auto engine = Open();
  const std::string value(40000, 'v');
  constexpr int kCount = 1000;
  for (int i = 0; i < kCount; ++i) {
    Do(*engine, SetCommand{.key = "k" + std::to_string(i), .value = value});
  }
  const auto stats = engine->Stats();
  ASSERT_TRUE(stats);
  ASSERT_GT(stats->evictions, kCount / 2U);
  EXPECT_EQ(stats->eviction_events_dropped, 0U);
  ASSERT_TRUE(engine->Close().ok());
  // Until then the background made room for the next writes.
  EngineOptions read_only;
  read_only.mode = OpenMode::kReadOnly;
  auto closed = OpenEngine(directory_.path() / "cache", read_only);
  ASSERT_TRUE(closed) << closed.error().ToString();
  const auto count = (*closed)->Count();
  ASSERT_TRUE(count) << count.error().ToString();
  const std::uint64_t live = *count;
  const auto& evicted = told_.keys[EvictionReason::kEvicted];
  // What was cut off last may still lie in a segment that is partly alive.
  EXPECT_GE(evicted.size() + live + 60, static_cast<std::size_t>(kCount));
  EXPECT_LE(evicted.size() + live, static_cast<std::size_t>(kCount));
  EXPECT_EQ(std::set<std::string>(evicted.begin(), evicted.end()).size(),
            evicted.size());
  EXPECT_EQ(told_.bytes, evicted.size() * value.size());
  EXPECT_TRUE(evicted.contains("k0"));
}

TEST_F(EvictionCallbackTest, ExpiredItemIsTold) {
  auto engine = Open();
  Do(*engine,
     SetCommand{.key = "short", .value = "v", .ttl = std::chrono::seconds(1)});
  Do(*engine, SetCommand{.key = "long", .value = "v"});
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_EQ(Do(*engine, ExpireCommand{}).count, 1U);
  ASSERT_TRUE(engine->Close().ok());
  EXPECT_EQ(told_.keys[EvictionReason::kExpired],
            std::multiset<std::string>{"short"});
}

TEST_F(EvictionCallbackTest, TagAndClearAreToldAsCleared) {
  auto engine = Open();
  const std::string value(5000, 'v');
  Do(*engine, SetCommand{.key = "tagged", .value = value, .tag = "t"});
  Do(*engine, SetCommand{.key = "other", .value = value});
  EXPECT_EQ(Do(*engine, EvictTagCommand{"t"}).count, 1U);
  EXPECT_EQ(Do(*engine, ClearCommand{}).count, 1U);
  ASSERT_TRUE(engine->Close().ok());
  EXPECT_EQ(told_.keys[EvictionReason::kCleared],
            (std::multiset<std::string>{"tagged", "other"}));
}

TEST_F(EvictionCallbackTest, ReplacedAndDeletedAreNotTold) {
  auto engine = Open();
  Do(*engine, SetCommand{.key = "k", .value = "1"});
  Do(*engine, SetCommand{.key = "k", .value = "2"});
  EXPECT_TRUE(Do(*engine, DeleteCommand{.key = "k"}).applied);
  ASSERT_TRUE(engine->Close().ok());
  EXPECT_TRUE(told_.keys.empty());
}

// Small values lie in the index, whose compactions tell of them, too. What is
// stored between two visits to a key here is about what fits, so that levels of
// the index have old lines of it when it dies.
class EvictionOfSmallValuesTest : public EvictionCallbackTest {
 protected:
  static constexpr int kRounds = 40000;
  /// Not long before an item would be evicted.
  static constexpr int kAge = 4300;

  void Set(Engine& engine, const std::string& key) {
    Do(engine, SetCommand{.key = key, .value = value_});
  }
  static bool Delete(Engine& engine, const std::string& key) {
    return Do(engine, DeleteCommand{.key = key}).applied;
  }

  const std::string value_ = std::string(2000, 'v');
};

TEST_F(EvictionOfSmallValuesTest, WriterAndCompactionTellOnce) {
  auto engine = Open();
  // Some of what is deleted is evicted already, but still in the index.
  for (int i = 0; i < kRounds; ++i) {
    Set(*engine, "k" + std::to_string(i));
    if (i % 2 == 0) Delete(*engine, "k" + std::to_string(i - 8000));
  }
  const auto stats = engine->Stats();
  ASSERT_TRUE(stats);
  ASSERT_EQ(stats->eviction_events_dropped, 0U);
  ASSERT_GT(stats->evictions, kRounds / 4U);
  ASSERT_TRUE(engine->Close().ok());
  const auto& evicted = told_.keys[EvictionReason::kEvicted];
  // Few of them can still be in the index.
  EXPECT_GT(evicted.size(), stats->evictions / 10 * 9);
  EXPECT_EQ(std::set<std::string>(evicted.begin(), evicted.end()).size(),
            evicted.size());
}

TEST_F(EvictionOfSmallValuesTest, DeletedAliveIsNotTold) {
  auto engine = Open();
  std::set<std::string> deleted;
  for (int i = 0; i < kRounds; ++i) {
    Set(*engine, "k" + std::to_string(i));
    const std::string old = "k" + std::to_string(i - kAge);
    if (i % 2 == 0 && Delete(*engine, old)) deleted.insert(old);
  }
  ASSERT_TRUE(engine->Close().ok());
  EXPECT_GT(deleted.size(), kRounds / 8U);
  std::size_t told = 0;
  for (const std::string& key : told_.keys[EvictionReason::kEvicted]) {
    told += deleted.count(key);
  }
  EXPECT_EQ(told, 0U);
}

TEST_F(EvictionOfSmallValuesTest, OverwrittenAliveIsNotTold) {
  auto engine = Open();
  std::vector<std::uint64_t> versions;
  std::set<std::string> overwritten;
  for (int i = 0; i < kRounds; ++i) {
    SetCommand set{.key = "k" + std::to_string(i), .value = value_};
    versions.push_back(Do(*engine, set).info.version);
    if (i < kAge || i % 2 != 0) continue;
    const std::string old = "k" + std::to_string(i - kAge);
    const std::string longer = value_ + "2";
    SetCommand again{.key = old, .value = longer};
    again.condition = SetCondition::kIfVersion;
    again.version_expected = versions[i - kAge];
    if (Do(*engine, again).applied) overwritten.insert(old);
  }
  ASSERT_TRUE(engine->Close().ok());
  EXPECT_GT(overwritten.size(), kRounds / 20U);
  std::size_t told = 0;
  for (const auto& [key, size] : told_.sizes) {
    if (size == value_.size()) told += overwritten.count(key);
  }
  EXPECT_EQ(told, 0U);
}

TEST_F(EvictionCallbackTest, WhatCallbacksThrowIsCountedAndLogged) {
  std::atomic<int> lines{0};
  std::atomic<int> told{0};
  EngineOptions options;
  options.clock = &clock_;
  options.on_eviction = [&](std::string_view, std::uint64_t, EvictionReason) {
    ++told;
    throw std::runtime_error("no");
  };
  options.log = [&](std::string_view line) {
    if (line.find("threw: no") != line.npos) ++lines;
    throw 1;
  };
  auto engine = OpenEngine(directory_.path() / "cache", std::move(options));
  ASSERT_TRUE(engine);
  Do(**engine, SetCommand{.key = "k", .value = "v", .ttl = Duration(1)});
  clock_.Advance(Duration(2));
  EXPECT_EQ(Do(**engine, ExpireCommand{}).count, 1U);
  while (told == 0) std::this_thread::yield();
  EXPECT_GE((*engine)->Stats()->callbacks_failed, 1U);
  EXPECT_TRUE((*engine)->Close().ok());
  EXPECT_EQ(lines, 1);
}

// What the first call of the callback, or of the log, does with the cache.
class CallbackCallsTest : public EvictionCallbackTest {
 protected:
  void Open(std::function<void(Engine&)> call) {
    EngineOptions options;
    options.clock = &clock_;
    options.on_eviction = [this, call](std::string_view, std::uint64_t,
                                       EvictionReason) {
      if (engine_ != nullptr) call(*engine_);
      done_ = true;
    };
    auto engine = OpenEngine(directory_.path() / "cache", std::move(options));
    ASSERT_TRUE(engine) << engine.error().ToString();
    engine_ = *std::move(engine);
  }
  void Evict() {
    Do(*engine_, SetCommand{.key = "tagged", .value = "v", .tag = "t"});
    Do(*engine_, EvictTagCommand{"t"});
    while (!done_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  std::atomic<bool> done_{false};
  std::unique_ptr<Engine> engine_;
};

TEST_F(CallbackCallsTest, CloseIsADeadlockAndChangesNothing) {
  Status closed;
  Open([&closed](Engine& engine) { closed = engine.Close(); });
  Evict();
  EXPECT_EQ(closed.code(), StatusCode::kDeadlock);
  Do(*engine_, SetCommand{.key = "k", .value = "v"});
  EXPECT_EQ(engine_->Close().ToString(), "kOk");
}

TEST_F(CallbackCallsTest, AllElseWorks) {
  Open([](Engine& engine) {
    Do(engine, SetCommand{.key = "k", .value = "v"});
    EXPECT_TRUE(Do(engine, GetCommand{.key = "k"}).applied);
    Do(engine, CullCommand{});
    EXPECT_TRUE(engine.Check(true)->ok());
    EXPECT_TRUE(engine.Reset("policy", "clock").ok());
    EXPECT_TRUE(engine.Sync().ok());
  });
  Evict();
  EXPECT_EQ(engine_->Close().ToString(), "kOk");
}

// The callback has the last owner.
TEST_F(CallbackCallsTest, ACacheThatIsDestroyedClosesAfterwards) {
  Open([this](Engine&) { engine_.reset(); });
  Engine* const engine = engine_.get();
  Do(*engine, SetCommand{.key = "tagged", .value = "v", .tag = "t"});
  Do(*engine, EvictTagCommand{"t"});
  while (!done_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  // It asks the one that closes, and then has the store itself.
  const auto again = OpenEngine(directory_.path() / "cache");
  ASSERT_TRUE(again) << again.error().ToString();
  while (!(*again)->capabilities().holds_store) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_FALSE(Do(**again, GetCommand{.key = "tagged"}).applied);
}

TEST_F(CallbackCallsTest, TheLogCannotCallTheCache) {
  Engine* engine = nullptr;
  std::vector<Status> answers;
  EngineOptions options;
  options.on_eviction = [](std::string_view, std::uint64_t, EvictionReason) {
    throw 1;  // Something to say.
  };
  options.log = [&](std::string_view line) {
    if (line.find("threw") == line.npos) return;
    const Command get = GetCommand{.key = "k"};
    Reply reply;
    answers.push_back(engine->Execute({&get, 1}, {&reply, 1}, {}));
    answers.push_back(engine->Close());
    answers.push_back(engine->Stats().error());
    done_ = true;
  };
  auto opened = OpenEngine(directory_.path() / "cache", std::move(options));
  ASSERT_TRUE(opened) << opened.error().ToString();
  engine_ = *std::move(opened);
  engine = engine_.get();
  Evict();
  EXPECT_EQ(engine_->Close().ToString(), "kOk");
  ASSERT_EQ(answers.size(), 3U);
  for (const Status& answer : answers) {
    EXPECT_EQ(answer.code(), StatusCode::kDeadlock);
  }
}

// A process that has not got the store.
class ClientEvictionTest : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> Open(EvictionCallback callback = {}) {
    EngineOptions options;
    options.settings = {{"size_limit", "16MiB"}};
    options.on_eviction = std::move(callback);
    options.region_directory = regions_.path();
    auto engine = OpenEngine(directory_.path() / "cache", std::move(options));
    EXPECT_TRUE(engine) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }
  // Until that many were told for the reason, or 10 s.
  static std::size_t AwaitTold(Told& told, EvictionReason reason,
                               std::size_t count) {
    for (int i = 0; i < 1'000; ++i) {
      {
        const std::scoped_lock lock(told.mutex);
        if (told.keys[reason].size() >= count) break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    const std::scoped_lock lock(told.mutex);
    return told.keys[reason].size();
  }

  const testing::TemporaryDirectory directory_;
  const testing::TemporaryDirectory regions_;
};

TEST_F(ClientEvictionTest, EveryProcessWithACallbackIsTold) {
  Told of_holder;
  Told of_client;
  Told of_other;
  auto holder = Open(of_holder.Callback());
  auto client = Open(of_client.Callback());
  auto other = Open(of_other.Callback());
  auto silent = Open();
  ASSERT_FALSE(client->capabilities().holds_store);
  Do(*client, SetCommand{.key = "tagged", .value = "v", .tag = "t"});
  Do(*silent,
     SetCommand{
         .key = "short", .value = "v", .ttl = std::chrono::milliseconds(1)});
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  Do(*client, ExpireCommand{});
  EXPECT_EQ(Do(*client, EvictTagCommand{"t"}).count, 1U);
  for (Told* const told : {&of_holder, &of_client, &of_other}) {
    EXPECT_EQ(AwaitTold(*told, EvictionReason::kCleared, 1), 1U);
    EXPECT_EQ(AwaitTold(*told, EvictionReason::kExpired, 1), 1U);
    const std::scoped_lock lock(told->mutex);
    EXPECT_TRUE(told->keys[EvictionReason::kCleared].contains("tagged"));
    EXPECT_TRUE(told->keys[EvictionReason::kExpired].contains("short"));
  }
}

TEST_F(ClientEvictionTest, EveryEvictedItemIsToldOnce) {
  Told told;
  auto holder = Open();
  auto client = Open(told.Callback());
  const std::string value(40'000, 'v');
  for (int i = 0; i < 1'000; ++i) {
    Do(*client, SetCommand{.key = "k" + std::to_string(i), .value = value});
  }
  // What was cut off last may still lie in a segment that is partly alive.
  const auto stats = client->Stats();
  ASSERT_TRUE(stats);
  ASSERT_GT(stats->evictions, 500U);
  const std::size_t least = stats->evictions - 60;
  EXPECT_GE(AwaitTold(told, EvictionReason::kEvicted, least), least);
  EXPECT_EQ(stats->eviction_events_dropped, 0U);
  const std::scoped_lock lock(told.mutex);
  const auto& evicted = told.keys[EvictionReason::kEvicted];
  EXPECT_EQ(std::set<std::string>(evicted.begin(), evicted.end()).size(),
            evicted.size());
  EXPECT_EQ(told.bytes, evicted.size() * value.size());
}

TEST_F(ClientEvictionTest, WhoTakesOverGoesOnBeingTold) {
  Told told;
  auto holder = Open();
  auto client = Open(told.Callback());
  ASSERT_TRUE(holder->Close().ok());
  for (int i = 0; i < 500 && !client->capabilities().holds_store; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_TRUE(client->capabilities().holds_store);
  Do(*client, SetCommand{.key = "tagged", .value = "v", .tag = "t"});
  EXPECT_EQ(Do(*client, EvictTagCommand{"t"}).count, 1U);
  EXPECT_EQ(AwaitTold(told, EvictionReason::kCleared, 1), 1U);
  ASSERT_TRUE(client->Close().ok());
}

TEST_F(ClientEvictionTest, CloseInTheCallbackIsADeadlock) {
  auto holder = Open();
  Engine* client = nullptr;
  std::atomic<StatusCode> closed{StatusCode::kOk};
  auto opened = Open([&](std::string_view, std::uint64_t, EvictionReason) {
    closed = client->Close().code();
  });
  client = opened.get();
  ASSERT_FALSE(client->capabilities().holds_store);
  Do(*client, SetCommand{.key = "tagged", .value = "v", .tag = "t"});
  Do(*client, EvictTagCommand{"t"});
  for (int i = 0; i < 500 && closed == StatusCode::kOk; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(closed, StatusCode::kDeadlock);
  EXPECT_EQ(client->Close().ToString(), "kOk");
}

}  // namespace
}  // namespace larder
