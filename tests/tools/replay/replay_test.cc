#include "replay.h"

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "replay_advice.h"
#include "replay_command.h"
#include "replay_report.h"
#include "trace_files.h"

namespace larder::replay {
namespace {

using Json = nlohmann::json;

class ReplayTest : public testing::TraceFiles {
 protected:
  ReplayOptions Options(std::vector<std::string> policies) {
    ReplayOptions options;
    options.traces = {sample_};
    options.policies = std::move(policies);
    options.sizes = {"5%", "20%"};
    options.progress = ShowProgress::kNever;
    return options;
  }
  int Run(const ReplayOptions& options) {
    out_.str({});
    err_.str({});
    return RunReplay(options, out_, err_);
  }
  [[nodiscard]] std::string out() const { return out_.str(); }
  [[nodiscard]] std::string err() const { return err_.str(); }

  std::string sample_ = std::string(LARDER_TEST_DATA) + "/sample_trace.csv";

 private:
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(ReplayTest, JsonHasOneResultForEachPolicyAndSize) {
  ReplayOptions options = Options({"least-recently-used", "belady"});
  options.output = ReplayOutput::kJson;
  ASSERT_EQ(Run(options), kReplayOk) << err();
  const Json json = Json::parse(out());
  ASSERT_EQ(json["results"].size(), 4U);
  const Json& first = json["results"][0];
  EXPECT_EQ(first["trace"], "sample_trace");
  EXPECT_EQ(first["policy"], "least-recently-used");
  EXPECT_EQ(first["size_text"], "5%");
  EXPECT_EQ(first["unit"], "bytes");
  EXPECT_EQ(first["requests"], 2000);
  EXPECT_TRUE(first["write_amplification"].is_null());
  for (const Json& result : json["results"]) {
    for (const char* ratio : {"object_miss_ratio", "byte_miss_ratio"}) {
      EXPECT_GT(result[ratio], 0.0);
      EXPECT_LT(result[ratio], 1.0);
    }
    EXPECT_GE(result["restamps_per_request"], 0.0);
    EXPECT_GE(result["seconds"], 0.0);
    EXPECT_GT(result["size"], 0);
  }
  EXPECT_LT(json["results"][2]["object_miss_ratio"],
            json["results"][0]["object_miss_ratio"]);
  EXPECT_EQ(json["traces"][0]["requests"], 2000);
}

ReplayRow RowOf(const char* policy, std::uint64_t size, std::uint64_t hits) {
  ReplayRow row;
  row.trace = "t";
  row.policy = policy;
  row.size_text = std::to_string(size);
  row.capacity = size;
  row.run.requests = 1000;
  row.run.hits = hits;
  return row;
}

TEST_F(ReplayTest, AdviceIsTheSmallestSizeThatALargerOneHardlyBeats) {
  const std::vector<ReplayRow> rows = {
      RowOf("gdsf", 100, 300),    RowOf("clock", 100, 350),
      RowOf("gdsf", 200, 700),    RowOf("clock", 200, 600),
      RowOf("gdsf", 400, 705),    RowOf("clock", 400, 704),
      RowOf("belady", 100, 1000),  // Cannot be had.
  };
  const auto advice = AdviceFrom(rows);
  ASSERT_EQ(advice.size(), 1U);
  EXPECT_EQ(advice[0].policy, "gdsf");
  EXPECT_EQ(advice[0].capacity, 200U);
  EXPECT_DOUBLE_EQ(advice[0].miss_ratio, 0.3);
  EXPECT_EQ(AdviceText(advice[0]),
            "t: policy gdsf at 200 (200 B) misses 30.0 %; the largest size "
            "tried would save 0.5 points");
}

TEST_F(ReplayTest, AdviceLooksPastASizeThatHelpsNothing) {
  const auto advice =
      AdviceFrom({RowOf("gdsf", 100, 300), RowOf("gdsf", 200, 300),
                  RowOf("gdsf", 400, 900)});
  ASSERT_EQ(advice.size(), 1U);
  EXPECT_EQ(advice[0].capacity, 400U);
}

TEST_F(ReplayTest, TableEndsWithWhichPolicyAndWhichSize) {
  ASSERT_EQ(Run(Options({"gdsf", "lru"})), kReplayOk) << err();
  EXPECT_NE(out().find("\nsample_trace: policy gdsf at "), std::string::npos)
      << out();
}

TEST_F(ReplayTest, TableHasALineForEachRun) {
  ASSERT_EQ(Run(Options({"lru", "bound"})), kReplayOk) << err();
  std::istringstream lines(out());
  std::string line;
  std::size_t count = 0;
  while (std::getline(lines, line)) ++count;
  EXPECT_EQ(count, 6U);
  EXPECT_NE(out().find("\ntrace "), std::string::npos);
  EXPECT_EQ(out().find("write amp"), std::string::npos);
}

TEST_F(ReplayTest, FirstLineSaysWhatTheFileWasTakenFor) {
  ReplayOptions options = Options({"lru"});
  const std::string expected =
      "twitter: read as twitter, columns time_s,key,-,size,-,op,ttl_s "
      "separated "
      "by \",\"; 2 gets, 3 sets, 1 deletes of 4 keys\n";
  options.traces = {std::string(LARDER_TEST_DATA) + "/traces/twitter.csv"};
  ASSERT_EQ(Run(options), kReplayOk) << err();
  EXPECT_TRUE(out().starts_with(expected)) << out();
  EXPECT_EQ(err(), "");
  // The first line of CSV is its header.
  options.output = ReplayOutput::kCsv;
  ASSERT_EQ(Run(options), kReplayOk) << err();
  EXPECT_TRUE(out().starts_with("trace,")) << out();
  EXPECT_EQ(err(), "larder: " + expected);
}

TEST_F(ReplayTest, JsonSaysWhatTheFileWasTakenFor) {
  ReplayOptions options = Options({"lru"});
  options.output = ReplayOutput::kJson;
  options.traces.push_back(std::string(LARDER_TEST_DATA) +
                           "/traces/twitter.csv");
  ASSERT_EQ(Run(options), kReplayOk) << err();
  EXPECT_EQ(err(), "");
  const Json traces = Json::parse(out())["traces"];
  EXPECT_EQ(traces[0]["format"], "csv");
  EXPECT_EQ(traces[0]["header"], true);
  EXPECT_EQ(traces[0]["compression"], "none");
  EXPECT_EQ(traces[0]["columns"], "time_ms,key,size,op,ttl_s");
  EXPECT_EQ(traces[1]["format"], "twitter");
  EXPECT_EQ(traces[1]["header"], false);
  EXPECT_EQ(traces[1]["separator"], ",");
  EXPECT_EQ(traces[1]["requests"], 5);
  EXPECT_EQ(traces[1]["gets"], 2);
  EXPECT_EQ(traces[1]["sets"], 3);
  EXPECT_EQ(traces[1]["deletes"], 1);
}

TEST_F(ReplayTest, DeletesAreCountedAndAreNoRequests) {
  ReplayOptions options = Options({"lru", "least-recently-used"});
  options.traces = {Write("t", "key,op\na,get\na,delete\na,get\na,delete\n")};
  options.sizes = {"10"};
  options.output = ReplayOutput::kJson;
  for (const ReplayVia via : {ReplayVia::kSimulator, ReplayVia::kEngine}) {
    options.via = via;
    if (via == ReplayVia::kEngine) options.policies = {"least-recently-used"};
    ASSERT_EQ(Run(options), kReplayOk) << err();
    const Json json = Json::parse(out());
    for (const Json& result : json["results"]) {
      EXPECT_EQ(result["requests"], 2);
      EXPECT_EQ(result["deletes"], 2);
      EXPECT_EQ(result["hits"], 0);
    }
  }
}

TEST_F(ReplayTest, WhatCouldBeTwoThingsIsAnErrorOfOneLine) {
  ReplayOptions options = Options({"lru"});
  options.traces = {Write("t", "1 2 3\n")};
  EXPECT_EQ(Run(options), kReplayError);
  EXPECT_EQ(out(), "");
  EXPECT_EQ(std::ranges::count(err(), '\n'), 1) << err();
  EXPECT_NE(err().find("--format lrb, --columns"), std::string::npos) << err();
}

TEST_F(ReplayTest, TimesToLiveNeedTimesOfAKnownUnit) {
  ReplayOptions options = Options({"lru"});
  options.sizes = {"10"};
  options.traces = {Write("t", "time,key,ttl\n1,a,9\n")};
  EXPECT_EQ(Run(options), kReplayOk) << err();
  options.use_ttl = true;
  EXPECT_EQ(Run(options), kReplayUsage);
  EXPECT_NE(err().find("time_s, time_ms"), std::string::npos) << err();
  options.load.columns = ColumnsOf("time,key,ttl");
  EXPECT_EQ(Run(options), kReplayOk) << err();
  options.load.columns.clear();
  options.traces = {Write("t", "key,ttl\na,9\n")};
  EXPECT_EQ(Run(options), kReplayUsage);
  EXPECT_NE(err().find("no times"), std::string::npos) << err();
}

TEST_F(ReplayTest, ColumnsAreForTablesOnly) {
  ReplayOptions options = Options({"lru"});
  options.load.columns = ColumnsOf("time,key");
  options.load.format = TraceFormat::kLrb;
  EXPECT_EQ(Run(options), kReplayUsage);
  EXPECT_NE(err().find("--columns: not with --format lrb"), std::string::npos)
      << err();
}

TEST_F(ReplayTest, CsvHasAsManyFieldsInEachLine) {
  ReplayOptions options = Options({"lru"});
  options.output = ReplayOutput::kCsv;
  ASSERT_EQ(Run(options), kReplayOk) << err();
  std::istringstream lines(out());
  std::string line;
  std::getline(lines, line);
  EXPECT_TRUE(line.starts_with("trace,policy,objective,via,size,"));
  const auto commas = std::ranges::count(line, ',');
  while (std::getline(lines, line)) {
    EXPECT_EQ(std::ranges::count(line, ','), commas) << line;
  }
}

TEST_F(ReplayTest, BoundIsNotAboveAnyPolicyOnObjectsOfOneSize) {
  ReplayOptions options = Options({"all", "baselines"});
  options.ignore_size = true;
  options.output = ReplayOutput::kJson;
  ASSERT_EQ(Run(options), kReplayOk) << err();
  const Json json = Json::parse(out());
  double bound = 1;
  for (const Json& result : json["results"]) {
    if (result["policy"] == "bound" && result["size_text"] == "5%") {
      bound = result["object_miss_ratio"];
    }
  }
  for (const Json& result : json["results"]) {
    if (result["size_text"] != "5%") continue;
    EXPECT_GE(result["object_miss_ratio"], bound) << result["policy"];
  }
}

TEST_F(ReplayTest, SameRunTwiceGivesTheSameRatiosOnAnyNumberOfThreads) {
  ReplayOptions options = Options({"all"});
  options.output = ReplayOutput::kJson;
  options.thread_count = 1;
  ASSERT_EQ(Run(options), kReplayOk) << err();
  const std::string report = Write("report.json", out());
  options.thread_count = 4;
  options.baseline_path = report;
  options.tolerance = 0;
  EXPECT_EQ(Run(options), kReplayOk) << err();
  EXPECT_NE(err().find("compared 18 of 18 results"), std::string::npos)
      << err();
}

TEST_F(ReplayTest, DeviationFromTheBaselineSetsTheExitCode) {
  ReplayOptions options = Options({"lru"});
  options.output = ReplayOutput::kJson;
  ASSERT_EQ(Run(options), kReplayOk) << err();
  Json json = Json::parse(out());
  json["results"][1]["object_miss_ratio"] =
      json["results"][1]["object_miss_ratio"].get<double>() - 0.02;
  options.baseline_path = Write("report.json", json.dump());
  EXPECT_EQ(Run(options), kReplayDeviates);
  EXPECT_NE(err().find("deviates: sample_trace lru 20%"), std::string::npos)
      << err();
  options.tolerance = 0.03;
  EXPECT_EQ(Run(options), kReplayOk) << err();
}

TEST_F(ReplayTest, BaselineThatIsNoReportIsAnError) {
  ReplayOptions options = Options({"lru"});
  for (const char* text : {"", "[]", R"({"results": [{"trace": 1}]})"}) {
    options.baseline_path = Write("report.json", text);
    EXPECT_EQ(Run(options), kReplayError) << text;
  }
  options.baseline_path = Write("report.json", R"({"results": []})");
  EXPECT_EQ(Run(options), kReplayError);
  EXPECT_NE(err().find("no result with the same"), std::string::npos) << err();
}

TEST_F(ReplayTest, UnknownPolicyListsTheNames) {
  EXPECT_EQ(Run(Options({"mru"})), kReplayUsage);
  for (const char* name : {"mru", "adaptive", "s3-fifo", "belady", "bound"}) {
    EXPECT_NE(err().find(name), std::string::npos) << err();
  }
}

TEST_F(ReplayTest, BaselineDoesNotRunThroughTheEngine) {
  ReplayOptions options = Options({"lirs"});
  options.via = ReplayVia::kEngine;
  EXPECT_EQ(Run(options), kReplayUsage);
  EXPECT_EQ(err().find("belady"), std::string::npos) << err();
}

TEST_F(ReplayTest, SizeBelowTheMinimumTellsTheMinimum) {
  ReplayOptions options = Options({"lru"});
  options.sizes = {"0"};
  EXPECT_EQ(Run(options), kReplayUsage);
  EXPECT_NE(err().find("the minimum is 1"), std::string::npos) << err();
  options.sizes = {"0.0000001%"};
  EXPECT_EQ(Run(options), kReplayUsage);
  EXPECT_NE(err().find("the minimum is "), std::string::npos) << err();
}

TEST_F(ReplayTest, BadRowIsAnErrorUnlessSkippedAndThenReported) {
  ReplayOptions options = Options({"lru"});
  options.traces = {Write("t.csv",
                          "time_ms,key,size,op,ttl_s\n0,a,1,get,0\n"
                          "oops\n1,a,1,get,0\n")};
  options.sizes = {"1"};
  EXPECT_EQ(Run(options), kReplayError);
  EXPECT_NE(err().find("t.csv:3: expected 5 fields"), std::string::npos)
      << err();
  options.load.skip_bad_count_max = 1;
  EXPECT_EQ(Run(options), kReplayOk);
  EXPECT_NE(err().find("skipped 1 bad rows"), std::string::npos) << err();
}

TEST_F(ReplayTest, ObjectivesAreForOwnPoliciesOnly) {
  ReplayOptions options = Options({"adaptive", "lru"});
  options.sizes = {"5%"};
  options.objectives = {Objective::kObjects, Objective::kBytes};
  options.output = ReplayOutput::kJson;
  ASSERT_EQ(Run(options), kReplayOk) << err();
  const Json json = Json::parse(out());
  ASSERT_EQ(json["results"].size(), 3U);
  EXPECT_EQ(json["results"][1]["objective"], "bytes");
  EXPECT_EQ(json["results"][2]["policy"], "lru");
}

TEST_F(ReplayTest, PlotsAreSvgWithACurveForEachPolicyAndTheBound) {
  if (!CheckGnuplot().ok()) GTEST_SKIP() << "no gnuplot";
  ReplayOptions options = Options({"lru", "adaptive"});
  options.plot_path = Path("it's a plot.svg");
  options.plot_time_path = Path("time.svg");
  ASSERT_EQ(Run(options), kReplayOk) << err();
  for (const std::string& path : {options.plot_path, options.plot_time_path}) {
    const std::string svg = Read(path);
    EXPECT_NE(svg.find("<svg"), std::string::npos);
    EXPECT_NE(svg.find("adaptive"), std::string::npos);
    EXPECT_NE(svg.find("bound (Belady)"), std::string::npos);
  }
}

TEST_F(ReplayTest, CommandLineIsUnderstood) {
  CLI::App app;
  ReplayOptions options;
  AddReplayOptions(app, options);
  app.parse(
      "--policy gdsf,lru -p adaptive a.csv b.bin --size 64MiB,5% --via engine "
      "--objective bytes --format csv --skip-bad 7 --ttl --csv --tolerance 0.5",
      false);
  EXPECT_EQ(options.traces, (std::vector<std::string>{"a.csv", "b.bin"}));
  EXPECT_EQ(options.policies,
            (std::vector<std::string>{"gdsf", "lru", "adaptive"}));
  EXPECT_EQ(options.sizes, (std::vector<std::string>{"64MiB", "5%"}));
  EXPECT_EQ(options.via, ReplayVia::kEngine);
  EXPECT_EQ(options.objectives, std::vector{Objective::kBytes});
  EXPECT_EQ(options.load.format, TraceFormat::kCsv);
  EXPECT_EQ(options.load.skip_bad_count_max, 7U);
  EXPECT_TRUE(options.use_ttl);
  EXPECT_EQ(options.output, ReplayOutput::kCsv);
  EXPECT_EQ(options.tolerance, 0.5);
  app.parse("--columns time,key,-,size t --format LRB", false);
  EXPECT_EQ(ColumnsText(options.load.columns), "time_s,key,-,size");
  EXPECT_EQ(options.load.format, TraceFormat::kLrb);
  app.parse("--columns=-,key t", false);
  EXPECT_EQ(ColumnsText(options.load.columns), "-,key");
  EXPECT_THROW(app.parse("t --columns time", false), CLI::ParseError);
  EXPECT_THROW(app.parse("t --format tsv", false), CLI::ParseError);
  EXPECT_THROW(app.parse("t --via disk", false), CLI::ParseError);
  EXPECT_THROW(app.parse("t --objective speed", false), CLI::ParseError);
}

}  // namespace
}  // namespace larder::replay
