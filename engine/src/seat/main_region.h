#ifndef LARDER_ENGINE_SRC_SEAT_MAIN_REGION_H_
#define LARDER_ENGINE_SRC_SEAT_MAIN_REGION_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "os/doorbell.h"
#include "os/futex.h"
#include "os/lane_queue.h"
#include "os/process_identity.h"
#include "os/shared_region.h"

/// The layout of the main region of a cache, which every attached process has
/// mapped for reading and writing.

namespace larder {

/// Which holder serves. Odd or 0: the seat is free or being taken, wait. Even:
/// that holder answers. Each holder has a number of its own, so a client knows
/// from it that its request must be sent again. Also the futex of those who
/// wait.
///
/// Processes: only the holder changes it. If it dies, the next one does.
class Generation {
 public:
  [[nodiscard]] std::uint32_t Load() const noexcept {
    // Acquire pairs with Set: what the holder prepared is visible.
    return word_.load(std::memory_order_acquire);
  }
  [[nodiscard]] static bool IsServing(std::uint32_t value) noexcept {
    return value % 2 == 0 && value != 0;
  }
  /// For a new holder: the next odd number.
  void Open() noexcept {
    const std::uint32_t old = word_.load(std::memory_order_relaxed);
    Set(old + (old % 2 == 0 ? 1 : 2));
  }
  /// For a holder that is ready: the next even number.
  void Serve() noexcept {
    Set((word_.load(std::memory_order_relaxed) | 1) + 1);
  }
  /// Sleeps while it is still `seen`.
  void WaitWhile(std::uint32_t seen,
                 std::chrono::nanoseconds timeout) const noexcept {
    FutexWait(word_, seen, timeout);
  }

 private:
  void Set(std::uint32_t value) noexcept {
    word_.store(value, std::memory_order_release);
    FutexWake(word_);
  }
  std::atomic<std::uint32_t> word_{0};  // 0: nobody has served yet.
};

/// A place for a client (a lane). Taken by a change of `uid` from 0 to the
/// client's; it names the client and with it its region, which is there unless
/// the mark is kBegun. Who has it is alive while its byte of `seat.lock` is
/// locked (LaneByte).
struct alignas(64) ClientSlot {
  std::atomic<std::uint64_t> uid;
  std::atomic<std::uint64_t> pid;  ///< With the next two for people only.
  std::atomic<std::uint64_t> start_time;
  std::atomic<std::uint64_t> pid_namespace;
  std::atomic<std::uint64_t> requests;  ///< Answered by holders.
  std::atomic<std::uint64_t> bytes;     ///< Of requests and answers.
  std::uint64_t reserved[2];
};
static_assert(sizeof(ClientSlot) == 64);

/// One attached process, also one that never asked the holder for anything.
/// Taken by holding the lock on its byte of `seat.lock`; for people only.
struct MemberEntry {
  std::atomic<std::uint64_t> pid;  ///< 0 = free.
  std::atomic<std::uint64_t> start_time;
  std::atomic<std::uint64_t> pid_namespace;
  std::atomic<std::int64_t> since_us;  ///< When it attached, Unix time.
  /// PolicyWords::set if it can run that, else 0, and when it said so last.
  std::atomic<std::uint64_t> policy;
  std::atomic<std::int64_t> offered_at_ns;  ///< CLOCK_MONOTONIC.
};
static_assert(sizeof(MemberEntry) == 48);
/// More processes than that may attach; the rest are not listed.
inline constexpr std::size_t kMemberCountMax = 2048;

/// The beginning of a name, for people. Zeros behind it.
class SharedName {
 public:
  void Store(std::string_view name) noexcept {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      std::uint64_t word = 0;
      const std::size_t at = std::min(i * sizeof(word), name.size());
      std::memcpy(&word, name.data() + at,
                  std::min(sizeof(word), name.size() - at));
      words_[i].store(word, std::memory_order_relaxed);
    }
  }
  [[nodiscard]] std::string Load() const {
    std::string name;
    for (const auto& shared : words_) {
      const std::uint64_t word = shared.load(std::memory_order_relaxed);
      name.append(reinterpret_cast<const char*>(&word), sizeof(word));
    }
    name.resize(std::min(name.find('\0'), name.size()));
    return name;
  }

 private:
  std::array<std::atomic<std::uint64_t>, 8> words_;
};

/// Which policy is set and which one the holder runs, and for whom the seat is
/// kept; see PolicyOffers.
struct PolicyWords {
  std::atomic<std::uint64_t> set;  ///< Hash of its name | 1; 0: not yet.
  std::atomic<std::uint64_t> running;
  std::atomic<std::uint64_t> seat_for;  ///< Entry of MainRegion::members.
  std::atomic<std::int64_t> seat_kept_until_ns;  ///< CLOCK_MONOTONIC.
  SharedName set_name;
  SharedName running_name;
};
static_assert(sizeof(PolicyWords) == 160);

/// Figures that the holder publishes for whoever looks (`larder top`).
struct alignas(64) ServerFigures {
  std::atomic<std::uint64_t> requests;
  std::atomic<std::uint64_t> commands;
  std::atomic<std::uint64_t> groups;     ///< Executed together, once each.
  std::atomic<std::uint64_t> cancelled;  ///< Given up by their client in time.
  std::atomic<std::uint64_t> clients_evicted;  ///< For malformed requests.
  std::atomic<std::uint64_t> bytes_in;
  std::atomic<std::uint64_t> bytes_out;
  std::atomic<std::uint64_t> takeovers;
  /// Bucket i: requests that took [2^i, 2^(i+1)) ns from pick-up to answer.
  std::array<std::atomic<std::uint64_t>, 40> service_time;
};

/// Which of MainRegion::totals is what. The store's figures, about once a
/// second.
enum class StoreTotal : std::size_t {
  kPublishedAtUs = 0,  ///< Unix time; written last; 0 = not yet.
  kCount,
  kLiveBytes,
  kDiskBytes,
  kSizeLimit,
  kHits,
  kMisses,
  kSets,
  kDeletes,
  kEvictions,
  kExpirations,
};

struct MainRegion {
  RegionHeader header;
  alignas(64) Generation generation;
  /// Number of the hot region (RegionAddress::number); 0 = there is none.
  std::atomic<std::uint64_t> hot_number;
  /// Changes with each change of the settings (Engine::settings_version).
  std::atomic<std::uint64_t> settings_version;
  /// Of the holder's segment log (Grant::generation); 0: no space is granted.
  std::atomic<std::uint64_t> log_generation;
  /// The setting, a ReadMode: readers obey a change of it at once.
  std::atomic<std::uint64_t> read_mode;
  alignas(64) Doorbell doorbell;
  alignas(64) std::atomic<std::uint64_t> holder_pid;
  std::atomic<std::uint64_t> holder_start_time;
  std::atomic<std::uint64_t> holder_pid_namespace;
  alignas(64) PolicyWords policy;
  ServerFigures figures;
  /// By StoreTotal; the rest is free.
  alignas(64) std::array<std::atomic<std::uint64_t>, 64> totals;
  std::array<ClientSlot, kSlotCountMax> slots;
  std::array<MemberEntry, kMemberCountMax> members;
  LaneQueue lane_queue;

  [[nodiscard]] std::atomic<std::uint64_t>& total(StoreTotal which) noexcept {
    return totals[static_cast<std::size_t>(which)];
  }

  void SetHolder(const ProcessIdentity& holder) noexcept {
    holder_start_time.store(holder.start_time, std::memory_order_relaxed);
    holder_pid_namespace.store(holder.pid_namespace, std::memory_order_relaxed);
    holder_pid.store(holder.pid, std::memory_order_relaxed);
  }
  [[nodiscard]] ProcessIdentity holder() const noexcept {
    return {
        .pid = holder_pid.load(std::memory_order_relaxed),
        .start_time = holder_start_time.load(std::memory_order_relaxed),
        .pid_namespace = holder_pid_namespace.load(std::memory_order_relaxed)};
  }
};
static_assert(std::is_standard_layout_v<MainRegion>);
static_assert(sizeof(MainRegion) < 192 * 1024);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEAT_MAIN_REGION_H_
