// One table of the index loses one of its parts, and then what a repair keeps.

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table_properties.h>

#include "base/coding.h"
#include "engine/store_fixture.h"
#include "repair/table_blocks.h"
#include "test_values.h"

namespace larder {
namespace {

namespace fs = std::filesystem;
using testing::MakeValue;

// Of each kind: in their entries, in `values`, in segments.
constexpr int kItemCount = 1000;
constexpr int kDeletedStep = 10;
constexpr std::size_t kInline = 50;
constexpr std::size_t kRecord = 700;
constexpr std::size_t kLarge = 20'000;

std::string KeyOf(std::string_view kind, int i) {
  return std::string(kind) + std::to_string(10'000 + i);
}

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string FamilyOf(const fs::path& table) {
  rocksdb::SstFileReader reader{rocksdb::Options()};
  if (!reader.Open(table.string()).ok()) return {};
  return reader.GetTableProperties()->column_family_name;
}

// Where the parts of a table are. Its footer: a byte for the kind of checksum,
// where the block of names and the index are, version and magic.
struct Parts {
  struct Block {
    std::size_t offset = 0;
    std::size_t size = 0;
  };
  Block names;
  Block index;
  std::size_t footer = 0;

  explicit Parts(std::string_view table) : footer(table.size() - 53) {
    ByteReader reader(table.substr(footer + 1));
    names = {reader.Varint(), reader.Varint()};
    index = {reader.Varint(), reader.Varint()};
  }
};

struct Damage {
  const char* name;
  // An empty string removes the table.
  std::function<std::string(std::string table, const Parts& parts)> apply;
  // At least, of the items whose pairs are in the table.
  int kept_percent = 100;
};

std::string Flip(std::string table, std::size_t at) {
  table[at] = static_cast<char>(table[at] ^ 1);
  return table;
}

// In the block of names, which tells where filter and properties are. Only the
// index has filters.
std::size_t NamedBlock(const std::string& table, const Parts& parts,
                       std::string_view name) {
  const std::string_view names(table.data() + parts.names.offset,
                               parts.names.size);
  const std::size_t at = names.find(name);
  if (at == std::string::npos) {
    return NamedBlock(table, parts, "rocksdb.properties");
  }
  return ByteReader(names.substr(at + name.size())).Varint();
}

const std::vector<Damage>& Damages() {
  static const std::vector<Damage> damages = {
      {"a data block", [](std::string t, const Parts&) { return Flip(t, 100); },
       95},
      {"filter or properties",
       [](std::string t, const Parts& p) {
         return Flip(t, NamedBlock(t, p, "BuiltinBloomFilter") + 9);
       }},
      {"properties",
       [](std::string t, const Parts& p) {
         return Flip(t, NamedBlock(t, p, "rocksdb.properties") + 9);
       }},
      {"index", [](std::string t,
                   const Parts& p) { return Flip(t, p.index.offset + 9); }},
      {"names", [](std::string t,
                   const Parts& p) { return Flip(t, p.names.offset + 9); }},
      {"footer",
       [](std::string t, const Parts& p) { return Flip(t, p.footer + 3); }},
      {"magic",
       [](std::string t, const Parts&) { return Flip(t, t.size() - 1); }},
      {"cut by its footer",
       [](std::string t, const Parts& p) { return t.substr(0, p.footer); }},
      {"cut by half",
       [](std::string t, const Parts&) { return t.substr(0, t.size() / 2); },
       45},
      {"removed", [](std::string, const Parts&) { return std::string(); }, 0},
  };
  return damages;
}

class TableDamageTest : public testing::StoreFixture {
 protected:
  void Close() {
    ASSERT_EQ(engine_->Close().ToString(), "kOk");
    engine_.reset();
  }
  void SetItem(std::string_view kind, int i, std::size_t size, int round) {
    const std::string value = MakeValue(i + 10'000 * round, size);
    ASSERT_EQ(Set(KeyOf(kind, i), value).ToString(), "kOk");
  }
  // Some in tables and some in the log; older values, and deleted items, of
  // which no table may make anything.
  void Fill(int rounds = 2) {
    Open({{"size_limit", "256MiB"},
          {"inline_value_max", "100"},
          {"large_value_min", "16KiB"}});
    for (int round = 0; round < rounds; ++round) {
      for (int i = 0; i < kItemCount; ++i) {
        if (round != 0 && i % 3 == 0) continue;
        SetItem("a", i, kInline, round);
        SetItem("b", i, kRecord, round);
        SetItem("c", i, kLarge, round);
      }
      Reopen();
    }
    last_round_ = rounds - 1;
    for (int i = 0; i < kItemCount; i += kDeletedStep) {
      for (const char* kind : {"a", "b", "c"}) {
        Run(DeleteCommand{.key = KeyOf(kind, i)});
      }
    }
  }
  // The largest of a family.
  fs::path TableOf(const std::string& family) const {
    fs::path table;
    for (const auto& file : fs::directory_iterator(path_ / "db")) {
      if (file.path().extension() != ".sst") continue;
      if (FamilyOf(file.path()) != family) continue;
      if (table.empty() || fs::file_size(table) < file.file_size()) {
        table = file.path();
      }
    }
    return table;
  }
  // What was deleted stays so, and no value is one that was written over.
  int CountRight(std::string_view kind, std::size_t size) {
    int right = 0;
    for (int i = 0; i < kItemCount; ++i) {
      const auto value = Get(KeyOf(kind, i));
      if (!value) continue;
      EXPECT_NE(i % kDeletedStep, 0) << KeyOf(kind, i) << " was deleted";
      const int round = i % 3 == 0 ? 0 : last_round_;
      EXPECT_EQ(*value, MakeValue(i + 10'000 * round, size)) << KeyOf(kind, i);
      ++right;
    }
    return right;
  }
  // What is left of each kind after damage to one table of a family.
  void ExpectKept(const Damage& damage, const std::string& family,
                  int percent_inline, int percent_record, int percent_large) {
    SCOPED_TRACE(damage.name);
    ASSERT_NO_FATAL_FAILURE(Fill());
    ASSERT_NO_FATAL_FAILURE(Close());
    const fs::path table = TableOf(family);
    ASSERT_FALSE(table.empty());
    const std::string bytes = ReadFile(table);
    const std::string damaged = damage.apply(bytes, Parts(bytes));
    fs::remove(table);
    if (!damaged.empty()) WriteFile(table, damaged);
    ASSERT_NO_FATAL_FAILURE(OpenRepaired());
    // Not for an hour, as what nobody knows the expiry of.
    clock_.Advance(std::chrono::hours(2));
    const int all = kItemCount - kItemCount / kDeletedStep;
    const auto expect = [&](std::string_view kind, std::size_t size,
                            int percent) {
      const int right = CountRight(kind, size);
      EXPECT_GE(right * 100, all * percent) << kind;
      RecordProperty("lost_" + std::string(kind), all - right);
    };
    expect("a", kInline, percent_inline);
    expect("b", kRecord, percent_record);
    expect("c", kLarge, percent_large);
  }

  int last_round_ = 0;
};

class TablePartTest : public TableDamageTest,
                      public ::testing::WithParamInterface<std::size_t> {
 protected:
  const Damage& damage_ = Damages()[GetParam()];
};

TEST_P(TablePartTest, OfTheIndexCostsTheValuesInWhatIsGone) {
  ExpectKept(damage_, "access", damage_.kept_percent, 100, 100);
}

TEST_P(TablePartTest, OfSmallValuesCostsWhatIsGone) {
  ExpectKept(damage_, "values", 100, damage_.kept_percent, 100);
}

TEST_P(TablePartTest, OfTheLedgerCostsNoItem) {
  ExpectKept(damage_, "counters", 100, 100, 100);
}

// The last changes are in the log, and the table is below level 0: RocksDB
// opens the rest, and shows neither them nor other tables where this one has
// keys.
TEST_F(TableDamageTest, WhatTheLogHasIsNotForgotten) {
  constexpr int kSetAgainStep = 7;
  ASSERT_NO_FATAL_FAILURE(Fill(/*rounds=*/7));
  for (int i = 1; i < kItemCount; i += kSetAgainStep) {
    for (const char* kind : {"a", "b", "c"}) SetItem(kind, i, kInline, 50);
  }
  const fs::path copy = directory_.path() / "copy";
  fs::copy(path_, copy, fs::copy_options::recursive);
  ASSERT_NO_FATAL_FAILURE(Close());
  fs::remove_all(path_);
  fs::rename(copy, path_);
  const fs::path table = TableOf("access");
  const std::string bytes = ReadFile(table);
  WriteFile(table, Flip(bytes, Parts(bytes).index.offset + 9));
  ASSERT_NO_FATAL_FAILURE(OpenRepaired());
  for (int i = 0; i < kItemCount; ++i) {
    const bool again = i % kSetAgainStep == 1;
    const int round = again ? 50 : i % 3 == 0 ? 0 : last_round_;
    const auto expect = [&](std::string_view kind, std::size_t size) {
      const auto value = Get(KeyOf(kind, i));
      const bool is_deleted = i % kDeletedStep == 0 && !again;
      ASSERT_EQ(value.has_value(), !is_deleted) << KeyOf(kind, i);
      if (is_deleted) return;
      EXPECT_EQ(*value, MakeValue(i + 10'000 * round, again ? kInline : size))
          << KeyOf(kind, i);
    };
    expect("a", kInline);
    expect("b", kRecord);
    expect("c", kLarge);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryPart, TablePartTest,
                         ::testing::Range(std::size_t{0}, Damages().size()));

}  // namespace
}  // namespace larder
