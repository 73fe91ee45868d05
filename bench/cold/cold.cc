// cold: reads of values that are not in memory, as there are more of them than
// memory holds. See docs/benchmarks.md.
//
// Each store is filled and measured in processes of its own: the memory limit
// is that of a control group, the bytes read are those that the kernel counts
// for the process, and no store inherits threads or caches of another.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "larder/engine/settings.h"

#include "cold/cold_stores.h"
#include "cold/memory_cgroup.h"
#include "stores/work_directory.h"
#include "stores/workload.h"

namespace larder::bench {

namespace {

constexpr int kExitMissed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitError = 3;
constexpr std::size_t kBatchCount = 64;
constexpr double kRateShareMin = 0.9;
constexpr double kBatchGainMin = 3.0;
constexpr double kReadShareMax = 1.3;
constexpr std::size_t kPageSize = 4096;
// Of its threads and ways.
constexpr std::uint64_t kSeedsPerRound = 1'000'000;

struct Arguments {
  std::vector<std::string> engines;
  std::vector<std::string> sizes{"4KiB", "64KiB"};
  std::string bytes = "4GiB";
  std::string memory = "512MiB";
  std::string directory = std::filesystem::temp_directory_path().string();
  double seconds = 3.0;
  double warm_up_seconds = 3.0;
  int rounds = 3;
  std::uint64_t seed = 1;
  bool check = false;
};

struct Plan {
  std::vector<ColdKind> engines;
  std::vector<std::uint64_t> sizes;
  std::uint64_t bytes = 0;
  std::uint64_t memory = 0;
  std::chrono::duration<double> time{};
  std::chrono::duration<double> warm_up{};
  int rounds = 1;
  std::uint64_t seed = 1;
  std::filesystem::path directory;
};

/// Of one way to read: what comes over a pipe from the process that reads.
struct Figures {
  double gets_per_second = 0;
  double bytes_read_per_get = 0;
  double cpu_microseconds_per_get = 0;
};
constexpr std::size_t kWayCount = 3;
enum Way : std::size_t { kOneThread = 0, kTwoThreads = 1, kBatches = 2 };
using WayFigures = std::array<Figures, kWayCount>;

/// A value must be what was written; each byte is read once.
class Comparer final : public ValueVisitor {
 public:
  Comparer(const ValuePool& pool, std::size_t size)
      : pool_(pool), size_(size) {}
  void Visit(std::string_view value) override { fold_ ^= Fold(value); }
  void Expect(std::uint64_t index) { fold_ ^= Fold(pool_.Of(index, size_)); }
  /// All that was visited was expected.
  [[nodiscard]] bool IsRight() const noexcept { return fold_ == 0; }

 private:
  const ValuePool& pool_;
  const std::size_t size_;
  std::uint64_t fold_ = 0;
};

std::uint64_t BytesReadByProcess() {
  std::ifstream file("/proc/self/io");
  std::string name;
  for (std::uint64_t number = 0; file >> name >> number;) {
    if (name == "read_bytes:") return number;
  }
  return 0;
}

double CpuMicroseconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return 1e6 * static_cast<double>(usage.ru_utime.tv_sec +
                                   usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

Status ReadUntil(ColdStore& store, const ColdOptions& options,
                 std::chrono::steady_clock::time_point until, std::size_t batch,
                 std::uint64_t seed, std::atomic<std::uint64_t>& gets) {
  const ValuePool pool(options.value_size, options.seed);
  Comparer comparer(pool, options.value_size);
  Random random(seed);
  std::vector<std::uint64_t> indexes(batch);
  while (std::chrono::steady_clock::now() < until) {
    for (std::uint64_t& index : indexes) {
      index = random.Below(options.count);
      comparer.Expect(index);
    }
    std::size_t hits = 0;
    if (batch == 1) {
      const auto hit = store.Get(indexes[0], comparer);
      if (!hit) return hit.error();
      hits = *hit ? 1 : 0;
    } else {
      const auto count = store.MultiGet(indexes, comparer);
      if (!count) return count.error();
      hits = *count;
    }
    if (hits != batch || !comparer.IsRight()) {
      return Status::Corruption("a value is missing or wrong");
    }
    gets += batch;
  }
  return Status::Ok();
}

Result<Figures> Measure(ColdStore& store, const ColdOptions& options,
                        std::chrono::duration<double> time, Way way,
                        std::uint64_t seed) {
  const std::size_t batch = way == kBatches ? kBatchCount : 1;
  const std::size_t thread_count = way == kTwoThreads ? 2 : 1;
  std::atomic<std::uint64_t> gets = 0;
  std::vector<Status> statuses(thread_count);
  std::vector<std::thread> threads;
  const std::uint64_t read_before = BytesReadByProcess();
  const double cpu_before = CpuMicroseconds();
  const auto begin = std::chrono::steady_clock::now();
  const auto until =
      begin + std::chrono::duration_cast<std::chrono::nanoseconds>(time);
  for (std::size_t i = 0; i < thread_count; ++i) {
    threads.emplace_back([&, i] {
      statuses[i] = ReadUntil(store, options, until, batch,
                              seed + (way * 2 + i) * 1000, gets);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::chrono::duration<double> taken =
      std::chrono::steady_clock::now() - begin;
  const std::uint64_t read = BytesReadByProcess() - read_before;
  const double cpu = CpuMicroseconds() - cpu_before;
  for (Status& status : statuses) LARDER_FAIL_IF_ERROR(std::move(status));
  const auto count = static_cast<double>(std::max<std::uint64_t>(gets, 1));
  return Figures{count / taken.count(), static_cast<double>(read) / count,
                 cpu / count};
}

/// Runs `work` in a child process. What it returns comes back.
Result<WayFigures> InProcess(const std::function<Result<WayFigures>()>& work) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) {
    return Fail(Status::FromErrno(errno, "making a pipe"));
  }
  const pid_t pid = ::fork();
  if (pid < 0) return Fail(Status::FromErrno(errno, "fork"));
  if (pid == 0) {
    const auto figures = work();
    if (!figures) {
      std::fprintf(stderr, "cold: %s\n", figures.error().ToString().c_str());
      ::_exit(kExitError);
    }
    const ssize_t written = ::write(pipe[1], &*figures, sizeof(*figures));
    ::_exit(written == sizeof(*figures) ? 0 : kExitError);
  }
  ::close(pipe[1]);
  WayFigures figures{};
  const ssize_t count = ::read(pipe[0], &figures, sizeof(figures));
  ::close(pipe[0]);
  int state = 0;
  while (::waitpid(pid, &state, 0) < 0 && errno == EINTR) {
  }
  if (state != 0 || count != sizeof(figures)) {
    return Fail(Status::Internal("the process that reads has failed"));
  }
  return figures;
}

/// Takes the pages of all files below `directory` out of memory.
Status DropPages(const std::filesystem::path& directory) {
  for (const auto& item :
       std::filesystem::recursive_directory_iterator(directory)) {
    if (!item.is_regular_file()) continue;
    const int fd = ::open(item.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      return Status::FromErrno(errno, "opening " + item.path().string());
    ::fsync(fd);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }
  return Status::Ok();
}

/// A store that is filled, none of it in memory.
struct FilledStore {
  ColdKind kind{};
  WorkDirectory directory;
  ColdOptions options;
  std::vector<WayFigures> rounds{};
};

Result<FilledStore> Fill(const Plan& plan, ColdKind kind, std::uint64_t size) {
  auto directory = WorkDirectory::Make(plan.directory);
  if (!directory) return Fail(directory.error());
  ColdOptions options{.path = directory->path(),
                      .count = plan.bytes / size,
                      .value_size = size,
                      .seed = plan.seed};
  const auto filled = InProcess([&]() -> Result<WayFigures> {
    auto store = OpenColdStore(kind, options);
    if (!store) return Fail(store.error());
    LARDER_FAIL_IF_ERROR((*store)->Fill());
    return WayFigures{};
  });
  if (!filled) return Fail(filled.error());
  LARDER_FAIL_IF_ERROR(DropPages(options.path));
  return FilledStore{kind, std::move(*directory), std::move(options)};
}

/// One round of one store, in a process of its own.
Result<WayFigures> MeasureAll(const Plan& plan, const MemoryCgroup& group,
                              const FilledStore& filled, std::uint64_t seed) {
  auto figures = InProcess([&]() -> Result<WayFigures> {
    LARDER_FAIL_IF_ERROR(group.Join());
    auto store = OpenColdStore(filled.kind, filled.options);
    if (!store) return Fail(store.error());
    // Until memory is full and what is read often (the index) is in it.
    const auto warmed = Measure(**store, filled.options, plan.warm_up,
                                kTwoThreads, seed + kSeedsPerRound / 2);
    if (!warmed) return Fail(warmed.error());
    WayFigures measured;
    for (const Way way : {kOneThread, kTwoThreads, kBatches}) {
      const auto one = Measure(**store, filled.options, plan.time, way, seed);
      if (!one) return Fail(one.error());
      measured[way] = *one;
    }
    return measured;
  });
  // What it had in memory is not for the next one.
  if (figures) LARDER_FAIL_IF_ERROR(DropPages(filled.options.path));
  return figures;
}

double Median(std::vector<double> numbers) {
  std::sort(numbers.begin(), numbers.end());
  return numbers[numbers.size() / 2];
}

WayFigures Medians(const std::vector<WayFigures>& rounds) {
  WayFigures result;
  for (std::size_t way = 0; way < kWayCount; ++way) {
    for (const auto member :
         {&Figures::gets_per_second, &Figures::bytes_read_per_get,
          &Figures::cpu_microseconds_per_get}) {
      std::vector<double> numbers;
      for (const WayFigures& round : rounds) {
        numbers.push_back(round[way].*member);
      }
      result[way].*member = Median(std::move(numbers));
    }
  }
  return result;
}

/// The bars of larder's; what is missed is said.
bool PassesBars(const WayFigures& larder, const WayFigures& best,
                std::uint64_t size, bool has_peers) {
  bool passed = true;
  const auto bar = [&](const std::string& what, double value, double limit,
                       bool at_least) {
    const bool ok = at_least ? value >= limit : value <= limit;
    fmt::print("- {} B: {}: {:.2f}, at {} {}: {}\n", size, what, value,
               at_least ? "least" : "most", limit, ok ? "ok" : "missed");
    passed &= ok;
  };
  for (const Way way : {kOneThread, kTwoThreads}) {
    if (!has_peers) break;
    bar(fmt::format("gets/s with {} thread{}, of the best peer's",
                    way == kOneThread ? 1 : 2, way == kOneThread ? "" : "s"),
        larder[way].gets_per_second / best[way].gets_per_second, kRateShareMin,
        true);
  }
  bar("gets/s in MultiGets of 64, of those of single gets",
      larder[kBatches].gets_per_second / larder[kOneThread].gets_per_second,
      kBatchGainMin, true);
  // A page is the least that can be read, and nothing begins at one.
  const double asked = static_cast<double>(
      (size + kPageSize - 1) / kPageSize * kPageSize + kPageSize);
  bar("bytes read, of the pages in which the values lie",
      larder[kOneThread].bytes_read_per_get / asked, kReadShareMax, false);
  return passed;
}

/// All stores with values of one size, in turns, as a machine that others use
/// is now faster and now slower. False: larder misses a bar.
Result<bool> RunSize(const Plan& plan, const MemoryCgroup& group,
                     std::uint64_t size) {
  std::vector<FilledStore> stores;
  for (const ColdKind kind : plan.engines) {
    auto store = Fill(plan, kind, size);
    if (!store) return Fail(store.error());
    stores.push_back(std::move(*store));
  }
  for (int round = 0; round < plan.rounds; ++round) {
    for (FilledStore& store : stores) {
      const auto figures = MeasureAll(
          plan, group, store,
          plan.seed + static_cast<std::uint64_t>(round + 1) * kSeedsPerRound);
      if (!figures) return Fail(figures.error());
      store.rounds.push_back(*figures);
    }
  }
  fmt::print(
      "| value | store | gets/s, 1 thread | 2 threads | MultiGet of 64 | bytes "
      "read per get | us of CPU per get |\n|---|---|---|---|---|---|---|\n");
  WayFigures best{};
  std::optional<WayFigures> larder;
  for (const FilledStore& store : stores) {
    const WayFigures figures = Medians(store.rounds);
    fmt::print("| {} | {} | {:.0f} | {:.0f} | {:.0f} | {:.0f} | {:.0f} |\n",
               size, ColdName(store.kind), figures[kOneThread].gets_per_second,
               figures[kTwoThreads].gets_per_second,
               figures[kBatches].gets_per_second,
               figures[kOneThread].bytes_read_per_get,
               figures[kOneThread].cpu_microseconds_per_get);
    if (store.kind == ColdKind::kLarder) {
      larder = figures;
      continue;
    }
    for (std::size_t way = 0; way < kWayCount; ++way) {
      best[way].gets_per_second =
          std::max(best[way].gets_per_second, figures[way].gets_per_second);
    }
  }
  fmt::print("\n");
  const bool passed =
      !larder || PassesBars(*larder, best, size, stores.size() > 1);
  fmt::print("\n");
  std::fflush(stdout);
  return passed;
}

Result<bool> RunAll(const Plan& plan, const MemoryCgroup& group) {
  bool passed = true;
  for (const std::uint64_t size : plan.sizes) {
    const auto result = RunSize(plan, group, size);
    if (!result) return result;
    passed &= *result;
  }
  return passed;
}

Result<Plan> MakePlan(const Arguments& arguments) {
  Plan plan;
  for (const std::string& name : arguments.engines) {
    const auto kind = ColdFromName(name);
    if (!kind) {
      return Fail(Status::InvalidArgument(
          "--engines wants larder, blobdb, lmdb or pread"));
    }
    plan.engines.push_back(*kind);
  }
  if (plan.engines.empty()) {
    plan.engines.assign(std::begin(kColdKinds), std::end(kColdKinds));
  }
  const auto bytes = ParseByteCount(arguments.bytes);
  if (!bytes) return Fail(bytes.error());
  plan.bytes = *bytes;
  const auto memory = ParseByteCount(arguments.memory);
  if (!memory) return Fail(memory.error());
  plan.memory = *memory;
  for (const std::string& text : arguments.sizes) {
    const auto size = ParseByteCount(text);
    if (!size) return Fail(size.error());
    if (*size == 0 || *size > plan.bytes) {
      return Fail(Status::InvalidArgument("--size wants 1 B to --bytes"));
    }
    plan.sizes.push_back(*size);
  }
  if (!(arguments.seconds > 0) || !(arguments.warm_up_seconds >= 0)) {
    return Fail(Status::InvalidArgument("--seconds wants more than 0"));
  }
  plan.time = std::chrono::duration<double>(arguments.seconds);
  plan.warm_up = std::chrono::duration<double>(arguments.warm_up_seconds);
  if (arguments.rounds < 1) {
    return Fail(Status::InvalidArgument("--rounds wants at least 1"));
  }
  plan.rounds = arguments.rounds;
  plan.seed = arguments.seed;
  plan.directory = arguments.directory;
  return plan;
}

int Run(const Arguments& arguments) {
  const auto plan = MakePlan(arguments);
  if (!plan) {
    std::fprintf(stderr, "cold: %s\n", plan.error().message().c_str());
    return kExitUsage;
  }
  const auto group = MemoryCgroup::Make(plan->memory);
  if (!group) {
    std::printf("cold: skipped, as memory cannot be limited: %s\n",
                group.error().ToString().c_str());
    return 0;
  }
  const auto passed = RunAll(*plan, *group);
  if (!passed) {
    std::fprintf(stderr, "cold: %s\n", passed.error().ToString().c_str());
    return kExitError;
  }
  return *passed || !arguments.check ? 0 : kExitMissed;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Gets of random values, of which there are more than memory holds, in a "
      "control group that limits it (which needs the right to make one).",
      "cold");
  app.add_option("--engines", arguments.engines,
                 "larder, blobdb, lmdb, pread; default: all")
      ->delimiter(',');
  app.add_option("--size", arguments.sizes, "sizes of values")
      ->capture_default_str();
  app.add_option("--bytes", arguments.bytes, "of all values")
      ->capture_default_str();
  app.add_option("--memory", arguments.memory, "limit of memory")
      ->capture_default_str();
  app.add_option("--seconds", arguments.seconds, "of each measurement")
      ->capture_default_str();
  app.add_option("--warm-up", arguments.warm_up_seconds,
                 "seconds of reads before")
      ->capture_default_str();
  app.add_option("--rounds", arguments.rounds,
                 "of all stores in turns; medians are shown")
      ->capture_default_str();
  app.add_option("--dir", arguments.directory, "where to make the stores")
      ->capture_default_str();
  app.add_option("--seed", arguments.seed)->capture_default_str();
  app.add_flag("--check", arguments.check, "exit with 1 if a bar is missed");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  return Run(arguments);
}

}  // namespace

}  // namespace larder::bench

int main(int argc, char** argv) { return larder::bench::Main(argc, argv); }
