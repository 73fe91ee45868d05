// How long a set of others waits for the long work of one: a thread of the
// process with the store and one of a client set small values all the time,
// while a tag is evicted, the limit lowered, everything cleared or what has
// expired counted. Waiting for a CPU, of which the kernel tells, is no fault of
// the cache's: it is shown by itself.
//
//   waits tag|limit|clear|count [ITEMS]   (default: tag 1000000)
//
// Compare with the times before, which are printed, too: on a machine with
// other work both are longer.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/cache/cache.h"

#include "stores/work_directory.h"

namespace larder::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr int kTtlSeconds = 5;

struct Shared {
  std::atomic<bool> is_filled{false};
  std::atomic<int> phase{0};  // 0: before, 1: during, 2: the end.
};

// What this thread has waited for a CPU, in nanoseconds.
std::int64_t RunDelay() {
  std::ifstream file("/proc/thread-self/schedstat");
  std::int64_t on_cpu = 0;
  std::int64_t delayed = 0;
  file >> on_cpu >> delayed;
  return delayed;
}

struct Waits {
  std::vector<double> all;
  double without_delay_max = 0;
  int failures = 0;
};

void Print(const char* who, const char* when, Waits& waits) {
  if (waits.all.empty()) return;
  std::sort(waits.all.begin(), waits.all.end());
  const std::size_t count = waits.all.size();
  std::printf(
      "%-6s %-6s %7zu sets, ms: p50 %.3f p99 %.2f p99.9 %.2f max %.2f, less "
      "the wait for a CPU %.2f; %d failed\n",
      who, when, count, waits.all[count / 2], waits.all[count * 99 / 100],
      waits.all[count * 999 / 1000], waits.all.back(), waits.without_delay_max,
      waits.failures);
  std::fflush(stdout);
}

void SetAllTheTime(Cache& cache, const Shared& shared, const char* who) {
  constexpr int kKeys = 1000;
  constexpr auto kPause = std::chrono::microseconds(300);
  Waits waits[2];
  for (int i = 0, phase = 0; (phase = shared.phase) != 2; ++i) {
    const std::string key = who + std::to_string(i % kKeys);
    const std::int64_t delay = RunDelay();
    const auto begin = SteadyClock::now();
    const Status status = cache.Set(key, "v");
    const double took = Milliseconds(SteadyClock::now() - begin).count();
    const double delayed = static_cast<double>(RunDelay() - delay) / 1e6;
    Waits& now = waits[phase];
    now.all.push_back(took);
    now.without_delay_max = std::max(now.without_delay_max, took - delayed);
    if (!status.ok()) ++now.failures;
    std::this_thread::sleep_for(kPause);
  }
  Print(who, "before", waits[0]);
  Print(who, "during", waits[1]);
}

std::unique_ptr<Cache> OpenCache(const std::filesystem::path& path,
                                 std::string_view limit) {
  CacheOptions options;
  if (!limit.empty()) options.settings = {{"size_limit", std::string(limit)}};
  auto cache = Cache::Open(path, options);
  if (cache) return *std::move(cache);
  std::cerr << cache.error().ToString() << '\n';
  return nullptr;
}

Status Fill(Cache& cache, std::string_view work, long items) {
  constexpr long kBatch = 1000;
  const std::string value(work == "limit" ? 100 : 40, 'v');
  SetOptions options;
  if (work == "tag") options.tag = "one";
  if (work == "count") options.ttl = std::chrono::seconds(kTtlSeconds);
  for (long i = 0; i < items; i += kBatch) {
    WriteBatch batch;
    for (long k = i; k < i + kBatch; ++k) {
      batch.Set("item" + std::to_string(k), value, options);
    }
    if (Status status = cache.Write(batch); !status.ok()) return status;
  }
  return {};
}

Status Work(Cache& cache, std::string_view work) {
  const auto status_of = [](const Result<std::uint64_t>& result) {
    return result ? Status() : result.error();
  };
  if (work == "tag") return status_of(cache.Evict("one"));
  if (work == "clear") return status_of(cache.Clear());
  if (work == "limit") return cache.Reset("size_limit", "16MiB");
  std::this_thread::sleep_for(std::chrono::seconds(kTtlSeconds));
  return status_of(cache.Count());
}

int Run(std::string_view work, long items) {
  const auto directory =
      WorkDirectory::Make(std::filesystem::temp_directory_path());
  if (!directory) {
    std::cerr << directory.error().ToString() << '\n';
    return 1;
  }
  const std::filesystem::path path = directory->path() / "cache";
  void* const memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  auto* const shared = new (memory) Shared;
  const pid_t client = ::fork();
  if (client == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (!shared->is_filled) ::usleep(1000);
    const auto cache = OpenCache(path, {});
    if (cache == nullptr) ::_exit(1);
    SetAllTheTime(*cache, *shared, "client");
    ::_exit(cache->Close().ok() ? 0 : 1);
  }
  const auto cache = OpenCache(path, work == "limit" ? "192MiB" : "2GiB");
  if (client < 0 || cache == nullptr) return 1;
  if (const Status filled = Fill(*cache, work, items); !filled.ok()) {
    std::cerr << filled.ToString() << '\n';
    return 1;
  }
  shared->is_filled = true;
  std::thread own([&] { SetAllTheTime(*cache, *shared, "holder"); });
  std::this_thread::sleep_for(std::chrono::seconds(2));
  shared->phase = 1;
  const auto begin = SteadyClock::now();
  const Status status = Work(*cache, work);
  const double took = Milliseconds(SteadyClock::now() - begin).count();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  shared->phase = 2;
  own.join();
  int ended = 0;
  ::waitpid(client, &ended, 0);
  std::printf("%s of %ld items: %s in %.0f ms\n", std::string(work).c_str(),
              items, status.ToString().c_str(), took);
  const bool is_closed = cache->Close().ok();
  return status.ok() && is_closed && ended == 0 ? 0 : 1;
}

}  // namespace
}  // namespace larder::bench

int main(int argc, char** argv) {
  const std::string_view work = argc > 1 ? argv[1] : "tag";
  const long items = argc > 2 ? std::atol(argv[2]) : 1'000'000;
  if ((work != "tag" && work != "limit" && work != "clear" &&
       work != "count") ||
      items <= 0) {
    std::cerr << "usage: waits tag|limit|clear|count [ITEMS]\n";
    return 2;
  }
  return larder::bench::Run(work, items);
}
