// The registry of policies. The built-in ones are a fixed table; users' own
// are added behind them under a mutex.

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>

#include "larder/engine/policy.h"

#include "builtin_policies.h"

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

struct Registry {
  std::mutex mutex;  // A leaf: nothing is locked under it.
  std::vector<std::pair<std::string, PolicyFactory>> added;
};

Registry& GlobalRegistry() {
  static Registry* registry = new Registry;  // Outlives static destructors.
  return *registry;
}

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// The short names that people know these by.
std::string_view WellKnownAs(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8>
      kAliases{{{"fifo", "least-recently-stored"},
                {"lru", "least-recently-used"},
                {"lfu", "least-frequently-used"},
                {"lfuda", "least-frequently-used"},
                {"s3fifo", "s3-fifo"},
                {"second-chance", "clock"},
                {"gdsf-h", "gdsf-history"},
                {"auto", "adaptive"}}};
  for (const auto& [alias, known] : kAliases) {
    if (alias == name) return known;
  }
  return {};
}

Status UnknownPolicy(std::string_view name) {
  const std::vector<std::string> names = PolicyNames();
  std::string list;
  std::string nearest(WellKnownAs(name.substr(0, 64)));
  const bool known = !nearest.empty();
  std::size_t best = 64;
  for (const std::string& candidate : names) {
    if (!list.empty()) list += ", ";
    list += candidate;
    const std::size_t distance = EditDistance(name.substr(0, 64), candidate);
    if (!known && distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return Status::InvalidArgument(
      "unknown policy \"" + std::string(name.substr(0, 64)) +
      "\"; nearest is \"" + nearest + "\"; policies: " + list);
}

}  // namespace

Status RegisterPolicy(std::string name, PolicyFactory factory) {
  if (name.empty()) return Status::InvalidArgument("a policy needs a name");
  if (!factory) {
    return Status::InvalidArgument("policy \"" + name + "\" has no factory");
  }
  Registry& registry = GlobalRegistry();
  const std::lock_guard lock(registry.mutex);
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
    const std::lock_guard lock(registry.mutex);
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
  const std::lock_guard lock(registry.mutex);
  for (const auto& [name, factory] : registry.added) names.push_back(name);
  return names;
}

}  // namespace larder
