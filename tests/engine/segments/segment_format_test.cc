#include "segments/segment_format.h"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <xxhash.h>

#include "engine/segments/segment_log_fixture.h"

// The tables of docs/format.md, read back from a file byte by byte with none
// of the code that wrote it.

namespace larder {
namespace {

using SegmentFormatTest = SegmentLogFixture;

template <typename T>
T At(const std::string& bytes, std::size_t offset) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<unsigned char>(bytes[offset + i]))
             << (8 * i);
  }
  return value;
}

std::uint32_t SeededChecksum(const std::string& bytes, std::size_t offset,
                             std::string_view key) {
  return static_cast<std::uint32_t>(XXH3_64bits_withSeed(
      key.data(), key.size(), XXH3_64bits(bytes.data() + offset, 60)));
}

TEST(SegmentFormat, ChecksumIsThatOfTheDocumentAtEverySize) {
  const std::string bytes = testing::MakeValue(1, 200'000);
  for (const std::size_t size : {0, 1, 1023, 32'767, 32'768, 32'769, 33'792,
                                 40'959, 40'961, 65'536, 199'999}) {
    EXPECT_EQ(PayloadChecksum({bytes.data(), size}),
              XXH3_64bits(bytes.data(), size))
        << size;
  }
}

TEST_F(SegmentFormatTest, FileHasTheBytesOfTheDocument) {
  const std::string key = "0123456789";
  const std::string payload(100, 'p');
  Put(1, 1);  // [0, 128)
  auto grant = log_->Reserve(key.size(), payload.size());
  ASSERT_TRUE(
      log_->Write(*grant, {key, payload, 0x1122334455667788U, 1000, 900, 5})
          .has_value());
  *grant = SegmentGrant();
  log_.reset();
  std::ifstream in(FilePath(1), std::ios::binary);
  const std::string file{std::istreambuf_iterator<char>(in), {}};
  ASSERT_EQ(file.size(), 128U + 192U + 64U);

  const std::string record = file.substr(128, 192);
  EXPECT_EQ(record.substr(0, 8), std::string("\x01\x01\x05\0LSEG", 8));
  EXPECT_EQ(At<std::uint32_t>(record, 8), 10U);
  EXPECT_EQ(At<std::uint32_t>(record, 12), 100U);
  EXPECT_EQ(At<std::uint64_t>(record, 16), 0x1122334455667788U);
  EXPECT_EQ(At<std::uint64_t>(record, 24), 1000U);
  EXPECT_EQ(At<std::uint64_t>(record, 32), 900U);
  EXPECT_EQ(At<std::uint64_t>(record, 40), XXH3_64bits(payload.data(), 100));
  EXPECT_EQ(At<std::uint32_t>(record, 48), 1U);
  EXPECT_EQ(At<std::uint32_t>(record, 52), 128U);
  EXPECT_EQ(At<std::uint32_t>(record, 56), 0U);
  EXPECT_EQ(At<std::uint32_t>(record, 60), SeededChecksum(record, 0, key));
  EXPECT_EQ(record.substr(64),
            key + std::string(6, '\0') + payload + std::string(12, '\0'));

  const std::string footer = file.substr(320);
  EXPECT_EQ(footer.substr(0, 8), std::string("\x01\x02\0\0LSEG", 8));
  EXPECT_EQ(At<std::uint32_t>(footer, 8), 1U);
  EXPECT_EQ(At<std::uint64_t>(footer, 16), 2U);
  EXPECT_EQ(At<std::uint64_t>(footer, 24), 320U);
  EXPECT_EQ(footer.substr(32, 28), std::string(28, '\0'));
  EXPECT_EQ(At<std::uint32_t>(footer, 60), SeededChecksum(footer, 0, ""));
}

TEST(SegmentFormat, HeaderOfAnotherFormatOrWithALongKeyIsNone) {
  RecordHeader header;
  header.key_size = 3;
  RecordHeaderBytes bytes = EncodeRecordHeader(header, "key");
  ASSERT_TRUE(DecodeRecordHeader(bytes.data()).has_value());
  for (const std::size_t at : {0, 1, 4, 7}) {
    RecordHeaderBytes other = bytes;
    other[at] = static_cast<char>(other[at] + 1);
    EXPECT_FALSE(DecodeRecordHeader(other.data()).has_value()) << at;
  }
  header.key_size = 64 * 1024 + 1;
  bytes = EncodeRecordHeader(header, "key");
  EXPECT_FALSE(DecodeRecordHeader(bytes.data()).has_value());
}

TEST(SegmentFormat, NamesOfSegments) {
  EXPECT_EQ(SegmentPath("/d", 17), "/d/17.seg");
  EXPECT_EQ(ParseSegmentName("17.seg"), 17U);
  EXPECT_EQ(ParseSegmentName("4294967294.seg"), 4294967294U);
  for (const char* name :
       {"", ".seg", "0.seg", "017.seg", "-1.seg", "1.seg ", "1.SEG",
        "4294967295.seg", "4294967296.seg", "1x.seg"}) {
    EXPECT_FALSE(ParseSegmentName(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace larder
