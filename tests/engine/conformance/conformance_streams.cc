#include <algorithm>
#include <vector>

#include "engine/conformance/conformance_suite.h"
#include "test_values.h"

namespace larder::testing {
namespace {

/// Writes `value` in pieces of `piece_size`; the reply of the commit.
Reply Stream(Engine& engine, const SetCommand& command, std::string_view value,
             std::size_t piece_size, std::uint64_t size_expected = 0) {
  Result<std::unique_ptr<ValueWriter>> writer =
      engine.OpenWriter(command, size_expected, {});
  if (!writer) return {.status = writer.error()};
  while (!value.empty()) {
    const std::string_view piece = value.substr(0, piece_size);
    if (Status s = (*writer)->Append(piece); !s.ok()) {
      return {.status = std::move(s)};
    }
    value.remove_prefix(piece.size());
  }
  return (*writer)->Commit();
}

/// The rest of a stream, read with a buffer of `buffer_size`.
Result<std::string> ReadAll(ValueReader& reader, std::size_t buffer_size) {
  std::string value;
  std::vector<char> buffer(buffer_size);
  while (true) {
    const Result<std::size_t> size = reader.Read(buffer);
    if (!size) return Fail(size.error());
    value.append(buffer.data(), *size);
    if (*size < buffer.size()) return value;
  }
}

Result<std::string> ReadStream(Engine& engine, std::string_view key,
                               std::size_t buffer_size = 100000) {
  Result<std::unique_ptr<ValueReader>> reader = engine.OpenReader(key);
  if (!reader) return Fail(reader.error());
  if (*reader == nullptr) return "(miss)";
  return ReadAll(**reader, buffer_size);
}

const std::vector<std::size_t> kStreamSizes = {0,
                                               1,
                                               100,
                                               5000,
                                               65536,
                                               (1 << 20) - 1,
                                               1 << 20,
                                               1 + (1 << 20),
                                               1 + (5 << 20)};

TEST_P(EngineConformance, StreamedValueComesBackFromGet) {
  for (const std::size_t size : kStreamSizes) {
    const std::string value = MakeValue(size, size);
    const Reply reply = Stream(*engine_, {.key = "key"}, value, 70000);
    ASSERT_EQ(reply.status.ToString(), "kOk") << size;
    EXPECT_TRUE(reply.applied);
    EXPECT_TRUE(Get("key").value.bytes() == value) << size;
    EXPECT_EQ(Inspect("key").info.size_bytes, size);
    EXPECT_EQ(Count(), 1U);
  }
}

TEST_P(EngineConformance, StreamReadsWhatSetStored) {
  for (const std::size_t size : kStreamSizes) {
    const std::string value = MakeValue(size, size);
    ASSERT_TRUE(Set("key", value).applied);
    const Result<std::string> read = ReadStream(*engine_, "key");
    ASSERT_TRUE(read.has_value()) << read.error().ToString();
    EXPECT_TRUE(*read == value) << size;
  }
}

TEST_P(EngineConformance, StreamTakesPiecesOfAnySize) {
  const std::string value = MakeValue(1, 3000000);
  for (const std::size_t piece : {999U, 65536U, 1U << 20, 3000000U}) {
    ASSERT_TRUE(Stream(*engine_, {.key = "key"}, value, piece).applied);
    for (const std::size_t buffer : {777U, 1U << 20, 4000000U}) {
      const Result<std::string> read = ReadStream(*engine_, "key", buffer);
      ASSERT_TRUE(read.has_value()) << read.error().ToString();
      EXPECT_TRUE(*read == value) << piece << " " << buffer;
    }
  }
}

TEST_P(EngineConformance, StreamSizeExpectedIsAHintOnly) {
  const std::string value = MakeValue(1, 200000);
  for (const std::uint64_t expected : {1U, 200000U, 900000U}) {
    ASSERT_TRUE(
        Stream(*engine_, {.key = "key"}, value, 50000, expected).applied);
    EXPECT_TRUE(Get("key").value.bytes() == value) << expected;
  }
}

TEST_P(EngineConformance, StreamDroppedBeforeCommitLeavesNothing) {
  ASSERT_TRUE(Set("key", "old").applied);
  {
    auto writer = engine_->OpenWriter({.key = "key"}, 0, {});
    ASSERT_TRUE(writer.has_value());
    ASSERT_TRUE((*writer)->Append(MakeValue(1, 3000000)).ok());
    EXPECT_EQ(ValueOf("key"), "old");
  }
  EXPECT_EQ(ValueOf("key"), "old");
  EXPECT_EQ(Count(), 1U);
  const Result<CheckReport> report = engine_->Check(false);
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->ok());
}

TEST_P(EngineConformance, StreamAppearsWithCommitOnly) {
  auto writer = engine_->OpenWriter({.key = "key"}, 0, {});
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE((*writer)->Append("all of it").ok());
  EXPECT_FALSE(IsLive("key"));
  EXPECT_TRUE((*writer)->Commit().applied);
  EXPECT_EQ(ValueOf("key"), "all of it");
}

TEST_P(EngineConformance, StreamTakesCodecTtlAndTag) {
  const SetCommand command = {
      .key = "key", .codec = 7, .ttl = seconds(10), .tag = "red"};
  ASSERT_TRUE(Stream(*engine_, command, MakeValue(1, 50000), 10000).applied);
  const ItemInfo info = Inspect("key").info;
  EXPECT_EQ(info.codec, 7);
  EXPECT_EQ(info.tag, "red");
  EXPECT_EQ(info.expires_at, clock_.Now() + seconds(10));
  EXPECT_EQ(EvictTag("red").count, 1U);
}

TEST_P(EngineConformance, StreamConditionIsTestedAtCommit) {
  const SetCommand command = {.key = "key",
                              .condition = SetCondition::kIfAbsent};
  auto writer = engine_->OpenWriter(command, 0, {});
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE((*writer)->Append(MakeValue(1, 50000)).ok());
  const std::uint64_t version = Set("key", "first").info.version;
  const Reply reply = (*writer)->Commit();
  EXPECT_EQ(reply.status.ToString(), "kOk");
  EXPECT_FALSE(reply.applied);
  EXPECT_EQ(reply.info.version, version);
  EXPECT_EQ(ValueOf("key"), "first");
}

TEST_P(EngineConformance, StreamIsClosedAfterCommit) {
  auto writer = engine_->OpenWriter({.key = "key"}, 0, {});
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE((*writer)->Append("value").ok());
  ASSERT_TRUE((*writer)->Commit().applied);
  EXPECT_EQ((*writer)->Append("more").code(), StatusCode::kClosed);
  EXPECT_EQ((*writer)->Commit().status.code(), StatusCode::kClosed);
  EXPECT_EQ(ValueOf("key"), "value");
}

TEST_P(EngineConformance, StreamAboveTheItemSizeLimitIsTooLarge) {
  ASSERT_EQ(engine_->Reset("item_size_limit", "100000").ToString(), "kOk");
  ASSERT_TRUE(Set("key", "old").applied);
  const Reply reply =
      Stream(*engine_, {.key = "key"}, MakeValue(1, 100001), 30000);
  EXPECT_EQ(reply.status.code(), StatusCode::kTooLarge);
  EXPECT_EQ(ValueOf("key"), "old");
}

TEST_P(EngineConformance, StreamOfAKeyTooLargeIsRefusedAtOnce) {
  const std::string key(kKeySizeBytesMax + 1, 'k');
  EXPECT_EQ(engine_->OpenWriter({.key = key}, 0, {}).error().code(),
            StatusCode::kKeyTooLarge);
  EXPECT_EQ(engine_->OpenReader(key).error().code(), StatusCode::kKeyTooLarge);
}

TEST_P(EngineConformance, ReaderOfAnAbsentOrExpiredItemIsNull) {
  EXPECT_EQ(*engine_->OpenReader("nobody"), nullptr);
  ASSERT_TRUE(SetWithTtl("key", "v", seconds(1)).applied);
  clock_.Advance(seconds(1));
  EXPECT_EQ(*engine_->OpenReader("key"), nullptr);
}

TEST_P(EngineConformance, ReaderTellsTheItem) {
  ASSERT_TRUE(SetWithTag("key", MakeValue(1, 70000), "red").applied);
  auto reader = engine_->OpenReader("key");
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ((*reader)->info().size_bytes, 70000U);
  EXPECT_EQ((*reader)->info().tag, "red");
  EXPECT_EQ((*reader)->info().version, Inspect("key").info.version);
}

TEST_P(EngineConformance, ReaderGivesNothingAfterTheEnd) {
  ASSERT_TRUE(Set("key", "value").applied);
  auto reader = engine_->OpenReader("key");
  ASSERT_TRUE(reader.has_value());
  std::vector<char> buffer(10);
  EXPECT_EQ(*(*reader)->Read(buffer), 5U);
  EXPECT_EQ(*(*reader)->Read(buffer), 0U);
  EXPECT_EQ(*(*reader)->Read(buffer), 0U);
}

// A reader whose item is overwritten goes on with the old value or says kGone;
// it never mixes two values.
TEST_P(EngineConformance, ReaderNeverMixesTwoValues) {
  for (const std::size_t size : {5000U, 100000U, 4000000U}) {
    const std::string old_value = MakeValue(1, size);
    ASSERT_TRUE(Set("key", old_value).applied);
    auto reader = engine_->OpenReader("key");
    ASSERT_TRUE(reader.has_value());
    std::string value(1000, '\0');
    ASSERT_EQ(*(*reader)->Read(value), 1000U);
    ASSERT_TRUE(Set("key", MakeValue(2, size)).applied);
    ASSERT_TRUE(Run(ClearCommand{}).applied);
    const Result<std::string> rest = ReadAll(**reader, 100000);
    if (rest) {
      EXPECT_TRUE(value + *rest == old_value) << size;
    } else {
      EXPECT_EQ(rest.error().code(), StatusCode::kGone);
    }
  }
}

TEST_P(EngineConformance, StreamedValuesSurviveReopen) {
  const std::string value = MakeValue(9, 1 + (5 << 20));
  ASSERT_TRUE(Stream(*engine_, {.key = "key"}, value, 333333).applied);
  Reopen();
  const Result<std::string> read = ReadStream(*engine_, "key");
  ASSERT_TRUE(read.has_value()) << read.error().ToString();
  EXPECT_TRUE(*read == value);
}

TEST_P(EngineConformance, TwoStreamsDoNotMix) {
  auto first = engine_->OpenWriter({.key = "first"}, 0, {});
  auto second = engine_->OpenWriter({.key = "second"}, 0, {});
  ASSERT_TRUE(first.has_value() && second.has_value());
  std::string first_value;
  std::string second_value;
  for (std::uint64_t i = 0; i < 20; ++i) {
    first_value += MakeValue(i, 90000);
    second_value += MakeValue(100 + i, 70000);
    ASSERT_TRUE((*first)->Append(MakeValue(i, 90000)).ok());
    ASSERT_TRUE((*second)->Append(MakeValue(100 + i, 70000)).ok());
  }
  ASSERT_TRUE((*second)->Commit().applied);
  ASSERT_TRUE((*first)->Commit().applied);
  EXPECT_TRUE(Get("first").value.bytes() == first_value);
  EXPECT_TRUE(Get("second").value.bytes() == second_value);
}

}  // namespace
}  // namespace larder::testing
