// A limit may be changed at any time, by another process too, so the signal is
// held back whether there is one or not: to ask for it (getrlimit, 530 ns)
// takes longer than that (two calls of 187 ns). Rejected: to ignore the signal
// in the whole process, to which it belongs.

#include "base/process_limits.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
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
    const sigset_t signal = TheSignal();
    ::pthread_sigmask(SIG_BLOCK, &signal, &old_);
    has_failed = false;
  } else if (errno == EFBIG) {
    has_failed = true;
  }
  errno = 0;
}

FileSizeSignalHeld::~FileSizeSignalHeld() {
  const int error = errno;
  if (error == EFBIG) has_failed = true;
  if (--depth > 0) return;
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
