#ifndef LARDER_ENGINE_SRC_SEAT_SEAT_SERVER_H_
#define LARDER_ENGINE_SRC_SEAT_SEAT_SERVER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "larder/engine/status.h"

#include "messages/command_codec.h"
#include "os/doorbell.h"
#include "os/shared_region.h"
#include "os/spsc_ring.h"
#include "seat/client_region.h"
#include "seat/seat.h"

namespace larder {

/// One message of a client, claimed and to be answered.
struct ServedRequest {
  std::uint64_t uid = 0;       ///< Of the client.
  std::uint64_t sequence = 0;  ///< The client's number of it; only grows.
  /// See DecodeMessage. A private copy: it does not change.
  std::string message;
  /// To be filled in; must not be empty, unless deferred.
  std::string reply;
  /// Set by the handler: the reply comes later, through Complete.
  bool deferred = false;
};

/// What the holder does with requests. All calls come from one thread.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  /// Executes all requests, at most one of each client, and fills in their
  /// replies. When it returns, what the replies say has happened must survive
  /// this process. A request that was executed before (by a holder that died
  /// before it answered) comes again with the same uid and sequence.
  virtual void Execute(std::span<ServedRequest> requests) noexcept = 0;
  /// The client is gone; its uid never comes again.
  virtual void ClientGone(std::uint64_t uid) noexcept = 0;
  /// Between its requests, too, the client, which has been idle for so long,
  /// has something that goes with its place: that is not lent to another. Asked
  /// while others wait for one.
  [[nodiscard]] virtual bool NeedsPlace(std::uint64_t uid,
                                        SteadyTime::duration idle) noexcept {
    static_cast<void>(uid);
    static_cast<void>(idle);
    return false;
  }
  /// The client gave up while the request was executed: it will not know of
  /// what was opened for it.
  virtual void Unwanted(std::uint64_t uid, std::uint64_t sequence) noexcept {
    static_cast<void>(uid);
    static_cast<void>(sequence);
  }
  /// Called about once a second, and up to four times less often as long as it
  /// returns false: nothing has happened since the last time.
  virtual bool Tick() noexcept { return false; }
  /// From now on Execute or Poll is called every few microseconds; or not any
  /// more, since no client wants anything.
  virtual void SetPolling(bool polling) noexcept { static_cast<void>(polling); }
  /// There is no request at the moment.
  virtual void Poll() noexcept {}
};

/// The holder's side of the rings: takes requests of all clients, has them
/// executed together, and answers. Clients that find no free place are given
/// those of idle ones, in the order in which they came. What it reads from a
/// client is copied before it is checked; a malformed message ends that client
/// and no other.
///
/// Threads:   thread-safe; it runs a thread of its own.
/// Processes: in the holder of the seat. Clients may die at any time.
/// Lifetime:  Start after the store is open; Stop before it is closed.
class SeatServer {
 public:
  /// Declares the generation as serving and starts. Seat and handler must
  /// outlive it. REQUIRES: seat.held().
  static Result<std::unique_ptr<SeatServer>> Start(
      Seat& seat, RequestHandler& handler) noexcept;
  ~SeatServer();
  SeatServer(const SeatServer&) = delete;
  SeatServer& operator=(const SeatServer&) = delete;

  /// Finishes what is being executed and ends. Requests that were not taken
  /// stay with their clients, who send them to the next holder.
  void Stop() noexcept;
  /// Answers a deferred request; nothing happens if its client has gone or
  /// given up. From any thread.
  void Complete(std::uint64_t uid, std::uint64_t sequence,
                std::string reply) noexcept;
  /// Clients that are attached now.
  [[nodiscard]] std::size_t client_count() const noexcept {
    return client_count_.load(std::memory_order_relaxed);
  }

 private:
  struct Client;
  SeatServer(Seat& seat, RequestHandler& handler) noexcept;
  void Run() noexcept;
  bool ServeOnce() noexcept;
  void Visit(std::size_t slot) noexcept;
  [[nodiscard]] Client* FindClient(std::uint64_t uid) const noexcept;
  void OpenClient(std::size_t slot, std::uint64_t uid) noexcept;
  void DropClient(std::size_t slot) noexcept;
  void ForgetLane(std::uint64_t word) noexcept;
  void EvictClient(std::size_t slot) noexcept;
  void TakeRequests(Client& client) noexcept;
  [[nodiscard]] Result<bool> TakeFrame(Client& client) noexcept;
  void Admit(Client& client) noexcept;
  void ExecuteTaken() noexcept;
  bool SendCompleted() noexcept;
  void Answer(Client& client, std::string reply) noexcept;
  void SendRest(Client& client) noexcept;
  void SweepDead() noexcept;
  void Recall(Client& client) noexcept;
  bool LendPlaces(SteadyTime now) noexcept;
  [[nodiscard]] std::size_t RecallsUnderWay(SteadyTime now) const noexcept;
  [[nodiscard]] std::optional<std::size_t> LendPlace(std::uint64_t uid,
                                                     SteadyTime now) noexcept;
  bool TakePlace(std::size_t slot, std::uint64_t uid) noexcept;
  [[nodiscard]] std::vector<std::size_t> IdleSince(SteadyTime before) noexcept;

  Seat& seat_;
  RequestHandler& handler_;
  MainRegion& main_;
  const std::uint32_t generation_;
  std::array<std::unique_ptr<Client>, kSlotCountMax> clients_;
  std::vector<ServedRequest> taken_;
  std::vector<std::size_t> taken_slots_;  // taken_[i] is of that slot.
  struct Completed {
    std::uint64_t uid;
    std::uint64_t sequence;
    std::string reply;
  };
  std::mutex completed_mutex_;
  std::vector<Completed> completed_;  // Guarded by completed_mutex_.
  AdaptiveSpin spin_{AdaptiveSpin::kPauseLong};
  // Slots to look at although they did not ring.
  Doorbell::Slots again_{};
  SteadyTime next_lending_{};
  SteadyTime::duration lending_pause_{};
  std::size_t recalls_left_ = 0;  // Places that may be asked for now.
  std::minstd_rand random_;
  SteadyTime next_rescue_{};
  std::atomic<std::size_t> client_count_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEAT_SEAT_SERVER_H_
