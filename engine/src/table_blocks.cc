// A data block, as RocksDB writes it without compression: pairs, offsets of
// restarts, an index of hashes or none, a footer of 4 bytes; then one byte for
// the compression and a checksum. Blocks lie back to back from the beginning of
// the file. A pair is three varints (bytes that its key has in common with the
// one before, other bytes of the key, bytes of the value), these bytes of the
// key, and the value; keys end in 8 bytes with a sequence number and a type.
//
// The first restart is 0, and no pair begins with two zeros, as no two keys are
// equal: so the pairs of a block tell where they end without its index.
//
// 1. What is visited is in a block with the right checksum.
// 2. Keys only grow, from block to block too: index and properties, which are
//    blocks as well, come after all pairs and begin with smaller keys, or have
//    none that end as keys of pairs do.

#include "table_blocks.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "coding.h"
#include "unique_fd.h"

namespace larder {
namespace {

// Larger tables are none of ours.
constexpr std::uint64_t kTableBytesMax = std::uint64_t{1} << 32;
// What is read at once, and lost with a sector that cannot be.
constexpr std::size_t kReadBytes = 4096;
constexpr std::size_t kTrailerSize = 5;
constexpr std::size_t kKeyTailSize = 8;
constexpr std::uint32_t kHasHashes = std::uint32_t{1} << 31;
constexpr int kTypeDeletion = 0;
constexpr int kTypeValue = 1;
constexpr int kTypeMerge = 2;
constexpr int kTypeSingleDeletion = 7;

struct Pair {
  std::string key;  // Of the user.
  std::uint64_t sequence = 0;
  int type = 0;
  std::string_view value;

  [[nodiscard]] bool IsAfter(const Pair& other) const {
    if (key != other.key) return key > other.key;
    return sequence < other.sequence;
  }
};

// The checksum of RocksDB's kXXH3 over a block and its compression byte.
std::uint32_t ChecksumOf(std::string_view block, char compression) {
  constexpr std::uint32_t kOfLastByte = 0x6b9083d9;
  return static_cast<std::uint32_t>(XXH3_64bits(block.data(), block.size())) ^
         static_cast<std::uint8_t>(compression) * kOfLastByte;
}

bool HasRightChecksum(std::string_view bytes, std::size_t block_size) {
  constexpr char kNoCompression = 0;
  if (bytes.size() - block_size < kTrailerSize) return false;
  const char* const trailer = bytes.data() + block_size;
  return trailer[0] == kNoCompression &&
         LoadFixed<std::uint32_t>(trailer + 1) ==
             ChecksumOf(bytes.substr(0, block_size), trailer[0]);
}

// The size of the block that `bytes` begin with, whose pairs end at `restarts`.
// There are not twice as many hashes as pairs.
std::optional<std::size_t> BlockSize(std::string_view bytes,
                                     std::size_t restarts,
                                     std::size_t pair_count) {
  constexpr std::size_t kWord = sizeof(std::uint32_t);
  constexpr std::size_t kBucketCount = sizeof(std::uint16_t);
  std::uint32_t last = 0;
  for (std::uint32_t count = 0;; ++count) {
    const std::size_t end = restarts + count * kWord;
    if (end + kWord > bytes.size()) return std::nullopt;
    const auto word = LoadFixed<std::uint32_t>(bytes.data() + end);
    if (count != 0) {
      const std::size_t size = end + kWord;
      if (word == count && HasRightChecksum(bytes, size)) return size;
      const std::string_view rest = bytes.substr(end);
      for (std::size_t buckets = 0; buckets <= 2 * pair_count; ++buckets) {
        const std::size_t footer = buckets + kBucketCount;
        if (footer + kWord > rest.size()) break;
        if (LoadFixed<std::uint32_t>(rest.data() + footer) ==
                (count | kHasHashes) &&
            LoadFixed<std::uint16_t>(rest.data() + buckets) == buckets &&
            HasRightChecksum(bytes, end + footer + kWord)) {
          return end + footer + kWord;
        }
      }
      if (word <= last || word >= restarts) return std::nullopt;
    } else if (word != 0) {
      return std::nullopt;
    }
    last = word;
  }
}

// Adds the next pair of a block; false: there is none.
bool ReadPair(ByteReader& reader, std::vector<Pair>& pairs, std::string& key) {
  const std::uint64_t shared = reader.Varint();
  const std::uint64_t own = reader.Varint();
  const std::uint64_t value_size = reader.Varint();
  if (own == 0 || shared > key.size()) return false;
  const std::string_view rest = reader.Bytes(own);
  Pair pair;
  pair.value = reader.Bytes(value_size);
  if (!reader.ok()) return false;
  key.resize(shared);
  key.append(rest);
  if (key.size() < kKeyTailSize) return false;
  const std::size_t user_size = key.size() - kKeyTailSize;
  const auto tail = LoadFixed<std::uint64_t>(key.data() + user_size);
  pair.type = static_cast<int>(tail & 0xFF);
  pair.sequence = tail >> 8;
  if (pair.type != kTypeDeletion && pair.type != kTypeValue &&
      pair.type != kTypeMerge && pair.type != kTypeSingleDeletion) {
    return false;
  }
  pair.key = key.substr(0, user_size);
  if (!pairs.empty() && !pair.IsAfter(pairs.back())) return false;
  pairs.push_back(std::move(pair));
  return true;
}

// The pairs of the block that `bytes` begin with, and its size without what
// comes after it; nullopt: that is no block, or a damaged one.
std::optional<std::size_t> ReadBlock(std::string_view bytes,
                                     std::vector<Pair>& pairs) {
  constexpr std::string_view kNoPair("\0\0", 2);
  pairs.clear();
  std::string key;
  ByteReader reader(bytes);
  for (;;) {
    const std::size_t at = bytes.size() - reader.rest().size();
    if (!pairs.empty() && bytes.substr(at, kNoPair.size()) == kNoPair) {
      return BlockSize(bytes, at, pairs.size());
    }
    if (!ReadPair(reader, pairs, key)) return std::nullopt;
  }
}

// What cannot be read is zeros.
Result<std::string> ReadAll(const FilePlace& table) {
  const Result<UniqueFd> file = OpenFile(table, O_RDONLY);
  if (!file) return Fail(file.error());
  struct stat info {};
  if (::fstat(file->get(), &info) != 0) {
    return Fail(Status::FromErrno(errno, table.shown.string()));
  }
  std::string bytes(
      std::min(static_cast<std::uint64_t>(info.st_size), kTableBytesMax), '\0');
  for (std::size_t at = 0; at < bytes.size(); at += kReadBytes) {
    const std::size_t size = std::min(kReadBytes, bytes.size() - at);
    static_cast<void>(
        ::pread(file->get(), bytes.data() + at, size, static_cast<off_t>(at)));
  }
  return bytes;
}

}  // namespace

Status ScanTableBlocks(const FilePlace& table, const VisitTablePair& visit) {
  const Result<std::string> bytes = ReadAll(table);
  if (!bytes) return Status::Ok();
  std::vector<Pair> pairs;
  std::optional<Pair> last;
  for (std::size_t at = 0; at < bytes->size();) {
    const auto size = ReadBlock(std::string_view(*bytes).substr(at), pairs);
    if (!size) {
      ++at;  // The next one begins anywhere.
      continue;
    }
    at += *size + kTrailerSize;
    if (last && !pairs.front().IsAfter(*last)) continue;
    for (Pair& pair : pairs) {
      const bool is_newest = !last || last->key != pair.key;
      if (is_newest && pair.type != kTypeMerge) {
        LARDER_RETURN_IF_ERROR(visit({.key = pair.key,
                                      .value = pair.value,
                                      .sequence = pair.sequence,
                                      .is_deletion = pair.type != kTypeValue}));
      }
      last = std::move(pair);
    }
  }
  return Status::Ok();
}

}  // namespace larder
