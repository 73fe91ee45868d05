#include "index/wal_reader.h"

#include <array>

#include "base/coding.h"

namespace larder {
namespace {

// Eight bytes at a time: what each of them adds is in a table of its own.
constexpr std::size_t kSlices = 8;
using CrcTables = std::array<std::array<std::uint32_t, 256>, kSlices>;

constexpr CrcTables MakeCrcTables() {
  constexpr std::uint32_t kPolynomial = 0x82F63B78;  // CRC-32C, reflected.
  CrcTables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    tables[0][byte] = crc;
  }
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    for (std::size_t slice = 1; slice < kSlices; ++slice) {
      const std::uint32_t crc = tables[slice - 1][byte];
      tables[slice][byte] = (crc >> 8) ^ tables[0][crc & 0xFF];
    }
  }
  return tables;
}

constexpr CrcTables kCrcTables = MakeCrcTables();

}  // namespace

std::uint32_t WalChecksum(std::string_view typed) noexcept {
  std::uint32_t crc = ~std::uint32_t{0};
  for (; typed.size() >= kSlices; typed.remove_prefix(kSlices)) {
    const std::uint64_t word = LoadFixed<std::uint64_t>(typed.data()) ^ crc;
    crc = 0;
    for (std::size_t i = 0; i < kSlices; ++i) {
      crc ^= kCrcTables[kSlices - 1 - i][(word >> (8 * i)) & 0xFF];
    }
  }
  for (const char c : typed) {
    crc =
        (crc >> 8) ^ kCrcTables[0][(crc ^ static_cast<std::uint8_t>(c)) & 0xFF];
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
    if (!IsFragment(at_)) return std::nullopt;
    at_ += kWalHeadSize + size;
    return Fragment{type, {head + kWalHeadSize, size}};
  }
}

bool WalReader::IsFragment(std::size_t at) const noexcept {
  if (block_.size() < at + kWalHeadSize) return false;
  const char* const head = block_.data() + at;
  const std::size_t size = LoadFixed<std::uint16_t>(head + 4);
  return size <= block_.size() - at - kWalHeadSize &&
         LoadFixed<std::uint32_t>(head) == WalChecksum({head + 6, size + 1});
}

bool WalReader::FindMore() {
  do {
    for (; at_ + kWalHeadSize <= block_.size(); ++at_) {
      const auto type = static_cast<WalFragment>(block_[at_ + 6]);
      if (type >= WalFragment::kFull && type <= WalFragment::kLast &&
          IsFragment(at_)) {
        return true;
      }
    }
  } while (ReadBlock());
  return false;
}

bool WalReader::Resume() {
  stopped_early_ = false;
  if (IsFragment(at_)) return true;
  // Behind the fragment, if its size is right, else in the next block.
  if (block_.size() >= at_ + kWalHeadSize) {
    const std::size_t next =
        at_ + kWalHeadSize + LoadFixed<std::uint16_t>(block_.data() + at_ + 4);
    if (IsFragment(next)) {
      at_ = next;
      return true;
    }
  }
  return ReadBlock();
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
      case WalFragment::kFirst:
        if (inside) {  // It begins another record.
          at_ -= kWalHeadSize + fragment->bytes.size();
          return StopEarly();
        }
        if (fragment->type == WalFragment::kFull) return Whole(fragment->bytes);
        inside = true;
        record_ = fragment->bytes;
        break;
      case WalFragment::kMiddle:
      case WalFragment::kLast:
        if (!inside) return StopEarly();
        record_ += fragment->bytes;
        if (fragment->type == WalFragment::kLast) return Whole(record_);
        break;
      default:
        return StopEarly();
    }
  }
}

}  // namespace larder
