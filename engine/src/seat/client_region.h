#ifndef LARDER_ENGINE_SRC_SEAT_CLIENT_REGION_H_
#define LARDER_ENGINE_SRC_SEAT_CLIENT_REGION_H_

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "os/futex.h"
#include "os/shared_region.h"
#include "os/spsc_ring.h"

/// The layout of the region that one client shares with the holder.

namespace larder {

inline constexpr std::uint64_t kRequestRingSize = 128 * 1024;
inline constexpr std::uint64_t kReplyRingSize = 128 * 1024;

/// What has become of a client's request; one word with its sequence, so that
/// the client's giving up and the holder's taking it exclude each other; and so
/// do the client's next request and the holder's lending its place to another.
///
/// Processes: if the holder dies after the claim, the client cannot know what
///            it did, unless it asks the next one again.
class RequestState {
 public:
  enum class Step : std::uint8_t {
    kNone = 0,
    kPending = 1,
    kClaimed = 2,
    kCancelled = 3,
    kIdle = 4,  ///< The client has what it asked for, or has given up.
    kTaken = 5,
  };
  /// For the client: has a request, the one after its last, which it has
  /// finished. False: its place was taken away meanwhile, for good.
  [[nodiscard]] bool Begin(std::uint64_t sequence) noexcept {
    return sequence == 1
               ? Move(0, Step::kNone, 1, Step::kPending)
               : Move(sequence - 1, Step::kIdle, sequence, Step::kPending);
  }
  /// For the client: will not ask for it again. From now on its place may be
  /// taken away. Nobody else changes the word until then, so it is a store.
  void Finish(std::uint64_t sequence) noexcept {
    word_.store(Word(sequence, Step::kIdle), std::memory_order_release);
  }
  [[nodiscard]] bool IsIdle() const noexcept {
    return StepOf(word_.load(std::memory_order_relaxed)) == Step::kIdle;
  }
  [[nodiscard]] bool IsTaken() const noexcept {
    return StepOf(word_.load(std::memory_order_relaxed)) == Step::kTaken;
  }
  /// For the holder: takes the place of a client that has no request. False:
  /// it has one.
  [[nodiscard]] bool Take() noexcept {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    // Acquire pairs with Finish: the client is done with what it got.
    return StepOf(word) == Step::kIdle &&
           word_.compare_exchange_strong(
               word, word ^ Word(0, Step::kIdle) ^ Word(0, Step::kTaken),
               std::memory_order_seq_cst);
  }
  /// For the client, before the request is in the ring: again, for another
  /// holder.
  void Offer(std::uint64_t sequence) noexcept {
    word_.store(Word(sequence, Step::kPending), std::memory_order_seq_cst);
  }
  /// For the client: gives up. True: the holder never will execute it.
  [[nodiscard]] bool Cancel(std::uint64_t sequence) noexcept {
    return Move(sequence, Step::kPending, sequence, Step::kCancelled);
  }
  /// For the holder: takes the request. False: its client gave up.
  [[nodiscard]] bool Claim(std::uint64_t sequence) noexcept {
    return Move(sequence, Step::kPending, sequence, Step::kClaimed);
  }
  [[nodiscard]] bool IsClaimed(std::uint64_t sequence) const noexcept {
    return word_.load(std::memory_order_seq_cst) ==
           Word(sequence, Step::kClaimed);
  }

 private:
  static std::uint64_t Word(std::uint64_t sequence, Step step) noexcept {
    return sequence << kStepBits | static_cast<std::uint64_t>(step);
  }
  static Step StepOf(std::uint64_t word) noexcept {
    return static_cast<Step>(word & ((1U << kStepBits) - 1));
  }
  bool Move(std::uint64_t from, Step from_step, std::uint64_t to,
            Step to_step) noexcept {
    std::uint64_t expected = Word(from, from_step);
    return word_.compare_exchange_strong(expected, Word(to, to_step),
                                         std::memory_order_seq_cst);
  }
  static constexpr unsigned kStepBits = 3;
  std::atomic<std::uint64_t> word_{0};
};

struct ClientRegion {
  RegionHeader header;
  /// The generation of the holder for which the rings are made. The client
  /// makes them afresh, and sends its request again, when there is another
  /// holder; a holder looks only into rings that are made for it.
  alignas(64) std::atomic<std::uint32_t> ring_generation;
  /// The client waits for an answer, or for space for its request.
  SleepFlag client;
  /// The holder wants the doorbell when there is space for the rest of an
  /// answer.
  std::atomic<std::uint32_t> holder_wants_space;
  /// Others wait for the place: the client gives it back after this request.
  std::atomic<std::uint32_t> recalled;
  alignas(64) RequestState request_state;
  RingWords request;
  RingWords reply;
  alignas(64) char request_data[kRequestRingSize];
  alignas(64) char reply_data[kReplyRingSize];
};
static_assert(std::is_standard_layout_v<ClientRegion>);
static_assert(sizeof(ClientRegion) ==
              64 + 64 + 64 + 256 + kRequestRingSize + kReplyRingSize);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SEAT_CLIENT_REGION_H_
