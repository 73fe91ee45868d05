#ifndef LARDER_ENGINE_SRC_POLICY_BUILTIN_POLICIES_H_
#define LARDER_ENGINE_SRC_POLICY_BUILTIN_POLICIES_H_

#include <memory>

#include "larder/engine/policy.h"

/// The policies that larder brings; docs/policies.md describes each.

namespace larder {

std::unique_ptr<Policy> MakeNonePolicy();
std::unique_ptr<Policy> MakeLeastRecentlyStoredPolicy();
std::unique_ptr<Policy> MakeLeastRecentlyUsedPolicy();
std::unique_ptr<Policy> MakeClockPolicy();
std::unique_ptr<Policy> MakeLeastFrequentlyUsedPolicy();
std::unique_ptr<Policy> MakeGdsfPolicy();
std::unique_ptr<Policy> MakeS3FifoPolicy();
std::unique_ptr<Policy> MakeGdsfHistoryPolicy();
std::unique_ptr<Policy> MakeAdaptivePolicy();

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_POLICY_BUILTIN_POLICIES_H_
