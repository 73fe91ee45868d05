// Every adapter stores what it is given and finds it again, so that no
// benchmark measures misses, errors or the wrong bytes.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "stores/store_adapter.h"
#include "stores/work_directory.h"
#include "stores/workload.h"

namespace larder::bench {
namespace {

constexpr std::uint64_t kSeed = 7;

class Collect final : public ValueVisitor {
 public:
  void Visit(std::string_view value) override { values.emplace_back(value); }
  std::vector<std::string> values;
};

class Adapter : public testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override {
    auto directory = WorkDirectory::Make(testing::TempDir());
    ASSERT_TRUE(directory) << directory.error().ToString();
    directory_ = std::make_unique<WorkDirectory>(std::move(*directory));
    Open();
  }

  void Open() {
    StoreOptions options;
    options.size_limit_bytes = std::uint64_t{512} << 20;
    auto store = OpenStore(GetParam(), directory_->path(), options);
    ASSERT_TRUE(store) << store.error().ToString();
    store_ = std::move(*store);
  }

  void TearDown() override {
    if (store_ != nullptr) {
      EXPECT_TRUE(store_->Close().ok());
    }
  }

  std::string Read(std::string_view key) {
    Collect seen;
    const auto hit = store_->Get(key, seen);
    EXPECT_TRUE(hit.has_value());
    return hit && *hit ? seen.values.at(0) : "(miss)";
  }

  const ValuePool pool_{std::size_t{1} << 20, kSeed};
  std::unique_ptr<WorkDirectory> directory_;
  std::unique_ptr<KeyValueStore> store_;
};

TEST_P(Adapter, ReadsBackEverySizeThatIsMeasured) {
  for (const std::size_t size : {0U, 100U, 1024U, 16384U, 65536U, 1048576U}) {
    const std::string key = KeyOf(size, kSeed);
    ASSERT_TRUE(store_->Set(key, pool_.Of(size, size)).ok());
    EXPECT_TRUE(Read(key) == pool_.Of(size, size)) << size;
  }
}

TEST_P(Adapter, AnAbsentKeyIsAMiss) {
  EXPECT_EQ(Read("absent-key-000000"), "(miss)");
}

TEST_P(Adapter, AnOverwriteReplacesAcrossSizes) {
  ASSERT_TRUE(store_->Set("key", pool_.Of(1, 65536)).ok());
  ASSERT_TRUE(store_->Set("key", pool_.Of(2, 100)).ok());
  EXPECT_TRUE(Read("key") == pool_.Of(2, 100));
  ASSERT_TRUE(store_->Set("key", pool_.Of(3, 131072)).ok());
  EXPECT_TRUE(Read("key") == pool_.Of(3, 131072));
}

TEST_P(Adapter, ADeletedKeyIsAMiss) {
  ASSERT_TRUE(store_->Set("small", "value").ok());
  ASSERT_TRUE(store_->Set("large", pool_.Of(1, 65536)).ok());
  for (const char* key : {"small", "large"}) {
    const auto deleted = store_->Delete(key);
    ASSERT_TRUE(deleted) << deleted.error().ToString();
    EXPECT_TRUE(*deleted);
    EXPECT_EQ(Read(key), "(miss)");
  }
}

TEST_P(Adapter, MultiGetCountsHitsAndShowsTheirValues) {
  const std::vector<std::string> keys = MakeKeys(20, kSeed);
  std::vector<KeyValue> items;
  for (std::uint64_t i = 0; i < 10; ++i) {
    items.push_back({keys[i], pool_.Of(i, 40'000)});
  }
  ASSERT_TRUE(store_->SetMany(items).ok());
  Collect seen;
  const std::vector<std::string_view> asked(keys.begin(), keys.end());
  const auto hits = store_->MultiGet(asked, seen);
  ASSERT_TRUE(hits) << hits.error().ToString();
  EXPECT_EQ(*hits, 10U);
  ASSERT_EQ(seen.values.size(), 10U);
  for (std::uint64_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(seen.values[i] == pool_.Of(i, 40'000)) << i;
  }
}

TEST_P(Adapter, IncrCountsFromZero) {
  for (std::int64_t expected = 3; expected <= 9; expected += 3) {
    const auto value = store_->Incr("counter", 3);
    ASSERT_TRUE(value) << value.error().ToString();
    EXPECT_EQ(*value, expected);
  }
}

TEST_P(Adapter, DataSurvivesCloseAndOpen) {
  ASSERT_TRUE(store_->Set("small", "value").ok());
  ASSERT_TRUE(store_->Set("large", pool_.Of(1, 65536)).ok());
  ASSERT_TRUE(store_->Settle().ok());
  ASSERT_TRUE(store_->Close().ok());
  store_.reset();
  Open();
  EXPECT_EQ(Read("small"), "value");
  EXPECT_TRUE(Read("large") == pool_.Of(1, 65536));
}

TEST_P(Adapter, AScanShowsEveryItemWithItsSizeOrIsNotOffered) {
  ASSERT_TRUE(store_->Set("small", pool_.Of(1, 100)).ok());
  ASSERT_TRUE(store_->Set("large", pool_.Of(2, 65536)).ok());
  std::map<std::string, std::uint64_t> sizes;
  const Status status =
      store_->ForEachItem([&](std::string_view key, std::uint64_t size) {
        sizes.emplace(key, size);
      });
  const bool offered =
      GetParam() == EngineKind::kLarder || GetParam() == EngineKind::kSqlite;
  ASSERT_EQ(status.ok(), offered) << status.ToString();
  if (offered) {
    const std::map<std::string, std::uint64_t> expected{{"small", 100},
                                                        {"large", 65536}};
    EXPECT_EQ(sizes, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Adapter,
                         testing::ValuesIn(AllEngines().begin(),
                                           AllEngines().end()),
                         [](const auto& parameter) {
                           return std::string(EngineName(parameter.param));
                         });

TEST(SqliteAdapter, KeepsItsFilesWithinTheLimitByCulling) {
  auto directory = WorkDirectory::Make(testing::TempDir());
  ASSERT_TRUE(directory) << directory.error().ToString();
  StoreOptions options;
  options.size_limit_bytes = std::uint64_t{4} << 20;
  auto store = OpenStore(EngineKind::kSqlite, directory->path(), options);
  ASSERT_TRUE(store) << store.error().ToString();
  const ValuePool pool(65536, kSeed);
  for (std::uint64_t i = 0; i < 200; ++i) {
    ASSERT_TRUE((*store)->Set(KeyOf(i, kSeed), pool.Of(i, 65536)).ok());
  }
  std::uint64_t bytes = 0;
  ASSERT_TRUE((*store)
                  ->ForEachItem([&](std::string_view, std::uint64_t size) {
                    bytes += size;
                  })
                  .ok());
  EXPECT_LE(bytes, options.size_limit_bytes);
  EXPECT_GT(bytes, options.size_limit_bytes / 2);
}

}  // namespace
}  // namespace larder::bench
