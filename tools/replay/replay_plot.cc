#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replay_report.h"

// Plots: a gnuplot script with the data inside, in a temporary file, handed to
// gnuplot without a shell.

extern char** environ;

namespace larder::replay {
namespace {

/// `text` between single quotes, as gnuplot reads them.
std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += '\'';
    if (c != '\n') quoted += c;
  }
  return quoted + "'";
}

/// The file at `path`: gnuplot would take "|..." for a command to run, and "~"
/// for a home.
std::string FileName(const std::string& path) {
  return Quoted(path.starts_with('/') ? path : "./" + path);
}

/// Distinct values of a field, in order of first appearance.
template <typename Field>
std::vector<std::string> Distinct(const std::vector<ReplayRow>& rows,
                                  Field&& field) {
  std::vector<std::string> values;
  for (const ReplayRow& row : rows) {
    const std::string value = field(row);
    bool known = false;
    for (const std::string& other : values) known |= other == value;
    if (!known) values.push_back(value);
  }
  return values;
}

std::string CurveName(const ReplayRow& row) {
  if (row.objective == Objective::kObjects) return row.policy;
  return row.policy + " (" + std::string(ObjectiveName(row.objective)) + ")";
}

/// One panel for each trace, below one another in up to three columns.
struct Panels {
  std::vector<std::string> traces;
  std::size_t columns = 1;
  std::size_t lines = 1;

  explicit Panels(const std::vector<ReplayRow>& rows)
      : traces(Distinct(rows, [](const ReplayRow& r) { return r.trace; })) {
    columns = std::min<std::size_t>(traces.size(), 3);
    if (columns > 0) lines = (traces.size() + columns - 1) / columns;
  }
  [[nodiscard]] std::string Head(const std::string& path) const {
    return fmt::format(
        "set terminal svg size {},{} dynamic background '#ffffff' font "
        "'sans-serif,11'\n"
        "set output {}\nset multiplot layout {},{}\n"
        "set grid\nset key below noenhanced\nset title noenhanced\n"
        "set ylabel 'object miss ratio'\nset yrange [0:1]\n",
        640 * columns, 460 * lines, FileName(path), lines, columns);
  }
};

Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Status::FromErrno(errno, "gnuplot script");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return Status::Ok();
}

Status Spawn(const std::string& script_path, const std::string& path) {
  std::string program = "gnuplot";
  std::string argument = script_path;
  char* const arguments[] = {program.data(), argument.data(), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, program.c_str(), nullptr, nullptr,
                                   arguments, environ);
  if (error != 0) return Status::FromErrno(error, "gnuplot");
  int wait_status = 0;
  while (::waitpid(pid, &wait_status, 0) < 0) {
    if (errno != EINTR) return Status::FromErrno(errno, "gnuplot");
  }
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
    return Status::Ok();
  }
  return Status::IoError("gnuplot could not draw " + path);
}

Status RunGnuplot(const std::string& script, const std::string& path) {
  LARDER_RETURN_IF_ERROR(CheckGnuplot());
  const char* directory = std::getenv("TMPDIR");
  std::string name =
      std::string(directory == nullptr || *directory == '\0' ? "/tmp"
                                                             : directory) +
      "/larder-plot-XXXXXX";
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return Status::FromErrno(errno, name);
  Status status = WriteAll(fd, script);
  ::close(fd);
  if (status.ok()) status = Spawn(name, path);
  ::unlink(name.c_str());
  return status;
}

/// The data of one curve as a named gnuplot block; empty curves are left out.
class Script {
 public:
  explicit Script(std::string head) : text_(std::move(head)) {}
  void AddLine(const std::string& line) { text_ += line + "\n"; }
  void AddCurve(const std::string& points, const std::string& name) {
    const std::string block = fmt::format("$curve{}", ++count_);
    text_ += block + " << EOD\n" + points + "EOD\n";
    const bool bound = name == "bound";
    plots_ +=
        fmt::format("{}{} using 1:2 with {} title {}",
                    plots_.empty() ? "plot " : ", ", block,
                    bound ? "lines dashtype 2 linewidth 2 linecolor '#000000'"
                          : "linespoints linewidth 1.5 pointsize 0.5",
                    Quoted(bound ? "bound (Belady)" : name));
  }
  void EndPanel() {
    text_ += plots_ + "\n";
    plots_.clear();
  }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
  std::string plots_;
  int count_ = 0;
};

}  // namespace

Status CheckGnuplot() {
  const char* variable = std::getenv("PATH");
  std::string_view path = variable == nullptr ? "/usr/bin:/bin" : variable;
  while (true) {
    const std::size_t colon = path.find(':');
    const std::string program = std::string(path.substr(0, colon)) + "/gnuplot";
    if (::access(program.c_str(), X_OK) == 0) return Status::Ok();
    if (colon == std::string_view::npos) break;
    path.remove_prefix(colon + 1);
  }
  return Status::NotFound(
      "plots need gnuplot, which is not installed: install it (Debian: "
      "gnuplot-nox) or leave the plot out");
}

Status DrawMissRatioCurves(const std::vector<ReplayRow>& rows,
                           const std::string& path) {
  const Panels panels(rows);
  Script script(panels.Head(path) +
                "set logscale x\nset autoscale xfix\nset format x '%.0s%c'\n");
  for (const std::string& trace : panels.traces) {
    std::string unit = "bytes";
    std::vector<ReplayRow> own;
    for (const ReplayRow& row : rows) {
      if (row.trace != trace) continue;
      own.push_back(row);
      if (!row.counts_bytes) unit = "items";
    }
    script.AddLine("set title " + Quoted(trace));
    script.AddLine("set xlabel " + Quoted("cache size (" + unit + ")"));
    for (const std::string& name : Distinct(own, CurveName)) {
      std::string points;
      for (const ReplayRow& row : own) {
        if (CurveName(row) != name) continue;
        points += fmt::format("{} {:.6f}\n", row.capacity,
                              row.run.object_miss_ratio());
      }
      script.AddCurve(points, name);
    }
    script.EndPanel();
  }
  return RunGnuplot(script.text(), path);
}

Status DrawMissRatioOverTime(const std::vector<ReplayRow>& rows,
                             const std::string& path) {
  const Panels panels(rows);
  Script script(panels.Head(path) + "set xlabel 'requests (%)'\n");
  for (const std::string& trace : panels.traces) {
    std::uint64_t largest = 0;
    for (const ReplayRow& row : rows) {
      if (row.trace == trace) largest = std::max(largest, row.capacity);
    }
    std::string size;
    for (const ReplayRow& row : rows) {
      if (row.trace != trace || row.capacity != largest) continue;
      size = row.size_text;
      std::string points;
      for (std::size_t i = 0; i < row.run.windows.size(); ++i) {
        const RunWindow& window = row.run.windows[i];
        if (window.requests == 0) continue;
        points += fmt::format("{} {:.6f}\n", i + 1,
                              1.0 - static_cast<double>(window.hits) /
                                        static_cast<double>(window.requests));
      }
      if (!points.empty()) script.AddCurve(points, CurveName(row));
    }
    script.AddLine("set title " + Quoted(trace + ", " + size));
    script.EndPanel();
  }
  return RunGnuplot(script.text(), path);
}

}  // namespace larder::replay
