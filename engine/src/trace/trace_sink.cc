#include <cerrno>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

#include "base/open_file.h"
#include "trace/trace_writer.h"

namespace larder {
namespace {

class FileSink final : public TraceSink {
 public:
  FileSink(int fd, std::string path) noexcept
      : fd_(fd), path_(std::move(path)) {}
  ~FileSink() override {
    if (fd_ >= 0) ::close(fd_);
  }
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;

  Status Write(std::string_view bytes) noexcept override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return Status::FromErrno(errno, path_);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return Status::Ok();
  }
  Status Close() noexcept override {
    const int result = ::close(std::exchange(fd_, -1));
    return result == 0 ? Status::Ok() : Status::FromErrno(errno, path_);
  }

 private:
  int fd_;
  std::string path_;
};

struct CompressorDeleter {
  void operator()(ZSTD_CStream* stream) const noexcept {
    ZSTD_freeCStream(stream);
  }
};

class ZstdSink final : public TraceSink {
 public:
  explicit ZstdSink(std::unique_ptr<TraceSink> file)
      : file_(std::move(file)), stream_(ZSTD_createCStream()) {}

  Status Write(std::string_view bytes) noexcept override {
    return Compress(bytes, ZSTD_e_continue);
  }
  Status Close() noexcept override {
    const Status compressed = Compress({}, ZSTD_e_end);
    const Status closed = file_->Close();
    return compressed.ok() ? closed : compressed;
  }

 private:
  Status Compress(std::string_view bytes, ZSTD_EndDirective mode) noexcept {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer out{buffer_.data(), buffer_.size(), 0};
      const std::size_t left =
          ZSTD_compressStream2(stream_.get(), &out, &in, mode);
      if (ZSTD_isError(left) != 0) {
        return Status::Internal(std::string("zstd: ") +
                                ZSTD_getErrorName(left));
      }
      LARDER_RETURN_IF_ERROR(file_->Write({buffer_.data(), out.pos}));
      if (mode == ZSTD_e_end ? left == 0 : in.pos == in.size) {
        return Status::Ok();
      }
    }
  }

  std::unique_ptr<TraceSink> file_;
  std::unique_ptr<ZSTD_CStream, CompressorDeleter> stream_;
  std::vector<char> buffer_ = std::vector<char>(ZSTD_CStreamOutSize());
};

}  // namespace

Result<std::unique_ptr<TraceSink>> OpenTraceSink(const std::string& path) {
  const int fd = OpenDescriptor(AT_FDCWD, path.c_str(),
                                O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (fd < 0) return Fail(Status::FromErrno(errno, path));
  std::unique_ptr<TraceSink> file = std::make_unique<FileSink>(fd, path);
  if (!path.ends_with(".zst")) return file;
  return std::make_unique<ZstdSink>(std::move(file));
}

}  // namespace larder
