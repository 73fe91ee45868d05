#include "index/entry.h"

#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/limits.h"

#include "base/coding.h"
#include "test_values.h"

namespace larder {
namespace {

using testing::MakeValue;
using testing::Random;

constexpr std::size_t kFixedSize = 32;

std::string Encoded(const Entry& entry) {
  std::string bytes;
  EncodeEntry(entry, bytes);
  return bytes;
}

Entry Sample(EntryKind kind) {
  Entry entry;
  entry.kind = kind;
  entry.codec = 200;
  entry.frequency = 255;
  entry.epoch = 0xFFFFFFFF;
  entry.version = 0x0123456789ABCDEF;
  entry.rank = (Rank{3} << 62) | 12345;
  entry.stored_at = TimePoint(Duration(1'700'000'000'000'001));
  if (kind == EntryKind::kInline) {
    entry.inline_value = "a small value";
    entry.value_size = entry.inline_value.size();
    entry.checksum = 0xFEDCBA9876543210;
  } else if (kind == EntryKind::kRun) {
    entry.value_size = 1000;
    entry.run = 0x80000001;
  } else {
    entry.extents = {{7, 64, 1 << 20}, {8, 128, 5}, {4294967294, 1 << 30, 1}};
    entry.value_size = (1 << 20) + 6;
  }
  return entry;
}

/// All four optional fields, chosen by the bits of `options`.
Entry SampleWith(EntryKind kind, unsigned options) {
  Entry entry = Sample(kind);
  if ((options & 1) != 0) entry.expires_at = TimePoint(Duration(-5));
  if ((options & 2) != 0) entry.tag = "a tag";
  if ((options & 4) != 0) entry.pinned = true;
  if ((options & 8) != 0) entry.cost = 2.5F;
  return entry;
}

std::vector<Entry> AllSamples() {
  std::vector<Entry> samples;
  for (const EntryKind kind :
       {EntryKind::kInline, EntryKind::kRun, EntryKind::kSegments}) {
    for (unsigned options = 0; options < 16; ++options) {
      samples.push_back(SampleWith(kind, options));
    }
  }
  return samples;
}

void ExpectEqual(const Entry& a, const Entry& b) {
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.codec, b.codec);
  EXPECT_EQ(a.pinned, b.pinned);
  EXPECT_EQ(a.frequency, b.frequency);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.rank, b.rank);
  EXPECT_EQ(a.stored_at, b.stored_at);
  EXPECT_EQ(a.expires_at, b.expires_at);
  EXPECT_EQ(a.cost, b.cost);
  EXPECT_EQ(a.tag, b.tag);
  EXPECT_EQ(a.value_size, b.value_size);
  EXPECT_EQ(a.run, b.run);
  EXPECT_EQ(a.checksum, b.checksum);
  EXPECT_EQ(a.inline_value, b.inline_value);
  EXPECT_EQ(a.extents, b.extents);
}

TEST(EntryCoding, EveryKindWithEveryOptionRoundTrips) {
  for (const Entry& entry : AllSamples()) {
    const std::string bytes = Encoded(entry);
    Entry decoded;
    ASSERT_EQ(DecodeEntry(bytes, decoded).ToString(), "kOk");
    ExpectEqual(decoded, entry);
  }
}

TEST(EntryCoding, BytesAreThoseOfTheFormat) {
  Entry entry;
  entry.kind = EntryKind::kRun;
  entry.codec = 6;
  entry.frequency = 2;
  entry.epoch = 3;
  entry.version = 4;
  entry.rank = 5;
  entry.stored_at = TimePoint(Duration(-1));
  entry.tag = "tg";
  entry.value_size = 9;
  entry.run = 10;
  const std::string expected(
      "\x01\x09\x06\x02"                  // Format, flags, codec, frequency.
      "\x03\0\0\0"                        // Epoch.
      "\x04\0\0\0\0\0\0\0"                // Version.
      "\x05\0\0\0\0\0\0\0"                // Rank.
      "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"  // Stored at.
      "\x02\0tg"                          // Tag.
      "\x09\0\0\0\x0A\0\0\0",             // Size of the value, run.
      kFixedSize + 12);
  EXPECT_EQ(Encoded(entry), expected);
}

TEST(EntryCoding, EmptyInlineValueRoundTrips) {
  Entry entry = Sample(EntryKind::kInline);
  entry.inline_value = {};
  entry.value_size = 0;
  const std::string bytes = Encoded(entry);
  Entry decoded = Sample(EntryKind::kSegments);  // Nothing of it may stay.
  ASSERT_EQ(DecodeEntry(bytes, decoded).ToString(), "kOk");
  entry.run = decoded.run;  // Means nothing for this kind.
  ExpectEqual(decoded, entry);
}

TEST(EntryCoding, LongestTagRoundTrips) {
  Entry entry = Sample(EntryKind::kRun);
  const std::string tag = MakeValue(1, kTagSizeBytesMax);
  entry.tag = tag;
  const std::string bytes = Encoded(entry);
  Entry decoded;
  ASSERT_EQ(DecodeEntry(bytes, decoded).ToString(), "kOk");
  EXPECT_EQ(decoded.tag, tag);
}

TEST(EntryCoding, TruncationIsCorruptionOrAShorterInlineValue) {
  for (const Entry& entry : AllSamples()) {
    const std::string bytes = Encoded(entry);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      // A copy of just this size, so that a sanitizer sees reads past it.
      const std::vector<char> cut(
          bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      Entry decoded;
      const Status status =
          DecodeEntry(std::string_view(cut.data(), cut.size()), decoded);
      const bool may_pass = entry.kind == EntryKind::kInline &&
                            size + entry.inline_value.size() >= bytes.size();
      EXPECT_EQ(status.code(),
                may_pass ? StatusCode::kOk : StatusCode::kCorruption)
          << size << " of " << bytes.size();
      if (may_pass) {
        EXPECT_EQ(entry.inline_value.substr(0, decoded.inline_value.size()),
                  decoded.inline_value);
      }
    }
  }
}

TEST(EntryCoding, RandomDamageIsCorruptionOrADecodableEntry) {
  Random random(testing::SeedFromEnvironment(1));
  const std::vector<Entry> samples = AllSamples();
  int refused = 0;
  for (int round = 0; round < 100'000; ++round) {
    std::string bytes = Encoded(samples[random.Below(samples.size())]);
    for (std::uint64_t flips = 1 + random.Below(4); flips > 0; --flips) {
      bytes[random.Below(bytes.size())] = static_cast<char>(random.Next());
    }
    Entry decoded;
    const Status status = DecodeEntry(bytes, decoded);
    if (!status.ok()) {
      ASSERT_EQ(status.code(), StatusCode::kCorruption);
      ++refused;
      continue;
    }
    // What was accepted encodes to something that decodes to the same.
    const std::string again = Encoded(decoded);
    Entry same;
    ASSERT_TRUE(DecodeEntry(again, same).ok());
    EXPECT_EQ(Encoded(same), again);
  }
  EXPECT_GT(refused, 1000);
}

TEST(EntryCoding, UnknownFormatKindAndFlagsAreRefused) {
  const std::string good = Encoded(Sample(EntryKind::kRun));
  Entry decoded;
  for (const std::uint8_t flags : {0x03, 0x41, 0x81}) {
    std::string bytes = good;
    bytes[1] = static_cast<char>(flags);
    EXPECT_EQ(DecodeEntry(bytes, decoded).code(), StatusCode::kCorruption);
  }
  std::string bytes = good;
  bytes[0] = 2;
  EXPECT_EQ(DecodeEntry(bytes, decoded).code(), StatusCode::kCorruption);
}

std::string SegmentsEntry(std::uint64_t size, std::uint64_t count,
                          std::size_t extents) {
  Entry entry = Sample(EntryKind::kInline);
  std::string bytes = Encoded(entry).substr(0, kFixedSize);
  bytes[1] = static_cast<char>(EntryKind::kSegments);
  PutVarint(bytes, size);
  PutVarint(bytes, count);
  bytes.append(extents * 12, '\0');
  return bytes;
}

TEST(EntryCoding, ExtentCountsThatOverflowAreRefused) {
  Entry decoded;
  ASSERT_TRUE(DecodeEntry(SegmentsEntry(0, 2, 2), decoded).ok());
  // 12 times these is 24 modulo 2^64.
  for (const std::uint64_t quarter : {1, 2, 3}) {
    const std::uint64_t count = 2 + (quarter << 62);
    EXPECT_EQ(DecodeEntry(SegmentsEntry(0, count, 2), decoded).code(),
              StatusCode::kCorruption);
  }
  EXPECT_EQ(DecodeEntry(SegmentsEntry(0, 0, 0), decoded).code(),
            StatusCode::kCorruption);
  EXPECT_EQ(DecodeEntry(SegmentsEntry(0, 1, 2), decoded).code(),
            StatusCode::kCorruption);
}

TEST(EntryCoding, ExtentsThatDoNotAddUpAreRefused) {
  Entry decoded;
  EXPECT_EQ(DecodeEntry(SegmentsEntry(1, 2, 2), decoded).code(),
            StatusCode::kCorruption);
}

TEST(EntryCoding, InfoHasWhatCallersSee) {
  const Entry entry = SampleWith(EntryKind::kSegments, 15);
  const ItemInfo info = InfoOf(entry);
  EXPECT_EQ(info.size_bytes, entry.value_size);
  EXPECT_EQ(info.version, entry.version);
  EXPECT_EQ(info.stored_at, entry.stored_at);
  EXPECT_EQ(info.expires_at, entry.expires_at);
  EXPECT_EQ(info.tag, "a tag");
  EXPECT_EQ(info.frequency, 255U);
  EXPECT_EQ(info.codec, 200);
  EXPECT_TRUE(info.pinned);
}

TEST(PlaceIds, RunsAndSegmentsDoNotMix) {
  for (const std::uint32_t number : {1U, 2U, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
    EXPECT_TRUE(IsRun(PlaceOfRun(number)));
    EXPECT_FALSE(IsRun(PlaceOfSegment(number)));
    EXPECT_EQ(PlaceNumber(PlaceOfRun(number)), number);
    EXPECT_EQ(PlaceNumber(PlaceOfSegment(number)), number);
    EXPECT_NE(PlaceOfSegment(number), kPlaceInline);
  }
}

std::string RecordBytes(const ValueRecord& record, std::uint64_t position) {
  std::string bytes;
  EncodeValueRecordHead(record, position, bytes);
  bytes.append(record.value);
  return bytes;
}

TEST(ValueRecords, RoundTrip) {
  const std::string large_key = MakeValue(2, kKeySizeBytesMax);
  const std::string large_value = MakeValue(3, 100'000);
  for (const std::string_view key :
       {std::string_view(), std::string_view("\0k", 2),
        std::string_view(large_key)}) {
    for (const std::string_view value :
         {std::string_view(), std::string_view(large_value)}) {
      const std::string bytes = RecordBytes({key, value, 255}, 42);
      const Result<ValueRecord> record = DecodeValueRecord(bytes, 42);
      ASSERT_TRUE(record.has_value()) << record.error().ToString();
      EXPECT_EQ(record->key, key);
      EXPECT_EQ(record->value, value);
      EXPECT_EQ(record->codec, 255);
      EXPECT_EQ(ValueRecordKey(bytes), key);
    }
  }
}

TEST(ValueRecords, EveryChangedByteAndEveryTruncationIsCorruption) {
  const std::string good = RecordBytes({"key", "the value", 3}, 77);
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = good;
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      const Result<ValueRecord> record = DecodeValueRecord(bytes, 77);
      ASSERT_FALSE(record.has_value()) << i << '.' << bit;
      EXPECT_EQ(record.error().code(), StatusCode::kCorruption);
    }
    const std::vector<char> cut(good.begin(),
                                good.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(
        DecodeValueRecord(std::string_view(cut.data(), cut.size()), 77));
  }
}

TEST(ValueRecords, ARecordBelongsToItsPosition) {
  const std::string bytes = RecordBytes({"key", "value", 0}, 77);
  EXPECT_TRUE(DecodeValueRecord(bytes, 77).has_value());
  EXPECT_FALSE(DecodeValueRecord(bytes, 78).has_value());
}

TEST(IndexKeys, EntryKeysOfAnyLengthAreTheSpaceAndTheKey) {
  for (const std::size_t size : {0, 1, 158, 159, 160, 161, 65536}) {
    const std::string key = MakeValue(size, size);
    EXPECT_EQ(EntryKey(key).bytes(), std::string(1, kEntrySpace) + key) << size;
  }
}

TEST(IndexKeys, SpacesDoNotOverlap) {
  const std::string high(8, '\xFF');
  EXPECT_LT(EntryKey(high).bytes(), TagIndexPrefix(""));
  EXPECT_LT(TagIndexKey(std::string(kTagSizeBytesMax, '\xFF'), high),
            ExpiryIndexKey(TimePoint::min(), ""));
}

TEST(IndexKeys, TagKeysParseBack) {
  const std::string longest(kTagSizeBytesMax, 't');
  for (const std::string& tag : {std::string("t"), std::string("a\0b", 3),
                                 std::string(256, 'x'), longest}) {
    const std::string bytes = TagIndexKey(tag, "the key");
    EXPECT_TRUE(bytes.starts_with(TagIndexPrefix(tag)));
    const auto parts = ParseTagIndexKey(bytes);
    ASSERT_TRUE(parts.has_value());
    EXPECT_EQ(parts->tag, tag);
    EXPECT_EQ(parts->key, "the key");
  }
}

TEST(IndexKeys, NoTagsLinesBeginWithAnotherTagsPrefix) {
  EXPECT_FALSE(TagIndexKey("ab", "c").starts_with(TagIndexPrefix("a")));
  EXPECT_NE(TagIndexKey("a", "bc"), TagIndexKey("ab", "c"));
}

TEST(IndexKeys, ExpiryKeysAreInOrderOfTimeAlsoBefore1970) {
  const std::int64_t times[] = {std::numeric_limits<std::int64_t>::min(),
                                -1'000'000'000'000,
                                -256,
                                -1,
                                0,
                                1,
                                255,
                                256,
                                1'700'000'000'000'000,
                                std::numeric_limits<std::int64_t>::max()};
  std::string before;
  for (const std::int64_t micros : times) {
    const TimePoint at{Duration(micros)};
    const std::string bytes = ExpiryIndexKey(at, "key");
    EXPECT_LT(before, bytes) << micros;
    const auto parts = ParseExpiryIndexKey(bytes);
    ASSERT_TRUE(parts.has_value());
    EXPECT_EQ(parts->expires_at, at);
    EXPECT_EQ(parts->key, "key");
    before = bytes + "\xFF";  // Any key of this time comes before the next.
  }
}

TEST(IndexKeys, OtherSpacesAndShortKeysDoNotParse) {
  const std::string tag = TagIndexKey("tag", "");
  const std::string expiry = ExpiryIndexKey(TimePoint{}, "");
  EXPECT_FALSE(ParseTagIndexKey(expiry));
  EXPECT_FALSE(ParseExpiryIndexKey(tag + "longer than nine"));
  EXPECT_FALSE(ParseTagIndexKey(EntryKey("key").bytes()));
  EXPECT_FALSE(ParseExpiryIndexKey(EntryKey("a long key").bytes()));
  for (std::size_t size = 0; size < tag.size(); ++size) {
    EXPECT_FALSE(ParseTagIndexKey(std::string_view(tag).substr(0, size)));
  }
  for (std::size_t size = 0; size < expiry.size(); ++size) {
    EXPECT_FALSE(ParseExpiryIndexKey(std::string_view(expiry).substr(0, size)));
  }
}

}  // namespace
}  // namespace larder
