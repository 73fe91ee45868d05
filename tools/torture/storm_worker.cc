#include "torture/storm_worker.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "measure/random_keys.h"
#include "torture/storm_board.h"
#include "torture/storm_thread.h"

namespace larder::tools {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPause{20};
constexpr std::uint64_t kOpenMillisecondsMin = 500;
constexpr std::uint64_t kOpenMillisecondsMore = 8000;

// Codes that Open may end with while others are killed and stopped.
bool IsOpenLater(StatusCode code, bool is_faulty) {
  return code == StatusCode::kTimedOut ||
         code == StatusCode::kHolderNotResponding ||
         code == StatusCode::kSeatUnavailable ||
         (is_faulty &&
          (code == StatusCode::kNoSpace || code == StatusCode::kIoError));
}

// Uses the cache until somebody says stop or `until` has come.
void UseCache(const StormWorkerOptions& options, const StormBoard& board,
              Cache& cache, std::uint64_t seed, SteadyClock::time_point until) {
  StormSlot& slot = board->slots[options.process];
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kStormThreads; ++i) {
    threads.emplace_back([&, i] {
      StormThread thread(options, board, cache, i, seed + i);
      thread.LeaveOpenKeys();
      while (board->stop == 0 && SteadyClock::now() < until) {
        thread.Step();
        ++slot.progress;
        slot.has_store = cache.engine().capabilities().holds_store ? 1 : 0;
      }
      thread.Finish();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

Status RunStormWorker(const StormWorkerOptions& options,
                      CacheOptions cache_options) {
  const auto board = StormBoard::Open(options.work);
  if (!board) return board.error();
  cache_options.log = [&board](std::string_view line) { board->Note(line); };
  Random random(options.seed + static_cast<std::uint64_t>(::getpid()));
  StormSlot& slot = (*board)->slots[options.process];
  while ((*board)->stop == 0) {
    auto cache = Cache::Open(options.directory, cache_options);
    ++slot.progress;
    if (!cache) {
      if (!IsOpenLater(cache.error().code(), options.faulty)) {
        board->Report(StormFault::kUnexpected,
                      fmt::format("Open: {}", cache.error().ToString()));
      }
      std::this_thread::sleep_for(kPause);
      continue;
    }
    const auto until =
        SteadyClock::now() +
        std::chrono::milliseconds(kOpenMillisecondsMin +
                                  random.Below(kOpenMillisecondsMore));
    UseCache(options, *board, **cache, random.Next(), until);
    const Status closed = (*cache)->Close();
    slot.has_store = 0;
    ++slot.progress;
    if (!closed.ok() && !IsOpenLater(closed.code(), options.faulty)) {
      board->Report(StormFault::kUnexpected,
                    fmt::format("Close: {}", closed.ToString()));
    }
  }
  return Status::Ok();
}

}  // namespace larder::tools
