#ifndef LARDER_ENGINE_SRC_MESSAGES_WIRE_H_
#define LARDER_ENGINE_SRC_MESSAGES_WIRE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "larder/engine/command.h"
#include "larder/engine/status.h"

#include "base/coding.h"

/// The building blocks of the message codecs: a reader that also knows
/// enumerators, counts and strings, on the rules of ByteReader.

namespace larder {

inline void PutString(std::string& out, std::string_view bytes) {
  PutVarint(out, bytes.size());
  out.append(bytes);
}

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) noexcept : bytes_(bytes) {}

  [[nodiscard]] bool ok() const noexcept { return ok_ && bytes_.ok(); }
  /// Everything was read and made sense.
  [[nodiscard]] bool AtEnd() const noexcept {
    return ok() && bytes_.rest().empty();
  }
  [[nodiscard]] std::string_view rest() const noexcept { return bytes_.rest(); }
  void Refuse() noexcept { ok_ = false; }

  template <typename T>
  T Fixed() noexcept {
    return bytes_.Fixed<T>();
  }
  std::uint64_t Varint() noexcept { return bytes_.Varint(); }
  std::uint32_t Varint32() noexcept {
    const std::uint64_t value = bytes_.Varint();
    if (value > UINT32_MAX) Refuse();
    return static_cast<std::uint32_t>(value);
  }
  std::string_view String() noexcept { return bytes_.Bytes(bytes_.Varint()); }

  /// A byte below `end`.
  std::uint8_t Enumerator(std::uint8_t end) noexcept {
    const auto value = bytes_.Fixed<std::uint8_t>();
    if (value >= end) Refuse();
    return ok() ? value : std::uint8_t{0};
  }
  /// A byte with no bit set outside `mask`.
  std::uint8_t Flags(std::uint8_t mask) noexcept {
    const auto value = bytes_.Fixed<std::uint8_t>();
    if ((value & ~mask) != 0) Refuse();
    return ok() ? value : std::uint8_t{0};
  }
  /// A number of things of at least `size_min` bytes each, which therefore is
  /// bounded by the bytes that are left.
  std::size_t Count(std::size_t count_max, std::size_t size_min) noexcept {
    const std::uint64_t count = bytes_.Varint();
    if (count > count_max || count > bytes_.rest().size() / size_min) Refuse();
    return ok() ? static_cast<std::size_t>(count) : 0;
  }

 private:
  ByteReader bytes_;
  bool ok_ = true;
};

[[nodiscard]] Status ReadStatus(WireReader& in);
[[nodiscard]] ItemInfo ReadItemInfo(WireReader& in);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_MESSAGES_WIRE_H_
