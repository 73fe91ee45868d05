// Why nobody sees a file change under their hands. Who opens a segment file,
// to read it or to write to it, gives the open file a shared lock and then
// looks whether the file still has the segment's name. The writer gives a file
// its new name first, and then asks for locks of others. If there is none,
// whoever comes later does not find the file by its old name, or finds out that
// the name has gone.
//
// The lock is an open file description's, and a mapping has a reference to the
// description that it was made from: so the kernel itself knows of every
// mapping, also of an earlier log of this process, of a process that was forked
// from one that had it, however it was forked, and of one that is about to die.
// No list of ours could be as complete. Not every file system does it
// (overlayfs maps the file below): it is tried out with the first file, and
// where it does not hold no file is used again.
//
// Rejected: a lease on the file (F_SETLEASE), which knows of strangers, too,
// but signals this process if one comes; a lock on the directory, which is not
// where it was once the directory is made anew, and which keeps all files for
// one that is held; emptying the file first, which saves the inode only: 10.0
// -> 7.8 us for a record of 4 KiB, where this takes 2.5.

#include "segments/segment_reuse.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/check.h"
#include "base/open_file.h"
#include "os/ofd_lock.h"
#include "os/segment_io.h"
#include "segments/segment_format.h"
#include "segments/segment_mapping.h"

namespace larder {
namespace {

// As many as there are streams, which may all need one at the same time.
constexpr std::size_t kSparesMax = kLogStreamCount;
constexpr std::uint64_t kHoldByte = 0;

// In a row, without a no.
constexpr int kYesAnswersMin = 8;
constexpr long kOverlayMagic = 0x794c7630;

// Whether a mapping keeps the lock of the descriptor that it was made from,
// after that is closed, and not longer. nullopt: it cannot be told, as somebody
// else has the file, a child that has just been forked perhaps.
std::optional<bool> AskOnce(const SegmentEnvironment& environment,
                            const SegmentFile& file) {
  const int asking = file.descriptor();
  const auto is_locked = [asking] {
    return IsOfdLocked(asking, kHoldByte).value_or(true);
  };
  if (is_locked()) return std::nullopt;  // Ask with another file.
  auto fd = OpenSegmentFile(*environment.io, environment.directory, file.id(),
                            O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (!fd) return std::nullopt;
  auto mapping =
      SegmentMapping::Map(fd->get(), kHoldByte + 1, environment.counters);
  if (!mapping) return std::nullopt;
  fd->Reset();
  const bool held = is_locked();
  mapping->reset();
  if (!held) return false;
  return is_locked() ? std::nullopt : std::optional(true);
}

// The descriptor of a child that ends between the two looks would pass for the
// mapping: one yes is not enough.
std::optional<bool> DoMappingsHold(const SegmentEnvironment& environment,
                                   const SegmentFile& file) {
  struct statfs info {};
  if (::fstatfs(file.descriptor(), &info) != 0) return std::nullopt;
  if (info.f_type == kOverlayMagic) return false;
  for (int i = 0; i < kYesAnswersMin; ++i) {
    const std::optional<bool> answer = AskOnce(environment, file);
    if (!answer || !*answer) return answer;
  }
  return true;
}

}  // namespace

Status HoldSegmentFile(int fd) noexcept {
  const Result<bool> held = TryOfdLock(fd, kHoldByte, OfdLock::kShared);
  if (!held) return held.error();
  if (*held) return Status::Ok();
  return Status::NotFound("the segment file is locked by another program");
}

Result<UniqueFd> OpenSegmentFile(SegmentIo& io,
                                 const std::filesystem::path& directory,
                                 std::uint32_t id, int flags) noexcept {
  const std::string path = SegmentPath(directory, id).string();
  UniqueFd fd(io.Open(path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK, 0));
  if (!fd) {
    return Fail(OpenFileError(errno, FilePlace(path), "to be its owner"));
  }
  LARDER_FAIL_IF_ERROR(CheckIsFile(fd.get(), FilePlace(path)));
  LARDER_FAIL_IF_ERROR(HoldSegmentFile(fd.get()));
  // After the lock: from now on the file keeps its name or has lost it before.
  struct stat named {};
  struct stat opened {};
  if (::stat(path.c_str(), &named) != 0 || ::fstat(fd.get(), &opened) != 0) {
    return Fail(Status::FromErrno(errno, "looking at " + path));
  }
  if (named.st_ino != opened.st_ino || named.st_dev != opened.st_dev) {
    return Fail(Status::NotFound(path + " has gone"));
  }
  return fd;
}

SegmentSpares::SegmentSpares(SegmentFile::Environment environment)
    : environment_(std::move(environment)) {
  files_.reserve(kSparesMax);
}

Status SegmentSpares::Keep(std::shared_ptr<SegmentFile> gone, std::uint32_t id,
                           std::uint32_t capacity) noexcept {
  // Who is still reading it has a reference.
  if (gone.use_count() != 1 || !BeginKeeping()) return gone->Discard();
  Status status;
  auto file = SegmentFile::CreateFrom(*gone, id, capacity);
  if (!file) {
    status = gone->Discard();
  } else if (!IsOursAlone(*file)) {
    status = file->Discard();
    file = nullptr;
  }
  EndKeeping(std::move(file));
  return status;
}

bool SegmentSpares::BeginKeeping() noexcept {
  const std::lock_guard lock(mutex_);
  if (files_.size() + being_kept_ >= kSparesMax) return false;
  ++being_kept_;
  return true;
}

std::vector<std::shared_ptr<SegmentFile>>::iterator
SegmentSpares::Largest() noexcept {
  return std::max_element(files_.begin(), files_.end(),
                          [](const auto& a, const auto& b) {
                            return a->accounted() < b->accounted();
                          });
}

void SegmentSpares::EndKeeping(std::shared_ptr<SegmentFile> file) noexcept {
  const std::lock_guard lock(mutex_);
  LARDER_ASSERT(being_kept_ > 0);
  --being_kept_;
  was_used_ = true;
  if (file) files_.push_back(std::move(file));
  Count();
}

bool SegmentSpares::IsOursAlone(const SegmentFile& file) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (!mappings_hold_) mappings_hold_ = DoMappingsHold(*environment_, file);
    if (!mappings_hold_.value_or(false)) return false;
  }
  const Result<bool> held = IsOfdLocked(file.descriptor(), kHoldByte);
  return held && !*held;
}

void SegmentSpares::CloseIfUnused() noexcept {
  const std::lock_guard lock(mutex_);
  if (std::exchange(was_used_, false)) return;
  for (const auto& file : files_) file->Rest();
}

std::shared_ptr<SegmentFile> SegmentSpares::TakeLargest() noexcept {
  const std::lock_guard lock(mutex_);
  if (files_.empty()) return nullptr;
  const auto largest = Largest();
  std::shared_ptr<SegmentFile> file = std::move(*largest);
  files_.erase(largest);
  was_used_ = true;
  Count();
  return file;
}

std::shared_ptr<SegmentFile> SegmentSpares::Take(
    std::uint32_t capacity) noexcept {
  while (auto file = TakeLargest()) {
    if (file->capacity() == capacity && file->Wake().ok() &&
        file->IsInMemory()) {
      return file;
    }
    file->Discard().IgnoreError();  // Nothing lives in it: the next Open does.
  }
  return nullptr;
}

std::uint64_t SegmentSpares::Shrink(std::uint64_t bytes) noexcept {
  // With the mutex: a file that counted nowhere while it is cut would be room
  // that is short for a moment, and a refusal.
  const std::lock_guard lock(mutex_);
  const std::uint64_t block = environment_->block_size;
  std::uint64_t done = 0;
  while (done < bytes && !files_.empty()) {
    const auto largest = Largest();
    const std::uint64_t size = (*largest)->accounted();
    if (size == 0) break;
    const std::uint64_t cut = std::min(bytes - done, size);
    // Some file systems give blocks back later, or not all of them.
    if (!(*largest)->CutTo((size - cut) / block * block) ||
        (*largest)->accounted() >= size) {
      (*largest)->Discard().IgnoreError();  // As above.
      files_.erase(largest);
      done += size;
    } else {
      done += size - (*largest)->accounted();
    }
    was_used_ = true;
    Count();
  }
  return done;
}

void SegmentSpares::DropAll() noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& file : files_) file->Discard().IgnoreError();  // As above.
  files_.clear();
  Count();
}

void SegmentSpares::Count() noexcept {
  std::uint64_t bytes = 0;
  for (const auto& file : files_) bytes += file->accounted();
  bytes_ = bytes;
}

}  // namespace larder
