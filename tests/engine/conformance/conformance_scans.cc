#include <algorithm>
#include <atomic>
#include <thread>

#include "engine/conformance/conformance_suite.h"
#include "test_values.h"

namespace larder::testing {
namespace {

using Keys = std::vector<std::string>;

class Scanner {
 public:
  explicit Scanner(Engine& engine) : engine_(engine) {}

  /// Every item that a scan with `options` gives, in pages of `page_size`.
  std::vector<ScanItem> Items(const ScanOptions& options,
                              std::size_t page_size = 3) {
    Result<std::unique_ptr<Scan>> scan = engine_.OpenScan(options);
    EXPECT_TRUE(scan.has_value()) << scan.error().ToString();
    return scan ? Rest(**scan, page_size) : std::vector<ScanItem>();
  }
  Keys KeysOf(const ScanOptions& options) { return Names(Items(options)); }

  static std::vector<ScanItem> Rest(Scan& scan, std::size_t page_size) {
    std::vector<ScanItem> items;
    while (true) {
      Result<std::vector<ScanItem>> page = scan.Next(page_size);
      EXPECT_TRUE(page.has_value()) << page.error().ToString();
      if (!page || page->empty()) return items;
      EXPECT_LE(page->size(), page_size);
      std::ranges::move(*page, std::back_inserter(items));
    }
  }
  static Keys Names(const std::vector<ScanItem>& items) {
    Keys keys;
    for (const ScanItem& item : items) keys.push_back(item.key);
    return keys;
  }

 private:
  Engine& engine_;
};

TEST_P(EngineConformance, ScanOfAnEmptyCacheIsEmpty) {
  EXPECT_EQ(Scanner(*engine_).KeysOf({}), Keys());
}

TEST_P(EngineConformance, ScanGivesKeysInByteOrder) {
  const Keys sorted = {"",    std::string("\0", 1), "B", "a", "aa", "b", "\x80",
                       "\xff"};
  for (const std::size_t i : {4U, 1U, 7U, 0U, 3U, 6U, 2U, 5U}) {
    ASSERT_TRUE(Set(sorted[i], "v").applied);
  }
  EXPECT_EQ(Scanner(*engine_).KeysOf({}), sorted);
  Keys reversed = sorted;
  std::ranges::reverse(reversed);
  EXPECT_EQ(Scanner(*engine_).KeysOf({.reverse = true}), reversed);
}

TEST_P(EngineConformance, ScanOfAPrefix) {
  for (const char* key : {"a", "ab", "ab1", "ab2", "ac", "b"}) {
    ASSERT_TRUE(Set(key, "v").applied);
  }
  EXPECT_EQ(Scanner(*engine_).KeysOf({.prefix = "ab"}),
            (Keys{"ab", "ab1", "ab2"}));
  EXPECT_EQ(Scanner(*engine_).KeysOf({.prefix = "ab", .reverse = true}),
            (Keys{"ab2", "ab1", "ab"}));
  EXPECT_EQ(Scanner(*engine_).KeysOf({.prefix = "abc"}), Keys());
}

TEST_P(EngineConformance, ScanOfAPrefixOfHighestBytes) {
  const Keys keys = {"\xfe", "\xff", "\xff\x01", "\xff\xff", "\xff\xff\xff"};
  for (const std::string& key : keys) ASSERT_TRUE(Set(key, "v").applied);
  EXPECT_EQ(Scanner(*engine_).KeysOf({.prefix = "\xff"}),
            Keys(keys.begin() + 1, keys.end()));
  EXPECT_EQ(Scanner(*engine_).KeysOf({.prefix = "\xff\xff", .reverse = true}),
            (Keys{"\xff\xff\xff", "\xff\xff"}));
}

TEST_P(EngineConformance, ScanOfARangeIsHalfOpen) {
  for (const char* key : {"a", "b", "c", "d"}) {
    ASSERT_TRUE(Set(key, "v").applied);
  }
  Scanner scanner(*engine_);
  EXPECT_EQ(scanner.KeysOf({.begin = "b", .end = "d"}), (Keys{"b", "c"}));
  EXPECT_EQ(scanner.KeysOf({.begin = "b", .end = "d", .reverse = true}),
            (Keys{"c", "b"}));
  EXPECT_EQ(scanner.KeysOf({.begin = "bb"}), (Keys{"c", "d"}));
  EXPECT_EQ(scanner.KeysOf({.end = "bb", .reverse = true}), (Keys{"b", "a"}));
}

TEST_P(EngineConformance, ScanOfAnEmptyRangeIsEmpty) {
  ASSERT_TRUE(Set("b", "v").applied);
  Scanner scanner(*engine_);
  EXPECT_EQ(scanner.KeysOf({.begin = "b", .end = "b"}), Keys());
  EXPECT_EQ(scanner.KeysOf({.begin = "c", .end = "a"}), Keys());
  EXPECT_EQ(scanner.KeysOf({.end = ""}), Keys());
}

TEST_P(EngineConformance, ScanOfPrefixAndRangeIsTheirIntersection) {
  for (const char* key : {"a1", "a2", "a3", "b1"}) {
    ASSERT_TRUE(Set(key, "v").applied);
  }
  Scanner scanner(*engine_);
  EXPECT_EQ(scanner.KeysOf({.prefix = "a", .begin = "a2"}), (Keys{"a2", "a3"}));
  EXPECT_EQ(scanner.KeysOf({.prefix = "a", .end = "a3", .reverse = true}),
            (Keys{"a2", "a1"}));
}

TEST_P(EngineConformance, ScanOfATag) {
  ASSERT_TRUE(SetWithTag("c", "v", "red").applied);
  ASSERT_TRUE(SetWithTag("a", "v", "red").applied);
  ASSERT_TRUE(SetWithTag("b", "v", "blue").applied);
  ASSERT_TRUE(SetWithTag("d", "v", "redder").applied);
  ASSERT_TRUE(Set("e", "v").applied);
  Scanner scanner(*engine_);
  EXPECT_EQ(scanner.KeysOf({.tag = "red"}), (Keys{"a", "c"}));
  EXPECT_EQ(scanner.KeysOf({.tag = "red", .reverse = true}), (Keys{"c", "a"}));
  EXPECT_EQ(scanner.KeysOf({.begin = "b", .tag = "red"}), (Keys{"c"}));
  EXPECT_EQ(scanner.KeysOf({.prefix = "a", .tag = "red"}), (Keys{"a"}));
  EXPECT_EQ(scanner.KeysOf({.tag = "green"}), Keys());
}

TEST_P(EngineConformance, ScanOfATagLeavesOutWhatLostIt) {
  ASSERT_TRUE(SetWithTag("retagged", "v", "red").applied);
  ASSERT_TRUE(SetWithTag("deleted", "v", "red").applied);
  ASSERT_TRUE(SetWithTag("kept", "v", "red").applied);
  ASSERT_TRUE(SetWithTag("retagged", "v", "blue").applied);
  ASSERT_TRUE(Delete("deleted").applied);
  EXPECT_EQ(Scanner(*engine_).KeysOf({.tag = "red"}), (Keys{"kept"}));
}

TEST_P(EngineConformance, ScanTellsItemsWithoutTheirValues) {
  ASSERT_TRUE(Run(SetCommand{.key = "key",
                             .value = "12345",
                             .codec = 9,
                             .ttl = seconds(10),
                             .tag = "red"})
                  .applied);
  const auto items = Scanner(*engine_).Items({});
  ASSERT_EQ(items.size(), 1U);
  EXPECT_EQ(items[0].info.size_bytes, 5U);
  EXPECT_EQ(items[0].info.codec, 9);
  EXPECT_EQ(items[0].info.tag, "red");
  EXPECT_EQ(items[0].info.expires_at, clock_.Now() + seconds(10));
  EXPECT_EQ(items[0].info.version, Inspect("key").info.version);
  EXPECT_EQ(items[0].value.size(), 0U);
}

TEST_P(EngineConformance, ScanWithValuesGivesValuesOfEverySize) {
  const std::vector<std::size_t> sizes = {0, 1, 200, 5000, 40000, 2 << 20};
  for (const std::size_t size : sizes) {
    ASSERT_TRUE(Set(std::to_string(size), MakeValue(size, size)).applied);
  }
  const auto items = Scanner(*engine_).Items({.with_values = true});
  ASSERT_EQ(items.size(), sizes.size());
  for (const ScanItem& item : items) {
    const std::size_t size = std::stoul(item.key);
    EXPECT_TRUE(item.value.bytes() == MakeValue(size, size)) << size;
  }
}

TEST_P(EngineConformance, ScanPagesOfAnySizeGiveTheSameItems) {
  Keys keys;
  for (int i = 0; i < 100; ++i) {
    keys.push_back("key" + std::to_string(100 + i));
    ASSERT_TRUE(Set(keys.back(), "v").applied);
  }
  for (const std::size_t page_size :
       {std::size_t{1}, std::size_t{7}, std::size_t{100}, kScanPageCountMax}) {
    EXPECT_EQ(Scanner::Names(Scanner(*engine_).Items({}, page_size)), keys);
  }
}

TEST_P(EngineConformance, ScanPageSizeOutOfBoundsIsInvalid) {
  ASSERT_TRUE(Set("key", "v").applied);
  auto scan = engine_->OpenScan({});
  ASSERT_TRUE(scan.has_value());
  EXPECT_EQ((*scan)->Next(0).error().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ((*scan)->Next(kScanPageCountMax + 1).error().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ((*scan)->Next(1)->size(), 1U);
}

TEST_P(EngineConformance, ScanStaysAtItsEnd) {
  ASSERT_TRUE(Set("key", "v").applied);
  auto scan = engine_->OpenScan({});
  ASSERT_TRUE(scan.has_value());
  EXPECT_EQ((*scan)->Next(10)->size(), 1U);
  EXPECT_TRUE((*scan)->Next(10)->empty());
  EXPECT_TRUE((*scan)->Next(10)->empty());
}

TEST_P(EngineConformance, ScanLeavesOutExpiredItems) {
  ASSERT_TRUE(SetWithTtl("dead", "v", seconds(1)).applied);
  ASSERT_TRUE(SetWithTtl("live", "v", seconds(9)).applied);
  clock_.Advance(seconds(1));
  EXPECT_EQ(Scanner(*engine_).KeysOf({}), (Keys{"live"}));
  EXPECT_EQ(Scanner(*engine_).KeysOf({.reverse = true}), (Keys{"live"}));
}

TEST_P(EngineConformance, ScanSeesNoneOfTheLaterWrites) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(Set("key" + std::to_string(i), "old").applied);
  }
  for (const bool reverse : {false, true}) {
    auto scan = engine_->OpenScan({.reverse = reverse, .with_values = true});
    ASSERT_TRUE(scan.has_value());
    auto items = *(*scan)->Next(2);
    ASSERT_TRUE(Set("key3", "new").applied);
    ASSERT_TRUE(Set("key33", "inserted").applied);
    ASSERT_TRUE(Delete("key5").applied);
    std::ranges::move(Scanner::Rest(**scan, 3), std::back_inserter(items));
    ASSERT_EQ(items.size(), 10U);
    for (const ScanItem& item : items) EXPECT_EQ(item.value.bytes(), "old");
    ASSERT_TRUE(Set("key3", "old").applied);
    ASSERT_TRUE(Set("key5", "old").applied);
    ASSERT_TRUE(Delete("key33").applied);
  }
}

TEST_P(EngineConformance, ScanOutlivesClear) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(
        SetWithTag("key" + std::to_string(i), MakeValue(1, 30000), "red")
            .applied);
  }
  auto scan = engine_->OpenScan({.with_values = true});
  auto tagged = engine_->OpenScan({.tag = "red"});
  ASSERT_TRUE(scan.has_value());
  ASSERT_TRUE(tagged.has_value());
  ASSERT_EQ(Run(ClearCommand{}).count, 10U);
  ASSERT_TRUE(Set("key0", "new").applied);
  const auto items = Scanner::Rest(**scan, 4);
  ASSERT_EQ(items.size(), 10U);
  for (const ScanItem& item : items) {
    EXPECT_TRUE(item.value.bytes() == MakeValue(1, 30000)) << item.key;
  }
  EXPECT_EQ(Scanner::Rest(**tagged, 4).size(), 10U);
}

// One thread moves a token from key to key in atomic batches: each scan must
// find it exactly once.
TEST_P(EngineConformance, ScanIsASnapshotBesideAWriter) {
  ASSERT_TRUE(Set("key00", "token").applied);
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int i = 0; !stop; i = (i + 37) % 100) {
      const std::string from = "key" + std::to_string(100 + i).substr(1);
      const std::string to =
          "key" + std::to_string(100 + (i + 37) % 100).substr(1);
      const std::vector<Command> commands = {
          DeleteCommand{.key = from}, SetCommand{.key = to, .value = "token"}};
      std::vector<Reply> replies(2);
      EXPECT_TRUE(engine_->Execute(commands, replies, {}).ok());
    }
  });
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(Scanner(*engine_)
                  .Items({.reverse = i % 2 == 1, .with_values = i % 3 == 0})
                  .size(),
              1U);
  }
  stop = true;
  writer.join();
}

}  // namespace
}  // namespace larder::testing
