#include "os/fork_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "forked_process.h"

namespace larder {
namespace {

using testing::ForkedProcess;

TEST(ForkGuard, IsQuietInItsOwnProcess) {
  const ForkGuard guard;
  EXPECT_FALSE(guard.InChild());
  EXPECT_EQ(ForkNumber(), ForkNumber());
}

TEST(ForkGuard, NoticesAFork) {
  const ForkGuard guard;
  ForkedProcess child([&guard](const ForkedProcess::Pipe&) {
    const ForkGuard own;
    return guard.InChild() && !own.InChild() ? 0 : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
  EXPECT_FALSE(guard.InChild());
}

TEST(ForkGuard, NoticesAForkThatRunsNoHandlers) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a bare clone is beyond ThreadSanitizer";
#endif
  const ForkGuard guard;
  const long pid = ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0);
  ASSERT_GE(pid, 0);
  if (pid == 0) ::syscall(SYS_exit_group, guard.InChild() ? 0 : 1);
  int status = -1;
  ASSERT_EQ(::waitpid(static_cast<pid_t>(pid), &status, 0), pid);
  EXPECT_EQ(status, 0);
}

TEST(ForkGuard, AGrandchildDiffersFromBoth) {
  const ForkGuard guard;
  ForkedProcess child([&guard](const ForkedProcess::Pipe&) {
    const ForkGuard own;
    ForkedProcess grandchild([&](const ForkedProcess::Pipe&) {
      return guard.InChild() && own.InChild() ? 0 : 1;
    });
    return grandchild.Wait();
  });
  EXPECT_EQ(child.Wait(), 0);
}

TEST(CloseInChild, TheChildDoesNotHaveTheDescriptor) {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int kept = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  {
    const CloseInChild close_in_child(fd);
    ForkedProcess child([=](const ForkedProcess::Pipe&) {
      const bool closed = ::fcntl(fd, F_GETFD) == -1;
      return closed && ::fcntl(kept, F_GETFD) != -1 ? 0 : 1;
    });
    EXPECT_EQ(child.Wait(), 0);
  }
  ForkedProcess later([=](const ForkedProcess::Pipe&) {
    return ::fcntl(fd, F_GETFD) != -1 ? 0 : 1;
  });
  EXPECT_EQ(later.Wait(), 0);
  EXPECT_NE(::fcntl(fd, F_GETFD), -1);
  ::close(fd);
  ::close(kept);
}

}  // namespace
}  // namespace larder
