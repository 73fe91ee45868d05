// Parts of the larder command that are better tested alone.

#include <chrono>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "commands/output.h"
#include "commands/value_text.h"
#include "files/fill_store.h"
#include "measure/latency_histogram.h"
#include "measure/random_keys.h"

namespace larder::tools {
namespace {

using std::chrono::nanoseconds;

TEST(LatencyHistogram, IsExactForShortTimes) {
  LatencyHistogram histogram;
  for (int ns = 1; ns <= 100; ++ns) {
    histogram.Add(nanoseconds(ns));
  }
  EXPECT_EQ(histogram.count(), 100U);
  EXPECT_DOUBLE_EQ(histogram.QuantileMicroseconds(0.50), 0.050);
  EXPECT_DOUBLE_EQ(histogram.QuantileMicroseconds(0.99), 0.099);
  EXPECT_DOUBLE_EQ(histogram.max_microseconds(), 0.100);
}

TEST(LatencyHistogram, IsWithinOneSixtyFourthForLongTimes) {
  for (const std::int64_t ns :
       {128LL, 129LL, 1'000LL, 65'537LL, 9'999'999LL, 3'600'000'000LL}) {
    LatencyHistogram histogram;
    histogram.Add(nanoseconds(ns));
    histogram.Add(nanoseconds(1'000'000'000'000));  // So max caps nothing.
    const auto expected = static_cast<double>(ns) / 1e3;
    EXPECT_NEAR(histogram.QuantileMicroseconds(0.25), expected, expected / 64);
  }
}

TEST(LatencyHistogram, TakesTimesOutOfItsRange) {
  LatencyHistogram histogram;
  histogram.Add(nanoseconds(-5));
  histogram.Add(nanoseconds::max());
  EXPECT_EQ(histogram.count(), 2U);
  EXPECT_DOUBLE_EQ(histogram.QuantileMicroseconds(0.5), 0.0);
}

TEST(LatencyHistogram, MergesCountsAndMaxima) {
  LatencyHistogram a;
  LatencyHistogram b;
  a.Add(nanoseconds(10));
  b.Add(nanoseconds(20));
  b.Add(nanoseconds(30));
  a.Merge(b);
  EXPECT_EQ(a.count(), 3U);
  EXPECT_DOUBLE_EQ(a.QuantileMicroseconds(0.5), 0.020);
  EXPECT_DOUBLE_EQ(a.max_microseconds(), 0.030);
}

TEST(LatencyHistogram, OfNothingIsZero) {
  EXPECT_DOUBLE_EQ(LatencyHistogram().QuantileMicroseconds(0.99), 0.0);
}

// How often each of `key_count` keys comes up in `draw_count` draws.
std::vector<double> Shares(const std::string& distribution,
                           std::uint64_t key_count, int draw_count) {
  const auto chooser = KeyChooser::Parse(distribution, key_count);
  EXPECT_TRUE(chooser.has_value());
  std::vector<double> shares(key_count);
  Random random(7);
  for (int i = 0; i < draw_count; ++i) {
    shares.at(chooser->Next(random)) += 1.0 / draw_count;
  }
  return shares;
}

TEST(KeyChooser, UniformKeysComeUpAlike) {
  for (const double share : Shares("uniform", 10, 100'000)) {
    EXPECT_NEAR(share, 0.1, 0.005);
  }
}

TEST(KeyChooser, ZipfKeysComeUpByZipfsLaw) {
  for (const double exponent : {0.5, 0.99, 1.0, 1.5}) {
    const auto shares = Shares("zipf:" + std::to_string(exponent), 50, 200'000);
    double sum = 0;
    for (int k = 1; k <= 50; ++k) {
      sum += std::pow(k, -exponent);
    }
    for (int k = 1; k <= 50; ++k) {
      EXPECT_NEAR(shares[k - 1], std::pow(k, -exponent) / sum, 0.005)
          << "key " << k << " of exponent " << exponent;
    }
  }
}

TEST(KeyChooser, TakesOneKeyAndVeryMany) {
  EXPECT_DOUBLE_EQ(Shares("zipf:0.99", 1, 10)[0], 1.0);
  const auto chooser = KeyChooser::Parse("zipf:0.8", 1'000'000'000'000);
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LT(chooser->Next(random), 1'000'000'000'000U);
  }
}

TEST(KeyChooser, RefusesOtherTexts) {
  for (const char* text : {"", "zipf", "zipf:", "zipf:0", "zipf:-1", "zipf:x",
                           "zipf:0.9x", "zipf:11", "normal"}) {
    const auto chooser = KeyChooser::Parse(text, 10);
    ASSERT_FALSE(chooser.has_value()) << text;
    EXPECT_EQ(chooser.error().code(), StatusCode::kParseError);
  }
}

TEST(Base64, EncodesAndDecodesEveryLength) {
  EXPECT_EQ(EncodeBase64(""), "");
  EXPECT_EQ(EncodeBase64("f"), "Zg==");
  EXPECT_EQ(EncodeBase64("fo"), "Zm8=");
  EXPECT_EQ(EncodeBase64("foo"), "Zm9v");
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(DecodeBase64(EncodeBase64(bytes)), bytes);
    bytes += static_cast<char>(i);
  }
}

TEST(Base64, RefusesWhatIsMalformed) {
  for (const char* text :
       {"Z", "Zg", "Zg=", "Z===", "Zg=a", "Z g=", "Zm9v\n"}) {
    EXPECT_FALSE(DecodeBase64(text).has_value()) << text;
  }
}

TEST(Utf8, TellsTextFromBytes) {
  for (const std::string_view text :
       {"", "a", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  // A lone continuation, cut, overlong, a surrogate, beyond the last code.
  for (const std::string_view bytes :
       {"\x80", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80",
        "\xF4\x90\x80\x80", "\xFF", "a\xC3z"}) {
    EXPECT_FALSE(IsUtf8(bytes)) << EncodeBase64(bytes);
  }
}

TEST(NumberText, ShowsNumbersAndLeavesTheRest) {
  EXPECT_EQ(NumberText(1, std::string_view("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF")),
            "-1");
  EXPECT_EQ(NumberText(2, std::string_view("\1\1\0\0\0\0\0\0", 8)), "257");
  EXPECT_EQ(NumberText(4, std::string_view("\1", 1)), "true");
  EXPECT_EQ(NumberText(0, "12345678"), std::nullopt);
  EXPECT_EQ(NumberText(1, "short"), std::nullopt);
}

TEST(FileTag, IsTheExtension) {
  EXPECT_EQ(FileTag("/a/b.txt"), "txt");
  EXPECT_EQ(FileTag("/a/b.tar.gz"), "gz");
  EXPECT_EQ(FileTag("/a.d/b"), "");
  EXPECT_EQ(FileTag("/a/.hidden"), "");
  EXPECT_EQ(FileTag("/a/b."), "");
  EXPECT_EQ(FileTag("b.c"), "c");
}

TEST(RoughBytes, HaveThreeDigits) {
  EXPECT_EQ(FormatRoughBytes(0), "0 B");
  EXPECT_EQ(FormatRoughBytes(999), "999 B");
  EXPECT_EQ(FormatRoughBytes(1536), "1.50 KiB");
  EXPECT_EQ(FormatRoughBytes(20 << 20), "20.0 MiB");
  EXPECT_EQ(FormatRoughBytes(std::uint64_t{1} << 40), "1.00 TiB");
}

TEST(Time, IsIso8601InUtc) {
  using std::chrono::microseconds;
  EXPECT_EQ(FormatTime(TimePoint(microseconds(1'700'000'000'250'000))),
            "2023-11-14T22:13:20.250000Z");
  EXPECT_EQ(FormatTime(TimePoint(microseconds(-1))),
            "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(FormatTime(kNeverExpires), "never");
}

}  // namespace
}  // namespace larder::tools
