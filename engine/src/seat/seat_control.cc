#include "seat/seat_control.h"

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/coding.h"
#include "base/open_file.h"
#include "base/process_limits.h"

namespace larder {
namespace {

constexpr std::uint64_t kSeatMagic = 0x4C54435441455344;  // DSEATCTL
constexpr std::uint32_t kSeatVersion = 2;
constexpr std::size_t kCopySize = kSeatControlSize / 2;
constexpr std::size_t kBootIdSizeMax = 64;

void PutShortString(std::string& out, std::string_view text) {
  PutFixed(out, static_cast<std::uint16_t>(text.size()));
  out.append(text);
}

std::string Encode(const SeatControl& control) {
  std::string copy;
  PutFixed(copy, kSeatMagic);
  PutFixed(copy, kSeatVersion);
  PutFixed(copy, kRegionLayoutVersion);
  PutFixed(copy, control.serial);
  PutFixed(copy, control.id.high);
  PutFixed(copy, control.id.low);
  PutFixed(copy, control.epoch);
  PutFixed(copy, control.holder.pid);
  PutFixed(copy, control.holder.start_time);
  PutFixed(copy, control.holder.pid_namespace);
  PutFixed(copy, control.lock_inode);
  PutShortString(copy, control.boot_id);
  PutShortString(copy, control.region_directory);
  copy.resize(kCopySize - sizeof(std::uint64_t), '\0');
  PutFixed(copy, XXH3_64bits(copy.data(), copy.size()));
  return copy;
}

// nullopt: damaged. `newer` is set if it is fine but not for us.
std::optional<SeatControl> Decode(std::string_view copy, bool& newer) {
  if (copy.size() != kCopySize) return std::nullopt;
  const std::string_view hashed = copy.substr(0, kCopySize - 8);
  if (LoadFixed<std::uint64_t>(copy.data() + hashed.size()) !=
      XXH3_64bits(hashed.data(), hashed.size())) {
    return std::nullopt;
  }
  ByteReader in(hashed);
  if (in.Fixed<std::uint64_t>() != kSeatMagic) return std::nullopt;
  const auto version = in.Fixed<std::uint32_t>();
  if (version > kSeatVersion) newer = true;
  if (version < kSeatVersion) return std::nullopt;  // Made anew, like no file.
  static_cast<void>(in.Fixed<std::uint32_t>());     // Each region says it, too.
  SeatControl control;
  control.serial = in.Fixed<std::uint64_t>();
  control.id.high = in.Fixed<std::uint64_t>();
  control.id.low = in.Fixed<std::uint64_t>();
  control.epoch = in.Fixed<std::uint64_t>();
  control.holder.pid = in.Fixed<std::uint64_t>();
  control.holder.start_time = in.Fixed<std::uint64_t>();
  control.holder.pid_namespace = in.Fixed<std::uint64_t>();
  control.lock_inode = in.Fixed<std::uint64_t>();
  control.boot_id = in.Bytes(in.Fixed<std::uint16_t>());
  control.region_directory = in.Bytes(in.Fixed<std::uint16_t>());
  if (!in.ok()) return std::nullopt;
  return control;
}

Status PwriteAll(int fd, std::string_view bytes, off_t offset) noexcept {
  while (!bytes.empty()) {
    const FileSizeSignalHeld held;
    const ssize_t size = ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return Status::FromErrno(errno, "write seat.ctl");
    bytes.remove_prefix(static_cast<std::size_t>(size));
    offset += size;
  }
  return {};
}

}  // namespace

Result<std::optional<SeatControl>> ReadSeatControl(
    const std::filesystem::path& file) noexcept {
  const auto fd = OpenFile(FilePlace(file), O_RDONLY);
  if (!fd) {
    if (fd.error().code() == StatusCode::kNotFound) return std::nullopt;
    return Fail(fd.error());
  }
  std::array<char, kSeatControlSize> bytes{};
  const ssize_t size = ::pread(fd->get(), bytes.data(), bytes.size(), 0);
  if (size < 0) return Fail(Status::FromErrno(errno, "read " + file.string()));
  const std::string_view text(bytes.data(), static_cast<std::size_t>(size));
  bool newer = false;
  std::optional<SeatControl> best;
  for (std::size_t at = 0; at + kCopySize <= text.size(); at += kCopySize) {
    auto copy = Decode(text.substr(at, kCopySize), newer);
    if (copy && (!best || copy->serial > best->serial)) best = std::move(copy);
  }
  if (newer) {
    return Fail(
        Status(StatusCode::kUnsupportedFormat,
               file.string() + " was written by a newer larder: use that one"));
  }
  return best;
}

Status WriteSeatControl(const std::filesystem::path& file,
                        const SeatControl& control) noexcept {
  if (control.region_directory.size() > kRegionDirectorySizeMax ||
      control.boot_id.size() > kBootIdSizeMax) {
    return Status::InvalidArgument(
        "region directory " + control.region_directory + " is too long a path");
  }
  const auto fd =
      OpenFile(FilePlace(file), O_RDWR | O_CREAT, S_IRUSR | S_IWUSR);
  if (!fd) return fd.error();
  const std::string copy = Encode(control);
  // Not synced: after a power cut nobody is attached, and it is made anew.
  for (off_t at = 0; at < static_cast<off_t>(kSeatControlSize);
       at += static_cast<off_t>(kCopySize)) {
    LARDER_RETURN_IF_ERROR(PwriteAll(fd->get(), copy, at));
  }
  return {};
}

}  // namespace larder
