#include "commit/write_faults.h"

#include "base/check.h"

namespace larder {

Status WriteFaults::status() const {
  const std::scoped_lock lock(mutex_);
  return status_;
}

bool WriteFaults::IsTooSoon() const noexcept {
  const std::scoped_lock lock(mutex_);
  return Clock::now() < retry_at_;
}

bool WriteFaults::Note(const Status& failure) {
  LARDER_ASSERT(!failure.ok());
  const std::scoped_lock lock(mutex_);
  const bool is_first = !faulted_;
  if (failure.code() == StatusCode::kNoSpace) NoteDiskFull();
  Set(failure, Clock::now());
  ++count_;
  return is_first;
}

void WriteFaults::NoteReopened(const Status& reopened) {
  const std::scoped_lock lock(mutex_);
  Set(reopened, Clock::now() + kRetryInterval);
}

void WriteFaults::NoteRebuilt(const Status& reopened) {
  const std::scoped_lock lock(mutex_);
  Set(reopened, Clock::now());
}

void WriteFaults::Set(const Status& status, Clock::time_point retry_at) {
  status_ = status;
  faulted_ = !status.ok();
  retry_at_ = retry_at;
}

}  // namespace larder
