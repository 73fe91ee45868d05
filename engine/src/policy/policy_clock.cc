// clock and s3-fifo. The hand of a clock is the cutoff, and a lap is 256
// levels. An item that was hit since the hand last passed it is skipped once;
// in ranks: a hit moves it one lap ahead of its place, at most `lap_count_max`
// laps ahead of the head. For that, levels must be places in the queue: while a
// class has never been cut, an item goes as far up as the class is full.

#include <algorithm>
#include <vector>

#include "policy/builtin_policies.h"

namespace larder {
namespace {

// Where a new item of `class_index` goes: the head of the queue.
double HeadOf(std::uint8_t class_index, double class_share,
              const PolicyContext& context) noexcept {
  if (RankLevel(context.cutoffs[class_index]) != 0) return 1.0;
  const double full = class_share * static_cast<double>(context.budget_bytes);
  const auto bytes = static_cast<double>(context.class_bytes[class_index]);
  return full <= bytes ? 1.0 : bytes / full;
}

// One lap ahead of where the item is, or nullopt if it has enough laps.
std::optional<Placement> OneLapAhead(const PolicyItem& item,
                                     double lap_count_max,
                                     const PolicyContext& context) noexcept {
  const double place = context.value_left(item.rank);
  if (place > lap_count_max) return std::nullopt;
  return Placement{RankClass(item.rank), std::max(place, 0.0) + 1.0, 0};
}

class ClockPolicy final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "clock";
  }
  Placement OnInsert(const PolicyItem&, const PolicyContext& context) override {
    return {kClassMain, HeadOf(kClassMain, 1.0, context), 0};
  }
  std::optional<Placement> OnHit(const PolicyItem& item,
                                 const PolicyContext& context) override {
    if (RankClass(item.rank) != kClassMain) return OnInsert(item, context);
    return OneLapAhead(item, 1.0, context);
  }
  // Every lap counts: value 4 of an item at place 3 is a gain of 1 / 4.
  [[nodiscard]] Laziness laziness() const noexcept override {
    return {0.1, 0.1};
  }
};

// Remembers which items of probation were hit once, as fingerprints in a
// direct-mapped table: a rank holds no count, and a write for one hit would
// not pay.
class HitOnceTable {
 public:
  /// True if `key_hash` was set already.
  bool TestAndSet(std::uint64_t key_hash) noexcept {
    std::uint32_t& slot = SlotOf(key_hash);
    const bool known = slot == Fingerprint(key_hash);
    slot = Fingerprint(key_hash);
    return known;
  }
  void Clear(std::uint64_t key_hash) noexcept {
    std::uint32_t& slot = SlotOf(key_hash);
    if (slot == Fingerprint(key_hash)) slot = 0;
  }
  /// Grows to two slots or more per item; what was set is forgotten then.
  void SetItemCount(std::uint64_t items) {
    constexpr std::uint64_t kSlotCountMax = std::uint64_t{1} << 22;
    if (2 * items <= slots_.size() || slots_.size() == kSlotCountMax) return;
    slots_.assign(2 * slots_.size(), 0);
  }

 private:
  static std::uint64_t Mix(std::uint64_t hash) noexcept {
    hash ^= hash >> 33;
    hash *= 0xFF51AFD7ED558CCDULL;
    return hash ^ (hash >> 29);
  }
  static std::uint32_t Fingerprint(std::uint64_t key_hash) noexcept {
    return static_cast<std::uint32_t>(Mix(key_hash) >> 32) | 1;  // 0 is free.
  }
  std::uint32_t& SlotOf(std::uint64_t key_hash) noexcept {
    return slots_[Mix(key_hash) & (slots_.size() - 1)];
  }
  std::vector<std::uint32_t> slots_ = std::vector<std::uint32_t>(1024);
};

class S3FifoPolicy final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "s3-fifo";
  }
  Placement OnInsert(const PolicyItem& item,
                     const PolicyContext& context) override {
    hit_once_.SetItemCount(context.live_items / 8);
    if (item.ghost && RankClass(item.rank) == kClassProbation) {
      return MainHead(context);
    }
    hit_once_.Clear(item.key_hash);
    return {kClassProbation, 1.0, 0};
  }
  std::optional<Placement> OnHit(const PolicyItem& item,
                                 const PolicyContext& context) override {
    if (RankClass(item.rank) == kClassMain) {
      return OneLapAhead(item, kLapCountMax, context);
    }
    if (!hit_once_.TestAndSet(item.key_hash)) return std::nullopt;
    return MainHead(context);
  }
  [[nodiscard]] double probation_share() const noexcept override {
    return kProbationShare;
  }
  [[nodiscard]] Laziness laziness() const noexcept override {
    return {0.1, 0.1};
  }

 private:
  static constexpr double kProbationShare = 0.1;
  static constexpr double kLapCountMax = 3.0;

  static Placement MainHead(const PolicyContext& context) noexcept {
    return {kClassMain, HeadOf(kClassMain, 1.0 - kProbationShare, context), 0};
  }

  HitOnceTable hit_once_;
};

}  // namespace

std::unique_ptr<Policy> MakeClockPolicy() {
  return std::make_unique<ClockPolicy>();
}
std::unique_ptr<Policy> MakeS3FifoPolicy() {
  return std::make_unique<S3FifoPolicy>();
}

}  // namespace larder
