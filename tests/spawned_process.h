#ifndef LARDER_TESTS_SPAWNED_PROCESS_H_
#define LARDER_TESTS_SPAWNED_PROCESS_H_

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <sys/types.h>

namespace larder::testing {

/// Where the program finds the pipe to us.
inline constexpr int kReportFd = 3;

/// Another program with a pipe from its kReportFd to us. Killed with the
/// object, if it still runs.
///
/// Threads: thread-compatible.
class SpawnedProcess {
 public:
  using Clock = std::chrono::steady_clock;

  /// Starts `program` (a path) with `arguments`.
  SpawnedProcess(const std::string& program,
                 const std::vector<std::string>& arguments);
  ~SpawnedProcess();
  SpawnedProcess(const SpawnedProcess&) = delete;
  SpawnedProcess& operator=(const SpawnedProcess&) = delete;

  /// Appends what comes through the pipe to `bytes` until `deadline`, or until
  /// the program ends (false).
  bool ReadUntil(Clock::time_point deadline, std::vector<char>& bytes);
  /// Sends SIGKILL and waits.
  void Kill();
  /// Waits for the end; the status as from waitpid.
  int Wait();

 private:
  pid_t pid_ = -1;  ///< -1: it has ended and was waited for.
  int status_ = 0;
  int fd_ = -1;
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_SPAWNED_PROCESS_H_
