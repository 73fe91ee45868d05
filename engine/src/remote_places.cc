#include "remote_places.h"

#include <cerrno>
#include <string>
#include <utility>

#include <fcntl.h>

#include "segment_file.h"
#include "segment_format.h"
#include "segment_io.h"

namespace larder {
namespace {

// A mapping keeps the blocks of a file that the holder has removed: now and
// then they are looked for.
constexpr std::size_t kMappingsMax = 256;
constexpr std::uint32_t kUsesPerLook = 512;
constexpr auto kLookPeriod = std::chrono::seconds(1);

}  // namespace

Result<std::shared_ptr<SegmentLog>> RemotePlaces::Log() noexcept {
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  if (log_ != nullptr && ++log_uses_ <= kUsesPerLook &&
      now - log_looked_at_ <= kLookPeriod) {
    return log_;
  }
  if (log_ == nullptr) {
    SegmentLogOptions options;
    options.read_only = true;
    options.mapping_count_max = kMappingsMax;
    auto log = SegmentLog::Open(directory_ / "log", options, 1, {});
    if (!log) return Fail(std::move(log.error()));
    log_ = std::move(*log);
  } else {
    log_->ForgetRemoved();
  }
  log_uses_ = 0;
  log_looked_at_ = now;
  return log_;
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
