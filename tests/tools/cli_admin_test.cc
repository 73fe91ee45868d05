#include <cstdlib>
#include <fstream>
#include <set>
#include <string>

#include "larder_command.h"

namespace larder::testing {
namespace {

using CliAdmin = LarderCommand;

TEST_F(CliAdmin, KeysAreInByteOrderAndCanBeReversed) {
  for (const char* key : {"b", "a", "c"}) {
    Ok({"set", cache(), key, "v"});
  }
  EXPECT_EQ(Ok({"keys", cache()}), "a\nb\nc\n");
  EXPECT_EQ(Ok({"keys", cache(), "--reverse", "--limit", "2"}), "c\nb\n");
}

TEST_F(CliAdmin, KeysCanBeChosenByPrefixTagAndRange) {
  Ok({"set", cache(), "a1", "v", "--tag", "odd"});
  Ok({"set", cache(), "a2", "v"});
  Ok({"set", cache(), "b1", "v", "--tag", "odd"});
  EXPECT_EQ(Ok({"keys", cache(), "--prefix", "a"}), "a1\na2\n");
  EXPECT_EQ(Ok({"keys", cache(), "--tag", "odd"}), "a1\nb1\n");
  EXPECT_EQ(Ok({"keys", cache(), "--begin", "a2", "--end", "b1"}), "a2\n");
}

TEST_F(CliAdmin, KeysCanEndWithAZeroByte) {
  Ok({"set", cache(), "a\nb", "v"});
  EXPECT_EQ(Ok({"keys", cache(), "-0"}), std::string("a\nb\0", 4));
}

TEST_F(CliAdmin, KeysAsJsonGoOverPages) {
  const std::string source = Path("source");
  for (int i = 0; i < 1500; ++i) {
    WriteFile(source + "/" + std::to_string(i), "v");
  }
  Ok({"fill", cache(), source});
  auto keys = OkJson({"keys", cache()});
  EXPECT_EQ(keys["count"], 1500);
  EXPECT_EQ(keys["keys"].size(), 1500U);
  EXPECT_EQ(OkJson({"keys", cache(), "--limit", "1024"})["count"], 1024);
}

TEST_F(CliAdmin, KeysOfAnEmptyCacheAreNone) {
  Ok({"set", cache(), "a", "v"});
  Ok({"clear", cache()});
  EXPECT_EQ(Ok({"keys", cache()}), "");
  EXPECT_EQ(OkJson({"keys", cache()})["count"], 0);
}

TEST_F(CliAdmin, StatsHaveTheirStableFields) {
  Ok({"set", cache(), "key", "value", "--size-limit", "64MiB"});
  Ok({"get", cache(), "key"});
  EXPECT_EQ(Run({"get", cache(), "other"}).exit_code, 1);
  auto stats = OkJson({"stats", cache()});
  EXPECT_EQ(stats["count"], 1);
  EXPECT_GE(stats["live_bytes"], 8);
  EXPECT_GT(stats["disk_bytes"], 0);
  EXPECT_EQ(stats["size_limit"], 64 << 20);
  EXPECT_EQ(stats["hits"], 1);
  EXPECT_EQ(stats["misses"], 1);
  EXPECT_EQ(stats["evictions"], 0);
  EXPECT_EQ(stats["expirations"], 0);
  EXPECT_TRUE(stats["policy"].is_string());
}

TEST_F(CliAdmin, StatsTellWhatCleaningAndWritingCost) {
  Ok({"set", cache(), "key", "value"});
  const std::string text = Ok({"stats", cache()});
  EXPECT_NE(text.find("cleaned        0 segments"), std::string::npos) << text;
  EXPECT_NE(text.find("written        "), std::string::npos) << text;
}

TEST_F(CliAdmin, CheckOfASoundCacheIsOk) {
  Ok({"set", cache(), "key", "value"});
  auto report = OkJson({"check", cache()});
  EXPECT_EQ(report["ok"], true);
  EXPECT_EQ(report["items_checked"], 1);
  EXPECT_EQ(report["counters_match"], true);
  EXPECT_EQ(report["count_ledger"], report["count_recount"]);
}

TEST_F(CliAdmin, CheckFindsAndRepairsADamagedValue) {
  Ok({"set", cache(), "key", "-"}, std::string(100'000, 'v'));
  Ok({"set", cache(), "good", "value"});
  for (const auto& entry :
       std::filesystem::directory_iterator(cache() + "/log")) {
    std::string bytes = ReadFile(entry.path());
    const std::size_t middle = bytes.find(std::string(1000, 'v'));
    if (middle != std::string::npos) {
      bytes[middle + 50'000] ^= 1;
      WriteFile(entry.path(), bytes);
    }
  }
  const Outcome found = Run({"check", cache(), "--json"});
  EXPECT_EQ(found.exit_code, 1) << found.err;
  EXPECT_EQ(found.json()["values_damaged"], 1);
  EXPECT_FALSE(found.json()["problems"].empty());
  EXPECT_EQ(OkJson({"check", cache(), "--repair"})["ok"], true);
  EXPECT_EQ(OkJson({"check", cache()})["items_checked"], 1);
  EXPECT_EQ(Ok({"get", cache(), "good"}), "value");
}

TEST_F(CliAdmin, ExpireFreesWhatHasExpired) {
  Ok({"set", cache(), "a", "v", "--ttl", "-1s"});
  Ok({"set", cache(), "b", "v"});
  EXPECT_TRUE(OkJson({"expire", cache()})["expired"].is_number());
  EXPECT_EQ(OkJson({"stats", cache()})["count"], 1);
}

TEST_F(CliAdmin, CullEvictsDownToWhatIsAsked) {
  for (int i = 0; i < 20; ++i) {
    Ok({"set", cache(), std::to_string(i), "-", "--size-limit", "16MiB"},
       std::string(100'000, 'v'));
    if (i == 0) Ok({"settings", cache(), "policy", "least-recently-stored"});
  }
  EXPECT_GT(OkJson({"cull", cache(), "--to", "1MB"})["evicted"], 5);
  auto stats = OkJson({"stats", cache()});
  EXPECT_LE(stats["live_bytes"], 1'000'000);
  EXPECT_GT(stats["count"], 0);
  EXPECT_EQ(Ok({"get", cache(), "19"}).size(), 100'000U);
}

TEST_F(CliAdmin, ClearDeletesEverything) {
  Ok({"set", cache(), "a", "v"});
  Ok({"set", cache(), "b", "v"});
  EXPECT_EQ(OkJson({"clear", cache()})["cleared"], 2);
  EXPECT_EQ(OkJson({"stats", cache()})["count"], 0);
}

TEST_F(CliAdmin, EvictTakesTheItemsOfATag) {
  Ok({"set", cache(), "a", "v", "--tag", "t"});
  Ok({"set", cache(), "b", "v"});
  EXPECT_EQ(OkJson({"evict", cache(), "t"})["evicted"], 1);
  EXPECT_EQ(Ok({"keys", cache()}), "b\n");
}

TEST_F(CliAdmin, SettingsAreShownAndChangedForGood) {
  Ok({"set", cache(), "a", "v", "--setting", "default_ttl=1h"});
  EXPECT_EQ(Ok({"settings", cache(), "default_ttl"}), "1h\n");
  EXPECT_EQ(Ok({"settings", cache(), "size_limit", "32MiB"}), "32MiB\n");
  auto settings = OkJson({"settings", cache()})["settings"];
  EXPECT_EQ(settings["size_limit"], "32MiB");
  EXPECT_EQ(settings["default_ttl"], "1h");
  EXPECT_EQ(OkJson({"settings", cache(), "size_limit"})["value"], "32MiB");
}

TEST_F(CliAdmin, BenchReportsEveryOperation) {
  auto result = OkJson({"bench", cache(), "--operations", "2000", "--warmup",
                        "100", "--threads", "2"});
  EXPECT_GT(result["operations_per_second"], 0.0);
  EXPECT_GT(result["seconds"], 0.0);
  std::uint64_t count = 0;
  for (const char* name : {"get", "set", "delete"}) {
    const auto& operation = result["operations"][name];
    count += operation["count"].get<std::uint64_t>();
    EXPECT_GT(operation["count"], 0) << name;
    EXPECT_GE(operation["miss"], 0) << name;
    EXPECT_LE(operation["p50_us"], operation["p90_us"]) << name;
    EXPECT_LE(operation["p90_us"], operation["p99_us"]) << name;
    EXPECT_LE(operation["p99_us"], operation["max_us"]) << name;
  }
  EXPECT_EQ(count, 4000U);
  EXPECT_EQ(result["operations"]["total"]["count"], 4000);
}

// Its cache goes with it, but not the trace of what it asked.
TEST_F(CliAdmin, BenchTakesMixSizesAndDistribution) {
  ::setenv("LARDER_RECORD", Path("trace").c_str(), 1);
  auto result = OkJson({"bench", cache(), "--operations", "500", "--warmup",
                        "0", "--mix", "0/1/0", "--keys", "10", "--value-size",
                        "2KiB..2KiB", "--distribution", "zipf:0.99"});
  EXPECT_EQ(result["operations"]["set"]["count"], 500);
  EXPECT_EQ(result["operations"]["get"]["count"], 0);
  ::unsetenv("LARDER_RECORD");
  std::ifstream trace(Path("trace"));
  std::set<std::string> keys;
  std::size_t rows = 0;
  for (std::string row; std::getline(trace, row); ++rows) {
    if (rows == 0) continue;  // The names of the columns.
    const std::size_t comma = row.find(',');
    keys.insert(row.substr(comma + 1, 16));  // A hash.
    EXPECT_TRUE(row.ends_with(",2048,set,0")) << row;
  }
  EXPECT_EQ(rows, 501U);
  EXPECT_GT(keys.size(), 1U);
  EXPECT_LE(keys.size(), 10U);
}

TEST_F(CliAdmin, BenchEndsWithItsTime) {
  auto result = OkJson({"bench", cache(), "--seconds", "0.05"});
  EXPECT_GE(result["seconds"], 0.05);
  EXPECT_GT(result["operations"]["total"]["count"], 0);
}

TEST_F(CliAdmin, HelpAndVersionAreNoErrors) {
  EXPECT_NE(Ok({"--help"}).find("fill"), std::string::npos);
  EXPECT_NE(Ok({"set", "--help"}).find("--ttl"), std::string::npos);
  EXPECT_TRUE(Ok({"--version"}).starts_with("larder "));
}

}  // namespace
}  // namespace larder::testing
