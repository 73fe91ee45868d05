// A write-ahead log that ends after a whole record says nothing of what was
// behind: so does one of a process that was killed there. A cache that has lost
// the tail of its log opens as it was at one moment.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/store_fixture.h"
#include "test_values.h"
#include "wal_records.h"

namespace larder::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kChangeCount = 600;
constexpr int kKeyCount = 120;
constexpr std::size_t kCutStep = 11;  // Of the records, each so often.

using Items = std::map<std::string, std::string>;

class WalCutTest : public StoreFixture {
 protected:
  // In entries, in `values`, in segments, set, written over, deleted.
  void Change(int number) {
    Random random(static_cast<std::uint64_t>(number) + 1);
    const std::string key = "key" + std::to_string(random.Below(kKeyCount));
    Items next = moments_.back();
    if (random.Below(5) == 0) {
      ASSERT_TRUE(Run(DeleteCommand{.key = key}).status.ok());
      next.erase(key);
    } else {
      constexpr std::size_t kSizes[] = {50, 700, 20'000};
      const std::string value = MakeValue(static_cast<std::uint64_t>(number),
                                          kSizes[random.Below(3)]);
      ASSERT_EQ(Set(key, value).ToString(), "kOk");
      next[key] = value;
    }
    moments_.push_back(std::move(next));
  }
  void Fill() {
    Open({{"size_limit", "64MiB"},
          {"inline_value_max", "100"},
          {"large_value_min", "16KiB"}});
    for (int i = 0; i < kChangeCount; ++i) {
      ASSERT_NO_FATAL_FAILURE(Change(i));
    }
  }
  // The cache as it is, at another place.
  void Copy(const std::string& name) {
    fs::remove_all(directory_.path() / name);
    fs::copy(path_, directory_.path() / name, fs::copy_options::recursive);
  }
  static std::vector<fs::path> LogsIn(const fs::path& cache) {
    std::vector<fs::path> logs;
    for (const auto& file : fs::directory_iterator(cache / "db")) {
      if (file.path().extension() == ".log" && file.file_size() != 0) {
        logs.push_back(file.path());
      }
    }
    std::sort(logs.begin(), logs.end());
    return logs;
  }
  Items ItemsNow() {
    Items items;
    for (int k = 0; k < kKeyCount; ++k) {
      const std::string key = "key" + std::to_string(k);
      if (auto value = Get(key)) items[key] = *std::move(value);
    }
    return items;
  }
  // Opens the copy with the first `count` records of its last log.
  void ExpectAMoment(const std::string& source, std::size_t count,
                     std::size_t& moment) {
    fs::remove_all(directory_.path() / "cut");
    fs::copy(directory_.path() / source, directory_.path() / "cut",
             fs::copy_options::recursive);
    const fs::path log = LogsIn(directory_.path() / "cut").back();
    std::vector<std::string> records = ReadWalRecords(log);
    ASSERT_LE(count, records.size());
    records.resize(count);
    std::ofstream(log, std::ios::binary) << WriteWalRecords(records);
    EngineOptions options;
    options.clock = &clock_;
    options.background = false;
    auto engine = OpenEngine(directory_.path() / "cut", options);
    ASSERT_TRUE(engine.has_value()) << engine.error().ToString();
    engine_ = *std::move(engine);
    const Items items = ItemsNow();
    const auto found =
        std::find(moments_.begin() + static_cast<std::ptrdiff_t>(moment),
                  moments_.end(), items);
    ASSERT_NE(found, moments_.end()) << count << " records";
    moment = static_cast<std::size_t>(found - moments_.begin());
    EXPECT_EQ(Stats().count, items.size());
    ExpectSound();
    // It goes on from there.
    EXPECT_EQ(Set("later", MakeValue(1, 20'000)).ToString(), "kOk");
    EXPECT_EQ(Get("later"), MakeValue(1, 20'000));
    ASSERT_EQ(engine_->Close().ToString(), "kOk");
    engine_.reset();
  }
  void ExpectMomentsOf(const std::string& source) {
    const std::size_t count =
        ReadWalRecords(LogsIn(directory_.path() / source).back()).size();
    ASSERT_GT(count, 2 * kCutStep);
    std::size_t moment = 0;
    for (std::size_t kept = 0; kept < count; kept += kCutStep) {
      ASSERT_NO_FATAL_FAILURE(ExpectAMoment(source, kept, moment));
      EXPECT_LT(moment, moments_.size() - 1);
    }
    ASSERT_NO_FATAL_FAILURE(ExpectAMoment(source, count, moment));
    EXPECT_EQ(moment, moments_.size() - 1) << "all of the log";
  }

  std::vector<Items> moments_ = {{}};  // After so many changes.
};

TEST_F(WalCutTest, OfAKilledProcessOpensAsItWasAtAMoment) {
  ASSERT_NO_FATAL_FAILURE(Fill());
  Copy("killed");
  ASSERT_EQ(engine_->Close().ToString(), "kOk");
  ASSERT_NO_FATAL_FAILURE(ExpectMomentsOf("killed"));
}

// Who closes leaves nothing in the log: no cut of it costs anything.
TEST_F(WalCutTest, OfAClosedCacheCostsNothing) {
  ASSERT_NO_FATAL_FAILURE(Fill());
  ASSERT_EQ(engine_->Close().ToString(), "kOk");
  engine_.reset();
  EXPECT_TRUE(LogsIn(path_).empty());
  for (const auto& file : fs::directory_iterator(path_ / "db")) {
    if (file.path().extension() == ".log") fs::remove(file.path());
  }
  Open();
  EXPECT_EQ(ItemsNow(), moments_.back());
  ExpectSound();
}

// The last log may be gone altogether.
TEST_F(WalCutTest, AMissingLogIsAMoment) {
  ASSERT_NO_FATAL_FAILURE(Fill());
  Copy("killed");
  ASSERT_EQ(engine_->Close().ToString(), "kOk");
  fs::remove(LogsIn(directory_.path() / "killed").back());
  EngineOptions options;
  options.clock = &clock_;
  options.background = false;
  auto engine = OpenEngine(directory_.path() / "killed", options);
  ASSERT_TRUE(engine.has_value()) << engine.error().ToString();
  engine_ = *std::move(engine);
  const Items items = ItemsNow();
  EXPECT_NE(std::find(moments_.begin(), moments_.end(), items), moments_.end());
  ExpectSound();
}

}  // namespace
}  // namespace larder::testing
