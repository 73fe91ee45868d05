#include "decompressing.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "larder/cache/write_batch.h"
#include "larder/serializers/codec_id.h"
#include "larder/serializers/compression.h"

namespace larder::internal {
namespace {

class ScanOfOriginals final : public Scan {
 public:
  explicit ScanOfOriginals(std::unique_ptr<Scan> scan) noexcept
      : scan_(std::move(scan)) {}

  Result<std::vector<ScanItem>> Next(std::size_t count_max) noexcept override {
    while (true) {
      Result<std::vector<ScanItem>> page = scan_->Next(count_max);
      if (!page || page->empty()) return page;
      // As everywhere in a scan, an item that is damaged is left out; a page
      // that is empty would mean the end.
      std::erase_if(*page, [](ScanItem& item) {
        return !DecompressInPlace(item.value, item.info).ok();
      });
      if (!page->empty()) return page;
    }
  }

 private:
  const std::unique_ptr<Scan> scan_;
};

class StringReader final : public ValueReader {
 public:
  StringReader(std::string bytes, ItemInfo info) noexcept
      : bytes_(std::move(bytes)), info_(std::move(info)) {}

  const ItemInfo& info() const noexcept override { return info_; }
  Result<std::size_t> Read(std::span<char> buffer) noexcept override {
    const std::size_t size = std::min(buffer.size(), bytes_.size() - offset_);
    if (size > 0) std::memcpy(buffer.data(), bytes_.data() + offset_, size);
    offset_ += size;
    return size;
  }

 private:
  const std::string bytes_;
  const ItemInfo info_;
  std::size_t offset_ = 0;
};

}  // namespace

Status DecompressInPlace(ValueHandle& handle, ItemInfo& info) noexcept {
  if (!IsCompressed(info.codec)) return {};
  Decoded<std::string> original = Decompress(handle.bytes());
  if (!original) return StatusOf(original.error());
  handle = ValueHandle::FromString(*std::move(original));
  info.codec = BaseCodecId(info.codec);
  return {};
}

std::unique_ptr<Scan> DecompressingScan(std::unique_ptr<Scan> scan) noexcept {
  return std::make_unique<ScanOfOriginals>(std::move(scan));
}

Result<std::unique_ptr<ValueReader>> DecompressingReader(
    ValueReader& stored) noexcept {
  ItemInfo info = stored.info();
  if (info.size_bytes > kValueInMemoryBytesMax) {  // Before the allocation.
    return Fail(Status::Corruption("compressed value of " +
                                   std::to_string(info.size_bytes) + " bytes"));
  }
  std::string frame(info.size_bytes, '\0');
  const Result<std::size_t> size = stored.Read(frame);
  if (!size) return Fail(size.error());
  Decoded<std::string> original =
      Decompress(std::string_view(frame).substr(0, *size));
  if (!original) return Fail(StatusOf(original.error()));
  info.codec = BaseCodecId(info.codec);
  return std::make_unique<StringReader>(*std::move(original), std::move(info));
}

}  // namespace larder::internal
