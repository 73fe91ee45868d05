#include <random>
#include <string>
#include <vector>

#include "trace_detect.h"
#include "trace_files.h"
#include "trace_layout.h"

// The formats of others: what is in the files of tests/data/traces, request by
// request, and what is not read since it could be two things.

namespace larder::replay {
namespace {

/// A request as a test states it.
struct Access {
  std::uint64_t time_ms = 0;
  std::string key;
  std::uint64_t size = 1;
  TraceOp op = TraceOp::kGet;
  std::uint32_t ttl_s = 0;
};

constexpr TraceOp kGet = TraceOp::kGet;
constexpr TraceOp kSet = TraceOp::kSet;
constexpr TraceOp kDelete = TraceOp::kDelete;

class TraceFormatsTest : public testing::TraceFiles {
 protected:
  static std::string Data(const std::string& name) {
    return std::string(LARDER_TEST_DATA) + "/traces/" + name;
  }

  /// Expects `path` to be of this format and to have exactly these requests.
  static void ExpectReads(const std::string& path, const LoadOptions& options,
                          TraceFormat format,
                          const std::vector<Access>& accesses) {
    SCOPED_TRACE(path);
    Result<OpenedTrace> opened = OpenTrace(path, options);
    ASSERT_TRUE(opened) << opened.error().message();
    EXPECT_EQ(TraceFormatName(opened->reader->content().format),
              TraceFormatName(format));
    for (const Access& access : accesses) {
      SCOPED_TRACE(access.key);
      const auto row = opened->reader->Next();
      ASSERT_TRUE(row) << row.error().message();
      ASSERT_TRUE(row->has_value());
      EXPECT_EQ((*row)->key_hash, HashKey(access.key));
      EXPECT_EQ((*row)->time_ms, access.time_ms);
      EXPECT_EQ((*row)->size_bytes, access.size);
      EXPECT_EQ((*row)->op, access.op);
      EXPECT_EQ((*row)->ttl_s, access.ttl_s);
    }
    const auto end = opened->reader->Next();
    ASSERT_TRUE(end) << end.error().message();
    EXPECT_FALSE(end->has_value());
  }

  /// The message with which `path` is refused, without the path.
  static std::string Refusal(const std::string& path,
                             const LoadOptions& options = {}) {
    const Result<Trace> trace = LoadTrace(path, options);
    if (trace) return "it was read";
    const std::string& message = trace.error().message();
    return message.starts_with(path) ? message.substr(path.size()) : message;
  }
  std::string RefusalOf(const std::string& content) {
    return Refusal(Write("t", content));
  }

  static LoadOptions As(TraceFormat format) { return {.format = format}; }
  static LoadOptions WithColumns(std::string_view columns) {
    LoadOptions options;
    options.columns = ColumnsOf(columns);
    EXPECT_FALSE(options.columns.empty()) << columns;
    return options;
  }
};

const std::vector<Access> kTwitterAccesses = {
    {0, "nz:u:alice", 175, kGet, 0},      {0, "nz:u:bob", 0, kGet, 0},
    {1000, "nz:u:bob", 213, kSet, 86400}, {5000, "q:a,b,c", 8, kSet, 30},
    {7000, "nz:u:alice", 0, kDelete, 0},  {9000, "cnt", 4, kSet, 0},
};
const std::vector<Access> kCloudPhysicsAccesses = {
    {700000, "9001", 512, kSet},
    {700000, "9100", 6656, kGet},
    {701000, "9001", 57344, kSet},
};
const std::vector<Access> kLrbAccesses = {
    {0, "3", 120},
    {1000, "12", 64},
    {1000, "3", 120},
    {4000, "18446744073709551615", 259},
};
const std::vector<Access> kArcAccesses = {
    {0, "4100", 512}, {0, "4101", 512}, {0, "4102", 512},
    {1, "5", 512},    {2, "4101", 512}, {2, "4102", 512},
};
const std::vector<Access> kWikipediaUploadAccesses = {
    {0, "1001", 300},
    {0, "-1002", 400},
    {3000, "1001", 300},
};
const std::vector<Access> kWikipediaTextAccesses = {{50000, "2001", 500},
                                                    {51000, "-2002", 600}};

TEST_F(TraceFormatsTest, TwitterIsToldByItsSevenColumns) {
  ExpectReads(Data("twitter.csv"), {}, TraceFormat::kTwitter, kTwitterAccesses);
  ExpectReads(Data("twitter.csv"), As(TraceFormat::kTwitter),
              TraceFormat::kTwitter, kTwitterAccesses);
}

TEST_F(TraceFormatsTest, CloudPhysicsIsToldByItsHeader) {
  ExpectReads(Data("cloudPhysicsIO.csv"), {}, TraceFormat::kCloudPhysics,
              kCloudPhysicsAccesses);
  ExpectReads(Data("cloudPhysicsIO.csv"), As(TraceFormat::kCloudPhysics),
              TraceFormat::kCloudPhysics, kCloudPhysicsAccesses);
}

TEST_F(TraceFormatsTest, LrbIsToldByItsName) {
  ExpectReads(Data("webcachesim.tr"), {}, TraceFormat::kLrb, kLrbAccesses);
  const std::string other = Write("trace", Read(Data("webcachesim.tr")));
  EXPECT_NE(Refusal(other).find("--format lrb"), std::string::npos);
  ExpectReads(other, As(TraceFormat::kLrb), TraceFormat::kLrb, kLrbAccesses);
}

TEST_F(TraceFormatsTest, LrbMayHaveMoreColumns) {
  ExpectReads(Write("t", "5 a 7 0 12\n6\tb\t8 1 13 \n"), As(TraceFormat::kLrb),
              TraceFormat::kLrb, {{5000, "a", 7}, {6000, "b", 8}});
}

TEST_F(TraceFormatsTest, ArcIsToldByItsNameAndIsARequestForEachBlock) {
  ExpectReads(Data("paper.lis"), {}, TraceFormat::kArc, kArcAccesses);
  const std::string other = Write("trace", Read(Data("paper.lis")));
  EXPECT_NE(Refusal(other).find("--format arc"), std::string::npos);
  ExpectReads(other, As(TraceFormat::kArc), TraceFormat::kArc, kArcAccesses);
}

TEST_F(TraceFormatsTest, BrokenExtentsOfArcAreBadRows) {
  for (const char* line :
       {"1 0 0 0", "1 1048577 0 0", "18446744073709551615 2 0 0", "1 2 0",
        "1 2 0 0 0", "1 -2 0 0", "a 2 0 0", "", "1,2,0,0"}) {
    const std::string path =
        Write("t.lis", std::string("1 2 0 0\n") + line + "\n9 1 0 2\n");
    EXPECT_TRUE(Refusal(path, As(TraceFormat::kArc))
                    .starts_with(":2: expected four numbers"))
        << line;
    LoadOptions skipping = As(TraceFormat::kArc);
    skipping.skip_bad_count_max = 1;
    const auto trace = LoadTrace(path, skipping);
    ASSERT_TRUE(trace) << line;
    EXPECT_EQ(trace->requests.size(), 3U) << line;
  }
}

TEST_F(TraceFormatsTest, WikipediaIsToldByItsHeader) {
  ExpectReads(Data("wikipedia_upload.tsv"), {}, TraceFormat::kWikipedia,
              kWikipediaUploadAccesses);
  ExpectReads(Data("wikipedia_text.tsv"), {}, TraceFormat::kWikipedia,
              kWikipediaTextAccesses);
}

TEST_F(TraceFormatsTest, FormatsWithAHeaderAreReadWithoutItIfNamed) {
  for (const auto& [name, format, accesses] :
       {std::tuple{"cloudPhysicsIO.csv", TraceFormat::kCloudPhysics,
                   &kCloudPhysicsAccesses},
        std::tuple{"wikipedia_upload.tsv", TraceFormat::kWikipedia,
                   &kWikipediaUploadAccesses},
        std::tuple{"wikipedia_text.tsv", TraceFormat::kWikipedia,
                   &kWikipediaTextAccesses}}) {
    const std::string content = Read(Data(name));
    const std::string path =
        Write(name, content.substr(content.find('\n') + 1));
    ExpectReads(path, As(format), format, *accesses);
    EXPECT_NE(
        Refusal(path).find("--format " + std::string(TraceFormatName(format))),
        std::string::npos)
        << Refusal(path);
  }
}

TEST_F(TraceFormatsTest, FormatThatTheFileIsNotOfIsAnError) {
  EXPECT_TRUE(Refusal(Data("twitter.csv"), As(TraceFormat::kLrb))
                  .starts_with(":1: expected at least 3 fields, got 1 in"));
  EXPECT_TRUE(Refusal(Data("webcachesim.tr"), As(TraceFormat::kTwitter))
                  .starts_with(":1: expected 7 fields, got 1 in"));
  EXPECT_TRUE(Refusal(Data("capitals.csv"), As(TraceFormat::kCloudPhysics))
                  .starts_with(":1: expected version,time,op,size,lbn, got"));
  EXPECT_TRUE(Refusal(Data("capitals.csv"), As(TraceFormat::kWikipedia))
                  .starts_with(":1: expected a header or row of 4 or 5"));
}

TEST_F(TraceFormatsTest, HeadersAreReadInAnyCaseAndWithAnySeparator) {
  ExpectReads(Data("capitals.csv"), {}, TraceFormat::kCsv,
              {{10, "A", 5, kGet, 0},
               {11, "a", 6, kSet, 60},
               {12, "A", 0, kDelete, 0}});
  ExpectReads(Data("spaces.csv"), {}, TraceFormat::kCsv,
              {{1000, "a", 5}, {2500, "b", 6}});
  ExpectReads(Data("semicolons.csv"), {}, TraceFormat::kCsv,
              {{0, "a,b", 5}, {0, "c", 6}});
  ExpectReads(Data("tabs.tsv"), {}, TraceFormat::kCsv,
              {{0, "x y", 5, kGet}, {0, "z", 6, kSet}});
  ExpectReads(Data("blanks.txt"), {}, TraceFormat::kCsv,
              {{1, "a", 5}, {2, "b", 6}});
  ExpectReads(Data("libcachesim.csv"), {}, TraceFormat::kCsv,
              {{0, "123", 5}, {1000, "124", 6}});
}

TEST_F(TraceFormatsTest, QuotesEncloseSeparatorsAndQuotes) {
  ExpectReads(Data("quotes.csv"), {}, TraceFormat::kCsv,
              {{0, "a,b", 5}, {0, "c", 6}});
  ExpectReads(Write("t", "key,size\n\"say \"\"x\"\"\" ,1\n \"\",2\n"), {},
              TraceFormat::kCsv, {{0, "say \"x\"", 1}, {0, "", 2}});
  for (const char* row : {"\"a,1", "\"a\"b,1", "\"a\"\",1"}) {
    EXPECT_TRUE(RefusalOf(std::string("key,size\n") + row + "\n")
                    .starts_with(":2: expected a quote that ends"))
        << row;
  }
}

TEST_F(TraceFormatsTest, ByteOrderMarkIsNoPartOfTheText) {
  const std::string mark = "\xEF\xBB\xBF";
  for (const char* name : {"twitter.csv", "cloudPhysicsIO.csv",
                           "wikipedia_text.tsv", "webcachesim.tr", "paper.lis",
                           "capitals.csv", "quotes.csv", "keys.txt"}) {
    const auto plain = LoadTrace(Data(name), {});
    const auto marked = LoadTrace(Write(name, mark + Read(Data(name))), {});
    ASSERT_TRUE(plain && marked) << name;
    EXPECT_EQ(marked->key_hashes, plain->key_hashes) << name;
    EXPECT_EQ(marked->requests.back().time_ms, plain->requests.back().time_ms);
  }
  ExpectReads(Write("t", mark + "0,a,1,get,5\n"), {}, TraceFormat::kCsv,
              {{0, "a", 1, kGet, 5}});
  ExpectReads(Write("t", mark + "a,b\n"), As(TraceFormat::kText),
              TraceFormat::kText, {{0, "a,b"}});
}

TEST_F(TraceFormatsTest, LinesWithoutSeparatorsAreKeys) {
  ExpectReads(Data("keys.txt"), {}, TraceFormat::kText,
              {{0, "one"}, {1, "https://example.org/two?x=1&y=2"}, {2, "one"}});
}

TEST_F(TraceFormatsTest, TextWithSeparatorsIsRefusedUnlessItIsSaidToBeText) {
  for (const char* line : {"a,b", "a;b", "a\tb", "a b", "a|b", "a\rb", "\"a\"",
                           "1,a,5,get", "5,a"}) {
    const std::string path = Write("t", std::string(line) + "\n");
    const std::string refusal = Refusal(path);
    EXPECT_TRUE(refusal.starts_with(":1: expected a known format")) << line;
    EXPECT_NE(refusal.find("--columns"), std::string::npos) << line;
    EXPECT_NE(refusal.find("--format text"), std::string::npos) << line;
    EXPECT_EQ(refusal.find('\n'), std::string::npos) << line;
    ExpectReads(path, As(TraceFormat::kText), TraceFormat::kText, {{0, line}});
  }
  EXPECT_TRUE(Refusal(Data("four_columns.csv"))
                  .starts_with(":1: expected a known format"));
}

TEST_F(TraceFormatsTest, SeparatorFarBehindTheHeadIsABadRow) {
  std::string text;
  while (text.size() < 2 * kDetectSizeBytes) text += "key\n" + text;
  text = "a\n" + text + "x,y\nb\n";
  const std::string path = Write("t", text);
  EXPECT_NE(Refusal(path).find(": expected a key a line without separators and "
                               "quotes, got \"x,y\": say --format text"),
            std::string::npos)
      << Refusal(path);
  LoadOptions skipping;
  skipping.skip_bad_count_max = 1;
  const auto trace = LoadTrace(path, skipping);
  ASSERT_TRUE(trace);
  EXPECT_EQ(trace->bad_row_count, 1U);
}

TEST_F(TraceFormatsTest, WhatCouldBeTwoFormatsNamesThem) {
  const std::string refusal = RefusalOf("1 2 3 4\n5 6 7 8\n");
  EXPECT_NE(refusal.find("say --format lrb or --format arc, --columns"),
            std::string::npos)
      << refusal;
  EXPECT_NE(RefusalOf("1,700,2a,512,9001\n").find("cloudPhysics"),
            std::string::npos);
  // Its name does not make an ARC trace of what is none.
  EXPECT_EQ(Refusal(Write("t.lis", "1 2 3\n")).find("arc"), std::string::npos);
}

TEST_F(TraceFormatsTest, HeaderThatCouldBeReadTwoWaysIsRefused) {
  EXPECT_NE(
      RefusalOf("time,obj_id,lbn\n1,2,3\n").find("\"obj_id\" and \"lbn\""),
      std::string::npos);
  EXPECT_NE(RefusalOf("key,size,KEY\n1,2,3\n").find("\"key\" and \"KEY\""),
            std::string::npos);
  EXPECT_NE(RefusalOf("a,key,b;c;key\n1,2,3;4;5\n")
                .find("separated by \",\" or by \";\""),
            std::string::npos)
      << RefusalOf("a,key,b;c;key\n1,2,3;4;5\n");
  // Larder's own name counts, whatever stands beside it.
  ExpectReads(Write("t", "id,key\n1,a\n"), {}, TraceFormat::kCsv, {{0, "a"}});
}

TEST_F(TraceFormatsTest, RowOfNumbersIsNoHeader) {
  // "id" and "key" are keys here.
  ExpectReads(Write("t", "0,key,1,get,0\n1,id,2,set,9\n"), {},
              TraceFormat::kCsv,
              {{0, "key", 1, kGet, 0}, {1, "id", 2, kSet, 9}});
}

TEST_F(TraceFormatsTest, ColumnsSayWhatIsWhere) {
  const std::vector<Access> accesses = {{1000, "a", 5, kGet},
                                        {2000, "b", 6, kSet}};
  ExpectReads(Data("four_columns.csv"), WithColumns("time,key,size,op"),
              TraceFormat::kCsv, accesses);
  ExpectReads(Data("four_columns.csv"), WithColumns("-,key,-,-"),
              TraceFormat::kCsv, {{0, "a"}, {0, "b"}});
}

TEST_F(TraceFormatsTest, ColumnsFindTheSeparatorAndSkipAHeader) {
  for (const char* text :
       {"5;a\n6;b\n", "5\ta\n6\tb\n", "5|a\n6|b\n", "5  a\n 6\tb\n",
        "5, a\n6, b\n", "bytes;name\n5;a\n6;b\n", "5;a\r\n6;b\r\n"}) {
    ExpectReads(Write("t", text), WithColumns("size,key"), TraceFormat::kCsv,
                {{0, "a", 5}, {0, "b", 6}});
  }
  // Keys alone cannot tell a header: it is a row.
  ExpectReads(Write("t", "name;x\na;y\n"), WithColumns("key,-"),
              TraceFormat::kCsv, {{0, "name"}, {0, "a"}});
  ExpectReads(Write("t", "a,b\n\"c\n"), WithColumns("key"), TraceFormat::kCsv,
              {{0, "a,b"}, {0, "\"c"}});
}

TEST_F(TraceFormatsTest, ColumnsThatDoNotFitAreRefused) {
  EXPECT_TRUE(Refusal(Data("four_columns.csv"), WithColumns("time,key,size"))
                  .starts_with(":1: expected 3 columns as --columns says"));
  EXPECT_NE(Refusal(Write("t", "a,b;c\n"), WithColumns("key,size"))
                .find("by \",\" or by \";\""),
            std::string::npos);
  EXPECT_TRUE(Refusal(Write("t", "1,a\n2\n"), WithColumns("size,key"))
                  .starts_with(":2: expected 2 fields, got 1"));
  EXPECT_TRUE(Refusal(Write("t", ""), WithColumns("size,key"))
                  .starts_with(":1: expected 2 columns"));
}

TEST_F(TraceFormatsTest, UnitsOfTimeAreConverted) {
  for (const auto& [columns, time, expected] :
       {std::tuple{"time,key", "12", 12000},
        {"time_s,key", "12.5", 12500},
        {"time_s,key", "0.0019", 1},
        {"time_ms,key", "12", 12},
        {"time_us,key", "12999", 12},
        {"time_ns,key", "12999999", 12}}) {
    ExpectReads(Write("t", std::string(time) + ",a\n"), WithColumns(columns),
                TraceFormat::kCsv,
                {{static_cast<std::uint64_t>(expected), "a"}});
  }
  ExpectReads(Write("t", "1,a\n1001,b\n0,c\n"), WithColumns("ttl_ms,key"),
              TraceFormat::kCsv,
              {{0, "a", 1, kGet, 1}, {0, "b", 1, kGet, 2}, {0, "c"}});
}

TEST_F(TraceFormatsTest, TimesBeyondTheBoundAreBadRows) {
  for (const auto& [columns, last, beyond] :
       {std::tuple{"time_s,key", "9007199254740", "9007199254741"},
        {"time_ms,key", "9007199254740992", "9007199254740993"},
        {"time_us,key", "9007199254740992000", "9007199254740993000"},
        {"time_ns,key", "18446744073709551615", "18446744073709551616"}}) {
    EXPECT_TRUE(
        LoadTrace(Write("t", std::string(last) + ",a\n"), WithColumns(columns)))
        << last;
    EXPECT_TRUE(Refusal(Write("t", "1,a\n" + std::string(beyond) + ",a\n"),
                        WithColumns(columns))
                    .starts_with(":2: expected time"))
        << beyond;
  }
  for (const char* time : {"1.", "1.x", "-1", ".5", "1e3", "1.5.5"}) {
    EXPECT_TRUE(
        Refusal(Write("t", "1,a\n" + std::string(time) + ",a\n"),
                WithColumns("time,key"))
            .starts_with(":2: expected time_s as a number from 0 to 9007199254"
                         "740, got"))
        << time;
  }
}

TEST_F(TraceFormatsTest, UnknownOperationsAreBadRows) {
  EXPECT_TRUE(Refusal(Write("t.csv", "version,time,op,size,lbn\n1,2,35,1,1\n"))
                  .starts_with(":2: expected op 08, 28, 88 or a8 (reads)"));
  EXPECT_TRUE(RefusalOf("key,op\na,GET_LEASE\n")
                  .starts_with(":2: expected op get, set or delete"));
}

TEST_F(TraceFormatsTest, NamesOfColumnsAreChecked) {
  const auto error = [](const std::vector<std::string>& names) {
    const auto columns = ParseColumns(names);
    return columns ? "it was understood" : columns.error().message();
  };
  EXPECT_TRUE(error({"time", "kye"}).starts_with("column \"kye\": expected"));
  EXPECT_EQ(error({"time", "size"}), "columns: expected a \"key\"");
  EXPECT_EQ(error({}), "columns: expected a \"key\"");
  EXPECT_EQ(error({"key", "time_s", "time_ms"}),
            "columns: \"time_s\" and \"time_ms\" are for the same");
  EXPECT_TRUE(error(std::vector<std::string>(65, "-"))
                  .starts_with("expected "
                               "at most"));
  EXPECT_EQ(ColumnsText(ColumnsOf("time,key,-,ttl,time_ms")), "");
  EXPECT_EQ(ColumnsText(ColumnsOf("time,key,-,ttl,size,op,cost")),
            "time_s,key,-,ttl_s,size,op,cost");
}

TEST_F(TraceFormatsTest, ContentSaysWhatTheFileWasTakenFor) {
  const auto trace = LoadTrace(Data("twitter.csv"), {});
  ASSERT_TRUE(trace);
  EXPECT_EQ(trace->content.columns, "time_s,key,-,size,-,op,ttl_s");
  EXPECT_EQ(trace->content.separator, ",");
  EXPECT_FALSE(trace->content.has_header);
  EXPECT_TRUE(trace->content.has_times && trace->content.knows_time_unit);
  EXPECT_EQ(trace->CountOf(kGet), 2U);
  EXPECT_EQ(trace->CountOf(kSet), 3U);
  EXPECT_EQ(trace->CountOf(kDelete), 1U);
  const auto named = LoadTrace(Data("libcachesim.csv"), {});
  ASSERT_TRUE(named);
  EXPECT_TRUE(named->content.has_header && named->content.has_times);
  EXPECT_FALSE(named->content.knows_time_unit);
}

TEST_F(TraceFormatsTest, BinaryIsRecordsOnlyIfTheySaySo) {
  const auto record = [](std::uint64_t next, char key = '\1') {
    std::string bytes(24, key);
    for (std::size_t i = 0; i < 8; ++i) {
      bytes[16 + i] = static_cast<char>(next >> (8 * i));
    }
    return bytes;
  };
  const std::uint64_t never = ~std::uint64_t{0};
  const Access access{16843009000, std::string(8, '\1'), 16843009};
  ExpectReads(Write("t", record(1) + record(never)), {},
              TraceFormat::kOracleGeneral, {access, access});
  ExpectReads(Write("t", record(1) + record(2) + record(never)), {},
              TraceFormat::kOracleGeneral, {access, access, access});
  // Distances in place of numbers.
  ExpectReads(Write("t", record(1) + record(1) + record(never)), {},
              TraceFormat::kOracleGeneral, {access, access, access});
  for (const std::string& content :
       {record(0) + record(never),                    // Not later.
        record(1) + record(1ULL << 40),               // Not plausible.
        record(1, '\1') + record(never, '\2'),        // Not true.
        record(2) + record(1, '\2') + record(never),  // Neither.
        record(4096) + record(4096) + record(8192),   // Nothing to be seen.
        std::string(4800, '\0'), std::string("\1\2\3")}) {
    EXPECT_TRUE(RefusalOf(content).starts_with(": binary, and not certainly"));
    EXPECT_TRUE(DetectFormat(content, "x/T.ORACLEGENERAL.bin.zst"));
  }
}

TEST_F(TraceFormatsTest, DamagedFilesAreErrorsOfTheFileOrRows) {
  std::mt19937_64 random(1);
  constexpr std::string_view kBytes = ",;|\t \r\n\"0-.#a\xEF\0";
  for (const char* name :
       {"twitter.csv", "cloudPhysicsIO.csv", "wikipedia_text.tsv",
        "webcachesim.tr", "paper.lis", "capitals.csv", "quotes.csv",
        "blanks.txt", "keys.txt"}) {
    const std::string whole = Read(Data(name));
    for (int i = 0; i < 40; ++i) {
      std::string damaged = whole.substr(0, random() % (whole.size() + 1));
      for (std::size_t j = random() % 4; j > 0 && !damaged.empty(); --j) {
        damaged[random() % damaged.size()] = kBytes[random() % kBytes.size()];
      }
      const std::string path = Write(name, damaged);
      for (int format = 0; format <= 8; ++format) {
        const auto trace =
            LoadTrace(path, As(static_cast<TraceFormat>(format)));
        if (trace) {
          EXPECT_FALSE(trace->requests.empty());
        } else {
          EXPECT_TRUE(trace.error().message().starts_with(path))
              << trace.error().message();
        }
      }
    }
  }
}

TEST_F(TraceFormatsTest, OtherKindsOfFilesAreCalledByTheirNames) {
  const std::string rest(100, '\0');
  for (const auto& [magic, name] : {std::pair{"BZh91AY", "bzip2"},
                                    {"PK\3\4", "zip"},
                                    {"PAR1", "Parquet"},
                                    {"\xFF\xFE"
                                     "a",
                                     "UTF-16"},
                                    {"\x04\x22\x4D\x18", "lz4"}}) {
    EXPECT_EQ(RefusalOf(magic + rest),
              ": begins like a " + std::string(name) +
                  " file, which replay does not read: convert it");
  }
}

}  // namespace
}  // namespace larder::replay
