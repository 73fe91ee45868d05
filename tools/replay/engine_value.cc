#include "engine_value.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace larder::replay {
namespace {

std::uint64_t Mix(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

}  // namespace

std::string_view ValueMaker::Make(std::uint64_t key_hash, std::uint32_t fill,
                                  std::uint64_t size_bytes) {
  constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15ULL;
  bytes_.resize(size_bytes);
  std::uint64_t state = Mix(key_hash + kStep * (std::uint64_t{fill} + 1));
  for (std::size_t at = 0; at < bytes_.size(); at += sizeof(state)) {
    state += kStep;
    const std::uint64_t word = Mix(state);
    std::memcpy(bytes_.data() + at, &word,
                std::min(sizeof(word), bytes_.size() - at));
  }
  return bytes_;
}

void LatencyHistogram::Add(std::chrono::nanoseconds latency) noexcept {
  const auto ns =
      static_cast<std::uint64_t>(std::max<std::int64_t>(latency.count(), 1));
  max_ns_ = std::max(max_ns_, ns);
  ++total_;
  const int octave = std::bit_width(ns) - 1;
  const std::uint64_t fraction = octave >= kStepBits
                                     ? ns >> (octave - kStepBits)
                                     : ns << (kStepBits - octave);
  const std::size_t step = fraction & ((1U << kStepBits) - 1);
  ++counts_[(static_cast<std::size_t>(octave) << kStepBits) + step];
}

double LatencyHistogram::Quantile(double share) const noexcept {
  const double wanted = share * static_cast<double>(total_);
  double seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += static_cast<double>(counts_[i]);
    if (counts_[i] == 0 || seen < wanted) continue;
    const double step = static_cast<double>(i & ((1U << kStepBits) - 1)) + 1;
    const double upper = std::ldexp(1 + step / (1 << kStepBits),
                                    static_cast<int>(i >> kStepBits));
    return std::min(upper, static_cast<double>(max_ns_)) / 1000;
  }
  return 0;
}

LatencySummary LatencyHistogram::Summary() const noexcept {
  return {.p50_us = Quantile(0.5),
          .p99_us = Quantile(0.99),
          .max_us = static_cast<double>(max_ns_) / 1000};
}

}  // namespace larder::replay
