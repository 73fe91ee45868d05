#ifndef LARDER_TOOLS_COMMANDS_INTERRUPTION_H_
#define LARDER_TOOLS_COMMANDS_INTERRUPTION_H_

#include <array>
#include <atomic>
#include <cstddef>

#include <signal.h>

namespace larder::tools {

/// Lets a command that has something to take away end in order when it is told
/// to: while one of these lives, SIGINT, SIGTERM and SIGHUP are only noted. The
/// same signal a second time ends the process at once. What the process was
/// started to ignore (nohup) stays ignored.
///
/// Threads:   made and destroyed by one thread; the functions are thread-safe.
/// Processes: a forked child inherits it until it calls LeaveToParent.
class Interruption {
 public:
  Interruption() noexcept;
  /// The signals do again what they did before.
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  /// The signal that was noted, 0 if none.
  [[nodiscard]] static const std::atomic<int>& signal() noexcept;
  /// Ends the process by the signal that was noted, if any, so that whoever
  /// started it sees that.
  static void EndIfNoted() noexcept;
  /// For a process just forked: its parent tells it when to end, and it is
  /// killed if its parent dies. An exec changes nothing of it.
  static void LeaveToParent() noexcept;

 private:
  static constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_COMMANDS_INTERRUPTION_H_
