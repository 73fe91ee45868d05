#include "base/process_limits.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <ctime>
#include <system_error>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/open_file.h"
#include "base/unique_fd.h"

namespace larder {
namespace {

std::string LimitText(int resource) {
  struct rlimit limit {};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return {};
  }
  return ", now " + std::to_string(limit.rlim_cur);
}

constexpr std::uint64_t kMappingShareInverse = 4;
// Each thread that allocates takes 64 MiB for a heap of its own (glibc).
constexpr std::uint64_t kAddressShareInverse = 2;

// The first number in a file of /proc.
std::uint64_t NumberIn(const char* path, std::uint64_t otherwise) noexcept {
  const UniqueFd fd(OpenDescriptor(AT_FDCWD, path, O_RDONLY));
  std::array<char, 128> text;
  const ssize_t size = fd ? ::read(fd.get(), text.data(), text.size()) : 0;
  std::uint64_t number = otherwise;
  if (size > 0) std::from_chars(text.data(), text.data() + size, number);
  return number;
}

using std::chrono::milliseconds;

// To ask for the limit takes a system call, as each change of a thread's mask
// does: .2 to 1.1 us, of a Set that takes 9. To look at this clock takes 4 ns.
milliseconds CoarseTime() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::chrono::duration_cast<milliseconds>(
      std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

// Whether this process had a limit when it last looked, and when it looks
// again.
constinit std::atomic<bool> file_size_is_limited{true};
constinit std::atomic<milliseconds> next_look{milliseconds(0)};

bool FileSizeIsLimited() noexcept {
  const milliseconds now = CoarseTime();
  // Acquire pairs with the release: whoever does not look sees what was seen.
  if (now >= next_look.load(std::memory_order_acquire)) {
    struct rlimit limit {};
    file_size_is_limited.store(::getrlimit(RLIMIT_FSIZE, &limit) != 0 ||
                                   limit.rlim_cur != RLIM_INFINITY,
                               std::memory_order_relaxed);
    next_look.store(now + kFileSizeLimitTime, std::memory_order_release);
  }
  return file_size_is_limited.load(std::memory_order_relaxed);
}

// Scopes that this thread is in.
constinit thread_local int depth = 0;
// Whether a write in them failed for it.
constinit thread_local bool has_failed = false;

sigset_t TheSignal() noexcept {
  sigset_t signal;
  ::sigemptyset(&signal);
  ::sigaddset(&signal, SIGXFSZ);
  return signal;
}

}  // namespace

std::string LimitAdvice(int error) noexcept {
  switch (error) {
    case EMFILE:
      return " (EMFILE): raise the descriptors of this process, RLIMIT_NOFILE "
             "('ulimit -n')" +
             LimitText(RLIMIT_NOFILE);
    case ENFILE:
      return " (ENFILE): raise the open files of this machine, fs.file-max";
    case EFBIG:
      return " (EFBIG): raise the file size of this process, RLIMIT_FSIZE "
             "('ulimit -f')" +
             LimitText(RLIMIT_FSIZE);
    default:
      return {};
  }
}

std::string LimitAdvice(std::string_view message) noexcept {
  for (const int error : {EMFILE, ENFILE, EFBIG}) {
    // As RocksDB's messages have it.
    if (message.find(std::system_category().message(error)) !=
        std::string_view::npos) {
      return LimitAdvice(error);
    }
  }
  return {};
}

std::size_t MappingCountMax() noexcept {
  static constinit std::atomic<std::uint64_t> known{0};
  std::uint64_t count = known.load(std::memory_order_relaxed);
  if (count == 0) {
    count =
        NumberIn("/proc/sys/vm/max_map_count", 65530) / kMappingShareInverse;
    known.store(count, std::memory_order_relaxed);
  }
  return count;
}

bool HasAddressSpace(std::uint64_t size) noexcept {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return true;
  }
  const auto page =
      static_cast<std::uint64_t>(std::max(::sysconf(_SC_PAGESIZE), 1L));
  const std::uint64_t used = NumberIn("/proc/self/statm", 0) * page;
  return used + size <= limit.rlim_cur / kAddressShareInverse;
}

FileSizeSignalHeld::FileSizeSignalHeld() noexcept {
  if (depth++ == 0) {
    masks_ = FileSizeIsLimited();
    if (masks_) {
      const sigset_t signal = TheSignal();
      ::pthread_sigmask(SIG_BLOCK, &signal, &old_);
    }
    has_failed = false;
  } else if (errno == EFBIG) {
    has_failed = true;
  }
  errno = 0;
}

FileSizeSignalHeld::~FileSizeSignalHeld() {
  const int error = errno;
  if (error == EFBIG) has_failed = true;
  if (--depth > 0 || !masks_) return;
  // One that the application blocks itself may be its own.
  if (has_failed && ::sigismember(&old_, SIGXFSZ) == 0) {
    const sigset_t signal = TheSignal();
    const timespec at_once{};
    while (::sigtimedwait(&signal, nullptr, &at_once) < 0 && errno == EINTR) {
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &old_, nullptr);
  errno = error;
}

void FileSizeSignalHeld::HoldForEver() noexcept { ++depth; }

}  // namespace larder
