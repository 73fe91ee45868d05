#ifndef LARDER_ENGINE_SRC_INDEX_WAL_READER_H_
#define LARDER_ENGINE_SRC_INDEX_WAL_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <rocksdb/file_system.h>

namespace larder {

/// Of RocksDB's write-ahead log, and of its manifest: fragments of records in
/// blocks, each with a head {masked CRC-32C of the rest (u32), size (u16), type
/// (u8)}, none across two blocks.
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
  explicit WalReader(std::unique_ptr<rocksdb::FSSequentialFile> file)
      : file_(std::move(file)) {}

  /// The next record, valid until the next call. nullopt where RocksDB stops
  /// reading: at the end, or at the first thing that is not a whole record.
  [[nodiscard]] std::optional<std::string_view> Next();
  /// Next has stopped before the end.
  [[nodiscard]] bool stopped_early() const noexcept { return stopped_early_; }
  /// Where the last record begins, and where it ends.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  [[nodiscard]] std::uint64_t end() const noexcept { return end_; }

  /// After Next has stopped early: whether anything behind looks as if it had
  /// been written, whatever its place. Reads the rest; no Next afterwards.
  [[nodiscard]] bool FindMore();
  /// The same for whoever wants what is behind: Next goes on there. It is a
  /// place where the damage itself cannot have put something, such as a value
  /// that is a log. false: there is nothing more.
  [[nodiscard]] bool Resume();

 private:
  struct Fragment {
    WalFragment type = WalFragment::kZero;
    std::string_view bytes;
  };
  bool ReadBlock();
  // A whole fragment is at `at` in block_.
  [[nodiscard]] bool IsFragment(std::size_t at) const noexcept;
  // nullopt: the end, or what cannot be read.
  std::optional<Fragment> NextFragment();
  std::optional<std::string_view> Whole(std::string_view record) noexcept {
    end_ = block_end_ - (block_.size() - at_);
    return record;
  }
  std::optional<std::string_view> StopEarly() noexcept {
    stopped_early_ = true;
    return std::nullopt;
  }

  const std::unique_ptr<rocksdb::FSSequentialFile> file_;
  std::string block_;
  std::size_t at_ = 0;           // In block_.
  std::uint64_t block_end_ = 0;  // In the file.
  std::string record_;           // Of several fragments.
  std::uint64_t offset_ = 0;
  std::uint64_t end_ = 0;
  bool stopped_early_ = false;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_WAL_READER_H_
