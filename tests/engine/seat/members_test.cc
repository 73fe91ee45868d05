// Several members of one full cache in one process, and threads of each that do
// everything at once: so what the holder's and the clients' threads share is
// seen by a sanitizer, which does not follow forks. A value says which one it
// is, so bytes of another are noticed.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "temporary_directory.h"
#include "test_values.h"

namespace larder::testing {
namespace {

constexpr std::uint64_t kKeys = 1200;
// A sanitizer's run takes as long with fewer rounds.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kRounds = 300;
#else
constexpr int kRounds = 600;
#endif

std::string KeyOf(std::uint64_t key) { return "key" + std::to_string(key); }

// In the index entry, the database, a file, where clients read it themselves.
std::string ValueOf(std::uint64_t seed) {
  constexpr std::array<std::size_t, 5> kSizes = {20, 600, 5'000, 40'000,
                                                 150'000};
  const std::string number = std::to_string(seed);
  return std::string(20 - number.size(), '0') + number +
         MakeValue(seed, kSizes[seed / kKeys % kSizes.size()]);
}

void ExpectValueOf(std::uint64_t key, std::string_view value) {
  ASSERT_GE(value.size(), 20U);
  const std::uint64_t seed = std::stoull(std::string(value.substr(0, 20)));
  ASSERT_EQ(seed % kKeys, key);
  ASSERT_TRUE(value == ValueOf(seed));
}

class Members : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> Open() {
    EngineOptions options;
    options.region_directory = regions_.path();
    options.hot_tier_bytes = 2U << 20;
    options.settings = {{"size_limit", "16MiB"}};
    options.timeout = std::chrono::seconds(60);
    options.attach_timeout = std::chrono::seconds(60);
    options.on_eviction = [this](std::string_view, std::uint64_t,
                                 EvictionReason) { ++told_; };
    auto engine = OpenEngine(directory_.path() / "cache", std::move(options));
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }

  static Reply Do(Engine& engine, const Command& command) {
    Reply reply;
    const Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_TRUE(reply.status.ok()) << reply.status.ToString();
    return reply;
  }
  std::uint64_t NextSeed(std::uint64_t key) {
    return seed_.fetch_add(1) * kKeys + key;
  }

  // What one thread does.
  void Mix(Engine& engine, std::uint64_t thread) {
    Random random(SeedFromEnvironment(3) * 100 + thread);
    for (int i = 0; i < kRounds; ++i) {
      // Some more often.
      const std::uint64_t key = random.Below(random.Below(kKeys) + 1);
      switch (random.Below(16)) {
        case 0:
          Do(engine, DeleteCommand{.key = KeyOf(key)});
          break;
        case 1:
          Do(engine, TouchCommand{.key = KeyOf(key)});
          break;
        case 2:
          Do(engine, IncrCommand{.key = "count" + std::to_string(key % 8)});
          break;
        case 3:
          SetSome(engine, random);
          break;
        case 4:
          Stream(engine, key);
          break;
        case 5:
        case 6:
        case 7:
        case 8:
        case 9:
          SetOne(engine, key);
          break;
        default:
          GetOne(engine, key);
      }
    }
  }
  void SetOne(Engine& engine, std::uint64_t key) {
    const std::string value = ValueOf(NextSeed(key));
    Do(engine,
       SetCommand{.key = KeyOf(key),
                  .value = value,
                  .ttl = key % 7 == 0 ? std::optional<Duration>(
                                            std::chrono::milliseconds(50))
                                      : std::nullopt,
                  .tag = key % 5 == 0 ? "fifth" : ""});
  }
  static void GetOne(Engine& engine, std::uint64_t key) {
    const std::string name = KeyOf(key);
    const Reply reply = Do(engine, GetCommand{.key = name});
    if (reply.applied) ExpectValueOf(key, reply.value.bytes());
  }
  void SetSome(Engine& engine, Random& random) {
    std::vector<std::string> keys;
    std::vector<std::string> values;
    for (int i = 0; i < 6; ++i) {
      const std::uint64_t key = random.Below(kKeys);
      keys.push_back(KeyOf(key));
      values.push_back(ValueOf(NextSeed(key)));
    }
    std::vector<Command> commands;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      commands.push_back(SetCommand{.key = keys[i], .value = values[i]});
    }
    std::vector<Reply> replies(commands.size());
    const Status status = engine.Execute(commands, replies, {});
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  // May be cut off when the cache changes hands.
  void Stream(Engine& engine, std::uint64_t key) {
    const std::string name = KeyOf(key);
    const std::string value = ValueOf(NextSeed(key));
    auto writer = engine.OpenWriter({.key = name}, value.size(), {});
    if (!writer) return;
    const std::string_view bytes = value;
    const std::size_t half = bytes.size() / 2;
    if (!(*writer)->Append(bytes.substr(0, half)).ok()) return;
    if (!(*writer)->Append(bytes.substr(half)).ok()) return;
    if (!(*writer)->Commit().status.ok()) return;
    auto reader = engine.OpenReader(name);
    if (!reader || *reader == nullptr) return;
    std::string found((*reader)->info().size_bytes, '\0');
    std::size_t size = 0;
    while (size < found.size()) {
      const auto read = (*reader)->Read(std::span(found).subspan(
          size, std::min<std::size_t>(30'000, found.size() - size)));
      if (!read || *read == 0) return;
      size += *read;
    }
    ExpectValueOf(key, found);
  }

  // Seldom, and on the whole cache.
  static void Rule(Engine& engine, const std::atomic<bool>& done) {
    constexpr std::array<std::pair<const char*, const char*>, 7> kResets = {
        {{"size_limit", "24MiB"},
         {"policy", "s3-fifo"},
         {"verify_reads", "once"},
         {"size_limit", "16MiB"},
         {"policy", "least-recently-stored"},
         {"verify_reads", "always"},
         {"policy", "adaptive"}}};
    for (std::size_t i = 0; !done; ++i) {
      const auto& [name, value] = kResets[i % kResets.size()];
      const Status reset = engine.Reset(name, value);
      EXPECT_TRUE(reset.ok()) << name << ": " << reset.ToString();
      EXPECT_TRUE(engine.Stats().has_value());
      if (auto scan = engine.OpenScan({.with_values = i % 2 == 0})) {
        for (int page = 0; page < 10; ++page) {
          const auto items = (*scan)->Next(50);
          if (!items || items->size() < 50) break;
        }
      }
      switch (i % 8) {
        case 1:
          Do(engine, EvictTagCommand{.tag = "fifth"});
          break;
        case 2:
          Do(engine, ExpireCommand{});
          break;
        case 3:
          EXPECT_TRUE(engine.Sync().ok());
          break;
        case 4:
          Do(engine, CullCommand{.live_bytes_target = 8U << 20});
          break;
        case 5: {
          const auto report = engine.Check(false);
          EXPECT_TRUE(report.has_value()) << report.error().ToString();
          break;
        }
        case 6:
          Do(engine, ClearCommand{});
          break;
        default:
          break;
      }
    }
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
  std::atomic<std::uint64_t> seed_{1};
  std::atomic<std::uint64_t> told_{0};
};

TEST_F(Members, DoEverythingAtOnceInAFullCache) {
  auto first = Open();
  const auto second = Open();
  const auto third = Open();
  ASSERT_TRUE(first != nullptr && second != nullptr && third != nullptr);
  ASSERT_TRUE(first->capabilities().holds_store);
  std::atomic<bool> done{false};
  std::thread ruler([&] { Rule(*third, done); });
  std::vector<std::thread> staying;
  for (std::uint64_t t = 0; t < 2; ++t) {
    staying.emplace_back([&, t] {
      for (int i = 0; i < 3; ++i) Mix(*second, t);
    });
  }
  for (std::uint64_t holder = 0; holder < 3; ++holder) {
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] { Mix(*first, 10 + 2 * holder + t); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(first->Close().ok());
    first = Open();
    ASSERT_NE(first, nullptr);
  }
  for (std::thread& thread : staying) thread.join();
  EXPECT_TRUE(second->Close().ok());
  Mix(*first, 20);
  done = true;
  ruler.join();
  EXPECT_GT(told_, 0U);
  const auto report = third->Check(false);
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_TRUE(report->ok());
}

}  // namespace
}  // namespace larder::testing
