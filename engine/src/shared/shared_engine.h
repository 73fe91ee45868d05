#ifndef LARDER_ENGINE_SRC_SHARED_SHARED_ENGINE_H_
#define LARDER_ENGINE_SRC_SHARED_SHARED_ENGINE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "larder/engine/engine.h"
#include "larder/engine/policy.h"

#include "directory/directory_anchor.h"
#include "messages/session_store.h"
#include "os/exit_guard.h"
#include "os/per_process.h"
#include "os/user_callbacks.h"
#include "seat/seat.h"
#include "shared/policy_offers.h"
#include "shared/remote_engine.h"

namespace larder {

/// The engine of one of several processes that share a directory. Whichever of
/// them has the seat has the store open and serves the rest; which one that is
/// changes when it closes or dies, and callers do not notice.
///
/// Threads:   thread-safe.
/// Processes: see Seat. In a forked child it attaches anew, as a process of
///            its own, at the first call; what the parent had is left alone.
///            If the directory is removed, moved or replaced, or a part of it,
///            every call is kGone within 5 s, in every process.
class SharedEngine final : public Engine {
 public:
  /// How a process that just got the seat opens the store.
  struct StoreOpening {
    /// The call to Open does it; else the seat came to it later, and what was
    /// asked of Open (to create the cache, to change settings) was done then.
    bool by_open = false;
    /// The directory that the seat is of, whatever its name leads to by now.
    std::shared_ptr<DirectoryAnchor> directory = {};
  };
  using OpenStore =
      std::function<Result<std::unique_ptr<SessionStore>>(const StoreOpening&)>;
  struct Options {
    SeatOptions seat;
    OpenStore open_store;
    /// Put into force at Open, whoever has the store.
    std::vector<std::pair<std::string, std::string>> settings;
    /// Borrowed.
    const Clock* clock = Clock::System();
    LogCallback log;
    /// What `log` and `on_eviction` are guarded by.
    std::shared_ptr<UserCallbacks> callbacks =
        std::make_shared<UserCallbacks>();
    /// Of a process that does not have the store; may be empty.
    EvictionCallback on_eviction;
    /// Wanted; 0 = no hot tier.
    std::uint64_t hot_tier_bytes = 64U << 20;
    /// Until it is made; 0: before Open returns.
    std::chrono::milliseconds hot_tier_delay{50};
    std::chrono::milliseconds timeout{5'000};
    /// What this process can run; who lacks what is set gives the store away.
    PolicyOffers::Names policy_names = &PolicyNames;
  };

  /// Returns when somebody serves: this process, or another one.
  /// Errors: those of Seat::Attach and `open_store`; kSeatUnavailable and
  /// kHolderNotResponding (nobody serves in time).
  static Result<std::unique_ptr<Engine>> Open(Options options) noexcept;
  ~SharedEngine() override;
  SharedEngine(const SharedEngine&) = delete;
  SharedEngine& operator=(const SharedEngine&) = delete;

  [[nodiscard]] Capabilities capabilities() const noexcept override;
  [[nodiscard]] Status Execute(std::span<const Command> commands,
                               std::span<Reply> replies,
                               const ExecuteOptions& options) noexcept override;
  [[nodiscard]] Result<std::unique_ptr<Scan>> OpenScan(
      const ScanOptions& options) noexcept override;
  [[nodiscard]] Result<std::unique_ptr<ValueWriter>> OpenWriter(
      const SetCommand& command, std::uint64_t size_expected,
      const ExecuteOptions& options) noexcept override;
  [[nodiscard]] Result<std::unique_ptr<ValueReader>> OpenReader(
      std::string_view key) noexcept override;
  [[nodiscard]] Result<std::uint64_t> Count() noexcept override;
  [[nodiscard]] Result<EngineStats> Stats() noexcept override;
  [[nodiscard]] Result<CheckReport> Check(bool repair) noexcept override;
  [[nodiscard]] Settings CurrentSettings() const noexcept override;
  [[nodiscard]] std::uint64_t settings_version() const noexcept override;
  [[nodiscard]] Status Reset(std::string_view name,
                             std::string_view value) noexcept override;
  [[nodiscard]] Status Sync() noexcept override;
  [[nodiscard]] Status Close() noexcept override;
  [[nodiscard]] const std::filesystem::path& directory()
      const noexcept override {
    return options_.seat.directory;
  }

 private:
  class Member;  // This process's part; another one in a forked child.
  enum class State : std::uint8_t { kOpen, kGone, kClosed };
  // A member may close after its engine was destroyed, in a callback.
  using SharedState = std::shared_ptr<std::atomic<State>>;
  explicit SharedEngine(Options options) noexcept;
  void CloseAtExit() noexcept;
  [[nodiscard]] Status NotOpen(State state) const noexcept;
  [[nodiscard]] Status ApplySettings() noexcept;
  // The member of this process; makes one in a forked child. Errors: kClosed,
  // and those of Open.
  [[nodiscard]] Result<Member*> Current() const noexcept;
  // The same, for calls that a log callback must not make. Errors: kDeadlock,
  // too.
  [[nodiscard]] Result<Member*> Callable() const noexcept;

  const Options options_;
  mutable PerProcess<Member> member_;
  // Of the directory that was opened; set by Open.
  std::optional<FileIdentity> identity_;
  // Looked at by every call. Changed by the member's watch and by Close.
  const SharedState state_ = std::make_shared<std::atomic<State>>(State::kOpen);
  std::unique_ptr<ClosedAtExit> at_exit_;  // The last: it may close this.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SHARED_SHARED_ENGINE_H_
