#include "stores/workload.h"

#include <cmath>
#include <cstring>
#include <numeric>

namespace larder::bench {

namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::size_t kKeySuffixSizeMax = 8;
/// Room beyond the largest value, so that windows differ.
constexpr std::size_t kPoolSlackBytes = std::size_t{8} << 20;
/// Of Fold.
constexpr std::size_t kStreamCount = 4;
constexpr std::size_t kLineSize = 64;
constexpr std::size_t kAheadSize = 2048;

std::uint64_t LoadWord(const char* bytes) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

}  // namespace

std::string KeyOf(std::uint64_t index, std::uint64_t seed) {
  // Mix is a bijection: distinct indexes have distinct digits.
  const std::uint64_t digits = Mix(index ^ Mix(seed));
  std::string key;
  key.reserve(16 + kKeySuffixSizeMax);
  for (int shift = 60; shift >= 0; shift -= 4) {
    key.push_back(kHexDigits[(digits >> shift) & 0xF]);
  }
  key.append("/items.v", digits % (kKeySuffixSizeMax + 1));
  return key;
}

std::vector<std::string> MakeKeys(std::uint64_t count, std::uint64_t seed) {
  std::vector<std::string> keys;
  keys.reserve(count);
  for (std::uint64_t index = 0; index < count; ++index) {
    keys.push_back(KeyOf(index, seed));
  }
  return keys;
}

ValuePool::ValuePool(std::size_t size_bytes_max, std::uint64_t seed)
    : bytes_(size_bytes_max + kPoolSlackBytes),
      window_count_(kPoolSlackBytes),
      seed_(seed) {
  Random random(seed);
  for (std::size_t at = 0; at + 8 <= bytes_.size(); at += 8) {
    const std::uint64_t word = random.Next();
    std::memcpy(&bytes_[at], &word, sizeof(word));
  }
}

std::string_view ValuePool::Of(std::uint64_t index,
                               std::size_t size) const noexcept {
  return {bytes_.data() + Mix(index + seed_) % window_count_, size};
}

std::uint64_t Fold(std::string_view bytes) noexcept {
  // A value that is mapped lies in pages of 4 KiB, at whose ends the
  // processor's own prefetching stops. Reading at four places at once and
  // asking ahead takes 5.2 us of 64 KiB of a mapped file and 60 of 1 MiB, where
  // one pass took 6.4 and 73: what is left is the memory's own time.
  const std::size_t stream_size =
      bytes.size() / (kStreamCount * kLineSize) * kLineSize;
  std::uint64_t sums[kLineSize / 8] = {bytes.size()};
  for (std::size_t at = 0; at < stream_size; at += kLineSize) {
    for (std::size_t stream = 0; stream < kStreamCount; ++stream) {
      const char* const line = bytes.data() + stream * stream_size + at;
      __builtin_prefetch(line + kAheadSize);
      for (std::size_t lane = 0; lane < kLineSize / 8; ++lane) {
        sums[lane] ^= LoadWord(line + 8 * lane);
      }
    }
  }
  const char* at = bytes.data() + kStreamCount * stream_size;
  std::size_t left = bytes.size() - kStreamCount * stream_size;
  for (; left >= 8; left -= 8, at += 8) {
    sums[0] ^= LoadWord(at);
  }
  if (left > 0) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, left);
    sums[0] ^= word;
  }
  std::uint64_t fold = 0;
  for (const std::uint64_t sum : sums) fold ^= sum;
  return fold;
}

Zipf::Zipf(std::uint64_t count, double theta) noexcept
    : count_(count),
      theta_(theta),
      integral_first_(Integral(1.5) - 1.0),
      integral_last_(Integral(static_cast<double>(count) + 0.5)),
      accept_(2.0 - IntegralInverse(Integral(2.5) - std::pow(2.0, -theta))) {}

double Zipf::Integral(double x) const noexcept {
  return (std::pow(x, 1.0 - theta_) - 1.0) / (1.0 - theta_);
}

double Zipf::IntegralInverse(double x) const noexcept {
  return std::pow(1.0 + x * (1.0 - theta_), 1.0 / (1.0 - theta_));
}

std::uint64_t Zipf::Draw(Random& random) const noexcept {
  for (;;) {
    const double u =
        integral_last_ + random.Unit() * (integral_first_ - integral_last_);
    const double x = IntegralInverse(u);
    const double rounded = std::floor(x + 0.5);
    const double k =
        rounded < 1.0 ? 1.0 : std::fmin(rounded, static_cast<double>(count_));
    if (k - x <= accept_ || u >= Integral(k + 0.5) - std::pow(k, -theta_)) {
      return static_cast<std::uint64_t>(k) - 1;
    }
  }
}

Shuffle::Shuffle(std::uint64_t count, std::uint64_t seed) noexcept
    : count_(count), stride_(1) {
  if (count < 3) {
    return;
  }
  stride_ = 1 + Mix(seed) % (count - 1);
  while (std::gcd(stride_, count) != 1) {
    stride_ = stride_ % (count - 1) + 1;
  }
}

}  // namespace larder::bench
