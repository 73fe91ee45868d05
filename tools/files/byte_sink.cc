#include "files/byte_sink.h"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "commands/cache_access.h"
#include "commands/interruption.h"

namespace larder::tools {
namespace {

constexpr int kZstdLevel = 3;

// What is written as it is.
class OpenSink final : public ByteSink {
 public:
  OpenSink(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~OpenSink() override {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenSink(const OpenSink&) = delete;
  OpenSink& operator=(const OpenSink&) = delete;

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
    return ::close(std::exchange(fd_, -1)) == 0
               ? Status::Ok()
               : Status::FromErrno(errno, "cannot close " + path_);
  }
  // What is not on the device must not replace a file that is.
  Status Sync() {
    return ::fsync(fd_) == 0 ? Status::Ok()
                             : Status::FromErrno(errno, "cannot sync " + path_);
  }
  [[nodiscard]] std::uint64_t file_size_bytes() const override {
    return size_bytes_;
  }

 private:
  const std::string path_;
  int fd_;
  std::uint64_t size_bytes_ = 0;
};

// A regular file, or one that is not there yet.
class FileSink final : public ByteSink {
 public:
  FileSink(std::string path, std::string partial_path, int fd)
      : path_(std::move(path)),
        partial_path_(std::move(partial_path)),
        partial_(partial_path_, fd) {}
  ~FileSink() override {
    if (!committed_) {
      ::unlink(partial_path_.c_str());
    }
  }
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;

  Status Write(std::string_view bytes) override {
    if (Interruption::signal() != 0) {
      return {StatusCode::kAborted, "interrupted"};
    }
    return partial_.Write(bytes);
  }
  Status Commit() override {
    LARDER_RETURN_IF_ERROR(partial_.Sync());
    LARDER_RETURN_IF_ERROR(partial_.Commit());
    if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) {
      return Status::FromErrno(errno, "cannot create " + path_);
    }
    committed_ = true;
    return Status::Ok();
  }
  [[nodiscard]] std::uint64_t file_size_bytes() const override {
    return partial_.file_size_bytes();
  }

 private:
  const Interruption interruption_;  // While there is a partial file.
  const std::string path_;
  const std::string partial_path_;
  OpenSink partial_;
  bool committed_ = false;
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

// Where a path leads: a descriptor of this process, or a name that is no link.
struct Target {
  int descriptor = -1;
  std::filesystem::path path;
};

Result<Target> TargetOf(std::filesystem::path path) {
  constexpr int kLinksMax = 40;  // As the kernel's.
  const auto descriptors =
      std::filesystem::path("/proc") / std::to_string(::getpid()) / "fd";
  std::error_code error;
  for (int i = 0; i < kLinksMax; ++i) {
    const auto parent = std::filesystem::canonical(
        path.has_parent_path() ? path.parent_path() : ".", error);
    if (error) return Fail(Status::FromErrno(error.value(), path.string()));
    path = parent / path.filename();
    if (parent == descriptors) {
      Target target;
      const std::string name = path.filename();
      std::from_chars(name.data(), name.data() + name.size(),
                      target.descriptor);
      return target;
    }
    if (!std::filesystem::is_symlink(path, error)) return Target{-1, path};
    path = parent / std::filesystem::read_symlink(path, error);
    if (error) return Fail(Status::FromErrno(error.value(), path.string()));
  }
  return Fail(Status::FromErrno(ELOOP, path.string()));
}

Result<std::unique_ptr<ByteSink>> MakeOpenSink(const std::string& path,
                                               int fd) {
  if (fd < 0) return Fail(Status::FromErrno(errno, "cannot open " + path));
  return std::make_unique<OpenSink>(path, fd);
}

// Beside `path`, under a name that nobody has.
Result<std::unique_ptr<ByteSink>> MakeFileSink(const std::string& path,
                                               const struct stat* replaced) {
  constexpr int kAttemptsMax = 100;
  const std::string name = path + ".partial";
  std::string partial_path = name;
  int fd = -1;
  for (int i = 1; i < kAttemptsMax; ++i) {
    fd = ::open(partial_path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                replaced != nullptr ? 0600 : 0666);
    if (fd >= 0 || errno != EEXIST) break;
    partial_path = name + std::to_string(i);
  }
  if (fd < 0) {
    return Fail(Status::FromErrno(errno, "cannot create " + partial_path));
  }
  auto sink = std::make_unique<FileSink>(path, std::move(partial_path), fd);
  // It may be somebody's who must be able to read it; root alone can say so.
  if (replaced != nullptr &&
      (::fchown(fd, replaced->st_uid, replaced->st_gid) == 0 ||
       replaced->st_uid == ::geteuid()) &&
      ::fchmod(fd, replaced->st_mode & 07777U) != 0) {
    return Fail(Status::FromErrno(errno, "cannot set the mode of " + path));
  }
  return sink;
}

Result<std::unique_ptr<ByteSink>> MakeSink(const std::string& path) {
  if (path == "-") {
    return MakeOpenSink("standard output",
                        ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
  }
  const auto target = TargetOf(path);
  if (!target) return Fail(target.error());
  if (target->descriptor >= 0) {
    return MakeOpenSink(path, ::fcntl(target->descriptor, F_DUPFD_CLOEXEC, 0));
  }
  LARDER_FAIL_IF_ERROR(CheckNotInCache(target->path.parent_path()));
  struct stat info {};
  if (::stat(target->path.c_str(), &info) != 0) {
    return MakeFileSink(target->path, nullptr);
  }
  if (S_ISREG(info.st_mode)) return MakeFileSink(target->path, &info);
  return MakeOpenSink(path, ::open(path.c_str(), O_WRONLY | O_CLOEXEC));
}

}  // namespace

bool ByteSink::IsStandardOutput(const std::string& path) {
  if (path == "-") return true;
  const auto target = TargetOf(path);
  return target && target->descriptor == STDOUT_FILENO;
}

Result<std::unique_ptr<ByteSink>> ByteSink::Create(
    const std::string& path, SinkCompression compression) {
  auto sink = MakeSink(path);
  if (sink && compression == SinkCompression::kZstd) {
    sink = std::make_unique<ZstdSink>(*std::move(sink));
  }
  return sink;
}

}  // namespace larder::tools
