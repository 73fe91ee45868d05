#include "larder/engine/settings.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/limits.h"
#include "larder/engine/policy.h"

#include "base/text_units.h"

namespace larder {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint64_t kMax64 = std::numeric_limits<std::uint64_t>::max();

// `settings` with one changed, which must be accepted.
Settings Changed(std::string_view name, std::string_view value,
                 const Settings& settings = {}) {
  const Result<Settings> changed = WithSetting(settings, name, value);
  EXPECT_TRUE(changed) << name << "=" << value << ": "
                       << changed.error().ToString();
  return changed.value_or(Settings{});
}

Status Refusal(std::string_view name, std::string_view value) {
  const Result<Settings> changed = WithSetting(Settings{}, name, value);
  return changed ? Status::Ok() : changed.error();
}

bool Mentions(const Status& status, std::string_view text) {
  return status.message().find(text) != std::string::npos;
}

TEST(Settings, DefaultsAreValid) {
  EXPECT_TRUE(ValidateSettings(Settings{}).ok());
}

TEST(Settings, EveryOneIsDescribedInTheOrderOfTheStruct) {
  std::vector<std::string> names;
  for (const SettingText& line : DescribeSettings(Settings{})) {
    names.push_back(line.name);
    EXPECT_FALSE(line.value.empty()) << line.name;
    EXPECT_FALSE(line.description.empty()) << line.name;
  }
  const std::vector<std::string> expected = {
      "size_limit",      "min_free_bytes",   "item_count_limit",
      "item_size_limit", "policy",           "objective",
      "when_full",       "durability",       "default_ttl",
      "large_value_min", "inline_value_max", "compression",
      "compression_min", "verify_reads",     "read_mode",
      "scan_hold_max",   "scan_hold_counts"};
  EXPECT_EQ(names, expected);
}

// The cells of the table in docs/settings.md that begin with a setting.
std::vector<std::vector<std::string>> DocumentedSettings() {
  std::ifstream file(LARDER_SOURCE_DIR "/docs/settings.md");
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `") ||
        std::count(line.begin(), line.end(), '|') != 6) {
      continue;
    }
    std::vector<std::string> cells;
    std::istringstream rest(line.substr(1));
    for (std::string cell; std::getline(rest, cell, '|');) {
      std::erase(cell, '`');
      cells.emplace_back(internal::TrimSpaces(cell));
    }
    rows.push_back(std::move(cells));
  }
  return rows;
}

TEST(Settings, NamesAndDefaultsAreAsDocumented) {
  const std::vector<SettingText> lines = DescribeSettings(Settings{});
  const std::vector<std::vector<std::string>> rows = DocumentedSettings();
  ASSERT_EQ(rows.size(), lines.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i][0], lines[i].name);
    EXPECT_EQ(rows[i][2], lines[i].value) << lines[i].name;
  }
}

TEST(Settings, BoundsAreAsDocumented) {
  int bounded_count = 0;
  for (const std::vector<std::string>& row : DocumentedSettings()) {
    const std::size_t dots = row[3].find(" .. ");
    if (dots == std::string::npos || row[1] == "count") {
      continue;
    }
    const std::string min = row[3].substr(0, dots);
    std::string max = row[3].substr(dots + 4);
    max = max.substr(0, max.find(','));
    Settings settings;
    settings.inline_value_max = 0;  // Leaves large_value_min its bounds,
    if (row[0] == "inline_value_max") {
      settings.large_value_min = 1 << 20;  // and this one too.
    }
    EXPECT_TRUE(WithSetting(settings, row[0], min)) << row[0];
    EXPECT_TRUE(WithSetting(settings, row[0], max)) << row[0];
    const bool size = row[1] == "size";
    const std::string above =
        size ? FormatByteCount(*ParseByteCount(max) + 1)
             : FormatDuration(*ParseDuration(max) + Duration(1));
    EXPECT_FALSE(WithSetting(settings, row[0], above)) << row[0] << above;
    if (size && *ParseByteCount(min) > 0) {
      const std::string below = FormatByteCount(*ParseByteCount(min) - 1);
      EXPECT_FALSE(WithSetting(settings, row[0], below)) << row[0] << below;
    }
    ++bounded_count;
  }
  EXPECT_EQ(bounded_count, 8);
}

TEST(Settings, EachIsChangedByItsName) {
  EXPECT_EQ(Changed("size_limit", "64MiB").size_limit, 64ULL << 20);
  EXPECT_EQ(Changed("min_free_bytes", "2GB").min_free_bytes, 2'000'000'000);
  EXPECT_EQ(Changed("item_count_limit", " 5000 ").item_count_limit, 5000U);
  EXPECT_EQ(Changed("item_size_limit", "1.5MiB").item_size_limit, 1572864U);
  EXPECT_EQ(Changed("policy", "least-recently-used").policy,
            "least-recently-used");
  EXPECT_EQ(Changed("objective", "cost").objective, Objective::kCost);
  EXPECT_EQ(Changed("when_full", "fail").when_full, WhenFull::kFail);
  EXPECT_EQ(Changed("durability", "power").durability, Durability::kPower);
  EXPECT_EQ(Changed("default_ttl", "1h30m").default_ttl, minutes(90));
  EXPECT_EQ(Changed("large_value_min", "4k").large_value_min, 4096U);
  EXPECT_EQ(Changed("inline_value_max", "0").inline_value_max, 0U);
  EXPECT_EQ(Changed("compression", "zstd").compression,
            CompressionSetting::kZstd);
  EXPECT_EQ(Changed("compression_min", "512").compression_min, 512U);
}

TEST(Settings, ChangingOneLeavesTheOthers) {
  const Settings changed = Changed("compression", "lz4");
  Settings expected;
  expected.compression = CompressionSetting::kLz4;
  EXPECT_EQ(changed, expected);
}

TEST(Settings, EveryTextReadsBackAsTheSameSettings) {
  Settings settings;
  settings.size_limit = 123'456'789;
  settings.item_count_limit = 42;
  settings.objective = Objective::kBytes;
  settings.when_full = WhenFull::kFail;
  settings.durability = Durability::kNone;
  settings.default_ttl = milliseconds(1500);
  settings.large_value_min = 65536;
  settings.compression = CompressionSetting::kZstd;
  Settings copy;
  for (const SettingText& line : DescribeSettings(settings)) {
    copy = Changed(line.name, line.value, copy);
  }
  EXPECT_EQ(copy, settings);
}

TEST(Settings, UnknownNameIsAnsweredWithTheNearest) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"size_limt", "size_limit"},
      {"sizelimit", "size_limit"},
      {"Policy", "policy"},
      {"defaulttl", "default_ttl"},
      {"item_limit_count", "item_count_limit"},
      {"copmression", "compression"},
      {"durabilty", "durability"}};
  for (const auto& [wrong, right] : cases) {
    const Status status = Refusal(wrong, "1");
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << wrong;
    EXPECT_TRUE(Mentions(status, "did you mean \"" + right + "\"?"))
        << status.ToString();
  }
  const Result<std::string> text = FormatSetting(Settings{}, "size_limt");
  ASSERT_FALSE(text);
  EXPECT_TRUE(Mentions(text.error(), "did you mean \"size_limit\"?"));
}

TEST(Settings, UnknownNameOfAnyBytesIsOnePrintableLine) {
  std::string name(100'000, 'x');
  name[1] = '\n';
  name[2] = '\0';
  name[3] = '\xff';
  const Status status = Refusal(name, "1");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_LT(status.message().size(), 200U);
  EXPECT_TRUE(std::all_of(status.message().begin(), status.message().end(),
                          [](char c) { return c >= ' ' && c <= '~'; }));
}

TEST(Settings, ValuesOutOfBoundsAreRefusedWithTheBound) {
  struct Case {
    std::string_view name, value, bound;
  };
  const std::vector<Case> cases = {
      {"size_limit", "0", "minimum 16MiB"},
      {"size_limit", "16777215", "minimum 16MiB"},
      {"size_limit", "2EiB", "maximum 1EiB"},
      {"min_free_bytes", "2EiB", "maximum 1EiB"},
      {"item_size_limit", "2EiB", "maximum 1EiB"},
      {"item_count_limit", "18446744073709551615", "maximum"},
      {"default_ttl", "-1s", "minimum 0s"},
      {"default_ttl", "36501d", "maximum 36500d"},
      {"large_value_min", "1", "minimum"},
      {"large_value_min", "1048577", "maximum 1MiB"},
      {"inline_value_max", "4097", "maximum 4KiB"},
      {"compression_min", "2GiB", "maximum 1GiB"}};
  for (const auto& [name, value, bound] : cases) {
    const Status status = Refusal(name, value);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << name << value;
    EXPECT_TRUE(Mentions(status, bound)) << status.ToString();
    EXPECT_TRUE(status.message().starts_with(name)) << status.ToString();
  }
}

TEST(Settings, BoundsThemselvesAreAccepted) {
  Changed("size_limit", "16MiB");
  Changed("size_limit", "1EiB");
  Changed("default_ttl", "36500d");
  Changed("compression_min", "1GiB");
}

TEST(Settings, MalformedTextIsAParseErrorThatNamesTheSetting) {
  const std::vector<std::pair<std::string_view, std::string_view>> cases = {
      {"size_limit", "lots"},     {"size_limit", ""},
      {"item_count_limit", "1k"}, {"item_count_limit", "-1"},
      {"item_count_limit", ""},   {"default_ttl", "soon"}};
  for (const auto& [name, value] : cases) {
    const Status status = Refusal(name, value);
    EXPECT_EQ(status.code(), StatusCode::kParseError) << name << "=" << value;
    EXPECT_TRUE(status.message().starts_with(name)) << status.ToString();
  }
}

TEST(Settings, UnknownEnumeratorIsAnsweredWithAllNamesAndTheNearest) {
  const Status status = Refusal("durability", "procss");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(status, "none, process, power")) << status.ToString();
  EXPECT_TRUE(Mentions(status, "did you mean \"process\"?"));
}

// Who asks for more than there is must not end with less.
TEST(Settings, NoSuggestionIsWeakerThanWhatWasAskedFor) {
  const std::vector<std::array<std::string_view, 3>> cases = {
      {"durability", "fsync", "power"},
      {"durability", "nothing", ""},
      {"durability", "nones", ""},
      {"durability", "sone", ""},
      {"durability", "", ""},
      {"policy", "lru", "least-recently-used"},
      {"policy", "one", ""},
      {"policy", "2q", ""},
      {"when_full", "full", ""},
      {"when_full", "refuse", ""},
      {"compression", "gzip", ""},
      {"read_mode", "pred", "pread"},
      {"verify_reads", "alway", "always"}};
  for (const auto& [name, wrong, meant] : cases) {
    const Status status = Refusal(name, wrong);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << wrong;
    const bool suggests = Mentions(status, "did you mean");
    EXPECT_EQ(suggests, !meant.empty()) << status.ToString();
    EXPECT_TRUE(!suggests || Mentions(status, "did you mean \"" +
                                                  std::string(meant) + "\"?"))
        << status.ToString();
  }
}

TEST(Settings, UnknownPolicyIsAnsweredWithAllNamesAndTheNearest) {
  const Status status = Refusal("policy", "least-recently-usd");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(status, "did you mean \"least-recently-used\"?"))
      << status.ToString();
  for (const std::string& name : PolicyNames()) {
    EXPECT_TRUE(Mentions(status, name)) << name;
  }
}

TEST(Settings, EveryPolicyThereIsCanBeChosen) {
  ASSERT_FALSE(PolicyNames().empty());
  for (const std::string& name : PolicyNames()) {
    EXPECT_EQ(Changed("policy", name).policy, name);
  }
}

TEST(Settings, InlineAndLargeValuesDoNotOverlap) {
  Settings settings = Changed("large_value_min", "4KiB");
  EXPECT_EQ(WithSetting(settings, "inline_value_max", "4KiB").error().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(WithSetting(settings, "inline_value_max", "4095"));
}

TEST(Settings, ValidateChecksEveryField) {
  std::vector<Settings> invalid(11);
  invalid[0].size_limit = kSizeLimitBytesMin - 1;
  invalid[1].min_free_bytes = kMax64;
  invalid[2].item_count_limit = kMax64;
  invalid[3].item_size_limit = kMax64;
  invalid[4].policy = "no such policy";
  invalid[5].objective = static_cast<Objective>(3);
  invalid[6].when_full = static_cast<WhenFull>(2);
  invalid[7].durability = static_cast<Durability>(255);
  invalid[8].default_ttl = Duration(-1);
  invalid[9].compression = static_cast<CompressionSetting>(3);
  invalid[10].compression_min = kMax64;
  for (std::size_t i = 0; i < invalid.size(); ++i) {
    EXPECT_EQ(ValidateSettings(invalid[i]).code(), StatusCode::kInvalidArgument)
        << i;
  }
}

// Byte counts ----------------------------------------------------------------

TEST(ByteCount, ReadsEveryDocumentedForm) {
  const std::vector<std::pair<std::string_view, std::uint64_t>> cases = {
      {"0", 0},
      {"1536", 1536},
      {"1536B", 1536},
      {"4k", 4096},
      {"4K", 4096},
      {"4kib", 4096},
      {"4kB", 4000},
      {"64MiB", 64ULL << 20},
      {"64mib", 64ULL << 20},
      {"1.5 GiB", 3ULL << 29},
      {"10MB", 10'000'000},
      {"  7  m ", 7ULL << 20},
      {"2T", 2ULL << 40},
      {"3PB", 3'000'000'000'000'000},
      {"1EiB", 1ULL << 60},
      {"0.0GiB", 0},
      {"1.1KiB", 1126},
      {"0.000000000000000001EiB", 1},
      {"18446744073709551615", kMax64},
      {"15.999999999999999999EiB", kMax64 - 1}};
  for (const auto& [text, bytes] : cases) {
    EXPECT_EQ(ParseByteCount(text), bytes) << text;
  }
}

TEST(ByteCount, RefusesEverythingElse) {
  for (const std::string_view text : {"",
                                      " ",
                                      "B",
                                      "-1",
                                      "+1",
                                      "1.",
                                      ".5k",
                                      "1..5k",
                                      "1,5k",
                                      "64 Mi B",
                                      "64MiBs",
                                      "64XiB",
                                      "1 2",
                                      "1e6",
                                      "0x10",
                                      "1k1",
                                      "NaN",
                                      "64bib",
                                      "18446744073709551616",
                                      "16EiB",
                                      "99999999999999999999999",
                                      "20EB",
                                      "0.5",
                                      "0.9B",
                                      "0.0001KiB"}) {
    const Result<std::uint64_t> bytes = ParseByteCount(text);
    ASSERT_FALSE(bytes) << text << " -> " << *bytes;
    EXPECT_EQ(bytes.error().code(), StatusCode::kParseError);
    EXPECT_TRUE(Mentions(bytes.error(), "expected like")) << text;
  }
}

TEST(ByteCount, WritesTheShortestExactForm) {
  const std::vector<std::pair<std::uint64_t, std::string_view>> cases = {
      {0, "0B"},
      {1, "1B"},
      {1500, "1500B"},
      {1024, "1KiB"},
      {1536, "1536B"},
      {64ULL << 20, "64MiB"},
      {10'000'000, "10MB"},
      {3ULL << 29, "1536MiB"},
      {1ULL << 60, "1EiB"},
      {kMax64, "18446744073709551615B"}};
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(FormatByteCount(bytes), text);
  }
}

// A number whose magnitude is spread over all sizes, often a round one.
std::uint64_t SpreadNumber(std::mt19937_64* random) {
  const std::uint64_t number = (*random)() >> ((*random)() % 64);
  switch ((*random)() % 4) {
    case 0:
      return number << ((*random)() % 64);
    case 1:
      return number - number % 1000;
    default:
      return number;
  }
}

TEST(ByteCount, TextReadsBackAsTheSameNumber) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t bytes = SpreadNumber(&random);
    EXPECT_EQ(ParseByteCount(FormatByteCount(bytes)), bytes);
  }
}

// Durations ------------------------------------------------------------------

TEST(DurationText, ReadsEveryDocumentedForm) {
  const std::vector<std::pair<std::string_view, Duration>> cases = {
      {"0", seconds(0)},
      {"-0", seconds(0)},
      {"0s", seconds(0)},
      {"90", seconds(90)},
      {"1.5", milliseconds(1500)},
      {"-2", seconds(-2)},
      {"+2", seconds(2)},
      {"250ms", milliseconds(250)},
      {"7us", microseconds(7)},
      {"10s", seconds(10)},
      {"1h30m", minutes(90)},
      {" 1h 30m ", minutes(90)},
      {"1H30M", minutes(90)},
      {"1.5h", minutes(90)},
      {"7d", hours(7 * 24)},
      {"2w", hours(14 * 24)},
      {"1w1d1h1m1s1ms1us",
       hours(8 * 24 + 1) + seconds(61) + microseconds(1001)},
      {"-1h30m", minutes(-90)},
      {"0.0000019s", microseconds(1)},
      {"9223372036854775807us", Duration::max()},
      {"-9223372036854775808us", Duration::min()}};
  for (const auto& [text, duration] : cases) {
    EXPECT_EQ(ParseDuration(text), duration) << text;
  }
}

TEST(DurationText, RefusesEverythingElse) {
  for (const std::string_view text : {"",
                                      " ",
                                      "-",
                                      "s",
                                      "1y",
                                      "1h30",
                                      "30m1h",
                                      "1h1h",
                                      "1m5 s x",
                                      "--1",
                                      "1.",
                                      ".5s",
                                      "1e3",
                                      "inf",
                                      "1 2",
                                      "1h-30m",
                                      "0x1",
                                      "1s,",
                                      "0.0000001",
                                      "0.5us",
                                      "9223372036854775808us",
                                      "-9223372036854775809us",
                                      "9223372036855",
                                      "99999999999999999999999s",
                                      "18446744073709551615w"}) {
    const Result<Duration> duration = ParseDuration(text);
    ASSERT_FALSE(duration) << text << " -> " << duration->count();
    EXPECT_EQ(duration.error().code(), StatusCode::kParseError);
    EXPECT_TRUE(Mentions(duration.error(), "expected like")) << text;
  }
}

TEST(DurationText, WritesAShortExactForm) {
  const std::vector<std::pair<Duration, std::string_view>> cases = {
      {seconds(0), "0s"},
      {seconds(59), "59s"},
      {seconds(60), "1m"},
      {minutes(90), "1h30m"},
      {hours(24 * 14), "14d"},
      {hours(25) + seconds(1), "1d1h1s"},
      {milliseconds(250), "250ms"},
      {milliseconds(1500), "1.5s"},
      {seconds(61) + microseconds(1), "1m1.000001s"},
      {minutes(1) + milliseconds(20), "1m0.02s"},
      {microseconds(1500), "1500us"},
      {minutes(-90), "-1h30m"},
      {microseconds(-1), "-1us"}};
  for (const auto& [duration, text] : cases) {
    EXPECT_EQ(FormatDuration(duration), text);
  }
}

TEST(DurationText, TextReadsBackAsTheSameDuration) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 20'000; ++i) {
    const Duration duration(static_cast<std::int64_t>(SpreadNumber(&random)));
    EXPECT_EQ(ParseDuration(FormatDuration(duration)), duration)
        << duration.count();
  }
  for (const Duration duration : {Duration::min(), Duration::max()}) {
    EXPECT_EQ(ParseDuration(FormatDuration(duration)), duration);
  }
}

}  // namespace
}  // namespace larder
