#include "larder/serializers/json.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "serializers/sample_types.h"

namespace larder::test {

struct Config {
  int level = 0;
  std::vector<std::string> names;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(level), CEREAL_NVP(names));
  }
  friend bool operator==(const Config&, const Config&) = default;
};

}  // namespace larder::test

namespace larder {

template <>
struct Codec<test::Config> : JsonCodec<test::Config> {};

namespace {

using test::Point;
using Kind = DecodeError::Kind;

template <typename T>
std::string TextOf(const T& value) {
  auto encoded = Encode(value);
  EXPECT_TRUE(encoded) << encoded.error().message;
  return std::move(*encoded).Take();
}

template <typename T>
void ExpectUndecodable(std::string_view text) {
  const auto decoded = Decode<Json<T>>(text, kCodecIdJson);
  ASSERT_FALSE(decoded) << text;
  EXPECT_EQ(decoded.error().kind, Kind::kUndecodable);
  EXPECT_FALSE(decoded.error().message.empty());
}

TEST(Json, IsOneObjectWithTheValue) {
  EXPECT_EQ(TextOf(Json{Point{3, "a\"b"}}),
            R"({"value":{"x":3,"label":"a\"b"}})");
  EXPECT_EQ(TextOf(Json<std::vector<int>>{{1, 2}}), R"({"value":[1,2]})");
  EXPECT_EQ(TextOf(Json{1}), R"({"value":1})");
}

TEST(Json, ViewWritesTheSame) {
  const Point point{3, "p"};
  EXPECT_EQ(TextOf(AsJson(point)), TextOf(Json{point}));
  static_assert(kCodecIdOf<JsonView<Point>> == kCodecIdJson);
  static_assert(!Deserializable<JsonView<Point>>);
}

// JSON strings hold no NUL.
test::Everything SampleWithoutNul() {
  test::Everything sample = test::SampleOfEverything();
  sample.text = " \\u0000 \"quoted\" [ \xc3\xa9 \n";
  return sample;
}

TEST(Json, ReadsBackTheSameValue) {
  const Json<test::Everything> sample{SampleWithoutNul()};
  EXPECT_EQ(Decode<Json<test::Everything>>(TextOf(sample), kCodecIdJson),
            sample);
}

TEST(Json, ReadsWhatOtherProgramsWrite) {
  const auto decoded = Decode<Json<Point>>(
      " {\n\t\"value\" : { \"label\": \"\\u0041\", \"x\": -7 } } ",
      kCodecIdJson);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->value, (Point{-7, "A"}));
}

TEST(Json, KeepsEveryDouble) {
  using Limits = std::numeric_limits<double>;
  for (const double value :
       {0.1, 1e-300, Limits::max(), Limits::infinity(), Limits::denorm_min()}) {
    const auto decoded =
        Decode<Json<double>>(TextOf(Json{value}), kCodecIdJson);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(decoded->value, value);
  }
  EXPECT_TRUE(std::isnan(
      Decode<Json<double>>(TextOf(Json{std::nan("")}), kCodecIdJson)->value));
}

TEST(Json, CanBeTheCodecOfAType) {
  static_assert(kCodecIdOf<test::Config> == kCodecIdJson);
  const test::Config config{2, {"a", "b"}};
  EXPECT_EQ(TextOf(config), R"({"value":{"level":2,"names":["a","b"]}})");
  EXPECT_EQ(Decode<test::Config>(TextOf(config), kCodecIdJson), config);
}

TEST(Json, AndOtherCodecsDoNotMix) {
  const auto decoded = Decode<Point>(TextOf(Json{Point{}}), kCodecIdJson);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().kind, Kind::kTypeMismatch);
}

TEST(Json, DamagedTextIsUndecodable) {
  for (const std::string_view text :
       {"", "{", "null", "[]", "{}", "7", R"({"value":})", R"({"value":{}})",
        R"({"other":{"x":1,"label":""}})", R"({"value":{"x":"1","label":""}})",
        R"({"value":{"x":1.5,"label":""}})", R"({"value":{"x":1,"label":7}})",
        R"({"value":{"x":99999999999,"label":""}})",
        R"({"value":{"x":1,"label":""}} trailing)",
        R"({"value":{"x":1,"label":""}}{})"}) {
    ExpectUndecodable<Point>(text);
  }
  ExpectUndecodable<int>(std::string("{\"value\":1}\0rest", 16));
}

TEST(Json, NulInAStringIsRefusedWhenWrittenAndWhenRead) {
  EXPECT_FALSE(Encode(Json<std::string>{std::string("a\0b", 3)}));
  ExpectUndecodable<std::string>(R"({"value":"a\u0000b"})");
  EXPECT_EQ(Decode<Json<std::string>>(R"({"value":"a\\u0000b"})", kCodecIdJson),
            Json<std::string>{"a\\u0000b"});
}

TEST(Json, DeepNestingIsUndecodable) {
  ExpectUndecodable<std::vector<int>>("{\"value\":" +
                                      std::string(1'000'000, '['));
  ExpectUndecodable<std::vector<int>>(std::string(1'000'000, '{'));
}

TEST(Json, BracketsInStringsDoNotNest) {
  const Json<std::string> text{std::string(5000, '[') + "\\\"" +
                               std::string(5000, '{')};
  EXPECT_EQ(Decode<Json<std::string>>(TextOf(text), kCodecIdJson), text);
}

TEST(Json, TooDeepIsRefusedWhenWritten) {
  EXPECT_FALSE(Encode(AsJson(
      *std::make_unique<const test::Link>(test::ChainOf(kNestingDepthMax)))));
}

TEST(Json, RandomDamageIsHarmless) {
  const std::string text = TextOf(Json<test::Everything>{SampleWithoutNul()});
  std::mt19937_64 random(1);
  int refused_count = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = text;
    for (std::uint64_t j = 0, count = 1 + random() % 3; j < count; ++j) {
      const std::size_t at = random() % damaged.size();
      switch (random() % 4) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged[at] = "[]{}\",:-0e"[random() % 10];
          break;
        case 2:
          damaged.erase(at, 1 + random() % 5);
          damaged += ' ';
          break;
        default:
          damaged.insert(at, damaged.substr(random() % damaged.size(), 9));
          break;
      }
    }
    const auto decoded = Decode<Json<test::Everything>>(damaged, kCodecIdJson);
    if (!decoded) {
      EXPECT_EQ(decoded.error().kind, Kind::kUndecodable);
      ++refused_count;
    }
  }
  EXPECT_GT(refused_count, 100);
}

}  // namespace
}  // namespace larder
