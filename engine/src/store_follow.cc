#include <filesystem>
#include <thread>

#include <xxhash.h>

#include "store.h"

// A store that is open read-only follows what another process writes: a call
// that finds the view too old, and the database's files changed, opens them
// again. RocksDB's own way to catch up (a secondary instance) needs a directory
// to write to and knows nothing of segments.

namespace larder {
namespace {

// The one that writes may remove a file between the moment that a view has read
// its name and the moment that it opens it.
constexpr int kViewAttemptsMax = 5;
constexpr auto kViewAttemptPause = std::chrono::milliseconds(5);

}  // namespace

std::uint64_t Store::WrittenFingerprint() const noexcept {
  // Whatever is committed makes a write-ahead log longer, or a new one.
  std::uint64_t fingerprint = 0;
  std::error_code error;
  const std::filesystem::directory_iterator files(directory_->db_path(), error);
  if (error) return 0;
  for (const std::filesystem::directory_entry& file : files) {
    const std::string name = file.path().filename().string();
    if (!name.ends_with(".log") && !name.starts_with("MANIFEST")) continue;
    const std::uint64_t size = file.file_size(error);
    if (error) continue;  // Removed just now: a sign of change itself.
    // A sum: the order of the files means nothing.
    fingerprint += XXH3_64bits_withSeed(name.data(), name.size(), size);
  }
  return fingerprint;
}

Status Store::OpenView() noexcept {
  Status status;
  for (int attempt = 0; attempt < kViewAttemptsMax; ++attempt) {
    if (attempt != 0) std::this_thread::sleep_for(kViewAttemptPause);
    rocks_.reset();
    log_.reset();
    // Before the files are read: what comes meanwhile is seen the next time.
    view_fingerprint_ = WrittenFingerprint();
    status = OpenFiles(/*writable=*/false, Reserve::kKeep);
    if (status.ok()) return status;
  }
  rocks_.reset();
  log_.reset();
  return status;
}

bool Store::ViewIsOld(
    std::chrono::steady_clock::time_point now) const noexcept {
  // In milliseconds: as nanoseconds the longest age is none.
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(
      now - view_checked_at_.load());
  return !closed_ && !gone_ && age >= options_.read_only_age_max;
}

void Store::Follow() noexcept {
  if (!read_only_ || !ViewIsOld(std::chrono::steady_clock::now())) return;
  store_gate_.lock();
  const auto now = std::chrono::steady_clock::now();
  // A scan sees one moment from its beginning to its end.
  if (ViewIsOld(now) && scan_count_ == 0) {
    if (!rocks_ || WrittenFingerprint() != view_fingerprint_) {
      Status status = OpenView();
      if (!status.ok()) Log("nothing can be read: " + status.ToString());
      const std::scoped_lock lock(fault_mutex_);
      fault_ = std::move(status);
    }
    view_checked_at_ = now;
  }
  store_gate_.unlock();
}

}  // namespace larder
