// A walk from record to record. Where no valid header stands, it steps on by
// 64 bytes: zeros are a gap (a grant that was never written), anything else is
// damage. A header whose checksum matches vouches for its length, so a record
// with a bad payload is skipped whole and its payload never searched for
// records; a foreign record inside damage is told by its segment and offset.
//
// A group of records is visited before the window that they lie in moves on, so
// none of them is copied.

#include "segments/segment_scan.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "segments/segment_format.h"

namespace larder {
namespace {

constexpr std::size_t kWindowBytesMin = 1U << 20;
constexpr std::uint64_t kPageBytes = 4096;
constexpr int kUnreadableByte = 0xFF;  // No gap has it.

// A sliding window over a file.
class FileWindow {
 public:
  // `before_move` is called before the bytes seen so far go; may be empty.
  FileWindow(SegmentIo& io, int fd, std::uint64_t size, BadSectors bad_sectors,
             std::function<void()> before_move)
      : io_(io),
        fd_(fd),
        size_(size),
        bad_sectors_(bad_sectors),
        before_move_(std::move(before_move)) {}

  // The bytes [offset, offset + length), or nullptr if the file ends before or
  // the read fails (see status()). REQUIRES: the range lies below `size`.
  const char* At(std::uint64_t offset, std::uint64_t length) {
    if (offset < begin_ || offset + length > begin_ + filled_) {
      Fill(offset, length);
    }
    return offset + length <= begin_ + filled_ ? &bytes_[offset - begin_]
                                               : nullptr;
  }
  [[nodiscard]] const Status& status() const { return status_; }

 private:
  void Fill(std::uint64_t offset, std::uint64_t length) {
    if (before_move_) before_move_();
    const std::uint64_t wanted = std::min(
        std::max<std::uint64_t>(length, kWindowBytesMin), size_ - offset);
    if (capacity_ < wanted) {  // Not a vector, which would fill it first.
      bytes_ = std::make_unique_for_overwrite<char[]>(wanted);
      capacity_ = wanted;
    }
    begin_ = offset;
    filled_ = 0;
    ssize_t count =
        ReadFully(io_, fd_, bytes_.get(), wanted, static_cast<off_t>(offset));
    if (count < 0 && errno == EIO && bad_sectors_ == BadSectors::kDamage) {
      count = FillByPages(offset, wanted);
    }
    if (count < 0) {
      status_ = Status::FromErrno(errno, "at " + std::to_string(offset));
      return;
    }
    filled_ = static_cast<std::uint64_t>(count);
  }

  // Those that cannot be read become what no record is.
  ssize_t FillByPages(std::uint64_t offset, std::uint64_t wanted) {
    std::uint64_t done = 0;
    while (done < wanted) {
      const std::uint64_t at = offset + done;
      const std::uint64_t part =
          std::min(wanted - done, kPageBytes - at % kPageBytes);
      const ssize_t count = ReadFully(io_, fd_, bytes_.get() + done, part,
                                      static_cast<off_t>(at));
      if (count < 0 && errno != EIO) return count;
      if (count < 0) std::memset(bytes_.get() + done, kUnreadableByte, part);
      done += count < 0 ? part : static_cast<std::uint64_t>(count);
      if (count >= 0 && static_cast<std::uint64_t>(count) < part) break;
    }
    return static_cast<ssize_t>(done);
  }

  SegmentIo& io_;
  int fd_;
  std::uint64_t size_;
  const BadSectors bad_sectors_;
  std::function<void()> before_move_;
  std::uint64_t begin_ = 0;
  std::uint64_t filled_ = 0;
  std::uint64_t capacity_ = 0;
  std::unique_ptr<char[]> bytes_;
  Status status_;
};

bool AllZero(const char* bytes) {
  return std::all_of(bytes, bytes + kSegmentAlignment,
                     [](char byte) { return byte == 0; });
}

class Walk {
 public:
  enum class Payloads : std::uint8_t { kVerified, kAsTheyAre };
  Walk(SegmentIo& io, int fd, std::uint32_t id, std::uint64_t size,
       BadSectors bad_sectors, Payloads payloads,
       std::function<void()> before_move)
      : window_(io, fd, size, bad_sectors, std::move(before_move)),
        id_(id),
        size_(size),
        payloads_(payloads) {}

  Result<SegmentScanResult> Run(const SegmentVisit& visit) {
    std::uint64_t offset = 0;
    while (offset + kSegmentAlignment <= size_ && !stopped_) {
      const char* const bytes = window_.At(offset, kSegmentAlignment);
      if (bytes == nullptr) {
        break;
      }
      const std::uint64_t length = RecordLength(bytes, offset);
      offset += length > 0 ? Take(offset, length, visit) : Skip(bytes, offset);
    }
    if (!window_.status().ok()) {
      return Fail(Status(window_.status().code(),
                         "reading segment " + std::to_string(id_) + " " +
                             window_.status().message()));
    }
    if (!stopped_ && offset < size_) {
      result_.damaged_bytes += size_ - offset;
    }
    return result_;
  }

 private:
  // The length of the record that starts here, or 0 if none does.
  std::uint64_t RecordLength(const char* bytes, std::uint64_t offset) {
    const auto header = DecodeRecordHeader(bytes);
    if (!header || header->segment != id_ || header->offset != offset) {
      return 0;
    }
    const std::uint64_t key_end = offset + kRecordHeaderSize + header->key_size;
    if (key_end > size_) {
      return 0;
    }
    const char* const again =
        window_.At(offset, kRecordHeaderSize + header->key_size);
    if (again == nullptr ||
        !HeaderChecksumMatches(again,
                               {again + kRecordHeaderSize, header->key_size})) {
      return 0;
    }
    return SegmentLog::RecordSize(header->key_size, header->payload_size);
  }

  // Visits the record if it is whole; returns the bytes to step on.
  std::uint64_t Take(std::uint64_t offset, std::uint64_t length,
                     const SegmentVisit& visit) {
    const char* const bytes =
        offset + length <= size_ ? window_.At(offset, length) : nullptr;
    if (bytes == nullptr) {  // Torn: the file ends inside it.
      result_.damaged_bytes += size_ - offset;
      return size_ - offset;
    }
    const RecordHeader header = *DecodeRecordHeader(bytes);
    const std::string_view payload(bytes + PayloadStart(header.key_size),
                                   header.payload_size);
    if (payloads_ == Payloads::kVerified &&
        PayloadChecksum(payload) != header.payload_checksum) {
      result_.damaged_bytes += length;
      return length;
    }
    ++result_.record_count;
    result_.records_end = offset + length;
    if (visit) {
      const SegmentPlace place{id_, header.offset, header.payload_size};
      const SegmentRecord record{{bytes + kRecordHeaderSize, header.key_size},
                                 payload,
                                 header.version,
                                 header.value_size,
                                 header.value_offset,
                                 header.codec,
                                 header.payload_checksum};
      stopped_ = !visit(place, record);
    }
    return length;
  }

  std::uint64_t Skip(const char* bytes, std::uint64_t offset) {
    const bool footer = offset + kSegmentFooterSize == size_ &&
                        DecodeSegmentFooter(bytes).has_value();
    if (!footer && !AllZero(bytes)) {
      result_.damaged_bytes += kSegmentAlignment;
    }
    return kSegmentAlignment;
  }

  FileWindow window_;
  std::uint32_t id_;
  std::uint64_t size_;
  Payloads payloads_;
  bool stopped_ = false;
  SegmentScanResult result_;
};

}  // namespace

Result<SegmentScanResult> ScanSegment(SegmentIo& io, int fd, std::uint32_t id,
                                      std::uint64_t size,
                                      BadSectors bad_sectors,
                                      const SegmentVisit& visit) {
  return Walk(io, fd, id, size, bad_sectors, Walk::Payloads::kVerified, {})
      .Run(visit);
}

Result<SegmentScanResult> ScanSegmentGroups(SegmentIo& io, int fd,
                                            std::uint32_t id,
                                            std::uint64_t size,
                                            std::size_t count_max,
                                            const SegmentGroupVisit& visit) {
  std::vector<PlacedRecord> group;
  bool goes_on = true;
  const auto visit_group = [&] {
    if (goes_on && !group.empty()) goes_on = visit(group);
    group.clear();
  };
  Walk walk(io, fd, id, size, BadSectors::kDamage, Walk::Payloads::kAsTheyAre,
            visit_group);
  auto result =
      walk.Run([&](const SegmentPlace& place, const SegmentRecord& record) {
        group.push_back({place, record});
        if (group.size() == count_max) visit_group();
        return goes_on;
      });
  visit_group();
  return result;
}

}  // namespace larder
