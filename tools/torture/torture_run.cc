// The one who starts, kills and watches writers. It does not open the cache,
// so that nothing but the writers themselves brings the directory back after a
// kill. It has one thread: whoever is stopped is continued before anything
// else happens, and a kill is waited for.

#include "torture/torture_run.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands/interruption.h"
#include "measure/random_keys.h"
#include "torture/torture_journal.h"

namespace larder::tools {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPoll{2};
constexpr std::uint64_t kStopMillisecondsMax = 400;
// So many that ended by themselves are enough to know.
constexpr std::uint64_t kDiedMax = 10;

struct Child {
  pid_t pid = 0;
  std::uint64_t progress = 0;
  SteadyClock::time_point progressed;
};

std::string MessagesPath(const TortureOptions& options, unsigned writer) {
  return fmt::format("{}/messages.{}", options.work, writer);
}

// The last line of what a writer had to say.
std::string LastMessage(const TortureOptions& options, unsigned writer) {
  std::ifstream file(MessagesPath(options, writer));
  std::string line;
  std::string last;
  while (std::getline(file, line)) last = line;
  return last;
}

// Starts this program again as a writer. Nothing is inherited but the standard
// streams and the order to die with us.
Result<pid_t> StartWriter(const TortureOptions& options,
                          const TortureLife& life) {
  const std::string log = MessagesPath(options, life.writer);
  const std::array<std::string, 9> words = {"larder",
                                            "torture-writer",
                                            options.directory,
                                            options.work,
                                            std::to_string(options.run),
                                            std::to_string(life.writer),
                                            std::to_string(life.life),
                                            std::to_string(options.seed),
                                            std::to_string(::getpid())};
  std::array<char*, words.size() + 1> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    arguments[i] = const_cast<char*>(words[i].c_str());  // As exec wants it.
  }
  const pid_t child = ::fork();
  if (child < 0) return Fail(Status::FromErrno(errno, "fork"));
  if (child > 0) return child;
  Interruption::LeaveToParent();
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd >= 0) ::dup2(fd, STDERR_FILENO);
  ::execv(options.program.c_str(), arguments.data());
  ::_exit(127);
}

class Torture {
 public:
  Torture(const TortureOptions& options, TortureStates states)
      : options_(options),
        states_(std::move(states)),
        random_(options.seed),
        children_(options.processes) {
    events_.lives.assign(options.processes, 0);
  }
  // Nothing is left running, whatever failed.
  ~Torture() {
    for (const Child& child : children_) {
      if (child.pid > 0) ::kill(child.pid, SIGKILL);
    }
    for (const Child& child : children_) {
      if (child.pid > 0) ::waitpid(child.pid, nullptr, 0);
    }
  }
  Torture(const Torture&) = delete;
  Torture& operator=(const Torture&) = delete;

  Result<TortureEvents> Run() {
    const auto begin = SteadyClock::now();
    const auto end =
        begin + std::chrono::duration_cast<SteadyClock::duration>(
                    std::chrono::duration<double>(options_.seconds));
    for (unsigned i = 0; i < options_.processes; ++i) {
      LARDER_FAIL_IF_ERROR(Start(i));
    }
    SetNextDisturbance();
    while (SteadyClock::now() < end && events_.died < kDiedMax &&
           (options_.stopped == nullptr || options_.stopped->load() == 0)) {
      LARDER_FAIL_IF_ERROR(Watch());
      if (SteadyClock::now() >= next_) LARDER_FAIL_IF_ERROR(Disturb());
      std::this_thread::sleep_for(kPoll);
    }
    EndAll();
    events_.seconds =
        std::chrono::duration<double>(SteadyClock::now() - begin).count();
    return std::move(events_);
  }

 private:
  Status Start(unsigned writer) {
    TortureState& state = states_[writer];
    state.has_store.store(0);
    const auto pid = StartWriter(
        options_,
        {.run = options_.run, .writer = writer, .life = events_.lives[writer]});
    if (!pid) return pid.error();
    ++events_.lives[writer];
    children_[writer] = {.pid = *pid,
                         .progress = state.progress.load(),
                         .progressed = SteadyClock::now()};
    return Status::Ok();
  }

  void SetNextDisturbance() {
    const auto every = static_cast<std::uint64_t>(options_.kill_every.count());
    next_ = every == 0 ? SteadyClock::time_point::max()
                       : SteadyClock::now() +
                             std::chrono::milliseconds(
                                 every / 2 + random_.Below(every + 1));
  }

  void AddProblem(std::string problem) {
    if (events_.problems.size() < kTortureProblemsMax) {
      events_.problems.push_back(std::move(problem));
    }
  }

  // Takes in writers that ended by themselves and kills those that hang.
  Status Watch() {
    for (unsigned i = 0; i < options_.processes; ++i) {
      if (ReapEnded(i) || EndIfHung(i)) LARDER_RETURN_IF_ERROR(Start(i));
    }
    return Status::Ok();
  }

  bool ReapEnded(unsigned writer) {
    Child& child = children_[writer];
    int status = 0;
    if (child.pid == 0 || ::waitpid(child.pid, &status, WNOHANG) != child.pid) {
      return false;
    }
    const bool asked = states_[writer].stop.load() != 0;
    if (!asked || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      ++events_.died;
      AddProblem(fmt::format(
          "writer {} (process {}) ended by itself with {} {}: {}", writer,
          child.pid, WIFSIGNALED(status) ? "signal" : "exit code",
          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
          LastMessage(options_, writer)));
    }
    child.pid = 0;
    return true;
  }

  bool EndIfHung(unsigned writer) {
    Child& child = children_[writer];
    if (child.pid == 0) return false;
    const std::uint64_t progress = states_[writer].progress.load();
    const auto now = SteadyClock::now();
    if (progress != child.progress) {
      child.progress = progress;
      child.progressed = now;
      return false;
    }
    if (now - child.progressed < options_.hang_after) return false;
    ++events_.hung;
    AddProblem(fmt::format(
        "writer {} (process {}) made no progress for {}", writer, child.pid,
        std::chrono::duration<double>(now - child.progressed).count()));
    Kill(writer);
    return true;
  }

  void Kill(unsigned writer) {
    ::kill(children_[writer].pid, SIGKILL);
    ::waitpid(children_[writer].pid, nullptr, 0);
    children_[writer].pid = 0;
  }

  std::optional<unsigned> Holder() const {
    for (unsigned i = 0; i < options_.processes; ++i) {
      if (states_[i].has_store.load() != 0) return i;
    }
    return std::nullopt;
  }

  // Every second time it is the holder, if there is one.
  Status Disturb() {
    const std::optional<unsigned> holder = Holder();
    auto victim = static_cast<unsigned>(random_.Below(options_.processes));
    if (options_.holders_only && !holder) return Status::Ok();  // Not yet.
    if (holder && (options_.holders_only || random_.Below(2) == 0)) {
      victim = *holder;
    }
    if (options_.stop && random_.Below(3) == 0) {
      StopForAWhile(victim);
      SetNextDisturbance();
      return Status::Ok();
    }
    if (victim == holder) {
      TortureKill kill;
      kill.sent_ns = MonotonicNanoseconds();
      Kill(victim);
      kill.dead_ns = MonotonicNanoseconds();
      events_.holder_kills.push_back(kill);
    } else {
      Kill(victim);
      ++events_.clients_killed;
    }
    SetNextDisturbance();
    return Start(victim);
  }

  void StopForAWhile(unsigned victim) {
    ++events_.stops;
    if (!events_.holder_kills.empty()) {
      std::int64_t& stopped_ns = events_.holder_kills.back().stopped_ns;
      stopped_ns = std::min(stopped_ns, MonotonicNanoseconds());
    }
    const pid_t pid = children_[victim].pid;
    ::kill(pid, SIGSTOP);
    std::this_thread::sleep_for(
        std::chrono::milliseconds(10 + random_.Below(kStopMillisecondsMax)));
    ::kill(pid, SIGCONT);
  }

  // Tells all to close and waits for them; a hang here is one, too.
  void EndAll() {
    for (unsigned i = 0; i < options_.processes; ++i) states_[i].stop.store(1);
    for (bool any = true; any;) {
      any = false;
      for (unsigned i = 0; i < options_.processes; ++i) {
        if (!ReapEnded(i) && !EndIfHung(i) && children_[i].pid != 0) any = true;
      }
      if (any) std::this_thread::sleep_for(kPoll);
    }
  }

  const TortureOptions& options_;
  const TortureStates states_;
  Random random_;
  std::vector<Child> children_;
  TortureEvents events_;
  SteadyClock::time_point next_;
};

}  // namespace

Result<TortureEvents> RunTorture(const TortureOptions& options) {
  auto states = TortureStates::Create(options.work + "/states");
  if (!states) return Fail(states.error());
  return Torture(options, std::move(*states)).Run();
}

}  // namespace larder::tools
