#ifndef LARDER_ENGINE_SRC_WAL_READER_H_
#define LARDER_ENGINE_SRC_WAL_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <rocksdb/file_system.h>

namespace larder {

/// Of RocksDB's write-ahead log: fragments of records in blocks, each with a
/// head {masked CRC-32C of the rest (u32), size (u16), type (u8)}, none across
/// two blocks.
inline constexpr std::size_t kWalBlockSize = 32 * 1024;
inline constexpr std::size_t kWalHeadSize = 7;
enum class WalFragment : std::uint8_t {
  kZero = 0,  ///< Space that was never written.
  kFull = 1,
  kFirst = 2,
  kMiddle = 3,
  kLast = 4,
};

/// What a head says of a fragment; `typed` is its type and its bytes.
[[nodiscard]] std::uint32_t WalChecksum(std::string_view typed) noexcept;

/// The records of one write-ahead log, as RocksDB's own reader finds them.
///
/// Threads: thread-compatible.
class WalReader {
 public:
  enum class Checksums : std::uint8_t { kIgnored, kVerified };

  WalReader(std::unique_ptr<rocksdb::FSSequentialFile> file,
            Checksums checksums)
      : file_(std::move(file)), checksums_(checksums) {}

  /// The next record, valid until the next call. nullopt where RocksDB stops
  /// reading: at the end, or at the first thing that is not a whole record.
  [[nodiscard]] std::optional<std::string_view> Next();
  /// Next has stopped before the end.
  [[nodiscard]] bool stopped_early() const noexcept { return stopped_early_; }
  /// Where the last record begins.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }

 private:
  struct Fragment {
    WalFragment type = WalFragment::kZero;
    std::string_view bytes;
  };
  bool ReadBlock();
  // nullopt: the end, or what cannot be read.
  std::optional<Fragment> NextFragment();
  std::optional<std::string_view> StopEarly() noexcept {
    stopped_early_ = true;
    return std::nullopt;
  }

  const std::unique_ptr<rocksdb::FSSequentialFile> file_;
  const Checksums checksums_;
  std::string block_;
  std::size_t at_ = 0;           // In block_.
  std::uint64_t block_end_ = 0;  // In the file.
  std::string record_;           // Of several fragments.
  std::uint64_t offset_ = 0;
  bool stopped_early_ = false;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_WAL_READER_H_
