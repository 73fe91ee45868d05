// least-frequently-used (LFUDA) and gdsf: the value of an item is how often it
// was stamped, times what a miss costs per byte. The inflation of RankSpace is
// the dynamic aging of the papers: an item starts at the level of the last
// eviction.

#include <algorithm>

#include "policy/builtin_policies.h"
#include "policy/policy_value.h"

namespace larder {
namespace {

std::uint8_t CountUp(std::uint8_t frequency) noexcept {
  return frequency == 255 ? frequency
                          : static_cast<std::uint8_t>(frequency + 1);
}

class LeastFrequentlyUsedPolicy final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "least-frequently-used";
  }
  Placement OnInsert(const PolicyItem&, const PolicyContext&) override {
    return {kClassMain, 1.0, 1};
  }
  std::optional<Placement> OnHit(const PolicyItem& item,
                                 const PolicyContext&) override {
    const std::uint8_t frequency = CountUp(item.frequency);
    return Placement{kClassMain, static_cast<double>(frequency), frequency};
  }
  [[nodiscard]] Laziness laziness() const noexcept override {
    return {0.25, 0.1};
  }
};

class GdsfPolicy final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "gdsf";
  }
  void OnAccess(const PolicyItem& item, const PolicyContext&) override {
    costs_.Add(item.cost);
  }
  Placement OnInsert(const PolicyItem& item,
                     const PolicyContext& context) override {
    return {kClassMain, ValueOfOne(item, context, costs_), 1};
  }
  std::optional<Placement> OnHit(const PolicyItem& item,
                                 const PolicyContext& context) override {
    const std::uint8_t frequency = CountUp(item.frequency);
    return Placement{kClassMain, frequency * ValueOfOne(item, context, costs_),
                     frequency};
  }
  // The frequency counts stamps: lazier, and all counts end at 3.
  [[nodiscard]] Laziness laziness() const noexcept override {
    return {0.1, 0.1};
  }

 private:
  MeanCost costs_;
};

}  // namespace

std::unique_ptr<Policy> MakeLeastFrequentlyUsedPolicy() {
  return std::make_unique<LeastFrequentlyUsedPolicy>();
}
std::unique_ptr<Policy> MakeGdsfPolicy() {
  return std::make_unique<GdsfPolicy>();
}

}  // namespace larder
