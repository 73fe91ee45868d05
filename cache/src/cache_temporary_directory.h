#ifndef LARDER_CACHE_SRC_CACHE_TEMPORARY_DIRECTORY_H_
#define LARDER_CACHE_SRC_CACHE_TEMPORARY_DIRECTORY_H_

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

#include <unistd.h>

#include "larder/cache/cache.h"
#include "larder/engine/status.h"

namespace larder {

/// The directory of a cache that was opened without a path. Goes away with
/// the object, but only in the process that made it: a forked child leaves it
/// alone.
class Cache::TemporaryDirectory {
 public:
  [[nodiscard]] static Result<std::unique_ptr<TemporaryDirectory>> Make() {
    const char* parent = std::getenv("TMPDIR");
    std::string pattern =
        parent != nullptr && *parent != '\0' ? parent : "/tmp";
    pattern += "/larder-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) {
      return Fail(Status::FromErrno(
          errno, "temporary directory " + pattern + " (set TMPDIR)"));
    }
    return std::unique_ptr<TemporaryDirectory>(new TemporaryDirectory(pattern));
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() { Remove(); }
  /// By several threads: the first does it, the others wait for it.
  void Remove() noexcept {
    if (::getpid() != owner_) return;
    const std::lock_guard lock(mutex_);
    if (std::exchange(is_removed_, true)) return;
    std::error_code ignored;  // What cannot be removed stays in TMPDIR.
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const noexcept {
    return path_;
  }

 private:
  explicit TemporaryDirectory(std::filesystem::path path)
      : path_(std::move(path)), owner_(::getpid()) {}

  const std::filesystem::path path_;
  const pid_t owner_;
  std::mutex mutex_;
  bool is_removed_ = false;  // Guarded by mutex_.
};

}  // namespace larder

#endif  // LARDER_CACHE_SRC_CACHE_TEMPORARY_DIRECTORY_H_
