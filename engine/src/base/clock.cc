#include "larder/engine/clock.h"

namespace larder {
namespace {

class SystemClock final : public Clock {
 public:
  [[nodiscard]] TimePoint Now() const noexcept override {
    return std::chrono::time_point_cast<Duration>(
        std::chrono::system_clock::now());
  }
};

}  // namespace

const Clock* Clock::System() noexcept {
  static const SystemClock clock;
  return &clock;
}

}  // namespace larder
