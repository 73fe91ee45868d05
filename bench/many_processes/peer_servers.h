#ifndef LARDER_BENCH_MANY_PROCESSES_PEER_SERVERS_H_
#define LARDER_BENCH_MANY_PROCESSES_PEER_SERVERS_H_

#include <memory>
#include <string>

#include <sys/types.h>

#include "larder/engine/status.h"

#include "measure/bench_run.h"

/// What larder is compared with: servers that are started for one measurement
/// and listen on a Unix socket, and targets that are clients of theirs.

namespace larder::bench {

/// A server of our own. Killed with the object.
class PeerServer {
 public:
  virtual ~PeerServer() = default;
  /// For children of this process, one target each.
  [[nodiscard]] virtual tools::OpenBenchTarget Targets() const = 0;
  /// CPU time of the server so far.
  [[nodiscard]] virtual double cpu_seconds() const = 0;
};

/// In memory only, without persistence. `directory` takes the socket.
/// Errors: kNotFound (not installed, or its client library was not there when
/// this was built), kTimedOut (it does not answer).
Result<std::unique_ptr<PeerServer>> StartRedis(const std::string& directory);
Result<std::unique_ptr<PeerServer>> StartMemcached(
    const std::string& directory);

/// CPU time of a process so far, by the kernel's account; negative: unknown.
[[nodiscard]] double ProcessCpuSeconds(pid_t pid);

}  // namespace larder::bench

#endif  // LARDER_BENCH_MANY_PROCESSES_PEER_SERVERS_H_
