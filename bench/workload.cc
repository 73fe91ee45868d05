#include "workload.h"

#include <cmath>
#include <cstring>
#include <numeric>

namespace larder::bench {

namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::size_t kKeySuffixSizeMax = 8;
/// Room beyond the largest value, so that windows differ.
constexpr std::size_t kPoolSlackBytes = std::size_t{8} << 20;

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
  // Four independent sums, so that the loop waits for memory only.
  std::uint64_t sums[4] = {bytes.size(), 0, 0, 0};
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 32; left -= 32, at += 32) {
    for (std::size_t lane = 0; lane < 4; ++lane) {
      sums[lane] ^= LoadWord(at + 8 * lane);
    }
  }
  for (; left >= 8; left -= 8, at += 8) {
    sums[0] ^= LoadWord(at);
  }
  if (left > 0) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, left);
    sums[0] ^= word;
  }
  return sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
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
