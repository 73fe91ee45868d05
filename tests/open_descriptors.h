#ifndef LARDER_TESTS_OPEN_DESCRIPTORS_H_
#define LARDER_TESTS_OPEN_DESCRIPTORS_H_

#include <filesystem>
#include <system_error>

namespace larder::testing {

/// Whether a descriptor of this process is of the file.
inline bool IsOpenHere(const std::filesystem::path& file) {
  for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(fd.path(), gone) == file) return true;
  }
  return false;
}

}  // namespace larder::testing

#endif  // LARDER_TESTS_OPEN_DESCRIPTORS_H_
