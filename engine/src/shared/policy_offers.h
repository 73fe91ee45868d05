#ifndef LARDER_ENGINE_SRC_SHARED_POLICY_OFFERS_H_
#define LARDER_ENGINE_SRC_SHARED_POLICY_OFFERS_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "messages/session_store.h"
#include "seat/seat.h"

namespace larder {

/// How long the seat is kept for who is to have it.
inline constexpr std::chrono::seconds kSeatKeptTime{2};
/// Until a member that could not open the store may be given it again.
inline constexpr std::chrono::seconds kWithdrawnTime{60};

/// Who of the members can run the policy that is set, and to whom the seat is
/// given for that reason. All of it lies in the main region, where anybody may
/// write: at worst the seat goes round once more, or is free for kSeatKeptTime.
///
/// Threads:   thread-safe.
/// Processes: every member says each time it looks what it can run; what a
///            stopped one said before is too old to count.
class PolicyOffers {
 public:
  /// What this process can run now, as PolicyNames.
  using Names = std::function<std::vector<std::string>()>;
  /// `seat` must outlive it.
  PolicyOffers(Seat& seat, Names names) noexcept
      : seat_(seat), names_(std::move(names)) {}

  /// By the holder: what is set, and what runs.
  static void Publish(MainRegion& main, const PolicyInForce& policy) noexcept;

  /// Says whether this member can run what is set. Cost: some stores, and at a
  /// change a look at the registered policies.
  void Offer() noexcept;
  /// This member could not open the store: it offers nothing for
  /// kWithdrawnTime.
  void Withdraw() noexcept;

  /// Whether this process can run the policy of that name.
  [[nodiscard]] bool CanRun(std::string_view name) const noexcept;
  /// The entry of a member that runs, and can run what this holder cannot.
  [[nodiscard]] std::optional<std::size_t> FindTaker() const noexcept;
  /// The others leave the seat to that member for kSeatKeptTime.
  void KeepSeatFor(std::size_t entry) noexcept;
  /// True: it is to be left to another member, who lives.
  [[nodiscard]] bool SeatIsForAnother() const noexcept;
  /// By whoever has it, or tried to.
  void SeatIsTaken() noexcept;

 private:
  [[nodiscard]] bool CanRunNumber(std::uint64_t policy) noexcept;

  Seat& seat_;
  const Names names_;
  std::atomic<std::int64_t> withdrawn_until_ns_{0};
  std::atomic<std::uint64_t> known_{0};  // Can be run.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SHARED_POLICY_OFFERS_H_
