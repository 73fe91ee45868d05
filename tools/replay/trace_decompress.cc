#include "trace_decompress.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

// zstd, gzip and xz as one kind of bytes: a decoder takes input and gives
// output, DecodedSource reads the file for it. What comes from a file is not
// trusted: it may be cut or damaged anywhere.
//
// Invariants:
// 1. Bytes that a decoder gave are handed out before its error is told.
// 2. A file that ends where a frame, member or stream ends is whole; one that
//    ends elsewhere is kParseError "(truncated)". Anything else that is wrong
//    is kCorruption, and nothing is read behind it.

namespace larder::replay {
namespace {

constexpr std::size_t kInputSizeBytes = 128 * 1024;

/// What one step of a decoder did.
struct Decoded {
  std::size_t taken = 0;
  std::size_t given = 0;
  /// What is wrong with the input; empty = nothing.
  std::string error;
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Takes from `in` and gives to `out`, which is not empty. An empty `in` is
  /// the end of the file: then whole() says whether it came in time.
  virtual Decoded Decode(std::string_view in, std::span<char> out) noexcept = 0;
  /// All that began has ended.
  [[nodiscard]] virtual bool whole() const noexcept = 0;
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  /// What such a file consists of: "frame" of zstd.
  [[nodiscard]] virtual std::string_view unit() const noexcept = 0;
};

class ZstdDecoder final : public Decoder {
 public:
  ZstdDecoder() noexcept : stream_(ZSTD_createDStream()) {}

  [[nodiscard]] bool Open() const noexcept { return stream_ != nullptr; }

  Decoded Decode(std::string_view in, std::span<char> out) noexcept override {
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    const std::size_t left =
        ZSTD_decompressStream(stream_.get(), &output, &input);
    Decoded step{.taken = input.pos, .given = output.pos, .error = {}};
    if (ZSTD_isError(left) != 0) {
      step.error = ZSTD_getErrorName(left);
    } else if (step.taken > 0 || step.given > 0) {
      whole_ = left == 0;
    }
    return step;
  }
  bool whole() const noexcept override { return whole_; }
  std::string_view name() const noexcept override { return "zstd"; }
  std::string_view unit() const noexcept override { return "frame"; }

 private:
  struct Deleter {
    void operator()(ZSTD_DStream* stream) const noexcept {
      ZSTD_freeDStream(stream);
    }
  };
  std::unique_ptr<ZSTD_DStream, Deleter> stream_;
  bool whole_ = false;
};

class GzipDecoder final : public Decoder {
 public:
  GzipDecoder() noexcept {
    constexpr int kGzipOnly = 16;
    open_ = inflateInit2(&stream_, MAX_WBITS + kGzipOnly) == Z_OK;
  }
  ~GzipDecoder() override {
    if (open_) inflateEnd(&stream_);
  }
  GzipDecoder(const GzipDecoder&) = delete;
  GzipDecoder& operator=(const GzipDecoder&) = delete;

  [[nodiscard]] bool Open() const noexcept { return open_; }

  Decoded Decode(std::string_view in, std::span<char> out) noexcept override {
    if (between_members_) {
      // As gzip(1): tapes pad with zeros.
      const std::size_t zeros = std::min(in.find_first_not_of('\0'), in.size());
      if (zeros > 0) return {.taken = zeros, .given = 0, .error = {}};
      if (in.empty()) return {};
      inflateReset(&stream_);
      between_members_ = false;
    }
    // zlib does not write to its input.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int result = inflate(&stream_, Z_NO_FLUSH);
    Decoded step{.taken = in.size() - stream_.avail_in,
                 .given = out.size() - stream_.avail_out,
                 .error = {}};
    between_members_ = result == Z_STREAM_END;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      step.error = stream_.msg != nullptr ? stream_.msg : zError(result);
    }
    return step;
  }
  bool whole() const noexcept override { return between_members_; }
  std::string_view name() const noexcept override { return "gzip"; }
  std::string_view unit() const noexcept override { return "member"; }

 private:
  z_stream stream_{};
  bool open_ = false;
  bool between_members_ = false;
};

class XzDecoder final : public Decoder {
 public:
  XzDecoder() noexcept {
    open_ = lzma_stream_decoder(
                &stream_, kDecompressorMemoryBytesMax,
                LZMA_CONCATENATED | LZMA_TELL_UNSUPPORTED_CHECK) == LZMA_OK;
  }
  ~XzDecoder() override { lzma_end(&stream_); }
  XzDecoder(const XzDecoder&) = delete;
  XzDecoder& operator=(const XzDecoder&) = delete;

  [[nodiscard]] bool Open() const noexcept { return open_; }

  Decoded Decode(std::string_view in, std::span<char> out) noexcept override {
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(in.data());
    stream_.avail_in = in.size();
    stream_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream_.avail_out = out.size();
    const lzma_ret result =
        lzma_code(&stream_, in.empty() ? LZMA_FINISH : LZMA_RUN);
    Decoded step{.taken = in.size() - stream_.avail_in,
                 .given = out.size() - stream_.avail_out,
                 .error = {}};
    whole_ = result == LZMA_STREAM_END;
    if (result != LZMA_OK && result != LZMA_STREAM_END &&
        result != LZMA_BUF_ERROR) {
      step.error = Text(result);
    }
    return step;
  }
  bool whole() const noexcept override { return whole_; }
  std::string_view name() const noexcept override { return "xz"; }
  std::string_view unit() const noexcept override { return "stream"; }

 private:
  static std::string Text(lzma_ret result) {
    switch (result) {
      case LZMA_DATA_ERROR:
        return "wrong data or checksum";
      case LZMA_FORMAT_ERROR:
        return "no xz header";
      case LZMA_OPTIONS_ERROR:
        return "unknown options";
      case LZMA_UNSUPPORTED_CHECK:
        return "a checksum of an unknown kind";
      case LZMA_MEM_ERROR:
        return "no memory";
      case LZMA_MEMLIMIT_ERROR:
        return "a dictionary for which more than 256 MiB of memory are needed";
      default:
        return "error " + std::to_string(static_cast<int>(result));
    }
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool open_ = false;
  bool whole_ = false;
};

class DecodedSource final : public ByteSource {
 public:
  DecodedSource(std::unique_ptr<Decoder> decoder,
                std::unique_ptr<ByteSource> source, std::string path)
      : decoder_(std::move(decoder)),
        source_(std::move(source)),
        path_(std::move(path)) {}

  Result<std::size_t> Read(std::span<char> buffer) noexcept override {
    if (!error_.empty()) return Undecodable();
    if (ended_ || buffer.empty()) return 0;
    for (;;) {
      if (left_.empty() && !at_end_) {
        Result<std::size_t> got = source_->Read(input_);
        if (!got) return Fail(std::move(got.error()));
        left_ = std::string_view(input_.data(), *got);
        at_end_ = *got == 0;
      }
      Decoded step = decoder_->Decode(left_, buffer);
      left_.remove_prefix(step.taken);
      error_ = std::move(step.error);
      if (step.given > 0) return step.given;
      if (!error_.empty()) return Undecodable();
      if (step.taken == 0) return AtEnd();
    }
  }

 private:
  Result<std::size_t> Undecodable() noexcept {
    ended_ = true;
    return Fail(Status::Corruption(path_ + ": cannot decode " +
                                   std::string(decoder_->name()) + ": " +
                                   std::exchange(error_, {})));
  }

  /// The decoder neither took nor gave: it waits for input that is not there.
  Result<std::size_t> AtEnd() noexcept {
    ended_ = true;
    if (decoder_->whole()) return 0;
    return Fail(Status::ParseError(path_ + ": expected the rest of a " +
                                   std::string(decoder_->name()) + " " +
                                   std::string(decoder_->unit()) +
                                   ", got the end of the file (truncated)"));
  }

  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<ByteSource> source_;
  std::string path_;
  std::vector<char> input_ = std::vector<char>(kInputSizeBytes);
  std::string_view left_;
  /// Of the decoder, once what it gave before is handed out.
  std::string error_;
  bool at_end_ = false;
  bool ended_ = false;
};

template <typename T>
Result<std::unique_ptr<ByteSource>> Make(std::unique_ptr<ByteSource> source,
                                         const std::string& path) {
  auto decoder = std::make_unique<T>();
  if (!decoder->Open()) {
    return Fail(Status::Internal(path + ": no memory to decompress"));
  }
  return std::make_unique<DecodedSource>(std::move(decoder), std::move(source),
                                         path);
}

}  // namespace

Compression CompressionOf(std::string_view head) noexcept {
  using std::string_view_literals::operator""sv;
  if (head.starts_with("\x28\xB5\x2F\xFD"sv)) return Compression::kZstd;
  // A skippable frame, with which `pzstd` begins.
  if (head.size() > 3 && (head[0] & 0xF0) == 0x50 &&
      head.substr(1, 3) == "\x2A\x4D\x18"sv) {
    return Compression::kZstd;
  }
  if (head.starts_with("\x1F\x8B\x08"sv)) return Compression::kGzip;
  if (head.starts_with("\xFD"
                       "7zXZ\0"sv)) {
    return Compression::kXz;
  }
  return Compression::kNone;
}

Result<std::unique_ptr<ByteSource>> Decompress(
    Compression compression, std::unique_ptr<ByteSource> source,
    const std::string& path) {
  switch (compression) {
    case Compression::kZstd:
      return Make<ZstdDecoder>(std::move(source), path);
    case Compression::kGzip:
      return Make<GzipDecoder>(std::move(source), path);
    case Compression::kXz:
      return Make<XzDecoder>(std::move(source), path);
    case Compression::kNone:
      break;
  }
  return source;
}

}  // namespace larder::replay
