#include "stores/value_files.h"

#include <array>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace larder::bench {

namespace {

constexpr int kFileMode = 0644;

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) noexcept : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

Result<std::string> RandomName() {
  std::array<unsigned char, 16> random{};
  if (::getrandom(random.data(), random.size(), 0) !=
      static_cast<ssize_t>(random.size())) {
    return Fail(Status::FromErrno(errno, "getrandom"));
  }
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string name;
  for (std::size_t i = 0; i < random.size(); ++i) {
    name.push_back(kHexDigits[random[i] >> 4]);
    name.push_back(kHexDigits[random[i] & 0xF]);
    if (i < 2) {
      name.push_back('/');
    }
  }
  return name + ".val";
}

int CreateFile(const std::filesystem::path& path) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  const int fd = ::open(path.c_str(), kFlags, kFileMode);
  if (fd >= 0 || errno != ENOENT) {
    return fd;
  }
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  return ::open(path.c_str(), kFlags, kFileMode);
}

}  // namespace

Result<std::string> ValueFiles::Write(std::string_view value) {
  Result<std::string> name = RandomName();
  if (!name) {
    return name;
  }
  const std::filesystem::path path = directory_ / *name;
  const FileDescriptor file(CreateFile(path));
  if (file.get() < 0) {
    return Fail(Status::FromErrno(errno, "cannot create " + path.string()));
  }
  for (std::string_view left = value; !left.empty();) {
    const ssize_t written = ::write(file.get(), left.data(), left.size());
    if (written < 0) {
      return Fail(Status::FromErrno(errno, "cannot write " + path.string()));
    }
    left.remove_prefix(static_cast<std::size_t>(written));
  }
  return name;
}

Status ValueFiles::Read(std::string_view name, std::string& buffer) const {
  const std::filesystem::path path = directory_ / name;
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) {
    return Status::FromErrno(errno, "cannot open " + path.string());
  }
  buffer.resize(static_cast<std::size_t>(info.st_size));
  for (std::size_t at = 0; at < buffer.size();) {
    const ssize_t count =
        ::read(file.get(), buffer.data() + at, buffer.size() - at);
    if (count <= 0) {
      return Status::FromErrno(count < 0 ? errno : EIO,
                               "cannot read " + path.string());
    }
    at += static_cast<std::size_t>(count);
  }
  return Status::Ok();
}

void ValueFiles::Delete(std::string_view name) const noexcept {
  const std::filesystem::path path = directory_ / name;
  ::unlink(path.c_str());
  const std::filesystem::path inner = path.parent_path();
  if (::rmdir(inner.c_str()) == 0) {
    ::rmdir(inner.parent_path().c_str());
  }
}

}  // namespace larder::bench
