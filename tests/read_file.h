#ifndef LARDER_TESTS_READ_FILE_H_
#define LARDER_TESTS_READ_FILE_H_

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace larder::testing {

/// All bytes of a file; none if it cannot be read.
inline std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

}  // namespace larder::testing

#endif  // LARDER_TESTS_READ_FILE_H_
