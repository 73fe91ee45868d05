#ifndef LARDER_TOOLS_FILES_EXPORT_FORMAT_H_
#define LARDER_TOOLS_FILES_EXPORT_FORMAT_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/command.h"
#include "larder/engine/status.h"

#include "files/byte_sink.h"
#include "replay/trace_source.h"

/// The portable file of `larder export`, described byte by byte in
/// docs/export-format.md: a header, then frames of which each has a length and
/// a checksum, then a frame that counts what was written.

namespace larder::tools {

inline constexpr std::uint32_t kExportVersion = 1;
/// Values up to this size are in their item's frame; larger ones follow it in
/// pieces of at most this size.
inline constexpr std::size_t kExportPieceSizeBytesMax = 1 << 20;

/// An item as the file keeps it.
struct ExportItem {
  std::string key;
  std::string tag;
  std::uint64_t value_size_bytes = 0;
  TimePoint stored_at{};
  TimePoint expires_at = kNeverExpires;
  CodecId codec = 0;
  bool pinned = false;
  /// The value is in pieces; `value` is empty.
  bool in_pieces = false;
  std::string_view value;
};

/// Writes an export file.
///
/// Threads: thread-compatible. Errors: those of the sink.
class ExportWriter {
 public:
  explicit ExportWriter(std::unique_ptr<ByteSink> sink);

  [[nodiscard]] Status WriteHeader(TimePoint created_at);
  [[nodiscard]] Status WriteItem(const ExportItem& item);
  /// REQUIRES: the last item is `in_pieces` and has not ended.
  [[nodiscard]] Status WritePiece(std::string_view bytes);
  /// Ends an item in pieces. `complete` false: its value was lost on the way,
  /// and readers drop the item.
  [[nodiscard]] Status EndPieces(bool complete);
  /// Ends the file and gives it its name.
  [[nodiscard]] Status Commit();

  [[nodiscard]] std::uint64_t item_count() const { return item_count_; }
  [[nodiscard]] std::uint64_t value_bytes() const { return value_bytes_; }
  [[nodiscard]] std::uint64_t file_size_bytes() const {
    return sink_->file_size_bytes();
  }

 private:
  Status WriteFrame(std::uint8_t type, std::string_view head,
                    std::string_view body);

  std::unique_ptr<ByteSink> sink_;
  std::uint64_t item_count_ = 0;
  std::uint64_t value_bytes_ = 0;
  std::uint64_t pieces_bytes_ = 0;
};

/// What ExportReader found next.
enum class ExportFrame : std::uint8_t {
  kItem = 1,
  kPiece = 2,
  /// The pieces of an item are complete.
  kPiecesEnd = 3,
  /// The item that the last pieces belong to is to be dropped.
  kPiecesDropped = 4,
  /// The file ends here, and as it should.
  kFileEnd = 5,
};

/// Reads an export file and trusts nothing in it.
///
/// Threads: thread-compatible.
/// Errors:  kUnsupportedFormat (another version), kCorruption with the offset
///          (not an export file, truncated, damaged), those of the source.
class ExportReader {
 public:
  explicit ExportReader(std::unique_ptr<replay::ByteSource> source);

  [[nodiscard]] Status ReadHeader();
  [[nodiscard]] Result<ExportFrame> Next();
  /// After kItem; valid until the next call of Next, the key and the tag until
  /// the next kItem.
  [[nodiscard]] const ExportItem& item() const { return item_; }
  /// After kPiece; valid until the next call of Next.
  [[nodiscard]] std::string_view piece() const { return payload(); }

 private:
  Status ReadExactly(std::span<char> buffer);
  Status Damaged(std::string_view what) const;
  Status ParseItem();
  Result<ExportFrame> EndOfPieces(ExportFrame frame);
  Status ParseFileEnd();
  [[nodiscard]] std::string_view payload() const {
    return {payload_.data(), payload_.size()};
  }

  std::unique_ptr<replay::ByteSource> source_;
  std::uint64_t offset_ = 0;
  std::vector<char> payload_;
  ExportItem item_;
  bool expects_pieces_ = false;
  std::uint64_t pieces_bytes_ = 0;
  std::uint64_t item_count_ = 0;
  std::uint64_t value_bytes_ = 0;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_FILES_EXPORT_FORMAT_H_
