#include <cstdint>

#include <gtest/gtest.h>

#include "model/defective_engine.h"
#include "model/history_runner.h"

// That the model test itself can fail: it passes a second model and finds
// every planted defect, in a short history.

namespace larder::testing {
namespace {

constexpr std::uint64_t kSeed = 20240601;
constexpr std::uint64_t kHistoryCount = 60;

TEST(History, IsTheSameForTheSameSeed) {
  const HistoryOptions options;
  EXPECT_EQ(Describe(MakeHistory(1, options)),
            Describe(MakeHistory(1, options)));
  EXPECT_NE(Describe(MakeHistory(1, options)),
            Describe(MakeHistory(2, options)));
}

TEST(History, RunsOnAnotherModelWithoutDifference) {
  for (std::uint64_t i = 0; i < kHistoryCount; ++i) {
    const auto problem =
        RunHistory(MakeHistory(kSeed + i, {}), ModelFactory(), {});
    EXPECT_FALSE(problem.has_value())
        << "seed " << kSeed + i << ": " << *problem;
  }
}

class HistoryOfDefects : public ::testing::TestWithParam<Defect> {};

TEST_P(HistoryOfDefects, FindsTheDefectAndMakesTheHistorySmall) {
  const EngineFactory factory = {
      "Defective", [] { return std::make_unique<DefectivePlace>(GetParam()); }};
  for (std::uint64_t i = 0; i < kHistoryCount; ++i) {
    const auto history = MakeHistory(kSeed + i, {.chunked_values = false});
    const auto problem = RunHistory(history, factory, {});
    if (!problem) continue;
    const SmallFailure small = Shrink(history, *problem, factory, {});
    EXPECT_LE(small.history.size(), 20U) << Describe(small.history);
    return;
  }
  FAIL() << "not found in " << kHistoryCount << " histories";
}

INSTANTIATE_TEST_SUITE_P(All, HistoryOfDefects,
                         ::testing::ValuesIn(kAllDefects));

}  // namespace
}  // namespace larder::testing
