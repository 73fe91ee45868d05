// A data block, as RocksDB writes it without compression: pairs, offsets of
// restarts, an index of hashes or none, a footer of 4 bytes; then one byte for
// the compression and a checksum. Blocks lie back to back from the beginning of
// the file. A pair is three varints (bytes that its key has in common with the
// one before, other bytes of the key, bytes of the value), these bytes of the
// key, and the value; keys end in 8 bytes with a sequence number and a type.
//
// The first restart is 0, and no pair begins with two zeros, as no two keys are
// equal: so the pairs of a block tell where they end without its index. What
// follows them is known from the pairs but for the number of hashes.
//
// 1. What is visited is in a block with the right checksum.
// 2. A block begins where the one before ends, or where the index says if its
//    own checksum is right: never where a value is. So where a block is damaged
//    and the index, too, nothing behind it is looked at. That a later block is
//    found by its form was rejected: a value may have that form. The index
//    counts only where the table has its whole size: a value may end with one.
// 3. Keys only grow, from block to block too.
// 4. A block is measured before anything of it is kept, and then there is one
//    key at a time: keys may have much in common, so all of them are far more
//    than the file.

#include "repair/table_blocks.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/coding.h"
#include "base/unique_fd.h"

namespace larder {
namespace {

// Larger tables are none of ours, of which the largest have 32 MiB and a value.
constexpr std::uint64_t kTableBytesMax = std::uint64_t{256} << 20;
// A space, a tag with its size, a key, and the tail: less than this.
constexpr std::uint64_t kKeyBytesMax = 256 * 1024;
// More of them become one.
constexpr std::size_t kGapsMax = 64;
// What is read at once, and lost with a sector that cannot be.
constexpr std::size_t kReadBytes = 4096;
constexpr std::size_t kBlockTrailerSize = 5;
constexpr std::size_t kKeyTailSize = 8;
// RocksDB's default: so many pairs from one that has its whole key to the next.
constexpr std::size_t kRestartInterval = 16;
constexpr std::uint32_t kHasHashes = std::uint32_t{1} << 31;
constexpr std::size_t kFooterSize = 53;
constexpr std::uint64_t kTableMagic = 0x88e241b785f4cff7;
constexpr std::uint32_t kFormatVersion = 5;
constexpr char kChecksumXxh3 = 4;

enum class Type : std::uint8_t {
  kDeletion = 0,
  kValue = 1,
  kMerge = 2,
  kSingleDeletion = 7,
};

// The checksum of RocksDB's kXXH3 over a block and its compression byte.
std::uint32_t ChecksumOf(std::string_view block, char compression) {
  constexpr std::uint32_t kOfLastByte = 0x6b9083d9;
  return static_cast<std::uint32_t>(XXH3_64bits(block.data(), block.size())) ^
         static_cast<std::uint8_t>(compression) * kOfLastByte;
}

bool HasRightChecksum(std::string_view bytes, std::size_t block_size) {
  constexpr char kNoCompression = 0;
  if (bytes.size() - block_size < kBlockTrailerSize) return false;
  const char* const trailer = bytes.data() + block_size;
  return trailer[0] == kNoCompression &&
         LoadFixed<std::uint32_t>(trailer + 1) ==
             ChecksumOf(bytes.substr(0, block_size), trailer[0]);
}

struct Block {
  std::size_t size = 0;  // Without its trailer.
  std::size_t pairs_end = 0;
};

// What `bytes` begin with once all `pair_count` pairs were measured. RocksDB
// makes fewer than twice as many hashes.
std::optional<Block> EndOfBlock(std::string_view bytes, std::size_t pairs_end,
                                std::size_t pair_count,
                                const std::vector<std::uint32_t>& restarts) {
  ByteReader reader(bytes.substr(pairs_end));
  for (const std::uint32_t restart : restarts) {
    if (reader.Fixed<std::uint32_t>() != restart) return std::nullopt;
  }
  if (!reader.ok()) return std::nullopt;
  const auto count = static_cast<std::uint32_t>(restarts.size());
  const std::string_view rest = reader.rest();
  const std::size_t at = bytes.size() - rest.size();
  const auto has_word = [&](std::size_t offset, std::uint32_t word) {
    return rest.size() >= offset + sizeof(word) &&
           LoadFixed<std::uint32_t>(rest.data() + offset) == word;
  };
  std::size_t size = at + sizeof(count);
  if (has_word(0, count) && HasRightChecksum(bytes, size)) {
    return Block{size, pairs_end};
  }
  for (std::size_t hashes = 1; hashes <= 2 * pair_count + 1; ++hashes) {
    const std::size_t footer = hashes + sizeof(std::uint16_t);
    if (!has_word(footer, count | kHasHashes) ||
        LoadFixed<std::uint16_t>(rest.data() + hashes) != hashes) {
      continue;
    }
    size = at + footer + sizeof(count);
    if (!HasRightChecksum(bytes, size)) return std::nullopt;
    return Block{size, pairs_end};
  }
  return std::nullopt;
}

// The block that `bytes` begin with; nullopt: that is none, or a damaged one.
std::optional<Block> MeasureBlock(std::string_view bytes) {
  constexpr std::string_view kNoPair("\0\0", 2);
  std::vector<std::uint32_t> restarts;
  std::uint64_t key_size = 0;
  ByteReader reader(bytes);
  for (std::size_t count = 0;; ++count) {
    const std::size_t at = bytes.size() - reader.rest().size();
    if (count != 0 && reader.rest().starts_with(kNoPair)) {
      return EndOfBlock(bytes, at, count, restarts);
    }
    const bool restarted = count % kRestartInterval == 0;
    if (restarted) restarts.push_back(static_cast<std::uint32_t>(at));
    const std::uint64_t shared = reader.Varint();
    const std::uint64_t own = reader.Varint();
    const std::uint64_t value_size = reader.Varint();
    if (own == 0 || own > kKeyBytesMax || shared > key_size ||
        (restarted && shared != 0)) {
      return std::nullopt;
    }
    key_size = shared + own;
    if (key_size < kKeyTailSize || key_size > kKeyBytesMax) return std::nullopt;
    static_cast<void>(reader.Bytes(own));
    static_cast<void>(reader.Bytes(value_size));
    if (!reader.ok()) return std::nullopt;
  }
}

struct InternalKey {
  std::string user;
  std::uint64_t tail = 0;  // Sequence number and type.

  [[nodiscard]] bool IsAfter(const InternalKey& other) const {
    const int order = user.compare(other.user);
    return order != 0 ? order > 0 : tail < other.tail;
  }
};

// The pairs of a block that was measured, one by one.
class PairReader {
 public:
  explicit PairReader(std::string_view pairs) : reader_(pairs) {}

  bool Next() {
    if (reader_.rest().empty()) return false;
    const std::uint64_t shared = reader_.Varint();
    const std::uint64_t own = reader_.Varint();
    const std::uint64_t value_size = reader_.Varint();
    key_.resize(shared);
    key_.append(reader_.Bytes(own));
    value_ = reader_.Bytes(value_size);
    return true;
  }
  void Assign(InternalKey& key) const {
    const std::size_t size = key_.size() - kKeyTailSize;
    key.user.assign(key_, 0, size);
    key.tail = LoadFixed<std::uint64_t>(key_.data() + size);
  }
  [[nodiscard]] std::string_view value() const { return value_; }

 private:
  ByteReader reader_;
  std::string key_;
  std::string_view value_;
};

bool IsKnown(std::uint64_t tail) {
  switch (static_cast<Type>(tail & 0xFF)) {
    case Type::kDeletion:
    case Type::kValue:
    case Type::kMerge:
    case Type::kSingleDeletion:
      return true;
  }
  return false;
}

TablePair::Kind KindOf(std::uint64_t tail) {
  switch (static_cast<Type>(tail & 0xFF)) {
    case Type::kValue:
      return TablePair::Kind::kPut;
    case Type::kMerge:
      return TablePair::Kind::kMerge;
    default:
      return TablePair::Kind::kDeletion;
  }
}

struct Extent {
  std::size_t offset = 0;
  std::size_t size = 0;
};

// Where the index says that the data blocks are, which is back to back from the
// beginning; nullopt: footer or index are damaged. A pair of the index has two
// varints (none of its key in common, bytes of its key), the key, and the
// extent as two varints.
std::optional<std::vector<Extent>> ExtentsOf(std::string_view table) {
  if (table.size() < kFooterSize) return std::nullopt;
  const std::string_view footer = table.substr(table.size() - kFooterSize);
  const char* const end = footer.data() + footer.size();
  if (footer[0] != kChecksumXxh3 ||
      LoadFixed<std::uint64_t>(end - 8) != kTableMagic ||
      LoadFixed<std::uint32_t>(end - 12) != kFormatVersion) {
    return std::nullopt;
  }
  ByteReader handles(footer.substr(1));
  static_cast<void>(handles.Varint());  // Of the block of names.
  static_cast<void>(handles.Varint());
  const std::uint64_t offset = handles.Varint();
  const std::uint64_t size = handles.Varint();
  if (offset > table.size() || size > table.size() - offset ||
      size < sizeof(std::uint32_t)) {
    return std::nullopt;
  }
  if (!HasRightChecksum(table.substr(offset), size)) return std::nullopt;
  std::string_view index = table.substr(offset, size);
  const std::size_t tail = sizeof(std::uint32_t);
  const auto count = LoadFixed<std::uint32_t>(index.data() + size - tail);
  if (count > size / tail - 1) return std::nullopt;
  index.remove_suffix((std::size_t{count} + 1) * tail);
  ByteReader reader(index);
  std::vector<Extent> extents;
  std::size_t next = 0;
  while (!reader.rest().empty()) {
    const std::uint64_t shared = reader.Varint();
    static_cast<void>(reader.Bytes(reader.Varint()));
    const Extent extent{reader.Varint(), reader.Varint()};
    const std::size_t room = offset - next;
    if (!reader.ok() || shared != 0 || extent.offset != next ||
        extent.size > room || room - extent.size < kBlockTrailerSize) {
      return std::nullopt;
    }
    next += extent.size + kBlockTrailerSize;
    extents.push_back(extent);
  }
  return extents;
}

class TableScan {
 public:
  TableScan(std::string_view bytes, const TableFacts& facts,
            const VisitTablePair& visit)
      : bytes_(bytes), facts_(facts), visit_(visit) {}

  Result<std::vector<KeyGap>> Run() {
    // What a table that was cut off ends with is of somebody else.
    const bool is_whole = bytes_.size() == facts_.size.value_or(bytes_.size());
    const auto extents = is_whole ? ExtentsOf(bytes_) : std::nullopt;
    if (extents) {
      for (const Extent& extent : *extents) {
        const std::string_view block =
            bytes_.substr(extent.offset, extent.size + kBlockTrailerSize);
        const auto measured = MeasureBlock(block);
        if (measured && measured->size == extent.size &&
            IsInOrder(block, *measured)) {
          LARDER_FAIL_IF_ERROR(Visit(block, *measured));
        } else {
          is_dark_ = true;
        }
      }
    } else {
      LARDER_FAIL_IF_ERROR(FollowChain());
    }
    if (is_dark_) NoteEnd();
    return std::move(gaps_);
  }

 private:
  Status FollowChain() {
    std::string_view rest = bytes_;
    for (;;) {
      const auto block = MeasureBlock(rest);
      if (!block || !IsInOrder(rest, *block)) break;
      LARDER_RETURN_IF_ERROR(Visit(rest, *block));
      rest.remove_prefix(block->size + kBlockTrailerSize);
    }
    // Behind the last data block there are others that are none.
    is_dark_ = !any_ || !facts_.last_key || last_.user < *facts_.last_key;
    return {};
  }

  [[nodiscard]] bool IsInOrder(std::string_view bytes, const Block& block) {
    PairReader pairs(bytes.substr(0, block.pairs_end));
    InternalKey before = last_;
    InternalKey key;
    for (bool any = any_; pairs.Next(); any = true) {
      pairs.Assign(key);
      if (!IsKnown(key.tail) || (any && !key.IsAfter(before))) return false;
      std::swap(before, key);
    }
    return true;
  }

  Status Visit(std::string_view bytes, const Block& block) {
    PairReader pairs(bytes.substr(0, block.pairs_end));
    InternalKey key;
    while (pairs.Next()) {
      pairs.Assign(key);
      if (is_dark_) NoteGap(key.user);
      is_dark_ = false;
      LARDER_RETURN_IF_ERROR(
          visit_({.key = key.user,
                  .value = pairs.value(),
                  .sequence = key.tail >> 8,
                  .kind = KindOf(key.tail),
                  .is_newest = !any_ || key.user != last_.user}));
      std::swap(last_, key);
      any_ = true;
    }
    return {};
  }

  // Up to `next`, of which there may have been something newer.
  void NoteGap(const std::string& next) {
    if (gaps_.size() < kGapsMax) gaps_.push_back({After(), {}, false});
    gaps_.back().end = next + '\0';
  }
  void NoteEnd() {
    if (gaps_.size() < kGapsMax) gaps_.push_back({After(), {}, false});
    gaps_.back().end =
        facts_.last_key ? *facts_.last_key + '\0' : std::string();
    gaps_.back().to_the_end = !facts_.last_key;
  }
  [[nodiscard]] std::string After() const {
    return any_ ? last_.user + '\0' : std::string();
  }

  const std::string_view bytes_;
  const TableFacts& facts_;
  const VisitTablePair& visit_;
  InternalKey last_;  // Of the pairs that were visited.
  bool any_ = false;
  bool is_dark_ = false;  // Since then a block could not be read.
  std::vector<KeyGap> gaps_;
};

// What cannot be read is zeros; nothing if it is no table.
Result<std::string> ReadAll(const FilePlace& table) {
  std::string bytes;
  const Result<UniqueFd> file = OpenFile(table, O_RDONLY);
  struct stat info {};
  if (!file || ::fstat(file->get(), &info) != 0) return bytes;
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > kTableBytesMax) return bytes;
  try {
    bytes.resize(size);
  } catch (const std::bad_alloc&) {  // The size is what the disk says.
    return Fail(Status::IoError(table.shown.string() + ": no memory for " +
                                std::to_string(size) + " bytes"));
  }
  for (std::size_t at = 0; at < bytes.size(); at += kReadBytes) {
    const std::size_t wanted = std::min(kReadBytes, bytes.size() - at);
    static_cast<void>(::pread(file->get(), bytes.data() + at, wanted,
                              static_cast<off_t>(at)));
  }
  return bytes;
}

}  // namespace

Result<std::vector<KeyGap>> ScanTableBlocks(const FilePlace& table,
                                            const TableFacts& facts,
                                            const VisitTablePair& visit) {
  const Result<std::string> bytes = ReadAll(table);
  if (!bytes) return Fail(bytes.error());
  return TableScan(*bytes, facts, visit).Run();
}

}  // namespace larder
