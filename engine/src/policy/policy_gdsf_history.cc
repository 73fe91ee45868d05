// gdsf-history (GDSF-H): GDSF whose frequency is the estimate of a sketch over
// all requests, so that an item which comes back after an eviction keeps its
// past, and a newcomer that was never seen gets a low rank.

#include "policy/builtin_policies.h"
#include "policy/frequency_sketch.h"
#include "policy/policy_value.h"

namespace larder {
namespace {

class GdsfHistoryPolicy final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "gdsf-history";
  }
  void OnAccess(const PolicyItem& item, const PolicyContext& context) override {
    sketch_.SetItemCount(context.live_items);
    sketch_.Increment(item.key_hash);
    costs_.Add(item.cost);
  }
  Placement OnInsert(const PolicyItem& item,
                     const PolicyContext& context) override {
    const double seen = std::max(1U, sketch_.Estimate(item.key_hash));
    return {kClassMain, seen * ValueOfOne(item, context, costs_), 0};
  }
  std::optional<Placement> OnHit(const PolicyItem& item,
                                 const PolicyContext& context) override {
    return OnInsert(item, context);
  }
  [[nodiscard]] std::string SaveState() const override {
    return sketch_.Save(kPolicyStateBytesMax);
  }
  void LoadState(std::string_view state) override {
    static_cast<void>(sketch_.Load(state));  // Starts without a past.
  }

 private:
  FrequencySketch sketch_{{.age_factor = 40.0, .door_log2 = 1}};
  MeanCost costs_;
};

}  // namespace

std::unique_ptr<Policy> MakeGdsfHistoryPolicy() {
  return std::make_unique<GdsfHistoryPolicy>();
}

}  // namespace larder
