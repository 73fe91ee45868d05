#include "shared/remote_places.h"

#include <chrono>
#include <string>
#include <utility>

#include <fcntl.h>

#include "base/open_file.h"
#include "os/segment_io.h"
#include "os/start_thread.h"
#include "segments/segment_file.h"
#include "segments/segment_format.h"
#include "segments/segment_reuse.h"

namespace larder {
namespace {

constexpr std::size_t kMappingsMax = 256;
constexpr std::chrono::milliseconds kLookPeriod{250};
// Without a use.
constexpr int kIdleLooksMax = 4;

}  // namespace

RemotePlaces::~RemotePlaces() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (janitor_.joinable()) janitor_.join();
}

Result<std::shared_ptr<SegmentLog>> RemotePlaces::Log(ReadMode mode) noexcept {
  const std::lock_guard lock(mutex_);
  ++uses_;
  if (log_ != nullptr) {
    log_->SetReadMode(mode);
    return log_;
  }
  SegmentLogOptions options;
  options.read_only = true;
  options.mapping_count_max = kMappingsMax;
  options.read_mode = mode;
  auto directory = directory_->HeldPathOf(DirectoryPart::kLog);
  options.directory_held = std::move(directory.held);
  auto log = SegmentLog::Open(directory.path, options, 1, {});
  if (!log) return Fail(NameDescriptors(log.error()));
  LARDER_FAIL_IF_ERROR(StartJanitor());
  log_ = std::move(*log);
  changed_.notify_one();
  return log_;
}

Status RemotePlaces::StartJanitor() noexcept {
  if (janitor_.joinable()) return Status::Ok();
  auto janitor = StartThread([this] { LetGo(); });
  if (!janitor) return janitor.error();  // Nobody would let the files go.
  janitor_ = *std::move(janitor);
  return Status::Ok();
}

// Sleeps as long as nothing is open.
void RemotePlaces::LetGo() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || IsInUse(); });
    std::uint64_t uses = uses_;
    for (int idle = 0; IsInUse();) {
      changed_.wait_for(lock, kLookPeriod, [this] { return stopping_; });
      if (stopping_) return;
      idle = uses_ == uses ? idle + 1 : 0;
      uses = uses_;
      if (idle == kIdleLooksMax) {
        log_.reset();
        segment_.reset();
      } else if (log_ != nullptr) {
        log_->ForgetRemoved();
      }
    }
    if (stopping_) return;
  }
}

Result<ValueHandle> RemotePlaces::Read(std::string_view key,
                                       std::uint64_t version,
                                       const SegmentPlace& place,
                                       VerifyReads verify,
                                       ReadMode mode) noexcept {
  const auto log = Log(mode);
  if (!log) return Fail(log.error());
  return (*log)->Read(place, key, version, verify);
}

Result<ValueHandle> RemotePlaces::Read(std::string_view key,
                                       const PlacedValue& placed,
                                       VerifyReads verify,
                                       ReadMode mode) noexcept {
  if (placed.chunks.size() == 1) {
    return Read(key, placed.version, placed.chunks[0], verify, mode);
  }
  const auto log = Log(mode);
  if (!log) return Fail(log.error());
  std::string bytes;
  bytes.reserve(placed.value_size);
  for (const SegmentPlace& chunk : placed.chunks) {
    const auto piece = (*log)->Read(chunk, key, placed.version, verify);
    if (!piece) return Fail(piece.error());
    bytes += piece->bytes();
  }
  return ValueHandle::FromString(std::move(bytes));
}

std::size_t RemotePlaces::ReadAhead(std::span<WantedRecord> wanted,
                                    ReadMode mode) noexcept {
  const auto log = Log(mode);
  return log ? (*log)->ReadAhead(wanted) : 0;
}

Result<std::shared_ptr<const RemotePlaces::OpenSegment>>
RemotePlaces::OpenForWriting(std::uint32_t segment) noexcept {
  const std::lock_guard lock(mutex_);
  ++uses_;
  if (segment_ != nullptr && segment_->id == segment) return segment_;
  auto fd = OpenSegmentFile(*SegmentIo::System(),
                            directory_->PathOf(DirectoryPart::kLog), segment,
                            O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (!fd) return Fail(NameDescriptors(fd.error()));
  LARDER_FAIL_IF_ERROR(StartJanitor());
  segment_ =
      std::make_shared<const OpenSegment>(OpenSegment{segment, std::move(*fd)});
  changed_.notify_one();
  return segment_;
}

Status RemotePlaces::Write(
    const SetCommand& command, const Grant& grant,
    const std::atomic<std::uint64_t>& generation) noexcept {
  std::uint64_t done = 0;
  for (const SegmentPlace& chunk : grant.chunks) {
    if (chunk.payload_size > command.value.size() - done) {
      return Status::Corruption("the holder granted more than was asked for");
    }
    // Acquire pairs with the holder's change of it. Who is stopped right after
    // this writes into a part of a file that is never given to anybody else.
    if (generation.load(std::memory_order_acquire) != grant.generation) {
      return {StatusCode::kGone, "the log is not the one that granted space"};
    }
    const auto segment = OpenForWriting(chunk.segment);
    if (!segment) return segment.error();
    const SegmentRecord record{
        .key = command.key,
        .payload = command.value.substr(done, chunk.payload_size),
        .version = grant.version,
        .value_size = command.value.size(),
        .value_offset = done,
        .codec = command.codec};
    const int error =
        WriteSegmentRecords(*SegmentIo::System(), (*segment)->fd.get(),
                            chunk.segment, chunk.offset, {&record, 1});
    if (error != 0) return Status::FromErrno(error, "writing a value");
    done += chunk.payload_size;
  }
  return done == command.value.size()
             ? Status()
             : Status::Corruption("the holder granted less than was asked for");
}

}  // namespace larder
