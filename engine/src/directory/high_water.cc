// Two slots, written in turns: the one that is being overwritten when the
// machine stops is not the one that counts. Where one is damaged it may have
// been the newer one, though, and the marks are raised by more than there can
// be between two writes.

#include "directory/high_water.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/coding.h"
#include "base/open_file.h"
#include "os/segment_io.h"

namespace larder {
namespace {

constexpr std::uint64_t kHighWaterMagic = 0x534B52414D52444C;  // LDRMARKS
constexpr std::uint32_t kHighWaterVersion = 1;
constexpr std::size_t kSlotSize = 64;
constexpr std::size_t kSlotCount = 2;
constexpr std::uint32_t kSegmentsLostMax = 1 << 16;
constexpr std::uint64_t kVersionsLostMax = 1 << 24;

struct Slot {
  std::uint64_t serial = 0;
  HighWaterMarks marks;
};

std::string Encode(const Slot& slot) {
  std::string bytes;
  PutFixed(bytes, kHighWaterMagic);
  PutFixed(bytes, kHighWaterVersion);
  PutFixed(bytes, slot.marks.segment);
  PutFixed(bytes, slot.serial);
  PutFixed(bytes, slot.marks.version);
  PutFixed(bytes, slot.marks.manifest.number);
  PutFixed(bytes, slot.marks.manifest.size);
  bytes.resize(kSlotSize - sizeof(std::uint64_t), '\0');
  PutFixed(bytes, XXH3_64bits(bytes.data(), bytes.size()));
  return bytes;
}

std::optional<Slot> Decode(std::string_view bytes) {
  const std::string_view hashed =
      bytes.substr(0, kSlotSize - sizeof(std::uint64_t));
  if (LoadFixed<std::uint64_t>(bytes.data() + hashed.size()) !=
      XXH3_64bits(hashed.data(), hashed.size())) {
    return std::nullopt;
  }
  ByteReader in(hashed);
  if (in.Fixed<std::uint64_t>() != kHighWaterMagic) return std::nullopt;
  if (in.Fixed<std::uint32_t>() != kHighWaterVersion) return std::nullopt;
  Slot slot;
  slot.marks.segment = in.Fixed<std::uint32_t>();
  slot.serial = in.Fixed<std::uint64_t>();
  slot.marks.version = in.Fixed<std::uint64_t>();
  slot.marks.manifest.number = in.Fixed<std::uint64_t>();
  slot.marks.manifest.size = in.Fixed<std::uint64_t>();
  return slot;
}

}  // namespace

Result<std::unique_ptr<HighWater>> HighWater::Open(
    std::filesystem::path file) noexcept {
  std::unique_ptr<HighWater> high_water(new HighWater(std::move(file)));
  LARDER_FAIL_IF_ERROR(high_water->Load(O_RDWR));
  return high_water;
}

HighWaterMarks HighWater::Read(const std::filesystem::path& file) noexcept {
  HighWater high_water(file);
  return high_water.Load(O_RDONLY).ok() ? high_water.marks_ : HighWaterMarks();
}

Status HighWater::Load(int access) {
  auto fd = OpenFile(FilePlace(file_), access);
  if (!fd) {
    return fd.error().code() == StatusCode::kNotFound ? Status::Ok()
                                                      : fd.error();
  }
  fd_ = std::move(*fd);
  std::array<char, kSlotSize * kSlotCount> bytes{};
  const ssize_t size = ::pread(fd_.get(), bytes.data(), bytes.size(), 0);
  if (size < 0) return Status::FromErrno(errno, "reading " + file_.string());
  bool damaged = false;
  for (std::size_t i = 0; i < kSlotCount; ++i) {
    const std::string_view text(bytes.data() + i * kSlotSize, kSlotSize);
    const auto slot = Decode(text);
    damaged |= !slot && text.find_first_not_of('\0') != text.npos;
    if (!slot || slot->serial <= serial_) continue;
    serial_ = slot->serial;
    marks_ = slot->marks;
  }
  if (!damaged) return Status::Ok();
  if (marks_.segment != 0) {
    marks_.segment += std::min(kSegmentsLostMax, UINT32_MAX - marks_.segment);
  }
  if (marks_.version != 0) marks_.version += kVersionsLostMax;
  return Status::Ok();
}

HighWaterMarks HighWater::marks() const noexcept {
  const std::lock_guard lock(mutex_);
  return marks_;
}

Status HighWater::Raise(const HighWaterMarks& marks) noexcept {
  const std::lock_guard lock(mutex_);
  return Write({.segment = std::max(marks.segment, marks_.segment),
                .version = std::max(marks.version, marks_.version),
                .manifest = marks.manifest.number != 0 ? marks.manifest
                                                       : marks_.manifest});
}

Status HighWater::Settle(const HighWaterMarks& marks) noexcept {
  const std::lock_guard lock(mutex_);
  return Write({.segment = marks.segment,
                .version = marks.version,
                .manifest = marks_.manifest});
}

Status HighWater::ForgetManifest() noexcept {
  const std::lock_guard lock(mutex_);
  HighWaterMarks marks = marks_;
  marks.manifest = {};
  for (std::size_t slot = 0; slot < kSlotCount; ++slot) {
    LARDER_RETURN_IF_ERROR(WriteSlot(marks));
  }
  return Status::Ok();
}

Status HighWater::Write(const HighWaterMarks& marks) {
  if (serial_ != 0 && marks == marks_) return Status::Ok();
  return WriteSlot(marks);
}

Status HighWater::WriteSlot(const HighWaterMarks& marks) {
  if (!fd_) {
    // One that has been made meanwhile is not of this cache.
    auto fd = OpenFile(FilePlace(file_), O_RDWR | O_CREAT | O_EXCL,
                       S_IRUSR | S_IWUSR);
    if (!fd) return std::move(fd.error());
    fd_ = std::move(*fd);
  }
  std::string bytes = Encode({serial_ + 1, marks});
  const auto at = static_cast<off_t>((serial_ + 1) % kSlotCount * kSlotSize);
  iovec piece = {.iov_base = bytes.data(), .iov_len = bytes.size()};
  if (!WriteFully(*SegmentIo::System(), fd_.get(), &piece, 1, at)) {
    return Status::FromErrno(errno, "writing " + file_.string());
  }
  ++serial_;
  marks_ = marks;
  return Status::Ok();
}

}  // namespace larder
