// How long it takes to open a store: after a clean close, and after its
// process was killed while it wrote.
//
// Recover starts this program again as a writer, waits until it has had some
// tens of thousands of writes acknowledged, kills it, and times the next open.
// A sample of the acknowledged writes must then be there.

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "operations/benchmarks.h"

extern char** environ;

namespace larder::bench {

namespace {

constexpr int kOpenIterations = 10;
constexpr int kRecoverIterations = 3;

/// What the writer of one generation stores: other bytes each time.
std::uint64_t ValueIndex(std::uint64_t index, std::uint64_t generation) {
  return Mix(index) ^ Mix(generation);
}

/// Opens and adds the time to the benchmark's.
Result<std::unique_ptr<KeyValueStore>> TimedOpen(
    benchmark::State& state, EngineKind kind, const std::filesystem::path& path,
    const StoreOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  auto store = OpenStore(kind, path, options);
  const std::chrono::duration<double> taken =
      std::chrono::steady_clock::now() - begin;
  state.SetIterationTime(taken.count());
  return store;
}

Status CheckItem(KeyValueStore& store, std::string_view key,
                 std::string_view value) {
  FoldVisitor seen;
  const auto hit = store.Get(key, seen);
  if (!hit) {
    return hit.error();
  }
  if (!*hit || seen.fold != Fold(value)) {
    return Status::Corruption("an acknowledged write is not there");
  }
  return Status::Ok();
}

void BenchOpen(benchmark::State& state, Fixtures& fixtures, EngineKind kind,
               std::uint64_t item_count) {
  const auto path = fixtures.ClosedStore(kind, item_count);
  if (!path) {
    return Skip(state, path.error());
  }
  Random random(fixtures.seed());
  for (auto _ : state) {
    auto store = TimedOpen(state, kind, *path, fixtures.store_options());
    if (!store) {
      return Skip(state, store.error());
    }
    // Not in the part of the store that a writer of Recover overwrites.
    const std::uint64_t index = item_count - 1 - random.Below(item_count / 2);
    Status status = CheckItem(**store, fixtures.Key(index),
                              fixtures.Value(index, kOpenValueSize));
    if (status.ok()) {
      status = (*store)->Close();
    }
    if (!status.ok()) {
      return Skip(state, status);
    }
  }
}

/// A writer process, killed at the latest by the destructor.
class Writer {
 public:
  static Result<Writer> Start(const std::string& program, EngineKind kind,
                              const std::filesystem::path& path,
                              std::uint64_t item_count,
                              std::uint64_t generation, std::uint64_t seed) {
    std::array<int, 2> pipe_fds{};
    if (::pipe2(pipe_fds.data(), O_CLOEXEC) != 0) {
      return Fail(Status::FromErrno(errno, "pipe"));
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
    std::array<std::string, 7> texts{program,
                                     kWriterFlag,
                                     std::string(EngineName(kind)),
                                     path.string(),
                                     std::to_string(item_count),
                                     std::to_string(generation),
                                     std::to_string(seed)};
    std::array<char*, 8> arguments{};
    for (std::size_t i = 0; i < texts.size(); ++i) {
      arguments[i] = texts[i].data();
    }
    pid_t pid = -1;
    const int code = ::posix_spawn(&pid, program.c_str(), &actions, nullptr,
                                   arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(pipe_fds[1]);
    if (code != 0) {
      ::close(pipe_fds[0]);
      return Fail(Status::FromErrno(code, "cannot start " + program));
    }
    return Writer(pid, pipe_fds[0]);
  }

  Writer(Writer&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        ready_fd_(std::exchange(other.ready_fd_, -1)) {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  Writer& operator=(Writer&&) = delete;
  ~Writer() {
    Kill();
    if (ready_fd_ >= 0) {
      ::close(ready_fd_);
    }
  }

  /// Until it has written enough.
  Status WaitUntilReady() {
    char byte = 0;
    if (::read(ready_fd_, &byte, 1) != 1) {
      return Status::Internal("the writer ended before it was killed");
    }
    return Status::Ok();
  }

  void Kill() noexcept {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = -1;
    }
  }

 private:
  Writer(pid_t pid, int ready_fd) noexcept : pid_(pid), ready_fd_(ready_fd) {}
  pid_t pid_;
  int ready_fd_;
};

/// What one writer has had acknowledged at least.
std::uint64_t AcknowledgedCount(std::uint64_t item_count) {
  return std::min(kRecoverWriteCount, item_count / 2);
}

Status CheckAcknowledged(Fixtures& fixtures, KeyValueStore& store,
                         std::uint64_t item_count, std::uint64_t generation) {
  constexpr std::uint64_t kSampleCount = 200;
  const std::uint64_t count = AcknowledgedCount(item_count);
  Random random(generation);
  for (std::uint64_t i = 0; i < kSampleCount; ++i) {
    const std::uint64_t index = i == 0 ? count - 1 : random.Below(count);
    LARDER_RETURN_IF_ERROR(CheckItem(
        store, fixtures.Key(index),
        fixtures.Value(ValueIndex(index, generation), kOpenValueSize)));
  }
  return Status::Ok();
}

void BenchRecover(benchmark::State& state, Fixtures& fixtures, EngineKind kind,
                  std::uint64_t item_count, const std::string& program) {
  const auto path = fixtures.ClosedStore(kind, item_count);
  if (!path) {
    return Skip(state, path.error());
  }
  static std::uint64_t generation = 0;  // Never the same bytes twice.
  for (auto _ : state) {
    ++generation;
    auto writer = Writer::Start(program, kind, *path, item_count, generation,
                                fixtures.seed());
    if (!writer) {
      return Skip(state, writer.error());
    }
    if (const Status ready = writer->WaitUntilReady(); !ready.ok()) {
      return Skip(state, ready);
    }
    writer->Kill();
    auto store = TimedOpen(state, kind, *path, fixtures.store_options());
    if (!store) {
      return Skip(state, store.error());
    }
    Status status =
        CheckAcknowledged(fixtures, **store, item_count, generation);
    if (status.ok()) {
      status = (*store)->Close();
    }
    if (!status.ok()) {
      return Skip(state, status);
    }
  }
}

std::string Name(std::string_view operation, EngineKind kind,
                 std::uint64_t item_count) {
  return "BM_" + std::string(operation) + "/" + std::string(EngineName(kind)) +
         "/" + std::to_string(item_count);
}

}  // namespace

void RegisterOpening(Fixtures& fixtures, std::span<const EngineKind> engines,
                     const std::string& program) {
  const std::uint64_t item_count = fixtures.Scaled(kOpenItemCount);
  for (const EngineKind kind : engines) {
    benchmark::RegisterBenchmark(
        Name("Open", kind, item_count).c_str(),
        [&fixtures, kind, item_count](benchmark::State& state) {
          BenchOpen(state, fixtures, kind, item_count);
        })
        ->Iterations(kOpenIterations)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(
        Name("Recover", kind, item_count).c_str(),
        [&fixtures, kind, item_count, program](benchmark::State& state) {
          BenchRecover(state, fixtures, kind, item_count, program);
        })
        ->Iterations(kRecoverIterations)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  }
}

int RunWriterUntilKilled(std::span<char* const> arguments) {
  constexpr std::size_t kArgumentCount = 5;
  if (arguments.size() != kArgumentCount) {
    std::fprintf(stderr, "%s is for larder_bench's own use\n", kWriterFlag);
    return EXIT_FAILURE;
  }
  const auto kind = EngineFromName(arguments[0]);
  const std::uint64_t item_count = std::strtoull(arguments[2], nullptr, 10);
  const std::uint64_t generation = std::strtoull(arguments[3], nullptr, 10);
  const std::uint64_t seed = std::strtoull(arguments[4], nullptr, 10);
  if (!kind || item_count < 2) {
    return EXIT_FAILURE;
  }
  Fixtures fixtures({.parent_directory = {}, .scale = 1.0, .seed = seed});
  auto store = OpenStore(*kind, arguments[1], fixtures.store_options());
  if (!store) {
    std::fprintf(stderr, "writer: %s\n", store.error().ToString().c_str());
    return EXIT_FAILURE;
  }
  const std::uint64_t count = AcknowledgedCount(item_count);
  fixtures.MakeKeysUpTo(count);
  for (std::uint64_t done = 0;; ++done) {
    const std::uint64_t index = done % count;
    const Status status = (*store)->Set(
        fixtures.Key(index),
        fixtures.Value(ValueIndex(index, generation), kOpenValueSize));
    if (!status.ok()) {
      std::fprintf(stderr, "writer: %s\n", status.ToString().c_str());
      return EXIT_FAILURE;
    }
    if (done + 1 == count && ::write(STDOUT_FILENO, "!", 1) != 1) {
      return EXIT_FAILURE;
    }
  }
}

}  // namespace larder::bench
