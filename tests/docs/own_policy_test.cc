#include "docs/own_policy.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "larder/cache/cache.h"

#include "temporary_directory.h"

namespace larder {
namespace {

std::string Read(const char* path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(OwnPolicy, DocumentShowsTheCodeThatIsTested) {
  constexpr std::string_view kMarker = "// [own policy]\n";
  const std::string source = Read(LARDER_OWN_POLICY_SOURCE);
  const std::size_t begin = source.find(kMarker) + kMarker.size();
  const std::size_t end = source.find(kMarker, begin);
  ASSERT_NE(end, std::string::npos);
  const std::string code = source.substr(begin, end - begin);
  EXPECT_NE(Read(LARDER_POLICIES_DOCUMENT).find("```cpp\n" + code + "```"),
            std::string::npos)
      << "docs/policies.md does not show:\n"
      << code;
  EXPECT_LT(std::count(code.begin(), code.end(), '\n'), 40);
}

TEST(OwnPolicy, EvictsByItsOwnRule) {
  ASSERT_TRUE(RegisterSmallAndRecent().ok());
  const testing::TemporaryDirectory directory;
  CacheOptions options;
  options.settings = {{"policy", "small-and-recent"}};
  options.background = false;
  options.serve_evicted = false;
  options.logical_capacity = 100'000;
  auto cache = Cache::Open(directory.path() / "cache", std::move(options));
  ASSERT_TRUE(cache) << cache.error().ToString();
  for (int i = 0; i < 200; ++i) {
    const std::string number = std::to_string(i);
    ASSERT_TRUE((*cache)->Set("small" + number, std::string(50, 's')).ok());
    ASSERT_TRUE((*cache)->Set("large" + number, std::string(5000, 'l')).ok());
  }
  int small_count = 0;
  int large_count = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string number = std::to_string(i);
    small_count += *(*cache)->Contains("small" + number) ? 1 : 0;
    large_count += *(*cache)->Contains("large" + number) ? 1 : 0;
  }
  EXPECT_GT(small_count, 5 * large_count);  // First in, first out: as many.
  EXPECT_GT(large_count, 0);
}

}  // namespace
}  // namespace larder
