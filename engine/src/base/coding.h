#ifndef LARDER_ENGINE_SRC_BASE_CODING_H_
#define LARDER_ENGINE_SRC_BASE_CODING_H_

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

/// Integers to bytes and back: fixed little-endian, big-endian (byte order is
/// number order) and LEB128 varints. docs/format.md says where each is used.

namespace larder {

static_assert(std::endian::native == std::endian::little,
              "fixed integers are stored as they lie in memory");

template <typename T>
requires std::integral<T> || std::floating_point<T>
void PutFixed(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <typename T>
requires std::integral<T> || std::floating_point<T>
[[nodiscard]] T LoadFixed(const char* bytes) noexcept {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

/// The low `size` bytes of `value`.
inline void PutSized(std::string& out, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) {
    out.push_back(static_cast<char>(value >> (8 * i)));
  }
}

/// REQUIRES: `in` has `size` bytes from `at`.
[[nodiscard]] inline std::uint64_t GetSized(std::string_view in, std::size_t at,
                                            int size) noexcept {
  std::uint64_t value = 0;
  for (int i = 0; i < size; ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(
                 in[at + static_cast<std::size_t>(i)])}
             << (8 * i);
  }
  return value;
}

inline void StoreBigEndian64(char* out, std::uint64_t value) noexcept {
  value = __builtin_bswap64(value);
  std::memcpy(out, &value, sizeof(value));
}

[[nodiscard]] inline std::uint64_t LoadBigEndian64(const char* bytes) noexcept {
  return __builtin_bswap64(LoadFixed<std::uint64_t>(bytes));
}

inline void PutVarint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

/// Small magnitudes of either sign become small varints.
[[nodiscard]] constexpr std::uint64_t ZigZag(std::int64_t value) noexcept {
  return (static_cast<std::uint64_t>(value) << 1) ^
         static_cast<std::uint64_t>(value >> 63);
}
[[nodiscard]] constexpr std::int64_t UnZigZag(std::uint64_t value) noexcept {
  return static_cast<std::int64_t>(value >> 1) ^
         -static_cast<std::int64_t>(value & 1);
}

/// Reads from untrusted bytes. After a read past the end every read gives
/// zero or nothing and ok() is false, so a decoder checks once, at its end.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) noexcept : rest_(bytes) {}

  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] std::string_view rest() const noexcept { return rest_; }

  template <typename T>
  T Fixed() noexcept {
    const std::string_view bytes = Bytes(sizeof(T));
    return ok_ ? LoadFixed<T>(bytes.data()) : T{};
  }

  std::uint64_t Varint() noexcept {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }

  std::string_view Bytes(std::uint64_t size) noexcept {
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_CODING_H_
