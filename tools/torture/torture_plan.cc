#include "torture/torture_plan.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace larder::tools {
namespace {

constexpr std::size_t kValueSizeMin = 16;

std::string_view KeySpace(TortureOp op) {
  switch (op) {
    case TortureOp::kIncr:
      return "count";
    case TortureOp::kPair:
      return "pair";
    case TortureOp::kSharedSet:
    case TortureOp::kSharedGet:
      return "shared";
    case TortureOp::kSharedIncr:
      return "total";
    default:
      return "own";
  }
}

}  // namespace

std::string TortureKey(const TortureLife& life, TortureOp op,
                       std::uint32_t index, unsigned half) {
  if (IsTortureShared(op)) {
    return fmt::format("torture/{:016x}/{}/{}", life.run, KeySpace(op), index);
  }
  return fmt::format("torture/{:016x}/{}/{}/{}/{}{}", life.run, life.writer,
                     life.life, KeySpace(op), index, half == 0 ? "" : "b");
}

std::string TortureValue(std::uint64_t stamp, std::size_t size) {
  std::string value(std::max(size, kValueSizeMin), '\0');
  const std::uint64_t stated = value.size();
  std::memcpy(value.data(), &stamp, sizeof stamp);
  std::memcpy(value.data() + sizeof stamp, &stated, sizeof stated);
  Random random(stamp);
  for (std::size_t at = kValueSizeMin; at < value.size();) {
    const std::uint64_t word = random.Next();
    const std::size_t part = std::min(sizeof word, value.size() - at);
    std::memcpy(value.data() + at, &word, part);
    at += part;
  }
  return value;
}

std::uint64_t ReadTortureValue(std::string_view value) {
  if (value.size() < kValueSizeMin) return kTortureTorn;
  std::uint64_t stamp = 0;
  std::memcpy(&stamp, value.data(), sizeof stamp);
  return value == TortureValue(stamp, value.size()) ? stamp : kTortureTorn;
}

std::size_t ChooseTortureSize(Random& random) {
  const std::uint64_t kind = random.Below(1000);
  if (kind < 700) return random.Below(400);
  if (kind < 900) return random.Below(4U << 10);
  if (kind < 985) return random.Below(32U << 10);
  if (kind < 998) return random.Below(256U << 10);
  return random.Below(4U << 20);
}

}  // namespace larder::tools
