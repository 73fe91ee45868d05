#include "space/open_scans.h"

namespace larder {

OpenScans::Membership::Membership(OpenScans& scans, HoldingScan& scan)
    : scans_(scans) {
  const std::scoped_lock lock(scans_.mutex_);
  place_ = scans_.scans_.insert(scans_.scans_.end(), &scan);
  ++scans_.count_;
}

OpenScans::Membership::~Membership() {
  const std::scoped_lock lock(scans_.mutex_);
  scans_.scans_.erase(place_);
  --scans_.count_;
}

void OpenScans::InvalidateAll() noexcept {
  const std::scoped_lock lock(mutex_);
  for (HoldingScan* scan : scans_) scan->Invalidate();
}

void OpenScans::EndHoldingWhile(
    const std::function<bool()>& is_too_much) noexcept {
  if (!is_too_much()) return;
  const std::scoped_lock lock(mutex_);
  for (HoldingScan* scan : scans_) {
    if (!is_too_much()) return;
    scan->EndHolding();
  }
}

}  // namespace larder
