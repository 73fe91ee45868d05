#include "trace/trace_writer.h"

#include <thread>

#include "trace_files.h"

namespace larder::replay {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class TraceWriterTest : public testing::TraceFiles {
 protected:
  std::unique_ptr<TraceWriter> Open(const std::string& name, TraceKeys keys) {
    Result<std::unique_ptr<TraceWriter>> writer = TraceWriter::Open(
        Path(name), {.keys = keys, .hash_seed = 1, .clock = &clock_});
    EXPECT_TRUE(writer) << writer.error().message();
    return std::move(*writer);
  }

  ManualClock clock_{TimePoint(seconds(1'600'000'000))};
};

TEST_F(TraceWriterTest, RowsSayWhatHappenedAndWhen) {
  const auto writer = Open("t.csv", TraceKeys::kPlain);
  writer->RecordHit("a", 10);
  clock_.Advance(milliseconds(1500));
  writer->RecordSet("b", 20, milliseconds(60'001));
  writer->RecordDelete("a");
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_EQ(Read(Path("t.csv")),
            "time_ms,key,size,op,ttl_s\n0,a,10,get,0\n1500,b,20,set,61\n"
            "1500,a,0,delete,0\n");
  EXPECT_EQ(writer->row_count(), 3U);
}

TEST_F(TraceWriterTest, MissAndTheSetThatFillsItAreOneRow) {
  const auto writer = Open("t.csv", TraceKeys::kPlain);
  writer->RecordMiss("a");
  clock_.Advance(milliseconds(3));
  writer->RecordSet("a", 20, Duration{0});
  writer->RecordSet("a", 30, Duration{0});
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_EQ(Read(Path("t.csv")),
            "time_ms,key,size,op,ttl_s\n3,a,20,get,0\n3,a,30,set,0\n");
}

TEST_F(TraceWriterTest, MissThatNothingFillsIsAGetOfSizeZero) {
  const auto writer = Open("t.csv", TraceKeys::kPlain);
  writer->RecordMiss("a");
  clock_.Advance(milliseconds(3));
  writer->RecordMiss("a");
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_EQ(Read(Path("t.csv")),
            "time_ms,key,size,op,ttl_s\n0,a,0,get,0\n3,a,0,get,0\n");
}

TEST_F(TraceWriterTest, PlainKeysOfAnyBytesStayApart) {
  const auto writer = Open("t.csv", TraceKeys::kPlain);
  const std::vector<std::string> keys = {
      "a,b",   "a%2Cb",    "a\nb", "", std::string("\0x", 2),
      "\"a\"", "\xC3\xA9", "a b"};
  for (const std::string& key : keys) writer->RecordHit(key, 1);
  ASSERT_TRUE(writer->Close().ok());
  const auto trace = LoadTrace(Path("t.csv"), {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), keys.size());
  EXPECT_EQ(trace->key_hashes.size(), keys.size());
}

TEST_F(TraceWriterTest, HashedKeysTellNothingButStayTheSame) {
  const auto writer = Open("t.csv", TraceKeys::kHashed);
  writer->RecordHit("secret", 1);
  writer->RecordHit("secret", 1);
  writer->RecordHit("other", 1);
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_EQ(Read(Path("t.csv")).find("secret"), std::string::npos);
  const auto trace = LoadTrace(Path("t.csv"), {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), 3U);
  EXPECT_EQ(trace->key_hashes.size(), 2U);
}

TEST_F(TraceWriterTest, ShareOfTheKeysHasAllOfTheirRows) {
  Result<std::unique_ptr<TraceWriter>> writer = TraceWriter::Open(
      Path("t.csv"), {.hash_seed = 1, .key_share = 0.25, .clock = &clock_});
  ASSERT_TRUE(writer) << writer.error().message();
  constexpr int kKeys = 4000;
  for (int i = 0; i < 3 * kKeys; ++i) {
    const std::string key = std::to_string(i % kKeys);
    (*writer)->RecordMiss(key);
    (*writer)->RecordSet(key, 1, Duration{0});
  }
  ASSERT_TRUE((*writer)->Close().ok());
  const auto trace = LoadTrace(Path("t.csv"), {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_NEAR(trace->key_hashes.size(), 0.25 * kKeys, 0.05 * kKeys);
  EXPECT_EQ(trace->requests.size(), 3 * trace->key_hashes.size());
}

TEST_F(TraceWriterTest, CompressedTraceOfManyThreadsIsComplete) {
  constexpr int kThreads = 4;
  constexpr int kRows = 20'000;
  const auto writer = Open("t.csv.zst", TraceKeys::kHashed);
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&writer, t] {
      for (int i = 0; i < kRows; ++i) {
        writer->RecordHit(std::to_string(t) + "/" + std::to_string(i), 7);
      }
    });
  }
  threads.clear();
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_EQ(writer->row_count() + writer->dropped_row_count(),
            std::uint64_t{kThreads * kRows});
  const auto trace = LoadTrace(Path("t.csv.zst"), {});
  ASSERT_TRUE(trace) << trace.error().message();
  EXPECT_EQ(trace->requests.size(), writer->row_count());
  EXPECT_EQ(trace->key_hashes.size(), trace->requests.size());
}

TEST_F(TraceWriterTest, FullDeviceIsReportedByCloseAndRowsCountAsDropped) {
  Result<std::unique_ptr<TraceWriter>> writer =
      TraceWriter::Open("/dev/full", {.clock = &clock_});
  if (!writer) GTEST_SKIP() << "no /dev/full";
  (*writer)->RecordHit("a", 1);
  EXPECT_EQ((*writer)->Close().code(), StatusCode::kNoSpace);
  EXPECT_EQ((*writer)->row_count(), 0U);
  EXPECT_EQ((*writer)->dropped_row_count(), 1U);
}

TEST_F(TraceWriterTest, ClosedWriterRecordsNothing) {
  const auto writer = Open("t.csv", TraceKeys::kPlain);
  ASSERT_TRUE(writer->Close().ok());
  writer->RecordHit("a", 1);
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_EQ(Read(Path("t.csv")), "time_ms,key,size,op,ttl_s\n");
}

TEST_F(TraceWriterTest, DirectoryThatIsNotThereIsAnError) {
  const auto writer = TraceWriter::Open(Path("no/t.csv"), {});
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace larder::replay
