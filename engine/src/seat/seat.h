#ifndef LARDER_ENGINE_SRC_SEAT_SEAT_H_
#define LARDER_ENGINE_SRC_SEAT_SEAT_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include "larder/engine/status.h"

#include "base/unique_fd.h"
#include "directory/directory_anchor.h"
#include "os/fork_guard.h"
#include "os/named_mutex.h"
#include "os/ofd_lock.h"
#include "os/shared_region.h"
#include "seat/main_region.h"
#include "seat/seat_control.h"

namespace larder {

/// The bytes of `seat.lock` that are locked. The file itself stays empty.
inline constexpr std::uint64_t kSeatByte = 0;
/// Held shared by everyone who is attached: whoever gets it exclusively knows
/// that nobody is.
inline constexpr std::uint64_t kAttachedByte = 1;
/// LaneByte(uid): that client is alive.
[[nodiscard]] constexpr std::uint64_t LaneByte(std::uint64_t uid) noexcept {
  return std::uint64_t{1} << 62 | uid >> 2;  // Whatever its mark is.
}
/// kMemberByte + entry: that member is alive.
inline constexpr std::uint64_t kMemberByte = 2000;

struct SeatOptions {
  std::filesystem::path directory;
  /// Where regions go if nobody is attached yet; else the others say where.
  /// If it is full or absent, they go to `directory`/regions; clients' also if
  /// that happens later.
  std::filesystem::path region_directory{kRegionDirectoryDefault};
  /// Of the directory; empty: the one in `seat.ctl`, or a new one.
  CacheId id;
  /// Which directory it must be, if that is known; else kGone.
  std::optional<FileIdentity> identity = {};
  std::chrono::milliseconds attach_timeout{10'000};
};

/// A process's membership of a cache directory, and its claim to the seat: the
/// right to have the store open. See docs/processes.md.
///
/// Invariants:
/// 1. At most one living process holds the seat, whatever dies when: the claim
///    is a lock of the kernel's. The named mutex lies on top and follows it.
/// 2. The regions of an epoch are removed only by one who knows that nobody is
///    attached, and names are not used again for another epoch.
///
/// Threads:   thread-safe, but for Detach.
/// Processes: this is what they meet at. In a forked child every call does
///            nothing (kClosed): the child attaches anew.
/// Lifetime:  Detach (or destruction) ends membership.
class Seat {
 public:
  /// Becomes a member; makes the main region if nobody else is.
  /// Errors: kSeatUnavailable (a member's regions are not visible from here,
  /// or somebody was stuck at the door), kNoSpace, kPermissionDenied,
  /// kUnsupportedFormat, kGone, kIoError.
  static Result<std::unique_ptr<Seat>> Attach(
      const SeatOptions& options) noexcept;
  ~Seat();
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

  /// Asked by whoever has just got the seat's lock, before anything is changed;
  /// false: the seat is to be another's, and the lock is given back. To be set
  /// before TryTake and StartMonitor. Must be quick.
  void SetMayTake(std::function<bool()> may_take) noexcept {
    may_take_ = std::move(may_take);
  }
  /// Takes the seat if it is free. Afterwards the generation is odd.
  [[nodiscard]] Result<bool> TryTake() noexcept;
  /// Called on the monitor's thread when this process has just got the seat.
  /// False gives it back, and the monitor tries again later.
  using SeatCallback = std::function<bool()>;
  /// Starts a thread that waits for the seat until it is free (1-2 ms after
  /// its holder died), then calls `won` and ends. Costs nothing meanwhile.
  /// REQUIRES: no monitor runs, and the seat is not held.
  [[nodiscard]] Status StartMonitor(SeatCallback won) noexcept;
  /// Ends the waiting; a callback that runs is waited for. Must not be called
  /// from the callback.
  void StopMonitor() noexcept;
  [[nodiscard]] bool held() const noexcept {
    // Acquire pairs with the release in Win: what it did is visible.
    return held_.load(std::memory_order_acquire);
  }
  /// Declares that this holder answers.
  void Serve() noexcept { main().generation.Serve(); }
  /// Gives the seat to the next. The store must be closed.
  Status Release() noexcept;

  /// Ends membership; the last one removes the regions.
  Status Detach() noexcept;

  [[nodiscard]] MainRegion& main() const noexcept {
    return *region_->At<MainRegion>(0);
  }
  /// This is the copy in a forked child.
  [[nodiscard]] bool InChild() const noexcept { return guard_.InChild(); }
  /// Names a region of this epoch.
  [[nodiscard]] RegionAddress Address(RegionKind kind,
                                      std::uint64_t number) const;
  /// Makes a client's region where all regions are, or, if there is no room,
  /// in the cache directory. Errors: those of SharedRegion.
  [[nodiscard]] Result<std::unique_ptr<SharedRegion>> CreateClientRegion(
      std::uint64_t uid) const noexcept;
  /// Opens it wherever it is. Errors: those of SharedRegion.
  [[nodiscard]] Result<std::unique_ptr<SharedRegion>> OpenClientRegion(
      std::uint64_t uid) const noexcept;
  void UnlinkClientRegion(std::uint64_t uid) const noexcept;
  /// Whether the client is alive, whatever the mark of its uid.
  [[nodiscard]] bool IsLaneAlive(std::uint64_t uid) const noexcept {
    return IsOfdLocked(lock_fd_.get(), LaneByte(uid)).value_or(true);
  }
  /// Whether another process is the member of that entry.
  [[nodiscard]] bool IsMemberAlive(std::size_t entry) const noexcept {
    return IsOfdLocked(lock_fd_.get(), kMemberByte + entry).value_or(false);
  }
  /// Our entry of MainRegion::members, if there was one to be had.
  [[nodiscard]] std::optional<std::size_t> member() const noexcept {
    return member_;
  }
  /// Opens `seat.lock` once more, for locks of another owner. Errors: kGone
  /// (it was replaced), kPermissionDenied, kIoError.
  [[nodiscard]] Result<UniqueFd> ReopenLockFile() const noexcept;
  [[nodiscard]] const CacheId& id() const noexcept { return control_.id; }
  [[nodiscard]] std::uint64_t epoch() const noexcept { return control_.epoch; }
  /// Its name: for people only.
  [[nodiscard]] const std::filesystem::path& directory() const noexcept {
    return options_.directory;
  }
  /// The way to what is in it.
  [[nodiscard]] const std::shared_ptr<DirectoryAnchor>& anchor()
      const noexcept {
    return anchor_;
  }
  /// kGone if the directory, a part of it or `seat.lock` has been removed or
  /// replaced: then nothing in it may be touched any more.
  [[nodiscard]] Status CheckParts() const noexcept;
  /// Regions lie in the cache directory, where their bytes count.
  [[nodiscard]] bool RegionsAreInDirectory() const noexcept {
    return control_.region_directory ==
           (options_.directory / "regions").string();
  }
  /// What to tell a caller whose deadline passed: kHolderNotResponding if the
  /// holder is stopped or blocked, kSeatUnavailable if there is none, else
  /// kTimedOut. `outcome` ends the message.
  [[nodiscard]] Status DescribeTimeout(std::string_view outcome) const noexcept;

 private:
  Seat(SeatOptions options, std::shared_ptr<DirectoryAnchor> anchor) noexcept;
  [[nodiscard]] Result<UniqueFd> OpenLockFile(int flags) const noexcept;
  Result<bool> TryAttach() noexcept;
  [[nodiscard]] bool IsLockFile(int fd) const noexcept;
  [[nodiscard]] bool LockFileIsCurrent() const noexcept;
  Status FoundEpoch() noexcept;
  Result<bool> JoinEpoch() noexcept;
  Status CreateRegions(CacheId id, std::uint64_t epoch_min) noexcept;
  void OpenMutex() noexcept;
  void AdoptMutex() noexcept;
  void UnlockMutex() noexcept;
  void EnterMembers() noexcept;
  void LeaveMembers() noexcept;
  Status Win() noexcept;
  void RunMonitor();
  static void* MonitorMain(void* seat);
  [[nodiscard]] RegionAddress FallbackAddress(std::uint64_t client_uid) const;
  void RemoveRegions(const SeatControl& control) noexcept;
  void RemoveTraces() noexcept;
  [[nodiscard]] std::filesystem::path ControlFile() const;
  [[nodiscard]] Result<std::optional<SeatControl>> ReadControl() const noexcept;
  Status WriteControl() noexcept;

  const SeatOptions options_;
  const std::shared_ptr<DirectoryAnchor> anchor_;
  const ForkGuard guard_;
  ForkSafeFd lock_fd_;
  SeatControl control_;
  std::unique_ptr<SharedRegion> region_;
  // May be absent (no /dev/shm, or somebody else wrote to it); the kernel's
  // lock carries the proof. Guarded by that lock.
  std::unique_ptr<NamedMutex> seat_mutex_;
  std::atomic<bool> held_{false};
  SeatCallback won_;
  std::function<bool()> may_take_;  // May be empty.
  pthread_t monitor_{};
  bool monitor_runs_ = false;  // Guarded by monitor_mutex_, as monitor_ is.
  std::mutex monitor_mutex_;
  std::atomic<bool> monitor_stops_{false};
  bool attached_ = false;
  std::optional<std::size_t> member_;  // Our entry of MainRegion::members.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEAT_SEAT_H_
