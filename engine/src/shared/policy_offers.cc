#include "shared/policy_offers.h"

#include <algorithm>

#include <xxhash.h>

namespace larder {
namespace {

// Members say it each time they look: more often than twice in that time.
constexpr std::chrono::seconds kOfferTime{1};

std::int64_t NowNs() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// 0 means that there is none.
std::uint64_t NumberOf(std::string_view name) noexcept {
  return XXH3_64bits(name.data(), name.size()) | 1;
}

}  // namespace

void PolicyOffers::Publish(MainRegion& main,
                           const PolicyInForce& policy) noexcept {
  PolicyWords& words = main.policy;
  words.set_name.Store(policy.set);
  words.running_name.Store(policy.running);
  words.running.store(NumberOf(policy.running), std::memory_order_relaxed);
  // Release: who sees that it is another one sees its name.
  words.set.store(NumberOf(policy.set), std::memory_order_release);
}

void PolicyOffers::Withdraw() noexcept {
  withdrawn_until_ns_.store(NowNs() +
                            std::chrono::nanoseconds(kWithdrawnTime).count());
}

bool PolicyOffers::CanRun(std::string_view name) const noexcept {
  const std::vector<std::string> names = names_();
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool PolicyOffers::CanRunNumber(std::uint64_t policy) noexcept {
  if (known_.load(std::memory_order_relaxed) == policy) return true;
  const std::vector<std::string> names = names_();
  const bool known = std::any_of(
      names.begin(), names.end(),
      [policy](const std::string& name) { return NumberOf(name) == policy; });
  if (known) known_.store(policy, std::memory_order_relaxed);
  return known;
}

void PolicyOffers::Offer() noexcept {
  const auto member = seat_.member();
  if (!member) return;  // It is not listed.
  const std::uint64_t set =
      seat_.main().policy.set.load(std::memory_order_acquire);
  const bool offers =
      set != 0 && NowNs() >= withdrawn_until_ns_.load() && CanRunNumber(set);
  MemberEntry& entry = seat_.main().members[*member];
  entry.policy.store(offers ? set : 0, std::memory_order_relaxed);
  // Release pairs with FindTaker.
  entry.offered_at_ns.store(NowNs(), std::memory_order_release);
}

std::optional<std::size_t> PolicyOffers::FindTaker() const noexcept {
  const PolicyWords& words = seat_.main().policy;
  const std::uint64_t set = words.set.load(std::memory_order_relaxed);
  if (set == 0 || set == words.running.load(std::memory_order_relaxed)) {
    return std::nullopt;
  }
  const auto member = seat_.member();
  for (std::size_t i = 0; i < kMemberCountMax; ++i) {
    const MemberEntry& entry = seat_.main().members[i];
    // Acquire pairs with Offer.
    const auto age = std::chrono::nanoseconds(
        NowNs() - entry.offered_at_ns.load(std::memory_order_acquire));
    if (i == member || entry.policy.load(std::memory_order_relaxed) != set ||
        age < std::chrono::nanoseconds(0) || age > kOfferTime) {
      continue;
    }
    if (seat_.IsMemberAlive(i)) return i;
  }
  return std::nullopt;
}

void PolicyOffers::KeepSeatFor(std::size_t entry) noexcept {
  PolicyWords& words = seat_.main().policy;
  words.seat_for.store(entry, std::memory_order_relaxed);
  // Release pairs with SeatIsForAnother.
  words.seat_kept_until_ns.store(
      NowNs() + std::chrono::nanoseconds(kSeatKeptTime).count(),
      std::memory_order_release);
}

bool PolicyOffers::SeatIsForAnother() const noexcept {
  const PolicyWords& words = seat_.main().policy;
  const auto rest = std::chrono::nanoseconds(
      // Acquire pairs with KeepSeatFor.
      words.seat_kept_until_ns.load(std::memory_order_acquire) - NowNs());
  const std::uint64_t entry = words.seat_for.load(std::memory_order_relaxed);
  return rest > std::chrono::nanoseconds(0) && rest <= kSeatKeptTime &&
         entry < kMemberCountMax && seat_.member() != entry &&
         seat_.IsMemberAlive(entry);
}

void PolicyOffers::SeatIsTaken() noexcept {
  seat_.main().policy.seat_kept_until_ns.store(0, std::memory_order_relaxed);
}

}  // namespace larder
