#include <array>
#include <barrier>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "larder/cache/cache.h"

#include "cache/cache_fixture.h"
#include "temporary_directory.h"
#include "test_values.h"

// The cache on a real directory: opening, closing, settings that persist, and
// what the model cannot show.

namespace larder::testing {
namespace {

namespace fs = std::filesystem;

class CacheOpen : public ::testing::Test {
 protected:
  std::unique_ptr<Cache> OpenOrDie(CacheOptions options = {}) {
    auto cache = Cache::Open(path_, std::move(options));
    EXPECT_TRUE(cache.has_value()) << cache.error().ToString();
    return cache ? *std::move(cache) : nullptr;
  }
  Status OpenError(const fs::path& path, CacheOptions options = {}) {
    const auto cache = Cache::Open(path, std::move(options));
    EXPECT_FALSE(cache.has_value());
    return cache ? Status() : cache.error();
  }

  /// Every file below `directory` with its bytes.
  static std::map<std::string, std::string> Snapshot(
      const fs::path& directory) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      std::ostringstream bytes;
      if (entry.is_regular_file()) {
        bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      }
      files[fs::relative(entry.path(), directory)] = bytes.str();
    }
    return files;
  }

  const TemporaryDirectory home_{TemporaryDirectory::Place::kMemory};
  const fs::path path_ = home_.path() / "a" / "b" / "cache";
};

TEST_F(CacheOpen, CreatesParentsAndADirectoryOfOnesOwn) {
  const auto cache = OpenOrDie();
  EXPECT_EQ(cache->directory(), path_);
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0700U);
}

TEST_F(CacheOpen, WithoutAPathIsATemporaryDirectoryThatCloseRemoves) {
  fs::path directory;
  {
    const auto cache = Cache::Open("");
    ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
    directory = (*cache)->directory();
    EXPECT_TRUE(fs::is_directory(directory));
    ASSERT_EQ(Text((*cache)->Set("key", std::string(50'000, 'x'))), "kOk");
    EXPECT_TRUE((*cache)->Get("key")->has_value());
    EXPECT_EQ(Text((*cache)->Close()), "kOk");
    EXPECT_FALSE(fs::exists(directory));
    EXPECT_EQ((*cache)->Get("key").error().code(), StatusCode::kClosed);
  }
  {
    const auto cache = Cache::Open("");
    directory = (*cache)->directory();
  }
  EXPECT_FALSE(fs::exists(directory));
}

// Each returns when it is closed and the directory gone.
TEST_F(CacheOpen, WithoutAPathItMayBeClosedBySeveralThreads) {
  for (int round = 0; round < 20; ++round) {
    const auto cache = Cache::Open("");
    ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
    const fs::path directory = (*cache)->directory();
    std::barrier begin(4);
    std::array<std::thread, 4> closers;
    for (std::thread& closer : closers) {
      closer = std::thread([&] {
        begin.arrive_and_wait();
        EXPECT_EQ(Text((*cache)->Close()), "kOk");
        EXPECT_FALSE(fs::exists(directory));
      });
    }
    for (std::thread& closer : closers) closer.join();
  }
}

TEST_F(CacheOpen, WithoutAPathNeedsModeCreate) {
  EXPECT_EQ(OpenError("", {.mode = OpenMode::kExisting}).code(),
            StatusCode::kInvalidArgument);
}

TEST_F(CacheOpen, ItemsAndTypesSurviveReopening) {
  {
    const auto cache = OpenOrDie();
    ASSERT_EQ(Text(cache->Set("n", 42, {.tag = "red"})), "kOk");
    ASSERT_EQ(Text(cache->Set("large", MakeValue(1, 3'000'000))), "kOk");
    ASSERT_EQ(Text(cache->Close()), "kOk");
  }
  const auto cache = OpenOrDie();
  EXPECT_EQ(**cache->Get<int>("n"), 42);
  EXPECT_EQ((*cache->Get("large"))->bytes(), MakeValue(1, 3'000'000));
  EXPECT_EQ(*cache->Evict("red"), 1U);
}

TEST_F(CacheOpen, DestructorClosesToo) {
  { ASSERT_EQ(Text(OpenOrDie()->Set("key", "v")), "kOk"); }
  EXPECT_TRUE(*OpenOrDie()->Contains("key"));
}

TEST_F(CacheOpen, SizeLimitPersistsWhenNotGiven) {
  OpenOrDie({.settings = {{"size_limit", "64MiB"}}});
  const auto cache = OpenOrDie();
  EXPECT_EQ(cache->CurrentSettings().size_limit, 64U << 20);
  EXPECT_EQ(cache->Stats()->size_limit, 64U << 20);
}

TEST_F(CacheOpen, DefaultSizeLimitIsOneGibibyte) {
  EXPECT_EQ(OpenOrDie()->CurrentSettings().size_limit, 1U << 30);
}

TEST_F(CacheOpen, UnknownSettingNamesTheNearestAndCreatesNothing) {
  const Status status =
      OpenError(path_, {.settings = {{"size_limits", "64MiB"}}});
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("size_limit"), std::string::npos)
      << status.message();
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(CacheOpen, SizeLimitBelowTheSmallestSaysTheSmallest) {
  const Status status =
      OpenError(path_, {.settings = {{"size_limit", "1MiB"}}});
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("16"), std::string::npos) << status.message();
}

TEST_F(CacheOpen, MissingDirectoryIsNotFoundInModeExisting) {
  const Status status = OpenError(path_, {.mode = OpenMode::kExisting});
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find(path_.string()), std::string::npos);
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(CacheOpen, FileInPlaceOfTheDirectoryIsNotADirectory) {
  fs::create_directories(path_.parent_path());
  std::ofstream(path_) << "somebody's file";
  EXPECT_EQ(OpenError(path_).code(), StatusCode::kNotADirectory);
  EXPECT_EQ(fs::file_size(path_), 15U);
}

TEST_F(CacheOpen, ForeignDirectoryIsRefusedAndLeftAlone) {
  fs::create_directories(path_);
  std::ofstream(path_ / "thesis.txt") << "do not touch";
  const auto before = Snapshot(path_);
  EXPECT_EQ(OpenError(path_).code(), StatusCode::kForeignDirectory);
  EXPECT_EQ(Snapshot(path_), before);
}

TEST_F(CacheOpen, ReadOnlyReadsAndRefusesWrites) {
  {
    const auto cache = OpenOrDie();
    ASSERT_EQ(Text(cache->Set("key", "value", {.tag = "red"})), "kOk");
    ASSERT_EQ(Text(cache->Set("large", MakeValue(1, 100'000))), "kOk");
  }
  const auto cache = OpenOrDie({.mode = OpenMode::kReadOnly});
  EXPECT_EQ((*cache->Get("key"))->bytes(), "value");
  EXPECT_EQ((*cache->Get("large"))->bytes(), MakeValue(1, 100'000));
  EXPECT_EQ(*cache->Count(), 2U);
  EXPECT_EQ((*cache->First())->key, "key");
  EXPECT_EQ(cache->Set("key", "new").code(), StatusCode::kReadOnly);
  EXPECT_EQ(cache->Delete("key").error().code(), StatusCode::kReadOnly);
  EXPECT_EQ(cache->Clear().error().code(), StatusCode::kReadOnly);
  EXPECT_EQ(cache->Evict("red").error().code(), StatusCode::kReadOnly);
  EXPECT_EQ(cache->OpenWriter("key").error().code(), StatusCode::kReadOnly);
  EXPECT_EQ(cache->Reset("default_ttl", "1h").code(), StatusCode::kReadOnly);
  EXPECT_EQ((*cache->Get("key"))->bytes(), "value");
}

TEST_F(CacheOpen, ReadOnlyChangesNoByteOfTheDirectory) {
  {
    const auto cache = OpenOrDie();
    ASSERT_EQ(Text(cache->Set("key", "value")), "kOk");
    ASSERT_EQ(Text(cache->Set("large", MakeValue(1, 100'000))), "kOk");
  }
  const auto before = Snapshot(path_);
  {
    const auto cache = OpenOrDie({.mode = OpenMode::kReadOnly});
    EXPECT_TRUE(cache->Get("key")->has_value());
    EXPECT_TRUE(cache->Check()->ok());
  }
  EXPECT_TRUE(Snapshot(path_) == before);
}

TEST_F(CacheOpen, DirectoryRemovedUnderTheCacheIsGone) {
  const auto cache = OpenOrDie({.background = false});
  ASSERT_EQ(Text(cache->Set("key", "v")), "kOk");
  fs::remove_all(path_);
  Status status;
  for (int i = 0; i < 100'000 && status.ok(); ++i) {
    status = cache->Set("key" + std::to_string(i), MakeValue(1, 20'000));
  }
  EXPECT_EQ(status.code(), StatusCode::kGone) << status.ToString();
}

TEST_F(CacheOpen, HitWritesNothingToTheDisk) {
  const auto cache = OpenOrDie({.background = false});
  ASSERT_EQ(Text(cache->Set("small", "v")), "kOk");
  ASSERT_EQ(Text(cache->Set("large", MakeValue(1, 100'000))), "kOk");
  const std::uint64_t before = cache->Stats()->bytes_written_disk;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(cache->Get("small")->has_value());
    ASSERT_TRUE(cache->Get("large")->has_value());
  }
  EXPECT_EQ(cache->Stats()->bytes_written_disk, before);
  EXPECT_EQ(cache->Stats()->hits, 2000U);
}

TEST_F(CacheOpen, FullCacheEvictsTheOldestAndCountsIt) {
  const auto cache =
      OpenOrDie({.settings = {{"size_limit", "16MiB"},
                              {"policy", "least-recently-stored"}},
                 .background = false});
  constexpr int kCount = 1000;  // Three times the limit.
  for (int i = 0; i < kCount; ++i) {
    const auto n = static_cast<std::uint64_t>(i);
    ASSERT_EQ(Text(cache->Set(std::to_string(i), MakeValue(n, 50'000))), "kOk");
  }
  const EngineStats stats = *cache->Stats();
  EXPECT_GT(stats.evictions, 600U);
  EXPECT_EQ(stats.count + stats.evictions, static_cast<std::uint64_t>(kCount));
  EXPECT_LE(stats.disk_bytes, stats.size_limit);
  EXPECT_FALSE(*cache->Contains("0"));
  EXPECT_EQ((*cache->Get("999"))->bytes(), MakeValue(999, 50'000));
}

TEST_F(CacheOpen, SecondHandleInThisProcessSharesTheCache) {
  const auto first = OpenOrDie();
  ASSERT_EQ(Text(first->Set("key", "v")), "kOk");
  const auto second = Cache::Open(path_);
  ASSERT_TRUE(second.has_value()) << second.error().ToString();
  EXPECT_EQ((*(*second)->Get("key"))->bytes(), "v");
  ASSERT_EQ(Text((*second)->Set("key", "w")), "kOk");
  EXPECT_EQ((*first->Get("key"))->bytes(), "w");
  // The one that has the store goes; the other takes over.
  ASSERT_EQ(Text(first->Close()), "kOk");
  EXPECT_EQ((*(*second)->Get("key"))->bytes(), "w");
  ASSERT_EQ(Text((*second)->Set("key", "x")), "kOk");
}

}  // namespace
}  // namespace larder::testing
