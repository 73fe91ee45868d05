#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "crash/acknowledgement.h"
#include "crash/operation_stream.h"
#include "spawned_process.h"

// The process that crash_test kills:
//   crash_writer DIR SEED THREADS WHOLE_CACHE WITH_EVICTION SIZE_LIMIT POLICY
// Each thread applies its operations to the cache in DIR and acknowledges
// every one that is done on descriptor 3.

namespace larder::testing {
namespace {

[[noreturn]] void Die(const Status& status, const char* where) {
  std::fprintf(stderr, "crash_writer: %s: %s\n", where,
               status.ToString().c_str());
  std::_Exit(3);
}

void WriteForEver(Cache& cache, const WriterPlan& plan, int thread) {
  OperationStream operations(plan, thread);
  for (std::uint32_t i = 0;; ++i) {
    if (Status s = operations.ApplyNext(cache); !s.ok()) Die(s, "operation");
    const Acknowledgement done = {static_cast<std::uint32_t>(thread), i};
    // At most PIPE_BUF bytes: whole or not at all.
    if (::write(kReportFd, &done, sizeof done) != sizeof done) {
      std::_Exit(4);
    }
  }
}

int Run(char** arguments) {
  const WriterPlan plan = {.seed = std::strtoull(arguments[2], nullptr, 10),
                           .thread_count = std::atoi(arguments[3]),
                           .whole_cache = std::atoi(arguments[4]) != 0,
                           .with_eviction = std::atoi(arguments[5]) != 0};
  CacheOptions options;
  options.settings = {{"size_limit", arguments[6]}, {"policy", arguments[7]}};
  Result<std::unique_ptr<Cache>> cache =
      Cache::Open(arguments[1], std::move(options));
  if (!cache) Die(cache.error(), "Open");
  std::vector<std::thread> threads;
  for (int t = 0; t < plan.thread_count; ++t) {
    threads.emplace_back([&, t] { WriteForEver(**cache, plan, t); });
  }
  for (std::thread& thread : threads) thread.join();
  return 0;
}

}  // namespace
}  // namespace larder::testing

int main(int count, char** arguments) {
  if (count != 8) return 2;
  return larder::testing::Run(arguments);
}
