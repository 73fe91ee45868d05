#ifndef LARDER_ENGINE_SRC_CLIENT_REGION_H_
#define LARDER_ENGINE_SRC_CLIENT_REGION_H_

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "futex.h"
#include "shared_region.h"
#include "spsc_ring.h"

/// The layout of the region that one client shares with the holder.

namespace larder {

inline constexpr std::uint64_t kRequestRingSize = 128 * 1024;
inline constexpr std::uint64_t kReplyRingSize = 128 * 1024;

/// What has become of a client's request; one word with its sequence, so that
/// the client's giving up and the holder's taking it exclude each other.
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
  };
  /// For the client, before the request is in the ring.
  void Offer(std::uint64_t sequence) noexcept {
    word_.store(Word(sequence, Step::kPending), std::memory_order_seq_cst);
  }
  /// For the client: gives up. True: the holder never will execute it.
  [[nodiscard]] bool Cancel(std::uint64_t sequence) noexcept {
    return Move(sequence, Step::kPending, Step::kCancelled);
  }
  /// For the holder: takes the request. False: its client gave up.
  [[nodiscard]] bool Claim(std::uint64_t sequence) noexcept {
    return Move(sequence, Step::kPending, Step::kClaimed);
  }
  [[nodiscard]] bool IsClaimed(std::uint64_t sequence) const noexcept {
    return word_.load(std::memory_order_seq_cst) ==
           Word(sequence, Step::kClaimed);
  }

 private:
  static std::uint64_t Word(std::uint64_t sequence, Step step) noexcept {
    return sequence << 2 | static_cast<std::uint64_t>(step);
  }
  bool Move(std::uint64_t sequence, Step from, Step to) noexcept {
    std::uint64_t expected = Word(sequence, from);
    return word_.compare_exchange_strong(expected, Word(sequence, to),
                                         std::memory_order_seq_cst);
  }
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

#endif  // LARDER_ENGINE_SRC_CLIENT_REGION_H_
