// On Linux Boost's named_mutex is a POSIX semaphore of value 1 with a name in
// /dev/shm. Its calls throw, also EINTR when a signal handler without
// SA_RESTART runs; nothing is thrown out of here.
//
// Every process of the user can write to that file, and glibc ends a process
// that gives a scribbled semaphore free ("The futex facility returned an
// unexpected error code"); one that was cut is SIGBUS. So it is read before
// each use, by a descriptor, which neither can do anything to: but for its
// count it must be as glibc makes one. The descriptor is opened for that each
// time: uses are rare, and idle caches many. What happens in the instant
// between the look and the use is beyond us.

#include "os/named_mutex.h"

#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstring>
#include <functional>
#include <utility>

#include <boost/date_time/posix_time/posix_time_types.hpp>
#include <boost/interprocess/permissions.hpp>
#include <boost/interprocess/sync/named_mutex.hpp>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/forks_held.h"
#include "base/open_file.h"
#include "base/path_error.h"
#include "base/process_limits.h"
#include "base/unique_fd.h"
#include "os/fork_guard.h"
#include "os/in_use.h"

namespace larder {
namespace {

namespace ipc = boost::interprocess;

// A new one only if somebody takes it for an orphan each time.
constexpr int kMutexAttemptsMax = 8;
// The count, with the number of those who wait.
constexpr std::size_t kCountSize = sizeof(std::uint64_t);
// Unlocked more often than that: not by us.
constexpr int kCountMax = 64;

// Calls `fn` again while a signal interrupts it.
template <std::invocable Fn>
auto CatchMutexErrors(const std::string& name, Fn&& fn) noexcept
    -> Result<std::invoke_result_t<Fn>> {
  for (;;) {
    try {
      return std::invoke(fn);
    } catch (const ipc::interprocess_exception& e) {
      if (e.get_native_error() == EINTR) continue;
      return Fail(
          Status::FromErrno(e.get_native_error(), "named mutex " + name));
    }
  }
}

std::string FileOf(const std::string& name) {
  return std::string(NamedMutex::kDirectory) + "/" + NamedMutex::kFilePrefix +
         name;
}

UniqueFd OpenFileOf(const std::string& name) noexcept {
  return UniqueFd(OpenDescriptor(AT_FDCWD, FileOf(name).c_str(),
                                 O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
}

// Another user may have made the name before us.
Status CheckOwner(const std::string& name) noexcept {
  struct stat about {};
  const std::string path = FileOf(name);
  if (::lstat(path.c_str(), &about) != 0) return {};  // Elsewhere: cannot say.
  return CheckPrivateFile(about, path);
}

// What does not change in a semaphore that processes share, as glibc makes it.
sem_t FreshSemaphore() noexcept {
  sem_t fresh;
  std::memset(&fresh, 0, sizeof(fresh));
  ::sem_init(&fresh, /*pshared=*/1, 0);
  return fresh;
}

}  // namespace

struct NamedMutex::Impl {
  explicit Impl(const std::string& its_name)
      : name(its_name),
        mutex(ipc::open_or_create, its_name.c_str(), ipc::permissions(0600)) {}

  // False: the name has gone since the mutex was opened.
  Result<bool> DeclareFileInUse() noexcept {
    UniqueFd fd = OpenFileOf(name);
    if (!fd) return errno != ENOENT;  // Elsewhere: nothing to be said.
    struct stat about {};
    if (::fstat(fd.get(), &about) != 0) {
      return Fail(Status::FromErrno(errno, "fstat " + FileOf(name)));
    }
    Result<bool> in_use = larder::DeclareInUse(fd.get(), FileOf(name));
    if (!in_use || !*in_use) return in_use;
    inode = about.st_ino;
    // Of its own: the C library's is from another open file.
    if (MappingsKeepLocks(fd.get())) page = KeepByMapping(fd.get());
    if (page == nullptr) file = ForkSafeFd(std::move(fd));
    return true;
  }

  // True unless it is known to be damaged.
  [[nodiscard]] bool IsSound() const noexcept {
    if (inode == 0) return true;  // Elsewhere: cannot say.
    const UniqueFd fd = OpenFileOf(name);
    struct stat about {};
    sem_t now;
    const sem_t fresh = FreshSemaphore();
    if (!fd || ::fstat(fd.get(), &about) != 0 || about.st_ino != inode ||
        ::pread(fd.get(), &now, sizeof(now), 0) !=
            static_cast<ssize_t>(sizeof(now))) {
      return false;
    }
    int count = 0;
    return std::memcmp(reinterpret_cast<const char*>(&now) + kCountSize,
                       reinterpret_cast<const char*>(&fresh) + kCountSize,
                       sizeof(now) - kCountSize) == 0 &&
           ::sem_getvalue(&now, &count) == 0 && count >= 0 &&
           count <= kCountMax;
  }

  std::string name;
  ipc::named_mutex mutex;
  ino_t inode = 0;  // Kept by the page or the descriptor; 0: not known.
  // Either keeps the lock that says that it is in use.
  std::shared_ptr<const void> page;
  ForkSafeFd file;
};

NamedMutex::NamedMutex(std::unique_ptr<Impl> impl) noexcept
    : impl_(std::move(impl)) {}
NamedMutex::~NamedMutex() {
  const ForksHeld forks;  // sem_close locks that list.
  impl_.reset();
}

Result<std::unique_ptr<NamedMutex>> NamedMutex::Open(
    const std::string& name) noexcept {
  for (int attempt = 0; attempt < kMutexAttemptsMax; ++attempt) {
    auto impl = CatchMutexErrors(name, [&name] {
      const StandardDescriptorsTaken taken;  // sem_open opens a file,
      const FileSizeSignalHeld held;         // writes it,
      const ForksHeld forks;                 // and locks a list of all.
      return std::make_unique<Impl>(name);
    });
    if (!impl) return Fail(std::move(impl.error()));
    LARDER_FAIL_IF_ERROR(CheckOwner(name));
    const Result<bool> in_use = (*impl)->DeclareFileInUse();
    if (!in_use) return Fail(in_use.error());
    if (*in_use) {
      return std::unique_ptr<NamedMutex>(new NamedMutex(std::move(*impl)));
    }
  }
  return Fail(Status::IoError(FileOf(name) + " goes whenever it is made"));
}

void NamedMutex::Remove(const std::string& name) noexcept {
  ipc::named_mutex::remove(name.c_str());
}

Status NamedMutex::CheckSound() const noexcept {
  if (impl_->IsSound()) return {};
  return Status::Corruption(FileOf(impl_->name) +
                            " was written to or cut by something else");
}

Result<bool> NamedMutex::TryLock() noexcept {
  LARDER_FAIL_IF_ERROR(CheckSound());
  return CatchMutexErrors(impl_->name,
                          [this] { return impl_->mutex.try_lock(); });
}

Status NamedMutex::Lock(SteadyTime deadline) noexcept {
  for (;;) {
    const auto rest = deadline - std::chrono::steady_clock::now();
    const auto slice = std::chrono::duration_cast<std::chrono::microseconds>(
        std::clamp<SteadyTime::duration>(rest, SteadyTime::duration(0),
                                         kWaitSlice));
    LARDER_RETURN_IF_ERROR(CheckSound());
    // Boost measures on the wall clock; short slices keep a jump of it short.
    const auto locked = CatchMutexErrors(impl_->name, [&] {
      return impl_->mutex.timed_lock(
          boost::posix_time::microsec_clock::universal_time() +
          boost::posix_time::microseconds(slice.count()));
    });
    if (!locked) return locked.error();
    if (*locked) return {};
    if (rest <= SteadyTime::duration(0)) {
      return {StatusCode::kTimedOut,
              "named mutex " + impl_->name + " stayed locked; not applied"};
    }
  }
}

Status NamedMutex::Adopt() noexcept {
  // Takes every unlock that was left behind: afterwards the count is 0, which
  // is "locked", and nobody but us can be the one who has it.
  for (;;) {
    const Result<bool> locked = TryLock();
    if (!locked) return locked.error();
    if (!*locked) return {};
  }
}

Status NamedMutex::Unlock() noexcept {
  LARDER_RETURN_IF_ERROR(CheckSound());
  const auto done = CatchMutexErrors(impl_->name, [this] {
    impl_->mutex.unlock();
    return true;
  });
  return done ? Status() : done.error();
}

}  // namespace larder
