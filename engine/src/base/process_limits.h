#ifndef LARDER_ENGINE_SRC_BASE_PROCESS_LIMITS_H_
#define LARDER_ENGINE_SRC_BASE_PROCESS_LIMITS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <signal.h>

namespace larder {

/// What to raise where a call failed with `error` because of a limit of the
/// process or the machine, to be put behind the error's text; empty for other
/// errors. It names the limit as setrlimit(2) does.
[[nodiscard]] std::string LimitAdvice(int error) noexcept;
/// The same for a message in which RocksDB says what the error was.
[[nodiscard]] std::string LimitAdvice(std::string_view message) noexcept;

/// How many files all caches of this process may have mapped for reading: a
/// quarter of vm.max_map_count. Who has used up all that a process may map can
/// start no thread in it, load no library and allocate nothing.
[[nodiscard]] std::size_t MappingCountMax() noexcept;
/// Whether `size` bytes that can be done without may be mapped: half of
/// RLIMIT_AS is left then. Cost: a system call where there is no limit.
[[nodiscard]] bool HasAddressSpace(std::uint64_t size) noexcept;

/// From when on a limit of the length of files counts that is put on a process
/// that had none.
inline constexpr std::chrono::milliseconds kFileSizeLimitTime{100};

/// Keeps SIGXFSZ, which ends a process that does not know it, from the calling
/// thread while it writes a file: past RLIMIT_FSIZE the write fails with EFBIG,
/// and that is all. What the application had pending, and what it does about
/// the signal, stays as it was. errno is 0 at the begin of the scope, and what
/// the scope has left at its end. The signal is not kept from a process that
/// had no limit (RLIM_INFINITY) kFileSizeLimitTime ago.
///
/// Threads: one thread, in whose scope it is; scopes may be nested.
/// Cost:    where there is a limit, two system calls for the outermost scope,
///          none in threads that block all signals anyway. Else 5 ns.
class FileSizeSignalHeld {
 public:
  FileSizeSignalHeld() noexcept;
  ~FileSizeSignalHeld();
  FileSizeSignalHeld(const FileSizeSignalHeld&) = delete;
  FileSizeSignalHeld& operator=(const FileSizeSignalHeld&) = delete;

  /// For a thread that blocks all signals as long as it lives.
  static void HoldForEver() noexcept;

 private:
  bool masks_ = false;  // The outermost, if there is a limit.
  sigset_t old_;        // Where it masks.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_PROCESS_LIMITS_H_
