#ifndef LARDER_TOOLS_REPLAY_LITTLE_ENDIAN_H_
#define LARDER_TOOLS_REPLAY_LITTLE_ENDIAN_H_

#include <cstddef>

namespace larder::replay {

/// The number in the sizeof(T) bytes at `bytes`, the lowest first.
template <typename T>
[[nodiscard]] T LoadLittleEndian(const char* bytes) noexcept {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_LITTLE_ENDIAN_H_
