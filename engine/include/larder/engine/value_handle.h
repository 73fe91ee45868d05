#ifndef LARDER_ENGINE_VALUE_HANDLE_H_
#define LARDER_ENGINE_VALUE_HANDLE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace larder {

/// What keeps a value's bytes in place: a cache block, a mapped segment, a
/// buffer. Destroying it releases them.
class ValuePin {
 public:
  ValuePin() = default;
  ValuePin(const ValuePin&) = delete;
  ValuePin& operator=(const ValuePin&) = delete;
  virtual ~ValuePin() = default;
};

/// The bytes of a stored value, pinned where they lie: no copy is made where
/// the storage allows it (mapped segments, cached blocks).
///
/// Threads:  thread-compatible; may be destroyed on any thread.
/// Lifetime: the bytes stay valid and unchanged as long as the handle lives,
///           whatever happens to the item meanwhile, and to the cache, which
///           may be closed and gone. A handle pins memory and perhaps
///           disk space that is already dead: keep it short.
class ValueHandle {
 public:
  ValueHandle() noexcept = default;
  ValueHandle(std::string_view bytes, std::unique_ptr<ValuePin> pin) noexcept
      : bytes_(bytes), pin_(std::move(pin)) {}
  ValueHandle(ValueHandle&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})), pin_(std::move(other.pin_)) {}
  ValueHandle& operator=(ValueHandle&& other) noexcept {
    bytes_ = std::exchange(other.bytes_, {});
    pin_ = std::move(other.pin_);
    return *this;
  }
  ValueHandle(const ValueHandle&) = delete;
  ValueHandle& operator=(const ValueHandle&) = delete;

  /// A handle that owns a copy of its bytes.
  static ValueHandle FromString(std::string bytes);

  [[nodiscard]] std::string_view bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] std::string ToString() const { return std::string(bytes_); }

 private:
  std::string_view bytes_;
  std::unique_ptr<ValuePin> pin_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_VALUE_HANDLE_H_
