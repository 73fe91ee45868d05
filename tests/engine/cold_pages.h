#ifndef LARDER_TESTS_ENGINE_COLD_PAGES_H_
#define LARDER_TESTS_ENGINE_COLD_PAGES_H_

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace larder::testing {

inline constexpr std::uint64_t kPage = 4096;

/// Bytes that this thread has had read of a device.
inline std::uint64_t BytesRead() {
  std::ifstream file("/proc/thread-self/io");
  std::string name;
  for (std::uint64_t number = 0; file >> name >> number;) {
    if (name == "read_bytes:") return number;
  }
  return 0;
}

/// Takes the pages of the file out of memory, but for those that are mapped.
inline void DropPages(const std::filesystem::path& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(fd);
  ASSERT_EQ(::fsync(fd.get()), 0);
  ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
}

/// Whether the storage is asked for dropped pages, and the kernel counts it. It
//// does neither for tmpfs, and not the latter for some others.
inline bool ReadsAreCounted(const std::filesystem::path& directory) {
  const auto path = directory / "probe";
  std::ofstream(path) << std::string(4 * kPage, 'x');
  DropPages(path);
  const std::uint64_t before = BytesRead();
  std::string bytes;
  std::ifstream(path) >> bytes;
  return bytes.size() == 4 * kPage && BytesRead() - before >= 4 * kPage;
}

}  // namespace larder::testing

#endif  // LARDER_TESTS_ENGINE_COLD_PAGES_H_
