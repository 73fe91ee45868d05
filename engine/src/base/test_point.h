#ifndef LARDER_ENGINE_SRC_BASE_TEST_POINT_H_
#define LARDER_ENGINE_SRC_BASE_TEST_POINT_H_

#include <atomic>

namespace larder {

/// Called at named places of cold paths, so that tests can kill or stop the
/// process exactly there. nullptr outside of tests.
using TestPointHook = void (*)(const char* name);
inline constinit std::atomic<TestPointHook> test_point_hook{nullptr};

inline void TestPoint(const char* name) noexcept {
  if (auto* hook = test_point_hook.load(std::memory_order_relaxed)) hook(name);
}

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_TEST_POINT_H_
