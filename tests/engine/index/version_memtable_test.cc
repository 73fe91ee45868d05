#include "index/version_memtable.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/write_batch.h>

#include "base/coding.h"
#include "temporary_directory.h"
#include "test_values.h"

// Databases with the memtable under test, beside the same with RocksDB's own:
// whatever is asked, both answer the same.

namespace larder {
namespace {

using rocksdb::Slice;
using testing::Random;

// Appends operands, with their order.
class Appends final : public rocksdb::AssociativeMergeOperator {
 public:
  [[nodiscard]] const char* Name() const override { return "Appends"; }
  bool Merge(const Slice& /*key*/, const Slice* existing, const Slice& value,
             std::string* result, rocksdb::Logger* /*log*/) const override {
    if (existing != nullptr) result->assign(existing->ToStringView());
    result->append(value.ToStringView());
    return true;
  }
};

class Database {
 public:
  explicit Database(std::shared_ptr<rocksdb::MemTableRepFactory> memtables) {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.memtable_factory = std::move(memtables);
    options.merge_operator = std::make_shared<Appends>();
    options.avoid_flush_during_shutdown = true;
    rocksdb::DB* db = nullptr;
    EXPECT_TRUE(
        rocksdb::DB::Open(options, directory_.path().string(), &db).ok());
    db_.reset(db);
  }
  rocksdb::DB& operator*() const { return *db_; }
  rocksdb::DB* operator->() const { return db_.get(); }

  [[nodiscard]] std::string Get(const std::string& key,
                                const rocksdb::Snapshot* snapshot) const {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot;
    std::string value;
    const rocksdb::Status status = db_->Get(options, key, &value);
    return status.ok() ? value : status.ToString();
  }

 private:
  testing::TemporaryDirectory directory_;
  std::unique_ptr<rocksdb::DB> db_;
};

std::shared_ptr<rocksdb::MemTableRepFactory> Ours(
    std::size_t write_buffer = 64 * 1024) {
  return std::make_shared<VersionMemTableFactory>(write_buffer);
}

std::shared_ptr<rocksdb::MemTableRepFactory> RocksDbs() {
  return std::make_shared<rocksdb::SkipListFactory>();
}

std::string Position(const rocksdb::Iterator& it) {
  if (!it.Valid()) return "end";
  return it.key().ToString() + "=" + it.value().ToString();
}

// Keys of all lengths up to 20, with common beginnings and bytes of all sorts.
std::string RandomKey(Random& random) {
  static constexpr char kBytes[] = {'\0', '\x01', 'a', 'b', '\x7F', '\xFF'};
  std::string key(random.Below(4) * random.Below(7), 'k');
  while (random.Below(3) != 0 && key.size() < 20) {
    key.push_back(kBytes[random.Below(sizeof(kBytes))]);
  }
  return key;
}

class Pair {
 public:
  explicit Pair(std::uint64_t seed) : random_(seed) {}
  ~Pair() {
    for (const auto& [ours, theirs] : snapshots_) {
      ours_->ReleaseSnapshot(ours);
      theirs_->ReleaseSnapshot(theirs);
    }
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  void Write() {
    rocksdb::WriteBatch batch;
    for (std::uint64_t i = random_.Below(6); i < 6; ++i) {
      const std::string key = KnownKey();
      const std::string value = std::to_string(random_.Next() % 1000);
      switch (random_.Below(6)) {
        case 0:
          EXPECT_TRUE(batch.Delete(key).ok());
          break;
        case 1:
          EXPECT_TRUE(batch.Merge(key, value).ok());
          break;
        default:
          EXPECT_TRUE(batch.Put(key, value).ok());
      }
    }
    rocksdb::WriteBatch copy = batch;
    EXPECT_TRUE(ours_->Write({}, &batch).ok());
    EXPECT_TRUE(theirs_->Write({}, &copy).ok());
    if (random_.OneIn(40)) {
      snapshots_.emplace_back(ours_->GetSnapshot(), theirs_->GetSnapshot());
    }
  }

  void ReadKeys() {
    const auto [ours, theirs] = RandomSnapshot();
    std::vector<std::string> keys;
    for (int i = 0; i < 8; ++i) {
      keys.push_back(random_.OneIn(2) ? KnownKey() : RandomKey(random_));
      EXPECT_EQ(ours_.Get(keys.back(), ours), theirs_.Get(keys.back(), theirs));
    }
    const std::vector<Slice> slices(keys.begin(), keys.end());
    rocksdb::ReadOptions options;
    std::vector<std::string> our_values;
    std::vector<std::string> their_values;
    options.snapshot = ours;
    ours_->MultiGet(options, slices, &our_values);
    options.snapshot = theirs;
    theirs_->MultiGet(options, slices, &their_values);
    EXPECT_EQ(our_values, their_values);
  }

  void Walk() {
    const auto [ours, theirs] = RandomSnapshot();
    rocksdb::ReadOptions options;
    options.snapshot = ours;
    const std::unique_ptr<rocksdb::Iterator> our_it(
        ours_->NewIterator(options));
    options.snapshot = theirs;
    const std::unique_ptr<rocksdb::Iterator> their_it(
        theirs_->NewIterator(options));
    for (int step = 0; step < 60; ++step) {
      const std::string key = RandomKey(random_);
      const std::uint64_t move = random_.Below(20);
      for (rocksdb::Iterator* it : {our_it.get(), their_it.get()}) {
        if (move == 0) {
          it->SeekToFirst();
        } else if (move == 1) {
          it->SeekToLast();
        } else if (move < 4) {
          it->Seek(key);
        } else if (move < 6) {
          it->SeekForPrev(key);
        } else if (it->Valid()) {
          move < 13 ? it->Next() : it->Prev();
        }
      }
      ASSERT_EQ(Position(*our_it), Position(*their_it));
    }
  }

  void Flush() {
    EXPECT_TRUE(ours_->Flush({}).ok());
    EXPECT_TRUE(theirs_->Flush({}).ok());
  }

 private:
  // Of few keys, so that they have many versions.
  std::string KnownKey() {
    if (keys_.size() < 40 || random_.OneIn(20)) {
      keys_.push_back(RandomKey(random_));
    }
    return keys_[random_.Below(keys_.size())];
  }
  std::pair<const rocksdb::Snapshot*, const rocksdb::Snapshot*>
  RandomSnapshot() {
    if (snapshots_.empty() || random_.OneIn(2)) return {nullptr, nullptr};
    return snapshots_[random_.Below(snapshots_.size())];
  }

  Random random_;
  Database ours_{Ours()};
  Database theirs_{RocksDbs()};
  std::vector<std::string> keys_;
  std::vector<std::pair<const rocksdb::Snapshot*, const rocksdb::Snapshot*>>
      snapshots_;
};

class VersionMemTable : public ::testing::TestWithParam<int> {};

TEST_P(VersionMemTable, AnswersAsRocksDbsOwn) {
  Random random(static_cast<std::uint64_t>(GetParam()));
  Pair pair(random.Next());
  for (int round = 0; round < 300; ++round) {
    for (int i = 0; i < 3; ++i) pair.Write();
    pair.ReadKeys();
    if (random.OneIn(4)) pair.Walk();
    if (random.OneIn(100)) pair.Flush();
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, VersionMemTable, ::testing::Range(1, 7));

TEST(VersionMemTableChains, EachOfManyVersionsIsFoundAtItsSnapshot) {
  constexpr int kVersions = 5000;
  const Database db(Ours());
  std::vector<std::pair<int, const rocksdb::Snapshot*>> snapshots;
  for (int i = 0; i < kVersions; ++i) {
    ASSERT_TRUE(db->Put({}, "key", std::to_string(i)).ok());
    if (i % 97 == 0) snapshots.emplace_back(i, db->GetSnapshot());
  }
  EXPECT_EQ(db.Get("key", nullptr), std::to_string(kVersions - 1));
  for (const auto& [i, snapshot] : snapshots) {
    EXPECT_EQ(db.Get("key", snapshot), std::to_string(i));
    EXPECT_EQ(db.Get("kex", snapshot), "NotFound: ");
    db->ReleaseSnapshot(snapshot);
  }
}

TEST(VersionMemTableChains, ATableThatIsTooSmallForItsKeysFindsThem) {
  constexpr int kKeys = 20000;
  const Database db(Ours(1));
  for (int i = kKeys; i-- > 0;) {
    ASSERT_TRUE(db->Put({}, std::to_string(i), std::to_string(2 * i)).ok());
  }
  for (int i = 0; i < kKeys; i += 7) {
    ASSERT_EQ(db.Get(std::to_string(i), nullptr), std::to_string(2 * i));
  }
  const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator({}));
  std::string last;
  int count = 0;
  for (it->SeekToFirst(); it->Valid(); it->Next(), ++count) {
    ASSERT_LT(last, it->key().ToString());
    last = it->key().ToString();
  }
  EXPECT_EQ(count, kKeys);
}

TEST(VersionMemTableChains, SizesAreAboutRight) {
  constexpr std::uint64_t kKeys = 4000;
  constexpr std::uint64_t kPairSize = 108;
  const Database db(Ours());
  for (std::uint64_t i = 0; i < kKeys; ++i) {
    std::string key(8, '\0');
    StoreBigEndian64(key.data(), i);
    ASSERT_TRUE(db->Put({}, key, std::string(100, 'v')).ok());
  }
  std::string end(8, '\0');
  StoreBigEndian64(end.data(), kKeys / 2);
  rocksdb::SizeApproximationOptions options;
  options.include_memtables = true;
  const rocksdb::Range range("", end);
  std::uint64_t bytes = 0;
  ASSERT_TRUE(db->GetApproximateSizes(options, db->DefaultColumnFamily(),
                                      &range, 1, &bytes)
                  .ok());
  EXPECT_GT(bytes, kKeys / 2 * kPairSize / 4);
  EXPECT_LT(bytes, kKeys / 2 * kPairSize * 4);
}

// RocksDB puts what several threads commit into the memtable at once.
TEST(VersionMemTableThreads, WriteAtOnceWhileOthersRead) {
  constexpr int kWriters = 4;
  constexpr int kWrites = 1500;
  const Database db(Ours(1));
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&, reader] {
      std::size_t seen = 0;
      while (!done) {
        // A merge that was seen does not go away.
        const std::string common = db.Get("common", nullptr);
        if (common != "NotFound: ") {
          EXPECT_GE(common.size(), seen);
          seen = common.size();
        }
        const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator({}));
        std::string last;
        for (reader == 0 ? it->SeekToFirst() : it->Seek("b"); it->Valid();
             it->Next()) {
          EXPECT_LT(last, it->key().ToString());
          last = it->key().ToString();
        }
      }
    });
  }
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      const auto own = static_cast<char>('a' + writer);
      for (int i = 0; i < kWrites; ++i) {
        rocksdb::WriteBatch batch;
        EXPECT_TRUE(batch.Merge("common", std::string(1, own)).ok());
        EXPECT_TRUE(
            batch.Put(own + std::to_string(i % 50), std::to_string(i)).ok());
        EXPECT_TRUE(db->Write({}, &batch).ok());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  done = true;
  for (std::thread& reader : readers) reader.join();
  const std::string common = db.Get("common", nullptr);
  for (int writer = 0; writer < kWriters; ++writer) {
    const auto own = static_cast<char>('a' + writer);
    EXPECT_EQ(std::count(common.begin(), common.end(), own), kWrites);
    EXPECT_EQ(db.Get(own + std::to_string(7), nullptr),
              std::to_string(kWrites - 50 + 7));
  }
}

}  // namespace
}  // namespace larder
