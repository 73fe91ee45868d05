// A process may have closed its standard descriptors, and the kernel gives the
// lowest free number: then a lock file or shared memory would become standard
// output, and what the application prints would be written there.
//
// 1. No descriptor of ours is ever one of 0 to 2. Opening first and moving the
//    descriptor up (F_DUPFD) would leave a moment in which another thread's
//    print hits the file; so the free ones are taken before, by descriptors
//    that can neither be read nor written.
// 2. Nor are they held longer than a call: the application may open its own
//    standard output later. A placeholder that it has replaced meanwhile (dup2)
//    is not closed.
// 3. Nothing that is not a regular file is ever read, written or waited for.

#include "base/open_file.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path_error.h"

namespace larder {
namespace {

constexpr int kStandardCount = 3;
constexpr std::chrono::microseconds kOpeningPause{50};

// The process whose turn it is to take the descriptors, 0 if nobody's; a forked
// child sees its parent's, whose thread it has not got.
constinit std::atomic<pid_t> turn{0};
// Those that are taken now, as bits.
constinit std::atomic<unsigned> placeholders{0};

// Whether `fd` can be neither read nor written but is not free.
bool IsPlaceholder(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_PATH) != 0;
}

bool IsOpen(int fd) noexcept { return ::fcntl(fd, F_GETFD) >= 0; }

bool AllInUse() noexcept {
  for (int fd = 0; fd < kStandardCount; ++fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_PATH) != 0) return false;
  }
  return true;
}

void DropPlaceholders() noexcept {
  const unsigned taken = placeholders.exchange(0);
  for (int fd = 0; fd < kStandardCount; ++fd) {
    if ((taken >> fd & 1U) != 0 && IsPlaceholder(fd)) ::close(fd);
  }
}

void TakeTurn() noexcept {
  const pid_t self = ::getpid();
  for (;;) {
    pid_t whose = 0;
    if (turn.compare_exchange_strong(whose, self)) return;
    if (whose != self && turn.compare_exchange_strong(whose, self)) {
      DropPlaceholders();  // Inherited in the middle of it.
      return;
    }
    std::this_thread::sleep_for(kOpeningPause);
  }
}

void TakePlaceholders() noexcept {
  unsigned taken = 0;
  for (int wanted = 0; wanted < kStandardCount; ++wanted) {
    if (IsOpen(wanted)) continue;
    const int fd = ::open("/", O_PATH | O_CLOEXEC);
    if (fd < 0) break;  // What is opened next fails, too, or is moved up.
    if (fd < kStandardCount) {
      taken |= 1U << fd;
      placeholders.store(taken);
    } else {
      ::close(fd);  // Another thread has just opened that one.
    }
  }
}

std::string_view FileKindOf(mode_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return "a directory";
    case S_IFLNK:
      return "a symbolic link";
    case S_IFIFO:
      return "a pipe";
    case S_IFSOCK:
      return "a socket";
    default:
      return "a device";
  }
}

Status NotAFile(mode_t mode, const std::filesystem::path& path) {
  return {StatusCode::kNotAFile,
          path.string() + " is " + std::string(FileKindOf(mode)) +
              std::string(kNotAFileText) + "; move it away and open again"};
}

}  // namespace

StandardDescriptorsTaken::StandardDescriptorsTaken() noexcept
    : locked_(!AllInUse()) {
  if (!locked_) return;
  TakeTurn();
  TakePlaceholders();
}

StandardDescriptorsTaken::~StandardDescriptorsTaken() {
  if (!locked_) return;
  const int error = errno;
  DropPlaceholders();
  turn.store(0);
  errno = error;
}

bool IsStandardDescriptor(const char* path) noexcept {
  struct stat named {};
  if (::stat(path, &named) != 0) return false;
  for (int fd = 0; fd < kStandardCount; ++fd) {
    struct stat open {};
    if (::fstat(fd, &open) == 0 && open.st_ino == named.st_ino &&
        open.st_dev == named.st_dev) {
      return true;
    }
  }
  return false;
}

int OpenDescriptor(int directory, const char* path, int flags,
                   mode_t mode) noexcept {
  const StandardDescriptorsTaken taken;
  int fd = -1;
  do {
    fd = ::openat(directory, path, flags | O_CLOEXEC | O_NOCTTY, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0 || fd >= kStandardCount) return fd;
  // The application closed one just now, or there were no placeholders.
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, kStandardCount);
  const int error = errno;
  ::close(fd);
  errno = error;
  return moved;
}

Result<UniqueFd> OpenFile(const FilePlace& place, int flags, mode_t mode,
                          std::string_view needed) noexcept {
  UniqueFd fd(OpenDescriptor(place.directory, place.name.c_str(),
                             flags | O_NOFOLLOW | O_NONBLOCK, mode));
  if (!fd) return Fail(OpenFileError(errno, place, needed));
  LARDER_FAIL_IF_ERROR(CheckIsFile(fd.get(), place));
  return fd;
}

Status CheckIsFile(int fd, const FilePlace& place) noexcept {
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    return PathError(errno, "look at", place.shown, "");
  }
  return S_ISREG(info.st_mode) ? Status::Ok()
                               : NotAFile(info.st_mode, place.shown);
}

Status OpenFileError(int error, const FilePlace& place,
                     std::string_view needed) noexcept {
  if (error == ELOOP || error == ENXIO || error == EISDIR || error == ENODEV) {
    if (Status kind = CheckNamesFile(place); !kind.ok()) return kind;
  }
  return PathError(error, "open", place.shown, needed);
}

Status CheckNamesFile(const FilePlace& place) noexcept {
  struct stat info {};
  if (::fstatat(place.directory, place.name.c_str(), &info,
                AT_SYMLINK_NOFOLLOW) != 0 ||
      S_ISREG(info.st_mode)) {
    return Status::Ok();  // Opening it says what else is wrong.
  }
  return NotAFile(info.st_mode, place.shown);
}

UniqueFd OpenDirectory(int directory, const char* path, int flags) noexcept {
  return UniqueFd(
      OpenDescriptor(directory, path, O_RDONLY | O_DIRECTORY | flags));
}

std::shared_ptr<const void> KeepByMapping(int fd) noexcept {
  constexpr std::size_t kPageSize = 4096;
  void* const page = ::mmap(nullptr, kPageSize, PROT_READ, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return nullptr;
  return {page, [](void* at) { ::munmap(at, kPageSize); }};
}

int ListDirectory(int directory, const char* path,
                  const std::function<bool(const char* name)>& visit) noexcept {
  struct Close {
    void operator()(DIR* stream) const noexcept { ::closedir(stream); }
  };
  UniqueFd fd = OpenDirectory(directory, path);
  if (!fd) return errno;
  const std::unique_ptr<DIR, Close> stream(::fdopendir(fd.get()));
  if (!stream) return errno;
  static_cast<void>(fd.Release());
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(stream.get());
    if (entry == nullptr) return errno;
    const std::string_view name(entry->d_name);
    if (name != "." && name != ".." && !visit(entry->d_name)) return 0;
  }
}

}  // namespace larder
