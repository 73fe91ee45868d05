#ifndef LARDER_TOOLS_REPLAY_TRACE_SOURCE_H_
#define LARDER_TOOLS_REPLAY_TRACE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/status.h"

namespace larder::replay {

/// A stream of bytes, read once from front to back.
///
/// Threads: thread-compatible.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `buffer` as far as it goes; 0 is the end. Errors: kIoError;
  /// kParseError (a compressed stream ends early; the next call is the end),
  /// kCorruption (it is damaged).
  [[nodiscard]] virtual Result<std::size_t> Read(
      std::span<char> buffer) noexcept = 0;
};

enum class Compression : std::uint8_t {
  kNone = 0,
  kZstd = 1,
  kGzip = 2,
  kXz = 3,
};

struct OpenedSource {
  std::unique_ptr<ByteSource> bytes;
  Compression compression = Compression::kNone;
};

/// Opens `path`, decompressing what starts as zstd, gzip or xz does, whatever
/// its name. Errors: those of open(2), kInternal (no memory to decompress).
[[nodiscard]] Result<OpenedSource> OpenByteSource(const std::string& path);

/// Longest line of a text trace.
inline constexpr std::size_t kLineSizeBytesMax = 256 * 1024;

/// A ByteSource with a window to look ahead in: lines and fixed records.
///
/// Threads: thread-compatible.
class BufferedSource {
 public:
  explicit BufferedSource(std::unique_ptr<ByteSource> source)
      : source_(std::move(source)) {}

  /// The next bytes without taking them: at least `size` (up to
  /// kLineSizeBytesMax) unless the stream ends or fails before.
  [[nodiscard]] std::string_view Peek(std::size_t size);
  /// After a Peek that showed too little: why, or OK at the end of the stream.
  /// A failure is told once, and drops what is left.
  [[nodiscard]] Status TakeError() noexcept;
  /// Takes `size` bytes that Peek showed.
  void Skip(std::size_t size) noexcept {
    begin_ += size;
    offset_ += size;
  }

  struct Line {
    bool end = false;       ///< There was no line any more.
    bool too_long = false;  ///< Its rest is skipped; `text` is its beginning.
    std::string_view text;  ///< Without its end ("\n", "\r\n").
  };
  /// The next line; its text is valid until the next call.
  [[nodiscard]] Result<Line> NextLine();

  /// Bytes taken so far.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  /// 1-based number of the line that NextLine gave last.
  [[nodiscard]] std::uint64_t line_number() const noexcept { return line_; }

 private:
  /// False at the end of the stream, or if it failed (error_).
  [[nodiscard]] bool Fill();
  [[nodiscard]] Result<Line> SkipLongLine();
  [[nodiscard]] std::string_view window() const noexcept {
    return std::string_view(buffer_.data(), end_).substr(begin_);
  }

  std::unique_ptr<ByteSource> source_;
  std::vector<char> buffer_ = std::vector<char>(2 * kLineSizeBytesMax);
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t line_ = 0;
  bool ended_ = false;
  Status error_;
  std::string long_line_head_;
};

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_SOURCE_H_
