#include <algorithm>
#include <chrono>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "cap/cap_exact.h"
#include "cap/cap_run.h"
#include "cap/cap_workload.h"
#include "cap/disk_sampler.h"
#include "stores/work_directory.h"

namespace larder::bench {
namespace {

constexpr std::uint64_t kLimit = std::uint64_t{16} << 20;
constexpr double kFactor = 3.0;

void WriteBytes(const std::filesystem::path& path, std::size_t count) {
  std::ofstream(path) << std::string(count, 'x');
}

TEST(CapWorkload, EachWritesAtLeastItsFactorOfTheLimitOrClose) {
  for (const CapWorkload& workload : AllCapWorkloads()) {
    std::uint64_t bytes = 0;
    const CapSource source = workload.start(kLimit, kFactor, 1);
    while (const auto operation = source()) {
      bytes += operation->size;
    }
    EXPECT_GE(bytes, kLimit * 3 - kCapValueSizeMax) << workload.name;
    EXPECT_LE(bytes, kLimit * (workload.is_timed ? 5 : 13)) << workload.name;
  }
}

TEST(CapWorkload, TheSameSeedGivesTheSameSequence) {
  for (const CapWorkload& workload : AllCapWorkloads()) {
    const CapSource one = workload.start(kLimit, kFactor, 5);
    const CapSource two = workload.start(kLimit, kFactor, 5);
    while (const auto operation = one()) {
      const auto other = two();
      ASSERT_TRUE(other.has_value()) << workload.name;
      ASSERT_EQ(operation->key, other->key) << workload.name;
      ASSERT_EQ(operation->size, other->size) << workload.name;
    }
    EXPECT_FALSE(two().has_value()) << workload.name;
  }
}

TEST(CapWorkload, NoKeyIsReadBeforeItWasSet) {
  for (const char* name : {"lru-64k", "lru-4k"}) {
    const CapWorkload* workload = FindCapWorkload(name);
    ASSERT_NE(workload, nullptr);
    const CapSource source = workload->start(kLimit, kFactor, 1);
    std::set<std::uint64_t> set_keys;
    std::uint64_t get_count = 0;
    while (const auto operation = source()) {
      if (operation->kind == CapOperation::Kind::kSet) {
        set_keys.insert(operation->key);
      } else {
        ASSERT_TRUE(set_keys.contains(operation->key)) << name;
        ++get_count;
      }
    }
    EXPECT_GT(get_count, set_keys.size()) << name;
  }
}

TEST(CapWorkload, OverwritesStayWithinTheKeysThatFillTheLimit) {
  const CapWorkload* workload = FindCapWorkload("overwrites-4k");
  ASSERT_NE(workload, nullptr);
  const CapSource source = workload->start(kLimit, kFactor, 1);
  std::set<std::uint64_t> keys;
  while (const auto operation = source()) {
    keys.insert(operation->key);
  }
  EXPECT_EQ(keys.size(), kLimit / 4096);
}

class DiskSamplerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = WorkDirectory::Make(testing::TempDir());
    ASSERT_TRUE(directory) << directory.error().ToString();
    directory_ = std::make_unique<WorkDirectory>(std::move(*directory));
    empty_bytes_ = DirectoryBytes(path());
  }
  [[nodiscard]] const std::filesystem::path& path() const {
    return directory_->path();
  }
  /// Beyond what the empty directory takes.
  [[nodiscard]] std::uint64_t Bytes() const {
    return DirectoryBytes(path()) - empty_bytes_;
  }

  std::unique_ptr<WorkDirectory> directory_;
  std::uint64_t empty_bytes_ = 0;
};

TEST_F(DiskSamplerTest, CountsAllocatedBlocksAtAnyDepth) {
  std::filesystem::create_directory(path() / "deep");
  const std::uint64_t before = Bytes();
  WriteBytes(path() / "deep" / "file", 100'000);
  EXPECT_GE(Bytes() - before, 100'000U);
  EXPECT_LE(Bytes() - before, 131'072U);
}

TEST_F(DiskSamplerTest, AHoleTakesNoBlocks) {
  WriteBytes(path() / "file", 0);
  std::filesystem::resize_file(path() / "file", std::uint64_t{64} << 20);
  EXPECT_LT(Bytes(), 65'536U);
}

TEST_F(DiskSamplerTest, AFileWithTwoNamesCountsOnce) {
  WriteBytes(path() / "one", 100'000);
  const std::uint64_t before = Bytes();
  std::filesystem::create_hard_link(path() / "one", path() / "two");
  EXPECT_EQ(Bytes(), before);
}

TEST_F(DiskSamplerTest, TheLastSampleSeesWhatWasThereAtTheEnd) {
  DiskSampler sampler(path(), nullptr, std::chrono::milliseconds(1));
  WriteBytes(path() / "file", 1'000'000);
  sampler.AddWritten(1'000'000);
  const std::vector<DiskSample> samples = sampler.Stop();
  ASSERT_FALSE(samples.empty());
  EXPECT_EQ(samples.back().written_bytes, 1'000'000U);
  EXPECT_GE(samples.back().directory_bytes, 1'000'000U);
}

/// A result that meets every bar of "uniform-64k".
CapResult GoodResult() {
  CapResult result;
  result.workload = FindCapWorkload("uniform-64k");
  result.limit_bytes = kLimit;
  result.directory_ratio_max = 1.0;
  result.live_share_end = 0.95;
  result.live_share_mean = 0.95;
  result.speed.sets_per_second = 60;
  result.raw = CapSpeed{};
  result.raw->sets_per_second = 100;
  result.speed.latency.max = 200;
  return result;
}

TEST(CapBars, AResultAtEveryBoundMissesNone) {
  EXPECT_TRUE(MissedBars(GoodResult()).empty());
}

TEST(CapBars, EachFigureBeyondItsBoundIsNamed) {
  CapResult result = GoodResult();
  result.directory_ratio_max = 1.001;
  result.live_share_end = 0.94;
  result.live_share_mean = 0.94;
  result.speed.sets_per_second = 59;
  result.speed.latency.max = 201;
  EXPECT_EQ(MissedBars(result).size(), 5U);
  result.exact = ExactResult{.over_count = 1, .refused_count = 1};
  EXPECT_EQ(MissedBars(result).size(), 7U);
}

class CapExact : public testing::TestWithParam<const char*> {};

TEST_P(CapExact, WritersThatAreStoppedAreSeenUnderTheLimit) {
  auto directory = WorkDirectory::Make(testing::TempDir());
  ASSERT_TRUE(directory) << directory.error().ToString();
  const auto result =
      RunExact(*FindCapWorkload(GetParam()), kLimit,
               {.parent_directory = directory->path(), .program = LARDER_CAP});
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_GT(result->sample_count, 3U);
  EXPECT_EQ(result->over_count, 0U);
  EXPECT_LE(result->directory_ratio_max, 1.0);
  EXPECT_GT(result->directory_ratio_max, 0.8);
  EXPECT_GT(result->live_share_end, 0.4);
  EXPECT_EQ(result->refused_count, 0U);
  EXPECT_GT(result->verified_count, 0U);
  EXPECT_TRUE(std::filesystem::is_empty(directory->path()));
}

INSTANTIATE_TEST_SUITE_P(Workloads, CapExact,
                         testing::Values("files-2", "files-4-processes",
                                         "the-largest"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(CapExactWriter, ThatCannotStartIsAnError) {
  auto directory = WorkDirectory::Make(testing::TempDir());
  ASSERT_TRUE(directory) << directory.error().ToString();
  const CapWorkload& workload = *FindCapWorkload("files-2");
  for (const char* program : {"/no/such/program", "/bin/false"}) {
    EXPECT_FALSE(
        RunExact(workload, kLimit,
                 {.parent_directory = directory->path(), .program = program}))
        << program;
  }
}

TEST(CapRun, ACacheOfFilesIsMeasuredToItsEnd) {
  auto directory = WorkDirectory::Make(testing::TempDir());
  ASSERT_TRUE(directory) << directory.error().ToString();
  CapOptions options;
  options.parent_directory = directory->path();
  options.engine = EngineKind::kSqlite;
  options.factor = 1.5;
  const auto result =
      RunCap(*FindCapWorkload("uniform-64k"), std::uint64_t{4} << 20, options);
  ASSERT_TRUE(result) << result.error().ToString();
  EXPECT_EQ(result->speed.set_count, 96U);
  EXPECT_GT(result->verified_count, 0U);
  EXPECT_GT(result->live_share_end, 0.5);
  EXPECT_LE(result->live_share_end, 1.0);
  EXPECT_GT(result->directory_ratio_max, result->live_share_end);
  ASSERT_TRUE(result->raw.has_value());
  EXPECT_GT(result->raw->sets_per_second, 0);
}

}  // namespace
}  // namespace larder::bench
