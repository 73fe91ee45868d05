#include "larder/serializers/compression.h"

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace larder {
namespace {

using Kind = DecodeError::Kind;

std::string RandomBytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(random());
  }
  return bytes;
}

// Words that repeat, as in a log file.
std::string Text(std::size_t size) {
  std::mt19937_64 random(3);
  std::string text;
  while (text.size() < size) {
    text += "request " + std::to_string(random() % 1000) + " served; ";
  }
  text.resize(size);
  return text;
}

void ExpectCorruption(
    std::string_view frame, std::string_view text,
    std::uint64_t size_bytes_max = kDecompressedSizeBytesMax) {
  const Decoded<std::string> decoded = Decompress(frame, size_bytes_max);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().kind, Kind::kCorruption);
  EXPECT_NE(decoded.error().message.find(text), std::string::npos)
      << decoded.error().message;
}

class CompressionTest : public testing::TestWithParam<Compression> {};

TEST_P(CompressionTest, RoundTripOfEverySize) {
  for (const std::size_t size :
       {12U, 100U, 127U, 128U, 1000U, 16383U, 16384U, 300'000U, 3'000'000U}) {
    const std::string text = Text(size);
    const std::optional<std::string> frame = Compress(GetParam(), text);
    if (!frame) {
      EXPECT_LT(size, 128U);
      continue;
    }
    EXPECT_LT(frame->size(), size);
    const Decoded<std::string> back = Decompress(*frame);
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_TRUE(*back == text) << size;
  }
}

TEST_P(CompressionTest, WhatDoesNotShrinkIsLeftAlone) {
  for (const std::size_t size : {0U, 1U, 2U, 8U, 1000U, 200'000U}) {
    EXPECT_FALSE(Compress(GetParam(), RandomBytes(size, size))) << size;
  }
}

TEST_P(CompressionTest, HighestRatioReadsBack) {
  const std::string zeros(8 << 20, '\0');
  const std::optional<std::string> frame = Compress(GetParam(), zeros);
  ASSERT_TRUE(frame);
  EXPECT_LT(frame->size(), zeros.size() / 200);
  const Decoded<std::string> back = Decompress(*frame);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_TRUE(*back == zeros);
}

TEST_P(CompressionTest, LimitIsInclusive) {
  const std::string text = Text(5000);
  const std::string frame = *Compress(GetParam(), text);
  EXPECT_TRUE(Decompress(frame, 5000));
  ExpectCorruption(frame, "says it holds 5000 bytes, the limit is 4999", 4999);
}

TEST_P(CompressionTest, EveryTruncationIsCorruption) {
  const std::string frame = *Compress(GetParam(), Text(500));
  for (std::size_t size = 0; size < frame.size(); ++size) {
    ExpectCorruption(std::string_view(frame).substr(0, size), "");
  }
}

TEST_P(CompressionTest, WrongSizeIsCorruption) {
  std::string frame = *Compress(GetParam(), Text(100));  // One byte of varint.
  frame[1] = 99;
  ExpectCorruption(frame, "does not decompress to its 99 bytes");
  frame[1] = 101;
  ExpectCorruption(frame, "does not decompress to its 101 bytes");
}

TEST_P(CompressionTest, RandomDamageIsHarmless) {
  const std::string frame = *Compress(GetParam(), Text(3000));
  std::mt19937_64 random(5);
  int refused_count = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = frame;
    for (std::uint64_t j = 0, count = 1 + random() % 3; j < count; ++j) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    const Decoded<std::string> decoded = Decompress(damaged, 1 << 20);
    refused_count += decoded ? 0 : 1;
  }
  EXPECT_GT(refused_count, 100);
}

TEST_P(CompressionTest, ThreadsDoNotShareState) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 4; ++i) {
    threads.emplace_back([i] {
      const std::string text = Text(1000 + i);
      for (int repeat = 0; repeat < 100; ++repeat) {
        EXPECT_EQ(Decompress(*Compress(GetParam(), text)), text);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

INSTANTIATE_TEST_SUITE_P(All, CompressionTest,
                         testing::Values(Compression::kLz4, Compression::kZstd),
                         [](const auto& test) {
                           return test.param == Compression::kLz4 ? "Lz4"
                                                                  : "Zstd";
                         });

TEST(Compression, NoneLeavesBytesAlone) {
  EXPECT_FALSE(Compress(Compression::kNone, Text(1000)));
}

TEST(Compression, FrameThatPromisesTooMuchIsRefusedBeforeAllocating) {
  // 1 GiB in five bytes.
  ExpectCorruption(std::string("\1\x80\x80\x80\x80\4aaaaa", 11), "in 5");
  ExpectCorruption(std::string("\2\x80\x80\x80\x80\4aaaaa", 11), "in 5");
  // 2 GiB, and 2^64 - 1.
  ExpectCorruption(std::string("\2\x80\x80\x80\x80\x08", 6), "the limit is");
  ExpectCorruption("\2\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", "the limit is");
}

TEST(Compression, MalformedHeadIsCorruption) {
  ExpectCorruption("", "no bytes");
  ExpectCorruption(std::string(10, '\0'), "unknown algorithm 0");
  ExpectCorruption("\3\1a", "unknown algorithm 3");
  ExpectCorruption("\1", "malformed size");
  ExpectCorruption("\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
                   "malformed size");
  ExpectCorruption("\1\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1",
                   "malformed size");
}

}  // namespace
}  // namespace larder
