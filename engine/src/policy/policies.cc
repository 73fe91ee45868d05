// The registry of policies. The built-in ones are a fixed table; users' own
// are added behind them under a mutex.

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "larder/engine/policy.h"

#include "base/grow_only_list.h"
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

struct AddedPolicy {
  const std::string name;
  const PolicyFactory make;
};

constinit GrowOnlyList<AddedPolicy> added_policies;

// nullptr: there is none of that name.
const AddedPolicy* FindAdded(std::string_view name,
                             const GrowOnlyList<AddedPolicy>::Node* first) {
  for (const auto* node = first; node != nullptr; node = node->next) {
    if (node->value.name == name) return &node->value;
  }
  return nullptr;
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
  auto node = std::make_unique<GrowOnlyList<AddedPolicy>::Node>(
      AddedPolicy{name, std::move(factory)});
  for (;;) {
    auto* const first = added_policies.first();
    if (std::any_of(kBuiltins.begin(), kBuiltins.end(),
                    [&](const Builtin& b) { return b.name == name; }) ||
        FindAdded(name, first) != nullptr) {
      return Status::InvalidArgument("there is already a policy \"" + name +
                                     "\"; register yours under another name");
    }
    if (added_policies.TryAdd(node.get(), first)) break;
  }
  static_cast<void>(node.release());
  return Status::Ok();
}

Result<std::unique_ptr<Policy>> MakePolicy(std::string_view name) {
  for (const Builtin& builtin : kBuiltins) {
    if (builtin.name == name) return builtin.make();
  }
  const AddedPolicy* const added = FindAdded(name, added_policies.first());
  if (added == nullptr) return Fail(UnknownPolicy(name));
  std::unique_ptr<Policy> policy;
  try {  // A user's code.
    policy = added->make();
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
  // In the order in which they were registered.
  const auto built_in = static_cast<std::ptrdiff_t>(names.size());
  for (const auto* node = added_policies.first(); node != nullptr;
       node = node->next) {
    names.insert(names.begin() + built_in, node->value.name);
  }
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
