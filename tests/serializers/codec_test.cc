#include "larder/serializers/codec.h"

#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "serializers/sample_types.h"

namespace larder::test {

enum class Color : std::uint8_t { kRed = 0, kBlue = 200 };

struct Celsius {
  double degrees = 0;
};
struct Throws {};
struct Borrowed {
  std::string text;
};

}  // namespace larder::test

namespace larder {

template <>
struct Codec<test::Celsius> {
  static constexpr std::uint8_t kId = 70;
  static std::string Encode(const test::Celsius& value) {
    return std::to_string(value.degrees);
  }
  static Decoded<test::Celsius> Decode(std::string_view bytes) {
    return test::Celsius{std::stod(std::string(bytes))};
  }
};

template <>
struct Codec<test::Throws> {
  static constexpr std::uint8_t kId = 127;
  static std::string Encode(const test::Throws& /*value*/) { throw 7; }
  static Decoded<test::Throws> Decode(std::string_view /*bytes*/) {
    throw std::runtime_error("no way");
  }
};

template <>
struct Codec<test::Borrowed> {
  static constexpr std::uint8_t kId = 64;
  static std::string_view Encode(const test::Borrowed& value) {
    return value.text;
  }
  static Decoded<test::Borrowed> Decode(std::string_view bytes) {
    return test::Borrowed{std::string(bytes)};
  }
};

namespace {

using Kind = DecodeError::Kind;

// The bytes that `value` is stored as.
template <typename T>
std::string BytesOf(const T& value) {
  auto encoded = Encode(value);
  EXPECT_TRUE(encoded) << encoded.error().message;
  return std::move(*encoded).Take();
}

template <typename T>
Decoded<T> RoundTrip(const T& value) {
  return Decode<T>(BytesOf(value), kCodecIdOf<T>);
}

template <typename T>
void ExpectError(const Decoded<T>& decoded, Kind kind, std::string_view text) {
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().kind, kind) << decoded.error().message;
  EXPECT_NE(decoded.error().message.find(text), std::string::npos)
      << decoded.error().message;
}

// Ids -------------------------------------------------------------------------

TEST(CodecId, EachTypeHasItsDocumentedOne) {
  static_assert(kCodecIdOf<std::string> == 0);
  static_assert(kCodecIdOf<std::string_view> == 0);
  static_assert(kCodecIdOf<char[4]> == 0);
  static_assert(kCodecIdOf<const char*> == 0);
  static_assert(kCodecIdOf<std::vector<std::byte>> == 0);
  static_assert(kCodecIdOf<std::array<char, 3>> == 0);
  static_assert(kCodecIdOf<std::span<const std::byte>> == 0);
  static_assert(kCodecIdOf<std::int64_t> == 1);
  static_assert(kCodecIdOf<long long> == 1);
  static_assert(kCodecIdOf<short> == 1);
  static_assert(kCodecIdOf<char> == 1);
  static_assert(kCodecIdOf<std::uint32_t> == 1);
  static_assert(kCodecIdOf<test::Color> == 1);
  static_assert(kCodecIdOf<std::uint64_t> == 2);
  static_assert(kCodecIdOf<double> == 3);
  static_assert(kCodecIdOf<float> == 3);
  static_assert(kCodecIdOf<bool> == 4);
  static_assert(kCodecIdOf<test::Point> == 5);
  static_assert(kCodecIdOf<std::vector<int>> == 5);
  static_assert(kCodecIdOf<std::vector<bool>> == 5);
  static_assert(kCodecIdOf<test::Celsius> == 70);
}

TEST(CodecId, IsNamedForPeople) {
  EXPECT_EQ(CodecName(0), "bytes (codec 0)");
  EXPECT_EQ(CodecName(1), "int64 (codec 1)");
  EXPECT_EQ(CodecName(40), "unknown codec 40");
  EXPECT_EQ(CodecName(70), "user codec 70");
  EXPECT_EQ(CodecName(0x80), "compressed bytes (codec 0)");
}

TEST(CodecConcepts, KnowWhatCanBeStoredAndRead) {
  using test::Unserializable;
  static_assert(Serializable<test::Point>);
  static_assert(Serializable<std::map<std::string, std::vector<test::Point>>>);
  static_assert(Serializable<std::chrono::seconds>);
  static_assert(!Serializable<Unserializable>);
  static_assert(!Serializable<std::vector<Unserializable>>);
  static_assert(!Serializable<std::map<int, std::optional<Unserializable>>>);
  static_assert(!Serializable<std::pair<int, Unserializable>>);
  static_assert(!Serializable<int*>);
  static_assert(OwningDeserializable<std::string>);
  static_assert(OwningDeserializable<test::Point>);
  static_assert(Deserializable<std::string_view>);
  static_assert(!OwningDeserializable<std::string_view>);
  static_assert(!OwningDeserializable<std::span<const char>>);
  static_assert(!Deserializable<std::span<char>>);
  static_assert(!Deserializable<Unserializable>);
}

// Bytes -----------------------------------------------------------------------

TEST(BytesCodec, EncodesWithoutACopy) {
  const std::string text(1000, 'x');
  const std::vector<std::byte> bytes(1000);
  const std::array<unsigned char, 4> array{1, 2, 3, 4};
  EXPECT_EQ(Encode(text)->bytes().data(), text.data());
  EXPECT_FALSE(Encode(text)->owned());
  EXPECT_EQ(static_cast<const void*>(Encode(bytes)->bytes().data()),
            bytes.data());
  EXPECT_EQ(static_cast<const void*>(Encode(array)->bytes().data()),
            array.data());
  EXPECT_EQ(static_cast<const void*>(Encode(std::span(bytes))->bytes().data()),
            bytes.data());
}

TEST(BytesCodec, ViewsDecodeWithoutACopy) {
  const std::string stored = "some bytes";
  EXPECT_EQ(Decode<std::string_view>(stored, kCodecIdBytes)->data(),
            stored.data());
  const auto span = Decode<std::span<const std::byte>>(stored, kCodecIdBytes);
  EXPECT_EQ(static_cast<const void*>(span->data()), stored.data());
  EXPECT_EQ(span->size(), stored.size());
}

TEST(BytesCodec, KeepsAnyBytes) {
  const std::string text("\0\xff\n", 3);
  EXPECT_EQ(RoundTrip(text), text);
  EXPECT_EQ(RoundTrip(std::string()), "");
  const std::vector<unsigned char> bytes = {0, 255, 7};
  EXPECT_EQ(RoundTrip(bytes), bytes);
  EXPECT_EQ(RoundTrip(std::vector<std::byte>()), std::vector<std::byte>());
  const std::array<std::byte, 2> array = {std::byte{1}, std::byte{0}};
  EXPECT_EQ(RoundTrip(array), array);
}

TEST(BytesCodec, LiteralsAreStrings) {
  EXPECT_EQ(BytesOf("abc"), "abc");
  EXPECT_EQ(Decode<std::string>(BytesOf("abc"), kCodecIdBytes), "abc");
}

TEST(BytesCodec, ArrayOfAnotherSizeIsAMismatch) {
  ExpectError(Decode<std::array<char, 3>>("abcd", kCodecIdBytes),
              Kind::kTypeMismatch, "4 bytes");
}

// Numbers ---------------------------------------------------------------------

TEST(IntegerCodec, IsEightBytesLittleEndian) {
  EXPECT_EQ(BytesOf(std::int64_t{0x0102030405060708}),
            "\x08\x07\x06\x05\x04\x03\x02\x01");
  EXPECT_EQ(BytesOf(-2), std::string("\xfe\xff\xff\xff\xff\xff\xff\xff"));
  EXPECT_EQ(BytesOf(std::uint8_t{200}), std::string("\xc8\0\0\0\0\0\0\0", 8));
}

template <typename T>
void ExpectLimitsRoundTrip() {
  for (const T value : {std::numeric_limits<T>::min(), T{0}, T{1},
                        std::numeric_limits<T>::max()}) {
    EXPECT_EQ(RoundTrip(value), value);
  }
}

TEST(IntegerCodec, KeepsTheLimitsOfEveryType) {
  ExpectLimitsRoundTrip<char>();
  ExpectLimitsRoundTrip<std::int8_t>();
  ExpectLimitsRoundTrip<std::uint8_t>();
  ExpectLimitsRoundTrip<std::int16_t>();
  ExpectLimitsRoundTrip<std::uint16_t>();
  ExpectLimitsRoundTrip<std::int32_t>();
  ExpectLimitsRoundTrip<std::uint32_t>();
  ExpectLimitsRoundTrip<std::int64_t>();
  ExpectLimitsRoundTrip<std::uint64_t>();
  ExpectLimitsRoundTrip<long long>();
  ExpectLimitsRoundTrip<unsigned long long>();
  ExpectLimitsRoundTrip<wchar_t>();
  ExpectLimitsRoundTrip<char8_t>();
}

TEST(IntegerCodec, IsReadAsAnyTypeThatCanHoldTheNumber) {
  const std::string stored = BytesOf(std::int64_t{200});
  EXPECT_EQ(Decode<std::uint8_t>(stored, kCodecIdInt64), 200);
  EXPECT_EQ(Decode<std::uint64_t>(stored, kCodecIdInt64), 200U);
  EXPECT_EQ(Decode<std::int32_t>(stored, kCodecIdUint64), 200);
  ExpectError(Decode<std::int8_t>(stored, kCodecIdInt64), Kind::kTypeMismatch,
              "200 does not fit");
  ExpectError(Decode<std::uint64_t>(BytesOf(-1), kCodecIdInt64),
              Kind::kTypeMismatch, "-1 does not fit");
  ExpectError(
      Decode<std::int64_t>(BytesOf(std::numeric_limits<std::uint64_t>::max()),
                           kCodecIdUint64),
      Kind::kTypeMismatch, "18446744073709551615 does not fit");
}

TEST(IntegerCodec, EnumeratorsAreIntegers) {
  EXPECT_EQ(RoundTrip(test::Color::kBlue), test::Color::kBlue);
  EXPECT_EQ(Decode<int>(BytesOf(test::Color::kBlue), kCodecIdInt64), 200);
}

TEST(IntegerCodec, OtherSizesAreUndecodable) {
  ExpectError(Decode<int>("1234567", kCodecIdInt64), Kind::kUndecodable,
              "7 bytes, expected 8");
  ExpectError(Decode<int>("", kCodecIdInt64), Kind::kUndecodable, "0 bytes");
  ExpectError(Decode<int>("123456789", kCodecIdInt64), Kind::kUndecodable,
              "9 bytes");
}

TEST(DoubleCodec, KeepsEveryValue) {
  using Limits = std::numeric_limits<double>;
  for (const double value :
       {0.0, -1.5, Limits::max(), Limits::denorm_min(), Limits::infinity()}) {
    EXPECT_EQ(RoundTrip(value), value);
  }
  EXPECT_TRUE(std::signbit(*RoundTrip(-0.0)));
  EXPECT_TRUE(std::isnan(*RoundTrip(Limits::quiet_NaN())));
  EXPECT_EQ(BytesOf(1.0), std::string("\0\0\0\0\0\0\xf0\x3f", 8));
}

TEST(DoubleCodec, FloatIsReadOnlyIfExact) {
  EXPECT_EQ(RoundTrip(0.1F), 0.1F);
  EXPECT_EQ(Decode<double>(BytesOf(0.1F), kCodecIdDouble), double{0.1F});
  EXPECT_EQ(Decode<float>(BytesOf(-HUGE_VAL), kCodecIdDouble), -HUGE_VALF);
  EXPECT_TRUE(
      std::isnan(*Decode<float>(BytesOf(std::nan("")), kCodecIdDouble)));
  ExpectError(Decode<float>(BytesOf(0.1), kCodecIdDouble), Kind::kTypeMismatch,
              "not a float");
  ExpectError(Decode<float>(BytesOf(1e300), kCodecIdDouble),
              Kind::kTypeMismatch, "not a float");
}

TEST(BoolCodec, IsOneByteOfZeroOrOne) {
  EXPECT_EQ(BytesOf(true), "\1");
  EXPECT_EQ(RoundTrip(true), true);
  EXPECT_EQ(RoundTrip(false), false);
  ExpectError(Decode<bool>("\2", kCodecIdBool), Kind::kUndecodable, "0 or 1");
  ExpectError(Decode<bool>("", kCodecIdBool), Kind::kUndecodable, "0 bytes");
  ExpectError(Decode<bool>("\1\1", kCodecIdBool), Kind::kUndecodable,
              "2 bytes");
}

// Types and ids that do not match ---------------------------------------------

TEST(Decode, WrongCodecIsAMismatchThatNamesBoth) {
  ExpectError(Decode<double>(BytesOf(1), kCodecIdInt64), Kind::kTypeMismatch,
              "stored as int64 (codec 1), asked for as double (codec 3)");
  ExpectError(Decode<std::string>("", kCodecIdPortableBinary),
              Kind::kTypeMismatch, "asked for as bytes (codec 0)");
  ExpectError(Decode<test::Point>("", 99), Kind::kTypeMismatch,
              "stored as user codec 99");
}

TEST(Decode, EveryPairOfCodecsThatIsNotTheSameIsAMismatch) {
  for (int id = 0; id <= 127; ++id) {
    const auto stored = static_cast<std::uint8_t>(id);
    EXPECT_EQ(AcceptsCodecId<std::string>(stored), id == kCodecIdBytes);
    EXPECT_EQ(AcceptsCodecId<int>(stored),
              id == kCodecIdInt64 || id == kCodecIdUint64);
    EXPECT_EQ(AcceptsCodecId<double>(stored), id == kCodecIdDouble);
    EXPECT_EQ(AcceptsCodecId<bool>(stored), id == kCodecIdBool);
    EXPECT_EQ(AcceptsCodecId<test::Point>(stored),
              id == kCodecIdPortableBinary);
    EXPECT_EQ(AcceptsCodecId<test::Celsius>(stored), id == 70);
  }
}

// One's own codecs ------------------------------------------------------------

TEST(UserCodec, IsUsedInsteadOfLardersOwn) {
  EXPECT_EQ(BytesOf(test::Celsius{1.5}), "1.500000");
  EXPECT_EQ(Decode<test::Celsius>("2.5", 70)->degrees, 2.5);
}

TEST(UserCodec, MayEncodeToAView) {
  const test::Borrowed value{std::string(100, 'b')};
  EXPECT_EQ(Encode(value)->bytes().data(), value.text.data());
}

TEST(UserCodec, ThatThrowsBecomesAnError) {
  const auto encoded = Encode(test::Throws{});
  ASSERT_FALSE(encoded);
  EXPECT_NE(encoded.error().message.find("user codec 127"), std::string::npos);
  ExpectError(Decode<test::Throws>("", 127), Kind::kUndecodable, "no way");
  ExpectError(Decode<test::Celsius>("warm", 70), Kind::kUndecodable, "stod");
}

// Encoded ---------------------------------------------------------------------

TEST(Encoded, KeepsItsBytesWhenMoved) {
  Encoded small = Encoded::Own("tiny");
  const Encoded moved = std::move(small);
  EXPECT_EQ(moved.bytes(), "tiny");
  EXPECT_EQ(Encoded::View("abc").bytes(), "abc");
  EXPECT_EQ(Encoded::View("abc").Take(), "abc");
}

// Compressed values -----------------------------------------------------------

TEST(Decode, CompressedValueIsReadLikeAnother) {
  const std::string text(10'000, 'z');
  const std::optional<std::string> frame = Compress(Compression::kLz4, text);
  ASSERT_TRUE(frame);
  EXPECT_EQ(Decode<std::string>(*frame, kCodecIdBytes | kCodecIdCompressedFlag),
            text);
  ExpectError(Decode<test::Point>(*frame, kCodecIdCompressedFlag),
              Kind::kTypeMismatch, "stored as compressed bytes");
}

TEST(Decode, CompressedValueCannotBeViewed) {
  const std::string text(10'000, 'z');
  const std::optional<std::string> frame = Compress(Compression::kLz4, text);
  ExpectError(Decode<std::string_view>(*frame, kCodecIdCompressedFlag),
              Kind::kTypeMismatch, "std::string");
}

}  // namespace
}  // namespace larder
