#include "trace_source.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

// Files and zstd streams as one kind of bytes. What comes from a file is not
// trusted: a zstd stream may be cut or damaged anywhere, and a window larger
// than zstd's default bound (128 MiB) is refused by the library.

namespace larder::replay {
namespace {

class FileSource final : public ByteSource {
 public:
  FileSource(int fd, std::string path) noexcept
      : fd_(fd), path_(std::move(path)) {}
  ~FileSource() override { ::close(fd_); }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  Result<std::size_t> Read(std::span<char> buffer) noexcept override {
    for (;;) {
      const ssize_t got = ::read(fd_, buffer.data(), buffer.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) return Fail(Status::FromErrno(errno, path_));
    }
  }

 private:
  int fd_;
  std::string path_;
};

/// Gives back first what was read ahead to tell the kind of file.
class PrefixedSource final : public ByteSource {
 public:
  PrefixedSource(std::string prefix, std::unique_ptr<ByteSource> rest) noexcept
      : prefix_(std::move(prefix)), rest_(std::move(rest)) {}

  Result<std::size_t> Read(std::span<char> buffer) noexcept override {
    if (taken_ == prefix_.size()) return rest_->Read(buffer);
    const std::size_t size = std::min(buffer.size(), prefix_.size() - taken_);
    std::memcpy(buffer.data(), prefix_.data() + taken_, size);
    taken_ += size;
    return size;
  }

 private:
  std::string prefix_;
  std::size_t taken_ = 0;
  std::unique_ptr<ByteSource> rest_;
};

struct DecompressorDeleter {
  void operator()(ZSTD_DStream* stream) const noexcept {
    ZSTD_freeDStream(stream);
  }
};

class ZstdSource final : public ByteSource {
 public:
  ZstdSource(std::unique_ptr<ByteSource> source, std::string path)
      : source_(std::move(source)),
        path_(std::move(path)),
        stream_(ZSTD_createDStream()) {}

  Result<std::size_t> Read(std::span<char> buffer) noexcept override {
    if (ended_ || buffer.empty()) return 0;
    ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size) {
        Result<std::size_t> got = source_->Read(input_);
        if (!got) return Fail(std::move(got.error()));
        in_ = {input_.data(), *got, 0};
        if (*got == 0) return AtEndOfInput();
      }
      const std::size_t left = ZSTD_decompressStream(stream_.get(), &out, &in_);
      if (ZSTD_isError(left) != 0) {
        ended_ = true;
        return Fail(Status::Corruption(
            path_ + ": damaged zstd stream: " + ZSTD_getErrorName(left)));
      }
      inside_frame_ = left != 0;
    }
    return out.pos;
  }

 private:
  Result<std::size_t> AtEndOfInput() noexcept {
    ended_ = true;
    if (!inside_frame_) return 0;
    return Fail(Status::ParseError(
        path_ +
        ": expected the rest of a zstd frame, got the end of the file "
        "(truncated)"));
  }

  std::unique_ptr<ByteSource> source_;
  std::string path_;
  std::unique_ptr<ZSTD_DStream, DecompressorDeleter> stream_;
  std::vector<char> input_ = std::vector<char>(ZSTD_DStreamInSize());
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool inside_frame_ = false;
  bool ended_ = false;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Fail(Status::FromErrno(errno, path));
  std::unique_ptr<ByteSource> file = std::make_unique<FileSource>(fd, path);
  constexpr std::string_view kZstdMagic = "\x28\xB5\x2F\xFD";
  std::string head;
  while (head.size() < kZstdMagic.size()) {
    char bytes[kZstdMagic.size()];
    Result<std::size_t> got =
        file->Read(std::span(bytes).first(kZstdMagic.size() - head.size()));
    if (!got) return Fail(std::move(got.error()));
    if (*got == 0) break;
    head.append(bytes, *got);
  }
  const bool is_zstd = head == kZstdMagic;
  std::unique_ptr<ByteSource> whole =
      std::make_unique<PrefixedSource>(std::move(head), std::move(file));
  if (!is_zstd) return whole;
  return std::make_unique<ZstdSource>(std::move(whole), path);
}

bool BufferedSource::Fill() {
  if (ended_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  Result<std::size_t> got = source_->Read(std::span(buffer_).subspan(end_));
  ended_ = !got || *got == 0;
  if (!got) error_ = std::move(got.error());
  if (got) end_ += *got;
  return !ended_;
}

std::string_view BufferedSource::Peek(std::size_t size) {
  while (end_ - begin_ < size && Fill()) {
  }
  return window();
}

Status BufferedSource::TakeError() noexcept {
  if (!error_.ok()) Skip(end_ - begin_);
  return std::exchange(error_, Status::Ok());
}

Result<BufferedSource::Line> BufferedSource::NextLine() {
  Line line;
  std::size_t searched = 0;
  for (;;) {
    const std::size_t at = window().find('\n', searched);
    if (at != std::string_view::npos) {
      line.text = window().substr(0, at);
      Skip(at + 1);
      break;
    }
    searched = end_ - begin_;
    if (searched >= kLineSizeBytesMax) return SkipLongLine();
    if (Fill()) continue;
    LARDER_FAIL_IF_ERROR(TakeError());
    line.text = window();
    line.end = line.text.empty();
    Skip(line.text.size());
    break;
  }
  if (!line.end) ++line_;
  if (line.text.ends_with('\r')) line.text.remove_suffix(1);
  return line;
}

Result<BufferedSource::Line> BufferedSource::SkipLongLine() {
  long_line_head_.assign(window().substr(0, 64));
  ++line_;
  for (;;) {
    const std::size_t at = window().find('\n');
    if (at != std::string_view::npos) {
      Skip(at + 1);
      break;
    }
    Skip(end_ - begin_);
    if (Fill()) continue;
    LARDER_FAIL_IF_ERROR(TakeError());
    break;
  }
  return Line{.end = false, .too_long = true, .text = long_line_head_};
}

}  // namespace larder::replay
