#include "replay_size.h"

#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "larder/engine/settings.h"

#include "trace_reader.h"

namespace larder::replay {

Result<ReplaySize> ParseReplaySize(std::string_view text) {
  ReplaySize size{.text = std::string(text)};
  if (text.ends_with('%')) {
    const std::string_view number = text.substr(0, text.size() - 1);
    double percent = 0;
    const auto [stop, error] =
        std::from_chars(number.data(), number.data() + number.size(), percent);
    if (error != std::errc() || stop != number.data() + number.size() ||
        !std::isfinite(percent)) {
      return Fail(Status::ParseError("size " + Quote(text) +
                                     ": expected a number before the %"));
    }
    if (percent <= 0 || percent > 100) {
      return Fail(Status::InvalidArgument(
          "size " + Quote(text) + ": expected more than 0% and at most 100%"));
    }
    size.fraction = percent / 100;
    return size;
  }
  const Result<std::uint64_t> amount = ParseByteCount(text);
  if (!amount) {
    return Fail(Status::ParseError(
        "size " + Quote(text) +
        ": expected bytes (64MiB), items (5000) or a share (5%)"));
  }
  if (*amount == 0) {
    return Fail(
        Status::InvalidArgument("size " + Quote(text) + ": the minimum is 1"));
  }
  size.amount = *amount;
  return size;
}

Result<std::uint64_t> CapacityOf(const ReplaySize& size, const Trace& trace,
                                 bool ignore_size) {
  if (size.fraction == 0) return size.amount;
  const auto footprint = static_cast<double>(trace.Footprint(ignore_size));
  // 5 % of 1,000 is 50 even if 0.05 is a little less than 1/20.
  const double capacity = std::floor(size.fraction * footprint + 1e-6);
  if (capacity >= 1) return static_cast<std::uint64_t>(capacity);
  if (footprint == 0) {  // Empty, or nothing but requests of no bytes.
    return Fail(Status::InvalidArgument(
        fmt::format("size {}: trace {} has a footprint of 0; the minimum is 1",
                    size.text, trace.name)));
  }
  return Fail(Status::InvalidArgument(fmt::format(
      "size {} of trace {} is less than one {}; the minimum is {:.3g}% or 1",
      size.text, trace.name, trace.has_sizes && !ignore_size ? "byte" : "item",
      100 / footprint)));
}

}  // namespace larder::replay
