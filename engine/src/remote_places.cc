#include "remote_places.h"

#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>

#include "segment_file.h"
#include "segment_format.h"
#include "segment_io.h"
#include "signal_mask.h"

namespace larder {
namespace {

constexpr std::size_t kMappingsMax = 256;
constexpr std::chrono::milliseconds kLookPeriod{250};
// Without a read.
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

Result<std::shared_ptr<SegmentLog>> RemotePlaces::Log() noexcept {
  const std::lock_guard lock(mutex_);
  ++log_uses_;
  if (log_ != nullptr) return log_;
  SegmentLogOptions options;
  options.read_only = true;
  options.mapping_count_max = kMappingsMax;
  auto log = SegmentLog::Open(directory_ / "log", options, 1, {});
  if (!log) return Fail(std::move(log.error()));
  if (!janitor_.joinable()) {
    try {
      const SignalsBlocked blocked;
      janitor_ = std::thread([this] { LetGo(); });
    } catch (const std::system_error& e) {
      // Nobody would let the files go.
      return Fail(Status::FromErrno(e.code().value(), "start a thread"));
    }
  }
  log_ = std::move(*log);
  changed_.notify_one();
  return log_;
}

// Sleeps as long as nothing is mapped.
void RemotePlaces::LetGo() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || log_ != nullptr; });
    std::uint64_t uses = log_uses_;
    for (int idle = 0; log_ != nullptr;) {
      changed_.wait_for(lock, kLookPeriod, [this] { return stopping_; });
      if (stopping_) return;
      idle = log_uses_ == uses ? idle + 1 : 0;
      uses = log_uses_;
      if (idle < kIdleLooksMax) {
        log_->ForgetRemoved();
      } else {
        log_.reset();
      }
    }
    if (stopping_) return;
  }
}

Result<ValueHandle> RemotePlaces::Read(std::string_view key,
                                       std::uint64_t version,
                                       const SegmentPlace& place,
                                       VerifyReads verify) noexcept {
  const auto log = Log();
  if (!log) return Fail(log.error());
  return (*log)->Read(place, key, version, verify);
}

Result<ValueHandle> RemotePlaces::Read(std::string_view key,
                                       const PlacedValue& placed,
                                       VerifyReads verify) noexcept {
  if (placed.chunks.size() == 1) {
    return Read(key, placed.version, placed.chunks[0], verify);
  }
  const auto log = Log();
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

Result<std::shared_ptr<UniqueFd>> RemotePlaces::OpenForWriting(
    std::uint32_t segment) noexcept {
  const std::lock_guard lock(mutex_);
  if (segment_ == segment) return segment_fd_;
  const std::string path = SegmentPath(directory_ / "log", segment).string();
  auto fd = std::make_shared<UniqueFd>(
      ::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!*fd) return Fail(Status::FromErrno(errno, "open " + path));
  segment_ = segment;
  segment_fd_ = fd;
  return fd;
}

Status RemotePlaces::Write(const SetCommand& command,
                           const Grant& grant) noexcept {
  std::uint64_t done = 0;
  for (const SegmentPlace& chunk : grant.chunks) {
    if (chunk.payload_size > command.value.size() - done) {
      return Status::Corruption("the holder granted more than was asked for");
    }
    const auto fd = OpenForWriting(chunk.segment);
    if (!fd) return fd.error();
    const SegmentRecord record{
        .key = command.key,
        .payload = command.value.substr(done, chunk.payload_size),
        .version = grant.version,
        .value_size = command.value.size(),
        .value_offset = done,
        .codec = command.codec};
    const int error =
        WriteSegmentRecords(*SegmentIo::System(), (*fd)->get(), chunk.segment,
                            chunk.offset, {&record, 1});
    if (error != 0) return Status::FromErrno(error, "writing a value");
    done += chunk.payload_size;
  }
  return done == command.value.size()
             ? Status()
             : Status::Corruption("the holder granted less than was asked for");
}

}  // namespace larder
