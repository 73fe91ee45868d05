// The registry of policies. The built-in ones are a fixed table; users' own
// are added behind them under a mutex.

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>

#include "larder/engine/policy.h"

#include "base/fork_held_mutex.h"
#include "base/text_units.h"
#include "policy/builtin_policies.h"
#include "policy/running_policy.h"

namespace larder {
namespace {

struct Builtin {
  std::string_view name;
  std::unique_ptr<Policy> (*make)();
};

constexpr std::array<Builtin, 9> kBuiltins{{
    {"none", MakeNonePolicy},
    {"least-recently-stored", MakeLeastRecentlyStoredPolicy},
    {"least-recently-used", MakeLeastRecentlyUsedPolicy},
    {"clock", MakeClockPolicy},
    {"least-frequently-used", MakeLeastFrequentlyUsedPolicy},
    {"gdsf", MakeGdsfPolicy},
    {"s3-fifo", MakeS3FifoPolicy},
    {"gdsf-history", MakeGdsfHistoryPolicy},
    {"adaptive", MakeAdaptivePolicy},
}};

// Guarded by ForkHeldMutex<Registry>.
struct Registry {
  std::vector<std::pair<std::string, PolicyFactory>> added;
};

Registry& GlobalRegistry() {
  static Registry* registry = new Registry;  // Outlives static destructors.
  return *registry;
}

Status UnknownPolicy(std::string_view name) {
  const std::vector<std::string> owned = PolicyNames();
  const std::vector<std::string_view> names(owned.begin(), owned.end());
  std::string list;
  for (const std::string_view known : names) {
    if (!list.empty()) list += ", ";
    list += known;
  }
  return Status::InvalidArgument(
      "unknown policy " + internal::QuoteForMessage(name) +
      internal::SuggestionFor(name, names) + "; policies: " + list);
}

}  // namespace

Status RegisterPolicy(std::string name, PolicyFactory factory) {
  if (name.empty()) return Status::InvalidArgument("a policy needs a name");
  if (!factory) {
    return Status::InvalidArgument("policy \"" + name + "\" has no factory");
  }
  Registry& registry = GlobalRegistry();
  const std::lock_guard lock(ForkHeldMutex<Registry>());
  const auto same = [&](const auto& known) { return known.first == name; };
  if (std::any_of(kBuiltins.begin(), kBuiltins.end(),
                  [&](const Builtin& b) { return b.name == name; }) ||
      std::any_of(registry.added.begin(), registry.added.end(), same)) {
    return Status::InvalidArgument("there is already a policy \"" + name +
                                   "\"; register yours under another name");
  }
  registry.added.emplace_back(std::move(name), std::move(factory));
  return Status::Ok();
}

Result<std::unique_ptr<Policy>> MakePolicy(std::string_view name) {
  for (const Builtin& builtin : kBuiltins) {
    if (builtin.name == name) return builtin.make();
  }
  PolicyFactory factory;
  {
    Registry& registry = GlobalRegistry();
    const std::lock_guard lock(ForkHeldMutex<Registry>());
    for (const auto& [known, make] : registry.added) {
      if (known == name) factory = make;
    }
  }
  if (!factory) return Fail(UnknownPolicy(name));
  std::unique_ptr<Policy> policy;
  try {  // A user's code.
    policy = factory();
  } catch (const std::exception& e) {
    return Fail(
        {StatusCode::kAborted, "policy \"" + std::string(name) +
                                   "\": its factory threw: " + e.what()});
  } catch (...) {
    return Fail({StatusCode::kAborted,
                 "policy \"" + std::string(name) + "\": its factory threw"});
  }
  if (policy == nullptr) {
    return Fail({StatusCode::kAborted, "policy \"" + std::string(name) +
                                           "\": its factory made nothing"});
  }
  return policy;
}

std::vector<std::string> PolicyNames() {
  std::vector<std::string> names;
  for (const Builtin& builtin : kBuiltins) names.emplace_back(builtin.name);
  Registry& registry = GlobalRegistry();
  const std::lock_guard lock(ForkHeldMutex<Registry>());
  for (const auto& [name, factory] : registry.added) names.push_back(name);
  return names;
}

bool IsPolicyRegistered(std::string_view name) {
  const std::vector<std::string> names = PolicyNames();
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<RunningPolicy> MakeRunningPolicy(std::string_view set) {
  const std::string_view name = IsPolicyRegistered(set) ? set : kFallbackPolicy;
  auto policy = MakePolicy(name);
  if (!policy) return Fail(std::move(policy.error()));
  return RunningPolicy{.name = std::string(name), .policy = *std::move(policy)};
}

}  // namespace larder
