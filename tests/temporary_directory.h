#ifndef LARDER_TESTS_TEMPORARY_DIRECTORY_H_
#define LARDER_TESTS_TEMPORARY_DIRECTORY_H_

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include <unistd.h>

namespace larder::testing {

/// A fresh directory of mode 0700 that goes away with the object.
///
/// Threads: thread-compatible.
class TemporaryDirectory {
 public:
  enum class Place {
    /// Below TMPDIR (or /tmp): a real file system as a rule.
    kDisk,
    /// Below /dev/shm where that can be written, else like kDisk: for tests
    /// that open thousands of directories and do not look at the disk.
    kMemory,
  };

  explicit TemporaryDirectory(Place place = Place::kDisk) {
    std::string pattern = Parent(place) / "larder-test-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) {
      std::perror(pattern.c_str());
      std::abort();
    }
    path_ = pattern;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;  // Nothing can be done about what stays behind.
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  static std::filesystem::path Parent(Place place) {
    if (place == Place::kMemory && ::access("/dev/shm", W_OK) == 0) {
      return "/dev/shm";
    }
    const char* parent = std::getenv("TMPDIR");
    return parent != nullptr && *parent != '\0' ? parent : "/tmp";
  }

  std::filesystem::path path_;
};

}  // namespace larder::testing

#endif  // LARDER_TESTS_TEMPORARY_DIRECTORY_H_
