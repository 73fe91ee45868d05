#ifndef LARDER_BENCH_MANY_PROCESSES_ROUND_TRIPS_H_
#define LARDER_BENCH_MANY_PROCESSES_ROUND_TRIPS_H_

#include <cstddef>
#include <memory>

namespace larder::bench {

/// A message to another process and the same bytes back.
///
/// Threads: thread-compatible; make it while this process has one thread.
class Echo {
 public:
  virtual ~Echo() = default;
  /// False: it failed.
  virtual bool RoundTrip() = 0;
};

/// Through the rings of a client and the loop of the holder.
std::unique_ptr<Echo> MakeRingEcho(std::size_t size_bytes);
/// Through a pair of connected Unix sockets.
std::unique_ptr<Echo> MakeSocketEcho(std::size_t size_bytes);

}  // namespace larder::bench

#endif  // LARDER_BENCH_MANY_PROCESSES_ROUND_TRIPS_H_
