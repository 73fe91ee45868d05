#include "wal_reader.h"

#include <array>

#include "coding.h"

namespace larder {
namespace {

constexpr std::array<std::uint32_t, 256> MakeCrcTable() {
  constexpr std::uint32_t kPolynomial = 0x82F63B78;  // CRC-32C, reflected.
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    table[byte] = crc;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kCrcTable = MakeCrcTable();

}  // namespace

std::uint32_t WalChecksum(std::string_view typed) noexcept {
  std::uint32_t crc = ~std::uint32_t{0};
  for (const char c : typed) {
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<std::uint8_t>(c)) & 0xFF];
  }
  crc = ~crc;
  // Masked, as a checksum of bytes with checksums in them proves little.
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8;
}

bool WalReader::ReadBlock() {
  block_.resize(kWalBlockSize);
  std::size_t size = 0;
  while (size < kWalBlockSize) {
    rocksdb::Slice read;
    const rocksdb::IOStatus status =
        file_->Read(kWalBlockSize - size, rocksdb::IOOptions(), &read,
                    block_.data() + size, nullptr);
    if (!status.ok() || read.empty()) break;
    if (read.data() != block_.data() + size) {
      read.ToStringView().copy(block_.data() + size, read.size());
    }
    size += read.size();
  }
  block_.resize(size);
  at_ = 0;
  block_end_ += size;
  return size != 0;
}

std::optional<WalReader::Fragment> WalReader::NextFragment() {
  for (;;) {
    if (block_.size() - at_ < kWalHeadSize) {
      const bool cut = at_ != block_.size() && block_.size() < kWalBlockSize;
      if (cut || !ReadBlock()) return std::nullopt;
      continue;
    }
    const char* const head = block_.data() + at_;
    const std::size_t size = LoadFixed<std::uint16_t>(head + 4);
    const auto type = static_cast<WalFragment>(head[6]);
    if (type == WalFragment::kZero && size == 0) {
      at_ = block_.size();
      return Fragment{};
    }
    if (size > block_.size() - at_ - kWalHeadSize) return std::nullopt;
    if (checksums_ == Checksums::kVerified &&
        LoadFixed<std::uint32_t>(head) != WalChecksum({head + 6, size + 1})) {
      return std::nullopt;
    }
    at_ += kWalHeadSize + size;
    return Fragment{type, {head + kWalHeadSize, size}};
  }
}

std::optional<std::string_view> WalReader::Next() {
  bool inside = false;
  for (;;) {
    const std::uint64_t begin = block_end_ - (block_.size() - at_);
    const std::optional<Fragment> fragment = NextFragment();
    if (!fragment) {
      // The end is one only between two records.
      if (inside || at_ != block_.size()) return StopEarly();
      return std::nullopt;
    }
    if (!inside) offset_ = begin;
    switch (fragment->type) {
      case WalFragment::kZero:
        if (inside) return StopEarly();
        break;
      case WalFragment::kFull:
        if (inside) return StopEarly();
        return fragment->bytes;
      case WalFragment::kFirst:
        if (inside) return StopEarly();
        inside = true;
        record_ = fragment->bytes;
        break;
      case WalFragment::kMiddle:
      case WalFragment::kLast:
        if (!inside) return StopEarly();
        record_ += fragment->bytes;
        if (fragment->type == WalFragment::kLast) return record_;
        break;
      default:
        return StopEarly();
    }
  }
}

}  // namespace larder
