#include "torture/storm_value.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace larder::tools {
namespace {

using Line = std::array<std::uint64_t, kStormLineBytes / sizeof(std::uint64_t)>;

std::uint64_t Mix(std::uint64_t z) noexcept {
  z = (z ^ (z >> 32U)) * 0xD6E8FEB86659FD93ULL;
  z = (z ^ (z >> 32U)) * 0xD6E8FEB86659FD93ULL;
  return z ^ (z >> 32U);
}

Line MakeLine(const StormStamp& stamp, std::uint64_t index) noexcept {
  Line line{std::uint64_t{stamp.key} << 32U | stamp.era, stamp.number,
            stamp.size, index};
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < 4; ++i) sum = Mix(sum + line[i] + i);
  for (std::size_t i = 4; i < line.size(); ++i) line[i] = Mix(sum + i);
  return line;
}

}  // namespace

void FillStorm(const StormStamp& stamp, std::uint64_t offset,
               std::span<char> out) {
  std::uint64_t index = offset / kStormLineBytes;
  for (std::size_t at = 0; at < out.size(); at += kStormLineBytes, ++index) {
    const Line line = MakeLine(stamp, index);
    std::memcpy(out.data() + at, line.data(),
                std::min(kStormLineBytes, out.size() - at));
  }
}

std::string StormValue(const StormStamp& stamp) {
  std::string value(stamp.size, '\0');
  FillStorm(stamp, 0, value);
  return value;
}

std::optional<StormStamp> ReadStormLine(std::string_view bytes) {
  if (bytes.size() < kStormLineBytes) return std::nullopt;
  Line line;
  std::memcpy(line.data(), bytes.data(), sizeof line);
  const StormStamp stamp{.key = static_cast<std::uint32_t>(line[0] >> 32U),
                         .era = static_cast<std::uint32_t>(line[0]),
                         .number = line[1],
                         .size = line[2]};
  return line == MakeLine(stamp, line[3]) ? std::optional(stamp) : std::nullopt;
}

std::optional<StormDifference> CompareStorm(const StormStamp& stamp,
                                            std::uint64_t offset,
                                            std::string_view bytes) {
  std::uint64_t index = offset / kStormLineBytes;
  for (std::size_t at = 0; at < bytes.size(); at += kStormLineBytes, ++index) {
    const Line line = MakeLine(stamp, index);
    const std::string_view part = bytes.substr(at, kStormLineBytes);
    if (std::memcmp(part.data(), line.data(), part.size()) != 0) {
      return StormDifference{offset + at, ReadStormLine(part)};
    }
  }
  return std::nullopt;
}

}  // namespace larder::tools
