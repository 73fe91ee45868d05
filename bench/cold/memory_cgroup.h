#ifndef LARDER_BENCH_COLD_MEMORY_CGROUP_H_
#define LARDER_BENCH_COLD_MEMORY_CGROUP_H_

#include <cstdint>
#include <filesystem>

#include "larder/engine/status.h"

namespace larder::bench {

/// A control group that limits the memory of who joins it, page cache
/// included; of version 2 or 1, whichever the machine has memory in. It goes
/// away with its owner, if nobody is in it then.
///
/// Threads: thread-compatible.
class MemoryCgroup {
 public:
  /// Errors: kNotFound (no such file system is mounted), kPermissionDenied,
  /// kIoError.
  static Result<MemoryCgroup> Make(std::uint64_t limit_bytes);

  MemoryCgroup(MemoryCgroup&& other) noexcept;
  MemoryCgroup& operator=(MemoryCgroup&&) = delete;
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;
  ~MemoryCgroup();

  /// The calling process is in it from now on.
  [[nodiscard]] Status Join() const;

 private:
  explicit MemoryCgroup(std::filesystem::path path) noexcept;
  std::filesystem::path path_;
};

}  // namespace larder::bench

#endif  // LARDER_BENCH_COLD_MEMORY_CGROUP_H_
