#include "byte_sink.h"

#include <cerrno>
#include <cstdio>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

namespace larder::tools {
namespace {

constexpr int kZstdLevel = 3;

class FileSink final : public ByteSink {
 public:
  FileSink(std::string path, std::string partial_path, int fd)
      : path_(std::move(path)),
        partial_path_(std::move(partial_path)),
        fd_(fd) {}
  ~FileSink() override {
    if (partial_path_.empty()) {
      return;
    }
    if (fd_ >= 0) {
      ::close(fd_);
    }
    if (!committed_) {
      ::unlink(partial_path_.c_str());
    }
  }
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;

  Status Write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count < 0) {
        return Status::FromErrno(errno, "cannot write " + path_);
      }
      bytes.remove_prefix(static_cast<std::size_t>(count));
      size_bytes_ += static_cast<std::uint64_t>(count);
    }
    return Status::Ok();
  }

  Status Commit() override {
    if (partial_path_.empty()) {
      return Status::Ok();
    }
    // What is not on the device must not replace a file that is.
    if (::fsync(fd_) != 0 && errno != EINVAL) {
      return Status::FromErrno(errno, "cannot sync " + partial_path_);
    }
    if (::close(std::exchange(fd_, -1)) != 0) {
      return Status::FromErrno(errno, "cannot close " + partial_path_);
    }
    if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) {
      return Status::FromErrno(errno, "cannot create " + path_);
    }
    committed_ = true;
    return Status::Ok();
  }

  [[nodiscard]] std::uint64_t file_size_bytes() const override {
    return size_bytes_;
  }

 private:
  std::string path_;
  std::string partial_path_;  // Empty: standard output.
  int fd_;
  bool committed_ = false;
  std::uint64_t size_bytes_ = 0;
};

class ZstdSink final : public ByteSink {
 public:
  explicit ZstdSink(std::unique_ptr<ByteSink> below)
      : below_(std::move(below)),
        context_(ZSTD_createCCtx()),
        buffer_(ZSTD_CStreamOutSize()) {
    ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, kZstdLevel);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 1);
  }
  ~ZstdSink() override { ZSTD_freeCCtx(context_); }
  ZstdSink(const ZstdSink&) = delete;
  ZstdSink& operator=(const ZstdSink&) = delete;

  Status Write(std::string_view bytes) override {
    return Feed(bytes, ZSTD_e_continue);
  }
  Status Commit() override {
    LARDER_RETURN_IF_ERROR(Feed({}, ZSTD_e_end));
    return below_->Commit();
  }
  [[nodiscard]] std::uint64_t file_size_bytes() const override {
    return below_->file_size_bytes();
  }

 private:
  Status Feed(std::string_view bytes, ZSTD_EndDirective directive) {
    ZSTD_inBuffer input = {bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer output = {buffer_.data(), buffer_.size(), 0};
      const std::size_t left =
          ZSTD_compressStream2(context_, &output, &input, directive);
      if (ZSTD_isError(left) != 0) {
        return Status::Internal(std::string("zstd: ") +
                                ZSTD_getErrorName(left));
      }
      LARDER_RETURN_IF_ERROR(
          below_->Write(std::string_view(buffer_.data(), output.pos)));
      const bool done =
          directive == ZSTD_e_end ? left == 0 : input.pos == input.size;
      if (done) {
        return Status::Ok();
      }
    }
  }

  std::unique_ptr<ByteSink> below_;
  ZSTD_CCtx* context_;
  std::vector<char> buffer_;
};

}  // namespace

Result<std::unique_ptr<ByteSink>> ByteSink::Create(
    const std::string& path, SinkCompression compression) {
  std::unique_ptr<ByteSink> sink;
  if (path == "-") {
    sink = std::make_unique<FileSink>("standard output", "", STDOUT_FILENO);
  } else {
    std::string partial_path = path + ".partial";
    const int fd = ::open(partial_path.c_str(),
                          O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
      return Fail(Status::FromErrno(errno, "cannot create " + partial_path));
    }
    sink = std::make_unique<FileSink>(path, std::move(partial_path), fd);
  }
  if (compression == SinkCompression::kZstd) {
    sink = std::make_unique<ZstdSink>(std::move(sink));
  }
  return sink;
}

}  // namespace larder::tools
