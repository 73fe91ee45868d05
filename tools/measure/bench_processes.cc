// Several processes under one load.
//
// The children are forked before anything is opened and meet in one shared
// mapping: each counts itself ready after its warm-up and waits for the go. A
// child that fails leaves its reason there and counts itself ready too, so
// nobody waits for ever; one that dies is seen by waitpid. When the load is
// stopped, all are told there, and end in order.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands/interruption.h"
#include "measure/bench_run.h"

namespace larder::tools {
namespace {

constexpr std::size_t kMessageSizeBytesMax = 1024;
constexpr useconds_t kPollMicroseconds = 500;
// Of the parent while the children work: it is not to take their time.
constexpr useconds_t kWatchMicroseconds = 20'000;

struct SharedProcess {
  std::uint8_t code = 0;  // A StatusCode.
  char message[kMessageSizeBytesMax] = {};
  BenchResult result;
};

struct SharedBench {
  std::atomic<std::uint32_t> ready_count = 0;
  std::atomic<std::uint32_t> go = 0;
  std::atomic<int> stopped = 0;
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(std::atomic<int>::is_always_lock_free);

struct Unmap {
  std::size_t size = 0;
  void operator()(void* address) const { ::munmap(address, size); }
};

// The shared mapping: a SharedBench, then one SharedProcess per child.
class Meeting {
 public:
  static Result<Meeting> Create(unsigned process_count) {
    const std::size_t size = sizeof(SharedBench) + alignof(SharedProcess) +
                             process_count * sizeof(SharedProcess);
    void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) {
      return Fail(Status::FromErrno(errno, "cannot map shared memory"));
    }
    return Meeting(address, size, process_count);
  }
  [[nodiscard]] SharedBench& bench() const { return *bench_; }
  [[nodiscard]] SharedProcess& process(unsigned i) const {
    return processes_[i];
  }

 private:
  Meeting(void* address, std::size_t size, unsigned process_count)
      : mapping_(address, Unmap{size}), bench_(new (address) SharedBench) {
    void* next = static_cast<char*>(address) + sizeof(SharedBench);
    std::size_t space = size - sizeof(SharedBench);
    next = std::align(alignof(SharedProcess),
                      process_count * sizeof(SharedProcess), next, space);
    processes_ = static_cast<SharedProcess*>(next);
    std::uninitialized_default_construct_n(processes_, process_count);
  }

  std::unique_ptr<void, Unmap> mapping_;
  SharedBench* bench_;
  SharedProcess* processes_ = nullptr;
};

Status RunChild(BenchOptions options, const OpenBenchTarget& open,
                unsigned index, const Meeting& meeting, bool& counted) {
  options.stopped = &meeting.bench().stopped;
  const auto target = open();
  if (!target) {
    return target.error();
  }
  const auto wait = [&] {
    counted = true;
    meeting.bench().ready_count.fetch_add(1);
    while (meeting.bench().go.load() == 0 && options.stopped->load() == 0) {
      ::usleep(kPollMicroseconds);
    }
  };
  const auto result = RunBenchProcess(**target, options, index, wait);
  const Status closed = (*target)->Close();
  if (!result) {
    return result.error();
  }
  meeting.process(index).result = *result;
  return closed;
}

[[noreturn]] void ChildMain(const BenchOptions& options,
                            const OpenBenchTarget& open, unsigned index,
                            const Meeting& meeting) {
  Interruption::LeaveToParent();
  bool counted = false;
  const Status status = RunChild(options, open, index, meeting, counted);
  SharedProcess& shared = meeting.process(index);
  const std::size_t size =
      std::min(status.message().size(), sizeof(shared.message) - 1);
  std::memcpy(shared.message, status.message().data(), size);
  shared.code = static_cast<std::uint8_t>(status.code());
  if (!counted) {
    meeting.bench().ready_count.fetch_add(1);
  }
  ::_exit(0);
}

// Takes in children that have ended; each that did not end by itself counts
// as ready, so that the others are let go. Returns how many there are yet.
std::size_t Reap(std::vector<pid_t>& children, SharedBench& bench,
                 Status& failure) {
  for (pid_t& child : children) {
    int state = 0;
    if (::waitpid(child, &state, WNOHANG) == child) {
      if (!WIFEXITED(state) || WEXITSTATUS(state) != 0) {
        failure = Status::Internal(
            fmt::format("process {} of the benchmark died", child));
        bench.ready_count.fetch_add(1);
      }
      child = 0;
    }
  }
  std::erase(children, 0);
  return children.size();
}

}  // namespace

Result<BenchResult> RunBenchProcesses(const BenchOptions& options,
                                      const OpenBenchTarget& open) {
  const auto meeting = Meeting::Create(options.processes);
  if (!meeting) {
    return Fail(meeting.error());
  }
  Status failure;
  std::vector<pid_t> children;
  for (unsigned i = 0; i < options.processes; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ChildMain(options, open, i, *meeting);
    }
    if (child < 0) {
      failure = Status::FromErrno(errno, "cannot fork");
      break;
    }
    children.push_back(child);
  }
  SharedBench& bench = meeting->bench();
  const std::size_t started = children.size();
  while (Reap(children, bench, failure) > 0) {
    const bool go = bench.ready_count.load() >= started;
    if (go) bench.go.store(1);
    const bool is_told =
        options.stopped != nullptr && options.stopped->load() != 0;
    if (is_told || !failure.ok()) bench.stopped.store(1);
    ::usleep(go ? kWatchMicroseconds : kPollMicroseconds);
  }
  LARDER_FAIL_IF_ERROR(failure);
  BenchResult all;
  for (unsigned i = 0; i < options.processes; ++i) {
    const SharedProcess& process = meeting->process(i);
    if (process.code != 0) {
      return Fail(
          Status(static_cast<StatusCode>(process.code), process.message));
    }
    all.Merge(process.result);
  }
  return all;
}

}  // namespace larder::tools
