#ifndef LARDER_SERIALIZERS_ENCODED_H_
#define LARDER_SERIALIZERS_ENCODED_H_

#include <string>
#include <string_view>
#include <utility>

namespace larder {

/// The bytes of an encoded value: either a view of the value's own memory (no
/// copy was made) or a buffer that belongs to this object.
///
/// Threads:  thread-compatible.
/// Lifetime: a view is valid as long as the value that was encoded.
class Encoded {
 public:
  /// Borrows `bytes`.
  static Encoded View(std::string_view bytes) noexcept {
    Encoded encoded;
    encoded.view_ = bytes;
    return encoded;
  }
  static Encoded Own(std::string bytes) noexcept {
    Encoded encoded;
    encoded.owned_ = true;
    encoded.buffer_ = std::move(bytes);
    return encoded;
  }

  [[nodiscard]] std::string_view bytes() const noexcept {
    return owned_ ? std::string_view(buffer_) : view_;
  }
  /// True if the bytes are a copy that this object owns.
  [[nodiscard]] bool owned() const noexcept { return owned_; }
  /// The bytes as a string, without a copy if they are owned.
  [[nodiscard]] std::string Take() && {
    return owned_ ? std::move(buffer_) : std::string(view_);
  }

 private:
  Encoded() noexcept = default;

  bool owned_ = false;
  std::string_view view_;
  std::string buffer_;
};

}  // namespace larder

#endif  // LARDER_SERIALIZERS_ENCODED_H_
