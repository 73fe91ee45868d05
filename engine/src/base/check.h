#ifndef LARDER_ENGINE_SRC_BASE_CHECK_H_
#define LARDER_ENGINE_SRC_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>

namespace larder::internal {

[[noreturn]] inline void CheckFailed(const char* condition, const char* file,
                                     int line) noexcept {
  std::fprintf(stderr, "larder: %s:%d: check failed: %s\n", file, line,
               condition);
  std::abort();
}

}  // namespace larder::internal

/// A defect of ours that must not reach the disk or another process: checked
/// in every build.
#define LARDER_CHECK(condition) \
  ((condition)                  \
       ? static_cast<void>(0)   \
       : ::larder::internal::CheckFailed(#condition, __FILE__, __LINE__))

/// A defect of ours: checked in debug and sanitizer builds.
#ifdef NDEBUG
#define LARDER_ASSERT(condition) static_cast<void>(sizeof(!(condition)))
#else
#define LARDER_ASSERT(condition) LARDER_CHECK(condition)
#endif

#endif  // LARDER_ENGINE_SRC_BASE_CHECK_H_
