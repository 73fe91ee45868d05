// The view from outside. Locks on bytes of `seat.lock` say who lives, as for
// the members themselves; what the regions say is only reported. They are
// mapped for reading, so a look can do no harm.

#include "larder/engine/attached.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "base/open_file.h"
#include "base/unique_fd.h"
#include "directory/directory_create.h"
#include "hot/hot_layout.h"
#include "os/ofd_lock.h"
#include "os/process_identity.h"
#include "seat/main_region.h"
#include "seat/seat.h"
#include "seat/seat_control.h"

namespace larder {
namespace {

std::uint64_t Load(const std::atomic<std::uint64_t>& figure) {
  return figure.load(std::memory_order_relaxed);
}

TimePoint TimeAt(std::uint64_t unix_us) {
  return TimePoint(Duration(static_cast<Duration::rep>(unix_us)));
}

AttachedState StateFor(ProcessState state) {
  switch (state) {
    case ProcessState::kRunning:
      return AttachedState::kRunning;
    case ProcessState::kStopped:
      return AttachedState::kStopped;
    case ProcessState::kBlocked:
      return AttachedState::kBlocked;
    default:
      return AttachedState::kUnknown;
  }
}

// Reads one main region into a view.
class Reader {
 public:
  Reader(int lock_fd, MainRegion& main, SeatControl control)
      : lock_fd_(lock_fd), main_(main), control_(std::move(control)) {}

  AttachedView Read() {
    ReadMembers();
    ReadSlots();
    ReadFigures();
    ReadHotTier();
    AttachedView view;
    view.serving = Generation::IsServing(main_.generation.Load()) &&
                   IsOfdLocked(lock_fd_, kSeatByte).value_or(false);
    view.region_directory = control_.region_directory;
    view.figures = figures_;
    view.policy = main_.policy.set_name.Load();
    view.policy_running = main_.policy.running_name.Load();
    for (auto& [key, process] : processes_) {
      view.processes.push_back(std::move(process));
    }
    std::stable_sort(view.processes.begin(), view.processes.end(),
                     [](const AttachedProcess& a, const AttachedProcess& b) {
                       return a.holds_seat > b.holds_seat;
                     });
    return view;
  }

 private:
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // Pid, its namespace.

  AttachedProcess* Find(const ProcessIdentity& identity) {
    const auto it = processes_.find({identity.pid, identity.pid_namespace});
    return it == processes_.end() ? nullptr : &it->second;
  }

  // One process may be attached several times; its first time counts.
  void Add(const ProcessIdentity& identity, const MemberEntry& entry) {
    const ProcessState state = StateOf(identity);
    if (state == ProcessState::kDead || Find(identity) != nullptr) return;
    AttachedProcess process;
    process.pid = identity.pid;
    process.state = StateFor(state);
    process.since = TimeAt(static_cast<std::uint64_t>(
        entry.since_us.load(std::memory_order_relaxed)));
    const ProcessIdentity holder = main_.holder();
    process.holds_seat = holder == identity;
    // Acquire pairs with PolicyOffers::Publish: the names are read later.
    const std::uint64_t set = main_.policy.set.load(std::memory_order_acquire);
    process.has_policy =
        set != 0 &&
        set == Load(process.holds_seat ? main_.policy.running : entry.policy);
    processes_.emplace(Key(identity.pid, identity.pid_namespace),
                       std::move(process));
  }

  void ReadMembers() {
    for (std::size_t i = 0; i < kMemberCountMax; ++i) {
      const MemberEntry& entry = main_.members[i];
      const ProcessIdentity identity{
          .pid = Load(entry.pid),
          .start_time = Load(entry.start_time),
          .pid_namespace = Load(entry.pid_namespace)};
      if (identity.pid == 0 ||
          !IsOfdLocked(lock_fd_, kMemberByte + i).value_or(false)) {
        continue;
      }
      Add(identity, entry);
    }
  }

  void ReadSlots() {
    for (std::size_t i = 0; i < kSlotCountMax; ++i) {
      const ClientSlot& slot = main_.slots[i];
      if (!IsMarked(Load(slot.uid), LaneMark::kReady)) continue;
      AttachedProcess* const process =
          Find({.pid = Load(slot.pid),
                .start_time = Load(slot.start_time),
                .pid_namespace = Load(slot.pid_namespace)});
      if (process == nullptr) continue;
      process->slots.push_back(i);
      process->requests += Load(slot.requests);
      process->bytes += Load(slot.bytes);
    }
  }

  void ReadFigures() {
    const ServerFigures& from = main_.figures;
    figures_.requests = Load(from.requests);
    figures_.commands = Load(from.commands);
    figures_.groups = Load(from.groups);
    figures_.cancelled = Load(from.cancelled);
    figures_.clients_evicted = Load(from.clients_evicted);
    figures_.bytes_in = Load(from.bytes_in);
    figures_.bytes_out = Load(from.bytes_out);
    figures_.takeovers = Load(from.takeovers);
    for (std::size_t i = 0; i < figures_.service_time.size(); ++i) {
      figures_.service_time[i] = Load(from.service_time[i]);
    }
    // Acquire pairs with the holder's release: the rest is there.
    const std::uint64_t published =
        main_.total(StoreTotal::kPublishedAtUs).load(std::memory_order_acquire);
    if (published == 0) return;
    const auto total = [this](StoreTotal which) {
      return Load(main_.total(which));
    };
    figures_.store = {.published_at = TimeAt(published),
                      .count = total(StoreTotal::kCount),
                      .live_bytes = total(StoreTotal::kLiveBytes),
                      .disk_bytes = total(StoreTotal::kDiskBytes),
                      .size_limit = total(StoreTotal::kSizeLimit),
                      .hits = total(StoreTotal::kHits),
                      .misses = total(StoreTotal::kMisses),
                      .sets = total(StoreTotal::kSets),
                      .deletes = total(StoreTotal::kDeletes),
                      .evictions = total(StoreTotal::kEvictions),
                      .expirations = total(StoreTotal::kExpirations)};
  }

  // Without one, or with one that is just going, there are no figures of it.
  void ReadHotTier() {
    RegionAddress address{.directory = control_.region_directory,
                          .id = control_.id,
                          .epoch = control_.epoch,
                          .kind = RegionKind::kTouch,
                          .number = Load(main_.hot_number)};
    if (address.number == 0) return;
    const auto touch =
        SharedRegion::Open(address, SharedRegion::Access::kReadOnly);
    if (!touch || (*touch)->size() < sizeof(HotTouchHeader)) return;
    for (const HotStripe& stripe : (*touch)->At<HotTouchHeader>(0)->stripes) {
      figures_.hot_hits += Load(stripe.hits);
      figures_.hot_misses += Load(stripe.misses);
    }
    address.kind = RegionKind::kHot;
    std::error_code error;
    const auto size = std::filesystem::file_size(address.Path(), error);
    figures_.hot_size_bytes = error ? 0 : size;
  }

  const int lock_fd_;
  MainRegion& main_;
  const SeatControl control_;
  std::map<Key, AttachedProcess> processes_;
  AttachedFigures figures_;
};

// The lock file; no descriptor if there is a cache that was never open.
Result<UniqueFd> OpenForReading(const std::filesystem::path& path) {
  const std::string file = path / "seat.lock";
  auto fd = OpenFile(FilePlace(file), O_RDONLY);
  if (fd || fd.error().code() != StatusCode::kNotFound) return fd;
  if (::access((path / kStampName).c_str(), F_OK) == 0) return UniqueFd();
  return Fail(Status::NotFound("there is no cache in " + path.string()));
}

}  // namespace

Result<AttachedView> ReadAttached(const std::filesystem::path& path) noexcept {
  const auto lock = OpenForReading(path);
  if (!lock) return Fail(lock.error());
  AttachedView nobody;
  if (!*lock) return nobody;
  const Result<bool> attached = IsOfdLocked(lock->get(), kAttachedByte);
  if (!attached) return Fail(attached.error());
  if (!*attached) return nobody;
  auto control = ReadSeatControl(path / "seat.ctl");
  if (!control) return Fail(std::move(control.error()));
  if (!*control || (*control)->boot_id != BootId()) return nobody;
  nobody.region_directory = (*control)->region_directory;
  const auto region =
      SharedRegion::Open({.directory = (*control)->region_directory,
                          .id = (*control)->id,
                          .epoch = (*control)->epoch,
                          .kind = RegionKind::kMain,
                          .number = 0},
                         SharedRegion::Access::kReadOnly);
  if (!region) {
    // The first is just making it, or the last has just removed it.
    if (region.error().code() == StatusCode::kNotFound) return nobody;
    return Fail(region.error());
  }
  if ((*region)->size() < sizeof(MainRegion)) {
    return Fail(Status::Corruption((*region)->path().string() + " is cut off"));
  }
  return Reader(lock->get(), *(*region)->At<MainRegion>(0),
                std::move(**control))
      .Read();
}

}  // namespace larder
