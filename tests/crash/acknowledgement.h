#ifndef LARDER_TESTS_CRASH_ACKNOWLEDGEMENT_H_
#define LARDER_TESTS_CRASH_ACKNOWLEDGEMENT_H_

#include <cstdint>

namespace larder::testing {

/// What the writer sends to the test: "Operation `index` of this thread is
/// done."
struct Acknowledgement {
  std::uint32_t thread;
  std::uint32_t index;
};
static_assert(sizeof(Acknowledgement) == 8);

}  // namespace larder::testing

#endif  // LARDER_TESTS_CRASH_ACKNOWLEDGEMENT_H_
