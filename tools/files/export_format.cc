// The export file. What always holds in a file that a writer committed:
//   1. Every byte after the header is in a frame whose checksum covers type,
//      length and payload.
//   2. Pieces follow their item directly, up to a frame that ends them; the
//      sizes of complete ones add up to the item's value size.
//   3. The last frame counts the items that are not dropped and their value
//      bytes, and nothing follows it. A file without it is truncated.

#include "files/export_format.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>
#include <xxhash.h>

#include "larder/engine/limits.h"

namespace larder::tools {
namespace {

constexpr std::string_view kMagic("\x89LARDEX\n", 8);
constexpr std::size_t kHeaderSizeBytes = 32;
constexpr std::size_t kFrameHeaderSizeBytes = 16;
constexpr std::size_t kItemHeadSizeBytes = 36;
constexpr std::size_t kPayloadSizeBytesMax =
    kItemHeadSizeBytes + kKeySizeBytesMax + kTagSizeBytesMax +
    kExportPieceSizeBytesMax;

constexpr std::uint8_t kFlagPinned = 1;
constexpr std::uint8_t kFlagInPieces = 2;

template <typename Integer>
void PutInteger(std::string& to, Integer value) {
  for (std::size_t i = 0; i < sizeof(Integer); ++i) {
    to += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
}

/// REQUIRES: `bytes` holds at least `offset` + sizeof(Integer) bytes.
template <typename Integer>
Integer GetInteger(std::string_view bytes, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Integer); ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(bytes[offset + i])}
             << (8 * i);
  }
  return static_cast<Integer>(value);
}

struct FreeFrameHash {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

std::uint64_t FrameChecksum(std::string_view type_and_length,
                            std::string_view head, std::string_view body) {
  const std::unique_ptr<XXH3_state_t, FreeFrameHash> state(XXH3_createState());
  XXH3_64bits_reset(state.get());
  for (const std::string_view part : {type_and_length, head, body}) {
    XXH3_64bits_update(state.get(), part.data(), part.size());
  }
  return XXH3_64bits_digest(state.get());
}

std::int64_t Microseconds(TimePoint time) {
  return time.time_since_epoch().count();
}

}  // namespace

ExportWriter::ExportWriter(std::unique_ptr<ByteSink> sink)
    : sink_(std::move(sink)) {}

Status ExportWriter::WriteHeader(TimePoint created_at) {
  std::string header(kMagic);
  PutInteger(header, kExportVersion);
  PutInteger(header, std::uint32_t{0});
  PutInteger(header, Microseconds(created_at));
  PutInteger(header, XXH3_64bits(header.data(), header.size()));
  return sink_->Write(header);
}

Status ExportWriter::WriteFrame(std::uint8_t type, std::string_view head,
                                std::string_view body) {
  std::string frame;
  PutInteger(frame, std::uint32_t{type});
  PutInteger(frame, static_cast<std::uint32_t>(head.size() + body.size()));
  PutInteger(frame, FrameChecksum(frame, head, body));
  frame += head;
  LARDER_RETURN_IF_ERROR(sink_->Write(frame));
  return sink_->Write(body);
}

Status ExportWriter::WriteItem(const ExportItem& item) {
  std::string head;
  PutInteger(head, item.value_size_bytes);
  PutInteger(head, Microseconds(item.stored_at));
  PutInteger(head, Microseconds(item.expires_at));
  PutInteger(head, static_cast<std::uint32_t>(item.key.size()));
  PutInteger(head, static_cast<std::uint16_t>(item.tag.size()));
  PutInteger(head, item.codec);
  PutInteger(head,
             static_cast<std::uint8_t>((item.pinned ? kFlagPinned : 0) |
                                       (item.in_pieces ? kFlagInPieces : 0)));
  PutInteger(head, std::uint32_t{0});
  head += item.key;
  head += item.tag;
  pieces_bytes_ = 0;
  if (!item.in_pieces) {
    ++item_count_;
    value_bytes_ += item.value.size();
  }
  return WriteFrame(static_cast<std::uint8_t>(ExportFrame::kItem), head,
                    item.value);
}

Status ExportWriter::WritePiece(std::string_view bytes) {
  pieces_bytes_ += bytes.size();
  return WriteFrame(static_cast<std::uint8_t>(ExportFrame::kPiece), {}, bytes);
}

Status ExportWriter::EndPieces(bool complete) {
  if (complete) {
    ++item_count_;
    value_bytes_ += pieces_bytes_;
  }
  const ExportFrame frame =
      complete ? ExportFrame::kPiecesEnd : ExportFrame::kPiecesDropped;
  return WriteFrame(static_cast<std::uint8_t>(frame), {}, {});
}

Status ExportWriter::Commit() {
  std::string counts;
  PutInteger(counts, item_count_);
  PutInteger(counts, value_bytes_);
  LARDER_RETURN_IF_ERROR(
      WriteFrame(static_cast<std::uint8_t>(ExportFrame::kFileEnd), counts, {}));
  return sink_->Commit();
}

ExportReader::ExportReader(std::unique_ptr<replay::ByteSource> source)
    : source_(std::move(source)) {}

Status ExportReader::Damaged(std::string_view what) const {
  return Status::Corruption(
      fmt::format("export file damaged before offset {}: {}", offset_, what));
}

Status ExportReader::ReadExactly(std::span<char> buffer) {
  std::size_t filled = 0;
  while (filled < buffer.size()) {
    const auto count = source_->Read(buffer.subspan(filled));
    if (!count && count.error().code() == StatusCode::kParseError) {
      return Damaged("truncated, make the export again");
    }
    if (!count) {
      return count.error();
    }
    if (*count == 0) {
      return Damaged("truncated, make the export again");
    }
    filled += *count;
    offset_ += *count;
  }
  return Status::Ok();
}

Status ExportReader::ReadHeader() {
  std::array<char, kHeaderSizeBytes> buffer{};
  if (const Status read = ReadExactly(buffer); !read.ok()) {
    return read.code() == StatusCode::kCorruption
               ? Status::Corruption("not an export file, too short")
               : read;
  }
  const std::string_view header(buffer.data(), buffer.size());
  if (!header.starts_with(kMagic)) {
    return Status::Corruption("not an export file of larder");
  }
  if (const auto version = GetInteger<std::uint32_t>(header, 8);
      version != kExportVersion) {
    return Status(StatusCode::kUnsupportedFormat,
                  fmt::format("export file of version {}, this larder reads {}",
                              version, kExportVersion));
  }
  if (GetInteger<std::uint64_t>(header, 24) != XXH3_64bits(header.data(), 24)) {
    return Damaged("checksum of the header");
  }
  return Status::Ok();
}

Result<ExportFrame> ExportReader::Next() {
  std::array<char, kFrameHeaderSizeBytes> buffer{};
  LARDER_FAIL_IF_ERROR(ReadExactly(buffer));
  const std::string_view header(buffer.data(), buffer.size());
  const auto type = GetInteger<std::uint32_t>(header, 0);
  const auto length = GetInteger<std::uint32_t>(header, 4);
  if (length > kPayloadSizeBytesMax) {
    return Fail(Damaged(fmt::format("frame of {} bytes, at most {}", length,
                                    kPayloadSizeBytesMax)));
  }
  payload_.resize(length);
  LARDER_FAIL_IF_ERROR(ReadExactly(payload_));
  if (GetInteger<std::uint64_t>(header, 8) !=
      FrameChecksum(header.substr(0, 8), payload(), {})) {
    return Fail(Damaged("checksum of a frame"));
  }
  const auto frame = static_cast<ExportFrame>(type);
  const bool is_piece = type >= 2 && type <= 4;
  if (type < 1 || type > 5 || is_piece != expects_pieces_) {
    return Fail(Damaged(fmt::format("frame of type {} out of place", type)));
  }
  if (frame == ExportFrame::kItem) {
    LARDER_FAIL_IF_ERROR(ParseItem());
  } else if (frame == ExportFrame::kPiece) {
    pieces_bytes_ += payload_.size();
  } else if (frame == ExportFrame::kFileEnd) {
    LARDER_FAIL_IF_ERROR(ParseFileEnd());
  } else {
    return EndOfPieces(frame);
  }
  return frame;
}

Status ExportReader::ParseItem() {
  const std::string_view bytes = payload();
  if (bytes.size() < kItemHeadSizeBytes) {
    return Damaged("item too short");
  }
  const auto key_size = GetInteger<std::uint32_t>(bytes, 24);
  const auto tag_size = GetInteger<std::uint16_t>(bytes, 28);
  const auto flags = GetInteger<std::uint8_t>(bytes, 31);
  if (key_size > kKeySizeBytesMax || tag_size > kTagSizeBytesMax ||
      bytes.size() - kItemHeadSizeBytes < key_size + std::size_t{tag_size}) {
    return Damaged("item with a key or tag out of bounds");
  }
  item_.value_size_bytes = GetInteger<std::uint64_t>(bytes, 0);
  item_.stored_at = TimePoint(Duration(GetInteger<std::int64_t>(bytes, 8)));
  item_.expires_at = TimePoint(Duration(GetInteger<std::int64_t>(bytes, 16)));
  item_.codec = GetInteger<std::uint8_t>(bytes, 30);
  item_.pinned = (flags & kFlagPinned) != 0;
  item_.in_pieces = (flags & kFlagInPieces) != 0;
  item_.key = bytes.substr(kItemHeadSizeBytes, key_size);
  item_.tag = bytes.substr(kItemHeadSizeBytes + key_size, tag_size);
  item_.value = bytes.substr(kItemHeadSizeBytes + key_size + tag_size);
  const std::uint64_t size_here = item_.in_pieces ? 0 : item_.value_size_bytes;
  if (item_.value.size() != size_here) {
    return Damaged("item whose value has another size");
  }
  expects_pieces_ = item_.in_pieces;
  pieces_bytes_ = 0;
  if (!item_.in_pieces) {
    ++item_count_;
    value_bytes_ += item_.value.size();
  }
  return Status::Ok();
}

Result<ExportFrame> ExportReader::EndOfPieces(ExportFrame frame) {
  expects_pieces_ = false;
  if (frame == ExportFrame::kPiecesEnd) {
    if (pieces_bytes_ != item_.value_size_bytes) {
      return Fail(Damaged("pieces that do not add up to their value"));
    }
    ++item_count_;
    value_bytes_ += pieces_bytes_;
  }
  return frame;
}

Status ExportReader::ParseFileEnd() {
  if (payload_.size() != 16 ||
      GetInteger<std::uint64_t>(payload(), 0) != item_count_ ||
      GetInteger<std::uint64_t>(payload(), 8) != value_bytes_) {
    return Damaged("counts at the end of the file");
  }
  std::array<char, 1> beyond{};
  const auto count = source_->Read(beyond);
  if (!count) {
    return count.error();
  }
  return *count == 0 ? Status::Ok() : Damaged("bytes after its end");
}

}  // namespace larder::tools
