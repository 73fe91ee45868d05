#ifndef LARDER_ENGINE_SRC_SEAT_CLIENT_CHANNEL_H_
#define LARDER_ENGINE_SRC_SEAT_CLIENT_CHANNEL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/status.h"

#include "base/unique_fd.h"
#include "os/fork_guard.h"
#include "seat/client_region.h"
#include "seat/seat.h"

namespace larder {

/// The client's side of the rings: sends messages to whoever holds the seat
/// and waits for the answers. If the holder changes, the message is sent
/// again; session records make that harmless.
///
/// A thread that calls takes one of a few lanes, each a client of its own in
/// the eyes of the holder, with at most one request under way: that is what
/// lets one record per client decide whether a request was executed.
///
/// A lane has a place at the holder, of which there are kSlotCountMax. It keeps
/// it between calls for as long as no other one wants it; then the holder lends
/// it to that one, and the next call here waits for a place again, in turn. A
/// new place comes with a new uid: nothing was under way at the old one.
///
/// Threads:   thread-safe.
/// Processes: this one may be stopped between calls: its places are lent all
///            the same. The holder may stop, die or change at any time. In a
///            forked child every call is kClosed: it opens a channel of its
///            own.
/// Cost:      two copies of the message and the answer, and the switch to the
///            holder's process and back; 2-20 us. A new place: 0.4 ms of CPU.
///            Idle: nothing.
class ClientChannel {
  struct Lane;

 public:
  /// Most lanes of one channel; more threads wait for each other.
  static constexpr std::size_t kLaneCountMax = 8;

  /// Nothing is attached before the first call. `seat` must outlive it.
  static std::unique_ptr<ClientChannel> Open(Seat& seat) noexcept;
  /// REQUIRES: no call is under way.
  ~ClientChannel();
  ClientChannel(const ClientChannel&) = delete;
  ClientChannel& operator=(const ClientChannel&) = delete;

  /// Keeps the lane between calls that must come from one client in the eyes of
  /// the holder; that may take its place away all the same, between two of
  /// them. Of one thread. The channel must outlive it.
  class Lease {
   public:
    Lease() = default;
    ~Lease() { End(); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    /// Others may use the lane.
    void End() noexcept;

   private:
    friend class ClientChannel;
    ClientChannel* channel_ = nullptr;
    Lane* lane_ = nullptr;  // None before the first call, or after a failure.
  };

  /// Executes a message in this process, which holds the seat, and returns the
  /// reply. Whoever had the seat before may have executed it already: look at
  /// the session record of `uid` for `sequence` first. `uid` 0: it was never
  /// sent, and needs no record. nullopt: this process has just given the seat
  /// away, and nothing was executed.
  using RunHere = std::function<std::optional<std::string>(
      std::string_view message, std::uint64_t uid, std::uint64_t sequence)>;
  /// Returns the answer. `run_here` is called if this process gets the seat
  /// before there is one. REQUIRES: `message` is not empty and at most
  /// kMessageSizeBytesMax long.
  /// Errors: kTimedOut (also if all places were in use), kHolderNotResponding,
  /// kSeatUnavailable, kAborted (the holder took this client off) and kClosed,
  /// of which nothing came; of a change that may have been made kOutcomeUnknown
  /// instead. kNoSpace (no memory for a lane), kGone (`seat.lock` was
  /// replaced), kIoError (no descriptor for a lane).
  enum class Effect : std::uint8_t { kNone, kChange };
  Result<std::string> Call(std::string_view message, SteadyTime deadline,
                           const RunHere& run_here,
                           Effect effect = Effect::kChange,
                           Lease* lease = nullptr) noexcept;

  /// Tells calls under way that this process holds the seat (and must not wait
  /// for itself); false: not any more. Lanes are given back with true. To be
  /// called before SeatServer::Start.
  void SetSeatIsHere(bool here) noexcept;
  [[nodiscard]] bool seat_is_here() const noexcept {
    return seat_is_here_.load(std::memory_order_seq_cst);
  }

  /// Lets go of lanes whose places were taken away, and of their memory. To be
  /// called now and then. Cost: a few loads.
  void DropTaken() noexcept;

  /// Ends calls under way (kClosed; each says whether it was applied), waits
  /// for them, and gives all lanes back. Later calls are kClosed.
  void Close() noexcept;

 private:
  explicit ClientChannel(Seat& seat) noexcept;
  // nullptr: the seat is here.
  Result<Lane*> TakeLane(SteadyTime deadline) noexcept;
  void GiveLane(Lane* lane) noexcept;
  Lane* TakeFreeLane() noexcept;
  // The next four set `freed` to another lane if that is free meanwhile.
  Result<std::unique_ptr<Lane>> AttachLane(SteadyTime deadline,
                                           Lane*& freed) noexcept;
  Status FillLane(Lane& lane, SteadyTime deadline, Lane*& freed) noexcept;
  Result<std::size_t> ClaimSlot(std::uint64_t uid, SteadyTime deadline,
                                Lane*& freed) noexcept;
  Result<std::size_t> AwaitSlot(std::uint64_t uid, SteadyTime deadline,
                                Lane*& freed) noexcept;
  void SleepInQueue(LaneWaiter& entry, std::uint64_t uid, SteadyTime deadline,
                    Lane*& freed) noexcept;
  [[nodiscard]] Status MayWait(SteadyTime deadline) const noexcept;
  [[nodiscard]] Status OpenLockFile() noexcept;
  void CloseLockFileIfIdle() noexcept;
  void DetachLane(Lane& lane) noexcept;
  void DropLane(Lane* lane) noexcept;

  Result<std::string> Run(Lane& lane, std::string_view message,
                          SteadyTime deadline,
                          const RunHere& run_here) noexcept;
  enum class Wait : std::uint8_t {
    kReady,
    kHolderChanged,
    kTimedOut,
    kEvicted,
    kClosed
  };
  Status GiveUp(Lane& lane, Wait why) noexcept;
  bool AwaitHolder(std::uint32_t& generation, SteadyTime deadline) noexcept;
  void MakeRings(Lane& lane, std::uint32_t generation) noexcept;
  Wait Send(Lane& lane, std::string_view message, SteadyTime deadline) noexcept;
  Wait Receive(Lane& lane, SteadyTime deadline, std::string& reply) noexcept;
  template <typename Ready>
  Wait WaitFor(Lane& lane, SteadyTime deadline, Ready&& ready) noexcept;

  Seat& seat_;
  const ForkGuard guard_;
  std::atomic<bool> seat_is_here_{false};
  std::atomic<bool> closed_{false};
  // Guards the lanes; taken alone.
  std::mutex mutex_;
  std::condition_variable lane_free_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Lane*> free_;
  std::size_t attaching_ = 0;
  std::vector<LaneWaiter*> queued_;  // Of those that are being attached.
  // Other than the seat's: the holder's may be ours. Open while there are lanes
  // or some are being attached; then it stays what it is.
  ForkSafeFd lock_fd_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEAT_CLIENT_CHANNEL_H_
