#include "commands/value_text.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include <fmt/format.h>

#include "larder/serializers/codec_id.h"

namespace larder::tools {
namespace {

std::uint64_t LittleEndian64(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    number |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return number;
}

}  // namespace

std::optional<std::string> NumberText(CodecId codec, std::string_view bytes) {
  const CodecId base = BaseCodecId(codec);
  if (base == kCodecIdBool && bytes.size() == 1) {
    return bytes[0] != 0 ? "true" : "false";
  }
  if (bytes.size() != 8) {
    return std::nullopt;
  }
  const std::uint64_t bits = LittleEndian64(bytes);
  switch (base) {
    case kCodecIdInt64:
      return fmt::format("{}", static_cast<std::int64_t>(bits));
    case kCodecIdUint64:
      return fmt::format("{}", bits);
    case kCodecIdDouble:
      return fmt::format("{}", std::bit_cast<double>(bits));
    default:
      return std::nullopt;
  }
}

std::string CodecText(CodecId codec) {
  const auto name = [base = BaseCodecId(codec)]() -> std::string {
    switch (base) {
      case kCodecIdBytes:
        return "bytes";
      case kCodecIdInt64:
        return "int64";
      case kCodecIdUint64:
        return "uint64";
      case kCodecIdDouble:
        return "double";
      case kCodecIdBool:
        return "bool";
      case kCodecIdPortableBinary:
        return "portable-binary";
      case kCodecIdJson:
        return "json";
      default:
        return fmt::format("codec-{}", base);
    }
  }();
  return IsCompressed(codec) ? "compressed " + name : name;
}

}  // namespace larder::tools
