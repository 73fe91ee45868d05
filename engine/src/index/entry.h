#ifndef LARDER_ENGINE_SRC_INDEX_ENTRY_H_
#define LARDER_ENGINE_SRC_INDEX_ENTRY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/container/small_vector.hpp>

#include "larder/engine/clock.h"
#include "larder/engine/command.h"
#include "larder/engine/policy.h"
#include "larder/engine/status.h"

#include "segments/segment_log.h"

namespace larder {

/// Which part of the value log an item lies in, as a number for the ledger:
/// 0 = in the index itself, odd = a run of `values`, even = a segment file.
using PlaceId = std::uint64_t;
inline constexpr PlaceId kPlaceInline = 0;
constexpr PlaceId PlaceOfRun(std::uint32_t run) noexcept {
  return (PlaceId{run} << 1) | 1;
}
constexpr PlaceId PlaceOfSegment(std::uint32_t segment) noexcept {
  return PlaceId{segment} << 1;
}
constexpr bool IsRun(PlaceId place) noexcept { return (place & 1) != 0; }
constexpr std::uint32_t PlaceNumber(PlaceId place) noexcept {
  return static_cast<std::uint32_t>(place >> 1);
}

enum class EntryKind : std::uint8_t { kInline = 0, kRun = 1, kSegments = 2 };

/// The parts of a value, in its order. Most values are in one.
using Extents = boost::container::small_vector<SegmentPlace, 1>;

/// What the column family `access` knows of one item. A decoded entry borrows
/// `tag` and `inline_value` from the bytes it was decoded from.
struct Entry {
  EntryKind kind = EntryKind::kInline;
  CodecId codec = 0;
  bool pinned = false;
  std::uint8_t frequency = 0;
  std::uint32_t epoch = 0;
  std::uint64_t version = 0;  ///< Also the position of a kRun value.
  Rank rank = 0;
  TimePoint stored_at{};
  TimePoint expires_at = kNeverExpires;
  float cost = 1.0F;
  std::string_view tag;
  std::uint64_t value_size = 0;
  std::uint32_t run = 0;          ///< kRun.
  std::uint64_t checksum = 0;     ///< kInline: XXH3 of the value.
  std::string_view inline_value;  ///< kInline.
  Extents extents;                ///< kSegments.
};

void EncodeEntry(const Entry& entry, std::string& out);
/// Errors: kCorruption.
[[nodiscard]] Status DecodeEntry(std::string_view bytes, Entry& entry);
[[nodiscard]] ItemInfo InfoOf(const Entry& entry);

/// One record of the column family `values`; its key is the position.
struct ValueRecord {
  std::string_view key;
  std::string_view value;
  CodecId codec = 0;
};
/// The bytes that go before the value: header with checksum, then the key.
void EncodeValueRecordHead(const ValueRecord& record, std::uint64_t position,
                           std::string& out);
/// Verifies the checksum. Errors: kCorruption.
[[nodiscard]] Result<ValueRecord> DecodeValueRecord(std::string_view bytes,
                                                    std::uint64_t position);
/// The key alone, unverified, for the compaction filter; nullopt if malformed.
[[nodiscard]] std::optional<std::string_view> ValueRecordKey(
    std::string_view bytes);
inline constexpr std::size_t kValueRecordHeadSize = 16;

/// Key spaces of `access`.
inline constexpr char kEntrySpace = 0;
inline constexpr char kTagSpace = 1;
inline constexpr char kExpirySpace = 2;

/// The key of an item's entry; on the stack for keys of usual length.
class EntryKey {
 public:
  explicit EntryKey(std::string_view key);
  EntryKey(const EntryKey&) = delete;
  EntryKey& operator=(const EntryKey&) = delete;
  [[nodiscard]] std::string_view bytes() const noexcept { return bytes_; }

 private:
  char small_[160];
  std::string large_;
  std::string_view bytes_;
};

/// space, length of the tag (u16 big-endian), tag, key.
[[nodiscard]] std::string TagIndexPrefix(std::string_view tag);
[[nodiscard]] std::string TagIndexKey(std::string_view tag,
                                      std::string_view key);
/// space, expiry in us (u64 big-endian), key.
[[nodiscard]] std::string ExpiryIndexKey(TimePoint expires_at,
                                         std::string_view key);
struct ExpiryIndexParts {
  TimePoint expires_at;
  std::string_view key;
};
[[nodiscard]] std::optional<ExpiryIndexParts> ParseExpiryIndexKey(
    std::string_view bytes);
struct TagIndexParts {
  std::string_view tag;
  std::string_view key;
};
[[nodiscard]] std::optional<TagIndexParts> ParseTagIndexKey(
    std::string_view bytes);

/// Bytes that RocksDB adds to a key-value pair in a table, about.
inline constexpr std::uint64_t kPairOverheadBytes = 16;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_ENTRY_H_
