#ifndef LARDER_ENGINE_SRC_OS_PROCESS_IDENTITY_H_
#define LARDER_ENGINE_SRC_OS_PROCESS_IDENTITY_H_

#include <cstdint>
#include <string>

namespace larder {

/// Which process: a pid alone is used again and again. For messages to people
/// and nothing else; who may do what is decided by locks.
struct ProcessIdentity {
  std::uint64_t pid = 0;            ///< 0 = nobody.
  std::uint64_t start_time = 0;     ///< Clock ticks since boot.
  std::uint64_t pid_namespace = 0;  ///< Inode; 0 = unknown.
  [[nodiscard]] static ProcessIdentity Self() noexcept;
  friend bool operator==(const ProcessIdentity&,
                         const ProcessIdentity&) = default;
};

enum class ProcessState : std::uint8_t {
  kRunning,
  kStopped,  ///< SIGSTOP, or held by a debugger.
  kBlocked,  ///< In the kernel, uninterruptible: a disk that does not answer.
  kDead,     ///< No such process, or a zombie.
  kUnknown,  ///< In another pid namespace, or no /proc.
};

[[nodiscard]] ProcessState StateOf(const ProcessIdentity& process) noexcept;
/// For example "process 4711 (stopped)".
[[nodiscard]] std::string Describe(const ProcessIdentity& process,
                                   ProcessState state);

/// The identity of this boot of the machine; empty if unknown.
[[nodiscard]] std::string BootId() noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_PROCESS_IDENTITY_H_
