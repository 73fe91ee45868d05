// Membership, election and handoff.
//
// The kernel's locks on bytes of `seat.lock` decide everything, because the
// kernel releases them whatever way a process ends. The rest follows: the
// named mutex is adopted by whoever got the lock, `seat.ctl` and the holder's
// identity in the main region are for finding and for telling people.
// Rejected: pids and heartbeats (pids are reused, heartbeats cost CPU and
// depose a holder that is merely stopped), classic fcntl locks (any close of
// the file drops them), robust mutexes (a region must exist and be trusted
// before one can be used).
//
// The monitor waits inside fcntl, which only a signal can interrupt. A library
// has no signal of its own, so the thread is cancelled (pthread_cancel) there
// and nowhere else: its frames up to that call hold nothing.

#include "seat/seat.h"

#include <algorithm>
#include <cerrno>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/open_file.h"
#include "base/test_point.h"
#include "directory/directory_create.h"
#include "os/exit_guard.h"
#include "os/signal_mask.h"
#include "seat/client_region.h"
#include "seat/orphan_regions.h"

namespace larder {
namespace {

constexpr const char* kLockName = "seat.lock";
constexpr const char* kControlName = "seat.ctl";
constexpr const char* kRegionsName = "regions";
// How often another epoch is tried when a stranger has our names.
constexpr int kEpochAttemptsMax = 16;
// Pause of a monitor whose callback gave the seat back.
constexpr std::chrono::milliseconds kSeatRetryPause{100};

std::string MutexName(const SeatControl& control) {
  return EpochMutexName(control.id, control.epoch, "seat");
}

// 0.2 to 2 ms, other in each process, so that two that wait for each other
// part.
void BackOff() {
  thread_local std::minstd_rand random(
      static_cast<unsigned>(::getpid()) ^
      static_cast<unsigned>(
          std::chrono::steady_clock::now().time_since_epoch().count()));
  std::this_thread::sleep_for(std::chrono::microseconds(200 + random() % 1800));
}

std::int64_t UnixMicroseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Status ClosedInChild() {
  return Status::Closed("a forked child does not share its parent's seat");
}

Status Gone(const std::filesystem::path& directory) {
  return {StatusCode::kGone, directory.string() +
                                 " was removed, moved or replaced while it was "
                                 "open; close this cache and open it again"};
}

bool IsUnusable(const Status& status) {
  return status.code() == StatusCode::kNotFound ||
         status.code() == StatusCode::kNoSpace ||
         status.code() == StatusCode::kPermissionDenied;
}

}  // namespace

Seat::Seat(SeatOptions options,
           std::shared_ptr<DirectoryAnchor> anchor) noexcept
    : options_(std::move(options)), anchor_(std::move(anchor)) {}

Seat::~Seat() { Detach().IgnoreError(); }  // Nobody is left to be told.

std::filesystem::path Seat::ControlFile() const {
  return anchor_->Path() / kControlName;
}

Result<std::optional<SeatControl>> Seat::ReadControl() const noexcept {
  auto control = ReadSeatControl(ControlFile());
  if (!control) return Fail(NameDescriptors(control.error()));
  return control;
}

Status Seat::WriteControl() noexcept {
  return NameDescriptors(WriteSeatControl(ControlFile(), control_));
}

RegionAddress Seat::Address(RegionKind kind, std::uint64_t number) const {
  return {.directory = control_.region_directory,
          .id = control_.id,
          .epoch = control_.epoch,
          .kind = kind,
          .number = number};
}

// Through the directory that was opened, whatever has its name by now.
RegionAddress Seat::FallbackAddress(std::uint64_t client_uid) const {
  RegionAddress address = Address(RegionKind::kClient, client_uid);
  address.directory = anchor_->Path() / kRegionsName;
  return address;
}

Result<std::unique_ptr<SharedRegion>> Seat::CreateClientRegion(
    std::uint64_t uid) const noexcept {
  const auto create = [](const RegionAddress& address) {
    return SharedRegion::Create(address, sizeof(ClientRegion),
                                sizeof(ClientRegion));
  };
  auto region = create(Address(RegionKind::kClient, uid));
  if (region || !IsUnusable(region.error())) return region;
  ::mkdirat(anchor_->fd(), kRegionsName, S_IRWXU);
  auto fallback = create(FallbackAddress(uid));
  if (fallback) return fallback;
  return Fail(Status(region.error().code(),
                     region.error().message() + "; nor in the cache: " +
                         NameDescriptors(fallback.error()).message()));
}

Result<std::unique_ptr<SharedRegion>> Seat::OpenClientRegion(
    std::uint64_t uid) const noexcept {
  const auto open = [](const RegionAddress& address) {
    return SharedRegion::Open(address, SharedRegion::Access::kReadWrite);
  };
  auto region = open(Address(RegionKind::kClient, uid));
  if (region || !IsUnusable(region.error())) return region;
  return open(FallbackAddress(uid));
}

void Seat::UnlinkClientRegion(std::uint64_t uid) const noexcept {
  SharedRegion::Unlink(Address(RegionKind::kClient, uid));
  SharedRegion::Unlink(FallbackAddress(uid));
}

Result<UniqueFd> Seat::OpenLockFile(int flags) const noexcept {
  const std::filesystem::path path = options_.directory / kLockName;
  auto fd = OpenFile(FilePlace(anchor_->fd(), kLockName, path), O_RDWR | flags,
                     S_IRUSR | S_IWUSR);
  if (!fd) return fd;
  struct stat about {};
  if (::fstat(fd->get(), &about) != 0) {
    return Fail(Status::FromErrno(errno, "fstat " + path.string()));
  }
  if (about.st_uid != ::geteuid()) {
    return Fail(Status(StatusCode::kPermissionDenied,
                       path.string() + " belongs to user " +
                           std::to_string(about.st_uid) + ", not to " +
                           std::to_string(::geteuid())));
  }
  return fd;
}

Result<UniqueFd> Seat::ReopenLockFile() const noexcept {
  auto fd = OpenLockFile(0);
  if (!fd && fd.error().code() != StatusCode::kNotFound) return fd;
  if (!fd || !IsLockFile(fd->get())) return Fail(Gone(options_.directory));
  return fd;
}

Status Seat::CheckParts() const noexcept {
  return LockFileIsCurrent() ? anchor_->CheckParts() : Gone(options_.directory);
}

Result<std::unique_ptr<Seat>> Seat::Attach(
    const SeatOptions& options) noexcept {
  auto anchor = DirectoryAnchor::Open(options.directory);
  if (options.identity) {
    const bool another = anchor && (*anchor)->identity() != *options.identity;
    if (another ||
        (!anchor && anchor.error().code() == StatusCode::kNotFound)) {
      return Fail(Gone(options.directory));
    }
  }
  if (!anchor) return Fail(std::move(anchor.error()));
  std::unique_ptr<Seat> seat(new Seat(options, std::move(*anchor)));
  const SteadyTime deadline =
      std::chrono::steady_clock::now() + options.attach_timeout;
  for (;;) {
    if (ExitHasClosed()) return Fail(ExitHasClosedStatus());
    if (!seat->lock_fd_) {
      auto fd = seat->OpenLockFile(O_CREAT);
      if (!fd) return Fail(std::move(fd.error()));
      seat->lock_fd_ = ForkSafeFd(std::move(*fd));
    }
    const Result<bool> attached = seat->TryAttach();
    if (!attached) return Fail(attached.error());
    if (*attached && seat->LockFileIsCurrent()) break;
    if (*attached) {
      // Whoever made the directory gave up and took the file away.
      seat->Detach().IgnoreError();
      seat->lock_fd_.Reset();
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return Fail(Status(
          StatusCode::kSeatUnavailable,
          "cannot join the processes that use " + options.directory.string() +
              ": " +
              Describe(seat->control_.holder, StateOf(seat->control_.holder)) +
              " is the last known holder, and its shared memory in " +
              (seat->control_.region_directory.empty()
                   ? std::string("(unknown)")
                   : seat->control_.region_directory) +
              " is not visible here (another container? set a region "
              "directory that both see)"));
    }
    BackOff();
  }
  seat->EnterMembers();
  return seat;
}

// Takes an entry whose byte can be had; entries that look free first, then
// those of members that were killed. Without one we are not listed.
void Seat::EnterMembers() noexcept {
  for (const bool only_free : {true, false}) {
    for (std::size_t i = 0; i < kMemberCountMax; ++i) {
      MemberEntry& entry = main().members[i];
      if (only_free && entry.pid.load(std::memory_order_relaxed) != 0) continue;
      const Result<bool> locked =
          TryOfdLock(lock_fd_.get(), kMemberByte + i, OfdLock::kExclusive);
      if (!locked || !*locked) continue;
      const ProcessIdentity self = ProcessIdentity::Self();
      entry.start_time.store(self.start_time, std::memory_order_relaxed);
      entry.pid_namespace.store(self.pid_namespace, std::memory_order_relaxed);
      entry.since_us.store(UnixMicroseconds(), std::memory_order_relaxed);
      entry.policy.store(0, std::memory_order_relaxed);
      entry.pid.store(self.pid, std::memory_order_release);
      member_ = i;
      return;
    }
  }
}

void Seat::LeaveMembers() noexcept {
  if (!member_) return;
  main().members[*member_].pid.store(0, std::memory_order_relaxed);
  static_cast<void>(
      TryOfdLock(lock_fd_.get(), kMemberByte + *member_, OfdLock::kNone));
  member_.reset();
}

bool Seat::IsLockFile(int fd) const noexcept {
  struct stat other {};
  struct stat locked {};
  return ::fstat(fd, &other) == 0 && ::fstat(lock_fd_.get(), &locked) == 0 &&
         other.st_ino == locked.st_ino && other.st_dev == locked.st_dev;
}

bool Seat::LockFileIsCurrent() const noexcept {
  struct stat named {};
  struct stat locked {};
  return ::fstatat(anchor_->fd(), kLockName, &named, AT_SYMLINK_NOFOLLOW) ==
             0 &&
         ::fstat(lock_fd_.get(), &locked) == 0 &&
         named.st_ino == locked.st_ino && named.st_dev == locked.st_dev;
}

Result<bool> Seat::TryAttach() noexcept {
  const int fd = lock_fd_.get();
  const Result<bool> alone = TryOfdLock(fd, kAttachedByte, OfdLock::kExclusive);
  if (!alone) return alone;
  if (*alone) {
    TestPoint("attach.alone");
    Status founded = FoundEpoch();
    if (!founded.ok()) {
      RemoveTraces();
      return Fail(std::move(founded));
    }
    TestPoint("attach.founded");
    // Changing the kind of a lock of ours is atomic and cannot fail.
    return TryOfdLock(fd, kAttachedByte, OfdLock::kShared);
  }
  const Result<bool> joined = TryOfdLock(fd, kAttachedByte, OfdLock::kShared);
  if (!joined || !*joined) return joined;
  TestPoint("attach.shared");
  const Result<bool> found = JoinEpoch();
  if (found && *found) return true;
  // The founder died before its regions were there; do not stand in the way
  // of another one.
  const Result<bool> left = TryOfdLock(fd, kAttachedByte, OfdLock::kNone);
  if (!left) return left;
  return found;
}

// Nobody else is attached: what there is, is left over.
Status Seat::FoundEpoch() noexcept {
  auto old = ReadControl();
  if (!old) return std::move(old.error());
  CacheId id = options_.id;
  std::uint64_t epoch_min = 1;
  struct stat locked {};
  if (::fstat(lock_fd_.get(), &locked) != 0) {
    return Status::FromErrno(errno, "look at seat.lock");
  }
  // In a copy of a directory it names regions that others may be using.
  if (*old && (*old)->lock_inode == locked.st_ino) {
    control_ = **old;
    RemoveRegions(control_);
    TestPoint("attach.old_removed");
    epoch_min = control_.epoch + 1;
    if (id.empty()) id = control_.id;
  }
  if (id.empty()) {
    const auto random = CacheId::Random();
    if (!random) return random.error();
    id = *random;
  }
  RemoveOrphanRegions(options_.region_directory);
  RemoveOrphanRegions(anchor_->Path() / kRegionsName);
  RemoveOrphanMutexes();
  control_.boot_id = BootId();
  control_.lock_inode = locked.st_ino;
  control_.holder = {};
  LARDER_RETURN_IF_ERROR(CreateRegions(id, epoch_min));
  TestPoint("attach.regions_created");
  ++control_.serial;
  LARDER_RETURN_IF_ERROR(WriteControl());
  attached_ = true;
  return {};
}

Status Seat::CreateRegions(CacheId id, std::uint64_t epoch_min) noexcept {
  control_.id = id;
  Status last;
  const std::filesystem::path fallback = options_.directory / kRegionsName;
  for (const auto& directory : {options_.region_directory, fallback}) {
    if (directory == fallback) {
      ::mkdirat(anchor_->fd(), kRegionsName, S_IRWXU);
    }
    control_.region_directory = directory;
    for (int attempt = 0; attempt < kEpochAttemptsMax; ++attempt) {
      control_.epoch = epoch_min + static_cast<std::uint64_t>(attempt);
      auto region =
          SharedRegion::Create(Address(RegionKind::kMain, 0),
                               sizeof(MainRegion), sizeof(MainRegion));
      if (region) {
        region_ = std::move(*region);
        OpenMutex();
        return {};
      }
      last = std::move(region.error());
      // Somebody else's file has our name: try the next one.
      if (last.code() != StatusCode::kPermissionDenied) break;
    }
    if (!IsUnusable(last)) break;
  }
  return last;
}

// Whatever has its name keeps nobody out.
void Seat::OpenMutex() noexcept {
  auto opened = NamedMutex::Open(MutexName(control_));
  if (opened) seat_mutex_ = std::move(*opened);
}

// The kernel's lock is what counts: a mutex that is damaged is left alone.
void Seat::AdoptMutex() noexcept {
  if (seat_mutex_ != nullptr && !seat_mutex_->Adopt().ok()) seat_mutex_.reset();
}

void Seat::UnlockMutex() noexcept {
  if (seat_mutex_ != nullptr && !seat_mutex_->Unlock().ok()) {
    seat_mutex_.reset();
  }
}

// False: not there (yet).
Result<bool> Seat::JoinEpoch() noexcept {
  auto control = ReadControl();
  if (!control) return Fail(std::move(control.error()));
  if (!*control || (*control)->boot_id != BootId()) return false;
  control_ = std::move(**control);
  if (!options_.id.empty() && options_.id != control_.id) {
    return Fail(
        Status::Corruption((options_.directory / kControlName).string() +
                           " is of another cache; once no process has this one "
                           "open, move it away"));
  }
  auto region = SharedRegion::Open(Address(RegionKind::kMain, 0),
                                   SharedRegion::Access::kReadWrite);
  if (!region) {
    const StatusCode code = region.error().code();
    if (code == StatusCode::kNotFound || code == StatusCode::kCorruption) {
      return false;
    }
    return Fail(std::move(region.error()));
  }
  if ((*region)->size() < sizeof(MainRegion)) return false;
  region_ = std::move(*region);
  OpenMutex();
  attached_ = true;
  return true;
}

Result<bool> Seat::TryTake() noexcept {
  if (InChild()) return Fail(ClosedInChild());
  LARDER_ASSERT(!held());
  const Result<bool> locked =
      TryOfdLock(lock_fd_.get(), kSeatByte, OfdLock::kExclusive);
  if (!locked || !*locked) return locked;
  TestPoint("take.locked");
  const bool may_take = !may_take_ || may_take_();
  Status won = may_take ? Win() : Status();
  if (may_take && won.ok()) return true;
  static_cast<void>(TryOfdLock(lock_fd_.get(), kSeatByte, OfdLock::kNone));
  if (!may_take) return false;
  return Fail(std::move(won));
}

// The kernel has given us the seat: no other living process is inside.
Status Seat::Win() noexcept {
  // Of a directory that is there no more, or has become another cache's.
  LARDER_RETURN_IF_ERROR(CheckParts());
  AdoptMutex();
  TestPoint("take.adopted");
  const ProcessIdentity self = ProcessIdentity::Self();
  main().SetHolder(self);
  // Whatever space the last holder granted is nobody's from now on.
  main().log_generation.store(0, std::memory_order_release);
  main().generation.Open();
  auto control = ReadControl();
  if (control && *control) control_.serial = (*control)->serial;
  ++control_.serial;
  control_.holder = self;
  // For people only: a full disk must not keep us from serving.
  WriteControl().IgnoreError();
  TestPoint("take.told");
  // Release pairs with held().
  held_.store(true, std::memory_order_release);
  return {};
}

Status Seat::Release() noexcept {
  if (InChild()) return ClosedInChild();
  if (!held()) return {};
  main().generation.Open();
  main().SetHolder({});
  TestPoint("release.announced");
  held_.store(false, std::memory_order_release);
  UnlockMutex();
  TestPoint("release.unlocked");
  const Result<bool> freed =
      TryOfdLock(lock_fd_.get(), kSeatByte, OfdLock::kNone);
  return freed ? Status() : freed.error();
}

Status Seat::StartMonitor(SeatCallback won) noexcept {
  if (InChild()) return ClosedInChild();
  const std::lock_guard lock(monitor_mutex_);
  LARDER_CHECK(!monitor_runs_);
  won_ = std::move(won);
  monitor_stops_.store(false, std::memory_order_relaxed);
  const SignalsBlocked blocked;
  const int error = ::pthread_create(&monitor_, nullptr, &MonitorMain, this);
  if (error != 0) return Status::FromErrno(error, "start the seat's monitor");
  monitor_runs_ = true;
  return {};
}

void* Seat::MonitorMain(void* seat) {
  ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  static_cast<Seat*>(seat)->RunMonitor();
  return nullptr;
}

void Seat::RunMonitor() {
  while (!monitor_stops_.load(std::memory_order_relaxed)) {
    int ignored = 0;
    ::pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &ignored);
    const int error = WaitForExclusiveOfdLock(lock_fd_.get(), kSeatByte);
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
    if (error == 0) {
      if (monitor_stops_.load(std::memory_order_relaxed)) return;
      const bool may_take = !may_take_ || may_take_();
      const Status won = may_take ? Win() : Status();
      if (may_take && won.ok() && won_()) return;
      if (held()) Release().IgnoreError();  // The next one tries.
      static_cast<void>(TryOfdLock(lock_fd_.get(), kSeatByte, OfdLock::kNone));
      if (won.code() == StatusCode::kGone) return;
    }
    const SteadyTime until = std::chrono::steady_clock::now() + kSeatRetryPause;
    while (!monitor_stops_.load(std::memory_order_relaxed) &&
           std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
}

void Seat::StopMonitor() noexcept {
  if (InChild()) return;  // Threads are not forked.
  const std::lock_guard lock(monitor_mutex_);
  if (!monitor_runs_) return;
  monitor_stops_.store(true, std::memory_order_relaxed);
  ::pthread_cancel(monitor_);
  ::pthread_join(monitor_, nullptr);
  monitor_runs_ = false;
  // It may have been cancelled with the lock in its hand.
  if (!held()) {
    static_cast<void>(TryOfdLock(lock_fd_.get(), kSeatByte, OfdLock::kNone));
  }
}

void Seat::RemoveRegions(const SeatControl& control) noexcept {
  SharedRegion::UnlinkAll(control.region_directory, control.id, 0);
  SharedRegion::UnlinkAll(anchor_->Path() / kRegionsName, control.id, 0);
  NamedMutex::Remove(MutexName(control));
}

// What never became a cache is left as it was found. Whoever waits at the door
// meanwhile sees that the lock file is not there any more.
void Seat::RemoveTraces() noexcept {
  const int root = anchor_->fd();
  if (::faccessat(root, kStampName, F_OK, 0) == 0 || errno != ENOENT ||
      !LockFileIsCurrent()) {
    return;
  }
  ::unlinkat(root, kControlName, 0);
  ::unlinkat(root, kRegionsName, AT_REMOVEDIR);
  ::unlinkat(root, kLockName, 0);
}

Status Seat::Detach() noexcept {
  if (InChild()) return ClosedInChild();
  StopMonitor();
  Status released = Release();
  if (attached_) {
    attached_ = false;
    LeaveMembers();
    const Result<bool> last =
        TryOfdLock(lock_fd_.get(), kAttachedByte, OfdLock::kExclusive);
    TestPoint("detach.upgraded");
    if (last && *last) {
      RemoveRegions(control_);
      RemoveTraces();
    }
    TestPoint("detach.removed");
    static_cast<void>(
        TryOfdLock(lock_fd_.get(), kAttachedByte, OfdLock::kNone));
  }
  return released;
}

Status Seat::DescribeTimeout(std::string_view outcome) const noexcept {
  const ProcessIdentity holder = main().holder();
  const ProcessState state = StateOf(holder);
  const std::string what = Describe(holder, state) + " holds the seat of " +
                           options_.directory.string();
  const std::string tail = "; " + std::string(outcome);
  if (state == ProcessState::kStopped) {
    return {StatusCode::kHolderNotResponding,
            what + " and does not answer: resume it with kill -CONT " +
                std::to_string(holder.pid) + tail};
  }
  if (state == ProcessState::kBlocked) {
    return {StatusCode::kHolderNotResponding,
            what + " and does not answer: look at its disk" + tail};
  }
  if (!Generation::IsServing(main().generation.Load())) {
    return {
        StatusCode::kSeatUnavailable,
        "no process has " + options_.directory.string() + " open yet" + tail};
  }
  return {StatusCode::kTimedOut, what + "; the deadline passed" + tail};
}

}  // namespace larder
