// Databases made change by change, of which one part is damaged: what is not
// to come back, whatever the order in which tables and logs know of it.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include "base/coding.h"
#include "index/entry.h"
#include "index/ledger_delta.h"
#include "index/rocks.h"
#include "index/store_keys.h"
#include "repair/salvage.h"
#include "temporary_directory.h"

namespace larder {
namespace {

namespace fs = std::filesystem;
using Family = rocksdb::ColumnFamilyHandle* (Rocks::*)();

constexpr Rank kRank = Rank{kClassMain} << 62 | Rank{256} << 20;

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class SalvageDatabaseTest : public ::testing::Test {
 protected:
  static constexpr bool kLogged = true;
  static constexpr bool kUnlogged = false;

  void SetUp() override { rocks_ = Open(source_); }

  static std::unique_ptr<Rocks> Open(const fs::path& path) {
    Rocks::Options options;
    options.path = path;
    options.sizes = RocksSizes::For(64 << 20, 0, 0);
    options.create = true;
    auto rocks = Rocks::Open(options);
    EXPECT_TRUE(rocks.has_value()) << rocks.error().ToString();
    (*rocks)->Keep();
    return *std::move(rocks);
  }
  static rocksdb::WriteOptions Written(bool logged) {
    rocksdb::WriteOptions write;
    write.disableWAL = !logged;
    return write;
  }
  void Put(std::string_view key, std::uint64_t version, std::string_view value,
           bool logged = kLogged, std::uint32_t epoch = 0) {
    Entry entry;
    entry.version = version;
    entry.rank = kRank;
    entry.epoch = epoch;
    entry.value_size = value.size();
    entry.inline_value = value;
    PutEntry(key, entry, logged);
  }
  void PutEntry(std::string_view key, const Entry& entry, bool logged) {
    std::string bytes;
    EncodeEntry(entry, bytes);
    const EntryKey entry_key(key);
    ASSERT_TRUE(rocks_->db()
                    .Put(Written(logged), rocks_->access(),
                         rocksdb::Slice(entry_key.bytes()), bytes)
                    .ok());
  }
  void Delete(std::string_view key, bool logged = kLogged) {
    const EntryKey entry_key(key);
    ASSERT_TRUE(rocks_->db()
                    .Delete(Written(logged), rocks_->access(),
                            rocksdb::Slice(entry_key.bytes()))
                    .ok());
  }
  // A record of `values`, by itself.
  void PutRecord(std::string_view key, std::uint64_t position) {
    std::string bytes;
    const ValueRecord record{.key = key, .value = "record"};
    EncodeValueRecordHead(record, position, bytes);
    bytes += record.value;
    ASSERT_TRUE(rocks_->db()
                    .Put(Written(kLogged), rocks_->values(),
                         PositionKey(position).slice(), bytes)
                    .ok());
  }
  static Entry RunEntry(std::uint64_t position) {
    Entry entry;
    entry.kind = EntryKind::kRun;
    entry.run = 1;
    entry.version = position;
    entry.rank = kRank;
    entry.value_size = 6;
    return entry;
  }
  void PutTagCutoff(std::string_view tag, std::uint64_t version,
                    bool logged = kLogged) {
    ASSERT_TRUE(rocks_->db()
                    .Put(Written(logged), rocks_->counters(), TagCutoffKey(tag),
                         PositionKey(version).slice())
                    .ok());
  }
  // 0: there is none.
  std::uint64_t TagCutoff(std::string_view tag) {
    std::string value;
    const rocksdb::Status status = rocks_->db().Get(
        rocksdb::ReadOptions(), rocks_->counters(), TagCutoffKey(tag), &value);
    return status.ok() ? LoadBigEndian64(value.data()) : 0;
  }
  void MergeLedger(const LedgerDelta& delta) {
    std::string bytes;
    delta.Encode(bytes);
    ASSERT_TRUE(rocks_->db()
                    .Merge(Written(kLogged), rocks_->counters(),
                           rocksdb::Slice(kLedgerKey), bytes)
                    .ok());
  }
  // It never is why something does not come back.
  void MergeGenerousLedger() {
    LedgerDelta delta;
    delta.Add(kRank, kPlaceInline, 1 << 20, 1000);
    MergeLedger(delta);
  }
  void Flush(Family family) {
    ASSERT_TRUE(rocks_->db()
                    .Flush(rocksdb::FlushOptions(), ((*rocks_).*family)())
                    .ok());
  }
  // To the last level, where sequence numbers and deletions are forgotten.
  void Compact(Family family) {
    Flush(family);
    rocksdb::CompactRangeOptions options;
    options.bottommost_level_compaction =
        rocksdb::BottommostLevelCompaction::kForce;
    ASSERT_TRUE(
        rocks_->db()
            .CompactRange(options, ((*rocks_).*family)(), nullptr, nullptr)
            .ok());
  }
  std::vector<fs::path> Tables(const std::string& family) {
    std::vector<rocksdb::LiveFileMetaData> files;
    rocks_->db().GetLiveFilesMetaData(&files);
    std::map<std::uint64_t, fs::path> tables;
    for (const auto& file : files) {
      if (file.column_family_name != family) continue;
      tables[file.file_number] = source_ / file.relative_filename;
    }
    std::vector<fs::path> paths;
    for (const auto& [number, path] : tables) paths.push_back(path);
    return paths;
  }
  static void Flip(const fs::path& file, std::size_t at) {
    std::string bytes = ReadFile(file);
    ASSERT_LT(at, bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    std::ofstream(file, std::ios::binary) << bytes;
  }
  // Of which its data blocks are whole.
  static void FlipFooter(const fs::path& table) {
    Flip(table, static_cast<std::size_t>(fs::file_size(table)) - 1);
  }
  // What is left has no MANIFEST that is known.
  void RemoveManifestAndLogs() const {
    fs::remove(source_ / "CURRENT");
    for (const auto& file : fs::directory_iterator(source_)) {
      if (file.path().extension() == ".log") fs::remove(file.path());
    }
  }
  // As a kill, and then the repair: values of `access`, by key.
  void Salvage() {
    rocks_.reset();
    SalvageOptions options;
    options.source = source_;
    options.scratch = directory_.path() / "scratch";
    options.target = directory_.path() / "target";
    options.log = directory_.path() / "log";
    options.sizes = RocksSizes::For(64 << 20, 0, 0);
    options.log_line = [](std::string_view) {};
    options.add_cells = [](std::string_view, const Entry& entry, int sign,
                           LedgerDelta& delta) {
      delta.Add(entry.rank, kPlaceInline, sign, sign);
    };
    const auto report = SalvageDatabase(options);
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    rocks_ = Open(options.target);
    items_.clear();
    const std::unique_ptr<rocksdb::Iterator> it(
        rocks_->db().NewIterator(rocksdb::ReadOptions(), rocks_->access()));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      Entry entry;
      if (it->key()[0] != kEntrySpace ||
          !DecodeEntry(it->value().ToStringView(), entry).ok()) {
        continue;
      }
      items_[it->key().ToString().substr(1)] = entry.inline_value;
    }
    std::string ledger;
    ASSERT_TRUE(rocks_->db()
                    .Get(rocksdb::ReadOptions(), rocks_->counters(),
                         rocksdb::Slice(kLedgerKey), &ledger)
                    .ok());
    ASSERT_TRUE(LedgerDelta::Decode(ledger, ledger_).ok());
  }

  const testing::TemporaryDirectory directory_;
  const fs::path source_ = directory_.path() / "db";
  std::unique_ptr<Rocks> rocks_;
  std::map<std::string, std::string> items_;
  LedgerDelta ledger_;
};

TEST_F(SalvageDatabaseTest, ALogIsOlderThanATableThatWasFlushedAfterIt) {
  MergeGenerousLedger();
  PutRecord("other", 90);  // Keeps the log.
  Put("changed", 1, "old");
  Put("deleted", 2, "old");
  Put("middle", 3, "kept");
  Put("changed", 4, "new", kUnlogged);
  Delete("deleted", kUnlogged);
  Compact(&Rocks::access);
  ASSERT_EQ(Tables("access").size(), 1U);
  FlipFooter(Tables("access").front());
  Salvage();
  EXPECT_EQ(items_["changed"], "new");
  EXPECT_EQ(items_["middle"], "kept");
  EXPECT_FALSE(items_.contains("deleted"));
}

TEST_F(SalvageDatabaseTest, AnObsoleteTableIsNoSource) {
  MergeGenerousLedger();
  Put("changed", 1, "old");
  Put("deleted", 2, "old");
  Put("middle", 3, "kept");
  Flush(&Rocks::access);
  const fs::path obsolete = Tables("access").front();
  const std::string bytes = ReadFile(obsolete);
  Put("changed", 4, "new");
  Delete("deleted");
  Compact(&Rocks::access);
  Put("zzz", 5, "in level 0");
  Flush(&Rocks::access);
  ASSERT_EQ(Tables("access").size(), 2U);
  const fs::path damaged = Tables("access").back();
  rocks_.reset();
  ASSERT_FALSE(fs::exists(obsolete));
  std::ofstream(obsolete, std::ios::binary) << bytes;
  FlipFooter(damaged);
  Salvage();
  EXPECT_EQ(items_["changed"], "new");
  EXPECT_EQ(items_["middle"], "kept");
  EXPECT_EQ(items_["zzz"], "in level 0");
  EXPECT_FALSE(items_.contains("deleted"));
}

TEST_F(SalvageDatabaseTest, WithoutManifestATableThatIsPutAsideStillCounts) {
  MergeGenerousLedger();
  Put("changed", 1, "old");
  Put("deleted", 2, "old");
  Put("before", 3, "kept");
  Flush(&Rocks::access);
  Put("changed", 4, "new");
  Delete("deleted");
  Flush(&Rocks::access);
  Flush(&Rocks::counters);
  const fs::path newer = Tables("access").back();
  rocks_.reset();
  FlipFooter(newer);
  RemoveManifestAndLogs();
  Salvage();
  EXPECT_NE(items_["changed"], "old");
  EXPECT_EQ(items_["before"], "kept");
  EXPECT_FALSE(items_.contains("deleted"));
}

// The log has an older put of a key than the table that forgot its number.
TEST_F(SalvageDatabaseTest, WithoutManifestVersionsTellTheNewest) {
  MergeGenerousLedger();
  PutRecord("other", 90);  // Keeps the log.
  Put("changed", 1, "old");
  Put("changed", 2, "new", kUnlogged);
  Compact(&Rocks::access);
  rocks_.reset();
  fs::remove(source_ / "CURRENT");
  Salvage();
  EXPECT_EQ(items_["changed"], "new");
}

TEST_F(SalvageDatabaseTest, WhereATableIsDarkOlderOnesDoNotShowThrough) {
  MergeGenerousLedger();
  Put("changed", 1, "old");
  Put("zzz", 2, "old");
  Compact(&Rocks::access);
  Put("changed", 3, "new");
  Flush(&Rocks::access);
  const fs::path newer = Tables("access").back();
  Put("changed", 4, "newest");  // Of the log: after all of the table.
  Delete("zzz");
  rocks_.reset();
  Flip(newer, 10);
  Salvage();
  EXPECT_EQ(items_["changed"], "newest");
  EXPECT_FALSE(items_.contains("zzz"));

  rocks_.reset();
  fs::remove_all(source_);
  rocks_ = Open(source_);
  MergeGenerousLedger();
  Put("changed", 1, "old");
  Compact(&Rocks::access);
  Put("changed", 3, "new");
  Flush(&Rocks::access);
  const fs::path second = Tables("access").back();
  rocks_.reset();
  Flip(second, 10);
  Salvage();
  EXPECT_FALSE(items_.contains("changed"));
}

TEST_F(SalvageDatabaseTest, ADeletionThatCanBeReadWinsWithoutLedger) {
  for (const char* key : {"deleted", "lost"}) {
    const std::uint64_t position = key[0] == 'd' ? 5 : 6;
    PutRecord(key, position);
    PutEntry(key, RunEntry(position), kLogged);
  }
  Compact(&Rocks::access);
  const fs::path table = Tables("access").front();
  Delete("deleted");
  rocks_.reset();
  Flip(table, 10);
  Salvage();
  EXPECT_FALSE(items_.contains("deleted"));
  EXPECT_TRUE(items_.contains("lost"));
}

// The ledger lacks one: the one that had two tags, of which nobody knows which
// it has. What was deleted long ago is not to come in its stead.
TEST_F(SalvageDatabaseTest, NothingComesInsteadOfWhatCannotComeBack) {
  LedgerDelta ledger;
  ledger.Add(kRank, PlaceOfRun(1), 100, 1);
  MergeLedger(ledger);
  for (const bool has_two_tags : {false, true}) {
    rocks_.reset();
    fs::remove_all(source_);
    rocks_ = Open(source_);
    MergeLedger(ledger);
    Put("aaa", 1, "v");
    Put("zzz", 2, "v");
    PutRecord("live", 6);
    PutEntry("live", RunEntry(6), kLogged);
    if (has_two_tags) PutRecord("old", 5);
    Compact(&Rocks::access);
    const fs::path entries = Tables("access").front();
    for (const char* tag : {"one", "two"}) {
      if (!has_two_tags) continue;
      ASSERT_TRUE(rocks_->db()
                      .Put(Written(kLogged), rocks_->access(),
                           TagIndexKey(tag, "live"), rocksdb::Slice())
                      .ok());
    }
    Flush(&Rocks::access);
    rocks_.reset();
    Flip(entries, 10);
    Salvage();
    EXPECT_EQ(items_.contains("live"), !has_two_tags);
    EXPECT_FALSE(items_.contains("old"));
  }
}

TEST_F(SalvageDatabaseTest, EvictionsByTagAreFoundInTablesAndLogs) {
  PutTagCutoff("twice", 5);
  PutTagCutoff("of table", 6);
  const std::string spared = TagSparedKey(7);
  ASSERT_TRUE(rocks_->db()
                  .Put(Written(kLogged), rocks_->counters(), spared, "tags")
                  .ok());
  Compact(&Rocks::counters);
  const fs::path table = Tables("counters").front();
  PutTagCutoff("twice", 9);
  PutTagCutoff("of log", 8);
  rocks_.reset();
  FlipFooter(table);
  Salvage();
  EXPECT_EQ(TagCutoff("twice"), 9U);
  EXPECT_EQ(TagCutoff("of table"), 6U);
  EXPECT_EQ(TagCutoff("of log"), 8U);
  std::string tags;
  EXPECT_TRUE(
      rocks_->db()
          .Get(rocksdb::ReadOptions(), rocks_->counters(), spared, &tags)
          .ok());
  EXPECT_EQ(tags, "tags");
}

// A position looks like the key of an entry, and what is at the first one, too.
TEST_F(SalvageDatabaseTest, ATableIsOfOneFamily) {
  Entry entry;
  entry.version = 9;
  entry.rank = kRank;
  std::string bytes;
  EncodeEntry(entry, bytes);
  ASSERT_TRUE(rocks_->db()
                  .Put(Written(kLogged), rocks_->values(),
                       PositionKey(5).slice(), bytes)
                  .ok());
  PutRecord("other", 6);
  Flush(&Rocks::values);
  const fs::path table = Tables("values").front();
  rocks_.reset();
  FlipFooter(table);
  RemoveManifestAndLogs();
  Salvage();
  EXPECT_EQ(items_.size(), 1U);
  EXPECT_TRUE(items_.contains("other"));
}

TEST_F(SalvageDatabaseTest, EveryOperandOfALostLedgerCounts) {
  LedgerDelta before;
  before.version_max = 7;
  MergeLedger(before);
  Compact(&Rocks::counters);
  const fs::path base = Tables("counters").front();
  LedgerDelta cleared;
  cleared.epoch_max = 1;
  cleared.cutoffs[kClassMain] = kRank;
  MergeLedger(cleared);
  Flush(&Rocks::counters);
  LedgerDelta logged;
  logged.cutoffs[kClassMain] = kRank + 1;
  MergeLedger(logged);
  Put("cleared", 3, "v");
  Compact(&Rocks::access);
  rocks_.reset();
  Flip(base, 10);
  Salvage();
  EXPECT_EQ(ledger_.epoch_max, 1U);
  EXPECT_EQ(ledger_.cutoffs[kClassMain], kRank + 1);
  EXPECT_TRUE(ledger_.cells.empty());  // What was cleared is not counted.
}

TEST_F(SalvageDatabaseTest, EntriesTellTheEpochOfALostLedger) {
  Put("cleared", 1, "v", kLogged, 2);
  Put("live", 2, "v", kLogged, 3);
  Flush(&Rocks::access);
  const fs::path table = Tables("access").front();
  rocks_.reset();
  FlipFooter(table);
  Salvage();
  EXPECT_EQ(items_.size(), 1U);
  EXPECT_EQ(items_["live"], "v");
}

}  // namespace
}  // namespace larder
