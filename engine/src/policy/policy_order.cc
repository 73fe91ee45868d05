// Policies whose rank is a time: none, least-recently-stored and
// least-recently-used. All items have value 1, so the level is that of the
// next lap and the spill sub-buckets keep the order of arrival.

#include "policy/builtin_policies.h"

namespace larder {
namespace {

class NonePolicy final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "none";
  }
  Placement OnInsert(const PolicyItem&, const PolicyContext&) override {
    return {};
  }
  std::optional<Placement> OnHit(const PolicyItem&,
                                 const PolicyContext&) override {
    return std::nullopt;
  }
  [[nodiscard]] bool evicts() const noexcept override { return false; }
};

class LeastRecentlyStoredPolicy final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "least-recently-stored";
  }
  Placement OnInsert(const PolicyItem&, const PolicyContext&) override {
    return {};
  }
  std::optional<Placement> OnHit(const PolicyItem&,
                                 const PolicyContext&) override {
    return std::nullopt;
  }
};

class LeastRecentlyUsedPolicy final : public Policy {
 public:
  [[nodiscard]] std::string_view name() const noexcept override {
    return "least-recently-used";
  }
  Placement OnInsert(const PolicyItem&, const PolicyContext&) override {
    return {};
  }
  std::optional<Placement> OnHit(const PolicyItem&,
                                 const PolicyContext&) override {
    return Placement{};
  }
  [[nodiscard]] Laziness laziness() const noexcept override {
    return {0.1, 0.1};
  }
};

}  // namespace

std::unique_ptr<Policy> MakeNonePolicy() {
  return std::make_unique<NonePolicy>();
}
std::unique_ptr<Policy> MakeLeastRecentlyStoredPolicy() {
  return std::make_unique<LeastRecentlyStoredPolicy>();
}
std::unique_ptr<Policy> MakeLeastRecentlyUsedPolicy() {
  return std::make_unique<LeastRecentlyUsedPolicy>();
}

}  // namespace larder
