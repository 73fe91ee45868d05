#include "larder/engine/value_handle.h"

namespace larder {
namespace {

struct StringPin final : ValuePin {
  explicit StringPin(std::string text) noexcept : bytes(std::move(text)) {}
  const std::string bytes;
};

}  // namespace

ValueHandle ValueHandle::FromString(std::string bytes) {
  auto pin = std::make_unique<StringPin>(std::move(bytes));
  const std::string_view view = pin->bytes;
  return {view, std::move(pin)};
}

}  // namespace larder
