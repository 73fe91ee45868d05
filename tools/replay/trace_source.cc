#include "trace_source.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "trace_decompress.h"

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

}  // namespace

Result<OpenedSource> OpenByteSource(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Fail(Status::FromErrno(errno, path));
  std::unique_ptr<ByteSource> file = std::make_unique<FileSource>(fd, path);
  std::string head;
  while (head.size() < kCompressionMagicSizeBytes) {
    char bytes[kCompressionMagicSizeBytes];
    Result<std::size_t> got = file->Read(
        std::span(bytes).first(kCompressionMagicSizeBytes - head.size()));
    if (!got) return Fail(std::move(got.error()));
    if (*got == 0) break;
    head.append(bytes, *got);
  }
  const Compression compression = CompressionOf(head);
  std::unique_ptr<ByteSource> whole =
      std::make_unique<PrefixedSource>(std::move(head), std::move(file));
  if (compression != Compression::kNone) {
    Result<std::unique_ptr<ByteSource>> decoded =
        Decompress(compression, std::move(whole), path);
    if (!decoded) return Fail(std::move(decoded.error()));
    whole = std::move(*decoded);
  }
  return OpenedSource{.bytes = std::move(whole), .compression = compression};
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
