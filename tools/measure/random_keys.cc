#include "measure/random_keys.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

namespace larder::tools {
namespace {

constexpr double kExponentMax = 10.0;
constexpr std::string_view kZipfPrefix = "zipf:";

// log(1 + x) / x, also near 0.
double LogRatio(double x) {
  return std::abs(x) > 1e-8 ? std::log1p(x) / x : 1.0 - x * (0.5 - x / 3.0);
}

// (exp(x) - 1) / x, also near 0.
double ExpRatio(double x) {
  return std::abs(x) > 1e-8 ? std::expm1(x) / x
                            : 1.0 + x * 0.5 * (1.0 + x / 3.0);
}

}  // namespace

Result<KeyChooser> KeyChooser::Parse(const std::string& text,
                                     std::uint64_t count) {
  if (text == "uniform") {
    return KeyChooser(count, 0.0);
  }
  double exponent = 0.0;
  if (text.starts_with(kZipfPrefix)) {
    const char* end = text.data() + text.size();
    const auto parsed =
        std::from_chars(text.data() + kZipfPrefix.size(), end, exponent);
    if (parsed.ec == std::errc() && parsed.ptr == end && exponent > 0.0 &&
        exponent <= kExponentMax) {
      return KeyChooser(count, exponent);
    }
  }
  return Fail(Status::ParseError(
      "'" + text + "', expected uniform or zipf:EXPONENT such as zipf:0.99"));
}

KeyChooser::KeyChooser(std::uint64_t count, double exponent) noexcept
    : count_(count), exponent_(exponent) {
  if (exponent_ > 0.0) {
    integral_first_ = Integral(1.5) - 1.0;
    integral_last_ = Integral(static_cast<double>(count_) + 0.5);
    accept_ = 2.0 - IntegralInverse(Integral(2.5) - Share(2.0));
  }
}

std::uint64_t KeyChooser::Next(Random& random) const noexcept {
  if (exponent_ <= 0.0) {
    return random.Below(count_);
  }
  for (;;) {
    const double u =
        integral_last_ + random.Unit() * (integral_first_ - integral_last_);
    const double x = IntegralInverse(u);
    const double k =
        std::clamp(std::floor(x + 0.5), 1.0, static_cast<double>(count_));
    if (k - x <= accept_ || u >= Integral(k + 0.5) - Share(k)) {
      return static_cast<std::uint64_t>(k) - 1;
    }
  }
}

double KeyChooser::Integral(double x) const noexcept {
  const double log_x = std::log(x);
  return ExpRatio((1.0 - exponent_) * log_x) * log_x;
}

double KeyChooser::IntegralInverse(double x) const noexcept {
  const double t = std::max(-1.0, x * (1.0 - exponent_));
  return std::exp(LogRatio(t) * x);
}

double KeyChooser::Share(double x) const noexcept {
  return std::exp(-exponent_ * std::log(x));
}

}  // namespace larder::tools
