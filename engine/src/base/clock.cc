#include "larder/engine/clock.h"

#include "base/immortal.h"

namespace larder {
namespace {

class SystemClock final : public Clock {
 public:
  [[nodiscard]] TimePoint Now() const noexcept override {
    return std::chrono::time_point_cast<Duration>(
        std::chrono::system_clock::now());
  }
};

constinit const Immortal<SystemClock> the_clock;

}  // namespace

const Clock* Clock::System() noexcept { return &the_clock.value; }

}  // namespace larder
