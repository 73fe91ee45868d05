#ifndef LARDER_TESTS_TOOLS_REPLAY_TRACE_FILES_H_
#define LARDER_TESTS_TOOLS_REPLAY_TRACE_FILES_H_

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "temporary_directory.h"
#include "trace.h"
#include "trace_reader.h"

namespace larder::replay::testing {

/// A fixture with a place for trace files.
class TraceFiles : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, std::string_view bytes) {
    const std::string path = Path(name);
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  [[nodiscard]] std::string Path(const std::string& name) const {
    return directory_.path() / name;
  }
  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  larder::testing::TemporaryDirectory directory_;
};

/// A trace in memory: `keys` in this order, all of size 1.
inline Trace TraceOfKeys(const std::vector<std::uint32_t>& keys) {
  Trace trace;
  trace.name = "keys";
  std::uint32_t count = 0;
  for (const std::uint32_t key : keys) {
    trace.requests.push_back(
        {.time_ms = trace.requests.size(), .size_bytes = 1, .key = key});
    count = std::max(count, key + 1);
  }
  for (std::uint32_t key = 0; key < count; ++key) {
    trace.key_hashes.push_back(HashKey(std::to_string(key)));
  }
  trace.footprint_bytes = count;
  trace.request_bytes = keys.size();
  return trace;
}

/// Keys drawn with a preference for low numbers, in phases, with loops: all
/// kinds of reuse in one sequence.
inline std::vector<std::uint32_t> MixedKeys(std::uint64_t seed,
                                            std::uint32_t key_count,
                                            std::size_t count) {
  std::mt19937_64 random(seed);
  std::vector<std::uint32_t> keys;
  std::uint32_t loop = 0;
  while (keys.size() < count) {
    const std::uint64_t kind = random() % 8;
    const auto skewed = static_cast<std::uint32_t>(
        (random() % key_count) * (random() % key_count) / key_count);
    for (std::size_t i = 0; i < 1 + kind && keys.size() < count; ++i) {
      if (kind == 7) {
        keys.push_back(loop++ % key_count);
      } else if (kind == 6) {
        keys.push_back((skewed + static_cast<std::uint32_t>(random() % 3)) %
                       key_count);
      } else {
        keys.push_back(static_cast<std::uint32_t>(
            (random() % key_count) * (random() % key_count) / key_count));
      }
    }
  }
  return keys;
}

}  // namespace larder::replay::testing

#endif  // LARDER_TESTS_TOOLS_REPLAY_TRACE_FILES_H_
