// Starts the processes of a round, disturbs them, samples how large the
// directory is, and at last, when all have ended, looks at every key again. It
// has one thread and opens the cache only when nobody else has it.

#include "torture/storm_run.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands/interruption.h"
#include "measure/random_keys.h"
#include "torture/storm_thread.h"

namespace larder::tools {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr milliseconds kPoll{5};
constexpr milliseconds kSampleInterval{200};
constexpr milliseconds kLongStop{10'500};
constexpr std::size_t kProblemsMax = 20;
constexpr std::uint64_t kDiedMax = 10;
constexpr double kOverLimitShare = 1.0;
// What a process may write at other times. Not everything: one that has a limit
// already takes a lower one at once.
constexpr rlim_t kFileSizeMax = rlim_t{1} << 50;
// A file system that is filled has to be one made for that.
constexpr std::uint64_t kFilledBytesMax = std::uint64_t{8} << 30;

// As `du` counts them.
std::uint64_t DiskBytes(const std::string& directory) {
  std::uint64_t bytes = 0;
  std::error_code error;
  std::filesystem::recursive_directory_iterator it(directory, error);
  for (; !error && it != std::filesystem::recursive_directory_iterator();
       it.increment(error)) {
    struct stat info {};
    if (::lstat(it->path().c_str(), &info) == 0) {
      bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
    }
  }
  return bytes;
}

// The largest kinds of files, for whoever looks for why there are too many.
std::string DescribeFiles(const std::string& directory) {
  std::map<std::string, std::pair<std::uint64_t, int>> kinds;
  std::error_code error;
  std::filesystem::recursive_directory_iterator it(directory, error);
  for (; !error && it != std::filesystem::recursive_directory_iterator();
       it.increment(error)) {
    struct stat info {};
    if (::lstat(it->path().c_str(), &info) != 0) continue;
    auto& [bytes, count] = kinds[it->path().parent_path().filename().string() +
                                 "/*" + it->path().extension().string()];
    bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
    ++count;
  }
  std::string text;
  for (const auto& [kind, sum] : kinds) {
    text += fmt::format("{}{}: {} in {}", text.empty() ? "" : ", ", kind,
                        sum.first, sum.second);
  }
  return text;
}

struct Setup {
  std::uint64_t size_limit = 0;
  bool evicts = false;
  std::uint32_t keys = 0;
};

Setup SetupOf(std::uint64_t seed) {
  constexpr std::array<std::uint64_t, 3> kLimits = {64 * kMiB, 128 * kMiB,
                                                    256 * kMiB};
  Setup setup;
  setup.evicts = seed % 2 != 0;
  setup.size_limit = kLimits[seed / 2 % kLimits.size()];
  // Some 300 KiB each, with what is deleted and has expired: full, or twice
  // that.
  constexpr std::uint64_t kBytesPerKey = 200 * 1024;
  setup.keys = static_cast<std::uint32_t>(setup.size_limit / kBytesPerKey *
                                          (setup.evicts ? 2 : 1));
  return setup;
}

struct Process {
  pid_t pid = 0;
  std::uint64_t progress = 0;
  SteadyClock::time_point progressed;
  std::optional<SteadyClock::time_point> stopped_until;
};

class Storm {
 public:
  Storm(const StormOptions& options, StormBoard board)
      : options_(options),
        setup_(SetupOf(options.seed)),
        board_(std::move(board)),
        random_(options.seed),
        processes_(options.processes) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // Children of those who are killed.
  }
  ~Storm() {
    SetDiskFull(false);
    for (const Process& process : processes_) {
      if (process.pid > 0) ::kill(process.pid, SIGKILL);
    }
    for (const Process& process : processes_) {
      if (process.pid > 0) ::waitpid(process.pid, nullptr, 0);
    }
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  }
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  Result<StormReport> Run() {
    const auto begin = SteadyClock::now();
    disturbed_ = begin;
    const auto end =
        begin + std::chrono::duration_cast<SteadyClock::duration>(
                    std::chrono::duration<double>(options_.seconds));
    for (unsigned i = 0; i < options_.processes; ++i) {
      LARDER_FAIL_IF_ERROR(Start(i));
    }
    SetNext();
    while (SteadyClock::now() < end && report_.died < kDiedMax &&
           !IsStopped()) {
      LARDER_FAIL_IF_ERROR(Watch(/*restart=*/true));
      if (SteadyClock::now() >= next_) {
        Disturb();
        SetNext();
      }
      std::this_thread::sleep_for(kPoll);
    }
    LARDER_FAIL_IF_ERROR(EndAll());
    if (!IsStopped()) LookAtAll();
    report_.rounds = 1;
    report_.seconds =
        std::chrono::duration<double>(SteadyClock::now() - begin).count();
    return Summed();
  }

 private:
  [[nodiscard]] bool IsStopped() const {
    return options_.stopped != nullptr && options_.stopped->load() != 0;
  }

  void AddProblem(std::string problem) {
    if (report_.problems.size() < kProblemsMax) {
      report_.problems.push_back(std::move(problem));
    }
  }

  Status Start(unsigned index) {
    const std::array<std::string, 9> words = {
        "larder",
        "torture-storm",
        options_.directory,
        options_.work,
        std::to_string(index),
        std::to_string(options_.processes),
        std::to_string(setup_.keys),
        std::to_string(options_.seed),
        std::to_string(::getpid())};
    std::array<char*, words.size() + 1> arguments{};
    for (std::size_t i = 0; i < words.size(); ++i) {
      arguments[i] = const_cast<char*>(words[i].c_str());  // As exec wants it.
    }
    const std::string log = fmt::format("{}/messages.{}", options_.work, index);
    const pid_t child = ::fork();
    if (child < 0) return Status::FromErrno(errno, "fork");
    if (child == 0) {
      Interruption::LeaveToParent();
      SetFileSizeMax(::getpid(), kFileSizeMax);
      const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      if (fd >= 0) ::dup2(fd, STDERR_FILENO);
      ::execv(options_.program.c_str(), arguments.data());
      ::_exit(127);
    }
    board_->slots[index].has_store = 0;
    processes_[index] = {.pid = child,
                         .progress = board_->slots[index].progress,
                         .progressed = SteadyClock::now(),
                         .stopped_until = {}};
    return Status::Ok();
  }

  // So that the pauses between kills are half to one and a half of it.
  void SetNext() {
    const auto every = static_cast<std::uint64_t>(options_.kill_every.count());
    next_ = every == 0 ? SteadyClock::time_point::max()
                       : SteadyClock::now() +
                             milliseconds(every / 2 + random_.Below(every + 1));
  }

  std::optional<unsigned> IndexOf(pid_t pid) const {
    for (unsigned i = 0; i < processes_.size(); ++i) {
      if (processes_[i].pid == pid) return i;
    }
    return std::nullopt;
  }

  Status Watch(bool restart) {
    const auto now = SteadyClock::now();
    if (fault_until_ && now > *fault_until_) EndFault();
    if (full_until_ && now > *full_until_) SetDiskFull(false);
    if (now >= next_sample_) Sample();
    for (unsigned i = 0; i < processes_.size(); ++i) {
      Process& process = processes_[i];
      if (process.stopped_until && now > *process.stopped_until) Continue(i);
      EndIfHung(i);
    }
    for (;;) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, WNOHANG);
      has_children_ = pid >= 0;  // Else it is ECHILD.
      if (pid <= 0) return Status::Ok();
      LARDER_RETURN_IF_ERROR(NoteEnd(pid, status, restart));
    }
  }

  Status NoteEnd(pid_t pid, int status, bool restart) {
    const std::optional<unsigned> index = IndexOf(pid);
    const bool is_killed = std::erase(killed_, pid) != 0 && WIFSIGNALED(status);
    const bool is_good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!is_killed && !(is_good && (!restart || !index))) {
      ++report_.died;
      AddProblem(fmt::format(
          "{} (process {}) ended with {} {}",
          index ? fmt::format("process {}", *index) : "a forked child", pid,
          WIFSIGNALED(status) ? "signal" : "exit code",
          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)));
    }
    if (!index) return Status::Ok();
    processes_[*index].pid = 0;
    processes_[*index].stopped_until.reset();
    return restart ? Start(*index) : Status::Ok();
  }

  void EndIfHung(unsigned index) {
    Process& process = processes_[index];
    const std::uint64_t progress = board_->slots[index].progress;
    const auto now = SteadyClock::now();
    // Who waits for one that is stopped does not hang.
    const bool any_stopped = std::any_of(
        processes_.begin(), processes_.end(),
        [](const Process& p) { return p.stopped_until.has_value(); });
    if (process.pid == 0 || any_stopped || progress != process.progress) {
      process.progress = progress;
      process.progressed = now;
      return;
    }
    if (now - process.progressed < options_.hang_after) return;
    ++report_.hung;
    AddProblem(fmt::format(
        "process {} ({}) made no progress for {:.0f} s", index, process.pid,
        std::chrono::duration<double>(now - process.progressed).count()));
    Kill(index);
  }

  void Kill(unsigned index) {
    killed_.push_back(processes_[index].pid);
    processes_[index].progressed = SteadyClock::now();
    ::kill(processes_[index].pid, SIGKILL);
  }

  void Continue(unsigned index) {
    ::kill(processes_[index].pid, SIGCONT);
    processes_[index].stopped_until.reset();
  }

  std::optional<unsigned> Holder() const {
    for (unsigned i = 0; i < processes_.size(); ++i) {
      if (board_->slots[i].has_store != 0) return i;
    }
    return std::nullopt;
  }

  void Disturb() {
    const std::optional<unsigned> holder = Holder();
    auto victim = static_cast<unsigned>(random_.Below(processes_.size()));
    if (holder && random_.Below(2) == 0) victim = *holder;
    if (processes_[victim].pid == 0) return;
    const bool no_full_disk_yet = options_.fill_disk && report_.full_disks == 0;
    const std::uint64_t kind = no_full_disk_yet ? 27 : random_.Below(100);
    disturbed_ = SteadyClock::now();
    disturbance_ = kind < 12 ? "a stop" : kind < 28 ? "a fault" : "a kill";
    if (victim == holder) disturbance_ += " of the holder";
    if (kind < 1) return Stop(victim, kLongStop, report_.long_stops);
    if (kind < 12) {
      return Stop(victim, milliseconds(10 + random_.Below(400)), report_.stops);
    }
    if (kind < 20 && holder) return BeginFault(*holder);
    if (kind < 28 && options_.fill_disk) return SetDiskFull(true);
    ++(victim == holder ? report_.holders_killed : report_.clients_killed);
    Kill(victim);
  }

  void Stop(unsigned victim, milliseconds time, std::uint64_t& count) {
    if (processes_[victim].stopped_until) return;
    ++count;
    ::kill(processes_[victim].pid, SIGSTOP);
    processes_[victim].stopped_until = SteadyClock::now() + time;
  }

  // Its files may not grow for a while: writes fail, and heal.
  void BeginFault(unsigned victim) {
    if (fault_until_) return;
    faulty_pid_ = processes_[victim].pid;
    SetFileSizeMax(faulty_pid_, random_.Below(2) * 64 * 1024);
    fault_until_ = SteadyClock::now() + milliseconds(20 + random_.Below(1000));
    ++report_.write_faults;
  }
  void EndFault() {
    fault_until_.reset();
    SetFileSizeMax(faulty_pid_, kFileSizeMax);
  }
  static void SetFileSizeMax(pid_t pid, rlim_t bytes) {
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
    // Whoever has died meanwhile needs it no more.
    static_cast<void>(::prlimit(pid, RLIMIT_FSIZE, &limit, nullptr));
  }

  void SetDiskFull(bool full) {
    const std::string ballast = options_.directory + ".ballast";
    full_until_.reset();
    if (!full) {
      ::unlink(ballast.c_str());
      return;
    }
    struct statvfs info {};
    if (::statvfs(options_.work.c_str(), &info) != 0 ||
        std::uint64_t{info.f_blocks} * info.f_frsize > kFilledBytesMax) {
      return;
    }
    const int fd =
        ::open(ballast.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return;
    const std::uint64_t free = std::uint64_t{info.f_bavail} * info.f_frsize;
    // Processes write meanwhile: what can be had, to the last page.
    std::uint64_t taken = 0;
    for (std::uint64_t step = free; step >= 4096; step /= 2) {
      while (::posix_fallocate(fd, static_cast<off_t>(taken),
                               static_cast<off_t>(step)) == 0) {
        taken += step;
      }
    }
    ::close(fd);
    ++report_.full_disks;
    full_until_ = SteadyClock::now() + milliseconds(100 + random_.Below(1500));
  }

  [[nodiscard]] double Share() const {
    return static_cast<double>(DiskBytes(options_.directory)) /
           static_cast<double>(setup_.size_limit);
  }
  // Files that come and go while they are added up may be too many: what seems
  // to be over the limit is added up again while nobody runs.
  [[nodiscard]] double ShareAtRest(std::string& files) const {
    constexpr milliseconds kUntilAllStand{5};
    SignalRunning(SIGSTOP);
    std::this_thread::sleep_for(kUntilAllStand);
    const double share = Share();
    files = DescribeFiles(options_.directory);
    SignalRunning(SIGCONT);
    return share;
  }
  void SignalRunning(int signal) const {
    for (const Process& process : processes_) {
      if (process.pid > 0 && !process.stopped_until) {
        ::kill(process.pid, signal);
      }
    }
  }

  void Sample() {
    next_sample_ = SteadyClock::now() + kSampleInterval;
    double share = Share();
    std::string files;
    if (share > kOverLimitShare) share = ShareAtRest(files);
    ++report_.size_samples;
    report_.size_max = std::max(report_.size_max, share);
    if (share <= kOverLimitShare) return;
    ++report_.over_limit;
    AddProblem(fmt::format(
        "the directory was {:.3f} of its limit, {:.0f} ms after {} ({})", share,
        std::chrono::duration<double, std::milli>(SteadyClock::now() -
                                                  disturbed_)
            .count(),
        disturbance_, files));
  }

  Status EndAll() {
    board_->stop = 1;
    if (fault_until_) EndFault();
    SetDiskFull(false);
    for (unsigned i = 0; i < processes_.size(); ++i) {
      if (processes_[i].stopped_until) Continue(i);
    }
    // Forked children, also of who was killed, end by themselves, or by their
    // alarm. Until then they use the cache.
    for (;;) {
      LARDER_RETURN_IF_ERROR(Watch(/*restart=*/false));
      if (!has_children_) return Status::Ok();
      std::this_thread::sleep_for(kPoll);
    }
  }

  // Nobody has the cache open now, and nothing is under way.
  void LookAtAll() {
    CacheOptions cache_options = StormCacheOptions(options_.seed);
    cache_options.log = [this](std::string_view line) { board_.Note(line); };
    auto cache = Cache::Open(options_.directory, cache_options);
    if (!cache) {
      board_.Report(StormFault::kUnexpected,
                    "the last Open: " + cache.error().ToString());
      return;
    }
    StormWorkerOptions reader;
    reader.keys = setup_.keys;
    reader.evicts = setup_.evicts;
    {
      StormThread thread(reader, board_, **cache, 0, options_.seed);
      for (std::uint32_t key = 0; key < setup_.keys; ++key) {
        thread.ReadKey(key);
      }
      thread.Finish();
    }
    LookAtCounts(**cache);
    const Status closed = (*cache)->Close();
    if (!closed.ok()) {
      board_.Report(StormFault::kUnexpected,
                    "the last Close: " + closed.ToString());
    }
  }

  void LookAtCounts(Cache& cache) {
    const auto check = cache.Check();
    const auto stats = cache.Stats();
    if (!check || !stats) {
      board_.Report(StormFault::kUnexpected,
                    (check ? stats.error() : check.error()).ToString());
      return;
    }
    report_.damaged = check->values_damaged + check->values_missing +
                      (check->counters_match ? 0 : 1) + stats->corruptions;
    for (const std::string& problem : check->problems) AddProblem(problem);
    if (stats->corruptions != 0) {
      AddProblem(
          fmt::format("{} damaged items were found", stats->corruptions));
      AddNotes();
    }
    if (!setup_.evicts) report_.evicted = stats->evictions;
  }

  // What the processes logged of damage.
  void AddNotes() {
    for (std::string& line : board_.Notes()) {
      if (line.find("damaged") != std::string::npos ||
          line.find("dropping") != std::string::npos) {
        AddProblem(std::move(line));
      }
    }
  }

  StormReport Summed() {
    const StormFigures& figures = board_->figures;
    report_.acknowledged = figures.acknowledged;
    report_.reads = figures.reads;
    report_.bytes_compared = figures.bytes_compared;
    report_.handles_held = figures.handles_held;
    report_.streams = figures.streams;
    report_.clears = figures.clears;
    report_.forks = figures.forks;
    report_.refused = figures.refused;
    report_.in_doubt = figures.in_doubt;
    for (std::size_t i = 0; i < kStormFaultCount; ++i) {
      report_.faults[i] = board_->faults[i];
    }
    std::ifstream lines(board_.faults_path());
    for (std::string line; std::getline(lines, line);) AddProblem(line);
    return std::move(report_);
  }

  const StormOptions& options_;
  const Setup setup_;
  const StormBoard board_;
  Random random_;
  std::vector<Process> processes_;
  std::vector<pid_t> killed_;
  bool has_children_ = false;  // After Watch, forked ones of others, too.
  StormReport report_;
  SteadyClock::time_point next_;
  SteadyClock::time_point next_sample_;
  SteadyClock::time_point disturbed_;  // The last time, and what it was.
  std::string disturbance_ = "the begin";
  std::optional<SteadyClock::time_point> fault_until_;
  std::optional<SteadyClock::time_point> full_until_;
  pid_t faulty_pid_ = 0;
};

}  // namespace

bool StormReport::ok() const noexcept {
  return std::all_of(faults.begin(), faults.end(),
                     [](std::uint64_t count) { return count == 0; }) &&
         damaged == 0 && evicted == 0 && hung == 0 && died == 0 &&
         over_limit == 0;
}

void StormReport::Add(const StormReport& round) {
  static constexpr std::array kSums = {
      &StormReport::rounds,         &StormReport::holders_killed,
      &StormReport::clients_killed, &StormReport::stops,
      &StormReport::long_stops,     &StormReport::write_faults,
      &StormReport::full_disks,     &StormReport::acknowledged,
      &StormReport::reads,          &StormReport::bytes_compared,
      &StormReport::handles_held,   &StormReport::streams,
      &StormReport::clears,         &StormReport::forks,
      &StormReport::refused,        &StormReport::in_doubt,
      &StormReport::damaged,        &StormReport::evicted,
      &StormReport::hung,           &StormReport::died,
      &StormReport::size_samples,   &StormReport::over_limit};
  for (const auto sum : kSums) this->*sum += round.*sum;
  for (std::size_t i = 0; i < kStormFaultCount; ++i) {
    faults[i] += round.faults[i];
  }
  size_max = std::max(size_max, round.size_max);
  seconds += round.seconds;
  for (const std::string& problem : round.problems) {
    if (problems.size() < kProblemsMax) problems.push_back(problem);
  }
}

CacheOptions StormCacheOptions(std::uint64_t seed) {
  const Setup setup = SetupOf(seed);
  CacheOptions options;
  options.settings = {{"size_limit", std::to_string(setup.size_limit)},
                      {"when_full", setup.evicts ? "evict" : "fail"}};
  return options;
}

void SetUpStormWorker(StormWorkerOptions& options) {
  constexpr std::uint64_t kStreamBytesMax = 16 << 20;
  options.evicts = SetupOf(options.seed).evicts;
  options.stream_size_max = kStreamBytesMax;
  options.faulty = true;
}

Result<StormReport> RunStorm(const StormOptions& options) {
  auto board = StormBoard::Create(options.work);
  if (!board) return Fail(board.error());
  return Storm(options, std::move(*board)).Run();
}

}  // namespace larder::tools
