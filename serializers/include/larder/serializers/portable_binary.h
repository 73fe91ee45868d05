#ifndef LARDER_SERIALIZERS_PORTABLE_BINARY_H_
#define LARDER_SERIALIZERS_PORTABLE_BINARY_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include <cereal/cereal.hpp>

/// Archives for cereal that write and read its portable binary format, byte
/// for byte, between memory and values, and that can read bytes from anywhere:
///
/// 1. A length is believed only if at least that many bytes follow. So what a
///    read allocates is bounded by the value's size times the size of the
///    largest element type. Containers of elements that take no bytes cannot
///    be told from damage, and are refused when written.
/// 2. Objects nest at most kNestingDepthMax deep, so no bytes can overflow the
///    stack. This too is refused when written.
/// 3. A bool is 0 or 1.
/// 4. Nothing may be left over.
///
/// They throw cereal::Exception, which CatchDecodeErrors and CatchEncodeErrors
/// in codec.h turn into values.

namespace larder {

/// How deep cereal may nest objects inside one value.
inline constexpr int kNestingDepthMax = 1000;

/// Writes cereal's portable binary format to a string.
///
/// Threads: one thread. Lifetime: `out` outlives it.
class PortableBinaryWriter
    : public cereal::OutputArchive<PortableBinaryWriter,
                                   cereal::AllowEmptyClassElision> {
 public:
  explicit PortableBinaryWriter(std::string* out)
      : cereal::OutputArchive<PortableBinaryWriter,
                              cereal::AllowEmptyClassElision>(this),
        out_(out) {
    out_->push_back(std::endian::native == std::endian::little ? '\1' : '\0');
  }

  void Append(const void* bytes, std::size_t size) {
    out_->append(static_cast<const char*>(bytes), size);
  }
  void AppendLength(std::uint64_t length) {
    Append(&length, sizeof(length));
    size_required_ = std::max(size_required_, out_->size() + length);
  }
  void Enter() {
    if (++depth_ > kNestingDepthMax) {
      throw cereal::Exception("objects nest more than " +
                              std::to_string(kNestingDepthMax) + " deep");
    }
  }
  void Leave() noexcept { --depth_; }
  /// Call it last: checks that what was written can be read.
  void Finish() const {
    if (out_->size() < size_required_) {
      throw cereal::Exception(
          "a container has elements that take no bytes when serialized");
    }
  }

 private:
  std::string* out_;
  std::uint64_t size_required_ = 0;
  int depth_ = 0;
};

/// Reads cereal's portable binary format from memory that is not trusted.
///
/// Threads: one thread. Lifetime: `bytes` outlive it.
class PortableBinaryReader
    : public cereal::InputArchive<PortableBinaryReader,
                                  cereal::AllowEmptyClassElision> {
 public:
  explicit PortableBinaryReader(std::string_view bytes)
      : cereal::InputArchive<PortableBinaryReader,
                             cereal::AllowEmptyClassElision>(this),
        rest_(bytes) {
    std::uint8_t little_endian = 0;
    Take(&little_endian, 1, 1);
    if (little_endian > 1) {
      throw cereal::Exception("byte order mark is " +
                              std::to_string(little_endian) +
                              ", expected 0 or 1");
    }
    swap_ =
        (little_endian == 1) != (std::endian::native == std::endian::little);
  }

  /// Copies the next `size` bytes, elements of `element_size` in the byte
  /// order of this machine.
  void Take(void* destination, std::size_t size, std::size_t element_size) {
    if (size > rest_.size()) {
      throw cereal::Exception("ends " + std::to_string(size - rest_.size()) +
                              " bytes too early");
    }
    if (size == 0) {
      return;  // `destination` may be null.
    }
    std::memcpy(destination, rest_.data(), size);
    rest_.remove_prefix(size);
    if (swap_ && element_size > 1) {
      auto* bytes = static_cast<char*>(destination);
      for (std::size_t i = 0; i + element_size <= size; i += element_size) {
        std::reverse(bytes + i, bytes + i + element_size);
      }
    }
  }
  [[nodiscard]] std::uint64_t TakeLength() {
    std::uint64_t length = 0;
    Take(&length, sizeof(length), sizeof(length));
    if (length > rest_.size()) {
      throw cereal::Exception("a length of " + std::to_string(length) +
                              " with " + std::to_string(rest_.size()) +
                              " bytes left");
    }
    return length;
  }
  [[nodiscard]] bool TakeBool() {
    std::uint8_t byte = 0;
    Take(&byte, 1, 1);
    if (byte > 1) {
      throw cereal::Exception("a bool of " + std::to_string(byte));
    }
    return byte == 1;
  }
  void Enter() {
    if (++depth_ > kNestingDepthMax) {
      throw cereal::Exception("objects nest more than " +
                              std::to_string(kNestingDepthMax) + " deep");
    }
  }
  void Leave() noexcept { --depth_; }
  /// Call it last: checks that nothing is left over.
  void Finish() const {
    if (!rest_.empty()) {
      throw cereal::Exception(std::to_string(rest_.size()) +
                              " bytes are left over");
    }
  }

 private:
  std::string_view rest_;
  bool swap_ = false;
  int depth_ = 0;
};

// What cereal calls for each object, and for its primitives -----------------

/// Numbers and cereal's own wrappers are not levels of nesting.
template <typename T>
inline constexpr bool kIsNestingLevel = !std::is_arithmetic_v<T>;
template <typename T>
inline constexpr bool kIsNestingLevel<cereal::NameValuePair<T>> = false;
template <typename T>
inline constexpr bool kIsNestingLevel<cereal::SizeTag<T>> = false;
template <typename T>
inline constexpr bool kIsNestingLevel<cereal::BinaryData<T>> = false;

template <typename T>
void prologue(PortableBinaryWriter& archive, const T&) {
  if constexpr (kIsNestingLevel<T>) {
    archive.Enter();
  }
}
template <typename T>
void epilogue(PortableBinaryWriter& archive, const T&) {
  if constexpr (kIsNestingLevel<T>) {
    archive.Leave();
  }
}
template <typename T>
void prologue(PortableBinaryReader& archive, const T&) {
  if constexpr (kIsNestingLevel<T>) {
    archive.Enter();
  }
}
template <typename T>
void epilogue(PortableBinaryReader& archive, const T&) {
  if constexpr (kIsNestingLevel<T>) {
    archive.Leave();
  }
}

template <typename T>
requires std::is_arithmetic_v<T>
void CEREAL_SAVE_FUNCTION_NAME(PortableBinaryWriter& archive, const T& value) {
  static_assert(!std::is_floating_point_v<T> ||
                std::numeric_limits<T>::is_iec559);
  archive.Append(std::addressof(value), sizeof(T));
}
template <typename T>
requires std::is_arithmetic_v<T>
void CEREAL_LOAD_FUNCTION_NAME(PortableBinaryReader& archive, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    value = archive.TakeBool();
  } else {
    archive.Take(std::addressof(value), sizeof(T), sizeof(T));
  }
}

template <typename T>
void CEREAL_SAVE_FUNCTION_NAME(PortableBinaryWriter& archive,
                               const cereal::NameValuePair<T>& pair) {
  archive(pair.value);
}
template <typename T>
void CEREAL_LOAD_FUNCTION_NAME(PortableBinaryReader& archive,
                               cereal::NameValuePair<T>& pair) {
  archive(pair.value);
}

template <typename T>
void CEREAL_SAVE_FUNCTION_NAME(PortableBinaryWriter& archive,
                               const cereal::SizeTag<T>& tag) {
  archive.AppendLength(tag.size);
}
template <typename T>
void CEREAL_LOAD_FUNCTION_NAME(PortableBinaryReader& archive,
                               cereal::SizeTag<T>& tag) {
  tag.size = static_cast<std::remove_cvref_t<T>>(archive.TakeLength());
}

template <typename T>
void CEREAL_SAVE_FUNCTION_NAME(PortableBinaryWriter& archive,
                               const cereal::BinaryData<T>& data) {
  archive.Append(data.data, static_cast<std::size_t>(data.size));
}
template <typename T>
void CEREAL_LOAD_FUNCTION_NAME(PortableBinaryReader& archive,
                               cereal::BinaryData<T>& data) {
  using Element = std::remove_pointer_t<std::remove_reference_t<T>>;
  const auto size = static_cast<std::size_t>(data.size);
  if constexpr (std::is_same_v<Element, bool>) {
    auto* const elements = static_cast<bool*>(data.data);
    for (std::size_t i = 0; i < size; ++i) {
      elements[i] = archive.TakeBool();
    }
  } else if constexpr (std::is_void_v<Element>) {
    archive.Take(data.data, size, 1);
  } else {
    archive.Take(data.data, size, sizeof(Element));
  }
}

}  // namespace larder

// Polymorphic types and split save/load know the archives, and as a pair.
CEREAL_REGISTER_ARCHIVE(larder::PortableBinaryWriter)
CEREAL_REGISTER_ARCHIVE(larder::PortableBinaryReader)
CEREAL_SETUP_ARCHIVE_TRAITS(larder::PortableBinaryReader,
                            larder::PortableBinaryWriter)

#endif  // LARDER_SERIALIZERS_PORTABLE_BINARY_H_
