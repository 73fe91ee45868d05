#include "trace_reader.h"

#include <algorithm>

#include <zstd.h>

#include "trace_files.h"

namespace larder::replay {
namespace {

using TraceReaderTest = testing::TraceFiles;

constexpr std::string_view kHeader = "time_ms,key,size,op,ttl_s\n";

std::string Zstd(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(
      ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 1));
  return out;
}

template <typename T>
void AppendNumber(std::string& bytes, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  }
}

/// One oracleGeneral record.
std::string Record(std::uint32_t time_s, std::uint64_t id, std::uint32_t size) {
  std::string bytes;
  AppendNumber(bytes, time_s);
  AppendNumber(bytes, id);
  AppendNumber(bytes, size);
  AppendNumber(bytes, std::int64_t{-1});
  return bytes;
}

std::string MessageOf(const Result<Trace>& trace) {
  return trace ? "it was read" : trace.error().message();
}

TEST_F(TraceReaderTest, CsvRowsAreReadWithAllFields) {
  const auto trace = LoadTrace(
      Write("t.csv", std::string(kHeader) +
                         "0,7,100,get,0\n5,x y,20,set,60\n9,7,100,get,0\n"),
      {});
  ASSERT_TRUE(trace) << trace.error().message();
  ASSERT_EQ(trace->requests.size(), 3U);
  EXPECT_EQ(trace->key_hashes.size(), 2U);
  EXPECT_EQ(trace->key_hashes[0], HashKey("7"));
  EXPECT_EQ(trace->requests[1].time_ms, 5U);
  EXPECT_EQ(trace->requests[1].key, 1U);
  EXPECT_EQ(trace->requests[1].size_bytes, 20U);
  EXPECT_EQ(trace->requests[1].op(), TraceOp::kSet);
  EXPECT_EQ(trace->requests[1].ttl_s, 60U);
  EXPECT_EQ(trace->requests[2].key, 0U);
  EXPECT_EQ(trace->footprint_bytes, 120U);
  EXPECT_EQ(trace->request_bytes, 220U);
  EXPECT_TRUE(trace->has_sizes);
  EXPECT_TRUE(trace->has_ttls);
  EXPECT_EQ(trace->name, "t");
}

TEST_F(TraceReaderTest, CsvColumnsMayComeInAnyOrderWithOthersBetween) {
  const auto trace = LoadTrace(
      Write("t", "size,client,key,cost\r\n3,a,k,2.5\r\n4,b,l,1\r\n"), {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests[0].size_bytes, 3U);
  EXPECT_EQ(trace->key_hashes[1], HashKey("l"));
  EXPECT_EQ(trace->costs, (std::vector<float>{2.5F, 1.0F}));
}

TEST_F(TraceReaderTest, CsvNeedsNoHeader) {
  const auto trace = LoadTrace(Write("t", "0,a,1,get,0\n1,b,1,get,0\n"), {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 2U);
  EXPECT_EQ(trace->key_hashes[0], HashKey("a"));
}

TEST_F(TraceReaderTest, LastLineMayLackItsEnd) {
  const auto trace =
      LoadTrace(Write("t", std::string(kHeader) + "0,a,1,get,0"), {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 1U);
}

TEST_F(TraceReaderTest, EveryKindOfBadCsvFieldIsNamedWithItsLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"x,a,1,get,0",
       ":3: expected time_ms as a whole number from 0 to "
       "9007199254740992, got \"x\""},
      {"0,a,-1,get,0",
       ":3: expected size as a whole number from 0 to "
       "1099511627776, got \"-1\""},
      {"0,a,1099511627777,get,0", ":3: expected size as a whole number"},
      {"0,a,1,put,0", ":3: expected op get, set or delete, got \"put\""},
      {"0,a,1,get,1s", ":3: expected ttl_s as a whole number"},
      {"0,a,1,get", ":3: expected 5 fields, got 4 in \"0,a,1,get\""},
      {"0,a,1,get,0,9", ":3: expected 5 fields, got 6 in"},
      {"", ":3: expected 5 fields, got 1 in \"\""},
  };
  for (const auto& [line, message] : cases) {
    const std::string path =
        Write("t.csv", std::string(kHeader) + "0,a,1,get,0\n" + line +
                           "\n1,b,1,get,0\n");
    const auto trace = LoadTrace(path, {});
    ASSERT_FALSE(trace) << line;
    EXPECT_EQ(trace.error().code(), StatusCode::kParseError);
    EXPECT_TRUE(MessageOf(trace).starts_with(path + message))
        << MessageOf(trace);
  }
}

TEST_F(TraceReaderTest, BadRowsAreSkippedUpToTheGivenNumber) {
  const std::string path = Write(
      "t.csv", std::string(kHeader) + "0,a,1,get,0\nbad\n2,b,1,get,0\nworse\n");
  EXPECT_FALSE(LoadTrace(path, {.skip_bad_count_max = 1}));
  const auto trace = LoadTrace(path, {.skip_bad_count_max = 2});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 2U);
  EXPECT_EQ(trace->bad_row_count, 2U);
  EXPECT_EQ(trace->first_bad_row,
            path + ":3: expected 5 fields, got 1 in \"bad\"");
}

TEST_F(TraceReaderTest, LineLongerThanTheBoundIsOneBadRow) {
  const std::string path =
      Write("t.csv", std::string(kHeader) + "0,a,1,get,0\n1," +
                         std::string(3 * kLineSizeBytesMax, 'k') +
                         ",1,get,0\n2,b,1,get,0\n");
  EXPECT_TRUE(MessageOf(LoadTrace(path, {}))
                  .starts_with(path + ":3: expected a line of at most"));
  const auto trace = LoadTrace(path, {.skip_bad_count_max = 1});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 2U);
}

TEST_F(TraceReaderTest, HeaderWithoutKeyIsRefused) {
  const std::string path = Write("t.csv", "time_ms,size\n0,1\n");
  EXPECT_EQ(MessageOf(LoadTrace(path, {.format = TraceFormat::kCsv})),
            path +
                ":1: expected a header with a column \"key\", got "
                "\"time_ms,size\"");
}

TEST_F(TraceReaderTest, OracleGeneralRoundTrips) {
  const std::string path =
      Write("t.oracleGeneral", Record(0, 11, 4096) + Record(1, 12, 512) +
                                   Record(0x01020304, 11, 0xFFFFFFFF));
  const auto trace = LoadTrace(path, {});
  ASSERT_TRUE(trace) << trace.error().message();
  ASSERT_EQ(trace->requests.size(), 3U);
  EXPECT_EQ(trace->key_hashes.size(), 2U);
  EXPECT_EQ(trace->requests[2].key, trace->requests[0].key);
  EXPECT_EQ(trace->requests[2].time_ms, 0x01020304 * 1000ULL);
  EXPECT_EQ(trace->requests[2].size_bytes, 0xFFFFFFFFU);
  EXPECT_EQ(trace->footprint_bytes, 4608U);
  EXPECT_EQ(trace->name, "t");
}

TEST_F(TraceReaderTest, OracleRecordsOfSizeZeroAreLeftOut) {
  const auto trace = LoadTrace(
      Write("t.bin", Record(0, 1, 0) + Record(0, 2, 5) + Record(0, 1, 0)), {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 1U);
  EXPECT_EQ(trace->left_out_row_count, 2U);
}

TEST_F(TraceReaderTest, TruncatedOracleRecordIsOneBadRow) {
  const std::string path =
      Write("t.bin", Record(0, 1, 1) + Record(0, 2, 5).substr(0, 23));
  EXPECT_EQ(MessageOf(LoadTrace(path, {})),
            path +
                ":2: expected a record of 24 bytes at offset 24, got 23 "
                "(truncated)");
  const auto trace = LoadTrace(path, {.skip_bad_count_max = 1});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 1U);
}

TEST_F(TraceReaderTest, TextLinesAreKeysOfSizeOne) {
  const auto trace = LoadTrace(Write("t.txt", "one\ntwo\none\n"), {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 3U);
  EXPECT_EQ(trace->key_hashes.size(), 2U);
  EXPECT_EQ(trace->key_hashes[1], HashKey("two"));
  EXPECT_FALSE(trace->has_sizes);
}

TEST_F(TraceReaderTest, EmptyTextLineIsABadRow) {
  const std::string path = Write("t.txt", "one\n\ntwo\n");
  EXPECT_EQ(MessageOf(LoadTrace(path, {})),
            path + ":2: expected a key, got an empty line");
}

TEST_F(TraceReaderTest, FormatCanBeForced) {
  const std::string path = Write("t", "0,a,1,get,0\n1,b,1,get,0\n");
  const auto trace = LoadTrace(path, {.format = TraceFormat::kText});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->key_hashes[0], HashKey("0,a,1,get,0"));
  EXPECT_FALSE(ParseTraceFormat("tsv"));
  EXPECT_EQ(*ParseTraceFormat("oracleGeneral"), TraceFormat::kOracleGeneral);
}

TEST_F(TraceReaderTest, CompressedTracesOfAllFormatsReadTheSame) {
  const std::string csv = std::string(kHeader) + "0,a,9,get,0\n1,b,2,get,0\n";
  const std::string binary = Record(0, 11, 4096) + Record(1, 12, 512);
  for (const std::string& bytes :
       {csv, binary, std::string("abc\ndefg\nabc\n")}) {
    const auto plain = LoadTrace(Write("t", bytes), {});
    // Two frames, as "cat a.zst b.zst" makes them.
    const auto packed = LoadTrace(
        Write("t.zst", Zstd(bytes.substr(0, 7)) + Zstd(bytes.substr(7))), {});
    ASSERT_TRUE(plain && packed) << MessageOf(packed);
    EXPECT_EQ(packed->key_hashes, plain->key_hashes);
    EXPECT_EQ(packed->requests.size(), plain->requests.size());
    EXPECT_EQ(packed->request_bytes, plain->request_bytes);
  }
}

TEST_F(TraceReaderTest, TruncatedZstdIsOneBadRowAtTheEnd) {
  std::string text(kHeader);
  for (int i = 0; i < 100'000; ++i) {
    text += std::to_string(i) + "," + std::to_string(i * 7919 % 65537) +
            ",1,get,0\n";
  }
  const std::string packed = Zstd(text);
  const std::string path =
      Write("t.csv.zst", std::string_view(packed).substr(0, packed.size() / 2));
  EXPECT_EQ(MessageOf(LoadTrace(path, {})),
            path +
                ": expected the rest of a zstd frame, got the end of the "
                "file (truncated)");
  const auto trace = LoadTrace(path, {.skip_bad_count_max = 1});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_GT(trace->requests.size(), 1000U);
  EXPECT_LT(trace->requests.size(), 100'000U);
  EXPECT_EQ(trace->requests.back().size_bytes, 1U);
}

TEST_F(TraceReaderTest, EveryTruncationOfASmallZstdTraceIsToldApart) {
  const std::string packed = Zstd(std::string(kHeader) + "0,a,1,get,0\n");
  for (std::size_t size = 5; size < packed.size(); ++size) {
    EXPECT_FALSE(LoadTrace(Write("t.zst", packed.substr(0, size)), {})) << size;
  }
  EXPECT_TRUE(LoadTrace(Write("t.zst", packed), {}));
}

TEST_F(TraceReaderTest, DamagedZstdIsCorruptionThatCannotBeSkipped) {
  std::string text(kHeader);
  for (int i = 0; i < 5000; ++i) text += std::to_string(i) + ",k,1,get,0\n";
  std::string packed = Zstd(text);
  for (std::size_t i = 8; i < 64; ++i)
    packed[i] = static_cast<char>(~packed[i]);
  const auto trace =
      LoadTrace(Write("t.csv.zst", packed), {.skip_bad_count_max = 1000});
  ASSERT_FALSE(trace);
  EXPECT_EQ(trace.error().code(), StatusCode::kCorruption);
}

TEST_F(TraceReaderTest, AbsentAndEmptyFilesAreErrors) {
  EXPECT_EQ(LoadTrace(Path("none"), {}).error().code(), StatusCode::kNotFound);
  const std::string path = Write("t.csv", kHeader);
  EXPECT_EQ(MessageOf(LoadTrace(path, {})),
            path + ": expected requests, got none");
  EXPECT_FALSE(LoadTrace(Write("empty", ""), {}));
}

TEST_F(TraceReaderTest, LimitStopsReading) {
  const auto trace =
      LoadTrace(Write("t.txt", "a\nb\nc\n"), {.request_count_max = 2});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 2U);
}

TEST_F(TraceReaderTest, SampleTraceIsWhatItsReadmeSays) {
  const auto trace =
      LoadTrace(std::string(LARDER_TEST_DATA) + "/sample_trace.csv", {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 2000U);
  EXPECT_EQ(trace->bad_row_count, 0U);
  EXPECT_TRUE(trace->has_sizes && trace->has_ttls);
}

TEST(NextAccesses, PointToTheNextAccessOfTheSameKey) {
  Trace trace = testing::TraceOfKeys({0, 1, 0, 2, 1, 0});
  EXPECT_EQ(NextAccesses(trace),
            (std::vector<std::uint32_t>{2, 4, 5, kNeverAgain, kNeverAgain,
                                        kNeverAgain}));
  trace.requests[2].op_bits = 2;  // Deletes key 0: a later access misses.
  EXPECT_EQ(NextAccesses(trace)[0], kNeverAgain);
  EXPECT_EQ(NextAccesses(trace)[2], 5U);
}

}  // namespace
}  // namespace larder::replay
