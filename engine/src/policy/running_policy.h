#ifndef LARDER_ENGINE_SRC_POLICY_RUNNING_POLICY_H_
#define LARDER_ENGINE_SRC_POLICY_RUNNING_POLICY_H_

#include <memory>
#include <string>
#include <string_view>

#include "larder/engine/policy.h"

namespace larder {

/// What runs where the policy that is set is not registered: it is good at most
/// workloads, and needs no parameters that somebody would have to know.
inline constexpr std::string_view kFallbackPolicy = "adaptive";

/// A policy with the name that it is registered under.
struct RunningPolicy {
  std::string name;
  std::unique_ptr<Policy> policy;
};

/// Whether this process can make the policy of that name.
[[nodiscard]] bool IsPolicyRegistered(std::string_view name);

/// The policy `set`, or kFallbackPolicy if this process has not registered it.
/// Errors: kAborted (the factory of a registered one failed).
[[nodiscard]] Result<RunningPolicy> MakeRunningPolicy(std::string_view set);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_POLICY_RUNNING_POLICY_H_
