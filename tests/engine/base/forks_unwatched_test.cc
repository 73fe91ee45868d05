// Without what watches forks there is no cache, rather than one that a child
// may harm.

#include <cerrno>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "temporary_directory.h"

// In the place of the C library's, which is linked with the program.
extern "C" int pthread_atfork(void (* /*prepare*/)(), void (* /*parent*/)(),
                              void (* /*child*/)()) {
  return ENOMEM;
}

namespace larder::testing {
namespace {

TEST(ForksUnwatched, NothingOpens) {
  const TemporaryDirectory directory;
  const auto engine = OpenEngine(directory.path() / "cache");
  ASSERT_FALSE(engine);
  EXPECT_NE(engine.error().message().find("pthread_atfork"), std::string::npos)
      << engine.error().ToString();
}

}  // namespace
}  // namespace larder::testing
