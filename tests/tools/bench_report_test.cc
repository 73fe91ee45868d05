#include <string>

#include <gtest/gtest.h>

#include "bench_bars.h"
#include "bench_results.h"
#include "bench_text.h"

namespace larder::report {
namespace {

std::string Repetition(const std::string& name, double microseconds,
                       double bytes_per_second) {
  return R"({"name": ")" + name + R"(", "run_name": ")" + name +
         R"(", "run_type": "iteration", "real_time": )" +
         std::to_string(microseconds) +
         R"(, "time_unit": "us", "items_per_second": 1.0,)"
         R"( "bytes_per_second": )" +
         std::to_string(bytes_per_second) + "}";
}

/// `repetitions` joined by commas.
BenchResults Parse(const std::string& repetitions) {
  auto results = ParseBenchResults(
      R"({"context": {"date": "2026-01-02T03:04", "num_cpus": 2},)"
      R"( "benchmarks": [)" +
      repetitions + "]}");
  EXPECT_TRUE(results.has_value());
  return results ? std::move(*results) : BenchResults{};
}

/// The verdict on one bar in a run of two cases.
const BarResult* FindBar(const std::vector<BarResult>& all, BarKind kind,
                         const CaseId& larder) {
  for (const BarResult& result : all) {
    if (result.bar.kind == kind && result.bar.larder == larder) {
      return &result;
    }
  }
  return nullptr;
}

TEST(BenchResults, RepetitionsAreGatheredByCase) {
  const BenchResults results =
      Parse(Repetition("BM_Set/larder/100/iterations:5/real_time", 4, 1) + "," +
            Repetition("BM_Set/larder/100/iterations:5/real_time", 2, 1) + "," +
            Repetition("BM_Other", 9, 1));
  ASSERT_EQ(results.cases.size(), 1U);
  const CaseResult* result = results.Find({"Set", "larder", 100});
  ASSERT_NE(result, nullptr);
  EXPECT_DOUBLE_EQ(Median(result->seconds), 3e-6);
  EXPECT_NEAR(RelativeSpread(result->seconds), 1.0 / 3, 1e-9);
}

TEST(BenchResults, AggregatesAreNotTakenForRepetitions) {
  const BenchResults results = Parse(
      R"({"name": "BM_Set/larder/100_median", "run_name": "BM_Set/larder/100",)"
      R"( "run_type": "aggregate", "real_time": 1, "time_unit": "us"})");
  EXPECT_TRUE(results.cases.empty());
}

TEST(BenchResults, AFailedCaseIsReportedAndNotMeasured) {
  const BenchResults results =
      Parse(R"({"run_name": "BM_Get/larder/100", "run_type": "iteration",)"
            R"( "error_occurred": true, "error_message": "misses"})");
  EXPECT_TRUE(results.cases.empty());
  ASSERT_EQ(results.errors.size(), 1U);
  EXPECT_NE(RenderMarkdown(results).find("FAILED: BM_Get/larder/100: misses"),
            std::string::npos);
}

TEST(BenchResults, TextThatIsNoRunIsAParseError) {
  for (const char* text : {"", "{", "[]", R"({"context": {}})"}) {
    const auto results = ParseBenchResults(text);
    ASSERT_FALSE(results.has_value()) << text;
    EXPECT_EQ(results.error().code(), StatusCode::kParseError);
  }
}

TEST(BenchBars, ATimeRatioIsMetUpToItsBound) {
  for (const auto& [larder_time, met] : {std::pair{8.0, true}, {8.1, false}}) {
    const auto all =
        CheckBars(Parse(Repetition("BM_Set/larder/100", larder_time, 1) + "," +
                        Repetition("BM_Set/rocksdb/100", 4, 1)));
    const BarResult* bar =
        FindBar(all, BarKind::kTimeRatioMax, {"Set", "larder", 100});
    ASSERT_NE(bar, nullptr);
    EXPECT_EQ(bar->met(), met) << bar->Describe();
  }
}

TEST(BenchBars, BatchesAreHeldAgainstSinglePuts) {
  const auto all =
      CheckBars(Parse(Repetition("BM_SetMany/larder/65536", 9, 180) + "," +
                      Repetition("BM_Set/rocksdb/65536", 1, 100) + "," +
                      Repetition("BM_SetMany/rocksdb/65536", 1, 1000)));
  const BarResult* bar =
      FindBar(all, BarKind::kThroughputRatioMin, {"SetMany", "larder", 65536});
  ASSERT_NE(bar, nullptr);
  EXPECT_TRUE(bar->met()) << bar->Describe();
}

TEST(BenchBars, WhatWasNotMeasuredIsNotMet) {
  for (const BarResult& result : CheckBars(Parse(""))) {
    EXPECT_FALSE(result.met());
    EXPECT_NE(result.Describe().find("not measured"), std::string::npos);
  }
}

TEST(BenchText, TheTableDividesLarderByThePeer) {
  const std::string table =
      RenderMarkdown(Parse(Repetition("BM_Get/larder/1024", 3, 5e6) + "," +
                           Repetition("BM_Get/lmdb/1024", 2, 1)));
  EXPECT_NE(table.find("| Get | 1 KiB | 3.00 us +-0 % | 5 | - | 1.50 | - |"),
            std::string::npos)
      << table;
}

TEST(BenchText, ABusyMachineIsSaidInTheReport) {
  for (const auto& [load, busy] : {std::pair{"0.2", false}, {"7.5", true}}) {
    const auto results =
        ParseBenchResults(R"({"context": {"load_avg": [)" + std::string(load) +
                          R"(, 1.0, 1.0]}, "benchmarks": []})");
    ASSERT_TRUE(results.has_value());
    const std::string table = RenderMarkdown(*results);
    EXPECT_EQ(table.find("was busy") != std::string::npos, busy) << table;
  }
}

TEST(BenchText, SizesAndTimesAreShort) {
  EXPECT_EQ(FormatSize(100), "100 B");
  EXPECT_EQ(FormatSize(16384), "16 KiB");
  EXPECT_EQ(FormatSize(1048576), "1 MiB");
  EXPECT_EQ(FormatSeconds(1.234e-6), "1.23 us");
  EXPECT_EQ(FormatSeconds(123.4e-6), "123 us");
  EXPECT_EQ(FormatSeconds(0.0123), "12.3 ms");
}

TEST(BenchText, ASectionIsReplacedAndTheRestIsKept) {
  const auto updated =
      ReplaceSection("a\n<!-- bench -->\nold\n<!-- /bench -->\nb\n", "new\n");
  ASSERT_TRUE(updated.has_value());
  EXPECT_EQ(*updated, "a\n<!-- bench -->\nnew\n<!-- /bench -->\nb\n");
}

TEST(BenchText, ADocumentWithoutTheSectionIsLeftAlone) {
  for (const char* document :
       {"", "<!-- bench -->", "<!-- /bench --><!-- bench -->"}) {
    EXPECT_FALSE(ReplaceSection(document, "new").has_value()) << document;
  }
}

}  // namespace
}  // namespace larder::report
