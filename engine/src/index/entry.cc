#include "index/entry.h"

#include <xxhash.h>

#include "larder/engine/limits.h"

#include "base/coding.h"

// Layouts are stated byte by byte in docs/format.md. An entry is read on every
// Get, so its fixed part lies at fixed offsets and is loaded without a cursor.

namespace larder {
namespace {

constexpr std::uint8_t kEntryFormat = 1;
constexpr std::uint8_t kRecordFormat = 1;
constexpr std::uint8_t kKindMask = 0x03;
constexpr std::uint8_t kEntryHasExpiry = 0x04;
constexpr std::uint8_t kEntryHasTag = 0x08;
constexpr std::uint8_t kEntryPinned = 0x10;
constexpr std::uint8_t kEntryHasCost = 0x20;
// format, flags, codec, frequency, epoch, version, rank, stored at.
constexpr std::size_t kFixedSize = 4 + 4 + 8 + 8 + 8;

Status MalformedEntry(const char* what) {
  return Status::Corruption(std::string("index entry: ") + what);
}

// Header and key go into the seed, so that one pass over the value suffices.
std::uint64_t RecordChecksum(std::uint64_t head, std::string_view key,
                             std::string_view value, std::uint64_t position) {
  const std::uint64_t seed =
      XXH3_64bits_withSeed(key.data(), key.size(), head ^ position);
  return XXH3_64bits_withSeed(value.data(), value.size(), seed);
}

Status DecodePlace(ByteReader& reader, Entry& entry) {
  switch (entry.kind) {
    case EntryKind::kInline:
      entry.checksum = reader.Fixed<std::uint64_t>();
      entry.inline_value = reader.rest();
      entry.value_size = entry.inline_value.size();
      return reader.ok() ? Status::Ok()
                         : MalformedEntry("inline value cut off");
    case EntryKind::kRun:
      entry.value_size = reader.Fixed<std::uint32_t>();
      entry.run = reader.Fixed<std::uint32_t>();
      return reader.ok() ? Status::Ok() : MalformedEntry("run cut off");
    case EntryKind::kSegments:
      break;
  }
  entry.value_size = reader.Varint();
  const std::uint64_t count = reader.Varint();
  constexpr std::size_t kExtentSize = 12;
  if (!reader.ok() || count == 0 ||
      count != reader.rest().size() / kExtentSize ||
      reader.rest().size() % kExtentSize != 0) {
    return MalformedEntry("extent list has a wrong length");
  }
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    SegmentPlace place;
    place.segment = reader.Fixed<std::uint32_t>();
    place.offset = reader.Fixed<std::uint32_t>();
    place.payload_size = reader.Fixed<std::uint32_t>();
    total += place.payload_size;
    entry.extents.push_back(place);
  }
  return total == entry.value_size ? Status::Ok()
                                   : MalformedEntry("extents do not add up");
}

}  // namespace

void EncodeEntry(const Entry& entry, std::string& out) {
  auto flags = static_cast<std::uint8_t>(entry.kind);
  if (entry.expires_at != kNeverExpires) flags |= kEntryHasExpiry;
  if (!entry.tag.empty()) flags |= kEntryHasTag;
  if (entry.pinned) flags |= kEntryPinned;
  if (entry.cost != 1.0F) flags |= kEntryHasCost;
  out.push_back(static_cast<char>(kEntryFormat));
  out.push_back(static_cast<char>(flags));
  out.push_back(static_cast<char>(entry.codec));
  out.push_back(static_cast<char>(entry.frequency));
  PutFixed(out, entry.epoch);
  PutFixed(out, entry.version);
  PutFixed(out, entry.rank);
  PutFixed<std::int64_t>(out, entry.stored_at.time_since_epoch().count());
  if ((flags & kEntryHasExpiry) != 0) {
    PutFixed<std::int64_t>(out, entry.expires_at.time_since_epoch().count());
  }
  if ((flags & kEntryHasTag) != 0) {
    PutFixed(out, static_cast<std::uint16_t>(entry.tag.size()));
    out.append(entry.tag);
  }
  if ((flags & kEntryHasCost) != 0) PutFixed(out, entry.cost);
  switch (entry.kind) {
    case EntryKind::kInline:
      PutFixed(out, entry.checksum);
      out.append(entry.inline_value);
      break;
    case EntryKind::kRun:
      PutFixed(out, static_cast<std::uint32_t>(entry.value_size));
      PutFixed(out, entry.run);
      break;
    case EntryKind::kSegments:
      PutVarint(out, entry.value_size);
      PutVarint(out, entry.extents.size());
      for (const SegmentPlace& place : entry.extents) {
        PutFixed(out, place.segment);
        PutFixed(out, place.offset);
        PutFixed(out, place.payload_size);
      }
      break;
  }
}

Status DecodeEntry(std::string_view bytes, Entry& entry) {
  if (bytes.size() < kFixedSize) return MalformedEntry("too short");
  const char* at = bytes.data();
  if (static_cast<std::uint8_t>(at[0]) != kEntryFormat) {
    return MalformedEntry("unknown format byte");
  }
  const auto flags = static_cast<std::uint8_t>(at[1]);
  if ((flags & kKindMask) > static_cast<int>(EntryKind::kSegments) ||
      (flags & 0xC0) != 0) {
    return MalformedEntry("unknown flags");
  }
  entry.kind = static_cast<EntryKind>(flags & kKindMask);
  entry.pinned = (flags & kEntryPinned) != 0;
  entry.codec = static_cast<CodecId>(at[2]);
  entry.frequency = static_cast<std::uint8_t>(at[3]);
  entry.epoch = LoadFixed<std::uint32_t>(at + 4);
  entry.version = LoadFixed<std::uint64_t>(at + 8);
  entry.rank = LoadFixed<std::uint64_t>(at + 16);
  entry.stored_at = TimePoint(Duration(LoadFixed<std::int64_t>(at + 24)));
  ByteReader reader(bytes.substr(kFixedSize));
  entry.expires_at = (flags & kEntryHasExpiry) != 0
                         ? TimePoint(Duration(reader.Fixed<std::int64_t>()))
                         : kNeverExpires;
  entry.tag = {};
  if ((flags & kEntryHasTag) != 0) {
    entry.tag = reader.Bytes(reader.Fixed<std::uint16_t>());
  }
  entry.cost = (flags & kEntryHasCost) != 0 ? reader.Fixed<float>() : 1.0F;
  entry.extents.clear();
  if (!reader.ok()) return MalformedEntry("optional fields cut off");
  return DecodePlace(reader, entry);
}

ItemInfo InfoOf(const Entry& entry) {
  ItemInfo info;
  info.size_bytes = entry.value_size;
  info.version = entry.version;
  info.stored_at = entry.stored_at;
  info.expires_at = entry.expires_at;
  info.tag = std::string(entry.tag);
  info.frequency = entry.frequency;
  info.codec = entry.codec;
  info.pinned = entry.pinned;
  return info;
}

void EncodeValueRecordHead(const ValueRecord& record, std::uint64_t position,
                           std::string& out) {
  const std::uint64_t head = kRecordFormat | std::uint64_t{record.codec} << 8 |
                             static_cast<std::uint64_t>(record.key.size())
                                 << 32;
  PutFixed(out, RecordChecksum(head, record.key, record.value, position));
  PutFixed(out, head);
  out.append(record.key);
}

std::optional<std::string_view> ValueRecordKey(std::string_view bytes) {
  if (bytes.size() < kValueRecordHeadSize ||
      static_cast<std::uint8_t>(bytes[8]) != kRecordFormat) {
    return std::nullopt;
  }
  const auto key_size = LoadFixed<std::uint32_t>(bytes.data() + 12);
  if (key_size > bytes.size() - kValueRecordHeadSize) return std::nullopt;
  return bytes.substr(kValueRecordHeadSize, key_size);
}

Result<ValueRecord> DecodeValueRecord(std::string_view bytes,
                                      std::uint64_t position) {
  const std::optional<std::string_view> key = ValueRecordKey(bytes);
  if (!key) return Fail(Status::Corruption("value record: malformed header"));
  ValueRecord record;
  record.key = *key;
  record.value = bytes.substr(kValueRecordHeadSize + key->size());
  record.codec = static_cast<CodecId>(bytes[9]);
  const auto stored = LoadFixed<std::uint64_t>(bytes.data());
  if (stored != RecordChecksum(LoadFixed<std::uint64_t>(bytes.data() + 8),
                               record.key, record.value, position)) {
    return Fail(Status::Corruption("value record: checksum mismatch"));
  }
  return record;
}

EntryKey::EntryKey(std::string_view key) {
  if (key.size() < sizeof(small_)) {
    small_[0] = kEntrySpace;
    key.copy(small_ + 1, key.size());
    bytes_ = std::string_view(small_, key.size() + 1);
  } else {
    large_.reserve(key.size() + 1);
    large_.push_back(kEntrySpace);
    large_.append(key);
    bytes_ = large_;
  }
}

std::string TagIndexPrefix(std::string_view tag) {
  std::string out(1, kTagSpace);
  out.push_back(static_cast<char>(tag.size() >> 8));
  out.push_back(static_cast<char>(tag.size() & 0xFF));
  out.append(tag);
  return out;
}

std::string TagIndexKey(std::string_view tag, std::string_view key) {
  std::string out = TagIndexPrefix(tag);
  out.append(key);
  return out;
}

std::string ExpiryIndexKey(TimePoint expires_at, std::string_view key) {
  // Expiries before 1970 sort before all others: the sign bit is flipped.
  const auto micros =
      static_cast<std::uint64_t>(expires_at.time_since_epoch().count()) ^
      (std::uint64_t{1} << 63);
  std::string out(1, kExpirySpace);
  out.resize(9);
  StoreBigEndian64(out.data() + 1, micros);
  out.append(key);
  return out;
}

std::optional<ExpiryIndexParts> ParseExpiryIndexKey(std::string_view bytes) {
  if (bytes.size() < 9 || bytes[0] != kExpirySpace) return std::nullopt;
  const std::uint64_t micros =
      LoadBigEndian64(bytes.data() + 1) ^ (std::uint64_t{1} << 63);
  return ExpiryIndexParts{
      TimePoint(Duration(static_cast<std::int64_t>(micros))), bytes.substr(9)};
}

std::optional<TagIndexParts> ParseTagIndexKey(std::string_view bytes) {
  if (bytes.size() < 3 || bytes[0] != kTagSpace) return std::nullopt;
  const std::size_t size = (static_cast<std::uint8_t>(bytes[1]) << 8) |
                           static_cast<std::uint8_t>(bytes[2]);
  if (bytes.size() < 3 + size) return std::nullopt;
  return TagIndexParts{bytes.substr(3, size), bytes.substr(3 + size)};
}

}  // namespace larder
