#include "cap/cap_exact.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cap/cap_driver.h"
#include "cap/disk_sampler.h"
#include "stores/store_adapter.h"
#include "stores/work_directory.h"
#include "stores/workload.h"

namespace larder::bench {

namespace {

constexpr const char* kWriterFlag = "--cap-writer";
constexpr auto kBetweenLooks = std::chrono::milliseconds(15);

/// What a writer process is told, in the order of its arguments.
struct WriterTask {
  std::string workload;
  std::filesystem::path directory;
  std::uint64_t limit_bytes = 0;
  double factor = 0;
  std::uint64_t seed = 0;
  std::uint64_t process = 0;
};

/// What it tells, as one line of text in this order.
struct WriterReport {
  std::uint64_t set_count = 0;
  std::uint64_t refused_count = 0;
  std::uint64_t verified_count = 0;
};

Result<WriterReport> Write(const WriterTask& task) {
  const CapWorkload* workload = FindCapWorkload(task.workload);
  if (workload == nullptr) {
    return Fail(Status::InvalidArgument("no workload " + task.workload));
  }
  const ValuePool pool(CapValueSizeMax(*workload, task.limit_bytes), task.seed);
  auto store = OpenStore(EngineKind::kLarder, task.directory,
                         CapStoreOptions(*workload, task.limit_bytes));
  if (!store) {
    return Fail(std::move(store.error()));
  }
  const auto threads = static_cast<std::uint64_t>(workload->thread_count);
  const std::uint64_t writers =
      threads * static_cast<std::uint64_t>(workload->process_count);
  std::vector<Driver> drivers;
  drivers.reserve(threads);
  for (std::uint64_t i = 0; i < threads; ++i) {
    drivers.emplace_back(**store, pool, task.seed, task.limit_bytes,
                         CapWriter{task.process * threads + i, writers},
                         Driver::WhenRefused::kCount);
  }
  std::vector<Status> statuses(threads);
  {
    std::vector<std::jthread> running;
    for (std::uint64_t i = 0; i < threads; ++i) {
      running.emplace_back([&, i] {
        statuses[i] = drivers[i].Run(
            workload->start(task.limit_bytes,
                            task.factor / static_cast<double>(writers),
                            task.seed + task.process * threads + i),
            nullptr);
      });
    }
  }
  WriterReport report;
  for (std::uint64_t i = 0; i < threads; ++i) {
    LARDER_FAIL_IF_ERROR(std::move(statuses[i]));
    const auto verified = drivers[i].Verify();
    if (!verified) {
      return Fail(verified.error());
    }
    report.verified_count += *verified;
    report.refused_count += drivers[i].refused_count();
    report.set_count += drivers[i].TakeSpeed().set_count;
  }
  LARDER_FAIL_IF_ERROR((*store)->Close());
  return report;
}

template <typename T>
bool Parse(std::string_view text, T& value) {
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

/// A writer process, killed at the latest by the destructor.
class Writer {
 public:
  /// It writes its report to `output`.
  static Result<Writer> Start(const std::filesystem::path& program,
                              const WriterTask& task,
                              std::filesystem::path output) {
    std::array<std::string, 8> texts{program.string(),
                                     kWriterFlag,
                                     task.workload,
                                     task.directory.string(),
                                     std::to_string(task.limit_bytes),
                                     fmt::format("{}", task.factor),
                                     std::to_string(task.seed),
                                     std::to_string(task.process)};
    std::array<char*, 9> arguments{};
    for (std::size_t i = 0; i < texts.size(); ++i) {
      arguments[i] = texts[i].data();
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t pid = -1;
    const int code = ::posix_spawn(&pid, texts[0].c_str(), &actions, nullptr,
                                   arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (code != 0) {
      return Fail(Status::FromErrno(code, "cannot start a writer"));
    }
    return Writer(pid, std::move(output));
  }

  Writer(Writer&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        output_(std::move(other.output_)) {}
  Writer& operator=(Writer&&) = delete;
  ~Writer() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  /// Returns once all of its threads stand still. False: it has ended.
  bool Stop() {
    if (pid_ <= 0) {
      return false;
    }
    ::kill(pid_, SIGSTOP);
    int status = 0;
    while (::waitpid(pid_, &status, WUNTRACED) < 0 && errno == EINTR) {
    }
    if (WIFSTOPPED(status)) {
      return true;
    }
    ended_well_ = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    pid_ = -1;
    return false;
  }
  void Continue() const { ::kill(pid_, SIGCONT); }

  /// Once it has ended.
  [[nodiscard]] Result<WriterReport> Report() const {
    WriterReport report;
    std::ifstream file(output_);
    if (!ended_well_ || !(file >> report.set_count >> report.refused_count >>
                          report.verified_count)) {
      return Fail(Status(StatusCode::kInternal,
                         "a writer process failed: see what it wrote"));
    }
    return report;
  }

 private:
  Writer(pid_t pid, std::filesystem::path output)
      : pid_(pid), output_(std::move(output)) {}

  pid_t pid_;
  std::filesystem::path output_;
  bool ended_well_ = false;
};

/// Stops all of `writers`, looks, and lets them go on. False: all have ended.
bool Look(std::vector<Writer>& writers, const std::filesystem::path& directory,
          std::uint64_t limit_bytes, ExactResult& result) {
  std::vector<Writer*> stopped;
  for (Writer& writer : writers) {
    if (writer.Stop()) {
      stopped.push_back(&writer);
    }
  }
  std::uint64_t bytes = DirectoryBytes(directory);
  if (bytes > limit_bytes) {
    // Some file systems give blocks back a moment later than they say.
    bytes = std::min(bytes, DirectoryBytes(directory));
  }
  for (const Writer* writer : stopped) {
    writer->Continue();
  }
  ++result.sample_count;
  result.over_count += bytes > limit_bytes ? 1 : 0;
  result.directory_ratio_max =
      std::max(result.directory_ratio_max,
               static_cast<double>(bytes) / static_cast<double>(limit_bytes));
  return !stopped.empty();
}

Status CountLiveItems(const CapWorkload& workload,
                      const std::filesystem::path& directory,
                      std::uint64_t limit_bytes, ExactResult& result) {
  auto store = OpenStore(EngineKind::kLarder, directory,
                         CapStoreOptions(workload, limit_bytes));
  if (!store) {
    return std::move(store.error());
  }
  std::uint64_t payload_bytes = 0;
  LARDER_RETURN_IF_ERROR((*store)->ForEachItem(
      [&](std::string_view, std::uint64_t size) { payload_bytes += size; }));
  result.live_share_end =
      static_cast<double>(payload_bytes) / static_cast<double>(limit_bytes);
  return (*store)->Close();
}

}  // namespace

Result<ExactResult> RunExact(const CapWorkload& workload,
                             std::uint64_t limit_bytes,
                             const ExactOptions& options) {
  const auto work = WorkDirectory::Make(options.parent_directory);
  if (!work) {
    return Fail(work.error());
  }
  const std::filesystem::path directory = work->path() / "cache";
  std::vector<Writer> writers;
  for (int i = 0; i < workload.process_count; ++i) {
    auto writer =
        Writer::Start(options.program,
                      {workload.name, directory, limit_bytes, options.factor,
                       options.seed, static_cast<std::uint64_t>(i)},
                      work->path() / fmt::format("writer-{}", i));
    if (!writer) {
      return Fail(std::move(writer.error()));
    }
    writers.push_back(std::move(*writer));
  }
  ExactResult result;
  do {
    std::this_thread::sleep_for(kBetweenLooks);
  } while (Look(writers, directory, limit_bytes, result));
  for (const Writer& writer : writers) {
    const auto report = writer.Report();
    if (!report) {
      return Fail(report.error());
    }
    result.set_count += report->set_count;
    result.refused_count += report->refused_count;
    result.verified_count += report->verified_count;
  }
  LARDER_FAIL_IF_ERROR(
      CountLiveItems(workload, directory, limit_bytes, result));
  return result;
}

bool RunWriterIfAsked(int argc, char** argv, int& exit_code) {
  constexpr int kArgumentCount = 8;
  if (argc < 2 || std::strcmp(argv[1], kWriterFlag) != 0) {
    return false;
  }
  exit_code = EXIT_FAILURE;
  WriterTask task;
  if (argc != kArgumentCount || !Parse(argv[4], task.limit_bytes) ||
      !Parse(argv[5], task.factor) || !Parse(argv[6], task.seed) ||
      !Parse(argv[7], task.process)) {
    std::fputs("cap: a writer is started by cap itself\n", stderr);
    return true;
  }
  task.workload = argv[2];
  task.directory = argv[3];
  const auto report = Write(task);
  if (!report) {
    std::fprintf(stderr, "cap: writer %s of %s: %s\n", argv[7], argv[2],
                 report.error().ToString().c_str());
    return true;
  }
  fmt::print("{} {} {}\n", report->set_count, report->refused_count,
             report->verified_count);
  exit_code = EXIT_SUCCESS;
  return true;
}

}  // namespace larder::bench
