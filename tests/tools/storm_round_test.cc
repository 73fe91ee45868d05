// Rounds of the storm, in a program so small that it can be built with
// sanitizers wherever tests run. The processes of a round are this program.

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <unistd.h>

#include "temporary_directory.h"
#include "torture/storm_run.h"
#include "torture/storm_worker.h"

namespace larder::tools {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr double kSeconds = 12;
#else
constexpr double kSeconds = 1;  // torture_test has longer ones.
#endif

// Odd seeds evict.
class StormRound : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(StormRound, NothingIsWrong) {
  const testing::TemporaryDirectory directory;
  StormOptions options;
  options.directory = directory.path() / "cache";
  options.work = directory.path() / "work";
  options.seconds = kSeconds;
  options.seed = GetParam();
  std::filesystem::create_directory(options.work);
  const auto report = RunStorm(options);
  ASSERT_TRUE(report) << report.error().ToString();
  for (const std::string& problem : report->problems) {
    ADD_FAILURE() << problem;
  }
  EXPECT_TRUE(report->ok());
  EXPECT_GT(report->acknowledged, 0U);
  EXPECT_GT(report->bytes_compared, 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, StormRound, ::testing::Values(1, 2));

// The words are those with which RunStorm starts a process.
int RunWorker(const char* const* words) {
  const auto number = [words](int i) {
    return static_cast<std::uint32_t>(std::strtoul(words[i], nullptr, 10));
  };
  if (::getppid() != static_cast<pid_t>(number(8))) return 1;
  StormWorkerOptions options;
  options.directory = words[2];
  options.work = words[3];
  options.process = number(4);
  options.processes = number(5);
  options.keys = number(6);
  options.seed = number(7);
  SetUpStormWorker(options);
  return RunStormWorker(options, StormCacheOptions(options.seed)).ok() ? 0 : 1;
}

}  // namespace
}  // namespace larder::tools

int main(int argc, char** argv) {
  if (argc == 9 && std::string_view(argv[1]) == "torture-storm") {
    return larder::tools::RunWorker(argv);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
