#include "larder/serializers/portable_binary.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <cereal/archives/portable_binary.hpp>
#include <gtest/gtest.h>

#include "larder/serializers/codec.h"

#include "serializers/sample_types.h"

namespace {

// The largest single allocation since it was set to 0.
thread_local std::size_t largest_allocation = 0;

}  // namespace

// Replaced to see how much damaged bytes make a decoder allocate. Not inlined,
// so that the compiler does not see malloc behind one and new behind another.
[[gnu::noinline]] void* operator new(std::size_t size) {
  largest_allocation = std::max(largest_allocation, size);
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) {
    return memory;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory,
                                       std::size_t /*size*/) noexcept {
  std::free(memory);
}

namespace larder {
namespace {

using test::ChainOf;
using test::Everything;
using test::Link;
using test::Point;
using test::SampleOfEverything;
using Kind = DecodeError::Kind;

template <typename T>
std::string BytesOf(const T& value) {
  auto encoded = Encode(value);
  EXPECT_TRUE(encoded) << encoded.error().message;
  return std::move(*encoded).Take();
}

template <typename T>
Decoded<T> FromBytes(std::string_view bytes) {
  return Decode<T>(bytes, kCodecIdPortableBinary);
}

template <typename T>
void ExpectUndecodable(std::string_view bytes, std::string_view text) {
  const Decoded<T> decoded = FromBytes<T>(bytes);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().kind, Kind::kUndecodable);
  EXPECT_NE(decoded.error().message.find(text), std::string::npos)
      << decoded.error().message;
}

// What cereal's own archive writes for `value`.
template <typename T>
std::string CerealBytesOf(const T& value, bool big_endian = false) {
  using Archive = cereal::PortableBinaryOutputArchive;
  std::ostringstream out;
  Archive archive(out, big_endian ? Archive::Options::BigEndian()
                                  : Archive::Options::Default());
  archive(value);
  return out.str();
}

TEST(PortableBinary, WritesWhatCerealWrites) {
  EXPECT_EQ(BytesOf(SampleOfEverything()), CerealBytesOf(SampleOfEverything()));
  EXPECT_EQ(BytesOf(std::vector<int>{1, 2}),
            std::string("\1\2\0\0\0\0\0\0\0\1\0\0\0\2\0\0\0", 17));
}

TEST(PortableBinary, ReadsWhatCerealWrites) {
  const Everything sample = SampleOfEverything();
  EXPECT_EQ(FromBytes<Everything>(CerealBytesOf(sample)), sample);
  EXPECT_EQ(FromBytes<Everything>(BytesOf(sample)), sample);
}

TEST(PortableBinary, ReadsTheOtherByteOrder) {
  const Everything sample = SampleOfEverything();
  const std::string bytes = CerealBytesOf(sample, true);
  ASSERT_EQ(bytes[0], '\0');
  EXPECT_EQ(FromBytes<Everything>(bytes), sample);
}

TEST(PortableBinary, CerealReadsWhatItWrites) {
  std::istringstream in(BytesOf(SampleOfEverything()));
  cereal::PortableBinaryInputArchive archive(in);
  Everything everything;
  archive(everything);
  EXPECT_EQ(everything, SampleOfEverything());
}

TEST(PortableBinary, EveryTruncationIsUndecodable) {
  const std::string bytes = BytesOf(SampleOfEverything());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto decoded =
        FromBytes<Everything>(std::string_view(bytes).substr(0, size));
    ASSERT_FALSE(decoded) << size;
    EXPECT_EQ(decoded.error().kind, Kind::kUndecodable);
  }
}

TEST(PortableBinary, BytesLeftOverAreUndecodable) {
  ExpectUndecodable<Point>(BytesOf(Point{1, "a"}) + "x",
                           "1 bytes are left over");
}

TEST(PortableBinary, AnotherByteOrderMarkIsUndecodable) {
  std::string bytes = BytesOf(Point{1, "a"});
  bytes[0] = '\2';
  ExpectUndecodable<Point>(bytes, "byte order mark");
}

TEST(PortableBinary, BoolOfAnotherValueIsUndecodable) {
  ExpectUndecodable<std::optional<int>>(std::string("\1\2", 2), "a bool of 2");
  ExpectUndecodable<std::array<bool, 2>>(std::string("\1\1\xff", 3),
                                         "a bool of 255");
}

TEST(PortableBinary, LengthBeyondTheEndAllocatesNothing) {
  std::string bytes = BytesOf(std::vector<Everything>());
  for (const std::uint64_t length :
       {std::uint64_t{1}, std::uint64_t{1} << 33, ~std::uint64_t{0},
        std::uint64_t{1} << 63}) {
    std::memcpy(bytes.data() + 1, &length, sizeof(length));
    largest_allocation = 0;
    ExpectUndecodable<std::vector<Everything>>(bytes, "a length of");
    ExpectUndecodable<std::vector<std::uint64_t>>(bytes, "a length of");
    ExpectUndecodable<std::vector<std::string>>(bytes, "a length of");
    ExpectUndecodable<std::unordered_map<int, int>>(bytes, "a length of");
    EXPECT_LT(largest_allocation, 1000U);
  }
}

TEST(PortableBinary, NestsAsDeepAsPromised) {
  // A link takes three levels: the object, the pointer, its wrapper.
  const Link chain = ChainOf(200);
  const Decoded<Link> decoded = FromBytes<Link>(BytesOf(chain));
  ASSERT_TRUE(decoded) << decoded.error().message;
  int length = 0;
  for (const Link* link = &*decoded; link != nullptr; link = link->next.get()) {
    ++length;
  }
  EXPECT_EQ(length, 200);
}

TEST(PortableBinary, TooDeepIsRefusedWhenWritten) {
  const auto encoded = Encode(ChainOf(kNestingDepthMax + 1));
  ASSERT_FALSE(encoded);
  EXPECT_NE(encoded.error().message.find("nest more than"), std::string::npos);
}

TEST(PortableBinary, TooDeepIsUndecodableWhenRead) {
  std::string bytes = "\1";
  for (int i = 0; i < 500'000; ++i) {
    bytes += std::string("\0\0\0\0\1", 5);  // A value, and one more follows.
  }
  ExpectUndecodable<Link>(bytes, "nest more than");
}

TEST(PortableBinary, ElementsWithoutBytesAreRefusedWhenWritten) {
  const std::vector<std::monostate> nothings(9);
  const auto encoded = Encode(nothings);
  ASSERT_FALSE(encoded);
  EXPECT_NE(encoded.error().message.find("take no bytes"), std::string::npos);
  EXPECT_TRUE(Encode(std::vector<std::monostate>()));
}

// Changes some bytes of `bytes`: one of the ways in which a disk, or somebody
// who wants to do harm, could.
std::string Damaged(std::string bytes, std::mt19937_64* random) {
  const auto below = [random](std::size_t bound) {
    return static_cast<std::size_t>((*random)() % bound);
  };
  for (std::size_t i = 0, count = 1 + below(4); i < count; ++i) {
    const std::size_t at = below(bytes.size());
    switch (below(6)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>((*random)());
        break;
      case 2:
        bytes.resize(at + 1);
        break;
      case 3:
        bytes.insert(at, 1 + below(9), static_cast<char>((*random)()));
        break;
      case 4: {  // A length of some magnitude.
        const std::uint64_t length = (*random)() >> below(64);
        bytes.replace(at, 8, reinterpret_cast<const char*>(&length), 8);
        break;
      }
      default:
        bytes.erase(at, 1 + below(9));
        bytes += 'x';
        break;
    }
  }
  return bytes;
}

// Damaged bytes give a value or kCorruption, and no allocation beyond what
// their number justifies.
template <typename T>
void ExpectDamageIsHarmless(const T& value, std::uint64_t seed) {
  const std::string bytes = BytesOf(value);
  std::mt19937_64 random(seed);
  int refused_count = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::string damaged = Damaged(bytes, &random);
    largest_allocation = 0;
    const Decoded<T> decoded = FromBytes<T>(damaged);
    EXPECT_LE(largest_allocation, 512 + damaged.size() * sizeof(Everything));
    if (!decoded) {
      EXPECT_EQ(decoded.error().kind, Kind::kUndecodable);
      ++refused_count;
    }
  }
  EXPECT_GT(refused_count, 100);  // The damage was real.
}

TEST(PortableBinary, RandomDamageIsHarmless) {
  ExpectDamageIsHarmless(SampleOfEverything(), 1);
  ExpectDamageIsHarmless(
      std::vector<Everything>{SampleOfEverything(), {}, SampleOfEverything()},
      2);
  ExpectDamageIsHarmless(ChainOf(100), 3);
  ExpectDamageIsHarmless(
      std::unordered_map<std::string, std::vector<double>>{{"a", {1, 2, 3}},
                                                           {"b", {}}},
      4);
}

}  // namespace
}  // namespace larder
