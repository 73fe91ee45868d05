#ifndef LARDER_TESTS_DOCS_OWN_POLICY_H_
#define LARDER_TESTS_DOCS_OWN_POLICY_H_

#include "larder/engine/policy.h"

// docs/policies.md shows what lies between the markers.
// [own policy]
/// Keeps what is small, and of that what was used last.
class SmallAndRecent final : public larder::Policy {
 public:
  std::string_view name() const noexcept override { return "small-and-recent"; }

  larder::Placement OnInsert(const larder::PolicyItem& item,
                             const larder::PolicyContext& context) override {
    const double value =
        context.average_size() / static_cast<double>(item.size_bytes + 1);
    return {.class_index = larder::kClassMain, .value = value};
  }
  std::optional<larder::Placement> OnHit(
      const larder::PolicyItem& item,
      const larder::PolicyContext& context) override {
    return OnInsert(item, context);
  }
};

inline larder::Status RegisterSmallAndRecent() {
  return larder::RegisterPolicy(
      "small-and-recent", [] { return std::make_unique<SmallAndRecent>(); });
}
// [own policy]

#endif  // LARDER_TESTS_DOCS_OWN_POLICY_H_
