#ifndef LARDER_TOOLS_REPLAY_RUN_POOL_H_
#define LARDER_TOOLS_REPLAY_RUN_POOL_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

namespace larder::replay {

/// Calls `work(0)` .. `work(count - 1)`, each once, on up to `thread_count`
/// threads (0 = as many as the machine has); returns when all are done.
template <typename Work>
void RunInParallel(std::size_t count, unsigned thread_count, Work&& work) {
  if (thread_count == 0) {
    thread_count = std::max(std::thread::hardware_concurrency(), 1U);
  }
  std::atomic<std::size_t> next{0};
  const auto serve = [&] {
    for (std::size_t i = next++; i < count; i = next++) work(i);
  };
  const std::size_t helpers =
      std::min<std::size_t>(thread_count, count) - (count > 0 ? 1 : 0);
  std::vector<std::jthread> threads;
  threads.reserve(helpers);
  for (std::size_t i = 0; i < helpers; ++i) threads.emplace_back(serve);
  serve();
}

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_RUN_POOL_H_
