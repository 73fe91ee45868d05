#include "segments/mapping_clock.h"

namespace larder {

void MappingClock::Add(const std::shared_ptr<SegmentFile>& file) {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : ring_) {
    // Mapped again after growth, or by two readers at once.
    if (!entry.owner_before(file) && !file.owner_before(entry)) {
      return;
    }
  }
  if (ring_.size() < count_max_) {
    ring_.push_back(file);
    return;
  }
  // Twice around: the second time every flag is clear, unless readers set
  // them again meanwhile; then the file under the hand goes all the same.
  bool dropped = false;
  for (std::size_t step = 0; step < 2 * ring_.size() && !dropped; ++step) {
    hand_ = (hand_ + 1) % ring_.size();
    const auto victim = ring_[hand_].lock();
    dropped = !victim || victim->DropIdleMapping();
  }
  if (const auto victim = ring_[hand_].lock(); victim && !dropped) {
    victim->DropMapping();
  }
  ring_[hand_] = file;
}

void MappingClock::CloseIdleReading() {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : ring_) {
    if (const auto file = entry.lock()) file->CloseIdleReading();
  }
}

}  // namespace larder
