#include "larder/cache/key.h"

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "larder/engine/limits.h"

namespace larder {
namespace {

using namespace std::string_literals;

template <typename... Ts>
std::string BytesOf(const Ts&... parts) {
  const Result<Key> key = Key::From(parts...);
  EXPECT_TRUE(key) << key.error().ToString();
  return key ? key->bytes() : std::string();
}

template <typename... Ts>
StatusCode RefusalOf(const Ts&... parts) {
  const Result<Key> key = Key::From(parts...);
  return key ? StatusCode::kOk : key.error().code();
}

TEST(Key, BytesAreAsDocumented) {
  EXPECT_EQ(BytesOf(1), "\x10\x80\0\0\0\0\0\0\1"s);
  EXPECT_EQ(BytesOf(-1), "\x10\x7f\xff\xff\xff\xff\xff\xff\xff"s);
  EXPECT_EQ(BytesOf(1.0), "\x20\xbf\xf0\0\0\0\0\0\0"s);
  EXPECT_EQ(BytesOf(-1.0), "\x20\x40\x0f\xff\xff\xff\xff\xff\xff"s);
  EXPECT_EQ(BytesOf(0.0), "\x20\x80\0\0\0\0\0\0\0"s);
  EXPECT_EQ(BytesOf("a\0b"s), "\x30\x61\1\1\x62\0"s);
  EXPECT_EQ(BytesOf(""), "\x30\0"s);
  EXPECT_EQ(BytesOf("x", 2), "\x40\x30\x78\0\x10\x80\0\0\0\0\0\0\2\0"s);
  EXPECT_EQ(BytesOf(std::tuple<>()), "\x40\0"s);
  EXPECT_EQ(BytesOf("\1\2"), "\x30\1\2\2\0"s);
  EXPECT_EQ(BytesOf(std::tuple<std::tuple<std::string>>()),
            "\x40\x40\x30\0\0\0"s);
}

TEST(Key, OneAndOnePointZeroAndTheirTextDiffer) {
  EXPECT_NE(BytesOf(1), BytesOf(1.0));
  EXPECT_NE(BytesOf(1), BytesOf("1"));
  EXPECT_NE(BytesOf(1), BytesOf(std::tuple(1)));
}

TEST(Key, IntegersOfEveryTypeAreTheSame) {
  EXPECT_EQ(BytesOf(std::int8_t{7}), BytesOf(std::uint64_t{7}));
  EXPECT_EQ(BytesOf(7U), BytesOf(7LL));
}

TEST(Key, UnsignedIntegerOverInt64IsRefused) {
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(RefusalOf(std::uint64_t{kMax}), StatusCode::kOk);
  EXPECT_EQ(RefusalOf(std::uint64_t{kMax} + 1), StatusCode::kInvalidArgument);
}

TEST(Key, NotANumberIsRefused) {
  EXPECT_EQ(RefusalOf(std::nan("")), StatusCode::kInvalidArgument);
  EXPECT_EQ(RefusalOf(-std::nan("")), StatusCode::kInvalidArgument);
  EXPECT_EQ(RefusalOf("a", std::nan("")), StatusCode::kInvalidArgument);
}

TEST(Key, NegativeZeroIsZero) {
  EXPECT_EQ(BytesOf(-0.0), BytesOf(0.0));
  EXPECT_FALSE(std::signbit(*Key::DecodeAs<double>(BytesOf(-0.0))));
}

TEST(Key, InfinitiesAreTheEndsOfTheDoubles) {
  using Limits = std::numeric_limits<double>;
  EXPECT_LT(BytesOf(-Limits::infinity()), BytesOf(Limits::lowest()));
  EXPECT_LT(BytesOf(Limits::max()), BytesOf(Limits::infinity()));
  EXPECT_EQ(Key::DecodeAs<double>(BytesOf(Limits::infinity())),
            Limits::infinity());
}

TEST(Key, SizeLimitIsInclusive) {
  const std::string text(kKeySizeBytesMax - 2, 'x');  // A tag and an end.
  EXPECT_EQ(BytesOf(text).size(), kKeySizeBytesMax);
  EXPECT_EQ(Key::DecodeAs<std::string>(BytesOf(text)), text);
  EXPECT_EQ(RefusalOf(text + "x"), StatusCode::kKeyTooLarge);
  EXPECT_EQ(RefusalOf(std::string(kKeySizeBytesMax / 2, '\0')),
            StatusCode::kKeyTooLarge);
  EXPECT_EQ(RefusalOf(std::string(100 << 20, 'x')), StatusCode::kKeyTooLarge);
}

TEST(Key, ConvertsToTheBytesThatCallsTake) {
  const Key key = *Key::From("a", 1);
  const std::string_view bytes = key;
  EXPECT_EQ(bytes, key.bytes());
  EXPECT_LT(*Key::From(1), *Key::From(2));
}

TEST(Key, DecodesAsTheTypesItWasMadeOf) {
  EXPECT_EQ(Key::DecodeAs<std::int64_t>(BytesOf(-5)), -5);
  EXPECT_EQ(Key::DecodeAs<double>(BytesOf(-5.5)), -5.5);
  EXPECT_EQ(Key::DecodeAs<std::string>(BytesOf("\0\xff\0"s)), "\0\xff\0"s);
  using Nested = std::tuple<std::string, std::tuple<std::int64_t, double>>;
  const Nested nested("a\0"s, {1, 2.5});
  EXPECT_EQ(Key::DecodeAs<Nested>(BytesOf(nested)), nested);
  EXPECT_EQ(Key::DecodeAs<std::tuple<>>(BytesOf(std::tuple<>())),
            std::tuple<>());
}

TEST(Key, OtherTypeIsAMismatch) {
  const auto mismatch = [](const auto& decoded, std::string_view text) {
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().code(), StatusCode::kTypeMismatch);
    EXPECT_NE(decoded.error().message().find(text), std::string::npos)
        << decoded.error().message();
  };
  mismatch(Key::DecodeAs<double>(BytesOf(1)),
           "is an integer, asked for as a double");
  mismatch(Key::DecodeAs<std::int64_t>(BytesOf("1")), "is a string");
  mismatch((Key::DecodeAs<std::tuple<std::int64_t>>(BytesOf(1, 2))),
           "is a tuple of 2, asked for as a tuple of 1");
  mismatch(
      (Key::DecodeAs<std::tuple<std::int64_t, std::string>>(BytesOf(1, 2))),
      "is an integer, asked for as a string");
}

TEST(Key, EveryTruncationAndExtensionIsRefused) {
  for (const std::string& bytes :
       {BytesOf(1), BytesOf(1.5), BytesOf("a\0"s),
        BytesOf("a\0"s, 1, 2.5, std::tuple(std::tuple<>(), 3))}) {
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto part = Key::Decode(std::string_view(bytes).substr(0, size));
      ASSERT_FALSE(part) << size;
      EXPECT_EQ(part.error().code(), StatusCode::kParseError);
    }
    EXPECT_FALSE(Key::Decode(bytes + "\0"s));
    EXPECT_FALSE(Key::Decode(bytes + "\x10"));
  }
}

TEST(Key, BytesThatAreNeverWrittenAreRefused) {
  EXPECT_FALSE(Key::Decode("plain text"));
  EXPECT_FALSE(Key::Decode("\x20\x7f\xff\xff\xff\xff\xff\xff\xff"));  // -0.0
  EXPECT_FALSE(Key::Decode("\x20\xff\xf8\0\0\0\0\0\0"s));             // NaN
  EXPECT_FALSE(Key::Decode("\x20\0\x07\xff\xff\xff\xff\xff\xff"s));   // -NaN
  EXPECT_FALSE(Key::Decode("\x30\1\3\0"s));  // No such escape.
  EXPECT_FALSE(Key::Decode("\x30\1\0"s));
  EXPECT_FALSE(Key::Decode("\0"s));
  EXPECT_FALSE(Key::Decode("\xff"));
}

TEST(Key, DepthIsLimitedInBothDirections) {
  KeyPart deep{std::int64_t{1}};
  for (int i = 0; i < kKeyNestingDepthMax; ++i) {
    deep = KeyPart{KeyTuple{deep}};
  }
  EXPECT_EQ(*Key::Decode(BytesOf(deep)), deep);
  EXPECT_EQ(RefusalOf(KeyPart{KeyTuple{deep}}), StatusCode::kInvalidArgument);
  EXPECT_EQ(Key::Decode(std::string(60'000, '\x40')).error().code(),
            StatusCode::kParseError);
}

TEST(Key, TuplePrefixCoversExactlyTheTuplesThatBeginSo) {
  const std::string prefix = *Key::TuplePrefix("user", 42);
  EXPECT_TRUE(BytesOf("user", 42).starts_with(prefix));
  EXPECT_TRUE(BytesOf("user", 42, "name").starts_with(prefix));
  EXPECT_FALSE(BytesOf("user", 43).starts_with(prefix));
  EXPECT_FALSE(BytesOf("user", 42.0).starts_with(prefix));
  EXPECT_FALSE(BytesOf("user").starts_with(prefix));
  EXPECT_FALSE(BytesOf("user2", 42).starts_with(prefix));
  EXPECT_FALSE(BytesOf("user\0"s, 42).starts_with(*Key::TuplePrefix("user")));
  EXPECT_FALSE(BytesOf(std::tuple("user", 42), 1).starts_with(prefix));
  EXPECT_TRUE(BytesOf(1, 2).starts_with(*Key::TuplePrefix()));
}

// Properties ------------------------------------------------------------------

// Order of values, written independently of their bytes.
std::strong_ordering Compare(const KeyPart& a, const KeyPart& b);

std::strong_ordering CompareSame(double a, double b) {
  return a < b   ? std::strong_ordering::less
         : a > b ? std::strong_ordering::greater
                 : std::strong_ordering::equal;
}
std::strong_ordering CompareSame(std::int64_t a, std::int64_t b) {
  return a <=> b;
}
std::strong_ordering CompareSame(const std::string& a, const std::string& b) {
  return std::lexicographical_compare_three_way(
      a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return static_cast<unsigned char>(x) <=> static_cast<unsigned char>(y);
      });
}
std::strong_ordering CompareSame(const KeyTuple& a, const KeyTuple& b) {
  return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(),
                                                b.end(), Compare);
}

std::strong_ordering Compare(const KeyPart& a, const KeyPart& b) {
  if (a.value.index() != b.value.index()) {
    return a.value.index() <=> b.value.index();
  }
  return std::visit(
      [&b](const auto& value) {
        using T = std::remove_cvref_t<decltype(value)>;
        return CompareSame(value, std::get<T>(b.value));
      },
      a.value);
}

std::strong_ordering CompareBytes(const std::string& a, const std::string& b) {
  return a.compare(b) <=> 0;
}

// Few different values, so that equal ones and common prefixes are frequent,
// and every edge.
rc::Gen<KeyPart> AnyPart(int depth) {
  using Integers = std::numeric_limits<std::int64_t>;
  using Doubles = std::numeric_limits<double>;
  const auto integer = rc::gen::map(
      rc::gen::oneOf(rc::gen::inRange<std::int64_t>(-3, 4),
                     rc::gen::arbitrary<std::int64_t>(),
                     rc::gen::element(Integers::min(), Integers::max())),
      [](std::int64_t value) { return KeyPart{value}; });
  const auto number = rc::gen::map(
      rc::gen::suchThat(
          rc::gen::oneOf(
              rc::gen::arbitrary<double>(),
              rc::gen::element(0.0, -0.0, 1.0, -1.0, Doubles::infinity(),
                               -Doubles::infinity(), Doubles::denorm_min(),
                               -Doubles::denorm_min(), Doubles::max())),
          [](double value) { return !std::isnan(value); }),
      [](double value) { return KeyPart{value}; });
  const auto text =
      rc::gen::map(rc::gen::container<std::string>(rc::gen::oneOf(
                       rc::gen::element('\0', '\1', '\2', 'a', '\xff'),
                       rc::gen::arbitrary<char>())),
                   [](std::string value) { return KeyPart{std::move(value)}; });
  if (depth == 0) {
    return rc::gen::oneOf(integer, number, text);
  }
  const auto tuple = rc::gen::map(
      rc::gen::resize(4, rc::gen::container<KeyTuple>(AnyPart(depth - 1))),
      [](KeyTuple value) { return KeyPart{std::move(value)}; });
  return rc::gen::oneOf(integer, number, text, tuple);
}

TEST(KeyProperty, ByteOrderIsValueOrder) {
  EXPECT_TRUE(rc::check("bytes compare as values", [] {
    const KeyPart a = *AnyPart(2);
    // Often something that shares a beginning with `a`.
    KeyPart b = *AnyPart(2);
    if (auto* const parts = std::get_if<KeyTuple>(&b.value);
        parts != nullptr && std::holds_alternative<KeyTuple>(a.value)) {
      const auto& head = std::get<KeyTuple>(a.value);
      parts->insert(parts->begin(), head.begin(), head.end());
    }
    RC_ASSERT(CompareBytes(BytesOf(a), BytesOf(b)) == Compare(a, b));
  }));
}

TEST(KeyProperty, ByteOrderIsValueOrderOfSimilarStrings) {
  EXPECT_TRUE(rc::check("strings over few letters", [] {
    const auto letters = rc::gen::container<std::string>(
        rc::gen::element('\0', '\1', '\2', '\xff'));
    const KeyPart a{KeyTuple{KeyPart{*letters}, KeyPart{*letters}}};
    const KeyPart b{KeyTuple{KeyPart{*letters}, KeyPart{*letters}}};
    RC_ASSERT(CompareBytes(BytesOf(a), BytesOf(b)) == Compare(a, b));
  }));
}

TEST(KeyProperty, NoKeyIsTheBeginningOfAnother) {
  EXPECT_TRUE(rc::check("prefix-free", [] {
    const KeyPart a = *AnyPart(2);
    const KeyPart b = *AnyPart(2);
    RC_ASSERT(a == b || !BytesOf(a).starts_with(BytesOf(b)));
  }));
}

TEST(KeyProperty, DecodeInvertsEncode) {
  EXPECT_TRUE(rc::check("value -> bytes -> value", [] {
    const KeyPart part = *AnyPart(3);
    const Result<KeyPart> decoded = Key::Decode(BytesOf(part));
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(*decoded == part);  // 0.0 == -0.0.
  }));
}

// Encodes again what Decode accepts: the same bytes must come out.
TEST(KeyProperty, DecodeAcceptsOnlyWhatEncodeWrites) {
  std::mt19937_64 random(1);
  int accepted_count = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string bytes =
        BytesOf("ab", static_cast<std::int64_t>(random() % 300), 0.5, "");
    for (std::uint64_t j = 0, count = random() % 4; j < count; ++j) {
      constexpr char kLikely[] = {'\x00', '\x10', '\x20',
                                  '\x30', '\x40', '\xff'};
      bytes[random() % bytes.size()] = random() % 2 == 0
                                           ? kLikely[random() % 6]
                                           : static_cast<char>(random());
    }
    if (const Result<KeyPart> part = Key::Decode(bytes)) {
      EXPECT_EQ(BytesOf(*part), bytes);
      ++accepted_count;
    }
  }
  EXPECT_GT(accepted_count, 1000);
}

}  // namespace
}  // namespace larder
