#include "os/process_identity.h"

#include <charconv>
#include <string_view>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/open_file.h"

namespace larder {
namespace {

// The first `size_max` bytes of a file of /proc; empty if it cannot be read.
std::string ReadProc(const std::string& path, std::size_t size_max) noexcept {
  const UniqueFd fd(OpenDescriptor(AT_FDCWD, path.c_str(), O_RDONLY));
  if (!fd) return {};
  std::string text(size_max, '\0');
  const ssize_t size = ::read(fd.get(), text.data(), text.size());
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

struct StatLine {
  char state = 0;  // 0 = unreadable.
  std::uint64_t start_time = 0;
};

// /proc/PID/stat: pid (name) state ppid ...; the name may hold anything, so
// count from the last parenthesis. The start time is field 22.
StatLine ReadStat(const std::string& pid) noexcept {
  const std::string text = ReadProc("/proc/" + pid + "/stat", 1024);
  std::string_view rest = text;
  const std::size_t end = rest.rfind(')');
  if (end == std::string_view::npos || end + 2 >= rest.size()) return {};
  rest.remove_prefix(end + 2);
  StatLine line;
  line.state = rest.front();
  for (int field = 3; field < 22; ++field) {
    const std::size_t space = rest.find(' ');
    if (space == std::string_view::npos) return line;
    rest.remove_prefix(space + 1);
  }
  std::from_chars(rest.data(), rest.data() + rest.size(), line.start_time);
  return line;
}

std::uint64_t PidNamespace() noexcept {
  struct stat about {};
  if (::stat("/proc/self/ns/pid", &about) != 0) return 0;
  return about.st_ino;
}

}  // namespace

ProcessIdentity ProcessIdentity::Self() noexcept {
  return {.pid = static_cast<std::uint64_t>(::getpid()),
          .start_time = ReadStat("self").start_time,
          .pid_namespace = PidNamespace()};
}

ProcessState StateOf(const ProcessIdentity& process) noexcept {
  if (process.pid == 0) return ProcessState::kDead;
  if (process.pid_namespace == 0 || process.pid_namespace != PidNamespace()) {
    return ProcessState::kUnknown;
  }
  const StatLine line = ReadStat(std::to_string(process.pid));
  if (line.state == 0 || line.start_time != process.start_time) {
    return ProcessState::kDead;
  }
  switch (line.state) {
    case 'T':
    case 't':
      return ProcessState::kStopped;
    case 'D':
      return ProcessState::kBlocked;
    case 'Z':
    case 'X':
    case 'x':
      return ProcessState::kDead;
    default:
      return ProcessState::kRunning;
  }
}

std::string Describe(const ProcessIdentity& process, ProcessState state) {
  if (process.pid == 0) return "no process";
  std::string text = "process " + std::to_string(process.pid);
  switch (state) {
    case ProcessState::kRunning:
      return text + " (running)";
    case ProcessState::kStopped:
      return text + " (stopped)";
    case ProcessState::kBlocked:
      return text + " (blocked in the kernel)";
    case ProcessState::kDead:
      return text + " (dead)";
    case ProcessState::kUnknown:
      break;
  }
  return text + " (of another container: state unknown)";
}

std::string BootId() noexcept {
  std::string id = ReadProc("/proc/sys/kernel/random/boot_id", 64);
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

}  // namespace larder
